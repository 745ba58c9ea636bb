"""The losses: functions of outputs `[samples, ...]` and targets that return the mean over samples."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor
from torch.nn import functional

from workers.training.registry import Registry

Loss = Callable[[Tensor, Tensor], Tensor]


def _cross_entropy(*, label_smoothing: float) -> Loss:
    return partial(functional.cross_entropy, label_smoothing=label_smoothing)


def _mse() -> Loss:
    return functional.mse_loss


def _mae() -> Loss:
    return functional.l1_loss


def _huber(*, delta: float) -> Loss:
    return partial(functional.huber_loss, delta=delta)


_REGISTRY: Registry[Loss] = Registry("losses", {"cross_entropy": _cross_entropy, "mse": _mse, "mae": _mae, "huber": _huber})


def names() -> list[str]:
    return _REGISTRY.names()


def build(name: str, **hyperparameters: Any) -> Loss:
    return _REGISTRY.build(name, **hyperparameters)
