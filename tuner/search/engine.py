"""The loop over studies: claim a share of them, wait for wakes or the poll, look at each study with news.

Wakes make it fast, polling makes it right. Studies are looked at by a few threads, so that a slow sampler does not hold up the others; one
study is never in two threads. A study whose sampler raises is put aside for a while, with an event that says why, and the others go on.
Weakness: the threads share one interpreter lock, so a fitted sampler still slows its neighbours; run several searches then.
"""

from __future__ import annotations

import json
import logging
import threading
import warnings
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from time import monotonic

import optuna
from optuna.exceptions import ExperimentalWarning
from sqlalchemy import select, text

from tuner import events
from tuner.db.postgres import Database
from tuner.db.tables import studies
from tuner.errors import DatabaseUnavailable
from tuner.search.ownership import Ownership
from tuner.search.study_search import StudySearch
from tuner.settings import Settings
from tuner.wire import StudyState

POLL = 1.0
"""Seconds between two claims, which also look for changes of which no wake told."""
SETTLE = 0.05
"""Seconds by which results nobody waits for are collected before a look."""
STOP_LATENCY = 0.25
MAX_BACKOFF = 60.0
NUM_THREADS = 4
ERROR_KEY = "tuner:search_error"
"""System attribute of a study: why its last look failed; absent while all is well."""

_log = logging.getLogger(__name__)
_CHANGED = text(
    """
    SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS revision, ARRAY(
        SELECT s.id FROM studies s WHERE s.id = ANY(:owned) AND (s.revision >= :since
            OR EXISTS (SELECT FROM trials t WHERE t.study_id = s.id AND t.revision >= :since)
            OR EXISTS (SELECT FROM reports r WHERE r.study_id = s.id AND r.revision >= :since)
            OR EXISTS (SELECT FROM demands d WHERE d.study_id = s.id))
    ) AS studies
    """
)
_ATTRS = text("SELECT system_attrs, project FROM studies WHERE id = :study FOR NO KEY UPDATE")
_SET_ATTRS = text("UPDATE studies SET system_attrs = :attrs WHERE id = :study")


@dataclass(kw_only=True)
class _Owned:
    """A study this search owns; loaded at its first look."""

    search: StudySearch | None = None
    due: float | None = 0.0  # monotonic time of the next look; None: nothing to do
    blocked: bool = False
    failures: int = 0
    failed: bool = field(default=False)  # its error stands in the study's attributes
    looking: bool = False
    released: bool = False  # another search's, or ended, while a thread was looking


class Engine:
    """One search. `run` loops until told to stop; `step` does everything there is to do now, in the calling thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ownership = Ownership(database)
        self._owned: dict[int, _Owned] = {}
        self._since = 0
        self._news = threading.Condition()
        self._connected = False
        self._next_poll = 0.0

    # --- the loop --------------------------------------------------------------------------------------------------------

    def run(self, stop: threading.Event) -> None:
        """Search until `stop` is set. A lost database is waited for."""
        warnings.filterwarnings("ignore", category=ExperimentalWarning)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        listener = events.Listener(self._database, self._heard)
        listener.start()
        try:
            with ThreadPoolExecutor(NUM_THREADS, thread_name_prefix="search") as pool:
                while not stop.is_set():
                    try:
                        self._poll()
                        for study_id in self._due():
                            self._submit(pool, study_id)
                        self._wait()
                    except DatabaseUnavailable as error:
                        _log.warning("%s; trying again", error)
                        self._drop_all()
                        stop.wait(POLL)
        finally:
            listener.stop()
            self.close()

    def step(self) -> None:
        """Claim, then look at every study that has news, until none has."""
        self._next_poll = 0.0
        self._poll()
        for study_id, owned in list(self._owned.items()):
            if owned.failures == 0:
                owned.due = 0.0
            while owned.failures == 0 and owned.due is not None and owned.due <= monotonic():
                self._look(study_id, owned)

    def close(self) -> None:
        """Give up all studies; other searches take them over at once."""
        self._drop_all()

    def _heard(self, kind: str, study_id: int) -> None:
        """A wake, in the listener's thread."""
        with self._news:
            if kind == "reconnected":
                self._next_poll = 0.0
            elif kind in ("result", "demand"):
                owned = self._owned.get(study_id)
                if owned is not None:
                    urgent = kind == "demand" or owned.blocked or (owned.search is not None and owned.search.judges)
                    self._mark(owned, 0.0 if urgent else SETTLE)
                elif study_id not in self._ownership.others:  # perhaps a new study
                    self._next_poll = min(self._next_poll, monotonic() + (0.0 if kind == "demand" else SETTLE))
            else:
                return
            self._news.notify()

    def _mark(self, owned: _Owned, delay: float) -> None:
        """Look at the study `delay` seconds from now at the latest. A failed study keeps its time."""
        if owned.failures == 0:
            due = monotonic() + delay
            owned.due = due if owned.due is None else min(owned.due, due)

    def _wait(self) -> None:
        with self._news:
            now = monotonic()
            times = [owned.due for owned in self._owned.values() if owned.due is not None and not owned.looking]
            until = min([self._next_poll, *times])
            if until > now:
                self._news.wait(min(until - now, STOP_LATENCY))

    def _due(self) -> list[int]:
        now = monotonic()
        with self._news:
            return [
                study_id
                for study_id, owned in self._owned.items()
                if owned.due is not None and owned.due <= now and not owned.looking
            ]

    # --- owning ----------------------------------------------------------------------------------------------------------

    def _poll(self) -> None:
        """Once in POLL seconds: claim studies, and find those that changed without a wake."""
        if monotonic() < self._next_poll:
            return
        if not self._connected:
            self._ownership.connect()
            self._connected = True
        with self._news:
            busy = [study_id for study_id, owned in self._owned.items() if owned.looking]
            self._next_poll = monotonic() + POLL
        claim = self._ownership.claim(busy)
        with self._news:
            for study_id in claim.lost:
                self._owned.pop(study_id).released = True
            for study_id in claim.gained:
                self._owned[study_id] = _Owned()
        if self._owned:
            self._mark_changed(list(self._owned))

    def _mark_changed(self, owned: Iterable[int]) -> None:
        with self._database.read() as connection:
            row = connection.execute(_CHANGED, {"owned": list(owned), "since": self._since}).one()
        self._since = row.revision
        with self._news:
            for study_id in row.studies:
                if study_id in self._owned:
                    self._mark(self._owned[study_id], 0.0)

    def _drop_all(self) -> None:
        """Forget all studies and histories: the locks are gone, or are given up."""
        with self._news:
            for owned in self._owned.values():
                owned.released = True
            self._owned.clear()
            self._next_poll = 0.0
        self._ownership.close()
        self._connected = False
        self._since = 0

    # --- looking ---------------------------------------------------------------------------------------------------------

    def _submit(self, pool: ThreadPoolExecutor, study_id: int) -> None:
        with self._news:
            owned = self._owned.get(study_id)
            if owned is None or owned.looking:
                return
            owned.looking = True
        pool.submit(self._look, study_id, owned).add_done_callback(self._looked)

    def _looked(self, future: Future[None]) -> None:
        error = future.exception()
        if error is not None:
            _log.error("a look at a study failed", exc_info=error)
        with self._news:
            self._news.notify()

    def _look(self, study_id: int, owned: _Owned) -> None:
        """Look at one study; whatever its sampler raises stays with it."""
        with self._news:
            owned.looking = True
            owned.due = None
        try:
            if owned.search is None:
                owned.search = self._load(study_id)
            again = False
            if owned.search is not None and not owned.released:
                look = owned.search.look()
                owned.blocked, again = look.blocked, look.again or look.outdated
                if look.state is None or look.state.is_finished or look.outdated:
                    owned.search = (
                        None  # its history is not needed any more; the next claim gives the study up, or the next look reads it
                    )
            if owned.failed:
                self._clear_error(study_id)
            owned.failures, owned.failed = 0, False
            if again:
                with self._news:
                    self._mark(owned, 0.0)
        except DatabaseUnavailable as error:
            _log.warning("study %s: %s", study_id, error)
            owned.search = None
            with self._news:
                self._mark(owned, POLL)
        except Exception as error:  # a sampler may raise anything
            owned.search = None
            owned.failures += 1
            owned.failed = True
            _log.exception("the search of study %s failed", study_id)
            # First of all: whatever goes wrong below, the study is looked at again.
            owned.due = monotonic() + min(MAX_BACKOFF, 2.0 ** (owned.failures - 1))
            self._record_error(study_id, error, owned.failures)
        finally:
            owned.looking = False

    def _load(self, study_id: int) -> StudySearch | None:
        with self._database.read() as connection:
            row = connection.execute(select(studies).where(studies.c.id == study_id)).one_or_none()
        if row is None or StudyState(row.state).is_finished:
            return None
        return StudySearch(self._database, row)

    def _record_error(self, study_id: int, error: Exception, failures: int) -> None:
        """Tell people, the first time and then each time the pause has doubled."""
        message = f"{type(error).__name__}: {error}".replace("\x00", "")[:2000]
        try:
            with self._database.begin() as connection:
                row = connection.execute(_ATTRS, {"study": study_id}).one_or_none()
                if row is None:
                    return
                attrs = json.loads(row.system_attrs) | {ERROR_KEY: message}
                connection.execute(_SET_ATTRS, {"study": study_id, "attrs": json.dumps(attrs)})
                events.record(connection, row.project, study_id, "search_failed", error=message, failures=failures)
        except DatabaseUnavailable:
            _log.warning("the failure of study %s could not be recorded", study_id)

    def _clear_error(self, study_id: int) -> None:
        with self._database.begin() as connection:
            row = connection.execute(_ATTRS, {"study": study_id}).one_or_none()
            if row is not None:
                attrs = json.loads(row.system_attrs)
                attrs.pop(ERROR_KEY, None)
                connection.execute(_SET_ATTRS, {"study": study_id, "attrs": json.dumps(attrs)})
                events.record(connection, row.project, study_id, "search_recovered")


def run(settings: Settings, stop: threading.Event) -> None:
    """Open the database and search until `stop` is set."""
    database = Database.open(settings)
    try:
        Engine(database).run(stop)
    finally:
        database.close()
