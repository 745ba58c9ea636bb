"""Intermediate values as they are stored: a trial has one row a step, with its metrics.

The same step and metric again in the same attempt changes nothing; a later attempt, resumed from a checkpoint, overwrites the steps it
goes through again. Whoever writes has passed the fence of `tuner.leases` in the same statement.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tuner.wire import Report, encode_numbers

STORE = """
    INSERT INTO reports (trial_id, study_id, epoch, step, metrics)
    SELECT a.trial_id, a.study_id, a.epoch, r.step, r.metrics
    FROM a, unnest(CAST(:steps AS bigint[]), CAST(:metrics AS jsonb[])) AS r(step, metrics)
    ON CONFLICT (trial_id, step) DO UPDATE SET epoch = excluded.epoch, metrics = CASE
        WHEN excluded.epoch > reports.epoch THEN reports.metrics || excluded.metrics
        ELSE excluded.metrics || reports.metrics END
    WHERE excluded.epoch > reports.epoch OR NOT reports.metrics ?& ARRAY(SELECT jsonb_object_keys(excluded.metrics))
"""
"""Part of a statement in which `a` is the attempt that passed the fence; its parameters are those of `parameters`."""


LAST_VALUES = """
    SELECT '[' || array_to_string(ARRAY(
        SELECT p.metrics->>o.name FROM unnest({names}) WITH ORDINALITY AS o(name, place) ORDER BY o.place), ', ') || ']'
    FROM reports p
    WHERE p.trial_id = {trial} AND NOT EXISTS (
        SELECT FROM unnest({names}) AS o(name) WHERE jsonb_typeof(p.metrics->o.name) IS DISTINCT FROM 'number')
    ORDER BY p.step DESC LIMIT 1
"""
"""A query for what a trial that ends early has come to: the objectives `names`, an array, at the last step at which all are numbers."""


def parameters(reports: Sequence[Report]) -> dict[str, list[Any]]:
    steps: dict[int, dict[str, object]] = {}
    for report in reports:
        steps.setdefault(report.step, {}).update(encode_numbers(report.values))
    return {"steps": list(steps), "metrics": [json.dumps(values) for values in steps.values()]}
