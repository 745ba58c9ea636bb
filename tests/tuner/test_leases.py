"""One winner a trial, one outcome a trial, whatever the number of lessees, repetitions and stale holders."""

from __future__ import annotations

import math
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from tests.tuner.specs import external
from tuner import leases, reports, studies, trials, views
from tuner.artifacts import ArtifactStore
from tuner.db.postgres import Database
from tuner.errors import LeaseLost, StudyNotRunning, TrialFinished
from tuner.settings import Settings
from tuner.spec import StudySpec
from tuner.wire import AskRequest, Lease, LeaseRequest, LogText, Report, StudyState, Tell, TrialCreate, TrialState

ASK = AskRequest(wait=0)


def start(database: Database, num_trials: int = 1, spec: StudySpec | None = None) -> str:
    """A study with trials that wait."""
    study, _ = studies.create(database, "default", spec or external())
    for index in range(num_trials):
        trials.create(database, "default", study.name, TrialCreate(params={"x": (index + 1) / (num_trials + 1)}))
    return study.name


def take(database: Database, study: str = "s", **kwargs: object) -> Lease:
    (lease,) = leases.take(database, "default", ASK, study=study, **kwargs)  # type: ignore[arg-type]
    return lease


def expire(database: Database) -> None:
    with database.begin() as connection:
        connection.execute(
            text("UPDATE attempts SET expires_at = clock_timestamp() - interval '1 second' WHERE ended_at IS NULL")
        )


def take_over(database: Database) -> Lease:
    """The lease expires, is reaped, and the trial is leased again."""
    expire(database)
    assert leases.reap(database, backoff=0) == 1
    return take(database)


@pytest.mark.parametrize("rounds", [100, pytest.param(500, marks=pytest.mark.slow)])
def test_race_for_one_trial_has_one_winner(database: Database, rounds: int) -> None:
    """64 lessees; the threads stay, so that each round is a race and not a start of threads."""
    lessees = 64
    name = start(database, 0, external(limits={"max_trials": rounds}))
    barrier = threading.Barrier(lessees + 1)
    winners: list[list[str]] = [[] for _ in range(rounds)]

    def run() -> None:
        for index in range(rounds):
            barrier.wait()
            winners[index] += [lease.id for lease in leases.take(database, "default", ASK, study=name)]
            barrier.wait()

    with ThreadPoolExecutor(lessees) as pool:
        futures = [pool.submit(run) for _ in range(lessees)]
        for index in range(rounds):
            trials.create(database, "default", name, TrialCreate(params={"x": 0.5}))
            barrier.wait()
            barrier.wait()
            assert len(winners[index]) == 1
            leases.tell(database, "default", winners[index][0], Tell(state="COMPLETE", values={"score": 1.0}))
        for future in futures:
            future.result()
    assert views.get_study(database, "default", name).counts.complete == rounds


def test_count_is_never_exceeded(database: Database) -> None:
    start(database, 30)
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda _: leases.take(database, "default", AskRequest(count=3, wait=0), study="s"), range(16)))
    assert all(len(group) <= 3 for group in taken)
    numbers = [lease.trial.number for group in taken for lease in group]
    assert sorted(numbers) == list(range(30))


def test_concurrency_limit_holds_under_contention(database: Database) -> None:
    start(database, 40, external(limits={"max_trials": 40, "max_concurrent_trials": 5}))
    with ThreadPoolExecutor(16) as pool:
        taken = list(pool.map(lambda _: leases.take(database, "default", AskRequest(count=2, wait=0), study="s"), range(32)))
    assert sum(len(group) for group in taken) == 5


def test_enqueued_first_then_by_number(database: Database) -> None:
    studies.create(database, "default", external())
    study_id = views.get_study(database, "default", "s").id
    with database.begin() as connection:
        stored = trials.suggest(
            connection, study_id, [trials.Suggestion(number=n, params={"x": 0.1 * n}, distributions={}) for n in range(2)]
        )
    assert stored == [0, 1]
    trials.create(database, "default", "s", TrialCreate(params={"x": 0.9}))
    assert [take(database).trial.number for _ in range(3)] == [2, 0, 1]


def stale_writes(database: Database, tmp_path: Path, stale: Lease) -> Counter[str]:
    """What the former holder of a lease gets for each kind of write."""
    store = ArtifactStore(Settings(data=tmp_path))
    body = b"weights"
    writes = {
        "report": lambda: reports.append(database, "default", stale.id, [Report(step=7, values={"score": 666.0})]),
        "renew": lambda: leases.renew(database, "default", stale.id),
        "logs": lambda: reports.append_logs(database, "default", stale.id, [LogText(text="stale")]),
        "checkpoint": lambda: store.receive(database, "default", stale.id, 7, sha256(body).hexdigest(), iter([body])),
        "tell": lambda: leases.tell(database, "default", stale.id, Tell(state="COMPLETE", values={"score": 666.0})),
    }
    outcome: Counter[str] = Counter()
    for name, write in writes.items():
        try:
            write()
            outcome[name] = 1
        except LeaseLost:
            outcome[name] = 0
    return outcome


def test_takeover_refuses_the_first_holder(database: Database, tmp_path: object) -> None:
    start(database)
    first = take(database)
    second = take_over(database)
    assert second.trial.id == first.trial.id
    assert (first.attempt, second.attempt) == (1, 2)
    assert sum(stale_writes(database, tmp_path, first).values()) == 0
    trial = leases.tell(database, "default", second.id, Tell(state="COMPLETE", values={"score": 0.5})).trial
    assert trial.values == {"score": 0.5}
    assert views.list_reports(database, "default", trial.id) == []
    assert [attempt.reason for attempt in views.list_attempts(database, "default", trial.id)] == ["lost", "complete"]


def test_control_without_the_fence_the_stale_holder_doubles(
    database: Database, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same takeover with the epoch check switched off: if this found nothing, the test above would prove nothing."""
    monkeypatch.setattr(leases, "FENCE", "true")
    start(database)
    first = take(database)
    second = take_over(database)
    outcome = stale_writes(database, tmp_path, first)
    assert outcome == {"report": 1, "renew": 1, "logs": 1, "checkpoint": 1, "tell": 1}
    assert views.get_trial(database, "default", first.trial.id).values == {"score": 666.0}
    with pytest.raises(DBAPIError, match="final"):  # a second outcome: now only the lock in the database stops it
        leases.tell(database, "default", second.id, Tell(state="FAIL"))


def test_a_final_state_is_final_even_to_sql(database: Database) -> None:
    start(database)
    lease = take(database)
    leases.tell(database, "default", lease.id, Tell(state="COMPLETE", values={"score": 0.5}))
    with pytest.raises(DBAPIError, match="final"), database.begin() as connection:
        connection.execute(text("UPDATE trials SET state = 'WAITING'"))


def test_two_open_attempts_are_refused_even_to_sql(database: Database) -> None:
    start(database)
    lease = take(database)
    with pytest.raises(DBAPIError, match="uq_attempts_open"), database.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO attempts (id, project, study_id, trial_id, epoch, ttl, expires_at)"
                " SELECT gen_random_uuid(), project, study_id, trial_id, 99, ttl, expires_at FROM attempts WHERE id = :id"
            ),
            {"id": lease.id},
        )


def test_renewal_after_expiry_but_before_reaping(database: Database) -> None:
    start(database)
    lease = take(database)
    expire(database)
    leases.renew(database, "default", lease.id)
    assert leases.reap(database) == 0


def test_tell_is_idempotent(database: Database) -> None:
    start(database)
    lease = take(database)
    told = Tell(state="COMPLETE", values={"score": 0.5}, user_attrs={"note": "a"})
    first = leases.tell(database, "default", lease.id, told).trial
    assert leases.tell(database, "default", lease.id, told).trial == first
    with pytest.raises(TrialFinished):
        leases.tell(database, "default", lease.id, Tell(state="COMPLETE", values={"score": 0.6}))


def test_tell_from_many_threads_lands_once(database: Database) -> None:
    start(database)
    lease = take(database)

    def tell(_: int) -> float:
        trial = leases.tell(database, "default", lease.id, Tell(state="COMPLETE", values={"score": 0.5})).trial
        assert trial.values is not None
        return trial.values["score"]

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(tell, range(64))) == {0.5}
    assert len(views.list_attempts(database, "default", lease.trial.id)) == 1


def test_the_same_request_gets_the_same_lease(database: Database) -> None:
    start(database, 3)
    first = take(database, request_key="k")
    assert take(database, request_key="k").id == first.id
    assert take(database, request_key="other").id != first.id


@pytest.mark.parametrize(
    "values, reason", [({"score": math.nan}, "nan"), ({"other": 1.0}, "missing_objective"), (None, "missing_objective")]
)
def test_useless_values_fail_the_trial_and_not_the_study(
    database: Database, values: dict[str, float] | None, reason: str
) -> None:
    start(database, 2)
    trial = leases.tell(database, "default", take(database).id, Tell(state="COMPLETE", values=values)).trial
    assert (trial.state, trial.reason) == (TrialState.FAIL, reason)
    assert "score" in (trial.error or "")
    assert views.get_study(database, "default", "s").state == StudyState.RUNNING
    assert (
        leases.tell(database, "default", take(database).id, Tell(state="COMPLETE", values={"score": 1.0})).trial.state
        == "COMPLETE"
    )


def test_infinite_value_is_kept(database: Database) -> None:
    start(database)
    trial = leases.tell(database, "default", take(database).id, Tell(state="COMPLETE", values={"score": -math.inf})).trial
    assert trial.values == {"score": -math.inf}


def test_lost_trial_is_tried_again_until_its_attempts_are_spent(database: Database) -> None:
    start(database, 1, external(limits={"max_attempts": 3}))
    for attempt in (1, 2, 3):
        lease = take(database)
        assert lease.attempt == attempt
        expire(database)
        assert leases.reap(database, backoff=0) == 1
    trial = views.get_trial(database, "default", lease.trial.id)
    assert (trial.state, trial.reason) == (TrialState.FAIL, "lost")
    assert leases.take(database, "default", ASK, study="s") == []


def test_a_lost_trial_waits_before_it_is_tried_again(database: Database) -> None:
    start(database)
    take(database)
    expire(database)
    leases.reap(database, backoff=60)
    assert leases.take(database, "default", ASK, study="s") == []


def test_preemption_is_not_an_attempt(database: Database) -> None:
    start(database, 1, external(limits={"max_attempts": 1}))
    for _ in range(4):
        trial = leases.tell(database, "default", take(database).id, Tell(state="WAITING", reason="preempted")).trial
        assert (trial.state, trial.reason) == (TrialState.WAITING, "preempted")
    expire(database)
    take(database)
    expire(database)
    leases.reap(database, backoff=0)
    assert views.list_trials(database, "default", "s").items[0].state == TrialState.FAIL


def test_reports_are_kept_over_attempts_and_rewound_steps_replaced(database: Database) -> None:
    start(database)
    first = take(database)
    reports.append(database, "default", first.id, [Report(step=step, values={"score": float(step)}) for step in range(3)])
    reports.append(
        database, "default", first.id, [Report(step=1, values={"score": 99.0, "loss": 0.5})]
    )  # a repetition changes nothing
    second = take_over(database)
    reports.append(database, "default", second.id, [Report(step=2, values={"score": 20.0})])
    stored = {item.step: (item.epoch, item.values) for item in views.list_reports(database, "default", second.trial.id)}
    assert stored == {0: (1, {"score": 0.0}), 1: (1, {"score": 1.0, "loss": 0.5}), 2: (2, {"score": 20.0})}


def test_non_finite_reports_survive(database: Database) -> None:
    start(database)
    lease = take(database)
    reports.append(
        database,
        "default",
        lease.id,
        [Report(step=0, values={"a": math.inf, "b": -math.inf, "c": math.nan, "d": 5e-324, "e": 1e308})],
    )
    (item,) = views.list_reports(database, "default", lease.trial.id)
    assert math.isnan(item.values.pop("c"))
    assert item.values == {"a": math.inf, "b": -math.inf, "d": 5e-324, "e": 1e308}


def test_pruned_trial_takes_its_last_report_as_value(database: Database) -> None:
    start(database)
    lease = take(database)
    reports.append(database, "default", lease.id, [Report(step=0, values={"score": 0.1}), Report(step=1, values={"score": 0.2})])
    trial = leases.tell(database, "default", lease.id, Tell(state="PRUNED")).trial
    assert (trial.state, trial.values) == (TrialState.PRUNED, {"score": 0.2})


def test_checkpoint_resumes_the_next_attempt(database: Database, tmp_path: Path) -> None:
    start(database)
    store = ArtifactStore(Settings(data=tmp_path))
    first = take(database)
    for step, body in ((3, b"three"), (5, b"five")):
        store.receive(database, "default", first.id, step, sha256(body).hexdigest(), iter([body]))
    second = take_over(database)
    assert second.trial.resume is not None
    assert (second.trial.resume.step, second.trial.resume.sha256) == (5, sha256(b"five").hexdigest())
    checkpoint, file = store.open_latest(database, "default", second.trial.id)
    with closing(file):
        assert file.read(100) == b"five"
    (path,) = [path for path in tmp_path.rglob("*.tar") if path.read_bytes() == b"five"]
    path.write_bytes(b"fivf")  # one flipped byte: the one before is used
    checkpoint, file = store.open_latest(database, "default", second.trial.id)
    with closing(file):
        assert (checkpoint.step, file.read(100)) == (3, b"three")


def test_cancel_reaches_the_worker_and_the_end_is_cancelled(database: Database) -> None:
    start(database, 2)
    lease = take(database)
    trials.cancel(database, "default", lease.trial.id)
    assert leases.renew(database, "default", lease.id).verdict == "stop"
    assert leases.tell(database, "default", lease.id, Tell(state="WAITING", reason="preempted")).trial.reason == "cancelled"
    waiting = views.list_trials(database, "default", "s", state="WAITING").items[0]
    assert trials.cancel(database, "default", waiting.id).state == TrialState.FAIL
    with pytest.raises(TrialFinished):
        trials.cancel(database, "default", waiting.id)


def test_leases_of_any_study_go_where_fewest_run(database: Database) -> None:
    for name in ("a", "b"):
        start(database, 4, external(name, trial={"executor": "command", "command": ["true"]}))
    taken = [leases.take(database, "default", LeaseRequest())[0].trial.study for _ in range(6)]
    assert Counter(taken) == {"a": 3, "b": 3}
    assert leases.take(database, "default", LeaseRequest(executors=["trainer"])) == []


def test_resources_decide_what_fits(database: Database) -> None:
    spec = external(trial={"executor": "command", "command": ["true"], "resources": {"gpus": 2, "cpus": 1}})
    start(database, 1, spec)
    assert leases.take(database, "default", LeaseRequest.model_validate({"resources": {"gpus": 1, "cpus": 8}})) == []
    assert len(leases.take(database, "default", LeaseRequest.model_validate({"resources": {"gpus": 2, "cpus": 8}}))) == 1


def test_ended_study_is_said(database: Database) -> None:
    start(database)
    studies.cancel(database, "default", "s")
    with pytest.raises(StudyNotRunning, match="cancelled"):
        leases.take(database, "default", ASK, study="s")


@pytest.mark.parametrize("lease_id", ["nonsense", "299c8f2e-ebbd-4e57-b48e-059a01c46a2e"])
def test_unknown_lease_is_lost(database: Database, lease_id: str) -> None:
    with pytest.raises(LeaseLost):
        leases.renew(database, "default", lease_id)


def test_other_projects_see_nothing(database: Database) -> None:
    with database.begin() as connection:
        connection.execute(text("INSERT INTO projects (name) VALUES ('other')"))
    start(database)
    lease = take(database)
    with pytest.raises(LeaseLost):
        leases.renew(database, "other", lease.id)
    assert leases.take(database, "other", LeaseRequest()) == []
    told = Tell(state="COMPLETE", values={"score": 0.5})
    leases.tell(database, "default", lease.id, told)
    with pytest.raises(LeaseLost):
        leases.tell(database, "other", lease.id, told)


def test_reports_that_come_with_the_tell_are_stored_with_it(database: Database) -> None:
    start(database)
    lease = take(database)
    told = Tell(state="PRUNED", reports=[Report(step=0, values={"score": 0.1}), Report(step=1, values={"score": 0.3})])
    assert leases.tell(database, "default", lease.id, told).trial.values == {"score": 0.3}
    leases.tell(database, "default", lease.id, told)
    assert [item.step for item in views.list_reports(database, "default", lease.trial.id)] == [0, 1]
