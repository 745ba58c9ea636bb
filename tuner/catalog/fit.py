"""Whether the components of a configuration suit each other: samples and model, task and loss, number of weights and optimizer.

Told from the configuration alone. What only a file shows (how many columns a table has) is left to the trial.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tuner.catalog.shapes import model_problems, num_outputs, sample_shape
from tuner.catalog.sizes import count_parameters
from tuner.catalog.table import entries, get
from tuner.errors import FieldError

FITTED = ("dataset", "model", "optimizer", "loss", "augmentation")
"""Components that must suit each other."""
LOSSES = {
    "classification": "cross_entropy",
    "regression": "mse",
    "language": "cross_entropy",
    "translation": "cross_entropy",
    "detection": "grid_detection",
}
"""The loss where none is given, by the data set's task."""

Components = Mapping[str, Mapping[str, Any]]


def task_of(dataset: Mapping[str, Any]) -> str:
    """What is to be learned of a data set: its own task, or the configuration's where it has the choice."""
    entry = get("datasets", dataset["name"])
    given = dataset.get("task") if "task" in entry.by_name else None
    return given if given in LOSSES else str(entry.facts.task)


def misfits(components: Components) -> list[FieldError]:
    """Problems between components, each complete and legal by itself."""
    problems = [
        *_split_problems(components),
        *_sample_problems(components),
        *_augmentation_problems(components),
        *_loss_problems(components),
    ]
    # The size of a model that cannot be built says nothing.
    return problems if any(p.loc.startswith("model.") for p in problems) else [*problems, *_size_problems(components)]


def _split_problems(components: Components) -> Iterator[FieldError]:
    dataset = components["dataset"]
    validation, test = (dataset.get(part, 0.0) for part in ("validation", "test"))
    if validation + test >= 1:
        msg = f"validation and test leave nothing to train on: {validation + test:g} of all samples"
        yield FieldError("dataset.validation", msg)
        return
    count = dataset.get("samples") or get("datasets", dataset["name"]).facts.samples
    # At least one sample is held out to validate.
    if count is not None and max(1, round(count * validation)) + round(count * test) >= count:
        yield FieldError("dataset.validation", f"validation and test leave nothing to train on of {count:,} samples")


def _sample_problems(components: Components) -> Iterator[FieldError]:
    dataset, model = components["dataset"], components["model"]
    sample, takes = get("datasets", dataset["name"]).facts.sample, get("models", model["name"]).facts.takes
    if sample is not None and sample not in takes:
        fitting = ", ".join(e.name for e in entries("models") if sample in e.facts.takes)
        msg = f"{model['name']} takes {' or '.join(takes)} samples, {dataset['name']} has {sample} ones; there are {fitting}"
        yield FieldError("model.name", msg)
    else:
        yield from model_problems(model, sample_shape(dataset))


def _augmentation_problems(components: Components) -> Iterator[FieldError]:
    dataset, augmentation = components["dataset"]["name"], components["augmentation"]["name"]
    sample, samples = get("datasets", dataset).facts.sample, get("augmentations", augmentation).facts.samples
    if sample is not None and samples is not None and sample not in samples:
        msg = f"{augmentation} changes {' or '.join(samples)} samples, {dataset} has {sample} ones"
        yield FieldError("augmentation.name", msg)


def _loss_problems(components: Components) -> Iterator[FieldError]:
    dataset, loss = components["dataset"], components["loss"]["name"]
    task, facts, classes = task_of(dataset), get("losses", loss).facts, get("datasets", dataset["name"]).facts.classes
    if task not in facts.tasks:
        fitting = ", ".join(e.name for e in entries("losses") if task in e.facts.tasks)
        yield FieldError("loss.name", f"{loss} is not a loss for {task}; there are {fitting}")
    elif None not in (classes, facts.classes) and classes != facts.classes:
        yield FieldError("loss.name", f"{loss} takes {facts.classes} classes, {dataset['name']} has {classes}")


def _size_problems(components: Components) -> Iterator[FieldError]:
    """A model too large for its optimizer. Where only a file tells the shape, the least that the model can have is counted."""
    dataset, model, optimizer = (components[section] for section in ("dataset", "model", "optimizer"))
    limit = get("optimizers", optimizer["name"]).facts.max_parameters
    shape, outputs = sample_shape(dataset), num_outputs(dataset, task_of(dataset))
    is_exact = shape is not None and outputs is not None
    if limit is None or (shape is None and "vector" not in get("models", model["name"]).facts.takes):
        return
    single = get("losses", components["loss"]["name"]).facts.classes is not None
    count = count_parameters(model, shape or (1,), 1 if single else outputs or 1)
    if count > limit:
        has = f"has {count:,}" if is_exact else f"has at least {count:,}"
        msg = f"{optimizer['name']} takes at most {limit:,} parameters and this model {has}"
        yield FieldError("optimizer.name", f"{msg}; use lbfgs or newton_cg, or a smaller model")
