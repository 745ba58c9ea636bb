"""What is found out about a study's trials: importance of parameters, comparisons, advice. Worked out anew for each request."""

from __future__ import annotations

from contextlib import suppress
from typing import Literal

from pydantic import Field

from api.auth import READ
from api.routing import Call, Routes
from tuner import outcomes, wire
from tuner.errors import Conflict, FieldError, InvalidValue
from tuner.results import AdviceList, Comparison, Importance

routes = Routes("results")

MAX_STUDIES = 20
"""Studies held against each other at once."""


class ImportanceQuery(wire.Body):
    objective: str | None = Field(default=None, max_length=128)
    method: Literal["ped_anova", "fanova"] = "ped_anova"


class CompareQuery(wire.Body):
    by: str | None = Field(default=None, max_length=500, description="a parameter; without it the one that the study compares")
    metric: str | None = Field(default=None, max_length=128, description="an objective; without it the first")


class CompareStudiesQuery(wire.Body):
    studies: str = Field(max_length=3000, description="names or ids with commas between")
    metric: str | None = Field(
        default=None, max_length=128, description="an objective of all of them; without it the first's first"
    )


# numpy, scipy and Optuna take a second to import: only where somebody asks for what they compute.


@routes.route("GET", "/v1/studies/{study}/importance", READ, answer=Importance)
def get_importance(call: Call, study: str, query: ImportanceQuery) -> Importance:
    """How much each parameter matters for an objective, the most important first; needs ten complete trials."""
    from tuner.search import importance

    shares = importance.of_study(call.database, call.project, study, query.objective, query.method)
    return Importance.model_construct(method=query.method, importance=shares)


@routes.route("GET", "/v1/studies/{study}/compare", READ, answer=Comparison)
def compare_levels(call: Call, study: str, query: CompareQuery) -> Comparison:
    """The levels of a parameter held against each other: which is better, with what certainty, at which cost.

    For any study; the answer's notes say what speaks against its figures. A number's values are cut into four ranges.
    """
    from tuner import comparison

    return comparison.compare_study(outcomes.read(call.database, call.project, study), query.by, query.metric)


@routes.route("GET", "/v1/studies/{study}/advice", READ, answer=AdviceList)
def get_advice(call: Call, study: str) -> AdviceList:
    """The best configuration with its uncertainty, and what to try next: sentences, each with its evidence."""
    from tuner import advice
    from tuner.search import importance

    found = outcomes.read(call.database, call.project, study)
    shares = None
    if len(found.objectives) == 1:
        with suppress(Conflict):  # too few trials for it: then nothing is said about it
            shares = importance.of_study(call.database, call.project, study)
    return advice.advise(found, shares)


@routes.route("GET", "/v1/compare", READ, answer=Comparison)
def compare_studies(call: Call, query: CompareStudiesQuery) -> Comparison:
    """Whole studies held against each other, as the levels of one are."""
    from tuner import comparison

    names = list(dict.fromkeys(name.strip() for name in query.studies.split(",") if name.strip()))
    if not 2 <= len(names) <= MAX_STUDIES:
        raise InvalidValue(
            errors=[FieldError("query.studies", f"must name 2 to {MAX_STUDIES} studies with commas between, not {len(names)}")]
        )
    return comparison.compare_studies([outcomes.read(call.database, call.project, name) for name in names], query.metric)
