"""All entries of the catalogue in one table, by kind and name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from tuner.catalog import (
    augmentations,
    datasets,
    fields,
    initializers,
    losses,
    metrics,
    models,
    optimizers,
    regularizers,
    schedules,
)
from tuner.catalog.entries import Entry
from tuner.errors import InvalidValue
from tuner.parameters import near

_KINDS: dict[str, Sequence[Entry[Any]]] = {
    "trainer": fields.ENTRIES,
    "datasets": datasets.ENTRIES,
    "models": models.ENTRIES,
    "optimizers": optimizers.ENTRIES,
    "schedules": schedules.ENTRIES,
    "losses": losses.ENTRIES,
    "initializers": initializers.ENTRIES,
    "regularizers": regularizers.ENTRIES,
    "augmentations": augmentations.ENTRIES,
    "metrics": metrics.ENTRIES,
}
_TABLE = {kind: {entry.name: entry for entry in found} for kind, found in _KINDS.items()}


def kinds() -> list[str]:
    return list(_TABLE)


def names(kind: str) -> list[str]:
    return list(_kind(kind))


def entries(kind: str) -> list[Entry[Any]]:
    return list(_kind(kind).values())


def get(kind: str, name: str) -> Entry[Any]:
    """InvalidValue naming the near ones when there is no such kind or no such entry of it."""
    found = _kind(kind).get(name)
    if found is None:
        raise InvalidValue(f"there is no {_singular(kind)} {name!r}; {near(name, _kind(kind))}")
    return found


def to_json() -> dict[str, list[dict[str, Any]]]:
    """The body of GET /v1/catalog: for each kind its entries."""
    return {
        kind: [
            {
                "name": entry.name,
                "summary": entry.summary,
                "when_to_use": entry.when_to_use,
                "source": entry.source,
                "hyperparameters": [h.to_json() for h in entry.hyperparameters],
                "facts": asdict(entry.facts),
            }
            for entry in found.values()
        ]
        for kind, found in _TABLE.items()
    }


def _kind(kind: str) -> dict[str, Entry[Any]]:
    found = _TABLE.get(kind)
    if found is None:
        raise InvalidValue(f"the catalogue has no kind {kind!r}; {near(kind, _TABLE)}")
    return found


def _singular(kind: str) -> str:
    return {"losses": "loss"}.get(kind, kind.removesuffix("s"))
