"""How much each parameter matters for an objective: PED-ANOVA, or fANOVA where asked. Read from the database for each request.

PED-ANOVA (Watanabe et al. 2023) takes in parameters with conditions and stays fast at ten thousand trials; fANOVA (Hutter et al. 2014)
sees only the parameters all trials have. Both come from Optuna; shares sum to 1. Weakness: nothing is cached.
"""

from __future__ import annotations

import json
import math
import warnings
from typing import Any, Literal

from optuna.importance import (
    BaseImportanceEvaluator,
    FanovaImportanceEvaluator,
    PedAnovaImportanceEvaluator,
    get_param_importances,
)
from optuna.samplers import RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial
from sqlalchemy import Connection, Row, text

from tuner import studies
from tuner.db.postgres import Database
from tuner.errors import Conflict, InvalidValue
from tuner.search.history import COLUMNS, History
from tuner.wire import TrialState

MIN_TRIALS = 10
Method = Literal["ped_anova", "fanova"]

# Repeats that diverged put their configuration out of the race, and so out of this.
_TRIALS = text(
    f"""
    SELECT {COLUMNS} FROM trials
    WHERE study_id = :study AND (state = 'COMPLETE' OR (state = 'FAIL' AND reason = 'nan' AND origin = 'repeat')) ORDER BY number
    """
)


def of_study(
    database: Database, project: str, study: str | int, objective: str | None = None, method: Method = "ped_anova"
) -> dict[str, float]:
    """Importance of each parameter for an objective (the first where none is named), the most important first."""
    with database.read() as connection:
        row = studies.find(connection, project, study)
        names = [item["name"] for item in row.objectives]
        if objective is not None and objective not in names:
            raise InvalidValue(f"objective: the study has no {objective!r}; there are {', '.join(names)}")
        history = _load(connection, row)
    return compute(history, 0 if objective is None else names.index(objective), method)


def compute(history: History, objective: int = 0, method: Method = "ped_anova") -> dict[str, float]:
    """As `of_study`, for the trials of a history.

    Conflict with fewer than MIN_TRIALS complete trials, or where their values do not differ or differ beyond what fANOVA can add up.
    """
    complete = history.counts[TrialState.COMPLETE]
    if complete < MIN_TRIALS:
        raise Conflict(f"importance needs at least {MIN_TRIALS} complete trials; there are {complete}")
    # Optuna leaves out what is not finite, and of equal values makes equal shares, or raises.
    if len({trial.values[objective] for trial in history.trials if math.isfinite(trial.values[objective])}) < 2:
        raise Conflict("importance needs trials whose values are finite and differ")
    # Both evaluators take lower values for better where a target is given.
    sign = -1.0 if history.directions[objective].name == "MAXIMIZE" else 1.0

    def target(trial: FrozenTrial) -> float:
        return sign * float(trial.values[objective])

    evaluator: BaseImportanceEvaluator = (
        FanovaImportanceEvaluator(seed=0) if method == "fanova" else PedAnovaImportanceEvaluator()
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a parameter seen in a few trials only: its share is small, and that is the answer
        found = get_param_importances(Study(history.name, history, sampler=RandomSampler()), evaluator=evaluator, target=target)
    if any(math.isnan(share) for share in found.values()):
        raise Conflict(f"the values lie too far apart for {method}; ped_anova goes by their order")
    return {name: float(share) for name, share in sorted(found.items(), key=lambda item: (-item[1], item[0]))}


def _load(connection: Connection, study: Row[Any]) -> History:
    """The complete trials of a study, of those that repeat one another the first, with their mean. A study made through Optuna has no space of ours: its trials tell their own."""
    from tuner.search import distributions, race
    from tuner.spec import StudySpec

    spec = None if study.spec is None else StudySpec.parse(json.loads(study.spec))
    history = History(
        study_id=study.id,
        name=study.name,
        directions=[item["direction"] for item in study.objectives],
        objectives=[item["name"] for item in study.objectives],
        space_version=len(study.space_edits) + 1,
        space={} if spec is None else distributions.of_space(spec.space),
    )
    raced = None if spec is None else race.build(spec, history)
    for row in connection.execute(_TRIALS, {"study": study.id}):
        history.merge_trial(row)
    return raced or history
