"""The loop over studies: demand, ownership, failures of one study, ends."""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

import pytest
from sqlalchemy import text

from tests.tuner.search.desk import CONDITIONAL, MIXED, Desk, loss
from tuner import events, leases, studies, trials
from tuner.db.postgres import Database
from tuner.errors import StudyNotRunning
from tuner.search.engine import ERROR_KEY, Engine
from tuner.wire import AskRequest, StudyPatch, TrialCreate


@pytest.fixture
def engine(database: Database) -> Iterator[Engine]:
    engine = Engine(database)
    yield engine
    engine.close()


@pytest.fixture
def start(database: Database) -> Iterator[Callable[[], Callable[[], None]]]:
    """Start searches in threads; each call gives the function that stops one."""
    running: list[tuple[threading.Event, threading.Thread]] = []

    def _start() -> Callable[[], None]:
        stop = threading.Event()
        thread = threading.Thread(target=Engine(database).run, args=(stop,))
        thread.start()
        running.append((stop, thread))

        def _stop() -> None:
            stop.set()
            thread.join(timeout=20)
            assert not thread.is_alive()

        return _stop

    yield _start
    for stop, _ in running:
        stop.set()
    for _, thread in running:
        thread.join(timeout=20)


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Poll a condition in the database, which no signal of ours reaches."""
    until = monotonic() + seconds
    pause = threading.Event()
    while not condition():
        assert monotonic() < until, "waited too long"
        pause.wait(0.01)


def shares(database: Database) -> list[int]:
    """How many studies each search owns."""
    query = text(
        "SELECT count(*) AS share FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ExclusiveLock' AND granted"
        " AND classid::bigint = 1515 << 16 GROUP BY pid ORDER BY share"
    )
    with database.read() as connection:
        return [row.share for row in connection.execute(query)]


def test_nothing_is_suggested_without_demand(database: Database, engine: Engine) -> None:
    desk = Desk(database, MIXED, sampler={"name": "random"})
    engine.step()
    assert desk.params() == []


def test_demand_is_served_exactly_by_samplers_that_learn(database: Database, engine: Engine) -> None:
    desk = Desk(database, CONDITIONAL)
    desk.demand(3)
    desk.demand(2)
    engine.step()
    assert desk.states() == ["WAITING"] * 5
    with database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM demands")).scalar_one() == 0
    for params in desk.params():
        assert desk.spec.space.check(params) == params


def test_sixteen_at_once_differ(database: Database, engine: Engine) -> None:
    """Those made in one pass know each other as pending: the constant liar keeps them apart."""
    desk = Desk(database, {"x": {"type": "float", "low": 0.0, "high": 1.0}}, sampler={"name": "tpe", "seed": 1})
    desk.run(lambda: engine, 30, lambda params: ((params["x"] - 0.3) ** 2,))
    values = sorted(lease.trial.params["x"] for lease in desk.ask(engine, 16))
    assert len(values) == 16
    assert min(after - before for before, after in itertools.pairwise(values)) > 1e-4


def test_samplers_that_do_not_learn_run_ahead_of_demand(database: Database, engine: Engine) -> None:
    desk = Desk(database, MIXED, sampler={"name": "random"})
    desk.demand(4)
    engine.step()
    assert 4 < len(desk.params()) <= 12
    desk.take(10)
    engine.step()
    assert desk.states().count("WAITING") >= 4


def test_max_trials_is_never_exceeded(database: Database, engine: Engine) -> None:
    for name in ("random", "tpe"):
        desk = Desk(database, MIXED, max_trials=7, name=name, sampler={"name": name})
        taken = desk.ask(engine, 20)
        assert len(taken) == 7
        engine.step()
        for lease in taken:
            desk.tell(lease, 1.0)
        engine.step()
        assert desk.state() == ("COMPLETE", "max_trials")
        assert desk.states() == ["COMPLETE"] * 7


def test_no_more_is_suggested_than_may_run(database: Database, engine: Engine) -> None:
    desk = Desk(database, MIXED, limits={"max_concurrent_trials": 2})
    desk.demand(5)
    engine.step()
    assert len(desk.params()) == 2
    taken = desk.take(5)
    assert len(taken) == 2
    engine.step()
    assert len(desk.params()) == 2
    desk.tell(taken[0], 1.0)
    engine.step()
    assert len(desk.params()) == 3


def test_enqueued_trials_are_known_and_numbers_stay_theirs(database: Database, engine: Engine) -> None:
    desk = Desk(database, {"x": {"type": "float", "low": 0.0, "high": 1.0}}, sampler={"name": "random", "seed": 5})
    other = Desk(database, {"x": {"type": "float", "low": 0.0, "high": 1.0}}, name="other", sampler={"name": "random", "seed": 5})
    other.run(lambda: engine, 5, lambda params: (params["x"],))
    trials.create(database, "default", desk.study.id, TrialCreate(params={"x": 0.5}))
    desk.run(lambda: engine, 5, lambda params: (params["x"],))
    assert desk.params()[:5] == [{"x": 0.5}, *other.params()[1:5]]


def test_a_number_taken_meanwhile_is_suggested_anew(database: Database, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(database, MIXED, sampler={"name": "tpe", "seed": 2})
    suggest = trials.suggest
    enqueued = []

    def late(*args: Any) -> list[int]:
        if not enqueued:
            enqueued.append(trials.create(database, "default", desk.study.id, TrialCreate(params=desk.spec.space.check(EXAMPLE))))
        return suggest(*args)

    monkeypatch.setattr(trials, "suggest", late)
    desk.demand(2)
    engine.step()
    assert desk.params()[0] == EXAMPLE
    assert len(desk.params()) == 2
    assert desk.params()[1] != EXAMPLE


def test_a_slow_sampler_hands_out_what_it_has(database: Database, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each trial of a slow sampler can be leased at once, and the next is made knowing the results that came in between."""
    desk = Desk(database, MIXED, sampler={"name": "random"}, limits={"max_trials": 6})
    monkeypatch.setattr("tuner.search.study_search.SLOW", -1.0)
    seen = []
    suggest = trials.suggest

    def watched(*args: Any) -> list[int]:
        stored = suggest(*args)
        seen.append(len(stored))
        return stored

    monkeypatch.setattr(trials, "suggest", watched)
    desk.demand(6)
    engine.step()
    assert seen == [1] * 6
    assert len(desk.take(6)) == 6


def test_a_slow_sampler_serves_who_came_later_too(database: Database, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A demand stands until there is a trial for it."""
    desk = Desk(database, MIXED, sampler={"name": "tpe"})
    monkeypatch.setattr("tuner.search.study_search.SLOW", -1.0)
    desk.demand()
    desk.demand()
    for _ in range(2):
        engine.step()
        assert len(desk.take(2)) == 1
    engine.step()
    assert desk.take() == []


EXAMPLE = {"lr": 0.1, "drop": 0.3, "depth": 2, "width": 32, "opt": "adam"}


def test_bad_study_does_not_stop_the_others(database: Database, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = Desk(database, MIXED, name="bad", sampler={"name": "cmaes"})
    good = Desk(database, MIXED, name="good")
    bad.run(lambda: engine, 3, lambda params: (loss(params),))
    monkeypatch.setattr("optuna.samplers.CmaEsSampler.sample_relative", _explode)
    bad.demand()
    good.demand()
    engine.step()
    assert good.states() == ["WAITING"]
    assert bad.states() == ["COMPLETE"] * 3
    found = [event for event in events.list_(database, "default", bad.study.id) if event.kind == "search_failed"]
    assert [event.data["error"] for event in found] == ["ArithmeticError: the matrix is not positive definite"]
    engine.step()  # put aside: not tried again at once
    assert len([event for event in events.list_(database, "default", bad.study.id) if event.kind == "search_failed"]) == 1
    with database.read() as connection:
        attrs = connection.execute(text("SELECT system_attrs FROM studies WHERE id = :id"), {"id": bad.study.id}).scalar_one()
    assert ERROR_KEY in attrs


def test_an_error_that_cannot_be_stored_is_stored_without_what_cannot(
    database: Database, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(*args: Any) -> None:
        raise ValueError("a\x00b" + "c" * 10_000)

    desk = Desk(database, MIXED, sampler={"name": "random"})
    monkeypatch.setattr("optuna.samplers.RandomSampler.sample_independent", explode)
    desk.demand()
    engine.step()
    (found,) = [event for event in events.list_(database, "default", desk.study.id) if event.kind == "search_failed"]
    assert found.data["error"].startswith("ValueError: abccc")
    assert len(found.data["error"]) == 2000


def _explode(*args: Any) -> None:
    raise ArithmeticError("the matrix is not positive definite")


def test_a_failed_study_recovers(
    database: Database, start: Callable[[], Callable[[], None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(database, MIXED, sampler={"name": "random"})
    with monkeypatch.context() as context:
        context.setattr("optuna.samplers.RandomSampler.sample_independent", _explode)
        start()
        desk.demand()
        wait_until(lambda: any(event.kind == "search_failed" for event in events.list_(database, "default", desk.study.id)))
    wait_until(lambda: any(event.kind == "search_recovered" for event in events.list_(database, "default", desk.study.id)))
    assert desk.take()


def test_searches_share_and_take_over(database: Database, start: Callable[[], Callable[[], None]]) -> None:
    desks = [Desk(database, MIXED, name=f"study {place}") for place in range(6)]
    stops = [start(), start()]
    wait_until(lambda: shares(database) == [3, 3])
    for desk in desks:
        desk.demand()
    wait_until(lambda: all(desk.states() == ["WAITING"] for desk in desks))
    stops[0]()
    for desk in desks:
        desk.demand(2)
    wait_until(lambda: all(desk.states() == ["WAITING"] * 2 for desk in desks), seconds=10.0)


def test_a_lost_lock_connection_is_replaced(database: Database, start: Callable[[], Callable[[], None]]) -> None:
    desk = Desk(database, MIXED)
    start()
    desk.demand()
    wait_until(lambda: desk.states() == ["WAITING"])
    with database.read() as connection:
        connection.execute(text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tuner search'"))
    desk.demand(2)
    wait_until(lambda: desk.states() == ["WAITING"] * 2)


def test_many_workers_make_exactly_max_trials(database: Database, start: Callable[[], Callable[[], None]]) -> None:
    desk = Desk(database, CONDITIONAL, max_trials=60)
    start()
    start()
    told: list[int] = []

    def work() -> None:
        until = monotonic() + 60
        pause = threading.Event()
        while monotonic() < until and desk.state()[0] == "RUNNING":
            with contextlib.suppress(StudyNotRunning):
                taken = desk.take()
                if not taken:
                    leases.register_demand(database, "default", AskRequest(count=1), study=desk.study.id, wait=0.5)
                    pause.wait(0.005)
                for lease in taken:
                    desk.tell(lease, loss(lease.trial.params))
                    told.append(lease.trial.number)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) == list(range(60))
    assert desk.state() == ("COMPLETE", "max_trials")


def test_target_failures_and_patched_limits_end_a_study(database: Database, engine: Engine) -> None:
    reached = Desk(database, MIXED, name="reached", limits={"target": 0.5})
    lease, other = reached.ask(engine, 2)
    reached.tell(lease, 0.4)
    engine.step()
    assert reached.state() == ("STOPPING", "target")
    reached.tell(other, 0.9)
    engine.step()
    assert reached.state() == ("COMPLETE", "target")

    failing = Desk(database, MIXED, name="failing", limits={"max_failed_trials": 1})
    for lease in failing.ask(engine, 2):
        failing.fail(lease)
    engine.step()
    assert failing.state() == ("FAIL", "max_failed_trials")

    patched = Desk(database, MIXED, name="patched")
    patched.run(lambda: engine, 3, lambda params: (loss(params),))
    studies.update_study(database, "default", patched.study.id, StudyPatch(limits={"max_trials": 3}))
    engine.step()
    assert patched.state() == ("COMPLETE", "max_trials")


def test_paused_study_is_resumed_with_its_history(database: Database, engine: Engine) -> None:
    desk = Desk(database, MIXED, sampler={"name": "tpe", "seed": 3})
    other = Desk(database, MIXED, name="other", sampler={"name": "tpe", "seed": 3})
    desk.run(lambda: engine, 15, lambda params: (loss(params),))
    studies.pause(database, "default", desk.study.id)
    engine.step()
    studies.resume(database, "default", desk.study.id)
    desk.run(lambda: engine, 15, lambda params: (loss(params),))
    other.run(lambda: engine, 30, lambda params: (loss(params),))
    assert desk.params() == other.params()


def test_an_idle_search_looks_at_nothing(database: Database, engine: Engine) -> None:
    desk = Desk(database, MIXED)
    desk.run(lambda: engine, 3, lambda params: (loss(params),))
    engine.step()
    for _ in range(2):
        engine._next_poll = 0.0
        engine._poll()
    assert engine._due() == []
    desk.tell(desk.ask(engine)[0], 1.0)
    engine._next_poll = 0.0
    engine._poll()
    assert engine._due() == [desk.study.id]


_SEARCH = """
import sys, threading
from tuner.search.engine import run
from tuner.settings import Settings
run(Settings(database_url=sys.argv[1]), threading.Event())
"""


def test_a_killed_search_is_replaced_within_seconds(database: Database, start: Callable[[], Callable[[], None]]) -> None:
    """kill -9 in the middle of a study: the next search goes on as the first would have."""
    desk = Desk(database, MIXED, sampler={"name": "tpe", "seed": 9})
    other = Desk(database, MIXED, name="undisturbed", sampler={"name": "tpe", "seed": 9})
    engine = Engine(database)
    other.run(lambda: engine, 24, lambda params: (loss(params),))
    engine.close()

    def ask() -> None:
        desk.demand()
        wait_until(lambda: "WAITING" in desk.states(), seconds=30.0)
        (lease,) = desk.take()
        desk.tell(lease, loss(lease.trial.params))

    with subprocess.Popen([sys.executable, "-c", _SEARCH, database.url]) as process:
        try:
            for _ in range(12):
                ask()
        finally:
            process.kill()
    start()
    began = monotonic()
    ask()
    assert monotonic() - began < 6.0  # a poll of one second, on a machine that may be busy
    for _ in range(11):
        ask()
    assert desk.params() == other.params()
