"""The finished studies that may lend configurations to a new one: which are alike enough, and their trials as rows of a portfolio.

Alike are studies of the same project and the same objective, name and direction, run in the same way (the same executor, and of users'
code the same entrypoint or program), over the same parameters: each of the same type under the same conditions, numeric ranges that
overlap, choices of which one at least is shared. Data sets and models may differ: what good configurations have in common across them is
what is asked for. Choosing among the trials is `tuner.search.portfolio`. Weakness: a study is read whole up to MAX_TRIALS, later trials only if good.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, text

from tuner.errors import InvalidSpace
from tuner.parameters import CategoricalParameter, Parameter, is_same
from tuner.racing import mean_loss
from tuner.search.portfolio import PastStudy, PastTrial
from tuner.space import SearchSpace
from tuner.spec import Executor, StudySpec
from tuner.wire import TrialState

MAX_STUDIES = 32
"""Studies asked at most, the latest first."""
MAX_TRIALS = 1000
"""Trials read of each: the first so many, and the best of all."""
_NUM_BEST = 50

_STUDIES = text(
    """
    SELECT id, name, spec FROM studies
    WHERE project = :project AND id <> :study AND spec IS NOT NULL AND executor = :executor AND objectives = CAST(:objectives AS jsonb)
        AND state IN ('COMPLETE', 'STOPPED', 'FAIL') AND (CAST(:names AS text[]) IS NULL OR name = ANY(:names))
    ORDER BY finished_at DESC, id DESC LIMIT 500
    """
)
# A trial that failed says something of its configuration only where the values themselves were to blame.
# With a trial all that repeat it.
_TRIALS = text(
    """
    WITH said AS (
        SELECT number, state, params, objective_values, violation, value, CASE WHEN origin = 'repeat' THEN parent ELSE number END AS first
        FROM trials WHERE study_id = :study AND (state IN ('COMPLETE', 'PRUNED') OR (state = 'FAIL' AND reason = 'nan'))
    )
    SELECT number, state, params, objective_values, violation, first FROM said
    WHERE first < :first OR first IN (SELECT first FROM said WHERE state = 'COMPLETE' ORDER BY value * :sign, number LIMIT :best)
    ORDER BY number
    """
)


def find(connection: Connection, project: str, study_id: int, spec: StudySpec, names: Sequence[str] | None) -> list[PastStudy]:
    """The studies alike, the latest first; with `names` only those."""
    objective = spec.objectives[0]
    sign = -1 if objective.direction == "maximize" else 1
    rows = connection.execute(
        _STUDIES,
        {
            "project": project,
            "study": study_id,
            "executor": spec.trial.executor.value,
            "objectives": json.dumps([each.to_json() for each in spec.objectives]),
            "names": None if names is None else list(names),
        },
    )
    alike = []
    for row in rows:
        if is_alike(spec, json.loads(row.spec)):
            alike.append(row)
            if len(alike) == MAX_STUDIES:
                break
    return [
        PastStudy(
            id=row.id,
            name=row.name,
            trials=_merged(
                connection.execute(_TRIALS, {"study": row.id, "first": MAX_TRIALS, "sign": sign, "best": _NUM_BEST}).all(), sign
            ),
        )
        for row in alike
    ]


def _merged(rows: Sequence[Row[Any]], sign: int) -> list[PastTrial]:
    """One trial for each configuration: of those that repeat one another the first, with the mean over their seeds."""
    losses: dict[int, list[float]] = {}
    for row in rows:
        losses.setdefault(row.first, []).append(math.inf if row.violation else _loss(row.objective_values, sign))
    return [
        PastTrial(
            number=row.number,
            params=json.loads(row.params),
            loss=mean_loss(losses[row.number]),
            trained=row.state == TrialState.COMPLETE,
            seeds=len(losses[row.number]),
        )
        for row in rows
        if row.number == row.first
    ]


def is_alike(spec: StudySpec, stored: dict[str, Any]) -> bool:
    """Whether a study with this stored spec asks the same question; its project and objective have been compared."""
    trial = stored["trial"]
    if spec.trial.executor == Executor.ENTRYPOINT and trial.get("entrypoint") != spec.trial.entrypoint:
        return False
    if spec.trial.executor == Executor.COMMAND and list(trial.get("command") or ()) != list(spec.trial.command or ()):
        return False
    try:
        theirs = SearchSpace.parse(stored["space"]).parameters
    except InvalidSpace:  # made by an older version
        return False
    ours = spec.space.parameters
    return theirs.keys() == ours.keys() and all(_overlaps(ours[name], theirs[name]) for name in ours)


def _overlaps(ours: Parameter, theirs: Parameter) -> bool:
    if ours.type != theirs.type or set(ours.when or ()) != set(theirs.when or ()):
        return False
    if isinstance(ours, CategoricalParameter) or isinstance(theirs, CategoricalParameter):
        assert isinstance(ours, CategoricalParameter) and isinstance(theirs, CategoricalParameter)  # noqa: PT018
        return any(is_same(mine, other) for mine in ours.choices for other in theirs.choices)
    return ours.low <= theirs.high and theirs.low <= ours.high


def _loss(stored: str | None, sign: int) -> float:
    """The objective's value, the smaller the better; infinite where there is none."""
    values = json.loads(stored) if stored else None
    loss = math.inf if not values or values[0] is None else sign * float(values[0])
    return math.inf if math.isnan(loss) else loss
