"""Edits of a study's search space after it was submitted, each of them a version: what may change, and the change itself.

An edit appends choices, moves the ends of a range outwards, freezes a parameter at a value or lets it go again. So whatever a trial had
before is a value of the new space too, and means the same. Nothing else may change: narrowing a range or taking a choice away would
leave trials outside, which samplers cannot place; and what the copies of a population keep cannot be frozen. A version applies to the trials from `first_number` on. The
study's spec holds the space as it is now, its digest stays that of what was submitted. Weakness: an edit that was a mistake can be taken back
only where it froze something.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, func, select, text

from tuner import auto, events, feasibility, populations
from tuner.errors import Conflict, FieldError, InvalidSpec
from tuner.parameters import CategoricalParameter, Parameter, is_finite, is_same, near, printable, show
from tuner.space import SearchSpace
from tuner.spec import Executor, StudySpec

MAX_EDITS = 100
"""Of one study: each is kept on its row."""
DROPPED_KEY = "tuner:dropped_by_edit"
"""System attribute of a trial that was cancelled before anybody ran it, since a parameter was frozen at another value. It counts as if it had
never been proposed: grids offer its configuration again, populations make another member."""
_USAGE = {
    "float": "{low: ...} and {high: ...}, outwards only, {freeze: VALUE} and {unfreeze: true}",
    "categorical": "{append: [CHOICE, ...]}, {freeze: VALUE} and {unfreeze: true}",
}
_USAGE["int"] = _USAGE["float"]
_FIELDS = {
    "float": ("low", "high", "freeze", "unfreeze"),
    "int": ("low", "high", "freeze", "unfreeze"),
    "categorical": ("append", "freeze", "unfreeze"),
}
_FIXED = ("type", "log", "step", "when", "choices")

# Those that a worker is taking at this moment are left to it.
_UNTOUCHED = text(
    """
    SELECT id, params, system_attrs FROM trials
    WHERE study_id = :study AND state = 'WAITING' AND epoch = 0 AND origin IN ('suggested', 'portfolio')
    ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
    """
)
_DROP = text(
    "UPDATE trials SET state = 'FAIL', reason = 'cancelled', finished_at = clock_timestamp(), system_attrs = :attrs WHERE id = :id"
)


def edit(
    connection: Connection, study: Row[Any], edits: Mapping[str, Any], *, expected: int | None, edited_by: str | None
) -> dict[str, Any]:
    """Columns of the study, whose row the caller has locked, with its space edited; none where it is so already.

    Trials that wait, that nobody has run or enqueued, and that have another value of a frozen parameter are cancelled. Conflict where
    the space is not at the version `expected`; InvalidSpec names the field of the space and what is allowed.
    """
    if study.spec is None:
        raise Conflict(f"study {study.name!r} was made through Optuna, whose programs define its space; it cannot be edited here")
    spec = StudySpec.parse(json.loads(study.spec))
    version = len(study.space_edits) + 1
    is_outdated = expected not in (None, version)
    conflict = Conflict(f"the space of study {study.name!r} is at version {version}, not {expected}: look at it, then edit again")
    try:
        edited = apply(spec, edits)
    except InvalidSpec as error:
        raise (conflict if is_outdated else error) from None  # it may have been right at the version it was meant for
    changes, was = _differences(spec.space, edited.space)
    if not changes:
        return {}
    if is_outdated:
        raise conflict
    if version > MAX_EDITS:
        raise Conflict(f"the space of study {study.name!r} has been edited {MAX_EDITS} times, which is all; submit a new study")
    sampler = auto.decided(edited, study.strategy or auto.undecided(edited)).sampler.name
    problems = feasibility.problems(edited.space, sampler, None if edited.compare is None else edited.compare.by)
    if problems:
        raise InvalidSpec(errors=problems)
    num_dropped = _drop_untouched(connection, study.id, edited.space)
    entry = {
        "version": version + 1,
        "at": connection.execute(select(func.clock_timestamp())).scalar_one().isoformat(),
        "by": edited_by,
        "first_number": study.next_number,
        "changes": changes,
        "was": was,
    }
    events.record(
        connection,
        study.project,
        study.id,
        "space_edited",
        version=version + 1,
        changes=changes,
        trials=num_dropped,
        by=edited_by,
    )
    return {"spec": json.dumps(edited.to_json() | {"name": study.name}), "space_edits": [*study.space_edits, entry]}


def apply(spec: StudySpec, edits: Mapping[str, Any]) -> StudySpec:
    """The spec with its space edited. InvalidSpec carries every problem found, each as `space.NAME.FIELD`."""
    body = spec.to_json()
    problems: list[FieldError] = []
    for name, fields in edits.items():
        parameter = spec.space.parameters.get(name)
        if parameter is None:
            problems.append(FieldError(f"space.{printable(name)}", f"no such parameter; {near(name, spec.space.parameters)}"))
            continue
        found = list(_problems(name, parameter, fields, spec))
        problems += found
        if not found:
            body["space"][name] = _edited(parameter.to_json(), fields)
    if not problems:
        edited = StudySpec.parse(body)
        problems += _misplaced(spec.space, edited.space)
    if problems:
        raise InvalidSpec(errors=problems)
    return edited


def _problems(name: str, parameter: Parameter, fields: object, spec: StudySpec) -> Iterator[FieldError]:
    """What is wrong with the edit of one parameter by itself."""
    loc, usage = f"space.{name}", _USAGE[parameter.type]
    if not isinstance(fields, Mapping) or not fields:
        yield FieldError(loc, f"must be a mapping of what is to change; {parameter.type} parameters take {usage}")
        return
    if spec.compare is not None and spec.compare.by == name:
        yield FieldError(loc, "is compared: each of its choices gets the same number of trials, so it cannot be edited")
        return
    for key in fields:
        if key in _FIXED:
            yield FieldError(f"{loc}.{key}", f"cannot change, since earlier trials would mean something else; there are {usage}")
        elif key not in _FIELDS[parameter.type]:
            yield FieldError(f"{loc}.{printable(key)}", f"is nothing that can be edited; there are {usage}")
    if "freeze" in fields and "unfreeze" in fields:
        yield FieldError(f"{loc}.unfreeze", "contradicts freeze: give one of them")
    if fields.get("unfreeze", True) is not True:
        yield FieldError(f"{loc}.unfreeze", f"must be true, not {show(fields['unfreeze'])}")
    if "freeze" in fields and _is_kept_by_copies(name, spec) and parameter.frozen != (fields["freeze"],):
        msg = "a population leaves it as it is in copies, so members that have another value could not be replaced"
        yield FieldError(f"{loc}.freeze", f"{msg}; cancel those you do not want, or submit a new study")
    if isinstance(parameter, CategoricalParameter):
        return
    for key, outwards in (("low", "at most"), ("high", "at least")):
        if key not in fields:
            continue
        value, now = fields[key], getattr(parameter, key)
        if not is_finite(value):
            yield FieldError(f"{loc}.{key}", f"must be a number, not {show(value)}")
        elif value > now if key == "low" else value < now:
            msg = f"must be {outwards} {show(now)}, as it is now: a narrower range would leave trials outside; freeze the parameter, or submit a new study"
            yield FieldError(f"{loc}.{key}", msg)


def _is_kept_by_copies(name: str, spec: StudySpec) -> bool:
    by_trainer = spec.trial.executor == Executor.TRAINER
    return spec.is_population and name in populations.kept_by_copies(spec.space, spec.pruner.options, by_trainer=by_trainer)


def _edited(body: dict[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON form of a parameter with the edit in it; what is no value at all is left for the reader of specs to refuse."""
    for key, value in fields.items():
        if key == "append":
            asked = value if isinstance(value, list | tuple) else [value]
            body["choices"] += [choice for choice in asked if not any(is_same(choice, known) for known in body["choices"])]
        elif key == "unfreeze":
            body.pop("freeze", None)
        else:
            body[key] = value
    return body


def _misplaced(before: SearchSpace, after: SearchSpace) -> Iterator[FieldError]:
    """Ranges with a step that has come to lie elsewhere."""
    for name, old in before.parameters.items():
        new = replace(after.parameters[name], frozen=None)
        if isinstance(old, CategoricalParameter) or isinstance(new, CategoricalParameter) or old.low == new.low:
            continue
        try:
            new.check(old.low)
        except ValueError:
            msg = f"must be {show(old.low)}, as it is now, less a multiple of the step {show(old.step)}, not {show(new.low)}"
            yield FieldError(f"space.{name}.low", msg)


def _differences(before: SearchSpace, after: SearchSpace) -> tuple[dict[str, Any], dict[str, Any]]:
    """By parameter what is new, in the form in which edits are given, and what was there instead."""
    changes: dict[str, Any] = {}
    was: dict[str, Any] = {}
    for name, old in before.parameters.items():
        new = after.parameters[name]
        if old == new:
            continue
        changed: dict[str, Any]
        earlier: dict[str, Any]
        if isinstance(old, CategoricalParameter) or isinstance(new, CategoricalParameter):
            assert isinstance(old, CategoricalParameter) and isinstance(new, CategoricalParameter)  # noqa: PT018
            appended = list(new.choices[len(old.choices) :])
            changed, earlier = ({"append": appended} if appended else {}), {}
        else:
            moved = [key for key in ("low", "high") if getattr(old, key) != getattr(new, key)]
            changed, earlier = {key: getattr(new, key) for key in moved}, {key: getattr(old, key) for key in moved}
        if old.frozen != new.frozen:
            changed |= {"unfreeze": True} if new.frozen is None else {"freeze": new.frozen[0]}
            earlier |= {} if old.frozen is None else {"freeze": old.frozen[0]}
        changes[name], was[name] = changed, earlier
    return changes, was


def _drop_untouched(connection: Connection, study_id: int, space: SearchSpace) -> int:
    """Cancel what the search has suggested with other values of frozen parameters and nobody has begun; how many."""
    if not space.frozen:
        return 0
    dropped = []
    for row in connection.execute(_UNTOUCHED, {"study": study_id}):
        params = json.loads(row.params)
        if any(name in params and not is_same(params[name], value) for name, value in space.frozen.items()):
            dropped.append({"id": row.id, "attrs": json.dumps(json.loads(row.system_attrs) | {DROPPED_KEY: True})})
    if dropped:
        connection.execute(_DROP, dropped)
    return len(dropped)
