"""The parameters of a search space and the conditions on them, as frozen data.

What values a parameter has, which of them equals a given one, when a condition holds. Reading them from a study file, and what
they mean together, is `tuner.space`. Weakness: constructors trust their arguments (low <= high, step > 0, choices that differ).
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar, TypeGuard

Value = None | bool | int | float | str
_COMPARISONS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}


@dataclass(frozen=True, kw_only=True)
class Condition:
    """Holds while the parent has one of `values`, or (numeric parents) lies within the given bounds."""

    parent: str
    values: tuple[Value, ...] | None = None
    gt: float | None = None
    ge: float | None = None
    lt: float | None = None
    le: float | None = None

    def holds(self, value: object) -> bool:
        if self.values is not None:
            return any(is_same(value, wanted) for wanted in self.values)
        if not is_number(value):
            return False
        return (
            (self.gt is None or value > self.gt)
            and (self.ge is None or value >= self.ge)
            and (self.lt is None or value < self.lt)
            and (self.le is None or value <= self.le)
        )

    def numbers(self) -> list[float]:
        """The values of the parent at which the answer can change."""
        if self.values is not None:
            return [float(value) for value in self.values if is_number(value)]
        return list(self._bounds().values())

    def to_json(self) -> list[Value] | dict[str, float]:
        return list(self.values) if self.values is not None else self._bounds()

    def __str__(self) -> str:
        if self.values is not None:
            return f"{self.parent} is {' or '.join(show(value) for value in self.values)}"
        return " and ".join(f"{self.parent} {_COMPARISONS[key]} {show(bound)}" for key, bound in self._bounds().items())

    def _bounds(self) -> dict[str, float]:
        bounds = {"gt": self.gt, "ge": self.ge, "lt": self.lt, "le": self.le}
        return {key: bound for key, bound in bounds.items() if bound is not None}


@dataclass(frozen=True)
class FloatParameter:
    """With a step, the values are low, low + step, ...; high is lowered to the last of them, as Optuna does."""

    low: float
    high: float
    log: bool = False
    step: float | None = None
    when: tuple[Condition, ...] | None = None
    frozen: tuple[Value] | None = None
    """The one value that new trials have, in a tuple since null may be a choice. `num_values` and `value_at` are those of the range still."""
    type: ClassVar[str] = "float"

    def __post_init__(self) -> None:
        if self.step is not None:
            object.__setattr__(self, "high", _last(self.low, self.high, self.step))

    @property
    def num_values(self) -> int | None:
        """None: a continuum."""
        if self.low == self.high:
            return 1
        return None if self.step is None else index_below(self.high, self.low, self.step) + 1

    def value_at(self, index: int) -> float:
        """Decimal arithmetic: 0.3 is the third step of 0.1, not 0.30000000000000004."""
        return self.low if self.step is None else float(_decimal(self.low) + index * _decimal(self.step))

    def canonical(self, value: object) -> object:
        """A number within rounding of a grid point as that point; anything else as it is."""
        if self.step is None or not is_number(value) or not self.low - self.step <= value <= self.high + self.step:
            return value
        position = (value - self.low) / self.step
        nearest = round(position)
        return self.value_at(nearest) if abs(position - nearest) < 1e-8 else value

    def check(self, value: object) -> float:
        """The value as a float. ValueError says what is allowed."""
        found = self.canonical(value)
        if not is_number(found) or not self.low <= found <= self.high:
            raise ValueError(f"must be a number from {show(self.low)} to {show(self.high)}, not {show(value)}")
        if self.step is not None and self.value_at(index_below(found, self.low, self.step)) != found:
            raise ValueError(f"must be {show(self.low)} plus a multiple of {show(self.step)}, not {show(value)}")
        _require_frozen(self.frozen, found)
        return float(found)

    def to_json(self) -> dict[str, Any]:
        body = {"type": self.type, "low": self.low, "high": self.high, "log": self.log, "step": self.step}
        return body | _optional_json(self.when, self.frozen)


@dataclass(frozen=True)
class IntParameter:
    """The values are low, low + step, ...; high is lowered to the last of them, as Optuna does."""

    low: int
    high: int
    log: bool = False
    step: int = 1
    when: tuple[Condition, ...] | None = None
    frozen: tuple[Value] | None = None
    type: ClassVar[str] = "int"

    def __post_init__(self) -> None:
        object.__setattr__(self, "high", self.low + (self.high - self.low) // self.step * self.step)

    @property
    def num_values(self) -> int:
        return (self.high - self.low) // self.step + 1

    def value_at(self, index: int) -> int:
        return self.low + index * self.step

    def canonical(self, value: object) -> object:
        return int(value) if isinstance(value, float) and value.is_integer() else value

    def check(self, value: object) -> int:
        """The value as an int; 3.0 passes for 3. ValueError says what is allowed."""
        found = self.canonical(value)
        if not isinstance(found, int) or isinstance(found, bool) or not self.low <= found <= self.high:
            raise ValueError(f"must be an integer from {self.low} to {self.high}, not {show(value)}")
        if (found - self.low) % self.step:
            raise ValueError(f"must be {self.low} plus a multiple of {self.step}, not {show(value)}")
        _require_frozen(self.frozen, found)
        return found

    def to_json(self) -> dict[str, Any]:
        body = {"type": self.type, "low": self.low, "high": self.high, "log": self.log, "step": self.step}
        return body | _optional_json(self.when, self.frozen)


@dataclass(frozen=True)
class CategoricalParameter:
    choices: tuple[Value, ...]
    when: tuple[Condition, ...] | None = None
    frozen: tuple[Value] | None = None
    type: ClassVar[str] = "categorical"

    @property
    def num_values(self) -> int:
        return len(self.choices)

    def value_at(self, index: int) -> Value:
        return self.choices[index]

    def canonical(self, value: object) -> object:
        return value

    def check(self, value: object) -> Value:
        """The choice that equals the value; 1 passes for 1.0, but not for true. ValueError says what is allowed."""
        for choice in self.choices:
            if is_same(value, choice):
                _require_frozen(self.frozen, choice)
                return choice
        raise ValueError(f"must be one of {show_all(self.choices)}, not {show(value)}")

    def to_json(self) -> dict[str, Any]:
        return {"type": self.type, "choices": list(self.choices)} | _optional_json(self.when, self.frozen)


Parameter = FloatParameter | IntParameter | CategoricalParameter


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether it is an int or a float; true and false are no numbers here."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_finite(value: object) -> TypeGuard[int | float]:
    """Whether it is a number that a double can hold."""
    try:
        return is_number(value) and math.isfinite(value)
    except OverflowError:
        return False


def is_same(left: object, right: object) -> bool:
    """Equality that tells true from 1, but not 1 from 1.0: JSON does not keep those apart everywhere."""
    return left == right and isinstance(left, bool) == isinstance(right, bool)


def is_text(value: str) -> bool:
    """Whether PostgreSQL and UTF-8 can hold it: no NUL, no half of a surrogate pair."""
    return "\x00" not in value and not any("\ud800" <= character <= "\udfff" for character in value)


def show(value: object) -> str:
    """A value as it would be written in a study file, shortened, to stand in a sentence."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    try:
        text = repr(value)
    except ValueError:  # Python refuses to write out an integer of more than 4300 digits
        text = "a number of thousands of digits"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e16:
        text = str(int(value))
    return text if len(text) <= 60 else f"{text[:57]}..."


def show_all(values: Iterable[object]) -> str:
    shown = [show(value) for value in values]
    return ", ".join(shown if len(shown) <= 20 else [*shown[:20], f"... ({len(shown)} in all)"])


def near(name: object, known: Iterable[str]) -> str:
    """Help after a wrong name: the ones that look like it, or those there are."""
    names = list(known)
    close = difflib.get_close_matches(str(name), names, n=3, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(close)}?"
    if not names:
        return "there is no other"
    return f"there are {', '.join(names if len(names) <= 30 else [*names[:30], '...'])}"


def printable(name: object) -> str:
    """A key as part of a path: cut to a readable length and encodable, whatever it held."""
    text = name if isinstance(name, str) else show(name)
    return text.encode(errors="backslashreplace").decode()[:200]


def index_below(number: float, low: float, step: float) -> int:
    """How many whole steps lie between low and a number."""
    return int((_decimal(number) - _decimal(low)) // _decimal(step))


def _decimal(number: float) -> Decimal:
    """The number as written: Decimal(0.1) would carry the error of the binary form."""
    return Decimal(str(number))


def _last(low: float, high: float, step: float) -> float:
    index = index_below(high, low, step)
    last = _decimal(low) + index * _decimal(step)
    return high if last == _decimal(high) else float(last)


def _require_frozen(frozen: tuple[Value] | None, value: object) -> None:
    if frozen is not None and not is_same(value, frozen[0]):
        raise ValueError(f"is frozen at {show(frozen[0])}, so it cannot be {show(value)}")


def _optional_json(when: tuple[Condition, ...] | None, frozen: tuple[Value] | None) -> dict[str, Any]:
    """What few parameters have, left out where they have it not: the digest of a spec goes by this form."""
    body: dict[str, Any] = {"when": {condition.parent: condition.to_json() for condition in when}} if when else {}
    return body if frozen is None else body | {"freeze": frozen[0]}
