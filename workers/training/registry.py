"""Binds builders to the entries of the catalogue: the catalogue says what is legal, the builder makes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from tuner import catalog
from tuner.catalog import Entry

BuiltT = TypeVar("BuiltT")


class Registry(Generic[BuiltT]):
    """One kind of technique. Each builder takes what the training run supplies, then the entry's hyperparameters by name."""

    def __init__(self, kind: str, builders: Mapping[str, Callable[..., BuiltT]]) -> None:
        self.kind = kind
        self._builders = dict(builders)

    def names(self) -> list[str]:
        return list(self._builders)

    def entry(self, name: str) -> Entry[Any]:
        """InvalidValue naming the near ones when there is none."""
        return catalog.get(self.kind, name)

    def build(self, name: str, *args: Any, **hyperparameters: Any) -> BuiltT:
        """Build one; hyperparameters left out take the catalogue's defaults, unknown or illegal ones raise InvalidValue."""
        complete = self.entry(name).complete(hyperparameters)
        return self._builders[name](*args, **complete)
