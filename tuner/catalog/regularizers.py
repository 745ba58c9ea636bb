"""Penalties on the weights that are added to the training loss.

Biases and norms are spared unless decay_biases_and_norms. Other regularization stands where it acts: weight_decay with the
optimizer, dropout and normalization with the model, label smoothing with the loss, clipping and early stopping with the trainer.
"""

from __future__ import annotations

from dataclasses import dataclass

from tuner.catalog.entries import Entry, Hyperparameter, number


@dataclass(frozen=True, kw_only=True)
class RegularizerFacts:
    where: str = "loss"


RegularizerEntry = Entry[RegularizerFacts]


def _entry(name: str, summary: str, when_to_use: str, source: str, *hyperparameters: Hyperparameter) -> RegularizerEntry:
    return Entry(
        kind="regularizers",
        name=name,
        summary=summary,
        when_to_use=when_to_use,
        source=source,
        hyperparameters=hyperparameters,
        facts=RegularizerFacts(),
    )


def _strength(name: str, default: float, summary: str) -> Hyperparameter:
    return number(name, default, 0, log=True, summary=summary)


ENTRIES: tuple[RegularizerEntry, ...] = (
    _entry("none", "No penalty.", "By default.", "loss + 0"),
    _entry(
        "l2",
        "Half the squared norm of the weights: its gradient is strength w, as weight_decay of a coupled optimizer.",
        "Against overfitting, small weights everywhere.",
        "Tikhonov 1943; loss + strength / 2 sum w^2",
        _strength("strength", 1e-4, "weight of the penalty"),
    ),
    _entry(
        "l1",
        "The sum of absolute weights: its gradient is strength sign(w).",
        "Where many weights should be zero.",
        "Tibshirani 1996; loss + strength sum |w|",
        _strength("strength", 1e-5, "weight of the penalty"),
    ),
    _entry(
        "elastic_net",
        "Both penalties with weights of their own.",
        "Sparse weights among correlated features.",
        "Zou and Hastie 2005; loss + l1 sum |w| + l2 / 2 sum w^2",
        _strength("l1", 1e-5, "weight of the absolute penalty"),
        _strength("l2", 1e-4, "weight of the squared penalty"),
    ),
)
