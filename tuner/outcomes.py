"""What each trial of a study came to, read at once for comparisons and advice, which are pure.

A trial's value is what was told; a pruned trial, and one that is paused at a rung, has the last value it reported. Read from the
database for each request. Weakness: all trials of a study are held in memory.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Row, text

from tuner import racing
from tuner.db.postgres import Database
from tuner.errors import FieldError, InvalidValue
from tuner.spec import StudySpec
from tuner.studies import find
from tuner.wire import NON_FINITE, Reason, TrialState


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """One trial. `values` in the order of the study's objectives; None where there is none, or it is NaN."""

    number: int
    state: TrialState
    reason: str | None
    params: Mapping[str, Any]
    values: tuple[float | None, ...]
    seconds: float
    gpu_seconds: float
    repeats: int | None = None
    """The number of the trial it repeats."""
    feasible: bool = True
    """False: it is known to break an outcome constraint, and so is never among the best."""

    @property
    def is_paused(self) -> bool:
        return self.state == TrialState.WAITING and self.reason == Reason.PAUSED_AT_RUNG

    @property
    def is_cancelled(self) -> bool:
        return self.state == TrialState.FAIL and self.reason == Reason.CANCELLED

    @property
    def counts(self) -> bool:
        """Whether it used up budget: it ended, or holds a result at its rung. What a person cancelled does not."""
        return (self.state.is_finished and not self.is_cancelled) or self.is_paused


@dataclass(frozen=True, kw_only=True)
class StudyOutcomes:
    """A study and its trials by number. `spec` None: made through Optuna. `sampler`: the one that was decided on."""

    name: str
    objectives: tuple[str, ...]
    directions: tuple[str, ...]
    spec: StudySpec | None
    sampler: str | None
    max_trials: int | None
    is_finished: bool
    outcomes: tuple[Outcome, ...]
    best: int | None = None
    """Where trials are repeated and `by_configuration` has held them against each other: number of the first trial of the best configuration."""
    best_values: tuple[float, ...] = ()
    """What its trials came to."""

    def by_configuration(self) -> StudyOutcomes:
        """With one outcome for each configuration, its value the mean over its seeds (`tuner.racing`); repeats without a value stay as they are.

        The study itself where it repeats nothing.
        """
        if self.spec is None or self.spec.repeat is None:
            return self
        is_maximized = self.directions[0] == "maximize"
        sign = -1.0 if is_maximized else 1.0
        race = racing.Race(self.spec.repeat.max)
        for outcome in self.outcomes:
            loss = racing.loss(outcome.values[0], is_maximized=is_maximized, is_feasible=outcome.feasible)
            race.take_in(outcome.number, outcome.state, outcome.reason, loss, outcome.repeats)
        best, merged = race.incumbent, []
        for outcome in self.outcomes:
            found = race.configurations[outcome.number if outcome.repeats is None else outcome.repeats]
            if outcome.repeats is None and found.num_seeds > 1 and found.is_complete:
                merged.append(replace(outcome, values=(sign * found.mean,)))
            elif outcome.repeats is None or outcome.state == TrialState.FAIL:
                merged.append(outcome)
        return replace(
            self,
            outcomes=tuple(merged),
            best=None if best is None else best.number,
            best_values=() if best is None else tuple(sign * loss for loss in best.losses.values()),
        )

    def index_of(self, metric: str | None) -> int:
        """Index of an objective, the first where none is named. InvalidValue for another name."""
        if metric is None:
            return 0
        if metric not in self.objectives:
            there = ", ".join(self.objectives)
            raise InvalidValue(errors=[FieldError("query.metric", f"study {self.name!r} has no {metric!r}; there are {there}")])
        return self.objectives.index(metric)


def read(database: Database, project: str, study: str | int) -> StudyOutcomes:
    with database.read() as connection:
        return _read(connection, find(connection, project, study))


def _read(connection: Connection, row: Row[Any]) -> StudyOutcomes:
    objectives = tuple(item["name"] for item in row.objectives)
    found = connection.execute(_OUTCOMES, {"study": row.id})
    spec = None if row.spec is None else StudySpec.parse(json.loads(row.spec))
    decided = (row.strategy or {}).get("sampler", {}).get("name")
    return StudyOutcomes(
        name=row.name,
        objectives=objectives,
        directions=tuple(item["direction"] for item in row.objectives),
        spec=spec,
        sampler=decided or (None if spec is None else spec.sampler.name),
        max_trials=row.limits.get("max_trials"),
        is_finished=row.finished_at is not None,
        outcomes=tuple(
            Outcome(
                number=trial.number,
                state=TrialState(trial.state),
                reason=trial.reason,
                params=json.loads(trial.params),
                values=_values(objectives, trial.objective_values, trial.metrics),
                seconds=float(trial.seconds or 0.0),
                gpu_seconds=float(trial.gpu_seconds),
                repeats=trial.repeats,
                feasible=not trial.violation,
            )
            for trial in found
        ),
    )


_OUTCOMES = text(
    """
    SELECT t.number, t.state, t.reason, t.params, t.objective_values, t.gpu_seconds, t.violation, r.metrics,
        CASE WHEN t.origin = 'repeat' THEN t.parent END AS repeats,
        coalesce(a.seconds, extract(epoch FROM t.finished_at - t.started_at)::float) AS seconds
    FROM trials t
    LEFT JOIN (
        SELECT trial_id, sum(extract(epoch FROM ended_at - started_at))::float AS seconds
        FROM attempts WHERE study_id = :study AND ended_at IS NOT NULL GROUP BY trial_id
    ) a ON a.trial_id = t.id
    LEFT JOIN LATERAL (
        SELECT p.metrics FROM reports p WHERE p.trial_id = t.id AND t.objective_values IS NULL AND t.state IN ('PRUNED', 'WAITING')
        ORDER BY p.step DESC LIMIT 1
    ) r ON true
    WHERE t.study_id = :study ORDER BY t.number
    """
)


def _values(objectives: tuple[str, ...], stored: str | None, metrics: Mapping[str, Any] | None) -> tuple[float | None, ...]:
    if stored is not None:
        told = [_number(value) for value in json.loads(stored)]
        return tuple(told[index] if index < len(told) else None for index in range(len(objectives)))
    return tuple(_number((metrics or {}).get(name)) for name in objectives)


def _number(value: object) -> float | None:
    number = NON_FINITE.get(value) if isinstance(value, str) else value
    return None if not isinstance(number, int | float) or math.isnan(number) else float(number)
