"""No sampler makes a trial that breaks a constraint, whoever searches and however often that is replaced."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from sqlalchemy import text

from tests.tuner.search.desk import CONDITIONAL, FINITE, MIXED, Desk, loss
from tuner.db.postgres import Database
from tuner.search.engine import Engine

CONSTRAINTS = ["lr * width <= 1", "depth < 3 or opt == 'adam'"]
TIGHT = ["lr < 1e-4", "drop > 0.45 and depth == 4"]
"""Some 1.4 % of the space: most proposals that no result has guided are thrown away."""
SAMPLERS: list[tuple[dict[str, Any], dict[str, Any], int]] = [
    ({"name": "random"}, CONDITIONAL, 24),
    ({"name": "auto"}, CONDITIONAL, 24),
    ({"name": "tpe", "group": True}, CONDITIONAL, 24),
    ({"name": "tpe"}, MIXED, 24),
    ({"name": "gp", "n_startup_trials": 4}, MIXED, 10),
    ({"name": "cmaes"}, MIXED, 24),
    ({"name": "qmc"}, MIXED, 24),
    ({"name": "nsga2", "population_size": 10}, CONDITIONAL, 24),
    ({"name": "nsga3", "population_size": 10}, MIXED, 24),
]


def _run(desk: Desk, engines: list[Engine], count: int, *, restart: bool) -> list[dict[str, Any]]:
    while engines:
        engines.pop().close()

    def engine() -> Engine:
        if restart and engines:
            engines.pop().close()
        if not engines:
            engines.append(desk.engine())
        return engines[0]

    desk.run(engine, count, lambda params: (loss(params),))
    found = desk.params()[:count]
    assert len(found) == count
    assert all(desk.spec.space.allows(params) for params in found)
    return found


@pytest.mark.parametrize(
    "constraints", [pytest.param(CONSTRAINTS, id="loose"), pytest.param(TIGHT, id="tight", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(
    "sampler, space, count", SAMPLERS, ids=lambda item: item.get("name", "") if isinstance(item, dict) else ""
)
def test_every_trial_is_allowed_and_the_same_after_a_restart(
    database: Database,
    engines: list[Engine],
    sampler: dict[str, Any],
    space: Mapping[str, Any],
    count: int,
    constraints: list[str],
) -> None:
    spec = {"sampler": {"seed": 7, **sampler}, "constraints": constraints}
    found = _run(Desk(database, space, name="undisturbed", **spec), engines, count, restart=False)
    assert len({json.dumps(params, sort_keys=True) for params in found}) > count // 2
    assert found == _run(Desk(database, space, name="disturbed", **spec), engines, count, restart=True)


@pytest.mark.parametrize("name", ["random", "tpe", "qmc"])
def test_a_constraint_that_always_holds_changes_nothing(database: Database, engines: list[Engine], name: str) -> None:
    desks = [
        Desk(database, CONDITIONAL, name=f"with-{len(constraints)}", sampler={"name": name, "seed": 5}, constraints=constraints)
        for constraints in ([], ["lr < 2"])
    ]
    plain, held = (_run(desk, engines, 30, restart=False) for desk in desks)
    assert plain == held


@pytest.mark.parametrize("name", ["grid", "brute_force", "auto"])
def test_cells_that_are_not_allowed_are_left_out(database: Database, engines: list[Engine], name: str) -> None:
    desk = Desk(database, FINITE, sampler={"name": name, "seed": 4}, constraints=["opt == 'a' or depth > 2"], max_trials=None)
    engines.append(desk.engine())
    while desk.state()[0] == "RUNNING":
        for lease in desk.ask(engines[0], 3):
            desk.tell(lease, 1.0)
        engines[0].step()
    assert desk.state() == ("COMPLETE", "space_exhausted")
    assert Counter(map(repr, desk.params())) == Counter(repr(cell) for cell in desk.spec.space.cells())
    assert len(desk.params()) == 4 + 2 + 2


@pytest.mark.parametrize("name", ["random", "tpe", "cmaes", "auto"])
def test_levels_get_equal_budgets_of_allowed_trials(database: Database, engines: list[Engine], name: str) -> None:
    spec = {"sampler": {"name": name, "seed": 3}, "pruner": {"name": "none"}, "compare": {"by": "opt"}}
    desk = Desk(database, CONDITIONAL, constraints=["opt != 'sgd' or lr * width < 0.1", "depth > 1"], **spec)
    found = _run(desk, engines, 24, restart=False)
    assert Counter(params["opt"] for params in found) == {"sgd": 8, "momentum": 8, "adam": 8}


def test_tpe_fitted_to_rungs(database: Database, engines: list[Engine]) -> None:
    pruner = {"name": "promotion", "max_resource": 9, "min_resource": 1}
    desk = Desk(database, MIXED, sampler={"name": "tpe", "seed": 3}, pruner=pruner, constraints=CONSTRAINTS)
    engines.append(desk.engine())
    for _ in range(30):
        (lease,) = desk.ask(engines[0])
        step, verdict = (lease.trial.resume.step + 1 if lease.trial.resume else 0), "continue"
        while verdict == "continue" and step < 9:
            verdict = desk.report(lease, step, loss(lease.trial.params))
            engines[0].step()
            step += 1
        desk.tell(lease, loss(lease.trial.params))
    assert len(desk.params()) > 10
    assert all(desk.spec.space.allows(params) for params in desk.params())


@pytest.mark.parametrize("compare", [None, {"by": "opt"}])
def test_a_space_found_empty_by_the_search_ends_the_study(
    database: Database, engines: list[Engine], compare: dict[str, str] | None
) -> None:
    """Submission refuses such a study; one that is stored all the same must not keep the search busy for ever."""
    desk = Desk(database, MIXED, sampler={"name": "random"}, pruner={"name": "none"}, constraints=["depth > 1"], compare=compare)
    impossible = json.dumps(desk.spec.to_json() | {"constraints": ["depth > 9"]})
    with database.begin() as connection:
        connection.execute(text("UPDATE studies SET spec = :spec WHERE id = :id"), {"spec": impossible, "id": desk.study.id})
    engines.append(desk.engine())
    desk.demand()
    for _ in range(4):
        engines[0].step()
    assert desk.params() == []
    assert desk.state() == ("COMPLETE", "space_exhausted")
