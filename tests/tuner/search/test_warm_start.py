"""Configurations from finished studies: whose, run first and to the end, once, and written on the study."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from sqlalchemy import text

from tests.tuner.search.desk import Desk
from tuner import reports, studies, trials
from tuner.db.postgres import Database
from tuner.search.engine import Engine
from tuner.search.past_studies import is_alike
from tuner.spec import StudySpec
from tuner.wire import TrialCreate

SPACE = {"x": {"type": "float", "low": 0.0, "high": 1.0}, "c": {"type": "categorical", "choices": ["a", "b"]}}


@pytest.fixture
def engine(database: Database) -> Iterator[Engine]:
    engine = Engine(database)
    yield engine
    engine.close()


def _value(params: Mapping[str, Any]) -> tuple[float, ...]:
    return (abs(float(params["x"]) - 0.3) + (params["c"] == "b"),)


def _finished(database: Database, name: str, space: Mapping[str, Any] = SPACE, count: int = 12, **spec: Any) -> Desk:
    """A study whose trials were run elsewhere."""
    desk = Desk(database, space, name=name, max_trials=count, sampler={"name": "random", "seed": 3}, **spec)
    for place in range(count):
        params = {"x": place / count, "c": "ab"[place % 2]}
        body = {"params": params, "state": "COMPLETE", "values": {desk.spec.objectives[0].name: _value(params)[0]}}
        trials.create(database, "default", desk.study.id, TrialCreate.model_validate(body))
    studies.stop(database, "default", desk.study.id)
    return desk


def _origins(desk: Desk) -> list[str]:
    with desk.database.read() as connection:
        query = text("SELECT origin FROM trials WHERE study_id = :id ORDER BY number")
        return list(connection.execute(query, {"id": desk.study.id}).scalars())


def _strategy(desk: Desk) -> dict[str, Any]:
    with desk.database.read() as connection:
        query = text("SELECT strategy FROM studies WHERE id = :id")
        found: dict[str, Any] = connection.execute(query, {"id": desk.study.id}).scalar_one()
        return found


def test_the_best_of_finished_studies_go_first(database: Database, engine: Engine) -> None:
    past = _finished(database, "past")
    desk = Desk(database, SPACE, name="new", max_trials=40)
    (first,) = desk.ask(engine)
    assert first.trial.params == {"x": 4 / 12, "c": "a"}
    assert _origins(desk) == ["portfolio"] * 8
    later = desk.ask(engine, 9)
    assert _origins(desk) == ["portfolio"] * 8 + ["suggested"] * 2
    assert [lease.trial.number for lease in later] == list(range(1, 10))
    strategy = _strategy(desk)
    assert [lent["trial"] for lent in strategy["portfolio"]] == list(range(8))
    assert strategy["portfolio"][0] == {"trial": 0, "study": "past", "study_id": past.study.id, "source_trial": 4}
    assert strategy["reasons"][-1] == "8 configurations come from past; they go first and are trained in full."


def test_a_quarter_at_most_and_behind_what_people_enqueued(database: Database, engine: Engine) -> None:
    _finished(database, "past")
    desk = Desk(database, SPACE, name="new", max_trials=12)
    trials.create(database, "default", desk.study.id, TrialCreate(params={"x": 0.9, "c": "b"}))
    taken = desk.ask(engine, 12)
    assert [lease.trial.number for lease in taken] == list(range(12))
    assert _origins(desk) == ["enqueued"] + ["portfolio"] * 3 + ["suggested"] * 8
    for lease in taken:
        desk.tell(lease, 1.0)
    engine.step()
    assert desk.state() == ("COMPLETE", "max_trials")


def test_enqueued_trials_may_leave_no_room(database: Database, engine: Engine) -> None:
    _finished(database, "past")
    desk = Desk(database, SPACE, name="new", max_trials=1)
    trials.create(database, "default", desk.study.id, TrialCreate(params={"x": 0.9, "c": "b"}))
    desk.demand(3)
    engine.step()
    assert _origins(desk) == ["enqueued"]


@pytest.mark.parametrize("spec", [{"warm_start": False}, {"sampler": {"name": "random"}}, {"warm_start": {"studies": ["other"]}}])
def test_off_with_one_word(database: Database, engine: Engine, spec: dict[str, Any]) -> None:
    _finished(database, "past")
    desk = Desk(database, SPACE, name="new", **spec)
    desk.ask(engine, 3)
    assert set(_origins(desk)) == {"suggested"}
    assert _strategy(desk)["portfolio"] == []


def test_only_the_studies_named(database: Database, engine: Engine) -> None:
    for name in ("one", "two"):
        _finished(database, name)
    desk = Desk(database, SPACE, name="new", warm_start={"studies": ["one"]}, sampler={"name": "random"})
    desk.ask(engine)
    assert {lent["study"] for lent in _strategy(desk)["portfolio"]} == {"one"}


def test_named_studies_that_lend_nothing_are_named(database: Database, engine: Engine) -> None:
    _finished(database, "past")
    studies.stop(database, "default", Desk(database, {"y": {"type": "float", "low": 0.0, "high": 1.0}}, name="other").study.id)
    desk = Desk(database, SPACE, name="new", warm_start={"studies": ["other", "nobody"]})
    desk.ask(engine)
    reason = _strategy(desk)["reasons"][-1]
    assert (
        reason == "other, nobody: no finished study of the project with the same parameters and objective, so nothing was lent."
    )


def test_a_search_that_takes_over_lends_nothing_again(database: Database, engine: Engine) -> None:
    _finished(database, "past")
    desk = Desk(database, SPACE, name="new")
    desk.ask(engine, 2)
    strategy = _strategy(desk)
    engine.close()
    _finished(database, "late")
    other = desk.engine()
    desk.ask(other, 9)
    other.close()
    assert _strategy(desk) == strategy
    assert _origins(desk).count("portfolio") == 8


def test_a_study_that_runs_lends_nothing_and_neither_does_another_project(database: Database, engine: Engine) -> None:
    running = Desk(database, SPACE, name="running", warm_start=False)
    running.run(lambda: engine, 12, _value)
    _finished(database, "elsewhere")
    with database.begin() as connection:
        connection.execute(text("INSERT INTO projects (name) VALUES ('other')"))
        connection.execute(text("UPDATE studies SET project = 'other' WHERE name = 'elsewhere'"))
    desk = Desk(database, SPACE, name="new")
    desk.ask(engine)
    assert set(_origins(desk)) == {"suggested"}
    assert _strategy(desk)["reasons"][-1].startswith("No finished study")


def test_lent_trials_are_not_judged_by_halving(database: Database, engine: Engine) -> None:
    _finished(database, "past")
    desk = Desk(database, SPACE, name="new", pruner={"name": "promotion", "max_resource": 9, "min_resource": 1})
    taken = desk.ask(engine, 10)
    verdicts = []
    for place, lease in enumerate(taken):
        desk.report(lease, 0, 1.0 - place / 100)
        engine.step()
        verdicts.append(str(reports.get_verdict(database, "default", lease.id, 0).answer.verdict))
    assert verdicts == ["continue"] * 8 + ["continue", "continue"]  # the last two are in the top third when they come
    (late,) = desk.ask(engine)
    desk.report(late, 0, 2.0)
    engine.step()
    assert reports.get_verdict(database, "default", late.id, 0).answer.verdict == "pause"


def test_lent_trials_are_not_judged_by_the_pruner_named(database: Database, engine: Engine) -> None:
    _finished(database, "past")
    desk = Desk(database, SPACE, name="new", pruner={"name": "median", "n_startup_trials": 1, "n_warmup_steps": 0})
    verdicts = []
    for place, lease in enumerate(desk.ask(engine, 10)):
        desk.report(lease, 0, 1.0 + place)
        desk.report(lease, 1, 1.0 + place)
        engine.step()
        verdicts.append(str(reports.get_verdict(database, "default", lease.id, 0).answer.verdict))
        desk.tell(lease, 1.0 + place)
    assert verdicts == ["continue"] * 8 + ["prune"] * 2


# --- alike ---------------------------------------------------------------------------------------------------------------


def _spec(**changes: Any) -> StudySpec:
    body = {"objectives": [{"name": "loss", "direction": "minimize"}], "space": SPACE}
    return StudySpec.parse(body | changes)


@pytest.mark.parametrize(
    "theirs, alike",
    [
        ({}, True),
        ({"space": {**SPACE, "x": {"type": "float", "low": 0.5, "high": 9.0, "log": True}}}, True),
        ({"space": {**SPACE, "c": {"type": "categorical", "choices": ["b", "z"]}}}, True),
        ({"space": {**SPACE, "x": {"type": "float", "low": 1.1, "high": 9.0}}}, False),
        ({"space": {**SPACE, "x": {"type": "int", "low": 0, "high": 1}}}, False),
        ({"space": {**SPACE, "c": {"type": "categorical", "choices": ["y", "z"]}}}, False),
        ({"space": {**SPACE, "x": {**SPACE["x"], "when": {"c": ["a"]}}}}, False),
        ({"space": {"x": SPACE["x"]}}, False),
        ({"space": {**SPACE, "y": SPACE["x"]}}, False),
    ],
)
def test_spaces_that_are_alike(theirs: dict[str, Any], alike: bool) -> None:
    assert is_alike(_spec(), _spec(**theirs).to_json()) is alike


def test_users_code_must_be_the_same() -> None:
    def entrypoint(name: str) -> dict[str, Any]:
        return {"trial": {"executor": "entrypoint", "entrypoint": name}}

    assert is_alike(_spec(**entrypoint("m:f")), _spec(**entrypoint("m:f")).to_json())
    assert not is_alike(_spec(**entrypoint("m:f")), _spec(**entrypoint("m:g")).to_json())
    commands = [{"trial": {"executor": "command", "command": ["python", name, "{x}"]}} for name in ("a.py", "b.py")]
    assert is_alike(_spec(**commands[0]), _spec(**commands[0]).to_json())
    assert not is_alike(_spec(**commands[0]), _spec(**commands[1]).to_json())


@pytest.mark.parametrize(
    "objective",
    [{"name": "other", "direction": "minimize"}, {"name": "loss", "direction": "maximize"}],
    ids=["name", "direction"],
)
def test_another_objective_lends_nothing(database: Database, engine: Engine, objective: dict[str, str]) -> None:
    _finished(database, "past", objectives=[objective])
    desk = Desk(database, SPACE, name="new")
    desk.ask(engine)
    assert set(_origins(desk)) == {"suggested"}
