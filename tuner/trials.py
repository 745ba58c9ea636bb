"""The life of a trial outside of its leases: suggested by the search, enqueued, added, cancelled, retried, judged.

Numbers come from `studies.next_number` under the study's row lock, so `max_trials` holds exactly whatever the number of writers. Leasing
and telling are `tuner.leases`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, func, insert, select, text, update

from tuner import events, intermediate, outcome_constraints, rows, studies, violations
from tuner.db.postgres import Database
from tuner.db.tables import HELD, trials
from tuner.db.tables import studies as study_table
from tuner.errors import Conflict, FieldError, InvalidValue, StudyNotRunning, TrialFinished, TrialNotFound
from tuner.space import CategoricalParameter, FloatParameter, IntParameter, SearchSpace
from tuner.wire import StudyState, Trial, TrialCreate, TrialPatch, TrialState, Verdict


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """A configuration the search proposes. `distributions` as Optuna's JSON form, by parameter."""

    number: int
    params: Mapping[str, Any]
    distributions: Mapping[str, Any]
    system_attrs: Mapping[str, Any] = field(default_factory=dict)
    origin: str = "suggested"
    parent: int | None = None
    """Number of the trial it repeats, or goes on from."""
    source: UUID | None = None
    """The parent's checkpoint from which it goes on."""


def suggest(
    connection: Connection, study_id: int, suggestions: Sequence[Suggestion], space_version: int | None = None
) -> list[int]:
    """Store suggestions as WAITING trials and return the numbers stored, a prefix of those given.

    Empty when the study does not run, when its space is not at the version given, or when other trials have taken the first number meanwhile (the random stream of a suggestion
    belongs to its number: suggest anew). Never goes beyond max_trials. Leaves the study's row locked until the transaction ends.
    """
    row = connection.execute(
        select(
            study_table.c.project,
            study_table.c.state,
            study_table.c.next_number,
            study_table.c.limits,
            (func.jsonb_array_length(study_table.c.space_edits) + 1).label("space_version"),
        )
        .where(study_table.c.id == study_id)
        .with_for_update(key_share=True)
    ).one_or_none()
    if row is None or row.state != StudyState.RUNNING or not suggestions or row.next_number != suggestions[0].number:
        return []
    if space_version not in (None, row.space_version):
        return []
    room = _room(row)
    accepted = list(suggestions if room is None else suggestions[:room])
    if not accepted:
        return []
    connection.execute(
        update(study_table).where(study_table.c.id == study_id).values(next_number=row.next_number + len(accepted))
    )
    connection.execute(
        insert(trials),
        [
            {
                "project": row.project,
                "study_id": study_id,
                "number": suggestion.number,
                "state": TrialState.WAITING,
                "params": json.dumps(dict(suggestion.params)),
                "distributions": json.dumps(dict(suggestion.distributions)),
                "system_attrs": json.dumps(dict(suggestion.system_attrs)),
                "origin": suggestion.origin,
                "parent": suggestion.parent,
                "source": suggestion.source,
            }
            for suggestion in accepted
        ],
    )
    return [suggestion.number for suggestion in accepted]


def judge(connection: Connection, study_id: int, judgements: Mapping[int, tuple[int, Verdict]]) -> None:
    """Store how far the pruner has looked at each trial (by id) and what it found. A verdict to stop stands above it.

    A pause found here is one at a rung, and the reason says so: a paused study that is resumed lets other trials go on, not this one.
    Leaves the study's row locked until the transaction ends.
    """
    studies.lock(connection, study_id)
    connection.execute(
        text(
            # In the order of ids, as the reaper locks them, which leaves the study's row alone.
            """
            WITH l AS MATERIALIZED (
                SELECT id FROM trials WHERE id = ANY(:ids) AND study_id = :study AND state = 'RUNNING' ORDER BY id FOR NO KEY UPDATE
            )
            UPDATE trials t SET judged_step = j.step,
                verdict = CASE WHEN t.verdict = 'continue' THEN j.verdict ELSE t.verdict END,
                reason = CASE WHEN t.verdict IN ('continue', 'pause') AND j.verdict = 'pause' THEN 'paused_at_rung' ELSE t.reason END
            FROM unnest(CAST(:ids AS bigint[]), CAST(:steps AS bigint[]), CAST(:verdicts AS text[])) AS j(id, step, verdict)
            JOIN l ON l.id = j.id
            WHERE t.id = l.id AND t.state = 'RUNNING'
            """
        ),
        {
            "study": study_id,
            "ids": list(judgements),
            "steps": [step for step, _ in judgements.values()],
            "verdicts": [str(verdict) for _, verdict in judgements.values()],
        },
    )


def hold(connection: Connection, study_id: int, trial_ids: Sequence[int]) -> None:
    """Let no worker have these trials, where they still wait, before they are promoted."""
    studies.lock(connection, study_id)
    connection.execute(
        text(
            f"UPDATE trials SET not_before = {HELD}, priority = -1, reason = 'paused_at_rung'"
            " WHERE study_id = :study AND id = ANY(:ids) AND state = 'WAITING'"
        ),
        {"study": study_id, "ids": list(trial_ids)},
    )


def promote(connection: Connection, study_id: int, trial_ids: Sequence[int]) -> list[int]:
    """Let paused trials go on, before new ones; the ids of those that wait still. Empty when the study does not run.

    Leaves the study's row locked until the transaction ends.
    """
    state = connection.execute(
        select(study_table.c.state).where(study_table.c.id == study_id).with_for_update(key_share=True)
    ).scalar_one_or_none()
    if state != StudyState.RUNNING:
        return []
    promoted = connection.execute(
        text(
            "UPDATE trials SET not_before = NULL, priority = 1, reason = NULL"
            " WHERE study_id = :study AND id = ANY(:ids) AND state = 'WAITING' RETURNING id"
        ),
        {"study": study_id, "ids": list(trial_ids)},
    ).scalars()
    return [int(trial_id) for trial_id in promoted]


def close_held(connection: Connection, study_id: int, *, exhausted: bool) -> int:
    """End paused trials as PRUNED at their last report once no trial of the study will be made or go on any more; how many.

    That is so when the study is stopping, has made all of its trials, or, as the caller knows, has none left to make (`exhausted`).
    Whether a paused trial may still be promoted the caller must know too.
    """
    row = connection.execute(
        select(study_table.c.state, study_table.c.next_number, study_table.c.limits, study_table.c.spec)
        .where(study_table.c.id == study_id)
        .with_for_update(key_share=True)
    ).one_or_none()
    if row is None or row.state not in (StudyState.RUNNING, StudyState.STOPPING):
        return 0
    if row.state == StudyState.RUNNING and not exhausted and _room(row) != 0:
        return 0
    closed = list(connection.execute(_CLOSE_HELD, {"study": study_id}).scalars())
    _judge_closed(connection, row.spec, closed)
    return len(closed)


def close_one_held(connection: Connection, study_id: int, trial_id: int) -> None:
    """End a paused trial as PRUNED at its last report."""
    spec = connection.execute(select(study_table.c.spec).where(study_table.c.id == study_id)).scalar_one()
    closed = list(connection.execute(_CLOSE_ONE_HELD, {"study": study_id, "trial": trial_id}).scalars())
    _judge_closed(connection, spec, closed)


def _judge_closed(connection: Connection, spec: str, closed: Sequence[int]) -> None:
    constraints, _ = outcome_constraints.read(json.loads(spec).get("outcome_constraints", ()))
    violations.judge_pruned(connection, constraints, closed)


_HELD_VALUES = intermediate.LAST_VALUES.format(
    names="ARRAY(SELECT i.item->>'name' FROM jsonb_array_elements(s.objectives) WITH ORDINALITY AS i(item, place) ORDER BY i.place)",
    trial="t.id",
)
_CLOSE = f"""
    UPDATE trials t SET state = 'PRUNED', reason = 'pruned', not_before = NULL, finished_at = clock_timestamp(),
        objective_values = (
{_HELD_VALUES})
    FROM studies s
    WHERE s.id = t.study_id AND s.id = :study AND t.state = 'WAITING' AND t.not_before = {HELD}
    """
_CLOSE_ONE_HELD = text(_CLOSE + "AND t.id = :trial RETURNING t.id")
_CLOSE_HELD = text(
    _CLOSE
    + f"""
        AND NOT EXISTS (SELECT FROM trials o WHERE o.study_id = s.id
            AND (o.state = 'RUNNING' OR (o.state = 'WAITING' AND o.not_before IS DISTINCT FROM {HELD})))
    RETURNING t.id
    """
)


def create(database: Database, project: str, study: str | int, body: TrialCreate, request_key: str | None = None) -> Trial:
    """Enqueue a configuration, or add a trial that was finished elsewhere. InvalidValue names the parameter that is wrong."""
    with database.begin() as connection:
        row = studies.find(connection, project, study, lock=True)
        facts = studies.get_facts(database, connection, row.id)
        known = _made_by(connection, facts, request_key)
        if known is not None:
            return known
        if row.spec is None:
            raise StudyNotRunning(f"study {row.name!r} was made through Optuna: enqueue with Optuna's study.enqueue_trial")
        spec = json.loads(row.spec)
        space = SearchSpace.parse(spec["space"], spec.get("constraints", ()))
        params = space.check(body.params)
        values: dict[str, Any] = {
            "params": json.dumps(params),
            "distributions": json.dumps(distributions(space, params)),
            "user_attrs": json.dumps(body.user_attrs),
            "request_key": request_key,
        }
        if body.state is None:
            if body.values is not None:
                raise InvalidValue(
                    errors=[FieldError("values", "only a trial with a final state has values; give state or leave values out")]
                )
            if row.state not in (StudyState.RUNNING, StudyState.PAUSED):
                raise StudyNotRunning(f"study {row.name!r} is {row.state}: trials can be enqueued while it is RUNNING or PAUSED")
            values |= {"state": TrialState.WAITING, "origin": "enqueued", "priority": 1}
        else:
            values |= _finished(body, facts)
        trial = rows.trial(_insert(connection, row, values), facts.name, facts.objectives)
    database.wake("result", row.id)
    database.wake("trials", row.id)
    return trial


def update_trial(database: Database, project: str, trial_id: int, patch: TrialPatch) -> Trial:
    """Change a trial's notes. They decide nothing: a finished trial may be given them too, and nobody is woken."""
    with database.begin() as connection:
        row = find(connection, project, trial_id, lock=True)
        if patch.notes is not None:
            row = connection.execute(
                update(trials).where(trials.c.id == row.id).values(notes=patch.notes).returning(trials)
            ).one()
        facts = studies.get_facts(database, connection, row.study_id)
    return rows.trial(row, facts.name, facts.objectives)


def cancel(database: Database, project: str, trial_id: int) -> Trial:
    """End a trial: at once when it waits, else its worker is told to stop. TrialFinished when it has ended already."""
    with database.begin() as connection:
        row = find(connection, project, trial_id, lock=True)
        if TrialState(row.state).is_finished:
            raise TrialFinished(f"trial {row.number} is {row.state} already")
        if row.state == TrialState.WAITING:
            values = {"state": TrialState.FAIL, "reason": "cancelled", "finished_at": func.clock_timestamp()}
        else:
            values = {"verdict": Verdict.STOP, "reason": "cancelled"}
        row = connection.execute(update(trials).where(trials.c.id == row.id).values(**values).returning(trials)).one()
        events.record(connection, project, row.study_id, "trial_cancelled", row.number)
        facts = studies.get_facts(database, connection, row.study_id)
    database.wake("result", row.study_id)
    return rows.trial(row, facts.name, facts.objectives)


def retry(database: Database, project: str, trial_id: int, request_key: str | None = None) -> Trial:
    """Enqueue the configuration of a trial that FAILed or was PRUNED as a new trial: final states are final."""
    with database.begin() as connection:
        old = find(connection, project, trial_id)
        if old.state not in (TrialState.FAIL, TrialState.PRUNED):
            raise Conflict(f"trial {old.number} is {old.state}: only a trial that is FAIL or PRUNED can be retried")
        row = studies.find(connection, project, old.study_id, lock=True)
        facts = studies.get_facts(database, connection, row.id)
        known = _made_by(connection, facts, request_key)
        if known is not None:
            return known
        if row.state not in (StudyState.RUNNING, StudyState.PAUSED):
            raise StudyNotRunning(f"study {row.name!r} is {row.state}: resume it to retry trials")
        values = {
            "state": TrialState.WAITING,
            "origin": "enqueued",
            "priority": 1,
            "params": old.params,
            "distributions": old.distributions,
            "user_attrs": json.dumps({"retry_of": old.number}),
            "request_key": request_key,
        }
        trial = rows.trial(_insert(connection, row, values), facts.name, facts.objectives)
    database.wake("trials", row.id)
    database.wake("result", row.id)
    return trial


def find(connection: Connection, project: str, trial_id: int, *, lock: bool = False) -> Row[Any]:
    query = select(trials).where(trials.c.id == trial_id, trials.c.project == project)
    if lock:
        query = query.with_for_update(key_share=True)
    row = connection.execute(query).one_or_none() if 0 <= trial_id < 2**63 else None
    if row is None:
        raise TrialNotFound(f"no trial has the id {trial_id} in project {project!r}")
    return row


def distributions(space: SearchSpace, params: Mapping[str, Any]) -> dict[str, Any]:
    """The distributions of these parameters in Optuna's JSON form."""
    return {name: _distribution(space.parameters[name]) for name in params}


def _distribution(parameter: FloatParameter | IntParameter | CategoricalParameter) -> dict[str, Any]:
    if isinstance(parameter, CategoricalParameter):
        return {"name": "CategoricalDistribution", "attributes": {"choices": list(parameter.choices)}}
    kind = "FloatDistribution" if isinstance(parameter, FloatParameter) else "IntDistribution"
    return {
        "name": kind,
        "attributes": {"log": parameter.log, "step": parameter.step, "low": parameter.low, "high": parameter.high},
    }


def _made_by(connection: Connection, facts: studies.StudyFacts, request_key: str | None) -> Trial | None:
    """The trial that the same request has made before; the caller holds the study's row, so that two of them cannot miss each other."""
    if request_key is None:
        return None
    query = select(trials).where(trials.c.study_id == facts.id, trials.c.request_key == request_key)
    found = connection.execute(query).one_or_none()
    return None if found is None else rows.trial(found, facts.name, facts.objectives)


def _insert(connection: Connection, study: Row[Any], values: dict[str, Any]) -> Row[Any]:
    """Insert one trial under the study's row lock, which the caller holds. Conflict at max_trials."""
    if _room(study) == 0:
        raise Conflict(
            f"study {study.name!r} has made all of its {study.limits['max_trials']} trials; raise limits.max_trials first"
        )
    connection.execute(update(study_table).where(study_table.c.id == study.id).values(next_number=study.next_number + 1))
    return connection.execute(
        insert(trials).values(project=study.project, study_id=study.id, number=study.next_number, **values).returning(trials)
    ).one()


def _room(study: Row[*tuple[Any, ...]]) -> int | None:
    """How many trials may still be made; None: any number."""
    max_trials = study.limits.get("max_trials")
    return None if max_trials is None else max(0, max_trials - study.next_number)


def _finished(body: TrialCreate, facts: studies.StudyFacts) -> dict[str, Any]:
    """Columns of a trial that was finished elsewhere."""
    assert body.state is not None
    if not body.state.is_finished:
        raise InvalidValue(
            errors=[FieldError("state", f"{body.state} is not final; give COMPLETE, PRUNED or FAIL, or none to enqueue")]
        )
    columns: dict[str, Any] = {
        "state": body.state,
        "origin": "added",
        # One instant: how long it took elsewhere is not known.
        "started_at": func.statement_timestamp(),
        "finished_at": func.statement_timestamp(),
    }
    if body.values is None:
        if body.state == TrialState.COMPLETE:
            raise InvalidValue(errors=[FieldError("values", f"a COMPLETE trial needs a value for {', '.join(facts.objectives)}")])
        return columns
    problems = [FieldError(f"values.{name}", "is missing") for name in facts.objectives if name not in body.values]
    problems += [FieldError(f"values.{name}", "may not be NaN") for name, value in body.values.items() if math.isnan(value)]
    if problems:
        raise InvalidValue(errors=problems)
    ordered = [body.values[name] for name in facts.objectives]
    return columns | {
        "objective_values": json.dumps(ordered),
        "value": ordered[0] if body.state == TrialState.COMPLETE else None,
        **violations.columns(facts.outcome_constraints, body.state, body.values),
    }
