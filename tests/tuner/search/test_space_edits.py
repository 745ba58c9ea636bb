"""A running search goes on over an edited space: with every sampler, in place, and as a search that was just started would."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from time import monotonic
from typing import Any

import optuna
import pytest
from sqlalchemy import text

from tests.tuner.search.desk import FINITE, Desk, loss
from tuner import studies, trials, views
from tuner.db.postgres import Database
from tuner.errors import InvalidValue
from tuner.optuna_storage import PostgresStorage
from tuner.parameters import is_same
from tuner.search import importance
from tuner.search.engine import Engine
from tuner.spec import StudySpec
from tuner.wire import StudyPatch, TrialCreate

SPACE = {
    "lr": {"type": "float", "low": 1e-3, "high": 0.1, "log": True},
    "drop": {"type": "float", "low": 0.2, "high": 0.6, "step": 0.1},
    "width": {"type": "int", "low": 16, "high": 64},
    "opt": {"type": "categorical", "choices": ["sgd", "adam"]},
    "beta": {"type": "float", "low": 0.5, "high": 0.999, "when": {"opt": ["adam"]}},
}
NUMBERS = {name: SPACE[name] for name in ("lr", "drop", "width")}
EDIT: dict[str, Any] = {"lr": {"high": 10.0}, "drop": {"low": 0.0}, "width": {"high": 256}, "opt": {"append": ["lion"]}}
SAMPLERS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"name": "tpe", "n_startup_trials": 5}, {}),
    ({"name": "tpe", "group": True, "n_startup_trials": 5}, {}),
    ({"name": "tpe", "multivariate": False, "n_startup_trials": 5}, {}),
    pytest.param({"name": "gp", "n_startup_trials": 5}, {}, marks=pytest.mark.slow),
    ({"name": "cmaes", "n_startup_trials": 2, "popsize": 4}, {}),
    ({"name": "cmaes", "with_margin": True, "n_startup_trials": 2, "popsize": 4}, {}),
    ({"name": "nsga2", "population_size": 5}, {}),
    ({"name": "nsga3", "population_size": 5}, {}),
    ({"name": "tpe", "n_startup_trials": 5}, {"objectives": [{"name": name, "direction": "minimize"} for name in ("a", "b")]}),
]


def edit(desk: Desk, space: Mapping[str, Any], **patch: Any) -> None:
    studies.update_study(desk.database, "default", desk.study.id, StudyPatch(space=dict(space), **patch), updated_by="ann")


def values(desk: Desk) -> Any:
    return lambda params: tuple(loss(params) + place for place in range(len(desk.spec.objectives)))


def run(desk: Desk, engines: list[Engine], count: int, *, restart: bool) -> list[dict[str, Any]]:
    def engine() -> Engine:
        if restart and engines:
            engines.pop().close()
        if not engines:
            engines.append(desk.engine())
        return engines[0]

    before = sum(state == "COMPLETE" for state in desk.states())
    desk.run(engine, count, values(desk))
    assert desk.states().count("COMPLETE") == before + count
    return desk.params()


@pytest.mark.parametrize("sampler, spec", SAMPLERS, ids=lambda item: "-".join(map(str, item.values())) if "name" in item else "")
def test_every_sampler_takes_the_edit_in_and_restarts_change_nothing(
    database: Database, engines: list[Engine], sampler: dict[str, Any], spec: dict[str, Any]
) -> None:
    found = []
    for restart in (False, True):
        desk = Desk(database, SPACE, name=f"s{restart}", sampler={"seed": 3, **sampler}, **spec)
        while engines:
            engines.pop().close()
        first = run(desk, engines, 12, restart=restart)
        edit(desk, EDIT)
        run(desk, engines, 12, restart=restart)
        edit(desk, {"width": {"freeze": 200}, "opt": {"freeze": "adam"}})
        run(desk, engines, 8, restart=restart)
        edit(desk, {"width": {"unfreeze": True}, "opt": {"unfreeze": True}})
        found.append(run(desk, engines, 8, restart=restart))
        study = views.get_study(database, "default", desk.study.id)
        kept = StudySpec.parse(study.spec).space
        complete = [params for params, state in zip(found[-1], desk.states(), strict=True) if state == "COMPLETE"]
        assert found[-1][: len(first)] == first
        for params in complete:
            assert kept.check(params) == params
        starts = [each.first_number for each in study.space_edits]
        ranges = [found[-1][low:high] for low, high in zip(starts, [*starts[1:], None], strict=True)]
        assert any(params["lr"] > 0.1 or params["width"] > 64 or params["opt"] == "lion" for params in ranges[0])
        assert {(params["width"], params["opt"]) for params in ranges[1]} == {(200, "adam")}
        assert all("beta" in params for params in ranges[1])
        assert any(params["width"] != 200 for params in ranges[2])
    assert found[0] == found[1]
    with database.read() as connection:
        attrs = [row.system_attrs for row in connection.execute(text("SELECT system_attrs FROM studies"))]
    assert not any("search_error" in each for each in attrs)


@pytest.mark.parametrize("name", ["random", "qmc"])
def test_samplers_that_run_ahead_take_the_edit_in_once_what_waits_is_used_up(
    database: Database, engines: list[Engine], name: str
) -> None:
    found, num_before = [], []
    for restart in (False, True):
        desk = Desk(database, SPACE, name=f"s{restart}", sampler={"seed": 3, "name": name})
        while engines:
            engines.pop().close()
        run(desk, engines, 12, restart=False)
        edit(desk, EDIT)
        found.append(run(desk, engines, 60, restart=restart)[:72])
        (edited,) = views.get_study(database, "default", desk.study.id).space_edits
        assert 12 < edited.first_number < 60
        num_before.append(edited.first_number)  # how much runs ahead depends on how quickly trials are asked for
        before, after = found[-1][: edited.first_number], found[-1][edited.first_number :]
        assert not any(params["lr"] > 0.1 or params["width"] > 64 or params["opt"] == "lion" for params in before)
        assert sum(params["lr"] > 0.1 for params in after) > len(after) // 4
        assert "FAIL" not in desk.states()
    assert found[0][: min(num_before)] == found[1][: min(num_before)]


def test_cmaes_and_gp_forget_what_they_knew_of_the_ranges(database: Database, engines: list[Engine]) -> None:
    """Their states are in units of the ranges: each version of the space has its own."""
    for name, marks in (("cmaes", ("cma:generation", "cma:2:generation")), ("gp", ("gp:kernels", "gp:2:kernels"))):
        desk = Desk(database, NUMBERS, name=name, sampler={"name": name, "seed": 3, "n_startup_trials": 3})
        run(desk, engines, 8, restart=False)
        edit(desk, {"lr": {"high": 10.0}})
        run(desk, engines, 6, restart=False)
        with database.read() as connection:
            query = text("SELECT number, system_attrs FROM trials WHERE study_id = :study ORDER BY number")
            rows = connection.execute(query, {"study": desk.study.id}).all()
        assert {row.number for row in rows if f'"{marks[0]}"' in row.system_attrs} == set(range(3, 8))
        assert {row.number for row in rows if f'"{marks[1]}"' in row.system_attrs} == set(range(8, 14))


@pytest.mark.parametrize("name", ["grid", "brute_force"])
def test_cells_grow_and_what_a_freeze_has_cancelled_comes_back(database: Database, engines: list[Engine], name: str) -> None:
    desk = Desk(database, FINITE, sampler={"name": name, "seed": 3})
    run(desk, engines, 4, restart=False)  # and suggestions for two more wait
    assert "WAITING" in desk.states()
    edit(desk, {"opt": {"append": "d", "freeze": "d"}})
    assert "WAITING" not in desk.states()
    assert len([params for params in run(desk, engines, 4, restart=False) if params["opt"] == "d"]) == 4
    engines[0].step()
    assert desk.state() == ("COMPLETE", "space_exhausted")
    edit(desk, {"opt": {"unfreeze": True}, "depth": {"high": 5}})
    studies.resume(database, "default", desk.study.id)
    run(desk, engines, 20 - 8, restart=False)
    engines[0].step()
    assert desk.state() == ("COMPLETE", "space_exhausted")
    complete = [params for params, state in zip(desk.params(), desk.states(), strict=True) if state == "COMPLETE"]
    assert len(complete) == len({tuple(params.values()) for params in complete}) == 20


def test_a_freeze_cancels_what_the_search_has_made_ahead_only(database: Database, engines: list[Engine]) -> None:
    desk = Desk(database, SPACE, sampler={"name": "random", "seed": 1})
    engines.append(desk.engine())
    running = desk.ask(engines[0])[0]
    trials.create(database, "default", desk.study.id, TrialCreate(params={"lr": 0.01, "drop": 0.2, "width": 20, "opt": "sgd"}))
    assert desk.states().count("WAITING") > 1
    edit(desk, {"width": {"freeze": 40}})
    assert desk.states().count("WAITING") == 1
    assert desk.take()[0].trial.params["width"] == 20  # somebody asked for it
    desk.tell(running, 1.0)
    assert run(desk, engines, 3, restart=False)[-3:] == [params for params in desk.params()[-3:] if params["width"] == 40]
    with pytest.raises(InvalidValue, match=r"params\.width: is frozen at 40, so it cannot be 41"):
        trials.create(
            database, "default", desk.study.id, TrialCreate(params={"lr": 0.01, "drop": 0.2, "width": 41, "opt": "sgd"})
        )


def test_no_suggestion_of_the_old_space_is_stored_after_the_edit(
    database: Database, engines: list[Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(database, SPACE, sampler={"name": "tpe", "seed": 2})
    engines.append(desk.engine())
    suggest = trials.suggest
    edited = []

    def late(*args: Any) -> list[int]:
        if not edited:
            edited.append(edit(desk, {"width": {"freeze": 33}}))
        return suggest(*args)

    monkeypatch.setattr(trials, "suggest", late)
    (lease,) = desk.ask(engines[0])
    assert lease.trial.params["width"] == 33
    assert lease.trial.number == 0


def test_the_search_of_a_thread_takes_the_edit_in_by_itself(database: Database) -> None:
    desk = Desk(database, SPACE, sampler={"name": "tpe", "seed": 2})
    stop = threading.Event()
    search = threading.Thread(target=Engine(database).run, args=(stop,))
    search.start()
    deadline = monotonic() + 60
    try:
        for number in range(8):
            if number == 4:
                edit(desk, {"opt": {"append": "lion", "freeze": "lion"}})
            found = []
            while not found:
                assert monotonic() < deadline
                desk.demand()
                database.wake("demand", desk.study.id)
                found = desk.take()
            desk.tell(found[0], loss(found[0].trial.params))
    finally:
        stop.set()
        search.join(30)
    complete = [params for params, state in zip(desk.params(), desk.states(), strict=True) if state == "COMPLETE"]
    assert [params["opt"] == "lion" for params in complete] == [False] * 4 + [True] * 4


def test_levels_of_a_comparison_share_the_edit(database: Database, engines: list[Engine]) -> None:
    desk = Desk(database, SPACE, sampler={"name": "tpe", "seed": 2, "n_startup_trials": 3}, compare={"by": "opt"})
    run(desk, engines, 12, restart=False)
    edit(desk, {"lr": {"high": 10.0}, "width": {"freeze": 20}})
    found = run(desk, engines, 12, restart=False)
    assert [sum(params["opt"] == choice for params in found) for choice in ("sgd", "adam")] == [12, 12]
    assert {params["width"] for params in found[12:]} == {20}


def test_importance_and_optuna_read_an_edited_study(database: Database, engines: list[Engine]) -> None:
    """Our importance takes all trials in; Optuna's leaves out what has had several distributions, and does not fail on it."""
    desk = Desk(database, SPACE, name="edited", sampler={"name": "random", "seed": 1})
    run(desk, engines, 12, restart=False)
    edit(desk, EDIT)
    run(desk, engines, 12, restart=False)
    edit(desk, {"width": {"freeze": 40}})
    run(desk, engines, 12, restart=False)
    for method in ("ped_anova", "fanova"):
        shares = importance.of_study(database, "default", "edited", method=method)
        assert {"lr", "drop", "width", "opt"} <= set(shares)
    study = optuna.load_study(study_name="edited", storage=PostgresStorage(database, project="default"))
    frame = study.trials_dataframe()
    assert len(frame) == len(desk.params())
    assert set(frame["params_opt"]) == {"sgd", "adam", "lion"}
    assert isinstance(optuna.importance.get_param_importances(study), dict)
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    assert isinstance(optuna.importance.get_param_importances(study, evaluator=evaluator), dict)
    study.sampler = optuna.samplers.TPESampler(seed=1)
    asked = study.ask({"lr": optuna.distributions.FloatDistribution(1e-3, 10.0, log=True)})
    assert 1e-3 <= asked.params["lr"] <= 10.0
    assert is_same(study.best_trial.value, min(trial.value for trial in study.trials if trial.value is not None))
