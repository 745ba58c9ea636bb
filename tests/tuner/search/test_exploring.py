"""Exploring: how the hyperparameters of a copy are perturbed or drawn anew, within its space."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import pytest

from tuner.feasibility import draw_value
from tuner.search.population import explore, perturb
from tuner.space import CategoricalParameter, FloatParameter, IntParameter, SearchSpace


@pytest.mark.parametrize(
    "parameter, value, up, down",
    [
        (FloatParameter(0.0, 1.0), 0.5, 0.6, 0.4),
        (FloatParameter(1e-5, 0.1, log=True), 0.01, 0.012, 0.008),
        (FloatParameter(0.0, 1.0), 0.9, 1.0, 0.72),
        (FloatParameter(0.0, 1.0), 0.0, 0.0, 0.0),
        (FloatParameter(0.0, 0.6, step=0.1), 0.2, 0.3, 0.1),
        (FloatParameter(0.0, 0.6, step=0.1), 0.0, 0.1, 0.0),
        (IntParameter(1, 1000), 100, 120, 80),
        (IntParameter(1, 10), 2, 3, 1),
        (IntParameter(8, 64, step=8), 8, 16, 8),
        (CategoricalParameter((64, 16, 32)), 32, 64, 16),
        (CategoricalParameter((64, 16, 32)), 64, 64, 32),
        (CategoricalParameter(("relu", "tanh")), "relu", "relu", "relu"),
        (CategoricalParameter((True, False)), True, True, True),
    ],
)
def test_perturbing(parameter: Any, value: Any, up: Any, down: Any) -> None:
    assert (perturb(parameter, value, 1, 0.2), perturb(parameter, value, -1, 0.2)) == (pytest.approx(up), pytest.approx(down))


@pytest.mark.parametrize(
    "parameter",
    [
        FloatParameter(1e-4, 1.0, log=True),
        FloatParameter(0.0, 0.6, step=0.1),
        IntParameter(4, 256, log=True),
        IntParameter(3, 21, step=6),
        CategoricalParameter(("a", None, 3)),
    ],
)
def test_drawing_stays_on_the_parameter_and_covers_it(parameter: Any) -> None:
    rng = Random(1)
    drawn = [draw_value(parameter, rng) for _ in range(300)]
    assert [parameter.check(value) for value in drawn] == drawn
    half = [value for value in drawn if not isinstance(parameter, CategoricalParameter) and value < parameter.high / 10]
    if getattr(parameter, "log", False):
        assert len(half) > 100
        if isinstance(parameter, IntParameter):
            assert drawn.count(parameter.low) > 18  # as large a share of the scale as has any integer: of 3.5 to 4.5
    elif isinstance(parameter, CategoricalParameter):
        assert set(drawn) == set(parameter.choices)


SPACE_OF_ALL = SearchSpace.parse(
    {
        "opt": {"type": "categorical", "choices": ["sgd", "adam"]},
        "lr": {"type": "float", "low": 1e-4, "high": 1.0, "log": True},
        "momentum": {"type": "float", "low": 0.1, "high": 0.9, "when": {"opt": ["sgd"]}},
        "width": {"type": "int", "low": 8, "high": 64},
    },
    ["lr * width <= 8"],
)


def test_exploring_changes_what_is_free_within_the_space_and_its_constraints() -> None:
    parent = {"opt": "sgd", "lr": 0.1, "momentum": 0.5, "width": 64}
    found = [explore(SPACE_OF_ALL, parent, {"lr", "momentum"}, Random(seed)) for seed in range(200)]
    for params in found:
        assert params is not None
        assert (params["opt"], params["width"]) == ("sgd", 64)
        assert params == SPACE_OF_ALL.check(params)
        assert params != parent
    moved = Counter(round(params["momentum"], 6) for params in found if params is not None)
    assert moved[0.6] + moved[0.4] == pytest.approx(150, abs=25)  # the others are drawn anew, with probability 0.25
    assert moved[0.6] == pytest.approx(75, abs=25)


def test_exploring_follows_conditions() -> None:
    parent = {"opt": "sgd", "lr": 0.01, "momentum": 0.5, "width": 8}
    found = [explore(SPACE_OF_ALL, parent, {"opt"}, Random(seed), resample=1.0) for seed in range(20)]
    assert {"opt": "adam", "lr": 0.01, "width": 8} in found
    assert parent not in found  # another draw, where nothing has changed
    back = explore(SPACE_OF_ALL, {"opt": "adam", "lr": 0.01, "width": 8}, {"opt"}, Random(1), resample=1.0)
    assert back is not None
    assert back["opt"] == "sgd"
    assert 0.1 <= back["momentum"] <= 0.9


def test_nothing_is_found_where_the_space_has_moved_away_from_the_parent() -> None:
    assert explore(SPACE_OF_ALL, {"opt": "adam", "lr": 0.01, "width": 100}, {"lr"}, Random(1)) is None
