"""Checkpoints: which are kept, which are served, and that nothing else stays in the store."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from tests.buckets import Bucket
from tests.tuner.specs import external
from tuner import leases, maintenance, reports, studies, trials, views
from tuner.artifacts import ArtifactStore
from tuner.db.postgres import Database
from tuner.errors import ArtifactsUnavailable, CheckpointNotFound, InvalidSpec, InvalidValue, LeaseLost, StudyNotFound
from tuner.settings import Settings
from tuner.wire import AskRequest, Checkpoint, Lease, Report, Tell, TrialCreate


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactStore:
    artifacts = None if request.param == "folder" else request.getfixturevalue("bucket").url
    return ArtifactStore(Settings(data=tmp_path, artifacts=artifacts))


@pytest.fixture
def folder(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(Settings(data=tmp_path))


def start(
    database: Database, num_trials: int = 1, direction: str = "maximize", repeat: dict[str, int] | None = None, **rules: Any
) -> None:
    spec = external(
        objectives=[{"name": "score", "direction": direction}],
        trial={"executor": "external", "checkpoints": rules or None},
        repeat=repeat,
    )
    studies.create(database, "default", spec)
    for _ in range(num_trials):
        trials.create(database, "default", "s", TrialCreate(params={"x": 0.5}))


def take(database: Database) -> Lease:
    (lease,) = leases.take(database, "default", AskRequest(wait=0), study="s")
    return lease


def take_over(database: Database) -> Lease:
    """The only trial that runs, from a worker that is gone."""
    with database.begin() as connection:
        connection.execute(
            text("UPDATE attempts SET expires_at = clock_timestamp() - interval '1 second' WHERE ended_at IS NULL")
        )
    leases.reap(database, backoff=0)
    return take(database)


def send(store: ArtifactStore, database: Database, lease: Lease, step: int, body: bytes | None = None) -> Checkpoint:
    body = f"attempt {lease.attempt} step {step}".encode() if body is None else body
    return store.receive(database, "default", lease.id, step, sha256(body).hexdigest(), iter([body]))


def report(database: Database, lease: Lease, step: int, score: float | str) -> None:
    reports.append(database, "default", lease.id, [Report(step=step, values={"score": score, "other": -step})])


def tell(database: Database, lease: Lease, **outcome: Any) -> None:
    leases.tell(database, "default", lease.id, Tell(**{"state": "COMPLETE", **outcome}))


def steps(database: Database, trial: int) -> list[int]:
    return [checkpoint.step for checkpoint in views.list_checkpoints(database, "default", trial)]


def contents(store: ArtifactStore) -> dict[bytes, str]:
    """What each file in the store holds, no two the same, and its name."""
    found: dict[bytes, str] = {}
    for name in store.files.list():
        with closing(store.files.open(name)) as file:
            content = file.read(1000)
        assert content not in found
        found[content] = name
    return found


def bodies(store: ArtifactStore) -> list[bytes]:
    return sorted(contents(store))


@pytest.mark.parametrize(
    "rules, problem",
    [
        ({"keep": 0}, "trial.checkpoints.keep: must be an integer from 1 to 1000, not 0"),
        ({"keep": "2"}, "trial.checkpoints.keep: must be an integer from 1 to 1000, not '2'"),
        ({"keep_best": 1}, "trial.checkpoints.keep_best: must be true or false, not 1"),
        ({"keep_trials": 0}, "trial.checkpoints.keep_trials: must be an integer from 1 to 1000000, or null for all, not 0"),
        ({"last": 1}, "trial.checkpoints.last: unknown key; there are keep, keep_best, keep_trials"),
        ([], "trial.checkpoints: must be a mapping such as {keep: 2, keep_best: true}, not []"),
    ],
)
def test_rules_that_cannot_hold_are_refused(rules: Any, problem: str) -> None:
    with pytest.raises(InvalidSpec) as raised:
        external(trial={"executor": "external", "checkpoints": rules})
    assert str(raised.value) == problem


def test_rules_that_nobody_gave_are_no_part_of_a_spec() -> None:
    assert "checkpoints" not in external().to_json()["trial"]
    given = external(trial={"executor": "external", "checkpoints": {"keep": 5}}).to_json()["trial"]["checkpoints"]
    assert given == {"keep": 5, "keep_best": False, "keep_trials": None}


def test_superseded_checkpoints_leave_the_store_at_once(database: Database, store: ArtifactStore) -> None:
    start(database)
    lease = take(database)
    for step in (0, 1, 2, 3, 3):
        send(store, database, lease, step)
    assert bodies(store) == [b"attempt 1 step 2", b"attempt 1 step 3"]
    assert steps(database, lease.trial.id) == [2, 3]


def test_the_newest_whole_one_is_served(database: Database, store: ArtifactStore) -> None:
    start(database, keep=3)
    lease = take(database)
    for step in (1, 2, 3):
        send(store, database, lease, step)

    def latest() -> tuple[int, bytes]:
        checkpoint, file = store.open_latest(database, "default", lease.trial.id)
        with closing(file):
            return checkpoint.step, file.read(1000)

    assert latest() == (3, b"attempt 1 step 3")
    names = contents(store)
    damaged = b"attempt 1 step 4"
    store.files.write(names[b"attempt 1 step 3"], [damaged], sha256(damaged).hexdigest(), 100)
    assert latest() == (2, b"attempt 1 step 2")
    store.files.delete([names[b"attempt 1 step 2"]])
    assert latest() == (1, b"attempt 1 step 1")
    store.files.delete([names[b"attempt 1 step 1"]])
    with pytest.raises(CheckpointNotFound, match="has 3 such checkpoints, but their files are missing or damaged"):
        latest()


def test_nothing_stays_of_what_is_refused(database: Database, store: ArtifactStore) -> None:
    start(database)
    stale = take(database)
    with pytest.raises(InvalidValue, match="SHA-256"):
        store.receive(database, "default", stale.id, 0, "0" * 64, iter([b"bytes"]))

    def overtaken() -> Any:
        yield b"by"
        take_over(database)
        yield b"tes"

    with pytest.raises(LeaseLost):
        store.receive(database, "default", stale.id, 0, sha256(b"bytes").hexdigest(), overtaken())
    assert (bodies(store), steps(database, stale.trial.id)) == ([], [])


def test_the_sweep_removes_what_no_row_names_and_nothing_else(database: Database, store: ArtifactStore) -> None:
    start(database)
    send(store, database, take(database), 0)
    orphan, others = uuid4(), ["bundles/0123", f"bundles/ab/{uuid4()}.tar", "ab/notes.txt"]
    for name in (f"{str(orphan)[:2]}/{orphan}.tar", *others):
        store.files.write(name, [b""], sha256(b"").hexdigest(), 10)
    assert store.sweep(database) == 0  # it is young: its row may be about to come
    assert store.sweep(database, min_age=-60) == 1
    assert set(others) < set(store.files.list())
    assert len(list(store.files.list())) == 4


def test_the_sweep_removes_what_an_interrupted_upload_left(database: Database, folder: ArtifactStore, tmp_path: Path) -> None:
    start(database)
    send(folder, database, take(database), 0)
    (whole,) = (tmp_path / "artifacts").rglob("*.tar")
    whole.with_name(f"{whole.name}.{uuid4().hex}.part").write_bytes(b"half of it")
    assert folder.sweep(database, min_age=-60) == 1
    assert list((tmp_path / "artifacts").rglob("*.*")) == [whole]


@pytest.mark.parametrize("direction, best", [("maximize", 1), ("minimize", 2)])
def test_the_best_is_kept_beside_the_last(database: Database, folder: ArtifactStore, direction: str, best: int) -> None:
    start(database, direction=direction, keep=2, keep_best=True)
    lease = take(database)
    for step, score in enumerate([0.5, 0.9, 0.1, 0.6, 0.7, 0.8]):
        report(database, lease, step, score)
        send(folder, database, lease, step)
    assert steps(database, lease.trial.id) == [best, 4, 5]
    checkpoint, file = folder.open_best(database, "default", lease.trial.id)
    with closing(file):
        assert (checkpoint.step, file.read(100)) == (best, f"attempt 1 step {best}".encode())


def test_the_best_is_found_where_reports_follow_their_checkpoints(database: Database, folder: ArtifactStore) -> None:
    start(database, keep=1, keep_best=True)
    lease = take(database)
    for step, score in enumerate([0.1, 0.9, 0.2, 0.3]):
        send(folder, database, lease, step)
        report(database, lease, step, score)
    assert steps(database, lease.trial.id) == [1, 3]


@pytest.mark.parametrize("scores", [["NaN", "Infinity", "-Infinity", "NaN"], []])
def test_without_a_number_there_is_no_best(database: Database, folder: ArtifactStore, scores: Sequence[str]) -> None:
    start(database, keep=1, keep_best=True)
    lease = take(database)
    for step, score in enumerate(scores):
        report(database, lease, step, score)
    for step in range(4):
        send(folder, database, lease, step)
    assert steps(database, lease.trial.id) == [3]
    with pytest.raises(CheckpointNotFound, match="no checkpoint at whose step a value of the first objective was reported"):
        folder.open_best(database, "default", lease.trial.id)


def test_a_resumed_attempt_finds_its_checkpoint_and_goes_on_from_its_own(database: Database, folder: ArtifactStore) -> None:
    start(database, keep=1)
    lease = take(database)
    send(folder, database, lease, 7)
    resumed = take_over(database)
    assert resumed.trial.resume is not None
    assert resumed.trial.resume.step == 7
    send(folder, database, resumed, 3)  # it could not use that one, and began anew
    again = take_over(database)
    assert again.trial.resume is not None
    assert (again.trial.resume.step, steps(database, lease.trial.id)) == (3, [3])


def test_steps_are_served_of_the_last_attempt(database: Database, folder: ArtifactStore) -> None:
    start(database, keep=4)
    lease = take(database)
    send(folder, database, lease, 1)
    lease = take_over(database)
    send(folder, database, lease, 1)
    checkpoint, file = folder.open_step(database, "default", lease.trial.id, 1)
    with closing(file):
        assert (checkpoint.epoch, file.read(100)) == (2, b"attempt 2 step 1")
    with pytest.raises(CheckpointNotFound, match="has no checkpoint of step 2"):
        folder.open_step(database, "default", lease.trial.id, 2)


@pytest.mark.parametrize("direction, best", [("maximize", [1, 4]), ("minimize", [0, 3])])
def test_only_the_best_trials_keep_theirs(database: Database, store: ArtifactStore, direction: str, best: list[int]) -> None:
    start(database, num_trials=9, direction=direction, keep_trials=2)
    held = [take(database) for _ in range(9)]
    for lease in held:
        send(store, database, lease, 0, str(lease.trial.number).encode())
    for number, score in enumerate([0.1, 0.8, 0.5, 0.2, 0.9]):
        tell(database, held[number], values={"score": score})
    tell(database, held[5], state="FAIL", reason="nan")
    report(database, held[6], 0, 1.0 if direction == "maximize" else 0.0)
    tell(database, held[6], state="PRUNED")
    tell(database, held[7], state="WAITING", reason="preempted")  # goes on from its checkpoint, as number 8 may have to
    expected = [str(number).encode() for number in [*best, 7, 8]]
    assert store.retain(database) == 5
    assert bodies(store) == expected
    assert store.retain(database) == 0


def test_the_best_over_its_seeds_keeps_its_checkpoint(database: Database, store: ArtifactStore) -> None:
    start(database, num_trials=3, repeat={"max": 3}, keep_trials=1)
    with database.begin() as connection:
        connection.execute(text("UPDATE trials SET origin = 'repeat', parent = 0 WHERE number = 2"))
    held = [take(database) for _ in range(3)]
    for lease, score in zip(held, [0.8, 0.9, 0.7], strict=True):
        send(store, database, lease, 0, str(lease.trial.number).encode())
        tell(database, lease, values={"score": score})
    assert store.retain(database) == 2
    assert bodies(store) == [b"0"]


def test_a_trial_paused_at_its_rung_keeps_its_checkpoint(database: Database, folder: ArtifactStore) -> None:
    start(database, num_trials=2, keep=1, keep_trials=1)
    paused, other = take(database), take(database)
    send(folder, database, paused, 3)
    with database.begin() as connection:
        connection.execute(
            text("UPDATE trials SET verdict = 'pause', reason = 'paused_at_rung' WHERE id = :id"), {"id": paused.trial.id}
        )
    tell(database, paused, state="WAITING", reason="paused_at_rung")
    tell(database, other, values={"score": 1.0})
    assert folder.retain(database) == 0
    assert steps(database, paused.trial.id) == [3]
    studies.cancel(database, "default", "s")  # now it never goes on
    assert folder.retain(database) == 1


def test_all_trials_keep_theirs_unless_told_otherwise(database: Database, folder: ArtifactStore) -> None:
    start(database, num_trials=2)
    for score in (0.1, 0.2):
        lease = take(database)
        send(folder, database, lease, 0, str(score).encode())
        tell(database, lease, values={"score": score})
    studies.stop(database, "default", "s")
    assert folder.retain(database) == 0
    assert len(bodies(folder)) == 2


def test_a_deleted_study_leaves_no_files(database: Database, store: ArtifactStore) -> None:
    start(database, num_trials=2)
    for trial in range(2):
        lease = take(database)
        for step in (0, 1):
            send(store, database, lease, step, f"{trial} {step}".encode())
    assert len(bodies(store)) == 4
    store.delete_study(database, "default", "s")
    assert bodies(store) == []
    with pytest.raises(StudyNotFound):
        store.delete_study(database, "default", "s")


def test_rows_are_right_while_the_bucket_is_away(database: Database, bucket: Bucket, tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, artifacts=bucket.url, reap_interval=0.05)
    store = ArtifactStore(settings)
    start(database, num_trials=2)
    lease, lost = take(database), take(database)
    send(store, database, lease, 0)
    bucket.endpoint.stop()
    with pytest.raises(ArtifactsUnavailable):
        send(store, database, lease, 1)
    assert steps(database, lease.trial.id) == [0]
    with pytest.raises(ArtifactsUnavailable):  # not the same as being damaged: an older one would lose work
        store.open_latest(database, "default", lease.trial.id)
    # Leases are reaped meanwhile, and the study's rows go.
    with database.begin() as connection:
        connection.execute(
            text("UPDATE attempts SET expires_at = clock_timestamp() - interval '1 second' WHERE id = :id"), {"id": lost.id}
        )
    service = maintenance.Maintenance(database, settings)
    service.start()
    try:
        deadline = monotonic() + 20
        while views.get_trial(database, "default", lost.trial.id).state != "WAITING":
            assert monotonic() < deadline, "its lease is not reaped"
            sleep(0.02)
    finally:
        service.stop()
    store.delete_study(database, "default", "s")
    bucket.endpoint.start()
    assert store.sweep(database, min_age=-60) == 1
    assert bucket.names() == []
