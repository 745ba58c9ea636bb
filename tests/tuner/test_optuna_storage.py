"""Optuna on our tables: its published storage suite, directly and through its gRPC proxy, and studies that both sides work on."""

from __future__ import annotations

import math
import pickle
import socket
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.exceptions import DuplicatedStudyError, ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages import BaseStorage, GrpcStorageProxy, InMemoryStorage
from optuna.storages._grpc.server import make_server
from optuna.study import StudyDirection
from optuna.testing.pytest_storages import StorageTestCase
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import event, text

from tests.tuner.specs import external
from tuner import leases, reports, studies, views
from tuner.db.postgres import Database
from tuner.errors import Conflict, DatabaseUnavailable, InvalidValue, LeaseLost, StudyNotRunning
from tuner.optuna_storage import PostgresStorage
from tuner.wire import AskRequest, Report, Tell

optuna.logging.set_verbosity(optuna.logging.WARNING)


class TestContract(StorageTestCase):
    @pytest.fixture
    def storage(self, database: Database) -> BaseStorage:
        return PostgresStorage(database)


class TestContractThroughProxy(StorageTestCase):
    @pytest.fixture
    def storage(self, database: Database) -> Iterator[BaseStorage]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        pool = ThreadPoolExecutor(max_workers=4)
        server = make_server(PostgresStorage(database), "127.0.0.1", port, pool)
        server.start()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            proxy = GrpcStorageProxy(host="127.0.0.1", port=port)
        proxy.wait_server_ready(timeout=30)
        yield proxy
        proxy.close()
        server.stop(5).wait()
        pool.shutdown()


def objective(trial: optuna.Trial) -> float:
    x = trial.suggest_float("x", -5, 5)
    n = trial.suggest_int("n", 1, 9, step=2)
    kind = trial.suggest_categorical("kind", ["a", None, 2, 0.5, True])
    trial.set_user_attr("kind", str(kind))
    for step in range(3):
        trial.report(x * x + step, step)
    if n == 9:
        raise optuna.TrialPruned
    return x * x


def comparable(trial: FrozenTrial) -> tuple[Any, ...]:
    return (
        trial.number,
        trial.state,
        trial.values,
        list(trial.params.items()),
        trial.distributions,
        trial.user_attrs,
        trial.system_attrs,
        trial.intermediate_values,
        trial.datetime_start,
        trial.datetime_complete,
    )


@pytest.mark.parametrize("source", ["memory", "sqlite"])
def test_copy_study_both_ways_keeps_everything(database: Database, tmp_path: Path, source: str) -> None:
    first: Any = InMemoryStorage() if source == "memory" else f"sqlite:///{tmp_path}/first.db"
    original = optuna.create_study(
        study_name="c", storage=first, direction="maximize", sampler=optuna.samplers.TPESampler(seed=1)
    )
    original.set_user_attr("who", {"deep": [1, math.inf]})
    original.enqueue_trial({"x": 1.0, "n": 3})
    original.optimize(objective, n_trials=15)
    original.enqueue_trial({"x": 2.0})
    original.ask()
    ours = PostgresStorage(database)
    optuna.copy_study(from_study_name="c", from_storage=first, to_storage=ours)
    back = f"sqlite:///{tmp_path}/back.db"
    optuna.copy_study(from_study_name="c", from_storage=ours, to_storage=back)
    expected = [comparable(trial) for trial in original.trials]
    for storage in (ours, back):
        copied = optuna.load_study(study_name="c", storage=storage)
        assert [comparable(trial) for trial in copied.trials] == expected
        assert copied.user_attrs == original.user_attrs
        assert copied.direction == StudyDirection.MAXIMIZE
        assert copied.best_trial.number == original.best_trial.number


def test_optimize_with_two_threads_numbers_each_trial_once(database: Database) -> None:
    study = optuna.create_study(storage=PostgresStorage(database), sampler=optuna.samplers.RandomSampler(seed=1))
    study.optimize(objective, n_trials=24, n_jobs=2)
    assert [trial.number for trial in study.trials] == list(range(24))
    assert all(trial.state.is_finished() for trial in study.trials)


def test_samples_as_on_optunas_own_storage(database: Database) -> None:
    params = []
    for storage in (InMemoryStorage(), PostgresStorage(database)):
        study = optuna.create_study(
            storage=storage, sampler=optuna.samplers.TPESampler(seed=3, multivariate=False), pruner=optuna.pruners.MedianPruner(3)
        )
        study.optimize(objective, n_trials=20)
        params.append([trial.params for trial in study.trials])
    assert params[0] == params[1]


def test_of_many_that_take_a_waiting_trial_one_wins(database: Database) -> None:
    storages = [PostgresStorage(database) for _ in range(8)]
    study = optuna.create_study(storage=storages[0])
    for round_ in range(20):
        study.enqueue_trial({"x": float(round_)})
        trial_id = study.trials[-1]._trial_id
        start = threading.Barrier(len(storages))

        def take(storage: PostgresStorage, trial_id: int = trial_id, start: threading.Barrier = start) -> bool:
            start.wait()
            return storage.set_trial_state_values(trial_id, TrialState.RUNNING)

        with ThreadPoolExecutor(len(storages)) as pool:
            assert sum(pool.map(take, storages)) == 1


def test_another_process_sees_what_has_finished_since_it_last_looked(database: Database) -> None:
    writer = optuna.create_study(study_name="s", storage=PostgresStorage(database))
    reader = optuna.load_study(study_name="s", storage=PostgresStorage(database))
    first, second = writer.ask(), writer.ask()
    assert [trial.state for trial in reader.trials] == [TrialState.RUNNING] * 2
    second.suggest_float("x", 0, 1)
    writer.tell(second, 2.0)
    assert [trial.state for trial in reader.trials] == [TrialState.RUNNING, TrialState.COMPLETE]
    first.report(0.5, 7)
    assert reader.trials[0].intermediate_values == {7: 0.5}
    writer.tell(first, 1.0)
    assert [trial.value for trial in reader.trials] == [1.0, 2.0]
    assert list(reader.trials[1].params) == ["x"]


def test_a_transaction_that_was_open_at_the_last_look_is_not_missed(database: Database) -> None:
    study = optuna.create_study(study_name="s", storage=PostgresStorage(database))
    slow = study.ask()
    with database.begin() as connection:
        # The writer has its transaction id, a lower one than the horizon would be without it ...
        connection.execute(
            text("UPDATE trials SET state = 'COMPLETE', objective_values = '[4.0]' WHERE id = :id"), {"id": slow._trial_id}
        )
        for value in (1.0, 2.0):
            study.tell(study.ask(), value)
        assert [trial.value for trial in study.trials] == [None, 1.0, 2.0]
    # ... and commits after others that began later.
    assert [trial.value for trial in study.trials] == [4.0, 1.0, 2.0]


def test_a_deleted_study_is_gone_for_storages_that_knew_it(database: Database) -> None:
    storage = PostgresStorage(database)
    study = optuna.create_study(study_name="s", storage=storage)
    study.tell(study.ask(), 1.0)
    assert len(study.trials) == 1
    PostgresStorage(database).delete_study(study._study_id)
    with pytest.raises(KeyError):
        storage.get_all_trials(study._study_id)


def test_a_trial_finished_by_the_service_is_seen_by_optuna(database: Database) -> None:
    studies.create(database, "default", external())
    study = optuna.load_study(study_name="s", storage=PostgresStorage(database))
    assert study.trials == []
    study.enqueue_trial({"x": 0.25})
    (lease,) = leases.take(database, "default", AskRequest(), study="s")
    assert lease.trial.params == {"x": 0.25}
    reports.append(
        database,
        "default",
        lease.id,
        [Report(step=step, values={"score": v, "loss": 1.0}) for step, v in enumerate([0.1, math.nan])],
    )
    reports.append(database, "default", lease.id, [Report(step=5, values={"loss": 1.0})])
    (running,) = study.trials
    assert running.state == TrialState.RUNNING
    leases.tell(database, "default", lease.id, Tell(state="COMPLETE", values={"score": 0.5}, user_attrs={"host": "h"}))
    (trial,) = study.trials
    assert (trial.state, trial.value, trial.params, trial.user_attrs) == (TrialState.COMPLETE, 0.5, {"x": 0.25}, {"host": "h"})
    assert trial.distributions == {"x": optuna.distributions.FloatDistribution(0.0, 1.0)}
    assert trial.intermediate_values[0] == 0.1
    assert math.isnan(trial.intermediate_values[1])
    assert set(trial.intermediate_values) == {0, 1}
    assert study.best_value == 0.5
    assert study.direction == StudyDirection.MAXIMIZE


def test_the_service_sees_what_optuna_runs_on_its_study(database: Database) -> None:
    studies.create(database, "default", external(limits={"max_trials": 5}))
    study = optuna.load_study(study_name="s", storage=PostgresStorage(database), sampler=optuna.samplers.TPESampler(seed=1))

    def run(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0, 1)
        trial.report(x, 1)
        return x

    study.optimize(run, n_trials=5)
    page = views.list_trials(database, "default", "s")
    assert [trial.values for trial in page.items] == [{"score": trial.params["x"]} for trial in page.items]
    assert len(page.items) == 5
    assert [item.values for item in views.list_reports(database, "default", page.items[0].id)] == [
        {"score": page.items[0].params["x"]}
    ]
    assert views.best(database, "default", "s")[0].number == study.best_trial.number
    with pytest.raises(Conflict, match="has made all of its 5 trials"):
        study.ask()
    with pytest.raises(Conflict, match="has made all of its 5 trials"):
        study.add_trial(optuna.create_trial(value=1.0))


def test_what_optuna_enqueues_is_held_to_the_constraints(database: Database) -> None:
    studies.create(database, "default", external(constraints=["x < 0.5"]))
    study = optuna.load_study(study_name="s", storage=PostgresStorage(database))
    with pytest.raises(ValueError, match="break the constraint"):
        study.enqueue_trial({"x": 0.75})
    study.enqueue_trial({"x": 0.25})
    assert len(study.trials) == 1


def test_optuna_cannot_write_to_a_trial_that_a_worker_holds(database: Database) -> None:
    studies.create(database, "default", external())
    storage = PostgresStorage(database)
    study = optuna.load_study(study_name="s", storage=storage)
    study.enqueue_trial({"x": 0.25})
    (lease,) = leases.take(database, "default", AskRequest(), study="s")
    trial_id = lease.trial.id
    assert not storage.set_trial_state_values(trial_id, TrialState.RUNNING)
    for write in (
        lambda: storage.set_trial_state_values(trial_id, TrialState.COMPLETE, [1.0]),
        lambda: storage.set_trial_intermediate_value(trial_id, 0, 1.0),
        lambda: storage.set_trial_param(trial_id, "x", 0.5, optuna.distributions.FloatDistribution(0.0, 1.0)),
    ):
        with pytest.raises(Conflict, match="trial 0 is leased to a worker"):
            write()
    storage.set_trial_user_attr(trial_id, "note", "looks good")
    told = leases.tell(database, "default", lease.id, Tell(state="COMPLETE", values={"score": 0.5})).trial
    assert told.user_attrs == {"note": "looks good"}
    assert study.trials[0].value == 0.5


def test_a_trial_that_optuna_took_cannot_be_leased(database: Database) -> None:
    studies.create(database, "default", external())
    study = optuna.load_study(study_name="s", storage=PostgresStorage(database))
    study.enqueue_trial({"x": 0.25})
    trial = study.ask()
    assert trial.suggest_float("x", 0, 1) == 0.25
    assert leases.take(database, "default", AskRequest(), study="s") == []
    assert leases.reap(database) == 0
    assert views.list_attempts(database, "default", trial._trial_id) == []
    study.tell(trial, 1.0)
    assert study.best_value == 1.0


def test_a_lease_does_not_outlive_what_optuna_finished(database: Database) -> None:
    """The reaper gives a lost trial back; Optuna takes and ends it; the first holder comes too late."""
    studies.create(database, "default", external())
    study = optuna.load_study(study_name="s", storage=PostgresStorage(database))
    study.enqueue_trial({"x": 0.25})
    (lease,) = leases.take(database, "default", AskRequest(), study="s")
    with database.begin() as connection:
        connection.execute(text("UPDATE attempts SET expires_at = clock_timestamp() - interval '1 second'"))
    assert leases.reap(database) == 1
    study.tell(study.ask(), 0.75)
    with pytest.raises(LeaseLost):
        leases.tell(database, "default", lease.id, Tell(state="COMPLETE", values={"score": 0.5}))
    assert study.trials[0].value == 0.75


def test_a_study_that_has_ended_takes_no_new_trials(database: Database) -> None:
    studies.create(database, "default", external())
    study = optuna.load_study(study_name="s", storage=PostgresStorage(database))
    studies.cancel(database, "default", "s")
    with pytest.raises(StudyNotRunning, match="is STOPPED"):
        study.ask()


@pytest.mark.parametrize("params", [{"x": 7.0}, {"y": 0.5}, {}])
def test_enqueued_params_outside_of_the_space_are_refused(database: Database, params: dict[str, float]) -> None:
    studies.create(database, "default", external())
    study = optuna.load_study(study_name="s", storage=PostgresStorage(database))
    with pytest.raises(ValueError, match=r"x|y"):
        study.enqueue_trial(params)
    assert study.trials == []


def test_an_attribute_is_replaced_in_its_place(database: Database) -> None:
    storage = PostgresStorage(database)
    study = optuna.create_study(storage=storage)
    trial = study.ask()
    for key, value in [("a", {"b": 1}), ("b", 2), ('q"uo: te', "é\x00\ud800"), ("b", 3), ("a", math.nan), ("a", None)]:
        trial.set_user_attr(key, value)
        study.set_user_attr(key, value)
    expected = [("a", None), ("b", 3), ('q"uo: te', "é\x00\ud800")]
    assert list(storage.get_trial(trial._trial_id).user_attrs.items()) == expected
    assert list(study.user_attrs.items()) == expected


def test_attributes_set_at_once_are_all_kept(database: Database) -> None:
    study = optuna.create_study(storage=PostgresStorage(database))
    trial_id = study.ask()._trial_id

    def write(index: int) -> None:
        storage = PostgresStorage(database)
        storage.set_trial_user_attr(trial_id, f"k{index}", index)
        storage.set_trial_user_attr(trial_id, "shared", index)
        storage.set_study_system_attr(study._study_id, f"k{index}", index)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(32)))
    attributes = study.trials[0].user_attrs
    assert {key: attributes[key] for key in attributes if key != "shared"} == {f"k{index}": index for index in range(32)}
    assert len(study._storage.get_study_system_attrs(study._study_id)) == 32


def test_projects_are_apart(database: Database) -> None:
    ours, theirs = PostgresStorage(database, "ours"), PostgresStorage(database, "theirs")
    study = optuna.create_study(study_name="s", storage=ours)
    trial = study.ask()
    optuna.create_study(study_name="s", storage=theirs)
    with pytest.raises(DuplicatedStudyError, match="'s' is taken"):
        ours.create_new_study([StudyDirection.MINIMIZE], "s")
    assert len(theirs.get_all_studies()) == 1
    for read in (lambda: theirs.get_trial(trial._trial_id), lambda: theirs.get_all_trials(study._study_id)):
        with pytest.raises(KeyError):
            read()
    with pytest.raises(KeyError):
        theirs.set_trial_state_values(trial._trial_id, TrialState.FAIL)
    with pytest.raises(KeyError):
        theirs.delete_study(study._study_id)


def test_opens_a_url_and_a_pickle_connects_anew(database: Database) -> None:
    storage = PostgresStorage(database.conninfo)
    study = optuna.create_study(study_name="s", storage=storage)
    study.tell(study.ask(), 1.0)
    restored = pickle.loads(pickle.dumps(study))
    assert restored.best_value == 1.0
    with pytest.raises(UpdateFinishedTrialError):
        restored._storage.set_trial_user_attr(restored.trials[0]._trial_id, "a", 1)


def test_a_wrong_url_is_one_sentence() -> None:
    with pytest.raises(InvalidValue, match="PostgreSQL is the only database, not 'sqlite'"):
        PostgresStorage("sqlite:///a.db")
    with pytest.raises(DatabaseUnavailable, match="the database does not answer"):
        PostgresStorage("postgresql://nobody@127.0.0.1:9/none")


def test_few_statements_a_trial(database: Database) -> None:
    """Ask, two parameters, two reports, tell, each known already by name: no more than one statement a call, whatever the history."""
    study = optuna.create_study(storage=PostgresStorage(database), sampler=optuna.samplers.RandomSampler(seed=1))

    def run(trial: optuna.Trial) -> float:
        for step in range(2):
            trial.report(trial.suggest_float("x", 0, 1) + trial.suggest_float("y", 0, 1), step)
        return 1.0

    study.optimize(run, n_trials=10)
    statements: list[str] = []

    def count(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    event.listen(database.engine, "before_cursor_execute", count)
    try:
        study.optimize(run, n_trials=1)
    finally:
        event.remove(database.engine, "before_cursor_execute", count)
    assert len(statements) <= 16, "\n".join(statements)
