"""What changed: the log that people read, and the listener that wakes whoever waits.

Machines follow revisions (`tuner.db.tables`); a wake only tells them to look now instead of at their next poll. Kinds of wakes:
"result" (a worker or a user wrote), "demand" (a lease request waits), "trials" (trials were made WAITING, or a study ended),
"judged" (the pruner has looked at new reports).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

import psycopg
from sqlalchemy import Connection, insert, select, text

from tuner.db.notifier import CHANNEL
from tuner.db.postgres import Database
from tuner.db.tables import events
from tuner.wire import Event

Callback = Callable[[str, int], None]
STOP_INTERVAL = 0.25
"""Seconds in which a listener notices that it should stop."""


def record(
    connection: Connection, project: str, study_id: int | None, kind: str, trial_number: int | None = None, **data: object
) -> None:
    """Append to the log within the caller's transaction."""
    connection.execute(
        insert(events).values(
            project=project,
            study_id=study_id,
            kind=kind,
            trial_number=trial_number,
            data=json.loads(json.dumps(data, default=str)),
        )
    )


def list_(database: Database, project: str, study_id: int | None = None, after: int = 0, limit: int = 100) -> list[Event]:
    """Events with an id above `after`, oldest first."""
    query = select(events).where(events.c.project == project, events.c.id > after).order_by(events.c.id).limit(limit)
    if study_id is not None:
        query = query.where(events.c.study_id == study_id)
    with database.read() as connection:
        return [Event.model_validate(dict(row)) for row in connection.execute(query).mappings()]


def list_latest(
    database: Database, project: str, study_id: int | None = None, before: int | None = None, limit: int = 100
) -> list[Event]:
    """Events with an id below `before`, newest first: the log as people read it."""
    query = select(events).where(events.c.project == project).order_by(events.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(events.c.id < before)
    if study_id is not None:
        query = query.where(events.c.study_id == study_id)
    with database.read() as connection:
        return [Event.model_validate(dict(row)) for row in connection.execute(query).mappings()]


def horizon(connection: Connection) -> int:
    """The revision to ask from next: all transactions below it have ended, so none of their rows can appear later.

    Taken before the rows are read: what commits in between comes again next time.
    """
    return int(connection.execute(text("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")).scalar_one())


class Listener:
    """A thread that calls back (in that thread) for each wake; reconnects for as long as it runs.

    After a reconnect it calls back once with ("reconnected", 0): wakes of the gap are gone, so everybody should look.
    """

    def __init__(self, database: Database, callback: Callback) -> None:
        self._conninfo = database.conninfo
        self._callback = callback
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        first = True
        while not self._stop.is_set():
            try:
                with psycopg.connect(
                    self._conninfo, autocommit=True, connect_timeout=5, application_name="tuner listener"
                ) as connection:
                    connection.execute(f"LISTEN {CHANNEL}")
                    if not first:
                        self._callback("reconnected", 0)
                    first = False
                    self._listen(connection)
            except psycopg.Error:
                first = False
                self._stop.wait(0.5)

    def _listen(self, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        while not self._stop.is_set():
            for notification in connection.notifies(timeout=STOP_INTERVAL):
                kind, _, study = notification.payload.partition(" ")
                if study.isascii() and study.isdigit() and len(study) < 20:  # anybody who may connect can notify anything
                    self._callback(kind, int(study))
                if self._stop.is_set():
                    return
