"""A one-stage grid detector: the YOLO idea at any size."""

from __future__ import annotations

from torch import Tensor, nn

from workers.training.models.activations import activation as make_activation
from workers.training.models.norms import norm2d


class GridDetector(nn.Module):
    """Each of `depth` stages halves the image; a cell of what remains gives objectness, a box and class logits."""

    def __init__(self, shape: tuple[int, ...], outputs: int, *, channels: int, depth: int, activation: str, norm: str) -> None:
        super().__init__()
        before = shape[0]
        layers: list[nn.Module] = []
        for i in range(depth):
            after = channels << i
            for inputs in (before, after):
                layers += [nn.Conv2d(inputs, after, 3, padding=1, bias=norm == "none"), norm2d(norm, after)]
                layers.append(make_activation(activation))
            layers.append(nn.MaxPool2d(2))
            before = after
        layers.append(nn.Conv2d(before, before, 3, padding=1))
        layers.append(make_activation(activation))
        layers.append(nn.Conv2d(before, 5 + outputs, 1))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.layers(x).permute(0, 2, 3, 1)
        return result
