"""The models of the catalogue. Each takes its size from its configuration and its input and output shapes from the data set."""

from __future__ import annotations

from dataclasses import dataclass

from tuner.catalog.entries import Entry, Hyperparameter, choice, integer, integers, number, switch

ACTIVATIONS = ("relu", "leaky_relu", "gelu", "silu", "tanh", "sigmoid", "identity")


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    takes: tuple[str, ...]
    """Kinds of samples it accepts: vector, image, sequence (of numbers), tokens, pairs (of token sequences),
    scene (image with boxes)."""
    min_size: int = 1
    """Least height and width of images."""


@dataclass(frozen=True)
class ResNetKind:
    blocks: tuple[int, ...]
    """In each stage."""
    channels: tuple[int, ...]
    """Of each stage."""
    expansion: int
    """How many times wider a block ends than it is inside; above 1 it is a bottleneck."""


VGG_STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""Convolutions in each stage, by depth."""
VGG_CHANNELS = (64, 128, 256, 512, 512)
RESNETS = {
    18: ResNetKind((2, 2, 2, 2), (64, 128, 256, 512), 1),
    34: ResNetKind((3, 4, 6, 3), (64, 128, 256, 512), 1),
    50: ResNetKind((3, 4, 6, 3), (64, 128, 256, 512), 4),
    20: ResNetKind((3, 3, 3), (16, 32, 64), 1),
    32: ResNetKind((5, 5, 5), (16, 32, 64), 1),
    44: ResNetKind((7, 7, 7), (16, 32, 64), 1),
    56: ResNetKind((9, 9, 9), (16, 32, 64), 1),
}
"""By depth: those of ImageNet, and the small ones of CIFAR."""


def scaled(width: int, factor: float) -> int:
    """A layer's width under a factor of all widths."""
    return max(1, round(width * factor))


ModelEntry = Entry[ModelFacts]


def _entry(
    name: str,
    summary: str,
    when_to_use: str,
    source: str,
    *hyperparameters: Hyperparameter,
    takes: tuple[str, ...],
    min_size: int = 1,
) -> ModelEntry:
    return Entry(
        kind="models",
        name=name,
        summary=summary,
        when_to_use=when_to_use,
        source=source,
        hyperparameters=hyperparameters,
        facts=ModelFacts(takes=takes, min_size=min_size),
    )


def _activation(default: str) -> Hyperparameter:
    return choice("activation", default, ACTIVATIONS, summary="after each hidden layer")


_DROPOUT = number("dropout", 0.0, 0, 1, high_open=True, summary="share of activations zeroed in training")

_SLOPE = number("slope", 1.0, 0, low_open=True, log=True, summary="of the sigmoid; other activations have none")
_NORM = choice("norm", "batch", ["none", "batch", "layer", "group"], summary="normalization before each activation")
_WIDTH = number("width", 1.0, 0, 16, low_open=True, log=True, per_lane=False, summary="factor of all widths")


def _recurrent(name: str, title: str, when_to_use: str, source: str) -> ModelEntry:
    return _entry(
        name,
        f"{title} over sequences, the rows of an image, or tokens.",
        when_to_use,
        source,
        integer("hidden", 64, 1, 65_536, log=True, summary="size of the state"),
        integer("depth", 1, 1, 32, summary="layers"),
        _DROPOUT,
        switch("bidirectional", False, summary="also from the end; not for tokens, which would see their successors"),
        takes=("sequence", "image", "tokens"),
    )


def _transformer(dim: int, depth: int) -> tuple[Hyperparameter, ...]:
    return (
        integer("dim", dim, 1, 65_536, log=True, summary="width; a multiple of heads"),
        integer("depth", depth, 1, 256, summary="blocks"),
        integer("heads", 4, 1, 256, summary="of each attention"),
        number("ratio", 4.0, 0, 64, low_open=True, per_lane=False, summary="hidden width of a block over dim"),
        _DROPOUT,
    )


_PATCH = integer("patch", 4, 1, 256, summary="side of a patch; divides the image's")

ENTRIES: tuple[ModelEntry, ...] = (
    _entry(
        "neuron",
        "y = f(w.x + b), one for each output; with activation identity and loss bce this is logistic regression.",
        "The baseline below every network; linear tasks.",
        "McCulloch and Pitts 1943; Rosenblatt 1958",
        _activation("identity"),
        _SLOPE,
        takes=("vector", "image"),
    ),
    _entry(
        "mlp",
        "Multilayer perceptron: depth hidden layers of the given widths; images are flattened.",
        "Tables and small images; the first thing to try.",
        "Rumelhart, Hinton and Williams 1986",
        integers("hidden", [64], 1, 65_536, summary="widths; the last one repeats up to depth"),
        integer("depth", None, 0, 256, optional=True, summary="hidden layers; null: as many as widths"),
        _activation("relu"),
        _SLOPE,
        _DROPOUT,
        choice("norm", "none", ["none", "batch", "layer"], summary="normalization before each activation"),
        takes=("vector", "image"),
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
        _NORM,
        takes=("image",),
    ),
    _entry(
        "lenet",
        "LeNet-5: two 5x5 convolutions, each pooled, and three linear layers.",
        "Small grey images; the classic to compare with.",
        "LeCun et al. 1998",
        _WIDTH,
        _activation("tanh"),
        _DROPOUT,
        choice("norm", "none", ["none", "batch", "layer", "group"], summary="normalization of the convolutions"),
        takes=("image",),
        min_size=4,
    ),
    _entry(
        "vgg",
        "VGG-11, 13, 16 or 19: five stages of 3x3 convolutions; one linear layer after a global mean.",
        "Images of 32 pixels and more, where depth without shortcuts is the question.",
        "Simonyan and Zisserman 2015, arXiv 1409.1556",
        choice("depth", 11, VGG_STAGES, summary="weighted layers of the paper's count"),
        _WIDTH,
        _activation("relu"),
        _DROPOUT,
        _NORM,
        takes=("image",),
        min_size=32,
    ),
    _entry(
        "resnet",
        "ResNet-18, 34, 50, or the CIFAR kind 20, 32, 44, 56: convolutions around which the input goes on.",
        "The default for images.",
        "He et al. 2016, arXiv 1512.03385",
        choice("depth", 18, RESNETS, summary="weighted layers"),
        _WIDTH,
        choice(
            "stem", "small", ["small", "large"], summary="small: 3x3; large: 7x7 with stride and pooling, for 64 pixels and more"
        ),
        _activation("relu"),
        _DROPOUT,
        _NORM,
        takes=("image",),
        min_size=4,
    ),
    _recurrent("rnn", "Plain recurrent network", "Short sequences; to watch gradients vanish.", "Elman 1990; torch.nn.RNN"),
    _recurrent("lstm", "Long short-term memory", "Sequences.", "Hochreiter and Schmidhuber 1997; torch.nn.LSTM"),
    _recurrent("gru", "Gated recurrent units", "As lstm with fewer weights.", "Cho et al. 2014, arXiv 1406.1078; torch.nn.GRU"),
    _entry(
        "vit",
        "Vision transformer: patches as tokens, the mean over them classified.",
        "Many images.",
        "Dosovitskiy et al. 2021, arXiv 2010.11929",
        _PATCH,
        *_transformer(64, 4),
        takes=("image",),
    ),
    _entry(
        "vit_moe",
        "Vision transformer in which every second block chooses among experts for each patch.",
        "More weights for about the same arithmetic, in principle; here every expert is computed.",
        "Riquelme et al. 2021, arXiv 2106.05974; Fedus et al. 2022, arXiv 2101.03961 for the balance",
        _PATCH,
        *_transformer(64, 4),
        integer("experts", 4, 2, 256, summary="in each routed block"),
        integer("chosen", 1, 1, 256, summary="experts a patch"),
        number("balance", 0.01, 0, log=True, summary="weight of the loss that spreads the load"),
        takes=("image",),
    ),
    _entry(
        "transformer_lm",
        "Causal transformer: predicts each next token; output weights shared with the embedding.",
        "Language models.",
        "Vaswani et al. 2017, arXiv 1706.03762; Radford et al. 2019",
        *_transformer(128, 4),
        takes=("tokens",),
    ),
    _entry(
        "encoder_decoder",
        "Transformer that reads a source sequence and writes a target sequence.",
        "Translation.",
        "Vaswani et al. 2017, arXiv 1706.03762",
        *_transformer(128, 2),
        takes=("pairs",),
    ),
    _entry(
        "grid_detector",
        "One-stage detector: each cell of a grid gives objectness, one box and its class.",
        "Boxes of few objects, not crowded.",
        "Redmon et al. 2016, arXiv 1506.02640, the idea at any size",
        integer("channels", 16, 1, 4096, log=True, summary="of the first stage; doubled by each next"),
        integer("depth", 3, 1, 7, summary="stages; each halves the image, the grid is what remains"),
        _activation("leaky_relu"),
        _NORM,
        takes=("scene",),
    ),
)
