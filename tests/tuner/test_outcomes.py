"""What is read of a study's trials for comparisons: values of trials that were cut short, costs, studies of Optuna's making."""

from __future__ import annotations

import optuna
import pytest
from sqlalchemy import text

from tests.tuner.search.desk import Desk
from tuner import leases, outcomes
from tuner.comparison import compare_study
from tuner.db.postgres import Database
from tuner.errors import StudyNotFound
from tuner.optuna_storage import PostgresStorage
from tuner.search.engine import Engine
from tuner.wire import Report, Tell, TrialState

SPACE = {"x": {"type": "float", "low": 0.0, "high": 1.0}}


def test_values_and_costs(database: Database) -> None:
    desk = Desk(database, SPACE, max_trials=5, sampler={"name": "random", "seed": 1}, pruner={"name": "none"})
    engine = Engine(database)
    complete, pruned, silent, failed, running = desk.ask(engine, 5)
    engine.close()
    desk.tell(complete, 0.5)
    desk.report(pruned, 0, 3.0)
    desk.report(pruned, 1, 2.0)
    leases.tell(database, "default", pruned.id, Tell(state="PRUNED"))
    leases.tell(database, "default", silent.id, Tell(state="PRUNED"))
    desk.report(failed, 0, 1.0)
    desk.fail(failed, "oom_cuda")
    with database.begin() as connection:
        connection.execute(text("UPDATE attempts SET ended_at = started_at + interval '90 seconds' WHERE ended_at IS NOT NULL"))
        connection.execute(text("UPDATE trials SET gpu_seconds = 7 WHERE number = 0"))
    found = outcomes.read(database, "default", desk.study.id)
    assert (found.name, found.objectives, found.directions, found.sampler, found.max_trials) == (
        desk.study.name, ("loss",), ("minimize",), "random", 5,
    )  # fmt: skip
    assert [outcome.values for outcome in found.outcomes] == [(0.5,), (2.0,), (None,), (None,), (None,)]
    assert [outcome.counts for outcome in found.outcomes] == [True, True, True, True, False]
    assert [outcome.seconds for outcome in found.outcomes] == [90.0, 90.0, 90.0, 90.0, 0.0]
    assert (found.outcomes[0].gpu_seconds, found.outcomes[3].reason) == (7.0, "oom_cuda")
    assert found.outcomes[4].state == TrialState.RUNNING
    assert running.trial.number == 4
    with pytest.raises(StudyNotFound):
        outcomes.read(database, "default", "nothing")


def test_a_paused_trial_has_its_last_report(database: Database) -> None:
    desk = Desk(
        database, SPACE, sampler={"name": "random", "seed": 1}, pruner={"name": "promotion", "max_resource": 9, "min_resource": 1}
    )
    engine = Engine(database)
    first, second = desk.ask(engine, 2)
    for lease, value in ((first, 0.25), (second, 0.75)):
        leases.tell(
            database,
            "default",
            lease.id,
            Tell(state="WAITING", reason="paused", reports=[Report(step=0, values={"loss": value})]),
        )
    engine.step()
    engine.close()
    found = outcomes.read(database, "default", desk.study.id)
    assert [outcome.is_paused for outcome in found.outcomes] == [True, True]
    assert [outcome.values for outcome in found.outcomes] == [(0.25,), (0.75,)]


def test_a_study_made_through_optuna(database: Database) -> None:
    study = optuna.create_study(storage=PostgresStorage(database.url), study_name="o", direction="maximize")

    def objective(trial: optuna.Trial) -> float:
        return float(trial.suggest_categorical("kind", ["a", "b"]) == "a") + trial.suggest_float("x", 0, 1) / 10

    study.optimize(objective, n_trials=20)
    found = outcomes.read(database, "default", "o")
    assert (found.spec, found.sampler, found.directions) == (None, None, ("maximize",))
    compared = compare_study(found, "kind")
    assert [level.level for level in compared.levels] == ["a", "b"]
    assert "made through Optuna" in " ".join(compared.notes)
