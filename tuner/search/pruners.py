"""From a pruner's spec to Optuna's pruner, and the little state some of them keep in memory.

`promotion` is no pruner of Optuna's but `rungs`, `population` is `population`. Successive halving and Hyperband estimate their resource from the first trial that
ends; that estimate is kept in the study's attributes, so that a search that takes over judges by the same rungs.
"""

from __future__ import annotations

import warnings
from typing import Any

from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    PatientPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
    ThresholdPruner,
    WilcoxonPruner,
)

from tuner.search.history import History
from tuner.strategy_spec import PrunerSpec

STATE_KEY = "tuner:pruner"
"""System attribute of a study: what its pruner has estimated."""

_PRUNERS: dict[str, type[BasePruner]] = {
    "median": MedianPruner,
    "percentile": PercentilePruner,
    "successive_halving": SuccessiveHalvingPruner,
    "hyperband": HyperbandPruner,
    "threshold": ThresholdPruner,
    "wilcoxon": WilcoxonPruner,
}


def make_pruner(spec: PrunerSpec) -> BasePruner | None:
    """None: nobody prunes. ValueError for options Optuna refuses."""
    options: dict[str, Any] = dict(spec.options)
    if spec.name in ("none", "promotion", "population"):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # experimental ones are the user's choice, made in the spec
        if spec.name == "patient":
            wrapped = options.pop("wrapped", None)
            return PatientPruner(None if wrapped is None else make_pruner(_spec(wrapped)), **options)
        return _PRUNERS[spec.name](**options)


def restore(pruner: BasePruner, history: History) -> None:
    """Give the pruner what was estimated before."""
    for name, value in history.system_attrs.get(STATE_KEY, {}).items():
        setattr(_estimating(pruner), name, value)


def save(pruner: BasePruner, history: History) -> None:
    """Write the pruner's estimate to the study's attributes, once there is one."""
    inner = _estimating(pruner)
    name = {SuccessiveHalvingPruner: "_min_resource", HyperbandPruner: "_max_resource"}.get(type(inner))
    if name is None or STATE_KEY in history.system_attrs:
        return
    value = getattr(inner, name)
    if isinstance(value, int):
        history.set_study_system_attr(history.study_id, STATE_KEY, {name: value})


def _estimating(pruner: BasePruner) -> BasePruner:
    while isinstance(pruner, PatientPruner) and pruner._wrapped_pruner is not None:
        pruner = pruner._wrapped_pruner
    return pruner


def _spec(wrapped: Any) -> PrunerSpec:
    return wrapped if isinstance(wrapped, PrunerSpec) else PrunerSpec.model_validate(wrapped)
