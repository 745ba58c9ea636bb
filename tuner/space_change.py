"""Changes of one parameter that advice proposes: a range widened or narrowed, a choice left out, a value frozen.

Each is the parameter in its JSON form as the next study's space would have it, and None where the study's spec would not be valid with it.
Pure. Weakness: how far to widen is a habit (a factor of ten, half a width), not an estimate.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from tuner.errors import InvalidSpec
from tuner.parameters import CategoricalParameter, FloatParameter, IntParameter, is_number, show
from tuner.spec import StudySpec

NumberParameter = FloatParameter | IntParameter
EDGE = 0.1
"""Share of a range that is its end."""


def change(spec: StudySpec, name: str, fields: Mapping[str, Any]) -> dict[str, Any] | None:
    """The parameter with other fields."""
    body = spec.to_json()
    changed = {**body["space"][name], **fields}
    try:
        StudySpec.parse({**body, "space": {**body["space"], name: changed}})
    except InvalidSpec:
        return None
    return changed


def freeze(spec: StudySpec, name: str, value: Any) -> dict[str, Any] | None:
    """The parameter with one value."""
    parameter = spec.space.parameters[name]
    if isinstance(parameter, CategoricalParameter):
        return change(spec, name, {"choices": [value]})
    return change(
        spec, name, {"low": value, "high": value, "log": False, "step": 1 if isinstance(parameter, IntParameter) else None}
    )


def widen(spec: StudySpec, name: str, *, upper: bool) -> dict[str, Any] | None:
    """The range with one end moved: by a factor of 10 on a log scale (4 for integers), else by half of its width.

    A range above 0 stays there, and one within 0 and 1 too: most such numbers are shares and sizes.
    """
    parameter = spec.space.parameters[name]
    assert not isinstance(parameter, CategoricalParameter)
    low, high, is_int = parameter.low, parameter.high, isinstance(parameter, IntParameter)
    if parameter.log:
        factor = 4 if is_int else 10
        new = high * factor if upper else low / factor
    else:
        new = high + (high - low) / 2 if upper else low - (high - low) / 2
        if low >= 0:
            new = min(max(new, 0.0), 1.0 if high <= 1 and not is_int else math.inf)
    if is_int:
        new = max(1, int(new)) if low >= 1 else int(new)
    elif parameter.step is not None:
        new = low + round((new - low) / parameter.step) * parameter.step
    else:
        new = float(f"{new:.6g}")
    # So little is no widening: a momentum of 0.99 at most is as near to 1 as was meant.
    if abs(new - (high if upper else low)) <= 0.02 * (high - low):
        return None
    return change(spec, name, {"high" if upper else "low": new})


def is_at_end(parameter: NumberParameter, value: float, *, upper: bool) -> bool:
    """Whether a value lies in the outer tenth of the range, on its scale."""
    low, high, place = (math.log(v) if parameter.log else float(v) for v in (parameter.low, parameter.high, value))
    return place >= high - EDGE * (high - low) if upper else place <= low + EDGE * (high - low)


def end_share(parameter: NumberParameter, *, upper: bool) -> float:
    """The chance that a value drawn uniformly on the parameter's scale lies at its end."""
    count = parameter.num_values
    if count is None or count > 1000:
        return EDGE
    return sum(is_at_end(parameter, parameter.value_at(index), upper=upper) for index in range(count)) / count


def show_value(value: object) -> str:
    """As it stands in a sentence: a text without quotes, a number with four digits."""
    if isinstance(value, str):
        return value
    return f"{value:.4g}" if is_number(value) and isinstance(value, float) else show(value)


def show_values(values: Iterable[object]) -> str:
    return ", ".join(show_value(value) for value in values)
