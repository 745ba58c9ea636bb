"""Reading the parameters of a search space from a study file: every problem found, each with its path and what is allowed.

What the parameters mean together (which are active, what can never be) is left to `tuner.space`, which calls this.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tuner.errors import FieldError
from tuner.parameters import (
    CategoricalParameter,
    Condition,
    FloatParameter,
    IntParameter,
    Parameter,
    Value,
    is_finite,
    is_same,
    is_text,
    near,
    printable,
    show,
    show_all,
)

MAX_PARAMETERS = 500
MAX_CHOICES = 1000
MAX_TEXT = 1000
MAX_INT = 2**53
"""Samplers compute in double precision: beyond this not every integer exists."""
_NAME = re.compile(r"[A-Za-z0-9._-]{1,128}")
_KEYS = {
    "float": ("type", "low", "high", "log", "step", "when", "freeze"),
    "int": ("type", "low", "high", "log", "step", "when", "freeze"),
    "categorical": ("type", "choices", "when", "freeze"),
}


def read_parameters(raw: object) -> tuple[dict[str, Parameter], list[FieldError]]:
    if not isinstance(raw, Mapping) or not raw:
        return {}, [
            FieldError("space", "must be a mapping of at least one parameter, such as lr: {type: float, low: 0.001, high: 0.1}")
        ]
    if len(raw) > MAX_PARAMETERS:
        return {}, [FieldError("space", f"may have at most {MAX_PARAMETERS} parameters, not {len(raw)}")]
    parameters: dict[str, Parameter] = {}
    problems: list[FieldError] = []
    for name, body in raw.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            problems.append(
                FieldError(
                    f"space.{printable(name)}", "a parameter's name is 1 to 128 letters, digits, dots, underscores or hyphens"
                )
            )
            continue
        reader = _ParameterReader(name)
        parameter = reader.read(body)
        problems += reader.problems
        if parameter is not None and not reader.problems:
            parameters[name] = parameter
    problems += _condition_problems(parameters, raw)
    if not problems and len(sort_parameters(parameters)) < len(parameters):
        problems += _circles(parameters)
    return parameters, problems


def sort_parameters(parameters: Mapping[str, Parameter]) -> tuple[str, ...]:
    """Parents before children, else as declared. Stops short of parameters whose conditions go in a circle."""
    placed: dict[str, None] = {}
    waiting = list(parameters)
    while waiting:
        ready = next((n for n in waiting if all(c.parent in placed for c in parameters[n].when or ())), None)
        if ready is None:
            break
        placed[ready] = None
        waiting.remove(ready)
    return tuple(placed)


class _ParameterReader:
    """Reads one parameter, collecting what is wrong with it."""

    def __init__(self, name: str) -> None:
        self.loc = f"space.{name}"
        self.problems: list[FieldError] = []

    def read(self, raw: object) -> Parameter | None:
        if not isinstance(raw, Mapping):
            self._refuse("", "must be a mapping such as {type: float, low: 0.001, high: 0.1}")
            return None
        kind = raw.get("type")
        if not isinstance(kind, str) or kind not in _KEYS:
            self._refuse("type", "must be float, int or categorical" + ("" if kind is None else f", not {show(kind)}"))
            return None
        for key in raw:
            if key not in _KEYS[kind]:
                self._refuse(printable(key), f"unknown key; {near(str(key), _KEYS[kind])}")
        when = self._read_when(raw["when"]) if raw.get("when") is not None else None
        parameter = (
            self._read_categorical(raw, when)
            if kind == "categorical"
            else self._read_numeric(raw, whole=kind == "int", when=when)
        )
        return parameter if parameter is None or "freeze" not in raw else self._read_freeze(parameter, raw["freeze"])

    def _read_freeze(self, parameter: Parameter, value: object) -> Parameter | None:
        try:
            return replace(parameter, frozen=(parameter.check(value),))
        except ValueError as error:
            self._refuse("freeze", str(error))
            return None

    def _read_numeric(self, raw: Mapping[str, Any], *, whole: bool, when: tuple[Condition, ...] | None) -> Parameter | None:
        low, high = self._number(raw, "low", whole), self._number(raw, "high", whole)
        log, step = raw.get("log", False), self._number(raw, "step", whole) if raw.get("step") is not None else None
        if not isinstance(log, bool):
            self._refuse("log", f"must be true or false, not {show(log)}")
        if step is not None and step <= 0:
            self._refuse("step", f"must be above 0, not {show(step)}")
        if log is True and step is not None and not (whole and step == 1):
            self._refuse("step", "cannot be combined with log: true; leave one of them out")
        least = 1 if whole else 0
        if log is True and low is not None and (low < least or low == 0):
            self._refuse("low", f"must be {'at least 1' if whole else 'above 0'} with log: true, not {show(low)}")
        if low is not None and high is not None:
            if low > high:
                self._refuse("low", f"must be at most high: {show(low)} is above {show(high)}")
            elif not math.isfinite(float(high) - float(low)):
                self._refuse("high", "is too far from low for double precision; narrow the range")
            elif step and (high - low) / step > MAX_INT:
                self._refuse("step", "is too small for this range; take a larger one")
        if self.problems or low is None or high is None:
            return None
        if whole:
            return IntParameter(int(low), int(high), log, int(step or 1), when)
        return FloatParameter(float(low), float(high), log, None if step is None else float(step), when)

    def _number(self, raw: Mapping[str, Any], key: str, whole: bool) -> float | None:
        wanted = "an integer" if whole else "a number"
        if key not in raw:
            self._refuse(key, f"is missing: {wanted}")
            return None
        value = raw[key]
        if not is_finite(value):
            hint = "; a number stands without quotes" if isinstance(value, str) else ""
            self._refuse(key, f"must be {wanted}, not {show(value)}{hint}")
        elif not whole:
            return float(value)
        elif value != int(value):
            self._refuse(key, f"must be an integer, not {show(value)}; for fractions use type: float")
        elif abs(value) > MAX_INT:
            self._refuse(key, f"must be an integer within {MAX_INT} of 0")
        else:
            return int(value)
        return None

    def _read_categorical(self, raw: Mapping[str, Any], when: tuple[Condition, ...] | None) -> Parameter | None:
        choices = raw.get("choices")
        if not isinstance(choices, list | tuple) or not 1 <= len(choices) <= MAX_CHOICES:
            count = f", not {len(choices)}" if isinstance(choices, list | tuple) else ""
            self._refuse("choices", f"must be a list of 1 to {MAX_CHOICES} values{count}")
            return None
        seen: dict[Value, Value] = {}
        for index, choice in enumerate(choices):
            problem = _value_problem(choice)
            if problem is not None:
                self._refuse(f"choices.{index}", problem)
            elif choice in seen:
                # 1, 1.0 and true are one key to Optuna, which could not tell their trials apart.
                same = "" if is_same(choice, seen[choice]) else f" ({show(choice)} counts as {show(seen[choice])})"
                self._refuse(f"choices.{index}", f"repeats {show(choice)}{same}; choices must differ")
            else:
                seen[choice] = choice
        return None if self.problems else CategoricalParameter(tuple(choices), when)

    def _read_when(self, raw: object) -> tuple[Condition, ...] | None:
        if not isinstance(raw, Mapping) or not raw:
            self._refuse("when", "must be a mapping of parent parameters to values, such as {optimizer.name: [sgd, adam]}")
            return None
        conditions = [self._read_condition(parent, wanted) for parent, wanted in raw.items()]
        return tuple(condition for condition in conditions if condition is not None)

    def _read_condition(self, parent: object, wanted: object) -> Condition | None:
        loc = f"when.{printable(parent)}"
        if not isinstance(parent, str):
            self._refuse(loc, "must be the name of a parameter")
            return None
        if isinstance(wanted, Mapping):
            bounds: dict[str, Any] = {
                key: bound for key, bound in wanted.items() if key in ("gt", "ge", "lt", "le") and is_finite(bound)
            }
            if not wanted or len(bounds) < len(wanted):
                self._refuse(loc, "must be values of the parent or a mapping of gt, ge, lt, le to numbers, such as {ge: 2}")
                return None
            return Condition(parent=parent, **bounds)
        values: tuple[Any, ...] = tuple(wanted) if isinstance(wanted, list | tuple) else (wanted,)
        if not 1 <= len(values) <= MAX_CHOICES:
            self._refuse(loc, f"must list 1 to {MAX_CHOICES} values of the parent")
            return None
        problems = [problem for problem in map(_value_problem, values) if problem is not None]
        if problems:
            self._refuse(loc, problems[0])
            return None
        return Condition(parent=parent, values=values)

    def _refuse(self, key: str, msg: str) -> None:
        self.problems.append(FieldError(f"{self.loc}.{key}" if key else self.loc, msg))


def _condition_problems(parameters: dict[str, Parameter], raw: Mapping[str, Any]) -> list[FieldError]:
    """Conditions that do not fit their parent; the values of those that do are brought into the parent's canonical form."""
    problems: list[FieldError] = []
    for name, parameter in parameters.items():
        if parameter.when is None:
            continue
        fitted: list[Condition] = []
        for condition in parameter.when:
            parent = parameters.get(condition.parent)
            if parent is not None:
                try:
                    fitted.append(_fit(condition, parent))
                except ValueError as error:
                    problems.append(FieldError(f"space.{name}.when.{condition.parent}", str(error)))
            elif condition.parent not in raw:
                others = [str(other) for other in raw if other != name]
                loc = f"space.{name}.when.{printable(condition.parent)}"
                problems.append(FieldError(loc, f"is no parameter of this space; {near(condition.parent, others)}"))
        parameters[name] = replace(parameter, when=tuple(fitted))
    return problems


def _fit(condition: Condition, parent: Parameter) -> Condition:
    if condition.values is None:
        if isinstance(parent, CategoricalParameter):
            raise ValueError(f"is categorical: list some of {show_all(parent.choices)}")
        return condition
    if parent.num_values is None:
        raise ValueError("has a continuum of values: compare it with gt, ge, lt or le")
    whole = replace(parent, frozen=None)  # what it is frozen at now says nothing of when its children are there
    return replace(condition, values=tuple(dict.fromkeys(whole.check(value) for value in condition.values)))


def _circles(parameters: Mapping[str, Parameter]) -> list[FieldError]:
    """One problem for each circle of conditions."""
    placed = set(sort_parameters(parameters))
    seen = set(placed)
    problems: list[FieldError] = []
    for name in parameters:
        path: list[str] = []
        while name not in seen:
            seen.add(name)
            path.append(name)
            name = next(c.parent for c in parameters[name].when or () if c.parent not in placed)
        if name in path:
            circle = [*path[path.index(name) :], name]
            problems.append(FieldError(f"space.{name}.when", f"goes in a circle: {' -> '.join(circle)}"))
    return problems


def _value_problem(value: object) -> str | None:
    if isinstance(value, str):
        if len(value) > MAX_TEXT:
            return f"may have at most {MAX_TEXT} characters"
        return "may not contain NUL or half a surrogate pair" if not is_text(value) else None
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, int) and abs(value) > MAX_INT:
        return f"must be an integer within {MAX_INT} of 0, or a text"
    return None if is_finite(value) else f"must be a text, a finite number, true, false or null, not {show(value)}"
