"""The weight initializers of the catalogue, with the activations each suits.

Each sets the weights of linear, convolutional and recurrent layers and zeroes their biases; `default` leaves torch's own. Norms keep theirs.
"""

from __future__ import annotations

from dataclasses import dataclass

from tuner.catalog.entries import Entry, Hyperparameter, number


@dataclass(frozen=True, kw_only=True)
class InitializerFacts:
    suits: tuple[str, ...]
    """Activations it keeps the variance of."""


InitializerEntry = Entry[InitializerFacts]

SATURATING = ("sigmoid", "tanh")
RECTIFYING = ("relu", "leaky_relu", "gelu", "silu")


def _entry(
    name: str, summary: str, when_to_use: str, source: str, *hyperparameters: Hyperparameter, suits: tuple[str, ...]
) -> InitializerEntry:
    return Entry(
        kind="initializers",
        name=name,
        summary=summary,
        when_to_use=when_to_use,
        source=source,
        hyperparameters=hyperparameters,
        facts=InitializerFacts(suits=suits),
    )


ENTRIES: tuple[InitializerEntry, ...] = (
    _entry(
        "default",
        "torch's own: uniform within 1 / sqrt(fan_in).",
        "When nothing speaks for another.",
        "torch.nn.Linear.reset_parameters",
        suits=(*SATURATING, *RECTIFYING),
    ),
    _entry(
        "xavier_uniform",
        "Uniform within sqrt(6 / (fan_in + fan_out)).",
        "Sigmoid and tanh.",
        "Glorot and Bengio 2010; torch.nn.init.xavier_uniform_",
        suits=SATURATING,
    ),
    _entry(
        "xavier_normal",
        "Normal with variance 2 / (fan_in + fan_out).",
        "Sigmoid and tanh.",
        "Glorot and Bengio 2010; torch.nn.init.xavier_normal_",
        suits=SATURATING,
    ),
    _entry(
        "he_uniform",
        "Uniform within sqrt(6 / fan_in).",
        "ReLU and its kin.",
        "He et al. 2015, arXiv 1502.01852; torch.nn.init.kaiming_uniform_",
        suits=RECTIFYING,
    ),
    _entry(
        "he_normal",
        "Normal with variance 2 / fan_in.",
        "ReLU and its kin.",
        "He et al. 2015, arXiv 1502.01852; torch.nn.init.kaiming_normal_",
        suits=RECTIFYING,
    ),
    _entry(
        "orthogonal",
        "Orthonormal rows or columns, times gain.",
        "Deep and recurrent networks.",
        "Saxe et al. 2014, arXiv 1312.6120; torch.nn.init.orthogonal_",
        number("gain", 1.0, 0, low_open=True, log=True, summary="factor; sqrt(2) suits ReLU"),
        suits=(*SATURATING, *RECTIFYING),
    ),
    _entry(
        "trunc_normal",
        "Normal with the given deviation, drawn again beyond two deviations.",
        "Transformers.",
        "torch.nn.init.trunc_normal_",
        number("std", 0.02, 0, low_open=True, log=True, summary="deviation before the cut"),
        suits=("gelu", "silu", "relu"),
    ),
    _entry(
        "zeros",
        "All zero.",
        "Models of one layer; in deeper ones all units of a layer stay equal, which is what it is there to show.",
        "torch.nn.init.zeros_",
        suits=(),
    ),
)
