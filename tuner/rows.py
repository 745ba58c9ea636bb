"""Rows as clients see them: from the tables' rows to the models of `tuner.wire`. Reads only what a mapping needs besides the row."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, text

from tuner import repeats
from tuner.errors import StudyNotFound
from tuner.wire import SpaceEdit, Strategy, Study, Trial, TrialCounts

_COUNTS = text(
    """
    SELECT s.id, c.*, b.value AS best_value, b.number AS best_trial, (
            SELECT count(*) FROM trials t
            WHERE t.study_id = s.id AND t.state = 'COMPLETE' AND t.value IS NULL AND t.violation > 0
        ) AS infeasible
    FROM studies s
    CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE state = 'WAITING') AS waiting, count(*) FILTER (WHERE state = 'RUNNING') AS running,
            count(*) FILTER (WHERE state = 'COMPLETE') AS complete, count(*) FILTER (WHERE state = 'PRUNED') AS pruned,
            count(*) FILTER (WHERE state = 'FAIL') AS fail
        FROM trials t WHERE t.study_id = s.id
    ) c
    LEFT JOIN LATERAL (
        SELECT value, number FROM (
            (SELECT t.value, t.number FROM trials t WHERE t.study_id = s.id AND t.state = 'COMPLETE' AND t.value IS NOT NULL
                AND s.objectives->0->>'direction' = 'maximize' ORDER BY t.value DESC, t.number LIMIT 1)
            UNION ALL
            (SELECT t.value, t.number FROM trials t WHERE t.study_id = s.id AND t.state = 'COMPLETE' AND t.value IS NOT NULL
                AND s.objectives->0->>'direction' = 'minimize' ORDER BY t.value, t.number LIMIT 1)
        ) candidates LIMIT 1
    ) b ON true
    WHERE s.id = ANY(:ids)
    """
)


def study(connection: Connection, row: Row[Any]) -> Study:
    for found in studies(connection, [row]):
        return found
    raise StudyNotFound(f"study {row.name!r} has been deleted")


def studies(connection: Connection, found: Sequence[Row[Any]]) -> list[Study]:
    """Rows of `studies` with their counts and best value; without those deleted since the rows were read."""
    counts = {row.id: row for row in connection.execute(_COUNTS, {"ids": [row.id for row in found]})} if found else {}
    return [_study(row, counts[row.id], repeats.best(connection, row)) for row in found if row.id in counts]


def _study(row: Row[Any], counts: Row[Any], raced: repeats.RacedBest | None) -> Study:
    spec = (
        json.loads(row.spec)
        if row.spec
        else {"name": row.name, "objectives": row.objectives, "trial": {"executor": row.executor}}
    )
    return Study(
        id=row.id,
        name=row.name,
        state=row.state,
        reason=row.reason,
        spec=spec | {"limits": row.limits},
        notes=row.notes,
        archived=row.archived,
        tags=row.tags,
        user_attrs=attributes(row.user_attrs),
        counts=TrialCounts(
            waiting=counts.waiting,
            running=counts.running,
            complete=counts.complete,
            pruned=counts.pruned,
            fail=counts.fail,
            infeasible=counts.infeasible,
        ),
        best_value=counts.best_value if raced is None else raced.repeated.mean,
        best_trial=counts.best_trial if raced is None else raced.trial,
        best_repeats=None if raced is None else raced.repeated,
        revision=row.revision,
        created_at=row.created_at,
        finished_at=row.finished_at,
        created_by=row.created_by,
        digest=row.spec_digest,
        space_version=len(row.space_edits) + 1,
        space_edits=[SpaceEdit.model_validate(edit) for edit in row.space_edits],
        strategy=None if row.strategy is None else Strategy.model_validate(row.strategy),
    )


def trial(row: Row[Any], study_name: str, objectives: Iterable[str]) -> Trial:
    """A row of `trials` (with `last_step` where the query has it)."""
    values = None if row.objective_values is None else json.loads(row.objective_values)
    duration = None
    if row.started_at is not None and row.finished_at is not None:
        duration = (row.finished_at - row.started_at).total_seconds()
    return Trial(
        id=row.id,
        number=row.number,
        study=study_name,
        study_id=row.study_id,
        state=row.state,
        reason=row.reason,
        error=row.error,
        notes=row.notes,
        params=json.loads(row.params),
        values=None if values is None else dict(zip(objectives, values, strict=False)),
        feasible=None if row.violation is None else row.violation <= 0,
        constraints=None if row.constraint_values is None else json.loads(row.constraint_values),
        user_attrs=attributes(row.user_attrs),
        origin=row.origin,
        parent=row.parent,
        attempt=row.epoch,
        worker=row.worker,
        last_step=getattr(row, "last_step", None),
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        duration=duration,
        revision=row.revision,
    )


def attributes(stored: str) -> dict[str, Any]:
    """Attributes from their JSON text; the NaN tokens that Optuna may have put there become strings."""
    if stored == "{}":
        return {}
    parsed: dict[str, Any] = json.loads(stored, parse_constant=str)
    return parsed
