"""Grid and brute force: each cell once, a crashed one again, whoever runs them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.tuner.search.desk import FINITE, Desk
from tuner import trials
from tuner.db.postgres import Database
from tuner.search.engine import Engine
from tuner.wire import TrialCreate

TREE = {
    "opt": {"type": "categorical", "choices": ["sgd", "adam", 1, "1", None]},
    "momentum": {"type": "float", "low": 0.0, "high": 0.3, "step": 0.1, "when": {"opt": "sgd"}},
    "depth": {"type": "int", "low": 2, "high": 6, "step": 2},
}


@pytest.fixture
def engine(database: Database) -> Iterator[Engine]:
    engine = Engine(database)
    yield engine
    engine.close()


def _cells(desk: Desk) -> list[str]:
    return [repr(cell) for cell in desk.spec.space.cells()]


def _tried(desk: Desk) -> list[str]:
    return [repr({name: params[name] for name in desk.spec.space.order if name in params}) for params in desk.params()]


@pytest.mark.parametrize("name", ["grid", "brute_force"])
@pytest.mark.parametrize("max_trials", [None, 1000])
def test_each_cell_once_then_complete(database: Database, engine: Engine, name: str, max_trials: int | None) -> None:
    desk = Desk(database, TREE, sampler={"name": name, "seed": 4}, max_trials=max_trials)
    while taken := desk.ask(engine, 4):
        for lease in taken:
            desk.tell(lease, 1.0)
        engine.step()
        if desk.state()[0] != "RUNNING":
            break
    assert desk.state() == ("COMPLETE", "space_exhausted")
    assert len(_tried(desk)) == (4 + 4) * 3
    assert Counter(_tried(desk)) == Counter(_cells(desk))


def test_grid_is_shuffled_by_the_seed_and_brute_force_is_not(database: Database, engine: Engine) -> None:
    orders = []
    for name, seed in (("grid", 1), ("grid", 2), ("brute_force", 1)):
        desk = Desk(database, FINITE, name=f"{name} {seed}", sampler={"name": name, "seed": seed}, max_trials=None)
        desk.run(lambda: engine, 12, lambda params: (1.0,))
        orders.append(_tried(desk))
    assert orders[0] != orders[1]
    assert orders[2] == _cells(desk)


def test_a_failed_cell_is_tried_again_until_its_attempts_are_spent(database: Database, engine: Engine) -> None:
    desk = Desk(database, FINITE, sampler={"name": "brute_force"}, limits={"max_attempts": 3})
    (first,) = desk.ask(engine)
    desk.fail(first)
    (cancelled,) = desk.ask(engine)
    trials.cancel(database, "default", cancelled.trial.id)
    desk.fail(cancelled, reason="cancelled")
    failures = 1
    while desk.state()[0] == "RUNNING":
        engine.step()
        for lease in desk.take(1) or desk.ask(engine):
            if lease.trial.params == first.trial.params:
                desk.fail(lease)
                failures += 1
            else:
                desk.tell(lease, 1.0)
        engine.step()
    counted = Counter(_tried(desk))
    assert failures == 3
    assert counted.pop(repr(dict(first.trial.params))) == 3
    assert set(counted.values()) == {1}
    assert len(counted) == 11
    assert desk.state() == ("COMPLETE", "space_exhausted")


def test_enqueued_and_added_cells_are_not_repeated(database: Database, engine: Engine) -> None:
    desk = Desk(database, FINITE, sampler={"name": "grid", "seed": 1})
    trials.create(database, "default", desk.study.id, TrialCreate(params={"opt": "a", "depth": 2}))
    trials.create(
        database,
        "default",
        desk.study.id,
        TrialCreate.model_validate({"params": {"opt": "c", "depth": 4}, "state": "COMPLETE", "values": {"loss": 1.0}}),
    )
    while desk.state()[0] == "RUNNING":
        for lease in desk.ask(engine, 3):
            desk.tell(lease, 1.0)
        engine.step()
    assert Counter(_tried(desk)) == Counter(_cells(desk))


def test_the_study_waits_for_the_last_trials_which_may_fail(database: Database, engine: Engine) -> None:
    desk = Desk(database, FINITE, sampler={"name": "grid"})
    taken = desk.ask(engine, 12)
    engine.step()
    assert desk.state() == ("RUNNING", None)
    for lease in taken[1:]:
        desk.tell(lease, 1.0)
    desk.fail(taken[0])
    engine.step()
    assert desk.state() == ("RUNNING", None)
    (again,) = desk.ask(engine)
    assert again.trial.params == taken[0].trial.params
    desk.tell(again, 1.0)
    engine.step()
    assert desk.state() == ("COMPLETE", "space_exhausted")
