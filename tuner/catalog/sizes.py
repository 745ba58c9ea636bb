"""How many parameters a model will have, from its configuration and the shape of its samples alone.

The same arithmetic as the layers that `workers.training.models` builds; a test compares both for every model of the catalogue.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from tuner.catalog.models import RESNETS, VGG_CHANNELS, VGG_STAGES, scaled

Model = Mapping[str, Any]
Shape = tuple[int, ...]
GATES = {"rnn": 1, "gru": 3, "lstm": 4}


def count_parameters(model: Model, shape: Shape, outputs: int) -> int:
    """Weights, biases and norms of a complete model configuration for samples of `shape`, one that it takes."""
    return _COUNTS[model["name"]](model, shape, outputs)


def _linear(before: int, after: int) -> int:
    return (before + 1) * after


def _convolution(before: int, after: int, kernel: int, norm: str) -> int:
    """With a bias where there is no norm, else with the norm's scale and shift."""
    return before * after * kernel**2 + after * (1 if norm == "none" else 2)


def _neuron(model: Model, shape: Shape, outputs: int) -> int:
    return _linear(math.prod(shape), outputs)


def _mlp(model: Model, shape: Shape, outputs: int) -> int:
    hidden = model["hidden"]
    depth = len(hidden) if model["depth"] is None else model["depth"]
    widths = [hidden[min(i, len(hidden) - 1)] for i in range(depth)]
    count = sum(_linear(before, after) for before, after in pairwise([math.prod(shape), *widths, outputs]))
    return count + (0 if model["norm"] == "none" else 2 * sum(widths))


def _cnn(model: Model, shape: Shape, outputs: int) -> int:
    depth, norm = model["depth"], model["norm"]
    channels = [shape[0], *(model["channels"] << i for i in range(depth))]
    count = sum(_convolution(before, after, 3, norm) for before, after in pairwise(channels))
    return count + _linear(channels[-1] * (shape[1] >> depth) * (shape[2] >> depth), outputs)


def _lenet(model: Model, shape: Shape, outputs: int) -> int:
    first, second, third, fourth = (scaled(channels, model["width"]) for channels in (6, 16, 120, 84))
    count = _convolution(shape[0], first, 5, model["norm"]) + _convolution(first, second, 5, model["norm"])
    widths = [second * (shape[1] // 4) * (shape[2] // 4), third, fourth, outputs]
    return count + sum(_linear(before, after) for before, after in pairwise(widths))


def _vgg(model: Model, shape: Shape, outputs: int) -> int:
    stages = zip(VGG_STAGES[model["depth"]], VGG_CHANNELS, strict=True)
    channels = [shape[0], *(scaled(after, model["width"]) for count, after in stages for _ in range(count))]
    convolutions = sum(_convolution(before, after, 3, model["norm"]) for before, after in pairwise(channels))
    return convolutions + _linear(channels[-1], outputs)


def _resnet(model: Model, shape: Shape, outputs: int) -> int:
    kind = RESNETS[model["depth"]]
    widths = [scaled(channels, model["width"]) for channels in kind.channels]
    # Without a norm these convolutions have no bias either.
    norm = 0 if model["norm"] == "none" else 2

    def convolution(before: int, after: int, kernel: int) -> int:
        return before * after * kernel**2 + norm * after

    before = widths[0]
    count = convolution(shape[0], before, 7 if model["stem"] == "large" else 3)
    for stage, (num_blocks, wide) in enumerate(zip(kind.blocks, widths, strict=True)):
        for i in range(num_blocks):
            after = wide * kind.expansion
            if kind.expansion > 1:
                count += convolution(before, wide, 1) + convolution(wide, wide, 3) + convolution(wide, after, 1)
            else:
                count += convolution(before, wide, 3) + convolution(wide, after, 3)
            if (stage > 0 and i == 0) or before != after:
                count += convolution(before, after, 1)
            before = after
    return count + _linear(before, outputs)


def _recurrent(model: Model, shape: Shape, outputs: int) -> int:
    hidden, is_tokens = model["hidden"], len(shape) == 1
    ways = 2 if model["bidirectional"] else 1
    features = hidden if is_tokens else shape[-1] * (shape[0] if len(shape) == 3 else 1)
    inputs = [features, *[hidden * ways] * (model["depth"] - 1)]
    # Each gate has weights of the input and of the state, and two biases.
    layers: int = sum(ways * GATES[model["name"]] * hidden * (before + hidden + 2) for before in inputs)
    embedding: int = outputs * hidden if is_tokens else 0
    return layers + _linear(hidden * ways, outputs) + embedding


def _feed_forward(model: Model) -> int:
    dim: int = model["dim"]
    hidden = scaled(dim, model["ratio"])
    return _linear(dim, hidden) + _linear(hidden, dim)


def _block(model: Model, *, crossed: bool = False) -> int:
    """Attention (two where it also looks at the source), feed-forward, and a norm for each."""
    dim: int = model["dim"]
    attentions = 2 if crossed else 1
    return attentions * 4 * _linear(dim, dim) + _feed_forward(model) + (attentions + 1) * 2 * dim


def _vit(model: Model, shape: Shape, outputs: int) -> int:
    dim: int = model["dim"]
    patch: int = model["patch"]
    patches = _linear(shape[0] * patch**2, dim) + (shape[1] // patch) * (shape[2] // patch) * dim
    blocks: int = model["depth"] * _block(model)
    experts = model.get("experts", 1)
    if experts > 1:
        blocks += model["depth"] // 2 * ((experts - 1) * _feed_forward(model) + dim * experts)
    return patches + blocks + 2 * dim + _linear(dim, outputs)


def _transformer_lm(model: Model, shape: Shape, outputs: int) -> int:
    dim: int = model["dim"]
    depth: int = model["depth"]
    return (outputs + shape[0] + 2) * dim + depth * _block(model)


def _encoder_decoder(model: Model, shape: Shape, outputs: int) -> int:
    dim: int = model["dim"]
    depth: int = model["depth"]
    return (outputs + max(shape) + 4) * dim + depth * (_block(model) + _block(model, crossed=True))


def _grid_detector(model: Model, shape: Shape, outputs: int) -> int:
    norm, before, count = model["norm"], shape[0], 0
    for i in range(model["depth"]):
        after = model["channels"] << i
        count += _convolution(before, after, 3, norm) + _convolution(after, after, 3, norm)
        before = after
    return count + _convolution(before, before, 3, "none") + _linear(before, 5 + outputs)


_COUNTS: dict[str, Callable[[Model, Shape, int], int]] = {
    "neuron": _neuron,
    "mlp": _mlp,
    "cnn": _cnn,
    "lenet": _lenet,
    "vgg": _vgg,
    "resnet": _resnet,
    "rnn": _recurrent,
    "lstm": _recurrent,
    "gru": _recurrent,
    "vit": _vit,
    "vit_moe": _vit,
    "transformer_lm": _transformer_lm,
    "encoder_decoder": _encoder_decoder,
    "grid_detector": _grid_detector,
}
