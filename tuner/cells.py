"""What the columns of a study leave out, one column at a time and only when somebody wants to see it: summaries of a metric's reports,
attributes, and facts of how a trial was run; and what the study has used of its GPUs.

The columns themselves are `tuner.columns`'. Weakness: names are those that the newest NUM_NAMED trials have, so one that only older trials
have is not offered (it can still be asked for).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, select, text

from tuner.db.postgres import Database
from tuner.db.tables import trials
from tuner.errors import FieldError, InvalidValue
from tuner.studies import find
from tuner.wire import CellNames, Cells, Usage, encode_numbers

NUM_NAMED = 200
_FACTS = {
    "worker": trials.c.worker,
    "attempt": trials.c.epoch,
    "origin": trials.c.origin,
    "parent": trials.c.parent,
    "gpu_seconds": trials.c.gpu_seconds,
}
KINDS = ("metric", "attribute", "fact")


def names(database: Database, project: str, study: str | int) -> CellNames:
    """Which columns `cells` has for the newest trials of a study, each list in the order of the alphabet."""
    with database.read() as connection:
        row = find(connection, project, study)
        newest = {"study": row.id, "count": NUM_NAMED}
        metrics = connection.execute(_METRIC_NAMES, newest).scalars()
        attributes = {name for value in connection.execute(_ATTRIBUTES, newest).scalars() for name in json.loads(value)}
        return CellNames(metrics=list(metrics), attributes=sorted(attributes), facts=list(_FACTS))


def cells(database: Database, project: str, study: str | int, kind: str, name: str) -> Cells:
    """One column of the trials that have it, ordered by number: of a metric `last`, `min` and `max` over its reports (the latter two
    without NaN), else `value`, texts of JSON for what is no scalar. InvalidValue for a kind or a fact that is none."""
    if kind not in KINDS:
        raise InvalidValue(errors=[FieldError("query.kind", f"{kind[:50]!r} is not of {', '.join(KINDS)}")])
    if kind == "fact" and name not in _FACTS:
        raise InvalidValue(errors=[FieldError("query.name", f"{name[:50]!r} is not of {', '.join(_FACTS)}")])
    with database.read() as connection:
        row = find(connection, project, study)
        if kind == "metric":
            found = connection.execute(_SUMMARIES, {"study": row.id, "name": name}).all()
            columns = {part: [encode_numbers(getattr(trial, part)) for trial in found] for part in ("last", "min", "max")}
            return Cells(numbers=[trial.number for trial in found], columns=columns)
        pairs = list(_attribute(connection, row.id, name) if kind == "attribute" else _fact(connection, row.id, name))
    return Cells(numbers=[number for number, _ in pairs], columns={"value": [value for _, value in pairs]})


def usage(database: Database, project: str, study: str | int) -> Usage:
    """GPU-seconds of a study: those of ended leases, and of the ones that run until now."""
    with database.read() as connection:
        row = find(connection, project, study)
        found = connection.execute(_USAGE, {"study": row.id}).one()
        return Usage(gpu_seconds=found.ended + found.running, running_gpus=found.gpus)


def _fact(connection: Connection, study: int, name: str) -> Iterable[tuple[int, Any]]:
    column = _FACTS[name]
    query = select(trials.c.number, column).where(trials.c.study_id == study, column.is_not(None)).order_by(trials.c.number)
    return [(number, value) for number, value in connection.execute(query)]


def _attribute(connection: Connection, study: int, name: str) -> Iterable[tuple[int, Any]]:
    # JSON text that may hold NaN, which jsonb refuses: so it is read here, where the text holds the name at all.
    query = select(trials.c.number, trials.c.user_attrs).where(
        trials.c.study_id == study, trials.c.user_attrs.contains(json.dumps(name), autoescape=True)
    )
    for number, value in connection.execute(query.order_by(trials.c.number)):
        parsed = json.loads(value)
        if name not in parsed:
            continue
        cell = encode_numbers(parsed[name])
        yield number, cell if isinstance(cell, str | int | float | bool | None) else json.dumps(cell)


_METRIC_NAMES = text(
    """
    SELECT DISTINCT name FROM (SELECT id FROM trials WHERE study_id = :study AND epoch > 0 ORDER BY number DESC LIMIT :count) t
    JOIN reports r ON r.trial_id = t.id CROSS JOIN LATERAL jsonb_object_keys(r.metrics) name ORDER BY name
    """
)

_ATTRIBUTES = text(
    "SELECT user_attrs FROM trials WHERE study_id = :study AND user_attrs <> '{}' ORDER BY number DESC LIMIT :count"
)

# The value of the last step: arrays are compared by their first element first.
_SUMMARIES = text(
    """
    SELECT t.number, s.last, s.min, s.max FROM (
        SELECT trial_id, (max(ARRAY[step::float8, value]))[2] AS last, min(value) FILTER (WHERE value <> 'NaN') AS min,
            max(value) FILTER (WHERE value <> 'NaN') AS max
        FROM (SELECT trial_id, step, (metrics->>:name)::float8 AS value FROM reports WHERE study_id = :study OFFSET 0) v
        WHERE value IS NOT NULL GROUP BY trial_id
    ) s JOIN trials t ON t.id = s.trial_id WHERE t.study_id = :study ORDER BY t.number
    """
)

_USAGE = text(
    """
    SELECT (SELECT coalesce(sum(gpu_seconds), 0) FROM trials WHERE study_id = :study)::float8 AS ended,
        coalesce(sum(gpus * extract(epoch FROM clock_timestamp() - started_at)), 0)::float8 AS running,
        coalesce(sum(gpus), 0)::float8 AS gpus
    FROM attempts WHERE study_id = :study AND ended_at IS NULL
    """
)
