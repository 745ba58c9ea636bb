"""What an entry of the catalogue is: a technique's name, its hyperparameters with their legal values, and facts about it.

Everything here is data: no torch, so that the server validates a study without it. `workers.training` binds a builder to each
entry by name. Weakness: a rule between two hyperparameters of one entry has no place here; those of models stand in
`tuner.catalog.shapes`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Generic, TypeVar

from tuner.errors import InvalidValue
from tuner.parameters import near, show

Value = None | bool | int | float | str | list[int] | list[str]
FactsT = TypeVar("FactsT")


class HyperparameterType(StrEnum):
    FLOAT = "float"
    INT = "int"
    BOOL = "bool"
    CATEGORICAL = "categorical"
    INTS = "ints"
    """A list of integers, each within the bounds; one integer stands for a list of one."""
    TEXT = "text"


@dataclass(frozen=True, kw_only=True)
class Hyperparameter:
    name: str
    type: HyperparameterType
    default: Value = None
    low: float | None = None
    high: float | None = None
    low_open: bool = False
    """The bound itself is not allowed: a learning rate is above 0, not from 0."""
    high_open: bool = False
    choices: tuple[Value, ...] = ()
    log: bool = False
    """Searched best on a logarithmic scale."""
    per_lane: bool = False
    """May differ between the lanes of a fused group."""
    optional: bool = False
    """null is allowed and means off (or: decided by the technique)."""
    required: bool = False
    """There is no default: the configuration must give it."""
    summary: str = ""

    def allowed(self) -> str:
        """What a value must be, to stand in an error message: "a number above 0"."""
        match self.type:
            case HyperparameterType.BOOL:
                text = "true or false"
            case HyperparameterType.CATEGORICAL:
                text = "one of " + ", ".join("null" if c is None else str(c) for c in self.choices)
            case HyperparameterType.TEXT:
                text = "a text"
            case HyperparameterType.INTS:
                text = "a list of integers, each " + self._bounds()
            case HyperparameterType.INT:
                text = ("an integer " + self._bounds()).rstrip()
            case _:
                text = ("a number " + self._bounds()).rstrip()
        if self.optional and None not in self.choices:
            text += ", or null"
        return text

    def is_allowed(self, value: object) -> bool:
        if value is None:
            return self.optional or None in self.choices
        match self.type:
            case HyperparameterType.BOOL:
                return isinstance(value, bool)
            case HyperparameterType.CATEGORICAL:
                return any(type(value) is type(c) and value == c for c in self.choices)
            case HyperparameterType.TEXT:
                return isinstance(value, str) and value != ""
            case HyperparameterType.INTS:
                values = value if isinstance(value, list | tuple) else [value]
                return len(values) > 0 and all(_is_int(v) and self.is_within(v) for v in values)
            case HyperparameterType.INT:
                return _is_int(value) and self.is_within(value)
            case _:
                return (
                    isinstance(value, int | float)
                    and not isinstance(value, bool)
                    and -sys.float_info.max <= value <= sys.float_info.max  # isfinite cannot take every integer
                    and self.is_within(value)
                )

    def is_within(self, value: Any) -> bool:
        """Whether a number lies between the bounds."""
        if self.low is not None and (value < self.low or (self.low_open and value == self.low)):
            return False
        return self.high is None or value < self.high or (value == self.high and not self.high_open)

    def normalize(self, value: Any) -> Value:
        """A legal value in its one canonical form: floats as float, lists of integers as list."""
        if value is None:
            return None
        if self.type is HyperparameterType.FLOAT:
            return float(value)
        if self.type is HyperparameterType.INTS:
            return [int(v) for v in value] if isinstance(value, list | tuple) else [int(value)]
        result: Value = value
        return result

    def _bounds(self) -> str:
        low = None if self.low is None else _plain(self.low)
        high = None if self.high is None else _plain(self.high)
        if low is None and high is None:
            return ""
        if high is None:
            return f"above {low}" if self.low_open else f"of at least {low}"
        if low is None:
            return f"below {high}" if self.high_open else f"of at most {high}"
        if not self.low_open and not self.high_open:
            return f"from {low} to {high}"
        below = f"below {high}" if self.high_open else f"at most {high}"
        return f"above {low} and {below}" if self.low_open else f"of at least {low} and {below}"

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "type": self.type.value,
            "default": self.default,
            "low": self.low,
            "high": self.high,
            "low_open": self.low_open,
            "high_open": self.high_open,
            "choices": list(self.choices) or None,
            "log": self.log,
            "per_lane": self.per_lane,
            "optional": self.optional,
            "required": self.required,
            "summary": self.summary,
        }


@dataclass(frozen=True, kw_only=True)
class Entry(Generic[FactsT]):
    kind: str
    name: str
    summary: str
    when_to_use: str
    source: str
    """Paper or formula it follows, and whose implementation runs it."""
    hyperparameters: tuple[Hyperparameter, ...] = ()
    facts: FactsT
    by_name: Mapping[str, Hyperparameter] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {h.name: h for h in self.hyperparameters})

    def hyperparameter(self, name: str) -> Hyperparameter:
        """InvalidValue naming the near ones when this entry has no such hyperparameter."""
        found = self.by_name.get(name)
        if found is None:
            raise InvalidValue(self.unknown(name))
        return found

    def unknown(self, name: str) -> str:
        """The sentence that refuses a hyperparameter this entry lacks."""
        if not self.by_name:
            return f"{self.name} has no hyperparameter {name!r}; it has none"
        return f"{self.name} has no hyperparameter {name!r}; {near(name, self.by_name)}"

    def check(self, values: Mapping[str, object]) -> list[tuple[str, str]]:
        """Problems of given hyperparameters as pairs of name and sentence; absent ones take their defaults."""
        problems = []
        for name, value in values.items():
            known = self.by_name.get(name)
            if known is None:
                problems.append((name, self.unknown(name)))
            elif not known.is_allowed(value):
                problems.append((name, f"must be {known.allowed()}, not {show(value)}"))
        problems += [
            (h.name, f"{self.name} needs it: {h.allowed()}") for h in self.hyperparameters if h.required and h.name not in values
        ]
        return problems

    def complete(self, values: Mapping[str, object]) -> dict[str, Value]:
        """All hyperparameters: those given, in canonical form, and defaults for the rest. InvalidValue if one is not legal."""
        problems = self.check(values)
        if problems:
            raise InvalidValue("; ".join(f"{self.name}: {name}: {msg}" for name, msg in problems))
        return {h.name: h.normalize(values.get(h.name, h.default)) for h in self.hyperparameters}


def number(
    name: str,
    default: float | None,
    low: float | None = None,
    high: float | None = None,
    *,
    low_open: bool = False,
    high_open: bool = False,
    log: bool = False,
    per_lane: bool = True,
    optional: bool = False,
    summary: str = "",
) -> Hyperparameter:
    return Hyperparameter(
        name=name,
        type=HyperparameterType.FLOAT,
        default=default,
        low=low,
        high=high,
        low_open=low_open,
        high_open=high_open,
        log=log,
        per_lane=per_lane,
        optional=optional,
        summary=summary,
    )


def integer(
    name: str,
    default: int | None,
    low: int,
    high: int | None = None,
    *,
    log: bool = False,
    per_lane: bool = False,
    optional: bool = False,
    summary: str = "",
) -> Hyperparameter:
    return Hyperparameter(
        name=name,
        type=HyperparameterType.INT,
        default=default,
        low=low,
        high=high,
        log=log,
        per_lane=per_lane,
        optional=optional,
        summary=summary,
    )


def integers(name: str, default: list[int] | None, low: int, high: int, *, summary: str = "") -> Hyperparameter:
    return Hyperparameter(name=name, type=HyperparameterType.INTS, default=default, low=low, high=high, summary=summary)


def choice(name: str, default: Value, choices: Iterable[Value], *, per_lane: bool = False, summary: str = "") -> Hyperparameter:
    return Hyperparameter(
        name=name,
        type=HyperparameterType.CATEGORICAL,
        default=default,
        choices=tuple(choices),
        per_lane=per_lane,
        summary=summary,
    )


def switch(
    name: str, default: bool | None, *, per_lane: bool = False, optional: bool = False, summary: str = ""
) -> Hyperparameter:
    return Hyperparameter(
        name=name,
        type=HyperparameterType.BOOL,
        default=default,
        per_lane=per_lane,
        optional=optional,
        summary=summary,
    )


def text(
    name: str, default: str | None = None, *, required: bool = False, optional: bool = False, summary: str = ""
) -> Hyperparameter:
    return Hyperparameter(
        name=name,
        type=HyperparameterType.TEXT,
        default=default,
        required=required,
        optional=optional,
        summary=summary,
    )


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _plain(value: float) -> str:
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else f"{value:g}"
