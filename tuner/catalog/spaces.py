"""A study's search space against its trainer configuration: paths, choices and bounds that some trial would be refused for.

Which names a component may have is read from the conditions of the space; what goes wrong between components that vary together
is found by `tuner.catalog.combinations`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tuner.catalog.combinations import combination_problems
from tuner.catalog.entries import Hyperparameter, HyperparameterType
from tuner.catalog.fields import FIELDS
from tuner.catalog.fit import FITTED, task_of
from tuner.catalog.table import entries, get, names
from tuner.catalog.trainer import SECTIONS, default_name, problems_of, unknown_name, unknown_path
from tuner.errors import FieldError
from tuner.parameters import near
from tuner.space import CategoricalParameter, Condition, IntParameter, Parameter, SearchSpace


def check_trainer(trainer: Mapping[str, Any], space: SearchSpace | None = None) -> list[FieldError]:
    """Everything wrong with a study's base configuration (`trial.trainer...`) and with the paths, choices and bounds of its
    search space (`space...`); an empty list when all trials of the space would be accepted."""
    supplied = set() if space is None else {name for name, parameter in space.parameters.items() if not parameter.when}
    varied = space is not None and any(path.partition(".")[0] in FITTED for path in space.parameters)
    found = problems_of(trainer, supplied, varies_components=varied)
    problems = [FieldError(f"trial.trainer.{error.loc}".rstrip("."), error.msg) for error in found]
    if space is not None:
        for name, parameter in space.parameters.items():
            problems += _parameter_problems(name, parameter, trainer, space)
        # With an illegal base it is not known what the choices of the space meet.
        problems += [] if problems else combination_problems(trainer, space)
    return problems


def check_objectives(trainer: Mapping[str, Any], space: SearchSpace | None, objectives: Iterable[str]) -> list[FieldError]:
    """Objectives the trainer does not report for this task, each located as `objectives.N.name`."""
    return check_metrics(trainer, space, {f"objectives.{index}.name": name for index, name in enumerate(objectives)})


def check_metrics(trainer: Mapping[str, Any], space: SearchSpace | None, metrics: Mapping[str, str]) -> list[FieldError]:
    """Metrics, by the field that names each, which the trainer does not report for this task."""
    possible = _possible_names("dataset", trainer, space)
    given = trainer.get("dataset")
    tasks = {task_of({**(given if isinstance(given, Mapping) else {}), "name": name}) for name in possible}
    known = [get("datasets", name).facts.classes for name in possible]
    num_classes = min((count for count in known if count is not None), default=2**31)
    problems = []
    for field, metric in metrics.items():
        reported = [m.name for m in entries("metrics") if tasks <= set(m.facts.tasks) and num_classes >= m.facts.min_classes]
        if tasks and metric not in reported:
            problems.append(
                FieldError(
                    field,
                    f"the trainer does not report {metric!r} for {' and '.join(sorted(tasks))}; {near(metric, reported)}",
                )
            )
    return problems


def _parameter_problems(path: str, parameter: Parameter, trainer: Mapping[str, Any], space: SearchSpace) -> list[FieldError]:
    loc = f"space.{path}"
    section, dot, field = path.partition(".")
    if not dot and path in FIELDS.by_name:
        return _value_problems(loc, FIELDS.by_name[path], parameter)
    if not dot or section not in SECTIONS:
        return [FieldError(loc, unknown_path(path))]
    kind = SECTIONS[section]
    if field == "name":
        if not isinstance(parameter, CategoricalParameter):
            return [FieldError(loc, f"must be categorical with choices among {', '.join(names(kind))}")]
        return [
            FieldError(f"{loc}.choices", unknown_name(kind, choice)) for choice in parameter.choices if choice not in names(kind)
        ]
    possible = _possible_names(section, trainer, space, path)
    having = [name for name in possible if field in get(kind, name).by_name]
    if possible and not having:
        return [FieldError(loc, _unknown_field(kind, possible, field))]
    problems = []
    if len(having) < len(possible):
        lacking = [name for name in possible if name not in having]
        problems.append(
            FieldError(
                loc,
                f"{', '.join(lacking)} {'has' if len(lacking) == 1 else 'have'} no hyperparameter {field!r}; "
                f"add when: {{{section}.name: [{', '.join(having)}]}}",
            )
        )
    for name in having:
        found = _value_problems(loc, get(kind, name).by_name[field], parameter, f"{name} takes")
        problems += [error for error in found if error not in problems]
    return problems


def _value_problems(loc: str, known: Hyperparameter, parameter: Parameter, lead: str = "must be") -> list[FieldError]:
    """Values of a parameter that its hyperparameter does not allow."""
    if isinstance(parameter, CategoricalParameter):
        bad = [choice for choice in parameter.choices if not known.is_allowed(choice)]
        return [FieldError(f"{loc}.choices", f"{lead} {known.allowed()}, not {bad[0]!r}")] if bad else []
    integral = (HyperparameterType.INT, HyperparameterType.INTS)
    fitting = (*integral, HyperparameterType.FLOAT) if isinstance(parameter, IntParameter) else (HyperparameterType.FLOAT,)
    if known.type not in fitting:
        hint = "type: int" if known.type in integral else "type: categorical"
        return [FieldError(f"{loc}.type", f"{lead} {known.allowed()}: use {hint}")]
    return [
        FieldError(f"{loc}.{end}", f"{lead} {known.allowed()}, not {value:g}")
        for end, value in (("low", parameter.low), ("high", parameter.high))
        if not known.is_within(value)
    ]


def _unknown_field(kind: str, possible: Sequence[str], field: str) -> str:
    if len(possible) == 1:
        return str(get(kind, possible[0]).unknown(field))
    known = {h: None for name in possible for h in get(kind, name).by_name}
    return f"none of {', '.join(possible)} has a hyperparameter {field!r}; {near(field, known)}"


def _possible_names(section: str, trainer: Mapping[str, Any], space: SearchSpace | None, path: str | None = None) -> list[str]:
    """Names of the catalogue that a section can have, over the whole space or where the parameter `path` is active."""
    chooser = f"{section}.name"
    parameter = space.parameters.get(chooser) if space is not None else None
    found: list[Any] = []
    if space is not None and isinstance(parameter, CategoricalParameter):
        conditions = _conditions(space, path, chooser) if path is not None else []
        found = [choice for choice in parameter.choices if all(c.holds(choice) for c in conditions)]
        if not parameter.when or conditions:
            return [name for name in found if name in names(SECTIONS[section])]
    base = default_name(section, trainer)
    return [name for name in dict.fromkeys([*found, base]) if name in names(SECTIONS[section])]


def _conditions(space: SearchSpace, path: str, parent: str) -> list[Condition]:
    """All that must hold of `parent` for the parameter `path` to be active, its ancestors' conditions included."""
    found = []
    for condition in space.parameters[path].when or ():
        if condition.parent == parent:
            found.append(condition)
        found += _conditions(space, condition.parent, parent)
    return found
