"""Read-only queries: pages, curves, changes. They decide nothing and lock nothing.

Pages are by key, not by offset, so the thousandth costs what the first does. A cursor is the sort key of the last item, base64 of JSON.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import BigInteger, Connection, Row, and_, any_, func, literal, or_, select, text
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Text

from tuner import filters, repeats, rows, trials
from tuner.db.postgres import Database
from tuner.db.tables import attempts, checkpoints, logs, reports, studies
from tuner.db.tables import trials as trial_table
from tuner.errors import FieldError, InvalidValue, TrialNotFound
from tuner.events import horizon
from tuner.studies import find
from tuner.thinning import thin
from tuner.wire import (
    Attempt,
    Change,
    Checkpoint,
    LogLine,
    LogPage,
    ReportItem,
    Study,
    StudyPage,
    StudyState,
    Trial,
    TrialPage,
    TrialReports,
    TrialState,
    encode_numbers,
)

MAX_PAGE = 1000


def get_study(database: Database, project: str, study: str | int) -> Study:
    with database.read() as connection:
        return rows.study(connection, find(connection, project, study))


def list_studies(
    database: Database,
    project: str,
    state: str | None = None,
    q: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
    archived: bool | None = None,
) -> StudyPage:
    """Studies, newest first; `q` is looked for in names and tags. `archived`: only those put away, or only the others."""
    query = select(studies).where(studies.c.project == project).order_by(studies.c.id.desc()).limit(_limit(limit) + 1)
    if state is not None:
        query = query.where(studies.c.state.in_(_states(state, StudyState)))
    if archived is not None:
        query = query.where(studies.c.archived.is_(archived))
    if q:
        pattern = "%" + q.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        query = query.where(or_(studies.c.name.ilike(pattern), sql_cast(studies.c.tags, Text).ilike(pattern)))
    if cursor is not None:
        (last,) = _open_cursor(cursor, int)
        query = query.where(studies.c.id < last)
    with database.read() as connection:
        found = connection.execute(query).all()
        items = rows.studies(connection, found[:limit])
    return StudyPage(items=items, next_cursor=_cursor(items[-1].id) if len(found) > limit else None)


def list_trials(
    database: Database,
    project: str,
    study: str | int,
    state: str | None = None,
    sort: str | None = None,
    cursor: str | None = None,
    limit: int = 100,
    filter: str | None = None,
) -> TrialPage:
    """Trials of a study, by default by number. `filter` and the names in `sort` are of `tuner.filters`; `-` in front for descending."""
    sort = sort or "number"
    descending = sort.startswith("-")
    with database.read() as connection:
        row = find(connection, project, study)
        names = filters.Names.of(_objectives(row), row.spec)
        key = filters.sort_key(sort.removeprefix("-"), names)
        query = select(trial_table, _LAST_STEP, key.label("sort_value")).where(trial_table.c.study_id == row.id)
        if state is not None:
            query = query.where(trial_table.c.state.in_(_states(state, TrialState)))
        if filter:
            query = query.where(filters.condition(filter, names))
        if cursor is not None:
            query = query.where(_after(key, _open_cursor(cursor, object, int), descending=descending))
        order = key.desc().nulls_last() if descending else key.asc().nulls_last()
        found = connection.execute(query.order_by(order, trial_table.c.number).limit(_limit(limit) + 1)).all()
    items = [rows.trial(trial, row.name, names.objectives) for trial in found[:limit]]
    next_cursor = None
    if len(found) > limit:
        last = found[limit - 1]
        next_cursor = _cursor(_sortable(last.sort_value), last.number)
    return TrialPage(items=items, next_cursor=next_cursor)


def numbers(database: Database, project: str, study: str | int, filter: str) -> list[int]:
    """Numbers of the trials that pass a filter, ascending: for who has the columns and wants to know which rows to show."""
    with database.read() as connection:
        row = find(connection, project, study)
        names = filters.Names.of(_objectives(row), row.spec)
        query = select(trial_table.c.number).where(trial_table.c.study_id == row.id, filters.condition(filter, names))
        return list(connection.execute(query.order_by(trial_table.c.number)).scalars())


def iterate_trials(
    database: Database, project: str, study: str | int, state: str | None = None, filter: str | None = None
) -> Iterator[Trial]:
    """All trials of a study that pass, by number, read in pages: for exports."""
    cursor: str | None = None
    while True:
        page = list_trials(database, project, study, state=state, cursor=cursor, limit=MAX_PAGE, filter=filter)
        yield from page.items
        cursor = page.next_cursor
        if cursor is None:
            return


def get_trial(database: Database, project: str, trial_id: int) -> Trial:
    with database.read() as connection:
        return _trial(connection, trials.find(connection, project, trial_id))


def get_trial_by_number(database: Database, project: str, study: str | int, number: int) -> Trial:
    with database.read() as connection:
        row = find(connection, project, study)
        found = connection.execute(
            select(trial_table.c.id).where(trial_table.c.study_id == row.id, trial_table.c.number == number)
        ).scalar_one_or_none()
        if found is None:
            raise TrialNotFound(f"study {row.name!r} has no trial {number}")
        return _trial(connection, trials.find(connection, project, found))


def list_reports(database: Database, project: str, trial_id: int, since_step: int = -1) -> list[ReportItem]:
    with database.read() as connection:
        trials.find(connection, project, trial_id)
        query = select(reports).where(reports.c.trial_id == trial_id, reports.c.step > since_step).order_by(reports.c.step)
        return [_report(row) for row in connection.execute(query)]


def list_attempts(database: Database, project: str, trial_id: int) -> list[Attempt]:
    with database.read() as connection:
        trials.find(connection, project, trial_id)
        query = select(attempts).where(attempts.c.trial_id == trial_id).order_by(attempts.c.epoch)
        return [
            Attempt(
                id=str(row.id),
                epoch=row.epoch,
                worker=row.worker,
                started_at=row.started_at,
                expires_at=row.expires_at,
                heard_at=row.expires_at - timedelta(seconds=row.ttl),
                ended_at=row.ended_at,
                reason=row.reason,
                error=row.error,
                resumed_from=row.resumed_from,
                record=None if row.record is None else json.loads(row.record),
            )
            for row in connection.execute(query)
        ]


def list_checkpoints(database: Database, project: str, trial_id: int) -> list[Checkpoint]:
    with database.read() as connection:
        trials.find(connection, project, trial_id)
        query = select(checkpoints).where(checkpoints.c.trial_id == trial_id).order_by(checkpoints.c.step, checkpoints.c.epoch)
        return [Checkpoint.model_validate(dict(row)) for row in connection.execute(query).mappings()]


def list_logs(
    database: Database, project: str, trial_id: int, cursor: str | None = None, limit: int = 1000, tail: int | None = None
) -> LogPage:
    """Log lines in the order they came, with `tail` the last ones. `next_cursor` stands for the end of them: ask again with it to follow."""
    after = 0 if cursor is None else _open_cursor(cursor, int)[0]
    with database.read() as connection:
        trials.find(connection, project, trial_id)
        query = select(logs).where(logs.c.trial_id == trial_id, logs.c.id > after)
        query = query.order_by(logs.c.id).limit(_limit(limit)) if tail is None else query.order_by(logs.c.id.desc()).limit(tail)
        items = [LogLine.model_validate(dict(row)) for row in connection.execute(query).mappings()]
    if tail is not None:
        items.reverse()
    return LogPage(items=items, next_cursor=_cursor(items[-1].id) if items else cursor)


def best(database: Database, project: str, study: str | int, top: int = 1) -> list[Trial]:
    """The `top` best feasible COMPLETE trials, or of several objectives the Pareto front; empty while there is none.

    In a study that repeats trials the first ones of the best configurations, with the means over their seeds.
    """
    with database.read() as connection:
        row = find(connection, project, study)
        names = _objectives(row)
        if len(names) > 1:
            return _pareto(connection, row)
        value = trial_table.c.value
        order = value.desc() if row.objectives[0]["direction"] == "maximize" else value.asc()
        ranked = repeats.ranked(connection, row, top)
        query = select(trial_table, _LAST_STEP).where(
            trial_table.c.study_id == row.id, trial_table.c.state == TrialState.COMPLETE, value.is_not(None)
        )
        if ranked is None:
            found = connection.execute(query.order_by(order, trial_table.c.number).limit(top)).all()
            return [rows.trial(trial, row.name, names) for trial in found]
        found = connection.execute(query.where(trial_table.c.number.in_([raced.trial for raced in ranked]))).all()
        by_number = {trial.number: rows.trial(trial, row.name, names) for trial in found}
        return [by_number[raced.trial].model_copy(update={"repeats": raced.repeated}) for raced in ranked]


def pareto(database: Database, project: str, study: str | int) -> list[Trial]:
    """Feasible COMPLETE trials that no other dominates, by number."""
    with database.read() as connection:
        return _pareto(connection, find(connection, project, study))


def changes(database: Database, project: str, study: str | int, since: int, max_trials: int = 500) -> Change:
    """What changed since a revision: the study's summary, trials, new reports.

    With more than `max_trials`, or 20 times as many reports, none of either and `more`: read it anew.
    """
    with database.begin() as connection:
        row = find(connection, project, study)
        revision = horizon(connection)
        query = select(trial_table, _LAST_STEP).where(trial_table.c.study_id == row.id, trial_table.c.revision >= since)
        found = connection.execute(query.order_by(trial_table.c.number).limit(max_trials + 1)).all()
        more = len(found) > max_trials
        num_reports = 20 * max_trials
        new_reports = (
            [] if more else connection.execute(_NEW_REPORTS, {"study": row.id, "since": since, "limit": num_reports + 1}).all()
        )
        more |= len(new_reports) > num_reports
        summary = rows.study(connection, row)
    names = _objectives(row)
    return Change(
        study=summary,
        trials=[] if more else [rows.trial(trial, row.name, names) for trial in found],
        reports=[] if more else _by_trial(new_reports),
        revision=revision,
        more=more,
    )


def curves(
    database: Database,
    project: str,
    study: str | int,
    numbers: Sequence[int] | None = None,
    top: int = 20,
    points: int | None = None,
) -> list[TrialReports]:
    """Reports of the trials given, or of the `top` best and the running ones; thinned to about `points` each where that is given."""
    with database.read() as connection:
        row = find(connection, project, study)
        if numbers is None:
            descending = bool(row.objectives) and row.objectives[0]["direction"] == "maximize"
            value = trial_table.c.value
            leading = connection.execute(
                select(trial_table.c.number)
                .where(trial_table.c.study_id == row.id, trial_table.c.state == TrialState.COMPLETE, value.is_not(None))
                .order_by(value.desc() if descending else value.asc())
                .limit(_limit(top))
            ).scalars()
            running = connection.execute(
                select(trial_table.c.number)
                .where(trial_table.c.study_id == row.id, trial_table.c.state == TrialState.RUNNING)
                .order_by(trial_table.c.number.desc())
                .limit(_limit(top))
            ).scalars()
            numbers = [*leading, *running]
        found = connection.execute(_CURVES, {"study": row.id, "numbers": list(numbers)[:MAX_PAGE]}).all()
        return _by_trial(found, points)


def count_live_trials(database: Database) -> dict[str, int]:
    """Trials by state in all studies that have not ended: for the deployment's metrics."""
    query = (
        select(trial_table.c.state, func.count())
        .join(studies, studies.c.id == trial_table.c.study_id)
        .where(studies.c.state.in_([state for state in StudyState if not state.is_finished]))
        .group_by(trial_table.c.state)
    )
    with database.read() as connection:
        return {row[0]: row[1] for row in connection.execute(query)}


_LAST_STEP = select(func.max(reports.c.step)).where(reports.c.trial_id == trial_table.c.id).scalar_subquery().label("last_step")

_NEW_REPORTS = text(
    """
    SELECT t.number, r.step, r.epoch, r.metrics, r.created_at FROM reports r JOIN trials t ON t.id = r.trial_id
    WHERE r.study_id = :study AND r.revision >= :since ORDER BY t.number, r.step LIMIT :limit
    """
)

_CURVES = text(
    """
    SELECT t.number, r.step, r.epoch, r.metrics, r.created_at FROM trials t JOIN reports r ON r.trial_id = t.id
    WHERE t.study_id = :study AND t.number = ANY(:numbers) ORDER BY t.number, r.step
    """
)


def _trial(connection: Connection, row: Row[Any]) -> Trial:
    study = connection.execute(select(studies.c.name, studies.c.objectives).where(studies.c.id == row.study_id)).one()
    last_step = connection.execute(select(func.max(reports.c.step)).where(reports.c.trial_id == row.id)).scalar_one()
    return rows.trial(row, study.name, _objectives(study)).model_copy(update={"last_step": last_step})


def _objectives(study: Row[*tuple[Any, ...]]) -> list[str]:
    return [objective["name"] for objective in study.objectives]


def _report(row: Row[Any]) -> ReportItem:
    return ReportItem(step=row.step, epoch=row.epoch, values=row.metrics, at=row.created_at.timestamp())


def _by_trial(found: Sequence[Row[Any]], points: int | None = None) -> list[TrialReports]:
    grouped: dict[int, list[Row[Any]]] = {}
    for row in found:
        grouped.setdefault(row.number, []).append(row)
    kept = grouped
    if points is not None:
        kept = {number: [of[i] for i in thin([row.metrics for row in of], points)] for number, of in grouped.items()}
    return [
        TrialReports(trial=number, reports=[_report(row) for row in kept[number]], thinned=len(kept[number]) < len(of))
        for number, of in grouped.items()
    ]


def _pareto(connection: Connection, row: Row[Any]) -> list[Trial]:
    from tuner.front import front  # numpy takes a while to import

    query = select(trial_table.c.id, trial_table.c.objective_values).where(
        trial_table.c.study_id == row.id,
        trial_table.c.state == TrialState.COMPLETE,
        trial_table.c.objective_values.is_not(None),
        func.coalesce(trial_table.c.violation, 0.0) <= 0,
    )
    found = connection.execute(query).all()
    signs = [-1.0 if objective["direction"] == "maximize" else 1.0 for objective in row.objectives]
    losses = [[sign * value for sign, value in zip(signs, json.loads(values), strict=True)] for _, values in found]
    ids = [found[index].id for index in front(losses)]
    whole = (
        select(trial_table, _LAST_STEP)
        .where(trial_table.c.id == any_(literal(ids, ARRAY(BigInteger))))
        .order_by(trial_table.c.number)
    )
    return [rows.trial(trial, row.name, _objectives(row)) for trial in connection.execute(whole)]


def _limit(limit: int) -> int:
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidValue(errors=[FieldError("limit", f"must lie between 1 and {MAX_PAGE}")])
    return limit


def _states(given: str, states: type[StudyState] | type[TrialState]) -> list[str]:
    """One state or several with commas between, in any case."""
    names = [name.strip().upper() for name in given.split(",")]
    allowed = [str(state) for state in states]
    if not set(names) <= set(allowed):
        raise InvalidValue(errors=[FieldError("state", f"{given[:50]!r} is not of {', '.join(allowed)}")])
    return names


def _after(key: Any, position: tuple[Any, ...], *, descending: bool) -> Any:
    """Rows behind a cursor position (value, number) in an order with nulls last."""
    value, number = position
    if value is None:
        return and_(key.is_(None), trial_table.c.number > number)
    if isinstance(value, str):  # a time or an infinity, as text in the cursor
        value = sql_cast(value, key.type)
    beyond = key < value if descending else key > value
    return or_(beyond, and_(key == value, trial_table.c.number > number), key.is_(None))


def _sortable(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return encode_numbers(value)
    return value if isinstance(value, int | float | str | None) else str(value)


def _cursor(*position: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")


def _open_cursor(cursor: str, *types: type) -> tuple[Any, ...]:
    try:
        position = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error, UnicodeError, RecursionError):
        position = None
    scalars = (int, float, str, type(None))
    if (
        not isinstance(position, list)
        or len(position) != len(types)
        or not all(
            isinstance(item, scalars if kind is object else kind) and not (isinstance(item, int) and abs(item) >= 2**63)
            for item, kind in zip(position, types, strict=True)
        )
    ):
        raise InvalidValue(errors=[FieldError("cursor", "is not one that this listing has given")])
    return tuple(position)
