"""Our search space as Optuna's distributions, objects and JSON. Conditions stay in `tuner.space`: Optuna knows no conditional space."""

from __future__ import annotations

import json
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
    json_to_distribution,
)

from tuner.space import CategoricalParameter, FloatParameter, IntParameter, SearchSpace


def of_space(space: SearchSpace) -> dict[str, BaseDistribution]:
    """Distribution of each parameter, in the order in which they are suggested (parents first)."""
    return {name: of_parameter(space.parameters[name]) for name in space.order}


def of_parameter(parameter: FloatParameter | IntParameter | CategoricalParameter) -> BaseDistribution:
    if isinstance(parameter, CategoricalParameter):
        return CategoricalDistribution(parameter.choices)
    if isinstance(parameter, IntParameter):
        return IntDistribution(parameter.low, parameter.high, log=parameter.log, step=parameter.step)
    return FloatDistribution(parameter.low, parameter.high, log=parameter.log, step=parameter.step)


def single(distribution: BaseDistribution, value: Any) -> BaseDistribution:
    """The distribution with this value alone: what a sampler is shown of a frozen parameter."""
    if isinstance(distribution, CategoricalDistribution):
        return CategoricalDistribution((value,))
    if isinstance(distribution, IntDistribution):
        return IntDistribution(value, value, log=distribution.log, step=distribution.step)
    assert isinstance(distribution, FloatDistribution)
    return FloatDistribution(value, value, log=distribution.log, step=distribution.step)


def covers(distribution: BaseDistribution, earlier: BaseDistribution) -> bool:
    """Whether every value of an earlier version's distribution is one of this one's, and means the same.

    Optuna refuses categorical distributions that differ, and samplers that compare distributions leave such parameters out.
    """
    if isinstance(distribution, CategoricalDistribution):
        return isinstance(earlier, CategoricalDistribution) and distribution.choices[: len(earlier.choices)] == earlier.choices
    return (
        type(distribution) is type(earlier)
        and isinstance(distribution, IntDistribution | FloatDistribution)
        and isinstance(earlier, IntDistribution | FloatDistribution)
        and (distribution.log, distribution.step) == (earlier.log, earlier.step)
        and distribution.low <= earlier.low
        and distribution.high >= earlier.high
    )


def to_json(distribution: BaseDistribution) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(distribution_to_json(distribution))
    return loaded


def from_json(stored: dict[str, Any]) -> BaseDistribution:
    return json_to_distribution(json.dumps(stored))


def external(distribution: BaseDistribution, value: Any) -> Any:
    """The value as plain Python of the parameter's own type: samplers return numpy scalars here and there."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[int(distribution.to_internal_repr(value))]
    return int(value) if isinstance(distribution, IntDistribution) else float(value)
