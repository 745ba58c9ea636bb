"""Duties on a timer, safe to run in every replica at once: reap expired leases, end studies, expire old rows, remove checkpoints."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from time import monotonic

from sqlalchemy import select, text

from tuner import leases, studies
from tuner.artifacts import ArtifactStore
from tuner.bundles import BundleStore
from tuner.db.postgres import Database
from tuner.db.tables import reports, trials
from tuner.db.tables import studies as study_table
from tuner.errors import TunerError
from tuner.settings import Settings
from tuner.wire import StudyState

_log = logging.getLogger(__name__)
_EXPIRY_INTERVAL = 600.0
_RETENTION_INTERVAL = 30.0


def run_once(database: Database, settings: Settings) -> int:
    """Reap expired leases and end the studies that are done; how many leases were reaped."""
    reaped = 0
    while batch := leases.reap(database, backoff=settings.retry_backoff):
        reaped += batch
    stop_overdue(database)
    settle_stragglers(database)
    with database.read() as connection:
        live = connection.execute(
            select(study_table.c.id).where(
                study_table.c.state.in_((StudyState.RUNNING, StudyState.STOPPING)), study_table.c.spec.is_not(None)
            )
        ).scalars()
        study_ids = list(live)
    for study_id in study_ids:
        with database.begin() as connection:
            state = studies.finish_if_done(connection, study_id)
        if state is not None and state.is_finished:
            database.wake("trials", study_id)
            database.wake("result", study_id)
    return reaped


def stop_overdue(database: Database) -> None:
    """Tell the workers of trials that have run longer than trial_timeout to stop; workers watch this themselves, and may hang."""
    with database.begin() as connection:
        connection.execute(
            text(
                """
                WITH c AS MATERIALIZED (
                    SELECT t.id FROM attempts a JOIN studies s ON s.id = a.study_id JOIN trials t ON t.id = a.trial_id
                    WHERE a.ended_at IS NULL AND t.state = 'RUNNING' AND t.verdict <> 'stop'
                        AND a.started_at < clock_timestamp() - ((s.limits->>'trial_timeout')::float + 30) * interval '1 second'
                    FOR NO KEY UPDATE OF t SKIP LOCKED
                )
                UPDATE trials t SET verdict = 'stop', reason = 'timeout' FROM c WHERE t.id = c.id
                """
            )
        )


def settle_stragglers(database: Database) -> None:
    """Bring to rest what a pause or the end of a study missed, because it was being leased, handed back or reaped in that very moment.

    Leasing locks trials but not their study, which the search writes at the same time; so this has to look again afterwards.
    """
    for statement in _STRAGGLERS:
        with database.begin() as connection:
            connection.execute(statement)


# Whoever has a trial locked is about to change it: the next round looks at that one.
_STRAGGLERS = tuple(
    text(
        f"""
        WITH c AS MATERIALIZED (
            SELECT t.id FROM trials t JOIN studies s ON s.id = t.study_id
            WHERE s.spec IS NOT NULL AND {condition} FOR NO KEY UPDATE OF t SKIP LOCKED
        )
        UPDATE trials t SET {change} FROM c WHERE t.id = c.id
        """
    )
    for condition, change in (
        ("s.state = 'PAUSED' AND t.state = 'RUNNING' AND t.verdict = 'continue'", "verdict = 'pause'"),
        (
            "s.state IN ('COMPLETE', 'STOPPED', 'FAIL') AND t.state = 'RUNNING' AND t.verdict <> 'stop'",
            "verdict = 'stop', reason = 'cancelled'",
        ),
        (
            "s.state IN ('COMPLETE', 'STOPPED', 'FAIL') AND t.state = 'WAITING'",
            "state = 'FAIL', reason = 'cancelled', finished_at = clock_timestamp()",
        ),
    )
)


def expire(database: Database) -> None:
    """Forget what nobody can ask for any more."""
    with database.begin() as connection:
        connection.execute(text("DELETE FROM idempotency WHERE created_at < clock_timestamp() - interval '1 day'"))
        connection.execute(text("DELETE FROM sessions WHERE expires_at < clock_timestamp()"))
        connection.execute(text("DELETE FROM demands WHERE expires_at < clock_timestamp()"))


def repair_revisions(database: Database) -> None:
    """Bring revisions from the future back: transaction ids start again when a dump is restored into a new cluster."""
    with database.begin() as connection:
        ahead = connection.execute(
            text("SELECT EXISTS (SELECT FROM studies WHERE revision > pg_current_xact_id()::text::bigint)")
        )
        if ahead.scalar_one():
            for table in (study_table, trials, reports):
                connection.execute(table.update().values(revision=0))  # the trigger sets the present one


class Maintenance:
    """The threads in which a server does all this; a failure is logged, and the next round tries again.

    Files have a thread of their own: a bucket that does not answer must not keep leases from being reaped.
    """

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._store = ArtifactStore(settings)
        self._bundles = BundleStore(self._store.files, settings)
        self._stop = threading.Event()
        self._is_repaired = False
        self._next_expiry = self._next_sweep = monotonic()
        self._rows = threading.Thread(
            target=self._repeat, args=(self._keep_rows, settings.reap_interval), name="maintenance", daemon=True
        )
        self._files = threading.Thread(
            target=self._repeat, args=(self._keep_files, _RETENTION_INTERVAL), name="maintenance-files", daemon=True
        )

    def start(self) -> None:
        self._rows.start()
        self._files.start()

    def stop(self) -> None:
        self._stop.set()
        self._rows.join(timeout=10)
        self._files.join(timeout=2)

    def _repeat(self, duty: Callable[[], None], interval: float) -> None:
        while not self._stop.is_set():
            try:
                duty()
            except TunerError as error:
                _log.warning("maintenance: %s", error)
            except Exception:
                _log.exception("maintenance failed")
            self._stop.wait(interval)

    def _keep_rows(self) -> None:
        if not self._is_repaired:
            repair_revisions(self._database)
            self._is_repaired = True
        run_once(self._database, self._settings)
        if monotonic() >= self._next_expiry:
            expire(self._database)
            self._next_expiry = monotonic() + _EXPIRY_INTERVAL

    def _keep_files(self) -> None:
        self._store.retain(self._database)
        if monotonic() >= self._next_sweep:
            self._store.sweep(self._database)
            self._bundles.expire(self._database)
            self._next_sweep = monotonic() + _EXPIRY_INTERVAL
