"""The best configurations of a study that repeats trials, and how sure their values are: read from the database for each request.

Which one is the best is said by `tuner.racing`: the one with the most seeds, of several that with the best mean. Weakness: one study at a time, all of its
repeats.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, text

from tuner import racing
from tuner.wire import Repeated, TrialState

# What the race has to know: the repeats, also those that diverged, the trials that they repeat, and of all others the best few.
_RESULTS = """
    WITH r AS MATERIALIZED (
        SELECT number, state, reason, value, violation, parent FROM trials
        WHERE study_id = :study AND origin = 'repeat' AND (state = 'COMPLETE' OR (state = 'FAIL' AND reason = 'nan'))
    )
    SELECT number, state, reason, value, violation, parent AS repeats FROM r
    UNION ALL
    SELECT number, state, reason, value, violation, NULL FROM trials
    WHERE study_id = :study AND state = 'COMPLETE' AND number IN (SELECT parent FROM r)
    UNION ALL (
        SELECT number, state, reason, value, violation, NULL FROM trials
        WHERE study_id = :study AND state = 'COMPLETE' AND value > '-Infinity' AND value < 'Infinity' AND origin <> 'repeat'
            AND number NOT IN (SELECT parent FROM r)
        ORDER BY value {order}, number LIMIT :count
    )
    """
_LOWEST, _HIGHEST = (text(_RESULTS.format(order=order)) for order in ("ASC", "DESC"))


@dataclass(frozen=True, kw_only=True)
class RacedBest:
    """The number of the first trial of one of the best configurations, and its value over its seeds."""

    trial: int
    repeated: Repeated


def best(connection: Connection, study: Row[Any]) -> RacedBest | None:
    """None where the study does not repeat trials, and while none is complete."""
    return next(iter(ranked(connection, study, 1) or ()), None)


def ranked(connection: Connection, study: Row[Any], count: int) -> list[RacedBest] | None:
    """The `count` best configurations, the best first; None where the study does not repeat trials."""
    repeat = None if study.spec is None else json.loads(study.spec).get("repeat")
    if repeat is None:
        return None
    maximizes = study.objectives[0]["direction"] == "maximize"
    sign = -1.0 if maximizes else 1.0
    race = racing.Race(repeat["max"])
    for row in connection.execute(_HIGHEST if maximizes else _LOWEST, {"study": study.id, "count": count}):
        loss = racing.loss(row.value, is_maximized=maximizes, is_feasible=not row.violation)
        race.take_in(row.number, TrialState(row.state), row.reason, loss, row.repeats)
    return [
        RacedBest(trial=found.number, repeated=estimate([sign * loss for loss in found.losses.values()]))
        for found in race.ranked[:count]
    ]


def confirm(connection: Connection, study: Row[Any], target: float) -> bool:
    """Whether a target that a trial has reached is reached by the best mean over all the seeds a configuration may have.

    True where the study does not repeat trials.
    """
    found = best(connection, study)
    if found is None:
        return True
    mean, most = found.repeated.mean, json.loads(study.spec)["repeat"]["max"]
    reached = mean >= target if study.objectives[0]["direction"] == "maximize" else mean <= target
    return reached and found.repeated.num_seeds >= most


def estimate(values: Sequence[float]) -> Repeated:
    """The mean of finite values over seeds, with its 95 % interval by Student's t; without one for a single seed."""
    if len(values) == 1:
        return Repeated(mean=values[0], num_seeds=1)
    from tuner import statistics

    mean, low, high = statistics.mean_with_interval(values)
    return Repeated(mean=mean, num_seeds=len(values), low=low, high=high)
