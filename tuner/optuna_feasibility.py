"""Whether trials that Optuna runs are feasible: what Optuna was told, and the outcome constraints of a study of the service.

Optuna's own way is `trial.set_constraint`, which writes a system attribute. On a study of the service its outcome constraints hold as well,
on what Optuna can tell of: objectives, and the intermediate values of the first. Weakness: metrics beside these are out of Optuna's reach;
there a constraint is met by `trial.set_constraint` under its text.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import select

from tuner import outcome_constraints, violations
from tuner.db.postgres import Database
from tuner.db.tables import studies
from tuner.outcome_constraints import PREFIX, OutcomeConstraint


class Feasibility:
    """Judges trials of one project. Remembers of studies what never changes; for any number of threads."""

    def __init__(self, database: Database, project: str) -> None:
        self._database = database
        self._project = project
        self._lock = threading.Lock()
        self._studies: dict[int, tuple[tuple[OutcomeConstraint, ...], tuple[str, ...]]] = {}
        self._set: set[int] = set()  # ids of trials under way for which Optuna has set a constraint

    def note(self, trial_id: int, key: str) -> None:
        """A system attribute has been written."""
        if key == PREFIX[:-1] or key.startswith(PREFIX):
            with self._lock:
                self._set.add(trial_id)

    def forget(self, trial_id: int) -> None:
        with self._lock:
            self._set.discard(trial_id)

    def is_asked(self, study_id: int, trial_id: int) -> bool:
        """Whether anything can make the trial infeasible."""
        return trial_id in self._set or bool(self._study(study_id)[0])

    def columns(
        self, study_id: int, trial: FrozenTrial, state: TrialState | None = None, values: Sequence[float] | None = None
    ) -> dict[str, Any]:
        """Columns of a trial that ends in this state with these values, or as it has ended."""
        constraints, objectives = self._study(study_id)
        measured: dict[str, float] = {}
        if trial.intermediate_values:
            measured[objectives[0]] = trial.intermediate_values[max(trial.intermediate_values)]
        measured |= dict(zip(objectives, (trial.values if state is None else values) or (), strict=False))
        return violations.columns(constraints, (state or trial.state).name, measured, trial.constraints)

    def _study(self, study_id: int) -> tuple[tuple[OutcomeConstraint, ...], tuple[str, ...]]:
        with self._lock:
            known = self._studies.get(study_id)
        if known is None:
            query = select(studies.c.spec, studies.c.objectives).where(
                studies.c.id == study_id, studies.c.project == self._project
            )
            with self._database.read() as connection:
                row = connection.execute(query).one_or_none()
            if row is None:
                raise KeyError(f"no study has the id {study_id}")
            texts = () if row.spec is None else json.loads(row.spec).get("outcome_constraints", ())
            known = outcome_constraints.read(texts)[0], tuple(item["name"] for item in row.objectives)
            with self._lock:
                self._studies[study_id] = known
        return known
