"""The losses: functions of outputs `[samples, ...]` and targets that return the mean over samples."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from tuner.errors import InvalidValue
from workers.training.boxes import detection_loss
from workers.training.registry import Registry

Loss = Callable[[Tensor, Tensor], Tensor]


def _cross_entropy(*, label_smoothing: float) -> Loss:
    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        """Of samples `[n, classes]` or of tokens `[n, length, vocabulary]`, those to be ignored left out."""
        return functional.cross_entropy(outputs.flatten(0, -2), targets.flatten(), label_smoothing=label_smoothing)

    return loss


def _mse() -> Loss:
    return functional.mse_loss


def _mae() -> Loss:
    return functional.l1_loss


def _huber(*, delta: float) -> Loss:
    return partial(functional.huber_loss, delta=delta)


def _bce(*, pos_weight: float) -> Loss:
    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        weight = outputs.new_tensor(pos_weight)
        return functional.binary_cross_entropy_with_logits(outputs[:, 0], targets.to(outputs.dtype), pos_weight=weight)

    return loss


def _focal(*, gamma: float) -> Loss:
    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        log_p = functional.log_softmax(outputs, 1).gather(1, targets[:, None])[:, 0]
        # The slope of a root is infinite at 0, where a sample is certainly right.
        wrong = (1 - log_p.exp()).clamp(min=torch.finfo(outputs.dtype).eps)
        return -(wrong.pow(gamma) * log_p).mean()

    return loss


def _grid_detection(*, box_weight: float, empty_weight: float) -> Loss:
    return partial(detection_loss, box_weight=box_weight, empty_weight=empty_weight)


_REGISTRY: Registry[Loss] = Registry(
    "losses",
    {
        "cross_entropy": _cross_entropy,
        "mse": _mse,
        "mae": _mae,
        "huber": _huber,
        "bce": _bce,
        "focal": _focal,
        "grid_detection": _grid_detection,
    },
)


def names() -> list[str]:
    return _REGISTRY.names()


def num_outputs(name: str, classes: int) -> int:
    """How many outputs a model needs under this loss, for data that has `classes` of them (1: regression)."""
    facts = _REGISTRY.entry(name).facts
    if facts.classes is None:
        return classes
    if facts.classes != classes:
        raise InvalidValue(f"loss.name: {name} takes {facts.classes} classes, the data set has {classes}")
    return 1


def build(name: str, **hyperparameters: Any) -> Loss:
    return _REGISTRY.build(name, **hyperparameters)
