"""Makes the configurations that finished studies lend the first trials of a study, once, and writes on it where each came from.

They are trained to the end: halving does not judge them. Which ones, is `portfolio` and `past_studies`. Weakness: a study that finishes
later lends nothing to one that has begun.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, text

from tuner import trials
from tuner.search import past_studies, portfolio
from tuner.search.portfolio import Candidate
from tuner.search.rungs import RUNG_KEY
from tuner.space import SearchSpace
from tuner.spec import StudySpec
from tuner.trials import Suggestion

_SET_STRATEGY = text("UPDATE studies SET strategy = CAST(:strategy AS jsonb) WHERE id = :study")


def choose(
    connection: Connection,
    project: str,
    study_id: int,
    spec: StudySpec,
    strategy: Mapping[str, Any],
    limits: Mapping[str, Any],
) -> list[Candidate]:
    """What finished studies lend to one whose strategy asks for it."""
    asked = strategy["warm_start"]
    past = past_studies.find(connection, project, study_id, spec, asked if isinstance(asked, list) else None)
    return portfolio.choose(spec.space, past, portfolio.size(limits.get("max_trials"), limits.get("max_concurrent_trials")))


def suggestions(space: SearchSpace, chosen: Sequence[Candidate], number: int, last_rung: int | None) -> list[Suggestion]:
    """The trials that run these configurations, to the last rung where there are rungs."""
    return [
        Suggestion(
            number=number + place,
            params=candidate.params,
            distributions=trials.distributions(space, candidate.params),
            system_attrs={} if last_rung is None else {RUNG_KEY: last_rung},
            origin="portfolio",
        )
        for place, candidate in enumerate(chosen)
    ]


def store(
    connection: Connection,
    study_id: int,
    spec: StudySpec,
    strategy: Mapping[str, Any],
    number: int,
    chosen: Sequence[Candidate],
    last_rung: int | None,
    space_version: int,
) -> dict[str, Any] | None:
    """Store the trials from `number` on and the strategy that names them, and return it; None when the number is not free any more, or the space has been edited."""
    stored = trials.suggest(connection, study_id, suggestions(spec.space, chosen, number, last_rung), space_version)
    if chosen and not stored:
        return None
    lent = [
        {"trial": trial, "study": candidate.study.name, "study_id": candidate.study.id, "source_trial": candidate.trial.number}
        for trial, candidate in zip(stored, chosen, strict=False)
    ]
    decided = {**strategy, "portfolio": lent, "reasons": [*strategy["reasons"], _reason(lent, strategy["warm_start"], spec)]}
    connection.execute(_SET_STRATEGY, {"study": study_id, "strategy": json.dumps(decided)})
    return decided


def _reason(lent: Sequence[Mapping[str, Any]], asked: bool | Sequence[str], spec: StudySpec) -> str:
    if not lent and not isinstance(asked, bool):
        return (
            f"{', '.join(asked)}: no finished study of the project with the same parameters and objective, so nothing was lent."
        )
    if not lent:
        return "No finished study of the project has the same parameters and objective: nothing was lent."
    names = list(dict.fromkeys(str(each["study"]) for each in lent))
    more = "" if len(names) <= 3 else f" and {len(names) - 3} more"
    ones = "1 configuration comes" if len(lent) == 1 else f"{len(lent)} configurations come"
    kept = "are members like others" if spec.is_population else "are trained in full"
    return f"{ones} from {', '.join(names[:3])}{more}; they go first and {kept}."
