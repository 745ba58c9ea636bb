"""The filter language finds what a plain reading of it says, whatever the parameters hold, and says what it cannot read."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from tests.tuner.specs import external
from tuner import studies, trials, views
from tuner.db.postgres import Database
from tuner.errors import InvalidValue
from tuner.wire import TrialCreate, TrialState

SPACE = {
    "optimizer.name": {"type": "categorical", "choices": ["adam", "adamw", "sgd", 'odd "name", 100%']},
    "optimizer.lr": {"type": "float", "low": 1e-6, "high": 1.0, "log": True},
    "model.depth": {"type": "int", "low": 1, "high": 9},
    "warm": {"type": "categorical", "choices": [True, False, None, 3, "3"]},
    "schedule.lr": {"type": "float", "low": 0.0, "high": 1.0, "when": {"model.depth": {"ge": 5}}},
}
TRIALS: list[dict[str, Any]] = [
    {
        "optimizer.name": SPACE["optimizer.name"]["choices"][number % 4],  # type: ignore[index]
        "optimizer.lr": 10.0 ** -(number % 6),
        "model.depth": 1 + number % 9,
        "warm": [True, False, None, 3, "3"][number % 5],
        **({"schedule.lr": 0.5} if 1 + number % 9 >= 5 else {}),
    }
    for number in range(36)
]


def state_of(number: int) -> TrialState | None:
    return {1: TrialState.FAIL, 2: None}.get(number % 3, TrialState.COMPLETE)


def score_of(number: int) -> float | None:
    return None if state_of(number) is not TrialState.COMPLETE else math.inf if number == 3 else number / 10


@pytest.fixture
def study(database: Database) -> str:
    studies.create(database, "default", external(space=SPACE, limits={"max_trials": 1000}))
    for number, params in enumerate(TRIALS):
        score = score_of(number)
        values = None if score is None else {"score": score}
        trials.create(database, "default", "s", TrialCreate(params=params, state=state_of(number), values=values))
    return "s"


def find(database: Database, filter: str, sort: str | None = None) -> list[int]:
    return [trial.number for trial in views.list_trials(database, "default", "s", filter=filter, sort=sort, limit=100).items]


CASES: list[tuple[str, Callable[[int, dict[str, Any], float | None], bool]]] = [
    ("", lambda n, p, v: True),
    ("state:complete", lambda n, p, v: v is not None),
    ("state=complete,fail", lambda n, p, v: n % 3 != 2),
    ("state!=waiting", lambda n, p, v: n % 3 != 2),
    ("number>=30", lambda n, p, v: n >= 30),
    ("number=3,4,5", lambda n, p, v: n in (3, 4, 5)),
    ("score<1", lambda n, p, v: v is not None and v < 1),
    ("values.score>1e9", lambda n, p, v: v == math.inf),
    ("value>=2.1 value<=3", lambda n, p, v: v is not None and 2.1 <= v <= 3),
    ("optimizer.lr<1e-3", lambda n, p, v: p["optimizer.lr"] < 1e-3),
    ("optimizer=adam", lambda n, p, v: p["optimizer.name"] == "adam"),
    ("optimizer=adam,sgd", lambda n, p, v: p["optimizer.name"] in ("adam", "sgd")),
    ("optimizer!=adam", lambda n, p, v: p["optimizer.name"] != "adam"),
    ("optimizer:adam*", lambda n, p, v: p["optimizer.name"].startswith("adam")),
    ("optimizer=*%", lambda n, p, v: p["optimizer.name"].endswith("%")),
    (r'optimizer="odd \"name\", 100%"', lambda n, p, v: p["optimizer.name"].startswith("odd")),
    ("depth>6 state:complete optimizer.lr=0.1,1", lambda n, p, v: p["model.depth"] > 6 and v is not None and n % 6 in (0, 1)),
    ("warm=true", lambda n, p, v: p["warm"] is True),
    ("warm=null", lambda n, p, v: p["warm"] is None),
    ("warm=3", lambda n, p, v: p["warm"] in (3, "3")),
    ("schedule.lr>0", lambda n, p, v: "schedule.lr" in p),
    ("schedule.lr=0.5", lambda n, p, v: "schedule.lr" in p),
    ("schedule.lr!=0.5", lambda n, p, v: "schedule.lr" not in p),
    ("depth=1;drop", lambda n, p, v: False),
    ("params.warm=3 worker!=w", lambda n, p, v: p["warm"] in (3, "3")),
    ('"optimizer"=adam "state":complete', lambda n, p, v: p["optimizer.name"] == "adam" and v is not None),
]


@pytest.mark.parametrize("filter, holds", CASES, ids=[case[0] for case in CASES])
def test_finds_what_it_says(
    database: Database, study: str, filter: str, holds: Callable[[int, dict[str, Any], float | None], bool]
) -> None:
    wanted = [number for number, params in enumerate(TRIALS) if holds(number, params, score_of(number))]
    assert find(database, filter) == wanted
    assert views.numbers(database, "default", "s", filter) == wanted


def test_sorts_by_parameter_and_pages(database: Database, study: str) -> None:
    assert find(database, "", "optimizer.lr") == sorted(range(36), key=lambda n: (TRIALS[n]["optimizer.lr"], n))
    assert find(database, "number<8", "-depth") == [7, 6, 5, 4, 3, 2, 1, 0]
    with_schedule = [number for number, params in enumerate(TRIALS) if "schedule.lr" in params]
    assert find(database, "", "schedule.lr")[: len(with_schedule)] == with_schedule  # those without come last
    names = [TRIALS[number]["optimizer.name"] for number in find(database, "", "optimizer")]
    assert names == sorted(names, key=lambda name: names.index(name))  # equal names stand together
    first = views.list_trials(database, "default", study, filter="optimizer=adam", sort="-optimizer.lr", limit=4)
    rest = views.list_trials(
        database, "default", study, filter="optimizer=adam", sort="-optimizer.lr", limit=100, cursor=first.next_cursor
    )
    assert sorted(trial.number for trial in (*first.items, *rest.items)) == find(database, "optimizer=adam")


@pytest.mark.parametrize(
    "filter, said",
    [
        ("state:done", "state 'done' is not one of waiting"),
        ("optimiser=adam", "did you mean optimizer"),
        ("lr<1", "could be optimizer.lr or schedule.lr"),
        ("depth<x", "compared with a number"),
        ("depth<nan", "compared with a number"),
        ("depth<1,2", "takes one number"),
        ("state<complete", "compare it with = or !="),
        ("depth <3", "cannot be read from 'depth <3'"),
        ("depth", "cannot be read"),
        ('optimizer="adam', "cannot be read"),
        ('"optimizer=adam', "cannot be read"),
        ('"val loss"<1', "'val loss' is unknown"),
        ("number=1 " * 31, "at most 30"),
    ],
)
def test_unreadable_is_named(database: Database, study: str, filter: str, said: str) -> None:
    with pytest.raises(InvalidValue, match=said) as caught:
        find(database, filter)
    assert caught.value.errors[0].loc == "filter"


def test_optuna_studies_take_any_name_and_non_finite_parameters(database: Database) -> None:
    studies.create(database, "default", external())
    trials.create(database, "default", "s", TrialCreate(params={"x": 0.5}))
    trials.create(database, "default", "s", TrialCreate(params={"x": 0.5}))
    with database.begin() as connection:
        connection.execute(text("UPDATE studies SET spec = NULL"))
        odd = json.dumps({"b": 'a ": NaN, c', "c": -math.inf, 'say "hi", <=': 2} | {"a": math.nan, "d": -math.inf})
        connection.execute(text("UPDATE trials SET params = :odd WHERE number = 1"), {"odd": odd})
    assert find(database, "a=NaN") == [1]
    assert find(database, "d<0") == [1]
    assert find(database, "x>0") == [0]
    assert find(database, "never=1") == []
    assert find(database, r'"say \"hi\", <=">=2 "params.say \"hi\", <="!=3') == [1]
