"""Reports by step: results follow them in whatever order they come, and cost what is new."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from optuna.distributions import FloatDistribution

from tests.tuner.search.rows import trial_row
from tuner import outcome_constraints
from tuner.search.history import History
from tuner.search.population import Population
from tuner.search.rungs import Rungs
from tuner.spec import StudySpec

LENGTH = 40
SPACE = {"x": {"type": "float", "low": 0.0, "high": 1.0}}
OBJECTIVES = [{"name": "loss", "direction": "minimize"}]


def history() -> History:
    constraints, _ = outcome_constraints.read(["latency <= 10", "memory < 4"])
    space = {"x": FloatDistribution(0.0, 1.0)}
    found = History(study_id=1, name="s", directions=["minimize"], objectives=["loss"], space=space, constraints=constraints)
    found.merge_trial(trial_row(0, state="RUNNING"))
    return found


def population(history: History, interval: int = 3) -> Population:
    pruner = {"name": "population", "interval": interval, "max_resource": LENGTH}
    return Population(StudySpec.parse({"space": SPACE, "objectives": OBJECTIVES, "pruner": pruner}), history, 1)


def rungs(history: History) -> Rungs:
    return Rungs(history, [1, 3, 9, 27, LENGTH], eta=3)


def boundaries(members: Population) -> list[Any]:
    return [members._results(boundary).get(0) for boundary in range(1, (LENGTH - 1) // members.interval + 1)]


def results(each: Rungs) -> list[Any]:
    return [each.results(rung).get(0) for rung in range(len(each.resources))]


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("keep, read", [(population, boundaries), (rungs, results)])
def test_results_do_not_hang_on_the_order_of_reports(
    keep: Callable[..., Any], read: Callable[[Any], list[Any]], seed: int
) -> None:
    """Taken in one by one they are what they are taken in at once: of late ones, of those that come again, of some without the objective."""
    rng = Random(seed)
    step_by_step, at_once = history(), history()
    kept = keep(step_by_step)
    for _ in range(60):
        step = rng.randrange(LENGTH)
        names = rng.sample(["loss", "latency", "memory"], rng.randint(1, 3))
        metrics = {name: rng.choice([1.0, 5.0, 20.0, "NaN"]) for name in names}
        for each in (step_by_step, at_once):
            each.merge_report(100, step, metrics)
        kept.take_in(0)
        whole = keep(at_once)
        at_once.changes.note(0, 0)
        at_once.changes.note(0, LENGTH)
        whole.take_in(0)
        assert read(kept) == read(whole)


@pytest.mark.parametrize("keep, at_most", [(lambda history: population(history, 1), LENGTH), (rungs, 5)])
def test_a_report_is_held_against_the_constraints_where_it_makes_a_result(keep: Callable[..., Any], at_most: int) -> None:
    kept, asked = history(), []
    violations_at = kept.violations_at
    kept.violations_at = lambda *args: asked.append(args) or violations_at(*args)  # type: ignore[method-assign, func-returns-value]
    members = keep(kept)
    for step in range(LENGTH):
        kept.merge_report(100, step, {"loss": 1.0, "latency": 5.0})
        members.take_in(0)
        members.take_in(0)
    assert 4 <= len(asked) <= at_most


def test_violations_are_of_the_last_value_of_each_metric() -> None:
    kept = history()
    for step, metrics in (
        (5, {"latency": 30.0}),
        (2, {"memory": 9.0, "latency": 11.0}),
        (3, {"memory": 2.0}),
        (2, {"latency": 12.0}),
    ):
        kept.merge_report(100, step, metrics)
    assert kept.violations_at(0, 1) == {}
    assert kept.violations_at(0, 2) == {"latency <= 10": 2.0}
    assert kept.violations_at(0, 4) == {"latency <= 10": 2.0, "memory < 4": -2.0}
    assert kept.violations_at(0, 9) == {"latency <= 10": 20.0, "memory < 4": -2.0}
