"""Plain convolutional networks: a small one, LeNet and VGG."""

from __future__ import annotations

from torch import Tensor, nn

from tuner.catalog.models import VGG_CHANNELS, VGG_STAGES, scaled
from workers.training.models.activations import activation as make_activation
from workers.training.models.norms import norm2d


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
        layers: list[nn.Module] = []
        for i in range(depth):
            after = channels << i
            layers += _convolution(before, after, 3, activation, norm)
            layers.append(nn.MaxPool2d(2))
            before = after
        layers.append(nn.Flatten())
        if dropout > 0:
            layers.append(nn.Dropout(dropout))
        layers.append(nn.Linear(before * (height >> depth) * (width >> depth), outputs))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.layers(x)
        return result


class LeNet(nn.Module):
    """LeNet-5: two 5x5 convolutions (padded, so that small images survive), each pooled, and three linear layers."""

    def __init__(self, shape: tuple[int, ...], outputs: int, *, width: float, activation: str, dropout: float, norm: str) -> None:
        super().__init__()
        image_channels, height, image_width = shape
        first, second = scaled(6, width), scaled(16, width)
        hidden = [scaled(120, width), scaled(84, width)]
        self.layers = nn.Sequential(
            *_convolution(image_channels, first, 5, activation, norm),
            nn.AvgPool2d(2),
            *_convolution(first, second, 5, activation, norm),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(second * (height // 4) * (image_width // 4), hidden[0]),
            make_activation(activation),
            nn.Dropout(dropout),
            nn.Linear(hidden[0], hidden[1]),
            make_activation(activation),
            nn.Dropout(dropout),
            nn.Linear(hidden[1], outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.layers(x)
        return result


class VGG(nn.Module):
    """Five stages of 3x3 convolutions, each pooled; one linear layer after a global mean instead of the paper's three."""

    def __init__(
        self,
        shape: tuple[int, ...],
        outputs: int,
        *,
        depth: int,
        width: float,
        activation: str,
        dropout: float,
        norm: str,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = shape[0]
        for count, channels in zip(VGG_STAGES[depth], VGG_CHANNELS, strict=True):
            for _ in range(count):
                layers += _convolution(before, scaled(channels, width), 3, activation, norm)
                before = scaled(channels, width)
            layers.append(nn.MaxPool2d(2))
        self.layers = nn.Sequential(
            *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(before, outputs)
        )

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.layers(x)
        return result


def _convolution(before: int, after: int, kernel: int, activation: str, norm: str) -> list[nn.Module]:
    # The shift of a norm makes the convolution's own bias idle.
    convolution = nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=norm == "none")
    layers: list[nn.Module] = [convolution]
    if norm != "none":
        layers.append(norm2d(norm, after))
    return [*layers, make_activation(activation)]
