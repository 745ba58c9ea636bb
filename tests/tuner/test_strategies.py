"""Options of samplers and pruners: those of Optuna, with its defaults and bounds."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import pytest
from optuna import pruners, samplers

from tests.tuner.specs import external
from tuner.errors import InvalidSpec
from tuner.strategies import PRUNERS, SAMPLERS, Option, Strategy

OPTUNA: dict[str, tuple[type, Strategy]] = {
    "random": (samplers.RandomSampler, SAMPLERS["random"]),
    "tpe": (samplers.TPESampler, SAMPLERS["tpe"]),
    "gp": (samplers.GPSampler, SAMPLERS["gp"]),
    "cmaes": (samplers.CmaEsSampler, SAMPLERS["cmaes"]),
    "qmc": (samplers.QMCSampler, SAMPLERS["qmc"]),
    "nsga2": (samplers.NSGAIISampler, SAMPLERS["nsga2"]),
    "nsga3": (samplers.NSGAIIISampler, SAMPLERS["nsga3"]),
    "median": (pruners.MedianPruner, PRUNERS["median"]),
    "percentile": (pruners.PercentilePruner, PRUNERS["percentile"]),
    "successive_halving": (pruners.SuccessiveHalvingPruner, PRUNERS["successive_halving"]),
    "hyperband": (pruners.HyperbandPruner, PRUNERS["hyperband"]),
    "patient": (pruners.PatientPruner, PRUNERS["patient"]),
    "threshold": (pruners.ThresholdPruner, PRUNERS["threshold"]),
    "wilcoxon": (pruners.WilcoxonPruner, PRUNERS["wilcoxon"]),
}


@pytest.mark.parametrize("name", OPTUNA)
def test_options_and_defaults_are_those_of_optuna(name: str) -> None:
    cls, strategy = OPTUNA[name]
    known = inspect.signature(cls).parameters
    for option in strategy.options:
        assert option.name in known
        if option.required:
            assert known[option.name].default is inspect.Parameter.empty
        else:
            assert known[option.name].default == option.default
            if option.default is not None:
                assert option.read(option.default) == option.default


BOUNDS = [
    (name, option, bound)
    for name, (_, strategy) in OPTUNA.items()
    for option in strategy.options
    for bound in (option.low, option.high)
    if bound is not None and not option.low_open
]


@pytest.mark.parametrize(("name", "option", "bound"), BOUNDS)
def test_the_bounds_of_options_are_accepted_by_optuna(name: str, option: Option, bound: float) -> None:
    cls, strategy = OPTUNA[name]
    kwargs: dict[str, Any] = {"wrapped_pruner": None} if name == "patient" else {"lower": 0.0} if name == "threshold" else {}
    kwargs |= {other.name: other.low for other in strategy.options if other.required}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cls(**kwargs | {option.name: option.read(bound)})


def test_every_strategy_of_optuna_is_held_against_it() -> None:
    own = {"none", "grid", "brute_force"}
    ours = {"auto", "promotion", "population"}  # with options of their own
    assert set(OPTUNA) | own | ours == set(SAMPLERS) | set(PRUNERS)
    assert not any(strategy.options for name, strategy in (SAMPLERS | PRUNERS).items() if name in own)


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"limits": {"timeout": 1e12}}, "at most 1e9"),
        ({"limits": {"trial_timeout": 1e12}}, "at most 1e9"),
        ({"limits": {"max_gpu_seconds": 1e18}}, "at most 1e15"),
        ({"space": {"x": {"type": "float", "low": 0, "high": 1, "when": {"y": [1]}}}}, "there is no other$"),
    ],
)
def test_a_refusal_names_what_is_allowed(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidSpec, match=sentence):
        external(**changes)
