"""Penalties added to the training loss: functions of the penalized parameters that return a scalar, or None for no penalty."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from workers.training.registry import Registry

Penalty = Callable[[Sequence[Tensor]], Tensor]


def _total(terms: list[Tensor]) -> Tensor:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def _none() -> None:
    return None


def _l2(*, strength: float) -> Penalty:
    return lambda weights: strength / 2 * _total([w.square().sum() for w in weights])


def _l1(*, strength: float) -> Penalty:
    return lambda weights: strength * _total([w.abs().sum() for w in weights])


def _elastic_net(*, l1: float, l2: float) -> Penalty:
    absolute, squared = _l1(strength=l1), _l2(strength=l2)
    return lambda weights: absolute(weights) + squared(weights)


_REGISTRY: Registry[Penalty | None] = Registry("regularizers", {"none": _none, "l2": _l2, "l1": _l1, "elastic_net": _elastic_net})


def names() -> list[str]:
    return _REGISTRY.names()


def build(name: str, **hyperparameters: Any) -> Penalty | None:
    return _REGISTRY.build(name, **hyperparameters)
