"""A search that is replaced between any two asks proposes what one that was never disturbed would have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.tuner.search.desk import CONDITIONAL, FINITE, MIXED, Desk, loss
from tuner.db.postgres import Database
from tuner.search.engine import Engine

NUM_TRIALS = 200


def _run(desk: Desk, engines: list[Engine], num_trials: int, *, restart: bool, num_objectives: int = 1) -> list[dict[str, Any]]:
    engines.append(desk.engine())

    def engine() -> Engine:
        if restart:
            engines.pop().close()
            engines.append(desk.engine())
        return engines[-1]

    def value(params: Mapping[str, Any]) -> tuple[float, ...]:
        return tuple(loss(params) * (1.0 if place == 0 else -1.0 + 0.1 * place) for place in range(num_objectives))

    desk.run(engine, num_trials, value)
    return desk.params()[:num_trials]


@pytest.mark.parametrize(
    "sampler, space, num_trials",
    [
        ({"name": "random"}, CONDITIONAL, NUM_TRIALS),
        pytest.param({"name": "auto"}, MIXED, NUM_TRIALS, marks=pytest.mark.slow),
        pytest.param({"name": "tpe"}, CONDITIONAL, NUM_TRIALS, marks=pytest.mark.slow),
        ({"name": "tpe", "group": True}, CONDITIONAL, NUM_TRIALS),
        pytest.param({"name": "tpe", "multivariate": False}, CONDITIONAL, NUM_TRIALS, marks=pytest.mark.slow),
        pytest.param({"name": "cmaes"}, MIXED, NUM_TRIALS, marks=pytest.mark.slow),
        pytest.param({"name": "cmaes", "with_margin": True}, MIXED, NUM_TRIALS, marks=pytest.mark.slow),
        ({"name": "qmc"}, CONDITIONAL, NUM_TRIALS),
        ({"name": "qmc", "qmc_type": "halton", "scramble": True}, MIXED, NUM_TRIALS),
        pytest.param({"name": "nsga2", "population_size": 10}, CONDITIONAL, NUM_TRIALS, marks=pytest.mark.slow),
        pytest.param({"name": "nsga3", "population_size": 10}, MIXED, NUM_TRIALS, marks=pytest.mark.slow),
        ({"name": "cmaes"}, MIXED, 40),
        ({"name": "nsga2", "population_size": 10}, CONDITIONAL, 40),
        ({"name": "gp"}, MIXED, 24),
        ({"name": "grid"}, FINITE, 12),
        ({"name": "brute_force"}, FINITE, 12),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) and "name" in value else "",
)
def test_restart_before_each_ask(
    database: Database, engines: list[Engine], sampler: dict[str, Any], space: dict[str, Any], num_trials: int
) -> None:
    disturbed = Desk(database, space, name="disturbed", sampler={"seed": 7, **sampler})
    undisturbed = Desk(database, space, name="undisturbed", sampler={"seed": 7, **sampler})
    found = _run(disturbed, engines, num_trials, restart=True)
    engines.pop().close()
    assert found == _run(undisturbed, engines, num_trials, restart=False)
    assert len(found) == num_trials
    other = Desk(database, space, name="other", sampler={"seed": 8, **sampler})
    engines.pop().close()
    if sampler["name"] != "brute_force" and sampler != {"name": "qmc"}:
        assert _run(other, engines, 10, restart=False) != found[:10]  # the seed matters


@pytest.mark.parametrize("name", ["tpe", "nsga2", "nsga3", "random"])
def test_restart_with_two_objectives(database: Database, engines: list[Engine], name: str) -> None:
    objectives = [{"name": "loss", "direction": "minimize"}, {"name": "gain", "direction": "maximize"}]
    options = {"population_size": 10} if name.startswith("nsga") else {}
    desks = [
        Desk(database, CONDITIONAL, name=which, sampler={"name": name, "seed": 3, **options}, objectives=objectives)
        for which in ("disturbed", "undisturbed")
    ]
    found = [
        _run(desk, engines, 60, restart=desk is desks[0], num_objectives=2)
        for desk in desks
        if not (engines and engines.pop().close())
    ]
    assert found[0] == found[1]
    assert len(found[0]) == 60
