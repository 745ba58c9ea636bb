"""What the search is for, in small: on learning curves in closed form it gets further than Optuna with the same compute."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.curves import Function
from benchmarks.search import AUTO, simulate, strategies
from benchmarks.strategies import Service


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Optuna's own, on its experimental features
def test_auto_gets_further_than_optuna_and_with_history_sooner() -> None:
    problems = [Function("crossing", task) for task in range(3)]
    found: dict[str, list[list[float]]] = {AUTO: [], "Optuna TPE": [], "warm": []}
    past = []
    for index, problem in enumerate(problems):
        for name in (AUTO, "Optuna TPE"):
            strategy = strategies(problem, index)[name]()
            found[name].append(simulate(problem, strategy, 4, index)["any"])
            if isinstance(strategy, Service):
                past.append(strategy.finished(index))
    for index, problem in enumerate(problems):
        warm = Service(problem, index, past=[study for study in past if study.id != index])
        found["warm"].append(simulate(problem, warm, 4, index)["any"])
    regret = {name: np.mean(curves, axis=0) for name, curves in found.items()}  # [marks]
    half, tenth = 19, 3
    assert regret[AUTO][half] < 0.7 * regret["Optuna TPE"][half]
    assert regret["warm"][tenth] < 0.7 * regret[AUTO][tenth]
    assert regret["warm"][tenth] < 0.5 * regret["Optuna TPE"][tenth]
