"""What the trainer reports each epoch: the names a study may take as objectives, and the better direction of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tuner.catalog.entries import Entry


@dataclass(frozen=True, kw_only=True)
class MetricFacts:
    tasks: tuple[str, ...]
    direction: Literal["maximize", "minimize"]
    min_classes: int = 0
    """Reported only for data sets of at least so many classes."""
    measured: bool = False
    """Taken from a clock or a meter: another run of the same trial has another value."""


MetricEntry = Entry[MetricFacts]

ALL_TASKS = ("classification", "regression", "language", "translation", "detection")
TOKENS = ("language", "translation")


def _entry(
    name: str,
    summary: str,
    source: str,
    direction: Literal["maximize", "minimize"],
    tasks: tuple[str, ...] = ALL_TASKS,
    when_to_use: str = "As an objective or to watch.",
    min_classes: int = 0,
    measured: bool = False,
) -> MetricEntry:
    return Entry(
        kind="metrics",
        name=name,
        summary=summary,
        when_to_use=when_to_use,
        source=source,
        facts=MetricFacts(tasks=tasks, direction=direction, min_classes=min_classes, measured=measured),
    )


ENTRIES: tuple[MetricEntry, ...] = (
    _entry("val_loss", "Loss on the validation set.", "mean over its samples", "minimize"),
    _entry("train_loss", "Loss while training, averaged over the epoch.", "without the penalty", "minimize"),
    _entry(
        "val_accuracy",
        "Share of right classes, or of right next tokens.",
        "argmax z = y",
        "maximize",
        ("classification", *TOKENS),
    ),
    _entry("val_perplexity", "How many tokens are as good as equally likely.", "exp(val_loss)", "minimize", TOKENS),
    _entry("val_bleu", "Greedy translations against the targets.", "BLEU-4; torchmetrics", "maximize", ("translation",)),
    _entry(
        "val_top5_accuracy",
        "Share of samples whose class is among the five largest outputs.",
        "y among the five largest z",
        "maximize",
        ("classification",),
        "With many classes.",
        min_classes=6,
    ),
    _entry("val_r2", "Share of variance explained.", "1 - SSE / SST", "maximize", ("regression",)),
    _entry("val_mae", "Mean absolute error.", "mean |z - y|", "minimize", ("regression",)),
    _entry("lr", "Learning rate at the start of the epoch.", "first parameter group", "minimize", when_to_use="To watch."),
    _entry(
        "grad_norm",
        "Norm of the gradient, averaged over the epoch.",
        "in every fourth step, before clipping",
        "minimize",
        when_to_use="To watch: vanishing and exploding gradients show here.",
    ),
    _entry(
        "samples_per_second",
        "Training throughput, evaluation left out.",
        "wall clock",
        "maximize",
        when_to_use="As an objective where speed counts.",
        measured=True,
    ),
    _entry("val_map", "Mean average precision over overlaps from 0.5 to 0.95.", "COCO; pycocotools", "maximize", ("detection",)),
    _entry("val_map50", "Mean average precision at overlap 0.5.", "COCO; pycocotools", "maximize", ("detection",)),
)
