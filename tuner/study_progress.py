"""How studies have come along, for lines in a list of them: one statement for all of them, whatever they hold.

The best value so far is read at POINTS places along a study's trials, so that its answer is as small for 100,000 trials as for 100; what
is between two places is put at the later. Weakness: the first objective only.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import text

from tuner.db.postgres import Database
from tuner.errors import FieldError, InvalidValue
from tuner.wire import StudyProgress

POINTS = 40
RECENT = 30
MAX_STUDIES = 50

_BEST = text(
    """
    SELECT s.id, t.place, t.last, t.low, t.high, s.objectives->0->>'direction' AS direction
    FROM studies s CROSS JOIN LATERAL (
        SELECT number::bigint * :points / greatest(s.next_number, 1) AS place, max(number) AS last, min(value) AS low, max(value) AS high
        FROM trials WHERE study_id = s.id AND state = 'COMPLETE' AND value IS NOT NULL AND value NOT IN ('NaN', 'Infinity', '-Infinity')
        GROUP BY 1
    ) t
    WHERE s.project = :project AND s.id = ANY(:ids) ORDER BY s.id, t.place
    """
)
_SPEED = text(
    """
    SELECT s.id, t.ended, extract(epoch FROM t.last - t.first)::float AS seconds
    FROM studies s CROSS JOIN LATERAL (
        SELECT count(*) AS ended, min(finished_at) AS first, max(finished_at) AS last FROM (
            SELECT finished_at FROM trials WHERE study_id = s.id AND finished_at IS NOT NULL ORDER BY finished_at DESC LIMIT :recent
        ) latest
    ) t
    WHERE s.project = :project AND s.id = ANY(:ids) ORDER BY s.id
    """
)


def list_(database: Database, project: str, ids: Sequence[int]) -> list[StudyProgress]:
    """Of the studies of the project among `ids`, at most MAX_STUDIES. InvalidValue for more."""
    if len(ids) > MAX_STUDIES:
        raise InvalidValue(errors=[FieldError("query.ids", f"at most {MAX_STUDIES} studies at once, not {len(ids)}")])
    best: dict[int, list[tuple[int, float]]] = {}
    with database.read() as connection:
        for row in connection.execute(_BEST, {"project": project, "ids": list(ids), "points": POINTS}):
            curve = best.setdefault(row.id, [])
            if row.direction == "maximize":
                value = max(row.high, curve[-1][1]) if curve else row.high
            else:
                value = min(row.low, curve[-1][1]) if curve else row.low
            curve.append((row.last, value))
        speeds = connection.execute(_SPEED, {"project": project, "ids": list(ids), "recent": RECENT}).all()
    return [
        StudyProgress(
            study_id=row.id,
            best=best.get(row.id, []),
            trials_per_hour=(row.ended - 1) * 3600 / row.seconds if row.ended > 2 and row.seconds else None,
        )
        for row in speeds
    ]
