"""The life of a study: made once, paused, resumed, stopped, cancelled, and ended exactly at its limits."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from tests.tuner.specs import external
from tuner import columns, leases, maintenance, studies, trials, views
from tuner.db.postgres import Database
from tuner.errors import Conflict, InvalidSpec, InvalidValue, LeaseLost, StudyExists, StudyNotFound, StudyNotRunning
from tuner.settings import Settings
from tuner.spec import StudySpec
from tuner.wire import AskRequest, Lease, StudyPatch, StudyState, Tell, TrialCreate, TrialState


def make(database: Database, spec: StudySpec | None = None, num_trials: int = 0) -> int:
    study, _ = studies.create(database, "default", spec or external())
    for _ in range(num_trials):
        trials.create(database, "default", study.id, TrialCreate(params={"x": 0.5}))
    return study.id


def take(database: Database) -> Lease:
    (lease,) = leases.take(database, "default", AskRequest(wait=0), study="s")
    return lease


def finish(database: Database, lease: Lease, value: float = 0.5) -> None:
    leases.tell(database, "default", lease.id, Tell(state="COMPLETE", values={"score": value}))


def settle(database: Database) -> tuple[StudyState, str | None]:
    maintenance.run_once(database, Settings())
    study = views.get_study(database, "default", "s")
    return study.state, study.reason


def test_same_spec_is_the_same_study_another_spec_is_refused(database: Database) -> None:
    first, created = studies.create(database, "default", external())
    again, created_again = studies.create(database, "default", external())
    assert (created, created_again, again.id) == (True, False, first.id)
    with pytest.raises(StudyExists, match="another spec"):
        studies.create(database, "default", external(sampler={"name": "tpe"}))


def test_creation_from_many_threads_makes_one(database: Database) -> None:
    with ThreadPoolExecutor(16) as pool:
        made = list(pool.map(lambda _: studies.create(database, "default", external()), range(32)))
    assert sum(created for _, created in made) == 1
    assert len({study.id for study, _ in made}) == 1


def test_a_study_is_found_by_id_and_by_name(database: Database) -> None:
    study_id = make(database)
    assert views.get_study(database, "default", study_id) == views.get_study(database, "default", "s")
    for unknown in ("t", str(study_id + 1), "9" * 30, "a\x00b"):
        with pytest.raises(StudyNotFound):
            views.get_study(database, "default", unknown)
    with pytest.raises(StudyNotFound):
        views.get_study(database, "other", study_id)


def test_pause_reaches_workers_and_resume_goes_on(database: Database) -> None:
    make(database, num_trials=2)
    lease = take(database)
    assert studies.pause(database, "default", "s").state == StudyState.PAUSED
    assert leases.renew(database, "default", lease.id).verdict == "pause"
    assert leases.take(database, "default", AskRequest(wait=0), study="s") == []
    handed_back = leases.tell(database, "default", lease.id, Tell(state="WAITING", reason="paused")).trial
    assert (handed_back.state, handed_back.reason) == (TrialState.WAITING, "paused")
    assert studies.resume(database, "default", "s").state == StudyState.RUNNING
    assert take(database).trial.number == lease.trial.number


def test_resume_takes_back_the_verdict(database: Database) -> None:
    make(database, num_trials=1)
    lease = take(database)
    studies.pause(database, "default", "s")
    studies.resume(database, "default", "s")
    assert leases.renew(database, "default", lease.id).verdict == "continue"


def test_paused_time_is_not_counted(database: Database) -> None:
    make(database, external(limits={"timeout": 100}))
    studies.pause(database, "default", "s")
    with database.begin() as connection:
        connection.execute(
            text("UPDATE studies SET paused_at = paused_at - interval '1 hour', deadline = deadline - interval '1 hour'")
        )
    studies.resume(database, "default", "s")
    assert settle(database)[0] == StudyState.RUNNING


def test_stop_lets_running_trials_end(database: Database) -> None:
    make(database, num_trials=3)
    lease = take(database)
    assert studies.stop(database, "default", "s").state == StudyState.STOPPING
    assert leases.take(database, "default", AskRequest(wait=0), study="s") == []
    assert leases.renew(database, "default", lease.id).verdict == "continue"
    finish(database, lease)
    assert settle(database) == (StudyState.STOPPED, "stopped")
    counts = views.get_study(database, "default", "s").counts
    assert (counts.complete, counts.fail, counts.waiting) == (1, 2, 0)


def test_stop_with_nothing_running_ends_at_once(database: Database) -> None:
    make(database, num_trials=1)
    assert studies.stop(database, "default", "s").state == StudyState.STOPPED


def test_a_lost_trial_of_a_stopping_study_may_still_end(database: Database) -> None:
    make(database, num_trials=1)
    take(database)
    studies.stop(database, "default", "s")
    with database.begin() as connection:
        connection.execute(text("UPDATE attempts SET expires_at = clock_timestamp() - interval '1 second'"))
    leases.reap(database, backoff=0)
    finish(database, take(database))
    assert settle(database) == (StudyState.STOPPED, "stopped")


def test_cancel_ends_now(database: Database) -> None:
    make(database, num_trials=2)
    lease = take(database)
    study = studies.cancel(database, "default", "s")
    assert (study.state, study.reason) == (StudyState.STOPPED, "cancelled")
    assert leases.renew(database, "default", lease.id).verdict == "stop"
    leases.tell(database, "default", lease.id, Tell(state="FAIL", reason="cancelled"))
    assert views.get_study(database, "default", "s").counts.fail == 2
    assert studies.cancel(database, "default", "s").state == StudyState.STOPPED
    for verb in (studies.pause, studies.stop):
        with pytest.raises(StudyNotRunning, match="cancelled"):
            verb(database, "default", "s")


def test_delete_takes_the_lease_away(database: Database) -> None:
    make(database, num_trials=1)
    lease = take(database)
    studies.delete(database, "default", "s")
    with pytest.raises(LeaseLost):
        leases.renew(database, "default", lease.id)
    with pytest.raises(StudyNotFound):
        views.get_study(database, "default", "s")


def test_max_trials_holds_under_concurrent_writers(database: Database) -> None:
    """Enqueuers and the search at once: never one trial too many, and the numbers have no gap."""
    study_id = make(database, external(limits={"max_trials": 50}))

    def enqueue(_: int) -> int:
        try:
            return trials.create(database, "default", "s", TrialCreate(params={"x": 0.1})).number
        except Conflict:
            return -1

    def suggest(_: int) -> int:
        number = columns.read(database, "default", "s").total
        with database.begin() as connection:
            made = trials.suggest(
                connection,
                study_id,
                [trials.Suggestion(number=number + i, params={"x": 0.2}, distributions={}) for i in range(3)],
            )
        return len(made)

    with ThreadPoolExecutor(16) as pool:
        enqueued = pool.map(enqueue, range(60))
        suggested = pool.map(suggest, range(60))
        total = sum(number >= 0 for number in enqueued) + sum(suggested)
    assert total == 50
    assert [trial.number for trial in views.iterate_trials(database, "default", "s")] == list(range(50))


def test_study_is_complete_when_its_trials_are(database: Database) -> None:
    make(database, external(limits={"max_trials": 2}), num_trials=2)
    finish(database, take(database))
    assert settle(database)[0] == StudyState.RUNNING
    finish(database, take(database))
    assert settle(database) == (StudyState.COMPLETE, "max_trials")


def test_complete_study_goes_on_with_a_higher_limit(database: Database) -> None:
    make(database, external(limits={"max_trials": 1}), num_trials=1)
    finish(database, take(database))
    settle(database)
    with pytest.raises(StudyNotRunning, match=r"raise limits\.max_trials"):
        studies.resume(database, "default", "s")
    studies.update_study(database, "default", "s", StudyPatch(limits={"max_trials": 2}))
    assert studies.resume(database, "default", "s").state == StudyState.RUNNING


def test_target_ends_the_study_when_running_trials_have(database: Database) -> None:
    make(database, external(limits={"target": 0.9, "max_trials": 10}), num_trials=4)
    one, other = take(database), take(database)
    finish(database, one, 0.95)
    assert settle(database) == (StudyState.STOPPING, "target")
    finish(database, other, 0.1)
    assert settle(database) == (StudyState.COMPLETE, "target")


def test_a_study_that_reached_a_limit_is_resumed_once_the_limit_has_changed(database: Database) -> None:
    make(database, external(limits={"target": 0.9, "max_trials": 10}), num_trials=1)
    finish(database, take(database), 0.95)
    assert settle(database) == (StudyState.COMPLETE, "target")
    with pytest.raises(StudyNotRunning, match=r"change limits\.target"):
        studies.resume(database, "default", "s")
    studies.update_study(database, "default", "s", StudyPatch(limits={"target": None}))
    assert studies.resume(database, "default", "s").state == StudyState.RUNNING


def test_target_of_a_minimized_objective(database: Database) -> None:
    spec = external(limits={"target": 0.1}, objectives=[{"name": "score", "direction": "minimize"}])
    make(database, spec, num_trials=2)
    finish(database, take(database), 0.5)
    assert settle(database)[0] == StudyState.RUNNING
    finish(database, take(database), 0.05)
    assert settle(database) == (StudyState.COMPLETE, "target")


def test_target_of_a_study_that_repeats_trials_is_for_means(database: Database) -> None:
    study = make(database, external(limits={"target": 0.9, "max_trials": 10}, repeat={"max": 3}), num_trials=4)
    with database.begin() as connection:
        connection.execute(
            text("UPDATE trials SET origin = 'repeat', parent = 0 WHERE study_id = :id AND number IN (1, 2)"), {"id": study}
        )
    for value in (0.95, 0.89):
        finish(database, take(database), value)
        assert settle(database) == (StudyState.RUNNING, None)
    finish(database, take(database), 0.88)
    assert settle(database) == (StudyState.COMPLETE, "target")


def test_failures_end_the_study_and_cancelled_trials_are_none(database: Database) -> None:
    make(database, external(limits={"max_failed_trials": 1}), num_trials=4)
    trials.cancel(database, "default", take(database).trial.id)
    for _ in range(2):
        assert settle(database)[0] == StudyState.RUNNING
        leases.tell(database, "default", take(database).id, Tell(state="FAIL", reason="exception"))
    assert settle(database) == (StudyState.FAIL, "max_failed_trials")


def test_timeout_stops_the_study(database: Database) -> None:
    make(database, external(limits={"timeout": 50}), num_trials=2)
    lease = take(database)
    with database.begin() as connection:
        connection.execute(text("UPDATE studies SET deadline = clock_timestamp() - interval '1 second'"))
    assert settle(database) == (StudyState.STOPPING, "timeout")
    finish(database, lease)
    assert settle(database) == (StudyState.COMPLETE, "timeout")


def test_gpu_seconds_are_a_budget(database: Database) -> None:
    spec = external(
        limits={"max_gpu_seconds": 3600}, trial={"executor": "command", "command": ["true"], "resources": {"gpus": 2, "cpus": 1}}
    )
    make(database, spec, num_trials=2)
    lease = take(database)
    with database.begin() as connection:
        connection.execute(text("UPDATE attempts SET started_at = started_at - interval '31 minutes'"))
    finish(database, lease)
    assert settle(database) == (StudyState.COMPLETE, "max_gpu_seconds")


def test_trial_that_overruns_is_told_to_stop(database: Database) -> None:
    make(database, external(limits={"trial_timeout": 10}), num_trials=1)
    lease = take(database)
    with database.begin() as connection:
        connection.execute(text("UPDATE attempts SET started_at = started_at - interval '1 minute'"))
    settle(database)
    assert leases.renew(database, "default", lease.id).verdict == "stop"


@pytest.mark.parametrize(
    "params, field",
    [
        ({}, "params.x"),
        ({"x": 2.0}, "params.x"),
        ({"x": "a"}, "params.x"),
        ({"x": 0.5, "y": 1}, "params.y"),
        ({"x": True}, "params.x"),
    ],
)
def test_enqueued_parameters_are_checked(database: Database, params: dict[str, object], field: str) -> None:
    make(database)
    with pytest.raises(InvalidValue, match=field):
        trials.create(database, "default", "s", TrialCreate.model_validate({"params": params}))
    assert views.get_study(database, "default", "s").counts.total == 0


def test_finished_trials_can_be_added(database: Database) -> None:
    make(database)
    added = trials.create(
        database, "default", "s", TrialCreate(params={"x": 0.3}, state=TrialState.COMPLETE, values={"score": 0.7})
    )
    assert (added.state, added.values, added.origin) == (TrialState.COMPLETE, {"score": 0.7}, "added")
    with pytest.raises(InvalidValue, match=r"values"):
        trials.create(database, "default", "s", TrialCreate(params={"x": 0.3}, state=TrialState.COMPLETE))
    with pytest.raises(InvalidValue, match=r"state"):
        trials.create(database, "default", "s", TrialCreate(params={"x": 0.3}, state=TrialState.RUNNING))


def test_retry_is_a_new_trial(database: Database) -> None:
    make(database, num_trials=1)
    failed = leases.tell(database, "default", take(database).id, Tell(state="FAIL", reason="exception")).trial
    new = trials.retry(database, "default", failed.id)
    assert (new.number, new.params, new.state, new.user_attrs) == (1, failed.params, TrialState.WAITING, {"retry_of": 0})
    finish(database, take(database))
    with pytest.raises(Conflict, match="only a trial that is FAIL or PRUNED"):
        trials.retry(database, "default", new.id)


@pytest.mark.parametrize("limits", [{"max_trials": 0}, {"max_trial": 3}, {"timeout": -1}, {"max_trials": "many"}])
def test_wrong_limits_change_nothing(database: Database, limits: dict[str, object]) -> None:
    make(database)
    before = views.get_study(database, "default", "s").spec["limits"]
    with pytest.raises(InvalidSpec, match=next(iter(limits))):
        studies.update_study(database, "default", "s", StudyPatch(limits=limits))
    assert views.get_study(database, "default", "s").spec["limits"] == before
