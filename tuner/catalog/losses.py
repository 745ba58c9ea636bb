"""The losses of the catalogue and the tasks each can train."""

from __future__ import annotations

from dataclasses import dataclass

from tuner.catalog.entries import Entry, Hyperparameter, number


@dataclass(frozen=True, kw_only=True)
class LossFacts:
    tasks: tuple[str, ...]
    classes: int | None = None
    """It takes just this number of classes, and then one output: its sign decides."""


LossEntry = Entry[LossFacts]


def _entry(
    name: str,
    summary: str,
    when_to_use: str,
    source: str,
    *hyperparameters: Hyperparameter,
    tasks: tuple[str, ...],
    classes: int | None = None,
) -> LossEntry:
    return Entry(
        kind="losses",
        name=name,
        summary=summary,
        when_to_use=when_to_use,
        source=source,
        hyperparameters=hyperparameters,
        facts=LossFacts(tasks=tasks, classes=classes),
    )


ENTRIES: tuple[LossEntry, ...] = (
    _entry(
        "cross_entropy",
        "Negative log of the softmax probability of the right class.",
        "Classification, language and translation.",
        "-log softmax(z)_y; torch.nn.functional.cross_entropy",
        number("label_smoothing", 0.0, 0, 1, high_open=True, summary="share spread evenly over all classes"),
        tasks=("classification", "language", "translation"),
    ),
    _entry(
        "mse",
        "Mean squared error.",
        "Regression with few outliers.",
        "mean (z - y)^2",
        tasks=("regression",),
    ),
    _entry("mae", "Mean absolute error.", "Regression with outliers.", "mean |z - y|", tasks=("regression",)),
    _entry(
        "huber",
        "Squared near zero, absolute beyond delta.",
        "Regression with some outliers.",
        "Huber 1964; d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2)",
        number("delta", 1.0, 0, low_open=True, log=True, summary="where it turns from squared to absolute"),
        tasks=("regression",),
    ),
    _entry(
        "bce",
        "Binary cross-entropy of one output.",
        "Two classes; with model neuron this is logistic regression.",
        "-y log s(z) - (1 - y) log(1 - s(z)); torch.nn.functional.binary_cross_entropy_with_logits",
        number("pos_weight", 1.0, 0, low_open=True, log=True, summary="weight of the samples of class 1"),
        tasks=("classification",),
        classes=2,
    ),
    _entry(
        "focal",
        "Cross-entropy times (1 - p)^gamma: samples that are already right count less.",
        "Classes of very different size.",
        "Lin et al. 2017, arXiv 1708.02002; -(1 - p_y)^gamma log p_y",
        number("gamma", 2.0, 0, summary="0 is cross-entropy"),
        tasks=("classification",),
    ),
    _entry(
        "grid_detection",
        "Objectness in every cell; box and class where there is one; mean over images.",
        "The grid detector.",
        "Redmon et al. 2016, arXiv 1506.02640; roots of the sides, cross-entropy for objectness and class",
        number("box_weight", 5.0, 0, log=True, summary="of centers and sides"),
        number("empty_weight", 0.5, 0, log=True, summary="of objectness where there is no box"),
        tasks=("detection",),
    ),
)
