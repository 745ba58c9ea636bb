"""The models: `build(name, shape, outputs, ...)` for samples of `shape` (without the batch) and `outputs` numbers a sample."""

from __future__ import annotations

from typing import Any

from torch import nn

from workers.training.models.cnn import CNN
from workers.training.models.mlp import MLP
from workers.training.registry import Registry

_REGISTRY: Registry[nn.Module] = Registry("models", {"mlp": MLP, "cnn": CNN})


def names() -> list[str]:
    return _REGISTRY.names()


def build(name: str, shape: tuple[int, ...], outputs: int, **hyperparameters: Any) -> nn.Module:
    return _REGISTRY.build(name, shape, outputs, **hyperparameters)
