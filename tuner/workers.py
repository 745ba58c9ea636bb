"""The fleet: which workers registered, when each was last heard of, and how many trials it holds."""

from __future__ import annotations

from statistics import fmean
from typing import Any

from sqlalchemy import Connection, Row, func, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from tuner.db.postgres import Database
from tuner.db.tables import attempts, workers
from tuner.errors import WorkerNotFound
from tuner.wire import LaneAttempt, MachineUsage, Worker, WorkerRegistration

MAX_LANES = 5_000
MAX_SAMPLES = 60
"""Samples of usage that are kept of a worker: a quarter of an hour at one in 15 seconds."""

_RUNNING = (
    select(func.count())
    .where(attempts.c.project == workers.c.project, attempts.c.worker == workers.c.name, attempts.c.ended_at.is_(None))
    .scalar_subquery()
    .label("running")
)
# A worker that trains for an hour asks for nothing, but renews.
_SEEN = func.greatest(
    workers.c.seen_at,
    select(func.max(attempts.c.expires_at - attempts.c.ttl * text("interval '1 second'")))
    .where(attempts.c.project == workers.c.project, attempts.c.worker == workers.c.name, attempts.c.ended_at.is_(None))
    .scalar_subquery(),
).label("seen_at")
_COLUMNS = [column for column in workers.c if column.name != "seen_at"]


# An attempt that began more than a day ago and has ended is not worth reading all of them for.
_LANES = text(
    """
    SELECT a.worker, s.id AS study_id, s.name AS study, t.number, a.epoch, a.started_at, a.ended_at, a.reason, a.gpus, a.devices, a.resumed_from
    FROM attempts a JOIN trials t ON t.id = a.trial_id JOIN studies s ON s.id = a.study_id
    WHERE a.project = :project AND a.worker IS NOT NULL AND (
        a.ended_at IS NULL
        OR (a.started_at > clock_timestamp() - interval '1 day' AND a.ended_at > clock_timestamp() - :seconds * interval '1 second')
    )
    ORDER BY a.started_at DESC LIMIT :limit
    """
)


def register(database: Database, project: str, body: WorkerRegistration) -> Worker:
    """Announce a worker, or renew what is known of the one with this name; a sample of its usage joins those before."""
    values = body.model_dump(exclude={"usage"})
    statement = upsert(workers).values(project=project, **values)
    statement = statement.on_conflict_do_update(
        index_elements=["project", "name"], set_={**values, "seen_at": func.clock_timestamp()}
    )
    with database.begin() as connection:
        connection.execute(statement)
        if body.usage is not None:
            _add_sample(connection, project, body.name, body.usage)
        row = connection.execute(
            select(*_COLUMNS, _SEEN, _RUNNING).where(workers.c.project == project, workers.c.name == body.name)
        ).one()
    return _worker(row)


def _add_sample(connection: Connection, project: str, name: str, usage: MachineUsage) -> None:
    here = (workers.c.project == project, workers.c.name == name)  # its row is locked since the upsert
    samples, now = connection.execute(select(workers.c.usage, func.clock_timestamp()).where(*here)).one()
    shares = [gpu.utilization for gpu in usage.gpus if gpu.utilization is not None]
    used = [gpu.memory for gpu in usage.gpus if gpu.memory is not None]
    sample = {
        "at": now.isoformat(),
        "gpu": fmean(shares) if shares else None,
        "gpu_memory": sum(used) if used else None,
        "temperature": max((gpu.temperature for gpu in usage.gpus if gpu.temperature is not None), default=None),
        **usage.model_dump(mode="json"),
    }
    older = [{**old, "gpus": []} for old in samples[1 - MAX_SAMPLES :]]
    connection.execute(update(workers).where(*here).values(usage=[*older, sample]))


def saw(database: Database, project: str, name: str) -> None:
    """Note that a worker was heard of; at most every few seconds, so that a busy worker costs no writes."""
    stale = workers.c.seen_at < func.clock_timestamp() - text("interval '5 seconds'")
    with database.read() as connection:
        connection.execute(
            update(workers)
            .where(workers.c.project == project, workers.c.name == name, stale)
            .values(seen_at=func.clock_timestamp())
        )


def list_(database: Database, project: str) -> list[Worker]:
    """Workers heard of within the last week, the latest first."""
    recent = workers.c.seen_at > func.clock_timestamp() - text("interval '7 days'")
    query = (
        select(*_COLUMNS, _SEEN, _RUNNING)
        .where(workers.c.project == project, recent)
        .order_by(workers.c.seen_at.desc())
        .limit(5000)
    )
    with database.read() as connection:
        return [_worker(row) for row in connection.execute(query)]


def list_lanes(database: Database, project: str, seconds: float) -> list[LaneAttempt]:
    """Attempts of the project that ran within the last `seconds`, by start; at most MAX_LANES, the latest."""
    query = _LANES.bindparams(project=project, seconds=seconds, limit=MAX_LANES)
    with database.read() as connection:
        return [LaneAttempt.model_validate(dict(row)) for row in reversed(connection.execute(query).mappings().all())]


def get(database: Database, project: str, worker_id: int) -> Worker:
    with database.read() as connection:
        row = connection.execute(
            select(*_COLUMNS, _SEEN, _RUNNING).where(workers.c.project == project, workers.c.id == worker_id)
        ).one_or_none()
    if row is None:
        raise WorkerNotFound(f"no worker has the id {worker_id} in project {project!r}")
    return _worker(row)


def _worker(row: Row[*tuple[Any, ...]]) -> Worker:
    return Worker.model_validate({name: getattr(row, name) for name in Worker.model_fields})
