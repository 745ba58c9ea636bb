"""Which search owns which study: Postgres advisory locks on one connection kept for them.

A search that dies loses its connection and with it all of its locks, so that others take over at their next claim. Searches count each
other by a shared lock and share the studies out evenly. Weakness: a search cut off from the database may decide once more before it
notices; `trials.suggest` binds suggestions to their numbers, so that this makes no double trial.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from dataclasses import dataclass

import psycopg

from tuner.db.postgres import Database
from tuner.errors import DatabaseUnavailable

_PRESENT = 0x5EA << 48
_STUDY = 0x5EB << 48  # + the study's id

_COUNT = """
    SELECT count(*) FROM pg_locks
    WHERE locktype = 'advisory' AND mode = 'ShareLock' AND granted AND objsubid = 1
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND (classid::bigint << 32 | objid::bigint) = %s
"""
_ACTIVE = "SELECT id, state FROM studies WHERE state IN ('RUNNING', 'STOPPING', 'PAUSED') AND spec IS NOT NULL ORDER BY id"


def count_searches(database: Database) -> int:
    """Search processes that are connected to the database now."""
    with database.read() as connection:
        return int(connection.exec_driver_sql(_COUNT, (_PRESENT,)).scalar_one())


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What a claim changed."""

    gained: frozenset[int]
    lost: frozenset[int]


class Ownership:
    """The locks this search holds. DatabaseUnavailable from any method: all of them are gone, connect anew."""

    def __init__(self, database: Database) -> None:
        self._conninfo = database.conninfo
        self._connection: psycopg.Connection[tuple[int | str, ...]] | None = None
        self._owned: set[int] = set()
        self.others: frozenset[int] = frozenset()
        """Active studies that were not this search's at its last claim."""

    @property
    def owned(self) -> frozenset[int]:
        return frozenset(self._owned)

    def connect(self) -> None:
        self.close()
        try:
            self._connection = psycopg.connect(
                self._conninfo, autocommit=True, connect_timeout=5, application_name="tuner search"
            )
            self._connection.execute("SELECT pg_advisory_lock_shared(%s)", (_PRESENT,))
        except psycopg.Error as error:
            raise _unavailable(error) from error

    def claim(self, busy: Collection[int] = ()) -> Claim:
        """Take this search's share of the active studies, and give up what is beyond it or has ended, but nothing `busy`."""
        if self._connection is None:
            raise DatabaseUnavailable("the search is not connected")
        before = self.owned
        try:
            active = {int(study): str(state) for study, state in self._connection.execute(_ACTIVE).fetchall()}
            row = self._connection.execute(_COUNT, (_PRESENT,)).fetchone()
            searches = max(1, int(row[0])) if row else 1
            for study_id in sorted(self._owned - active.keys()):
                self._release(study_id)
            # Paused studies stay where they are but are not taken anew: there is nothing to do for them.
            wanted = [study_id for study_id, state in active.items() if state != "PAUSED" or study_id in self._owned]
            share = -(-len(wanted) // searches)
            for study_id in sorted(self._owned - set(busy), reverse=True)[: max(0, len(self._owned) - share)]:
                self._release(study_id)
            for study_id in wanted:
                if len(self._owned) >= share:
                    break
                if study_id not in self._owned and study_id not in before and self._try(study_id):
                    self._owned.add(study_id)
            self.others = frozenset(active.keys() - self._owned)
        except psycopg.Error as error:
            self.close()
            raise _unavailable(error) from error
        return Claim(gained=self.owned - before, lost=before - self.owned)

    def close(self) -> None:
        """Give up everything."""
        self._owned.clear()
        if self._connection is not None:
            # The server lets go of a closed connection's locks when it gets round to it; others may be waiting now.
            with contextlib.suppress(psycopg.Error):
                self._connection.execute("SELECT pg_advisory_unlock_all()")
            self._connection.close()
            self._connection = None

    def _try(self, study_id: int) -> bool:
        assert self._connection is not None
        row = self._connection.execute("SELECT pg_try_advisory_lock(%s)", (_STUDY + study_id,)).fetchone()
        return bool(row and row[0])

    def _release(self, study_id: int) -> None:
        assert self._connection is not None
        self._connection.execute("SELECT pg_advisory_unlock(%s)", (_STUDY + study_id,))
        self._owned.discard(study_id)


def _unavailable(error: psycopg.Error) -> DatabaseUnavailable:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return DatabaseUnavailable(f"the search has lost the database: {lines[0]}")
