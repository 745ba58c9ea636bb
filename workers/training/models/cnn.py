"""Small convolutional network."""

from __future__ import annotations

from torch import Tensor, nn

from tuner.errors import InvalidValue
from workers.training.models.activations import ACTIVATIONS


class CNN(nn.Module):
    def __init__(
        self,
        shape: tuple[int, ...],
        outputs: int,
        *,
        channels: int,
        depth: int,
        activation: str,
        dropout: float,
        norm: str,
    ) -> None:
        super().__init__()
        before, height, width = shape
        if min(height, width) >> depth < 1:
            raise InvalidValue(
                f"model.depth {depth} halves images of {height}x{width} away; at most {min(height, width).bit_length() - 1} fits"
            )
        layers: list[nn.Module] = []
        for i in range(depth):
            after = channels << i
            layers.append(nn.Conv2d(before, after, 3, padding=1, bias=norm == "none"))
            if norm == "batch":
                layers.append(nn.BatchNorm2d(after))
            layers += [ACTIVATIONS[activation](), nn.MaxPool2d(2)]
            before = after
        layers.append(nn.Flatten())
        if dropout > 0:
            layers.append(nn.Dropout(dropout))
        layers.append(nn.Linear(before * (height >> depth) * (width >> depth), outputs))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.layers(x)
        return result
