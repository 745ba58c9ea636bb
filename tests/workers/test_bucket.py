"""A server that keeps checkpoints in a bucket, and its workers: trials go on from there, and go on without it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest

from tests.api.conftest import Server
from tests.buckets import Bucket
from tests.workers.conftest import eventually
from tests.workers.test_agent import (  # noqa: F401 (fixtures)
    Enqueue,
    Finished,
    StartAgent,
    client,
    enqueue,
    finished,
    running,
    start_agent,
)
from tuner.client import Client
from tuner.db.postgres import Database
from tuner.errors import ArtifactsUnavailable
from tuner.settings import Settings
from tuner.wire import LeaseRequest, TrialState


@pytest.fixture
def server(database: Database, bucket: Bucket, tmp_path: Path) -> Iterator[Server]:
    settings = Settings(
        database_url=database.url, data=tmp_path / "data", artifacts=bucket.url, port=0, reap_interval=0.2, retry_backoff=0.1
    )
    server = Server(database, settings)
    yield server
    server.stop()


@pytest.fixture
def live(server: Server) -> tuple[str, str]:
    return server.url, server.key


def newest(client: Client, trial: int) -> int:  # noqa: F811
    """Step of the newest checkpoint; -1 without any."""
    return max((checkpoint.step for checkpoint in client.list_checkpoints(trial)), default=-1)


@pytest.mark.slow
def test_a_trial_goes_on_from_the_bucket_at_another_replica(
    server: Server,
    bucket: Bucket,
    start_agent: StartAgent,  # noqa: F811
    enqueue: Enqueue,  # noqa: F811
    finished: Finished,  # noqa: F811
    client: Client,  # noqa: F811
    tmp_path: Path,
) -> None:
    (trial,) = enqueue("counts_in_checkpoints", epochs=120, beat=0.03)
    first = start_agent(ttl=2.0, name="host-1")
    eventually(lambda: newest(client, trial) > 5)
    first.kill()
    server.stop()
    replica = Server(server.database, server.settings.model_copy(update={"data": tmp_path / "elsewhere"}))
    try:
        start_agent(name="host-2", server=replica.url)
        ended = finished(trial)
        assert (ended.state, ended.attempt) == (TrialState.COMPLETE, 2)
        assert ended.values == {"loss": 120.0}, "each step counted once: it resumed from exactly the state it had saved"
        assert ended.user_attrs["started_at_2"] > 5
        assert newest(client, trial) == 119
        assert len(bucket.names()) == len(client.list_checkpoints(trial)) == 2
        assert bucket.uploads() == []
        assert not (tmp_path / "data" / "artifacts").exists()
    finally:
        replica.stop()


def test_a_trial_goes_on_while_the_bucket_is_away(
    server: Server,
    bucket: Bucket,
    start_agent: StartAgent,  # noqa: F811
    enqueue: Enqueue,  # noqa: F811
    finished: Finished,  # noqa: F811
    running: Finished,  # noqa: F811
    client: Client,  # noqa: F811
) -> None:
    (trial, other) = enqueue("counts_in_checkpoints", count=2, epochs=1_000, beat=0.02)
    start_agent()
    eventually(lambda: newest(client, trial) >= 0)
    bucket.endpoint.stop()
    (lease,) = client.lease(LeaseRequest(worker="w", wait=0, executors=["entrypoint"]))
    assert lease.trial.id == other
    with server.http() as http:
        digest = {"X-Content-SHA256": hashlib.sha256(b"bytes").hexdigest()}
        refused = http.put(f"/v1/leases/{lease.id}/checkpoints/0", content=b"bytes", headers=digest)
    assert (refused.status_code, refused.json()["code"], refused.headers["Retry-After"]) == (503, "artifacts_unavailable", "1")
    with pytest.raises(ArtifactsUnavailable, match=r"^s3://\S+ fails or cannot be reached"):
        client.with_patience(0).upload_checkpoint(lease.id, 0, BytesIO(b"bytes"))
    stored = newest(client, trial)
    running(trial, step=stored + 20)
    bucket.endpoint.start()
    eventually(lambda: newest(client, trial) > stored + 20, 60.0)
    client.cancel_trial(trial)
    assert finished(trial).attempt == 1
