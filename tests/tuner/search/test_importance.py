from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.tuner.search.desk import Desk
from tuner.db.postgres import Database
from tuner.errors import Conflict, InvalidValue
from tuner.search import importance
from tuner.search.engine import Engine

SPACE = {
    "much": {"type": "float", "low": 0.0, "high": 1.0},
    "little": {"type": "float", "low": 0.0, "high": 1.0},
    "kind": {"type": "categorical", "choices": ["a", "b"]},
    "only_b": {"type": "int", "low": 1, "high": 9, "when": {"kind": "b"}},
}


@pytest.fixture
def engine(database: Database) -> Iterator[Engine]:
    engine = Engine(database)
    yield engine
    engine.close()


def _gain(params: Mapping[str, Any]) -> tuple[float, ...]:
    gain = 10.0 * (params["much"] - 0.7) ** 2 + 0.1 * params["little"]
    return (gain, -params["little"])


OBJECTIVES = [{"name": "loss", "direction": "minimize"}, {"name": "gain", "direction": "maximize"}]


@pytest.mark.parametrize("method", ["ped_anova", "fanova"])
def test_the_parameter_that_matters_comes_first(database: Database, engine: Engine, method: importance.Method) -> None:
    desk = Desk(database, SPACE, sampler={"name": "random", "seed": 1}, objectives=OBJECTIVES)
    desk.run(lambda: engine, 80, _gain)
    found = importance.of_study(database, "default", desk.study.id, method=method)
    assert next(iter(found)) == "much"
    assert sum(found.values()) == pytest.approx(1.0)
    assert ("only_b" in found) == (method == "ped_anova")
    assert next(iter(importance.of_study(database, "default", desk.study.name, "gain", method))) == "little"


def test_too_few_trials_or_no_such_objective(database: Database, engine: Engine) -> None:
    desk = Desk(database, SPACE, sampler={"name": "random"}, objectives=OBJECTIVES)
    desk.run(lambda: engine, 9, _gain)
    with pytest.raises(Conflict, match="at least 10 complete trials; there are 9"):
        importance.of_study(database, "default", desk.study.id)
    with pytest.raises(InvalidValue, match="there are loss, gain"):
        importance.of_study(database, "default", desk.study.id, "accuracy")


@pytest.mark.parametrize("method", ["ped_anova", "fanova"])
def test_values_that_say_nothing(database: Database, engine: Engine, method: importance.Method) -> None:
    """All equal, then one that is infinite, then one so large that squares overflow."""
    desk = Desk(database, SPACE, sampler={"name": "random", "seed": 1})
    desk.run(lambda: engine, 10, lambda params: (1.0,))
    with pytest.raises(Conflict, match="differ"):
        importance.of_study(database, "default", desk.study.id, method=method)
    desk.run(lambda: engine, 1, lambda params: (float("inf"),))
    with pytest.raises(Conflict, match="differ"):
        importance.of_study(database, "default", desk.study.id, method=method)
    desk.run(lambda: engine, 20, lambda params: (params["much"],))
    assert next(iter(importance.of_study(database, "default", desk.study.id, method=method))) == "much"
    desk.run(lambda: engine, 1, lambda params: (1e300,))
    if method == "fanova":
        with pytest.raises(Conflict, match="too far apart for fanova"):
            importance.of_study(database, "default", desk.study.id, method=method)
    else:
        assert next(iter(importance.of_study(database, "default", desk.study.id, method=method))) == "much"
