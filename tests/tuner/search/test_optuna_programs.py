"""An Optuna program beside the search of a study of ours: what it does to its trials bit by bit is taken in, and breaks nothing."""

from __future__ import annotations

from typing import Any

import optuna
import pytest

from tests.tuner.search.desk import Desk
from tuner import views
from tuner.db.postgres import Database
from tuner.optuna_storage import PostgresStorage
from tuner.search.engine import Engine

SPACE = {"x": {"type": "float", "low": 0.0, "high": 1.0}, "c": {"type": "categorical", "choices": ["a", "b"]}}


def program(desk: Desk) -> optuna.Study:
    return optuna.load_study(study_name=desk.study.name, storage=PostgresStorage(desk.database, project="default"))


def suggest(trial: optuna.Trial, x: float = 1.0) -> float:
    """What the program would do with a trial that it has asked for."""
    trial.suggest_float("x", 0.0, x)
    trial.suggest_categorical("c", ["a", "b"])
    return float(trial.params["x"])


@pytest.mark.parametrize(
    "spec",
    [
        {"repeat": {"max": 3}, "sampler": {"name": "random", "seed": 1}},
        {"repeat": {"max": 3}, "sampler": {"name": "tpe", "n_startup_trials": 2}},
        {"compare": {"by": "c"}},
        {"compare": {"by": "c"}, "pruner": {"name": "promotion", "max_resource": 9}},
        {"sampler": {"name": "gp", "n_startup_trials": 2}},
        {"sampler": {"name": "grid"}, "space": {"x": {**SPACE["x"], "step": 0.25}, "c": SPACE["c"]}},
        {"pruner": {"name": "median", "n_startup_trials": 1, "n_warmup_steps": 0}},
    ],
    ids=lambda spec: "-".join(f"{key}" for key in spec),
)
def test_parameters_that_come_after_the_search_has_looked(
    database: Database, engines: list[Engine], spec: dict[str, Any]
) -> None:
    desk = Desk(database, **{"space": SPACE, "name": "s", "max_trials": 16, **spec})
    engines.append(desk.engine())
    study = program(desk)
    theirs = study.ask()
    theirs.report(0.5, 0)  # judged without parameters
    engines[-1].step()
    step = desk.spec.space.to_json()["x"].get("step")
    theirs.suggest_float("x", 0.0, 1.0, step=step)
    engines[-1].step()
    theirs.suggest_categorical("c", ["a", "b"])
    engines[-1].step()
    study.tell(theirs, 0.0)  # the best of all
    for number in range(10):
        if desk.state()[0] != "RUNNING":
            break
        (lease,) = desk.ask(engines[-1])
        assert set(lease.trial.params) == {"x", "c"}
        desk.tell(lease, 1.0 + number)
        engines[-1].step()
    repeats = [trial for trial in views.iterate_trials(database, "default", desk.study.id) if trial.origin == "repeat"]
    assert all(set(trial.params) == {"x", "c"} for trial in repeats)
    if "repeat" in spec:
        assert 0 in {trial.parent for trial in repeats}
    if desk.spec.sampler.name == "grid":
        cells = [tuple(params.items()) for params in desk.params()]
        assert len(set(cells)) == len(cells) == 10


@pytest.mark.parametrize("sampler", ["gp", "tpe", "nsga2"])
def test_a_constraint_of_its_own(database: Database, engines: list[Engine], sampler: str) -> None:
    options = {"population_size": 2} if sampler == "nsga2" else {"n_startup_trials": 2}
    desk = Desk(database, SPACE, name="s", sampler={"name": sampler, "seed": 1, **options}, outcome_constraints=["loss <= 100"])
    engines.append(desk.engine())
    study = program(desk)
    for number in range(6):
        if number == 2:
            theirs = study.ask()
            value = suggest(theirs)
            theirs.set_constraint("mine", -1.0)
            study.tell(theirs, value)
        (lease,) = desk.ask(engines[-1])
        desk.tell(lease, 1.0 + number)
    assert desk.states() == ["COMPLETE"] * 7


def test_another_range_in_a_study_that_repeats(database: Database, engines: list[Engine]) -> None:
    """Their trials are not taken for ours: the proposals keep to the study's own range."""
    desk = Desk(database, SPACE, name="s", max_trials=20, repeat={"max": 2}, sampler={"name": "tpe", "n_startup_trials": 2})
    engines.append(desk.engine())
    study = program(desk)
    for _ in range(3):
        theirs = study.ask()
        study.tell(theirs, suggest(theirs, 50.0))
    for number in range(8):
        (lease,) = desk.ask(engines[-1])
        desk.tell(lease, 100.0 + number)
        trial = views.get_trial(database, "default", lease.trial.id)
        assert trial.origin == "repeat" or 0.0 <= trial.params["x"] <= 1.0
