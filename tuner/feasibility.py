"""Configurations drawn at random that satisfy a space's constraints, and whether a study has enough of them to be searched.

Drawing does without numpy and Optuna, so that a server can judge a study when it is submitted and the search can fall back on the very
same draws. Weakness: a share of configurations is estimated from draws, each parameter uniform on its scale, so that a space of
which only a sliver is allowed is refused, though a sampler that knew the sliver could search it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from random import Random
from typing import Any

from tuner.errors import FieldError
from tuner.parameters import CategoricalParameter, FloatParameter, IntParameter, Parameter, Value, show
from tuner.space import SearchSpace

ENOUGH, DRAWS = 10, 10_000
"""A study is searched when so many of so many draws are allowed: about one in a thousand. Then `draw` fails once in e^20 calls."""
MAX_DRAWS = 20_000
MAX_CELLS = 100_000
"""Configurations of a finite space that are held against its constraints one by one, at some 50 microseconds each."""


def draw(space: SearchSpace, rng: Random, fixed: Mapping[str, Value], max_draws: int = MAX_DRAWS) -> dict[str, Value] | None:
    """A random configuration that satisfies the constraints, parameters in `fixed` as given; None if `max_draws` draws found none."""
    return next((params for _ in range(max_draws) if space.allows(params := _draw(space, rng, fixed))), None)


def problems(space: SearchSpace, sampler: str, by: str | None = None) -> list[FieldError]:
    """Why a study over this space cannot be searched with this sampler; `by`: the parameter whose choices are compared."""
    if not space.constraints:
        return []
    if sampler in ("grid", "brute_force"):
        return _cell_problems(space, sampler)
    compared = None if by is None else space.parameters[by]
    levels = [{by: choice} for choice in compared.choices] if by and isinstance(compared, CategoricalParameter) else [{}]
    for fixed in levels:
        share = _count_allowed(space, fixed)
        if share < ENOUGH:
            where = "".join(f" where {name} is {show(value)}" for name, value in fixed.items())
            found = "none" if share == 0 else f"only {share}"
            msg = f"leave next to nothing to search{where}: {found} of {DRAWS} random configurations satisfy them; narrow the ranges"
            return [FieldError("constraints", f"{msg} or relax a constraint")]
    return []


def _cell_problems(space: SearchSpace, sampler: str) -> list[FieldError]:
    num_cells = space.num_cells()
    if num_cells is None or num_cells > MAX_CELLS:
        msg = f"{sampler} looks at each configuration, with constraints at {MAX_CELLS} at most, and there are {num_cells}"
        return [FieldError("constraints", f"{msg}; choose another sampler")]
    if next(space.cells(), None) is None:
        return [FieldError("constraints", f"leave nothing to search: none of the {num_cells} configurations satisfies them all")]
    return []


def _count_allowed(space: SearchSpace, fixed: Mapping[str, Any]) -> int:
    """How many draws of DRAWS are allowed, counted up to ENOUGH. The same for the same space."""
    rng, count = Random(0), 0
    for _ in range(DRAWS):
        count += space.allows(_draw(space, rng, fixed))
        if count == ENOUGH:
            break
    return count


def _draw(space: SearchSpace, rng: Random, fixed: Mapping[str, Value]) -> dict[str, Value]:
    params: dict[str, Value] = {}
    for name in space.order:
        if space.is_active(name, params):
            params[name] = fixed[name] if name in fixed else draw_value(space.parameters[name], rng)
    return params


def draw_value(parameter: Parameter, rng: Random) -> Value:
    """Uniform, on a log scale where the parameter has one; as Optuna's RandomSampler, with every integer its share of the scale."""
    place = rng.random()  # the one method whose numbers Python promises not to change
    if parameter.frozen is not None:
        return parameter.frozen[0]
    if isinstance(parameter, IntParameter) and parameter.log:
        low, high = math.log(parameter.low - 0.5), math.log(parameter.high + 0.5)
        return min(max(round(math.exp(low + place * (high - low))), parameter.low), parameter.high)
    if isinstance(parameter, FloatParameter) and parameter.log:
        low, high = math.log(parameter.low), math.log(parameter.high)
        return min(max(math.exp(low + place * (high - low)), parameter.low), parameter.high)
    if isinstance(parameter, FloatParameter) and parameter.num_values is None:
        return parameter.low + place * (parameter.high - parameter.low)
    count = parameter.num_values
    assert count is not None
    return parameter.value_at(int(place * count))
