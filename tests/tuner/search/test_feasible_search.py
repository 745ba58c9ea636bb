"""The search under outcome constraints: what it finds is feasible, and it looks where feasible configurations are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from optuna.distributions import FloatDistribution
from sqlalchemy import text

from tests.tuner.search.desk import Desk
from tests.tuner.search.rows import trial_row
from tuner import leases, outcome_constraints, reports, views
from tuner.db.postgres import Database
from tuner.search.engine import Engine
from tuner.search.history import History
from tuner.search.rungs import Rungs
from tuner.wire import Lease, Report, Tell, Trial

SPACE = {name: {"type": "float", "low": 0.0, "high": 1.0} for name in ("x", "y")}
CONSTRAINTS = ["size >= 1.4"]
SHARE = 0.18
"""Of the space that is feasible."""
VIOLATION = 0.43
"""Of a random configuration, on average."""


def measure(params: Mapping[str, Any]) -> dict[str, float]:
    """The best without the constraint lies far from what is allowed."""
    x, y = params["x"], params["y"]
    return {"loss": (x - 0.2) ** 2 + (y - 0.3) ** 2, "size": x + y}


def run(desk: Desk, engines: list[Engine], count: int, *, restart: bool = False, measured: Any = measure) -> list[Trial]:
    engines.append(desk.engine())
    for _ in range(count):
        if restart:
            engines.pop().close()
            engines.append(desk.engine())
        (lease,) = desk.ask(engines[-1])
        values = measured(lease.trial.params)
        leases.tell(desk.database, "default", lease.id, Tell(state="COMPLETE", values=values))
    engines.pop().close()
    return [views.get_trial_by_number(desk.database, "default", desk.study.id, number) for number in range(count)]


@pytest.mark.parametrize(
    "sampler, count",
    [
        ({"name": "auto"}, 90),
        ({"name": "tpe", "multivariate": False}, 90),
        ({"name": "gp", "n_startup_trials": 6}, 16),
        ({"name": "nsga2", "population_size": 8, "mutation_prob": 0.1}, 80),
    ],
    ids=lambda value: value["name"] if isinstance(value, dict) else "",
)
def test_sampling_concentrates_where_it_is_feasible(
    database: Database, engines: list[Engine], sampler: dict[str, Any], count: int
) -> None:
    desk = Desk(database, SPACE, sampler={"seed": 5, **sampler}, outcome_constraints=CONSTRAINTS)
    found = run(desk, engines, count)
    late = found[count // 2 :]
    violations = [outcome_constraints.total(trial.constraints or {}) for trial in late]
    assert np.mean(violations) < VIOLATION / 2
    if sampler["name"] != "gp":  # which goes along the border
        assert np.mean([trial.feasible is True for trial in late]) > 1.5 * SHARE
    (best,) = views.best(database, "default", desk.study.id)
    assert best.feasible is True
    assert (best.values or {})["loss"] < 0.6  # at best (0.65, 0.75): 0.405; at a random feasible configuration 0.72
    assert best.values == min((trial.values or {} for trial in found if trial.feasible), key=lambda values: values["loss"])


def test_without_the_constraint_it_looks_elsewhere(database: Database, engines: list[Engine]) -> None:
    desk = Desk(database, SPACE, sampler={"name": "tpe", "seed": 5})
    found = run(desk, engines, 60)
    assert np.mean([sum(trial.params.values()) >= 1.4 for trial in found[30:]]) < SHARE  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "sampler, count",
    [({"name": "tpe"}, 40), ({"name": "gp", "n_startup_trials": 6}, 12), ({"name": "nsga2", "population_size": 5}, 30)],
)
def test_restarts_change_nothing_and_missing_metrics_break_nothing(
    database: Database, engines: list[Engine], sampler: dict[str, Any], count: int
) -> None:
    def measured(params: Mapping[str, Any]) -> dict[str, float]:
        values = measure(params)
        return {"loss": values["loss"]} if params["x"] > 0.9 else values

    desks = [
        Desk(database, SPACE, name=name, sampler={"seed": 2, **sampler}, outcome_constraints=[*CONSTRAINTS, "loss <= 9"])
        for name in ("disturbed", "undisturbed")
    ]
    disturbed, undisturbed = (run(desk, engines, count, restart=desk is desks[0], measured=measured) for desk in desks)
    assert [trial.params for trial in disturbed] == [trial.params for trial in undisturbed]
    assert any("there is no value of size" in (trial.error or "") for trial in disturbed)


def test_two_objectives_under_a_constraint(database: Database, engines: list[Engine]) -> None:
    objectives = [{"name": name, "direction": "minimize"} for name in ("loss", "size")]
    desk = Desk(database, SPACE, sampler={"name": "tpe", "seed": 1}, objectives=objectives, outcome_constraints=CONSTRAINTS)
    found = run(desk, engines, 60)
    front = views.pareto(database, "default", desk.study.id)
    assert front
    assert all(trial.feasible for trial in front)
    assert np.mean([trial.feasible is True for trial in found[30:]]) > 2 * SHARE


# --- rungs ---------------------------------------------------------------------------------------------------------------


def board(*, resumes: bool = True) -> tuple[History, Rungs]:
    constraints, _ = outcome_constraints.read(["latency <= 10"])
    space = {"x": FloatDistribution(0.0, 1.0)}
    history = History(study_id=1, name="s", directions=["minimize"], objectives=["loss"], space=space, constraints=constraints)
    return history, Rungs(history, [1, 3, 9], eta=3, resumes=resumes)


def put(history: History, rungs: Rungs, number: int, *reported: dict[str, float], state: str = "WAITING") -> None:
    row = trial_row(
        number,
        state=state,
        reason="paused_at_rung" if state == "WAITING" else None,
    )
    history.merge_trial(row)
    for step, values in enumerate(reported):
        history.merge_report(100 + number, step, values)
    rungs.take_in(number)


def test_who_breaks_a_constraint_at_the_rung_stands_behind_those_who_do_not() -> None:
    history, rungs = board()
    for number, (loss, latency) in enumerate(((0.1, 12.0), (0.2, 11.0), (0.9, 9.0), (0.8, 10.0), (0.05, 99.0))):
        put(history, rungs, number, {"loss": loss, "latency": latency})
    assert rungs.best(0, 5) == [3, 2, 1, 0, 4]
    assert list(rungs.list_promotable()) == [3]
    put(history, rungs, 5, {"loss": 0.5})  # what has not been measured yet is not held against it
    assert list(rungs.list_promotable()) == [5, 3]


def test_the_last_value_up_to_the_rung_counts() -> None:
    history, rungs = board()
    put(history, rungs, 0, {"latency": 12.0, "loss": 1.0}, {"loss": 0.9}, {"loss": 0.8})
    put(history, rungs, 1, {"latency": 12.0, "loss": 1.0}, {"latency": 9.0}, {"loss": 0.9})
    put(history, rungs, 2, {"latency": 9.0, "loss": 2.0}, {"latency": 9.0}, {"loss": 1.9})
    assert rungs.best(0, 3) == [2, 0, 1]
    assert rungs.best(1, 3) == [1, 2, 0]


def test_where_none_can_come_back_an_infeasible_trial_ends_at_the_rung() -> None:
    history, rungs = board(resumes=False)
    verdicts = []
    for number, (loss, latency) in enumerate(((0.5, 12.0), (0.9, 9.0), (0.1, 11.0), (0.95, 8.0))):
        put(history, rungs, number, {"loss": loss, "latency": latency}, state="RUNNING")
        verdicts.append(str(rungs.judge(number, 0)))
    assert verdicts == ["continue", "continue", "prune", "prune"]


@pytest.mark.parametrize("sampler", ["auto", "gp"])
def test_a_promoting_study_ends_with_a_feasible_best(database: Database, engines: list[Engine], sampler: str) -> None:
    """And what it leaves paused at its rungs is judged too, by what it had reported."""
    promotion = {"name": "promotion", "max_resource": 9, "min_resource": 1}
    constraints = [*CONSTRAINTS, "only_at_the_end <= 1"]
    options = {"sampler": {"name": sampler, "seed": 4}, "pruner": promotion, "outcome_constraints": constraints}
    desk = Desk(database, SPACE, max_trials=18, **options)
    engines.append(desk.engine())
    trained: dict[int, int] = {}
    for _ in range(200):
        engines[-1].step()
        if desk.state()[0] != "RUNNING" or not (taken := desk.ask(engines[-1])):
            break
        train(desk, engines[-1], taken[0], trained)
    assert desk.state() == ("COMPLETE", "max_trials")
    found = [views.get_trial_by_number(database, "default", desk.study.id, number) for number in range(18)]
    feasible = [sum(trial.params.values()) >= 1.4 for trial in found]  # type: ignore[arg-type]
    assert {trial.state for trial in found} == {"COMPLETE", "PRUNED"}
    judged = [trial.feasible for trial in found]
    assert judged == [
        None if trial.state == "PRUNED" and is_feasible else is_feasible
        for trial, is_feasible in zip(found, feasible, strict=True)
    ]
    assert 9 in {trained[number] for number in range(18) if feasible[number]}
    (best,) = views.best(database, "default", desk.study.id)
    assert feasible[best.number]
    with database.read() as connection:
        rows = connection.execute(text("SELECT objective_values FROM trials WHERE state = 'PRUNED'")).scalars()
        assert all(json.loads(values)[0] > 0 for values in rows)


def train(desk: Desk, engine: Engine, lease: Lease, trained: dict[int, int]) -> None:
    number, values = lease.trial.number, measure(lease.trial.params)
    for step in range(trained.get(number, 0), 9):
        trained[number] = step + 1
        told = {"loss": values["loss"] + 1.0 / (1 + step), "size": values["size"]}
        reports.append(desk.database, "default", lease.id, [Report(step=step, values=told)])
        engine.step()
        if reports.get_verdict(desk.database, "default", lease.id, step).answer.verdict == "pause":
            leases.tell(desk.database, "default", lease.id, Tell(state="WAITING", reason="paused"))
            return
    leases.tell(
        desk.database, "default", lease.id, Tell(state="COMPLETE", values={"loss": values["loss"], "only_at_the_end": 0.0})
    )
