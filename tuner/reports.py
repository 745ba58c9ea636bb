"""What running trials send up: intermediate values and log lines. Each write passes the fence of `tuner.leases` and renews the lease."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import insert, text

from tuner import intermediate, leases
from tuner.db.postgres import Database
from tuner.db.tables import logs
from tuner.wire import LogText, Report, VerdictAnswer

MAX_LOG_LINES = 100_000
"""Lines kept of one trial; later ones are dropped, and the last line says so."""


@dataclass(frozen=True, kw_only=True)
class Appended:
    """Answer to a batch of reports; `judged`: the search has looked at all of them (or nobody judges this study)."""

    answer: VerdictAnswer
    study_id: int
    trial_id: int
    judged: bool


def append(database: Database, project: str, lease_id: str, reports: Sequence[Report]) -> Appended:
    """Store reports, renew the lease, return the verdict as it stands. LeaseLost stores nothing."""
    parameters = {"lease": leases.parse_id(lease_id), "project": project, **intermediate.parameters(reports)}
    with database.read() as connection:  # one statement, one transaction
        row = connection.execute(leases.fenced(_APPEND, leases.FENCE), parameters).one_or_none()
    if row is None:
        raise leases.lost(lease_id)
    database.wake("result", row.study_id)
    judged = not row.pruned_by_search or (
        row.judged_step is not None and row.judged_step >= max(report.step for report in reports)
    )
    return Appended(
        answer=VerdictAnswer(verdict=row.verdict, expires_at=row.expires_at),
        study_id=row.study_id,
        trial_id=row.trial_id,
        judged=judged,
    )


def get_verdict(database: Database, project: str, lease_id: str, step: int) -> Appended:
    """The verdict now, and whether the search has judged the reports up to `step`; renews the lease."""
    with database.read() as connection:
        row = leases.pass_fence(connection, project, lease_id)
    return Appended(
        answer=VerdictAnswer(verdict=row.verdict, expires_at=row.expires_at),
        study_id=row.study_id,
        trial_id=row.trial_id,
        judged=row.verdict != "continue" or (row.judged_step is not None and row.judged_step >= step),
    )


def append_logs(database: Database, project: str, lease_id: str, lines: Sequence[LogText]) -> None:
    """Append log lines of the attempt that holds this lease."""
    with database.begin() as connection:
        row = leases.pass_fence(connection, project, lease_id)
        stored = connection.execute(
            text("SELECT count(*) FROM logs WHERE trial_id = :trial"), {"trial": row.trial_id}
        ).scalar_one()
        room = max(0, MAX_LOG_LINES - int(stored))
        kept = [{"trial_id": row.trial_id, "epoch": row.epoch, "stream": line.stream, "text": line.text} for line in lines[:room]]
        if room and len(lines) >= room:
            note = f"further lines are not kept: a trial may log {MAX_LOG_LINES}"
            kept[-1] = {"trial_id": row.trial_id, "epoch": row.epoch, "stream": "tuner", "text": note}
        if kept:
            connection.execute(insert(logs), kept)


_APPEND = (
    "WITH a AS ({renew}), r AS ("
    + intermediate.STORE
    + ") SELECT a.*, s.pruned_by_search FROM a JOIN studies s ON s.id = a.study_id"
)
