"""Columns of a study: parallel, incremental, and kept so that whoever asks again gets what the database has, whatever has happened since."""

from __future__ import annotations

import json
import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import text

from benchmarks import large_studies
from tests.tuner.specs import external
from tuner import columns, leases, studies, trials
from tuner.columns import ColumnCache
from tuner.db.postgres import Database
from tuner.errors import StudyNotFound
from tuner.wire import AskRequest, Tell, TrialCreate

PARAMS = {
    "optimizer.name": "sgd",
    "optimizer.lr": 0.1,
    "optimizer.momentum": 0.5,
    "batch_size": 32,
    "layers": 2,
    "dropout": 0.25,
    "schedule": "cosine",
}


def kept(cache: ColumnCache, database: Database, study: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(cache.get(database, "default", study).content)
    del answer["revision"]
    return answer


def fresh(database: Database, study: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(json.dumps(columns.read(database, "default", study).to_json()))
    del answer["revision"]
    return answer


def test_they_are_parallel_and_incremental(database: Database) -> None:
    large_studies.make(database, "s", large_studies.Shape(trials=30, odd=0.4))
    first = columns.read(database, "default", "s")
    assert first.total == 30
    assert {len(column) for column in (*first.facts.values(), *first.values.values(), *first.params.values())} == {30}
    assert {"Infinity", "-Infinity"} & set(map(str, first.values["val_loss"]))
    waiting = trials.create(database, "default", "s", TrialCreate(params=PARAMS))
    second = columns.read(database, "default", "s", since=first.revision)
    assert second.facts["numbers"] == [waiting.number]
    trials.cancel(database, "default", waiting.id)
    assert columns.read(database, "default", "s", since=second.revision).facts["state"] == ["FAIL"]


def test_what_is_kept_follows_every_change(database: Database) -> None:
    """Trials made, leased, told, of whatever odd values, and a parameter that appears late: always what the database says."""
    large_studies.make(database, "s", large_studies.Shape(trials=200, odd=0.3))
    cache, rng = ColumnCache(bytes), random.Random(1)
    assert kept(cache, database, "s") == fresh(database, "s")
    for step in range(60):
        kind = rng.randrange(4)
        if kind == 0:
            trials.create(database, "default", "s", TrialCreate(params=PARAMS))
        elif kind == 1:
            for lease in leases.take(database, "default", AskRequest(wait=0), study="s"):
                value = rng.choice([0.5, float("nan"), float("inf")])
                leases.tell(database, "default", lease.id, Tell(state="COMPLETE", values={"val_loss": value}))
        elif kind == 2:
            with database.begin() as connection:
                change = text("UPDATE trials SET params = :params WHERE number = :number")
                connection.execute(
                    change,
                    {
                        "params": json.dumps({f"late_{step % 3}": step if step % 2 else None, "x": float("inf")}),
                        "number": rng.randrange(200),
                    },
                )
        assert kept(cache, database, "s") == fresh(database, "s")


def test_a_choice_null_is_told_from_an_absent_parameter(database: Database) -> None:
    space = {
        "warm": {"type": "categorical", "choices": [None, True]},
        "x": {"type": "float", "low": 0.0, "high": 1.0, "when": {"warm": [True]}},
    }
    studies.create(database, "default", external(space=space))
    cache = ColumnCache(bytes)
    for params in ({"warm": None}, {"warm": True, "x": 0.5}, {"warm": None}):
        trials.create(database, "default", "s", TrialCreate(params=params))
        found = kept(cache, database, "s")
        assert found == fresh(database, "s")
    assert found["params"] == {"warm": [None, True, None], "x": [None, 0.5, None]}
    assert found["nulls"] == {"warm": [0, 2]}
    with database.begin() as connection:
        connection.execute(text("UPDATE trials SET params = '{\"warm\": true}' WHERE number = 0"))
    assert kept(cache, database, "s")["nulls"] == fresh(database, "s")["nulls"] == {"warm": [2]}


def test_numbers_that_appear_out_of_order_are_put_in_order(database: Database) -> None:
    """Transactions end in another order than they took their numbers in."""
    studies.create(database, "default", external())
    cache = ColumnCache(bytes)
    for _ in range(3):
        trials.create(database, "default", "s", TrialCreate(params={"x": 0.5}))
    with database.begin() as connection:
        connection.execute(text("UPDATE trials SET number = number + 10 WHERE number > 0"))
    assert kept(cache, database, "s")["numbers"] == [0, 11, 12]
    with database.begin() as connection:
        connection.execute(text("UPDATE trials SET number = 5 WHERE number = 0"))
        connection.execute(text("UPDATE studies SET next_number = 6"))
    trials.create(database, "default", "s", TrialCreate(params={"x": 0.25}))
    assert sorted(kept(cache, database, "s")["numbers"]) == kept(cache, database, "s")["numbers"]


def test_an_unchanged_study_is_written_once(database: Database) -> None:
    studies.create(database, "default", external())
    written: list[bytes] = []

    def write(content: bytes) -> bytes:
        written.append(content)
        return content

    cache = ColumnCache(write)
    first = cache.get(database, "default", "s")
    with database.begin() as connection:  # of another table: revisions go on
        connection.execute(text("UPDATE projects SET name = name"))
    with ThreadPoolExecutor(4) as pool:
        assert {answer.tag for answer in pool.map(lambda _: cache.get(database, "default", "s"), range(8))} == {first.tag}
    assert len(written) == 1
    trials.create(database, "default", "s", TrialCreate(params={"x": 0.5}))
    assert cache.get(database, "default", "s").tag != first.tag


def test_no_more_is_kept_than_allowed(database: Database) -> None:
    for name in ("a", "b", "c"):
        large_studies.make(database, name, large_studies.Shape(trials=20))
    one = columns.read(database, "default", "a").num_cells
    written: list[int] = []
    cache = ColumnCache(lambda content: written.append(1) or content, max_cells=int(2.5 * one))  # type: ignore[func-returns-value]
    for name in ("a", "b", "c", "b", "c"):
        cache.get(database, "default", name)
    assert len(written) == 3
    cache.get(database, "default", "a")
    assert len(written) == 4, "the one not asked for longest had to go"
    small = ColumnCache(bytes, max_cells=1)
    assert kept(small, database, "a") == fresh(database, "a"), "one that is too large is read anew"


def test_a_deleted_study_is_gone(database: Database) -> None:
    study, _ = studies.create(database, "default", external())
    cache = ColumnCache(bytes)
    cache.get(database, "default", "s")
    with database.begin() as connection:
        connection.execute(text("DELETE FROM studies WHERE id = :id"), {"id": study.id})
    with pytest.raises(StudyNotFound):
        cache.get(database, "default", "s")
    with pytest.raises(StudyNotFound):
        cache.get(database, "default", study.id)
