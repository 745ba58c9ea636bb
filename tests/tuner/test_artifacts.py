"""Checkpoints on disk: no more files than there are checkpoints to resume from."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from tests.tuner.specs import external
from tuner import leases, studies, trials
from tuner.artifacts import KEPT, ArtifactStore
from tuner.db.postgres import Database
from tuner.settings import Settings
from tuner.wire import AskRequest, TrialCreate


def test_superseded_checkpoints_leave_the_disk_at_once(database: Database, tmp_path: Path) -> None:
    studies.create(database, "default", external())
    trials.create(database, "default", "s", TrialCreate(params={"x": 0.5}))
    (lease,) = leases.take(database, "default", AskRequest(wait=0), study="s")
    store = ArtifactStore(Settings(data=tmp_path))
    for step in (0, 1, 2, 3, 3):
        body = b"weights of step %d" % step
        store.receive(database, "default", lease.id, step, sha256(body).hexdigest(), iter([body]))
    kept = sorted(path.read_bytes() for path in (tmp_path / "artifacts").glob("*/*"))
    assert kept == [b"weights of step 2", b"weights of step 3"]
    assert len(kept) == KEPT
