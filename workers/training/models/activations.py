"""The activations by name, as `tuner.catalog.models.ACTIVATIONS` lists them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class SlopedSigmoid(nn.Module):
    """1 / (1 + exp(-slope x))."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.slope * x)


_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "identity": nn.Identity,
}


def names() -> list[str]:
    return list(_ACTIVATIONS)


def activation(name: str, slope: float = 1.0) -> nn.Module:
    """`slope` is that of the sigmoid; the others have none."""
    return SlopedSigmoid(slope) if name == "sigmoid" and slope != 1.0 else _ACTIVATIONS[name]()
