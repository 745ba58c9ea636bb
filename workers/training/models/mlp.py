"""Multilayer perceptron, and the single neuron it generalizes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from workers.training.models.activations import activation as make_activation


class MLP(nn.Module):
    def __init__(
        self,
        shape: tuple[int, ...],
        outputs: int,
        *,
        hidden: Sequence[int],
        depth: int | None,
        activation: str,
        slope: float,
        dropout: float,
        norm: str,
    ) -> None:
        super().__init__()
        num_hidden = len(hidden) if depth is None else depth
        widths = [hidden[min(i, len(hidden) - 1)] for i in range(num_hidden)]
        layers: list[nn.Module] = [nn.Flatten()]
        before = math.prod(shape)
        for width in widths:
            layers.append(nn.Linear(before, width))
            if norm != "none":
                layers.append(nn.BatchNorm1d(width) if norm == "batch" else nn.LayerNorm(width))
            layers.append(make_activation(activation, slope))
            if dropout > 0:
                layers.append(nn.Dropout(dropout))
            before = width
        layers.append(nn.Linear(before, outputs))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.layers(x)
        return result


class Neuron(nn.Module):
    """y = f(w.x + b), one for each output; with f the identity and a loss of its own sigmoid this is logistic regression."""

    def __init__(self, shape: tuple[int, ...], outputs: int, *, activation: str, slope: float) -> None:
        super().__init__()
        self.linear = nn.Linear(math.prod(shape), outputs)
        self.activation = make_activation(activation, slope)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.activation(self.linear(x.flatten(1)))
        return result
