"""The data sets of the catalogue. All are split the same way for every trial of a study: by their own seed, not by the trial's."""

from __future__ import annotations

from dataclasses import dataclass

from tuner.catalog.entries import Entry, Hyperparameter, integer, number


@dataclass(frozen=True, kw_only=True)
class DatasetFacts:
    task: str
    sample: str
    """vector or image."""
    shape: tuple[int, ...] | None = None
    """Shape of one sample, where it is known beforehand."""
    classes: int | None = None
    samples: int | None = None


DatasetEntry = Entry[DatasetFacts]

SPLIT = (
    number("validation", 0.2, 0, 1, low_open=True, high_open=True, per_lane=False, summary="share held out to validate"),
    number("test", 0.0, 0, 1, high_open=True, per_lane=False, summary="share never looked at before the end"),
    integer("split_seed", 0, 0, 2**32 - 1, summary="of the shuffle before the split"),
)


def _entry(
    name: str,
    summary: str,
    when_to_use: str,
    source: str,
    *hyperparameters: Hyperparameter,
    facts: DatasetFacts,
    split: tuple[Hyperparameter, ...] = SPLIT,
) -> DatasetEntry:
    return Entry(
        kind="datasets",
        name=name,
        summary=summary,
        when_to_use=when_to_use,
        source=source,
        hyperparameters=(*hyperparameters, *split),
        facts=facts,
    )


ENTRIES: tuple[DatasetEntry, ...] = (
    _entry(
        "digits",
        "1797 handwritten digits of 8x8 pixels, 10 classes.",
        "The standard small benchmark of this service: an MLP learns it in a second.",
        "scikit-learn load_digits (UCI)",
        facts=DatasetFacts(task="classification", sample="image", shape=(1, 8, 8), classes=10, samples=1797),
    ),
    _entry(
        "iris",
        "150 flowers, 4 measures, 3 classes.",
        "Smoke tests.",
        "scikit-learn load_iris (Fisher 1936)",
        facts=DatasetFacts(task="classification", sample="vector", shape=(4,), classes=3, samples=150),
    ),
    _entry(
        "wine",
        "178 wines, 13 measures, 3 classes.",
        "Small tables.",
        "scikit-learn load_wine (UCI)",
        facts=DatasetFacts(task="classification", sample="vector", shape=(13,), classes=3, samples=178),
    ),
    _entry(
        "breast_cancer",
        "569 biopsies, 30 measures, 2 classes.",
        "Binary classification.",
        "scikit-learn load_breast_cancer (UCI)",
        facts=DatasetFacts(task="classification", sample="vector", shape=(30,), classes=2, samples=569),
    ),
    _entry(
        "diabetes",
        "442 patients, 10 measures; progression of the disease after a year, standardized.",
        "Regression.",
        "scikit-learn load_diabetes (Efron et al. 2004)",
        facts=DatasetFacts(task="regression", sample="vector", shape=(10,), samples=442),
    ),
    _entry(
        "xor",
        "The four corners of a square, repeated; opposite corners share a class. Validated on the corners themselves.",
        "To see that a hidden layer is needed.",
        "Minsky and Papert 1969",
        integer("repeats", 16, 1, 1_000_000, summary="copies of the four points in the training set"),
        number("noise", 0.0, 0, per_lane=False, summary="standard deviation added to the training points"),
        integer("split_seed", 0, 0, 2**32 - 1, summary="of the noise"),
        facts=DatasetFacts(task="classification", sample="vector", shape=(2,), classes=2),
        split=(),
    ),
)
