"""Trainer configurations: checked at submission, merged with a trial's parameters, completed with defaults.

A configuration is a mapping of components (`optimizer: {name: adam, lr: 0.001}`) and plain fields (`epochs: 20`). A parameter
named a.b of the search space sets field b of component a. Whether components suit each other (a convolution wants images) is
the business of `tuner.catalog.fit`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from tuner.catalog.entries import Entry
from tuner.catalog.fields import FIELDS, refusals
from tuner.catalog.fit import FITTED, LOSSES, misfits, task_of
from tuner.catalog.table import get, names
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


def complete(trainer: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with every default filled in, in canonical order and form. InvalidValue with all its problems."""
    problems = problems_of(trainer)
    if problems:
        raise InvalidValue(errors=problems)
    completed: dict[str, Any] = {}
    for section in SECTIONS:
        completed[section] = _completed(section, trainer)
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


def problems_of(trainer: Mapping[str, Any], supplied: Iterable[str] = (), *, varies_components: bool = False) -> list[FieldError]:
    """Problems with locations relative to the configuration; `supplied` are paths that the search space always sets.

    Where the space varies components, whether those of the base suit each other says nothing.
    """
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
    if not problems and not varies_components:
        problems += misfits({section: _completed(section, trainer) for section in FITTED})
        optimizer = get("optimizers", str(default_name("optimizer", trainer)))
        problems += refusals(optimizer, {name: value for name, value in fields.items() if name not in supplied})
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


def default_name(section: str, trainer: Mapping[str, Any]) -> str | None:
    """The name a section has in the configuration, given or by default; None where there is none."""
    value = trainer.get(section)
    given = value.get("name") if isinstance(value, Mapping) else None
    if given is not None:
        return str(given)
    if section == "loss":
        dataset = default_name("dataset", trainer)
        return LOSSES[task_of({**_given("dataset", trainer), "name": dataset})] if dataset in names("datasets") else None
    return DEFAULTS.get(section)


def _completed(section: str, trainer: Mapping[str, Any]) -> dict[str, Any]:
    """A component of a legal configuration with its name and every hyperparameter."""
    name = str(default_name(section, trainer))
    return {"name": name, **get(SECTIONS[section], name).complete(_given(section, trainer))}


def _given(section: str, trainer: Mapping[str, Any]) -> dict[str, Any]:
    value = trainer.get(section)
    return {key: item for key, item in value.items() if key != "name"} if isinstance(value, Mapping) else {}


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
