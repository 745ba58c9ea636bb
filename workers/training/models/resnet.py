"""Residual networks: the ImageNet kind (18, 34, 50) and the small CIFAR kind (20, 32, 44, 56)."""

from __future__ import annotations

from torch import Tensor, nn

from tuner.catalog.models import RESNETS, scaled
from workers.training.models.activations import activation as make_activation
from workers.training.models.norms import norm2d


class Block(nn.Module):
    """Two 3x3 convolutions, or a bottleneck of 1x1, 3x3 and 1x1, around which the input goes on."""

    def __init__(self, before: int, channels: int, stride: int, *, expansion: int, activation: str, norm: str) -> None:
        super().__init__()
        after, bottleneck = channels * expansion, expansion > 1
        shapes = [(before, channels, 1), (channels, channels, 3), (channels, after, 1)] if bottleneck else []
        shapes = shapes or [(before, channels, 3), (channels, after, 3)]
        strided = 1 if bottleneck else 0
        layers: list[nn.Module] = []
        for i, (inputs, outputs, kernel) in enumerate(shapes):
            step = stride if i == strided else 1
            layers += [
                nn.Conv2d(inputs, outputs, kernel, step, kernel // 2, bias=False),
                norm2d(norm, outputs),
                make_activation(activation),
            ]
        self.body = nn.Sequential(*layers[:-1])
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), norm2d(norm, after))
        self.activation = make_activation(activation)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.activation(self.body(x) + self.shortcut(x))
        return result


class ResNet(nn.Module):
    def __init__(
        self,
        shape: tuple[int, ...],
        outputs: int,
        *,
        depth: int,
        width: float,
        stem: str,
        activation: str,
        dropout: float,
        norm: str,
    ) -> None:
        super().__init__()
        kind = RESNETS[depth]
        widths = [scaled(channels, width) for channels in kind.channels]
        before = widths[0]
        kernel, stride = (7, 2) if stem == "large" else (3, 1)
        layers: list[nn.Module] = [
            nn.Conv2d(shape[0], before, kernel, stride, kernel // 2, bias=False),
            norm2d(norm, before),
            make_activation(activation),
        ]
        if stem == "large":
            layers.append(nn.MaxPool2d(3, 2, 1))
        for stage, (count, wide) in enumerate(zip(kind.blocks, widths, strict=True)):
            for i in range(count):
                step = 2 if stage > 0 and i == 0 else 1
                layers.append(Block(before, wide, step, expansion=kind.expansion, activation=activation, norm=norm))
                before = wide * kind.expansion
        self.layers = nn.Sequential(
            *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(before, outputs)
        )

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.layers(x)
        return result
