"""Trainer configurations: checked at submission, merged with a trial's parameters, completed with defaults.

A configuration is a mapping of components (`optimizer: {name: adam, lr: 0.001}`) and plain fields (`epochs: 20`). A parameter
named a.b of the search space sets field b of component a. Whether two components fit (a convolution wants images) is checked as
far as names alone tell; shapes that only the data shows are left to the trial.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from tuner.catalog.entries import Entry
from tuner.catalog.fields import FIELDS
from tuner.catalog.sizes import count_parameters
from tuner.catalog.table import entries, get, names
from tuner.errors import FieldError, InvalidValue
from tuner.parameters import near

SECTIONS: dict[str, str] = {
    "dataset": "datasets",
    "model": "models",
    "optimizer": "optimizers",
    "schedule": "schedules",
    "loss": "losses",
    "initializer": "initializers",
    "regularizer": "regularizers",
    "augmentation": "augmentations",
}
"""The components of a configuration and the kind of catalogue entry each takes."""
DEFAULTS = {
    "optimizer": "adam",
    "schedule": "constant",
    "initializer": "default",
    "regularizer": "none",
    "augmentation": "none",
}
FITTED = ("dataset", "model", "loss", "augmentation")
"""Components that must suit each other."""
LOSSES = {
    "classification": "cross_entropy",
    "regression": "mse",
    "language": "cross_entropy",
    "translation": "cross_entropy",
    "detection": "grid_detection",
}
"""The loss where none is given, by the data set's task."""


def complete(trainer: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with every default filled in, in canonical order and form. InvalidValue with all its problems."""
    problems = problems_of(trainer)
    if problems:
        raise InvalidValue(errors=problems)
    completed: dict[str, Any] = {}
    for section, kind in SECTIONS.items():
        given = dict(trainer.get(section) or {})
        name = str(given.pop("name", None) or default_name(section, trainer))
        completed[section] = {"name": name, **get(kind, name).complete(given)}
    fields = {name: value for name, value in trainer.items() if name not in SECTIONS}
    return completed | FIELDS.complete(fields)


def merge(trainer: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """The complete configuration of a trial: parameter a.b sets field a.b of the base configuration.

    Where a trial chooses another component than the base names, those of the base's hyperparameters that the chosen one lacks
    are dropped; a hyperparameter set by the trial that the chosen one lacks raises InvalidValue.
    """
    merged: dict[str, Any] = copy.deepcopy(dict(trainer))
    for section, kind in SECTIONS.items():
        chosen = params.get(f"{section}.name")
        if isinstance(chosen, str) and isinstance(merged.get(section), dict):
            merged[section] = _switched(merged[section], get(kind, chosen), default_name(section, trainer))
    for path, value in params.items():
        section, dot, field = path.partition(".")
        if not dot:
            merged[path] = value
        elif section not in SECTIONS:
            raise InvalidValue(errors=[FieldError(path, unknown_path(path))])
        else:
            merged[section] = {**(merged.get(section) or {}), field: value}
    return complete(merged)


# --- the base configuration -----------------------------------------------------------------------------------------------


def problems_of(trainer: Mapping[str, Any], supplied: Iterable[str] = ()) -> list[FieldError]:
    """Problems with locations relative to the configuration; `supplied` are paths that the search space always sets."""
    supplied = set(supplied)
    problems: list[FieldError] = []
    fields: dict[str, Any] = {}
    for key, value in trainer.items():
        if key in SECTIONS:
            problems += _section_problems(key, value, trainer, supplied)
        elif key in FIELDS.by_name:
            fields[key] = value
        else:
            problems.append(FieldError(str(key), f"unknown field; {near(str(key), [*SECTIONS, *FIELDS.by_name])}"))
    problems += [FieldError(name, msg) for name, msg in FIELDS.check(fields)]
    for section in ("dataset", "model"):
        if section not in trainer and f"{section}.name" not in supplied:
            problems.append(FieldError(section, f"is required: {{name: ...}} with one of {', '.join(names(SECTIONS[section]))}"))
    if not problems:
        problems += _split_problems(trainer)
        problems += _size_problems(trainer, supplied)
        problems += misfits(trainer, {s: default_name(s, trainer) for s in FITTED})
    return problems


def _section_problems(section: str, value: Any, trainer: Mapping[str, Any], supplied: set[str]) -> list[FieldError]:
    kind = SECTIONS[section]
    if not isinstance(value, Mapping):
        return [FieldError(section, f"must be a mapping with a name, such as {{name: {names(kind)[0]}}}")]
    name = value.get("name", default_name(section, trainer))
    if name is None and f"{section}.name" in supplied:
        return []
    if not isinstance(name, str) or name not in names(kind):
        return [FieldError(f"{section}.name", unknown_name(kind, name))]
    given = {key: item for key, item in value.items() if key != "name"}
    return [
        FieldError(f"{section}.{key}", msg)
        for key, msg in get(kind, name).check(given)
        if key in given or f"{section}.{key}" not in supplied
    ]


def _split_problems(trainer: Mapping[str, Any]) -> list[FieldError]:
    dataset = trainer.get("dataset") or {}
    held = sum(dataset.get(part, 0.0) for part in ("validation", "test"))
    if held < 1:
        return []
    return [FieldError("dataset.validation", f"validation and test leave nothing to train on: {held:g} of all samples")]


def _size_problems(trainer: Mapping[str, Any], supplied: set[str]) -> list[FieldError]:
    """A model too large for its optimizer, told where neither is varied and the sizes are known."""
    if any(path.startswith(("model.", "optimizer.name", "dataset.")) for path in supplied):
        return []
    chosen = {section: default_name(section, trainer) for section in ("dataset", "model", "optimizer", "loss")}
    if None in chosen.values():
        return []
    data = get("datasets", str(chosen["dataset"])).facts
    limit = get("optimizers", str(chosen["optimizer"])).facts.max_parameters
    if limit is None or data.shape is None:
        return []
    given = {key: value for key, value in trainer["model"].items() if key != "name"}
    model = {"name": chosen["model"], **get("models", str(chosen["model"])).complete(given)}
    is_single = data.task == "regression" or get("losses", str(chosen["loss"])).facts.classes is not None
    count = count_parameters(model, data.shape, 1 if is_single else data.classes)
    if count is None or count <= limit:
        return []
    msg = f"{chosen['optimizer']} takes at most {limit:,} parameters and this model has {count:,}; use lbfgs or newton_cg, or a smaller model"
    return [FieldError("optimizer.name", msg)]


def task_of(trainer: Mapping[str, Any], dataset: str) -> str:
    """What is to be learned of a data set: its own task, or the configuration's where it has the choice."""
    entry, given = get("datasets", dataset), trainer.get("dataset")
    task = given.get("task") if isinstance(given, Mapping) and "task" in entry.by_name else None
    return task if task in LOSSES else str(entry.facts.task)


def misfits(trainer: Mapping[str, Any], chosen: Mapping[str, str | None]) -> list[FieldError]:
    """Components that cannot work together, told from their names."""
    dataset, model, loss = chosen.get("dataset"), chosen.get("model"), chosen.get("loss")
    if dataset is None:
        return []
    data, task = get("datasets", dataset).facts, task_of(trainer, dataset)
    problems = []
    if model is not None:
        facts = get("models", model).facts
        if data.sample is not None and data.sample not in facts.takes:
            fitting = [e.name for e in entries("models") if data.sample in e.facts.takes]
            msg = f"{model} takes {' or '.join(facts.takes)} samples, {dataset} has {data.sample} ones; there are {', '.join(fitting)}"
            problems.append(FieldError("model.name", msg))
        elif data.sample == "image" and data.shape is not None and min(data.shape[1:]) < facts.min_size:
            size = "x".join(str(side) for side in data.shape[1:])
            msg = f"{model} needs images of at least {facts.min_size} pixels a side, {dataset} has {size}"
            problems.append(FieldError("model.name", msg))
    augmentation = chosen.get("augmentation")
    if augmentation is not None and data.sample is not None:
        samples = get("augmentations", augmentation).facts.samples
        if samples is not None and data.sample not in samples:
            msg = f"{augmentation} changes {' or '.join(samples)} samples, {dataset} has {data.sample} ones"
            problems.append(FieldError("augmentation.name", msg))
    if loss is not None:
        facts = get("losses", loss).facts
        if task not in facts.tasks:
            fitting = [e.name for e in entries("losses") if task in e.facts.tasks]
            problems.append(FieldError("loss.name", f"{loss} is not a loss for {task}; there are {', '.join(fitting)}"))
        elif None not in (data.classes, facts.classes) and data.classes != facts.classes:
            problems.append(FieldError("loss.name", f"{loss} takes {facts.classes} classes, {dataset} has {data.classes}"))
    return problems


def default_name(section: str, trainer: Mapping[str, Any]) -> str | None:
    """The name a section has in the configuration, given or by default; None where there is none."""
    value = trainer.get(section)
    given = value.get("name") if isinstance(value, Mapping) else None
    if given is not None:
        return str(given)
    if section == "loss":
        dataset = default_name("dataset", trainer)
        return LOSSES[task_of(trainer, dataset)] if dataset in names("datasets") else None
    return DEFAULTS.get(section)


def _switched(base: Mapping[str, Any], entry: Entry[Any], base_name: str | None) -> dict[str, Any]:
    if base_name == entry.name:
        return dict(base)
    kept = {key: value for key, value in base.items() if key in entry.by_name}
    return {"name": entry.name, **kept}


def unknown_name(kind: str, name: object) -> str:
    return f"unknown name {name!r}; {near(str(name), names(kind))}"


def unknown_path(path: str) -> str:
    paths = [*FIELDS.by_name, *(f"{section}.name" for section in SECTIONS)]
    section = path.partition(".")[0]
    if section in SECTIONS:
        return f"set a field of {section}, such as {section}.name"
    return f"is no field of the trainer; {near(path, paths)}"
