"""The models of the catalogue. Each takes its size from its configuration and its input and output shapes from the data set."""

from __future__ import annotations

from dataclasses import dataclass

from tuner.catalog.entries import Entry, Hyperparameter, choice, integer, integers, number

ACTIVATIONS = ("relu", "leaky_relu", "gelu", "silu", "tanh", "sigmoid", "identity")


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    takes: tuple[str, ...]
    """Kinds of samples it accepts: vector, image."""


ModelEntry = Entry[ModelFacts]


def _entry(
    name: str, summary: str, when_to_use: str, source: str, *hyperparameters: Hyperparameter, facts: ModelFacts
) -> ModelEntry:
    return Entry(
        kind="models",
        name=name,
        summary=summary,
        when_to_use=when_to_use,
        source=source,
        hyperparameters=hyperparameters,
        facts=facts,
    )


def _activation(default: str) -> Hyperparameter:
    return choice("activation", default, ACTIVATIONS, summary="after each hidden layer")


_DROPOUT = number("dropout", 0.0, 0, 1, high_open=True, summary="share of activations zeroed in training")

ENTRIES: tuple[ModelEntry, ...] = (
    _entry(
        "mlp",
        "Multilayer perceptron: depth hidden layers of the given widths; images are flattened.",
        "Tables and small images; the first thing to try.",
        "Rumelhart, Hinton and Williams 1986",
        integers("hidden", [64], 1, 65_536, summary="widths; the last one repeats up to depth"),
        integer("depth", None, 0, 256, optional=True, summary="hidden layers; null: as many as widths"),
        _activation("relu"),
        _DROPOUT,
        choice("norm", "none", ["none", "batch", "layer"], summary="normalization before each activation"),
        facts=ModelFacts(takes=("vector", "image")),
    ),
    _entry(
        "cnn",
        "Small convolutional network: depth times (3x3 convolution, norm, activation, 2x2 pooling), one linear layer.",
        "Small images.",
        "LeCun et al. 1998, in miniature",
        integer("channels", 16, 1, 4096, log=True, summary="of the first convolution; doubled by each next"),
        integer("depth", 2, 1, 8, summary="convolutions; each halves the image"),
        _activation("relu"),
        _DROPOUT,
        choice("norm", "batch", ["none", "batch"], summary="normalization before each activation"),
        facts=ModelFacts(takes=("image",)),
    ),
)
