"""Trials as Optuna has them and as our rows have them: the one mapping, both ways, that `tuner.optuna_storage` and `tuner.imports` share.

Parameters are stored by their external values, distributions in Optuna's own JSON, each as text of one row; non-finite intermediate values
as strings, all others as the NaN and Infinity tokens that Python's json writes. With several objectives Optuna has no intermediate values, and its
TPE fails where a pruned trial has some: there the reports are left out. Times: Optuna has naive local ones, we the database's.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection, Row, text

from tuner import outcome_constraints, violations
from tuner.violations import UNJUDGED
from tuner.wire import NON_FINITE, StudyState

TRIAL_COLUMNS = """
    t.id, t.study_id, t.number, t.state, t.params, t.distributions, t.objective_values, t.constraint_values, t.user_attrs, t.system_attrs,
    t.started_at, t.finished_at, (
        SELECT jsonb_object_agg(r.step, r.metrics->(s.objectives->0->>'name')) FROM reports r
        WHERE r.trial_id = t.id AND r.metrics ? (s.objectives->0->>'name') AND jsonb_array_length(s.objectives) = 1
    ) AS intermediate_values
"""
"""Columns of trials t joined with studies s that `to_trial` reads."""

# One row at least for a study that exists. Writers still at work have ids from the horizon on, so the next look finds them.
CHANGED = text(
    f"""
    SELECT CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text) AS bigint) AS horizon, {TRIAL_COLUMNS}
    FROM studies s LEFT JOIN trials t ON t.study_id = s.id AND (t.revision >= :since OR t.state IN ('WAITING', 'RUNNING'))
    WHERE s.id = :study AND s.project = :project
    """
)

# Numbers come from the study's row, under whose lock max_trials is counted; reports come along, so that a finished trial has all of its own.
CREATE_TRIAL = text(
    f"""
    WITH s AS (
        UPDATE studies SET next_number = next_number + 1
        WHERE id = :study AND project = :project AND (spec IS NULL OR :final OR state = '{StudyState.RUNNING}')
            AND next_number < coalesce(CAST(limits->>'max_trials' AS bigint), 2147483647)
        RETURNING id, project, next_number - 1 AS number, objectives->0->>'name' AS metric
    ), t AS (
        INSERT INTO trials (project, study_id, number, state, reason, error, params, distributions, objective_values, value,
            constraint_values, violation, user_attrs, system_attrs, origin, priority, started_at, finished_at)
        SELECT s.project, s.id, s.number, :state, CAST(:reason AS text), CAST(:error AS text), :params, :distributions,
            CAST(:objective_values AS text), CAST(:value AS float), CAST(:constraint_values AS text), CAST(:violation AS float), :user_attrs, :system_attrs, :origin, :priority,
            CASE WHEN :running THEN clock_timestamp() ELSE CAST(:started_at AS timestamptz) END, CAST(:finished_at AS timestamptz)
        FROM s RETURNING id, study_id, number
    ), r AS (
        INSERT INTO reports (trial_id, study_id, epoch, step, metrics)
        SELECT t.id, t.study_id, 0, i.step, jsonb_build_object(s.metric, i.value)
        FROM t, s, unnest(CAST(:steps AS bigint[]), CAST(:metrics AS jsonb[])) AS i(step, value)
    )
    SELECT id, number FROM t
    """
)


def objectives(directions: Sequence[StudyDirection], names: Sequence[str] | None = None) -> list[dict[str, str]]:
    """Column `objectives` of a study made by Optuna, which gives its objectives no names unless it is told to."""
    names = names or (["value"] if len(directions) == 1 else [f"value_{index}" for index in range(len(directions))])
    return [{"name": name, "direction": item.name.lower()} for name, item in zip(names, directions, strict=True)]


def read_trials(connection: Connection, project: str, study_id: int) -> list[FrozenTrial]:
    """All trials of a study by number, within the caller's transaction."""
    found = connection.execute(CHANGED, {"study": study_id, "project": project, "since": 0})
    return sorted((to_trial(row) for row in found if row.id is not None), key=lambda trial: trial.number)


def trial_columns(trial: FrozenTrial) -> dict[str, Any]:
    """Columns of a trial of Optuna's but for its number and its intermediate values."""
    distributions = trial.distributions
    params = {
        name: distributions[name].to_external_repr(distributions[name].to_internal_repr(v)) for name, v in trial.params.items()
    }
    values = None if trial.values is None else [float(value) for value in trial.values]
    stored = ", ".join(f"{json.dumps(name)}: {distribution_to_json(item)}" for name, item in distributions.items())
    return {
        "state": trial.state.name,
        "params": json.dumps(params),
        "distributions": "{" + stored + "}",
        "objective_values": None if values is None else json.dumps(values),
        "value": sortable_value(trial.state, values),
        **UNJUDGED,
        **violations.columns((), trial.state.name, {}, trial.constraints),
        "user_attrs": json.dumps(trial.user_attrs),
        "system_attrs": json.dumps(trial.system_attrs),
        "started_at": _aware(trial.datetime_start),
        "finished_at": _aware(trial.datetime_complete),
    }


def to_trial(row: Row[Any]) -> FrozenTrial:
    reported: dict[str, Any] = row.intermediate_values or {}
    return FrozenTrial(
        number=row.number,
        state=TrialState[row.state],
        value=None,
        values=None if row.objective_values is None else json.loads(row.objective_values),
        datetime_start=_naive(row.started_at),
        datetime_complete=_naive(row.finished_at),
        params=parse(row.params),
        distributions=dict(parse_distributions(row.distributions)),
        user_attrs=parse(row.user_attrs),
        system_attrs=_with_constraints(parse(row.system_attrs), row.constraint_values),
        intermediate_values={step: _number(reported[str(step)]) for step in sorted(map(int, reported))},
        trial_id=row.id,
    )


def _with_constraints(attrs: dict[str, Any], constraint_values: str | None) -> dict[str, Any]:
    """System attributes with a trial's violations where Optuna looks for them, unless it has put them there itself."""
    if constraint_values is None:
        return attrs
    return attrs | outcome_constraints.attributes(json.loads(constraint_values), attrs)


@lru_cache(maxsize=4096)
def parse_distributions(stored: str) -> dict[str, BaseDistribution]:
    """Distributions by parameter. Most trials of a study share the text, so few are parsed; callers copy the dict."""
    return {name: json_to_distribution(json.dumps(item)) for name, item in json.loads(stored).items()}


def parse(stored: str) -> dict[str, Any]:
    parsed: dict[str, Any] = {} if stored == "{}" else json.loads(stored)
    return parsed


def parse_directions(stored: Sequence[dict[str, str]]) -> list[StudyDirection]:
    return [StudyDirection[item["direction"].upper()] for item in stored]


def sortable_value(state: TrialState, values: Sequence[float] | None) -> float | None:
    """Column `value`. A NaN is left out: PostgreSQL would sort it above all numbers."""
    return values[0] if state == TrialState.COMPLETE and values and not math.isnan(values[0]) else None


def _number(stored: float | str) -> float:
    return NON_FINITE[stored] if isinstance(stored, str) else float(stored)


def _aware(time: datetime | None) -> datetime | None:
    return None if time is None else time.astimezone()


def _naive(time: datetime | None) -> datetime | None:
    return None if time is None else time.astimezone().replace(tzinfo=None)
