"""The models: `build(name, shape, outputs, ...)` for samples of `shape` (without the batch) and `outputs` numbers a sample.

Token models read a shape of one length (two for translation) and take `outputs` as the size of the vocabulary.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn

from tuner.catalog.shapes import model_problems
from tuner.errors import InvalidValue
from workers.training.models.cnn import CNN, VGG, LeNet
from workers.training.models.detector import GridDetector
from workers.training.models.mlp import MLP, Neuron
from workers.training.models.recurrent import Recurrent
from workers.training.models.resnet import ResNet
from workers.training.models.transformer import EncoderDecoder, TransformerLM, ViT
from workers.training.registry import Registry

_REGISTRY: Registry[nn.Module] = Registry(
    "models",
    {
        "neuron": Neuron,
        "mlp": MLP,
        "cnn": CNN,
        "lenet": LeNet,
        "vgg": VGG,
        "resnet": ResNet,
        "rnn": partial(Recurrent, "rnn"),
        "lstm": partial(Recurrent, "lstm"),
        "gru": partial(Recurrent, "gru"),
        "vit": ViT,
        "vit_moe": ViT,
        "transformer_lm": TransformerLM,
        "encoder_decoder": EncoderDecoder,
        "grid_detector": GridDetector,
    },
)


SAMPLES = {1: ("vector", "tokens"), 2: ("sequence", "pairs"), 3: ("image", "scene")}
"""Kinds of samples by the number of their dimensions."""


def names() -> list[str]:
    return _REGISTRY.names()


def build(name: str, shape: tuple[int, ...], outputs: int, **hyperparameters: Any) -> nn.Module:
    """InvalidValue for what is not legal, or not for samples of this shape."""
    facts = _REGISTRY.entry(name).facts
    if not set(facts.takes) & set(SAMPLES[len(shape)]):
        raise InvalidValue(f"model.name: {name} takes {' or '.join(facts.takes)} samples, not ones of shape {list(shape)}")
    complete = _REGISTRY.entry(name).complete(hyperparameters)
    problems = model_problems({"name": name, **complete}, shape)
    if problems:
        raise InvalidValue(errors=problems)
    return _REGISTRY.build(name, shape, outputs, **complete)
