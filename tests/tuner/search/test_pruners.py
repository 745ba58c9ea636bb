"""Judging reports: the same verdicts as Optuna gives when it asks after each report, whoever judges and in what batches they come."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import optuna
import pytest
from sqlalchemy import text

from tests.tuner.search.desk import Desk
from tuner import leases, reports
from tuner.db.postgres import Database
from tuner.search import pruners
from tuner.search.engine import Engine
from tuner.strategy_spec import PrunerSpec
from tuner.wire import Lease, Report, Tell

SPACE = {"x": {"type": "float", "low": 0.0, "high": 1.0}}
PRUNERS: list[dict[str, Any]] = [
    {"name": "median", "n_startup_trials": 2},
    {"name": "percentile", "percentile": 30.0, "n_startup_trials": 2, "interval_steps": 2},
    {"name": "successive_halving", "min_resource": 1, "reduction_factor": 2},
    {"name": "successive_halving"},
    {"name": "hyperband", "max_resource": 9},
    {"name": "hyperband"},
    {"name": "threshold", "upper": 1.2, "n_warmup_steps": 2},
    {"name": "patient", "patience": 1, "wrapped": {"name": "median", "n_startup_trials": 2}},
    {"name": "patient", "patience": 2},
    {"name": "wilcoxon", "p_threshold": 0.4},
]
NUM_STEPS = 9


@pytest.fixture
def engine(database: Database) -> Iterator[Engine]:
    engine = Engine(database)
    yield engine
    engine.close()


def _curve(number: int) -> list[float]:
    rng = np.random.RandomState(number)
    level = rng.rand()
    return [level + 1.0 / (step + 1) + 0.2 * float(rng.normal()) for step in range(NUM_STEPS)]


def _optunas_verdicts(pruner: dict[str, Any], name: str, num_trials: int) -> list[int | None]:
    """The step at which plain Optuna prunes each trial; None: it does not."""
    made = pruners.make_pruner(PrunerSpec.model_validate(pruner))
    study = optuna.create_study(pruner=made, study_name=name, sampler=optuna.samplers.RandomSampler())
    found: list[int | None] = []
    for number in range(num_trials):
        trial = study.ask()
        pruned = None
        for step, value in enumerate(_curve(number)):
            trial.report(value, step)
            if trial.should_prune():
                pruned = step
                break
        found.append(pruned)
        if pruned is None:
            study.tell(trial, _curve(number)[-1])
        else:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    return found


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.filterwarnings("ignore:WilcoxonPruner finds steps")
@pytest.mark.filterwarnings("ignore:The best trial has no intermediate values")
@pytest.mark.parametrize("pruner", PRUNERS, ids=lambda pruner: f"{pruner['name']}-{len(pruner)}")
@pytest.mark.parametrize("restart", [False, True])
def test_verdicts_are_optunas(database: Database, engine: Engine, pruner: dict[str, Any], restart: bool) -> None:
    num_trials = 14
    desk = Desk(database, SPACE, name="study", sampler={"name": "random"}, pruner=pruner)
    found: list[int | None] = []
    for number in range(num_trials):
        (lease,) = desk.ask(engine)
        pruned = None
        for step, value in enumerate(_curve(number)):
            desk.report(lease, step, value)
            if restart:
                engine.close()
                engine = Engine(database)
            engine.step()
            if reports.get_verdict(database, "default", lease.id, step).answer.verdict == "prune":
                pruned = step
                break
        found.append(pruned)
        if pruned is None:
            desk.tell(lease, _curve(number)[-1])
        else:
            leases.tell(database, "default", lease.id, Tell(state="PRUNED"))
    engine.close()
    assert found == _optunas_verdicts(pruner, "study", num_trials)


def _report(desk: Desk, lease: Lease, first: int, *values: float) -> None:
    batch = [Report(step=first + place, values={"loss": value}) for place, value in enumerate(values)]
    reports.append(desk.database, "default", lease.id, batch)


def test_a_batch_is_judged_step_by_step(database: Database, engine: Engine) -> None:
    """A batch whose last report looks fine is pruned for the one in its middle, as if each had been asked about."""
    desk = Desk(database, SPACE, sampler={"name": "random"}, pruner={"name": "threshold", "upper": 1.0})
    bad, good = desk.ask(engine, 2)
    _report(desk, bad, 0, 0.5, 7.0, 0.5)
    _report(desk, good, 0, 0.5, 0.7, 0.5)
    engine.step()
    found = {lease.id: reports.get_verdict(database, "default", lease.id, 2) for lease in (bad, good)}
    assert found[bad.id].answer.verdict == "prune"
    assert found[good.id].answer.verdict == "continue"
    assert all(answer.judged for answer in found.values())


def test_reports_without_the_objective_are_judged_as_nothing(database: Database, engine: Engine) -> None:
    desk = Desk(database, SPACE, sampler={"name": "random"}, pruner={"name": "threshold", "upper": 1.0})
    (lease,) = desk.ask(engine)
    reports.append(database, "default", lease.id, [Report(step=3, values={"other": 9.0})])
    engine.step()
    answer = reports.get_verdict(database, "default", lease.id, 3)
    assert answer.judged
    assert answer.answer.verdict == "continue"


def test_nan_is_judged(database: Database, engine: Engine) -> None:
    desk = Desk(database, SPACE, sampler={"name": "random"}, pruner={"name": "threshold", "upper": 1.0})
    (lease,) = desk.ask(engine)
    _report(desk, lease, 0, float("nan"))
    engine.step()
    assert reports.get_verdict(database, "default", lease.id, 0).answer.verdict == "prune"


@pytest.mark.parametrize("name", ["auto", "none"])
def test_without_a_pruner_nothing_is_judged(database: Database, engine: Engine, name: str) -> None:
    desk = Desk(database, SPACE, pruner={"name": name})
    (lease,) = desk.ask(engine)
    _report(desk, lease, 0, 1.0, 2.0)
    engine.step()
    with database.read() as connection:
        row = connection.execute(text("SELECT verdict, judged_step FROM trials")).one()
    assert tuple(row) == ("continue", None)


def test_pruned_trials_are_known_to_the_sampler_by_their_last_report(database: Database, engine: Engine) -> None:
    desk = Desk(database, SPACE, sampler={"name": "tpe", "n_startup_trials": 3})
    for value in (0.9, 0.2, 0.5):
        (lease,) = desk.ask(engine)
        _report(desk, lease, 0, 3.0, value)
        leases.tell(database, "default", lease.id, Tell(state="PRUNED"))
    engine.step()
    search = engine._owned[desk.study.id].search
    assert search is not None
    assert [trial.intermediate_values for trial in search.history.trials] == [{1: 0.9}, {1: 0.2}, {1: 0.5}]
    (lease,) = desk.ask(engine)
