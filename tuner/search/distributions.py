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
