"""Intermediate values as they are stored: a trial has one row a step, with its metrics.

The same step and metric again in the same attempt changes nothing; a later attempt, resumed from a checkpoint, overwrites the steps it
goes through again. Whoever writes has passed the fence of `tuner.leases` in the same transaction.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlalchemy import Connection, text

from tuner.wire import Report, encode_numbers


def store(connection: Connection, study_id: int, trial_id: int, epoch: int, reports: Sequence[Report]) -> None:
    steps: dict[int, dict[str, object]] = {}
    for report in reports:
        steps.setdefault(report.step, {}).update(encode_numbers(report.values))
    connection.execute(
        _STORE,
        {
            "trial": trial_id,
            "study": study_id,
            "epoch": epoch,
            "steps": list(steps),
            "metrics": [json.dumps(values) for values in steps.values()],
        },
    )


_STORE = text(
    """
    INSERT INTO reports (trial_id, study_id, epoch, step, metrics)
    SELECT :trial, :study, :epoch, r.step, r.metrics
    FROM unnest(CAST(:steps AS bigint[]), CAST(:metrics AS jsonb[])) AS r(step, metrics)
    ON CONFLICT (trial_id, step) DO UPDATE SET epoch = excluded.epoch, metrics = CASE
        WHEN excluded.epoch > reports.epoch THEN reports.metrics || excluded.metrics
        ELSE excluded.metrics || reports.metrics END
    WHERE excluded.epoch > reports.epoch OR NOT reports.metrics ?& ARRAY(SELECT jsonb_object_keys(excluded.metrics))
    """
)
