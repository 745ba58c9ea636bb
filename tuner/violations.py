"""Whether a trial that ends is feasible: what it measured, held against the outcome constraints of its study, as columns of its row.

A metric's value is the one told with the outcome, else the last one reported. A complete trial without a value is infeasible and says so;
of one that was stopped early nothing is held against it that it had no time to measure. The best trial, a reached target and what else asks for column
`value` leave infeasible trials out, for theirs is NULL. Weakness: once judged a trial stays so; constraints cannot be edited.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, text

from tuner import outcome_constraints
from tuner.outcome_constraints import OutcomeConstraint
from tuner.wire import Reason, Report, TrialState

# Numbers come as text, the non-finite ones by the names that Python's float reads too.
_LAST = text(
    """
    SELECT t.id, m.name, (
        SELECT r.metrics->>m.name FROM reports r WHERE r.trial_id = t.id AND r.metrics ? m.name ORDER BY r.step DESC LIMIT 1
    ) AS value
    FROM unnest(CAST(:trials AS bigint[])) AS t(id), unnest(CAST(:metrics AS text[])) AS m(name)
    """
)
_TRIAL = text("SELECT trial_id FROM attempts WHERE id = :lease")
_JUDGE = text("UPDATE trials SET constraint_values = :constraint_values, violation = :violation WHERE id = :id")


UNJUDGED: dict[str, Any] = {"constraint_values": None, "violation": None, "reason": None, "error": None}
"""The columns that may be in the answer of `columns`, but `value`, of a trial that nobody judges."""


def columns(
    constraints: Sequence[OutcomeConstraint],
    state: str,
    measured: Mapping[str, float],
    known: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Columns of a trial that ends in this state, nothing where nobody judges it. `known`: violations found elsewhere, which stand."""
    if state not in (TrialState.COMPLETE, TrialState.PRUNED) or not (constraints or known):
        return {}
    is_complete = state == TrialState.COMPLETE
    found = outcome_constraints.violations(constraints, measured, is_complete=is_complete)
    found |= known or {}
    violation = outcome_constraints.total(found)
    is_judged = violation > 0 or all(each.text in found for each in constraints)
    judged: dict[str, Any] = {
        "constraint_values": json.dumps(found) if found else None,
        "violation": violation if is_judged else None,
    }
    if not is_complete or violation <= 0:
        return judged
    judged |= {"value": None, "reason": Reason.INFEASIBLE}
    missing = [each for each in constraints if each.metric not in measured and each.text not in (known or {})]
    if missing:
        names = ", ".join(outcome_constraints.metrics(missing))
        judged["error"] = f"infeasible: there is no value of {names}; report it, or tell it with the outcome"
    return judged


def measure(
    connection: Connection,
    constraints: Sequence[OutcomeConstraint],
    lease: object,
    told: Mapping[str, float],
    reports: Sequence[Report],
) -> dict[str, float]:
    """The metrics under constraints of the trial that is leased: those told, else the last reported, the reports that come with the tell included."""
    wanted = outcome_constraints.metrics(constraints)
    measured = {name: told[name] for name in wanted if name in told}
    for report in sorted(reports, key=lambda report: -report.step):
        measured = {name: report.values[name] for name in wanted if name in report.values} | measured
    missing = [name for name in wanted if name not in measured]
    if missing and (trial := connection.execute(_TRIAL, {"lease": lease}).scalar_one_or_none()) is not None:
        measured |= last_reported(connection, [trial], missing)[trial]
    return measured


def last_reported(connection: Connection, trial_ids: Iterable[int], metrics: Sequence[str]) -> dict[int, dict[str, float]]:
    """The last reported value of each of these metrics, by trial; without those a trial never reported."""
    found: dict[int, dict[str, float]] = {trial_id: {} for trial_id in trial_ids}
    for row in connection.execute(_LAST, {"trials": list(found), "metrics": list(metrics)}):
        if row.value is not None:
            found[row.id][row.name] = float(row.value)
    return found


def judge_pruned(connection: Connection, constraints: Sequence[OutcomeConstraint], trial_ids: Sequence[int]) -> None:
    """Judge trials that have been ended as PRUNED without their workers, by what they had reported."""
    if not constraints or not trial_ids:
        return
    measured = last_reported(connection, trial_ids, outcome_constraints.metrics(constraints))
    judged = [{"id": trial_id, **columns(constraints, TrialState.PRUNED, measured[trial_id])} for trial_id in trial_ids]
    connection.execute(_JUDGE, judged)
