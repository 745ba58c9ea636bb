"""What slips between two transitions comes to rest: trials leased, handed back or reaped while their study was paused or ended."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic, sleep
from typing import Any

import pytest
from sqlalchemy import text

from tests.tuner.specs import external
from tuner import leases, maintenance, studies, trials, views
from tuner.db.postgres import Database
from tuner.settings import Settings
from tuner.wire import AskRequest, Lease, Tell, TrialCreate, TrialState, Verdict


def leased(database: Database, **changes: Any) -> Lease:
    studies.create(database, "default", external(**changes))
    trials.create(database, "default", "s", TrialCreate(params={"x": 0.5}))
    (lease,) = leases.take(database, "default", AskRequest(wait=0), study="s")
    return lease


def wait_until_blocked(database: Database) -> None:
    """Until some statement waits for a row lock."""
    deadline = monotonic() + 10
    while monotonic() < deadline:
        with database.read() as connection:
            if connection.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar_one():
                return
        sleep(0.01)
    raise AssertionError("nothing waits")


def test_a_cancellation_is_not_undone_by_the_tell_it_meets(database: Database) -> None:
    """The trial is cancelled in a transaction that commits while its worker hands it back."""
    lease = leased(database)
    with ThreadPoolExecutor(1) as pool:
        with database.begin() as connection:
            connection.execute(text("UPDATE trials SET verdict = 'stop', reason = 'cancelled'"))
            told = pool.submit(leases.tell, database, "default", lease.id, Tell(state="WAITING", reason="preempted"))
            wait_until_blocked(database)
        trial = told.result(timeout=10).trial
    assert (trial.state, trial.reason) == (TrialState.FAIL, "cancelled")


def test_a_cancellation_is_not_undone_by_the_reaper_it_meets(database: Database) -> None:
    lease = leased(database)
    with database.begin() as connection:
        connection.execute(text("UPDATE attempts SET expires_at = clock_timestamp() - interval '1 second'"))
    with ThreadPoolExecutor(1) as pool:
        with database.begin() as connection:
            connection.execute(text("UPDATE trials SET verdict = 'stop', reason = 'cancelled'"))
            reaped = pool.submit(leases.reap, database)
            wait_until_blocked(database)
        assert reaped.result(timeout=10) == 1
    trial = views.get_trial(database, "default", lease.trial.id)
    assert (trial.state, trial.reason, trial.error) == (TrialState.FAIL, "cancelled", None)


@pytest.mark.parametrize(
    "missed, end, state, verdict",
    [
        ("state = 'RUNNING', verdict = 'continue'", studies.pause, TrialState.RUNNING, "pause"),
        ("state = 'RUNNING', verdict = 'continue'", studies.cancel, TrialState.RUNNING, "stop"),
        ("state = 'WAITING', verdict = 'continue', finished_at = NULL", studies.cancel, TrialState.FAIL, "continue"),
    ],
)
def test_trials_that_a_transition_missed_follow_it(
    database: Database, missed: str, end: Callable[..., object], state: TrialState, verdict: str
) -> None:
    lease = leased(database)
    end(database, "default", "s")
    with database.begin() as connection:
        connection.execute(text(f"UPDATE trials SET {missed}"))
    maintenance.run_once(database, Settings())
    with database.read() as connection:
        found = connection.execute(text("SELECT state, verdict FROM trials")).one()
    assert (found.state, found.verdict) == (state, verdict)
    assert views.get_trial(database, "default", lease.trial.id).state == state


def test_a_trial_stopped_for_its_time_fails_as_timeout(database: Database) -> None:
    """Whether its worker says so or is never heard of again."""
    told = leased(database, limits={"trial_timeout": 10})
    trials.create(database, "default", "s", TrialCreate(params={"x": 0.6}))
    (lost,) = leases.take(database, "default", AskRequest(wait=0), study="s")
    with database.begin() as connection:
        connection.execute(text("UPDATE attempts SET started_at = started_at - interval '1 minute'"))
    maintenance.stop_overdue(database)
    assert leases.tell(database, "default", told.id, Tell(state="FAIL", reason="cancelled")).trial.reason == "timeout"
    with database.begin() as connection:
        connection.execute(text("UPDATE attempts SET expires_at = clock_timestamp() - interval '1 second'"))
    leases.reap(database)
    trial = views.get_trial(database, "default", lost.trial.id)
    assert (trial.state, trial.reason) == (TrialState.FAIL, "timeout")


@pytest.mark.parametrize("write", ["judge", "hold"])
def test_the_search_locks_a_study_before_its_trials(database: Database, write: str) -> None:
    """As a pause does: else the two would wait for each other."""
    lease = leased(database)
    study, trial = lease.trial.study_id, lease.trial.id
    if write == "hold":
        leases.tell(database, "default", lease.id, Tell(state="WAITING", reason="preempted"))

    def search() -> None:
        with database.begin() as connection:
            if write == "judge":
                trials.judge(connection, study, {trial: (0, Verdict.PRUNE)})
            else:
                trials.hold(connection, study, [trial])

    with ThreadPoolExecutor(1) as pool:
        with database.begin() as connection:
            studies.find(connection, "default", study, lock=True)
            searched = pool.submit(search)
            wait_until_blocked(database)
            connection.execute(text("SELECT FROM trials WHERE id = :id FOR NO KEY UPDATE NOWAIT"), {"id": trial})
        searched.result(timeout=10)
    with database.read() as connection:
        found = connection.execute(text("SELECT verdict, reason FROM trials")).one()
    assert tuple(found) == (("prune", None) if write == "judge" else ("continue", "paused_at_rung"))


def test_transitions_of_many_trials_never_deadlock(database: Database) -> None:
    """Pauses, resumptions, verdicts, the reaper and maintenance write the same trials at once, and each gets through."""
    studies.create(database, "default", external(limits={"max_attempts": 1000}))
    for index in range(60):
        trials.create(database, "default", "s", TrialCreate(params={"x": index / 60}))
    end = monotonic() + 4

    def expire() -> None:
        with database.begin() as connection:
            connection.execute(
                text(
                    "UPDATE attempts SET expires_at = clock_timestamp() - interval '1 second' WHERE id IN"
                    " (SELECT id FROM attempts WHERE ended_at IS NULL ORDER BY random() LIMIT 20 FOR UPDATE SKIP LOCKED)"
                )
            )

    def judge() -> None:
        with database.begin() as connection:
            found = connection.execute(text("SELECT study_id, id FROM trials ORDER BY random() LIMIT 30")).all()
            trials.judge(connection, found[0].study_id, {row.id: (0, Verdict.CONTINUE) for row in found})

    steps: tuple[Callable[[], object], ...] = (
        judge,
        lambda: studies.pause(database, "default", "s"),
        lambda: studies.resume(database, "default", "s"),
        lambda: leases.reap(database, backoff=0),
        lambda: leases.take(database, "default", AskRequest(count=20, wait=0), study="s"),
        lambda: maintenance.run_once(database, Settings(retry_backoff=0)),
        expire,
    )

    def run(first: int) -> int:
        count = 0
        while monotonic() < end:
            steps[(first + count) % len(steps)]()
            count += 1
        return count

    with ThreadPoolExecutor(12) as pool:
        assert sum(pool.map(run, range(12))) > 12
