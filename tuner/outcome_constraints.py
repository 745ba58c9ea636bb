"""Outcome constraints: conditions on metrics that a trial measures, such as `latency_ms <= 50`. A trial that breaks one is infeasible.

Not to be mixed up with `tuner.constraints`, which are conditions on parameters and keep a configuration from being tried at all: whether an
outcome is allowed is only known once the trial has run. The violation of a constraint follows Optuna's convention, at most 0 where it is met; where
Optuna looks at trials it stands in their system attributes under Optuna's key, so that its samplers and its `best_trial` see it. How a trial
comes to be judged is `tuner.violations`. Weakness: a violation is in the metric's own unit, so of two constraints the one with the larger
numbers weighs more where infeasible trials are ranked.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tuner.errors import FieldError
from tuner.parameters import show

MAX_OUTCOME_CONSTRAINTS = 50
MAX_LENGTH = 300
PREFIX = "constraints:"
"""In front of a constraint's text in a trial's system attributes: Optuna's key for `trial.set_constraint`."""
_FORM = re.compile(r"\s*([^<>=\x00-\x1f\x7f]+?)\s*(<=|>=|<|>)\s*(\S+)\s*")
_NO_NAME = re.compile(r"""[-+]?[\d.]+ | (["'`]).*\1 | .*\s[-+*/%]+\s.*""", re.VERBOSE)
"""Numbers, what stands in quotes, and sums: mistakes that would make every trial infeasible, for want of such a metric."""
_JUST_BROKEN = math.ulp(0.0)
"""Violation of a value that is equal to a bound it must not reach: the least number above 0."""


@dataclass(frozen=True, kw_only=True)
class OutcomeConstraint:
    """One condition: the `metric` and a finite `bound` with <=, <, >= or > between them."""

    metric: str
    operator: str
    bound: float

    @property
    def text(self) -> str:
        return (
            f"{self.metric} {self.operator} {self.bound:.17g}"
            if self._is_long
            else f"{self.metric} {self.operator} {self.bound:g}"
        )

    @property
    def _is_long(self) -> bool:
        return float(f"{self.bound:g}") != self.bound

    def excludes(self, other: OutcomeConstraint) -> bool:
        """Whether no value meets both."""
        if self.metric != other.metric or self.operator[0] == other.operator[0]:
            return False
        low, high = (self, other) if self.operator[0] == ">" else (other, self)
        return low.bound > high.bound or (low.bound == high.bound and "=" not in set(low.operator) & set(high.operator))

    def violation(self, value: float) -> float:
        """How far the value lies beyond the bound, above 0 exactly where the condition does not hold; NaN breaks it without limit."""
        if math.isnan(value):
            return math.inf
        beyond = value - self.bound if self.operator in ("<=", "<") else self.bound - value
        return _JUST_BROKEN if beyond == 0 and self.operator in ("<", ">") else beyond


def parse(text: str) -> OutcomeConstraint:
    """ValueError, in words, for what is no condition on a metric."""
    usage = "write a metric's name, <=, <, >= or >, and a number, such as latency_ms <= 50"
    if len(text) > MAX_LENGTH:
        raise ValueError(f"has {len(text)} characters; at most {MAX_LENGTH} are allowed")
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError(f"{show(text)} is no outcome constraint: {usage}")
    metric, operator, number = match.groups()
    if _NO_NAME.fullmatch(metric):
        raise ValueError(f"{show(metric)} is no metric's name: {usage}")
    if len(metric) > 128:
        raise ValueError("names a metric of more than 128 characters")
    try:
        bound = float(number)
    except ValueError:
        raise ValueError(f"{show(number)} is no number: {usage}") from None
    if not math.isfinite(bound):
        raise ValueError(f"the bound must be finite, not {number}")
    return OutcomeConstraint(metric=metric, operator=operator, bound=bound)


def read(texts: Sequence[str]) -> tuple[tuple[OutcomeConstraint, ...], list[FieldError]]:
    """The constraints, and what is wrong with the texts, each problem located as `outcome_constraints.N`."""
    found: list[OutcomeConstraint] = []
    problems = []
    for index, text in enumerate(texts):
        try:
            constraint = parse(text)
        except ValueError as error:
            problems.append(FieldError(f"outcome_constraints.{index}", str(error)))
            continue
        if constraint in found:
            problems.append(FieldError(f"outcome_constraints.{index}", f"repeats {constraint.text}"))
        opposed = next((other for other in found if other.excludes(constraint)), None)
        if opposed is not None:
            problems.append(
                FieldError(f"outcome_constraints.{index}", f"no value meets both {opposed.text} and {constraint.text}")
            )
        found.append(constraint)
    return tuple(found), problems


def metrics(constraints: Sequence[OutcomeConstraint]) -> tuple[str, ...]:
    """The metrics that trials have to measure, each once."""
    return tuple(dict.fromkeys(constraint.metric for constraint in constraints))


def violations(
    constraints: Sequence[OutcomeConstraint], values: Mapping[str, float], *, is_complete: bool = False
) -> dict[str, float]:
    """The violation of each constraint by its text. A metric without a value is left out, or of a complete trial infinitely bad."""
    found = {}
    for each in constraints:
        if each.metric in values:
            found[each.text] = each.violation(values[each.metric])
        elif is_complete:
            found[each.text] = math.inf
    return found


def total(found: Mapping[str, float]) -> float:
    """Violations above 0, added up: what infeasible trials are ranked by, 0 for a feasible one. As Optuna's samplers do it."""
    return sum(value for value in found.values() if value > 0)


def attributes(found: Mapping[str, float], present: Mapping[str, object]) -> dict[str, float]:
    """Violations as system attributes of a trial, where Optuna looks for them; without those present, be it in the older form, a list."""
    old = present.get(PREFIX[:-1])
    in_list = {PREFIX + str(index) for index in range(len(old) if isinstance(old, list | tuple) else 0)}
    return {key: value for text, value in found.items() if (key := PREFIX + text) not in present and key not in in_list}


def describe(found: Mapping[str, float]) -> str:
    """Which constraints are broken and by how much, in words; empty where none is."""
    return "; ".join(_describe(text, value) for text, value in found.items() if value > 0)


def _describe(text: str, value: float) -> str:
    if math.isinf(value):
        return f"{text} is broken: there is no number for it"
    return f"{text} is broken by {value:.4g}" if value > _JUST_BROKEN else f"{text} is just broken: the value is the bound"
