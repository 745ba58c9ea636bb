"""Trials that go on from another one's checkpoint: which checkpoints there are to copy, and the one transaction that copies.

A copy is a new trial whose row names its parent and the parent's checkpoint. `tuner.leases` hands that out while the trial has none of its
own, and `tuner.artifacts` keeps it as long: both look at the row that is written here, under a lock on the checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from tuner import studies, trials
from tuner.db.tables import HELD
from tuner.trials import Suggestion


@dataclass(frozen=True, kw_only=True)
class Source:
    """A checkpoint that can be copied."""

    id: UUID
    number: int
    """Of the trial that left it."""
    step: int


_SOURCES = text(
    """
    SELECT DISTINCT ON (t.number) p.id, t.number, p.step FROM trials t JOIN checkpoints p ON p.trial_id = t.id
    WHERE t.study_id = :study AND t.number = ANY(:numbers) AND p.step >= :first AND p.step < :end
    ORDER BY t.number, p.step, p.epoch DESC
    """
)
_LOCK_SOURCE = text("SELECT id FROM checkpoints WHERE id = :source FOR KEY SHARE")
_LOCK_HELD = text(
    f"SELECT id FROM trials WHERE id = :trial AND study_id = :study AND state = 'WAITING' AND not_before = {HELD} FOR NO KEY UPDATE"
)
_FAIL_HELD = text(
    "UPDATE trials SET state = 'FAIL', reason = 'exception', error = :error, not_before = NULL, finished_at = clock_timestamp()"
    f" WHERE id = :trial AND study_id = :study AND state = 'WAITING' AND not_before = {HELD}"
)


def list_sources(connection: Connection, study_id: int, numbers: Sequence[int], first: int, end: int) -> list[Source]:
    """Of each of these trials its first checkpoint of a step from `first` to before `end`, by the trials' numbers."""
    found = connection.execute(_SOURCES, {"study": study_id, "numbers": list(numbers), "first": first, "end": end})
    return [Source(id=row.id, number=row.number, step=row.step) for row in found]


def copy(connection: Connection, study_id: int, child: Suggestion, replaced: int | None, space_version: int) -> bool:
    """Store a trial that goes on from `child.source`, and end the paused trial (by id) whose place it takes as PRUNED; whether it was done.

    All or nothing: not where the checkpoint is gone, the replaced trial does not pause any more, or `trials.suggest` stores nothing.
    """
    studies.lock(connection, study_id)
    if connection.execute(_LOCK_SOURCE, {"source": child.source}).one_or_none() is None:
        return False
    if replaced is not None and not connection.execute(_LOCK_HELD, {"study": study_id, "trial": replaced}).all():
        return False
    if not trials.suggest(connection, study_id, [child], space_version):
        return False
    if replaced is not None:
        trials.close_one_held(connection, study_id, replaced)
    return True


def fail_held(connection: Connection, study_id: int, trial_id: int, error: str) -> None:
    """End a paused trial that cannot go on."""
    connection.execute(_FAIL_HELD, {"study": study_id, "trial": trial_id, "error": error})
