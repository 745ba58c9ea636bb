"""Populations: who is copied and how, that a search which takes over decides the same, and how such a study ends."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.tuner.search.crew import Crew
from tuner import leases, studies, trials, views
from tuner.db.postgres import Database
from tuner.errors import StudyNotRunning
from tuner.search.engine import Engine
from tuner.search.population import Population
from tuner.wire import Tell, TrialCreate


def test_the_worst_ends_and_a_child_goes_on_from_the_best(database: Database, tmp_path: Path, engines: list[Engine]) -> None:
    crew = Crew(database, tmp_path, engines)
    losses = [0.4, 0.1, 0.9, 0.3]
    for lease, loss in zip(crew.ask(4), losses, strict=True):
        assert (lease.trial.pause_at, lease.trial.resume) == (1, None)
        crew.train(lease, loss)
    held = {lease.trial.number: lease for lease in crew.ask(4)}
    assert sorted(held) == [0, 1, 3, 4]
    rows = crew.rows()
    assert (rows[2].state, rows[2].reason) == ("PRUNED", "pruned")
    child = held[4]
    assert (rows[4].origin, rows[4].parent) == ("population", 1)
    assert child.trial.resume is not None
    assert (child.trial.resume.step, child.trial.resume.inherited) == (1, True)
    assert child.trial.resume.checkpoint == f"/v1/trials/{rows[1].id}/checkpoints/1"
    assert child.trial.pause_at == 3
    assert child.trial.params != held[1].trial.params
    own = held[0].trial.resume
    assert own is not None
    assert (own.step, own.inherited, own.checkpoint) == (1, False, f"/v1/trials/{rows[0].id}/checkpoints/latest")
    crew.train(child, 0.2)
    (again,) = [lease for lease in crew.ask(1) if lease.trial.number == 4]
    assert again.trial.resume is not None
    assert (again.trial.resume.step, again.trial.resume.inherited) == (3, False)


def test_one_worker_trains_all_members_in_turn_to_the_end(database: Database, tmp_path: Path, engines: list[Engine]) -> None:
    crew = Crew(database, tmp_path, engines)
    crew.run()
    rows = crew.rows()
    children = [row for row in rows if row.origin == "population"]
    assert children
    assert len(rows) == 4 + len(children)
    assert Counter(row.state for row in rows) == {"COMPLETE": 4, "PRUNED": len(children)}
    assert crew.desk.state() == ("COMPLETE", "population_trained")
    for row in rows:
        steps = crew.trained[row.number]
        first = 0 if row.parent is None else steps[0]
        assert first % 2 == 0
        assert steps == list(range(first, first + len(steps)))  # nothing twice, nothing left out
        assert (steps[-1] == 7) == (row.state == "COMPLETE")
        if row.parent is not None:
            assert first - 1 in crew.trained[row.parent]
    best = min(abs(json.loads(row.params)["x"] - 1) for row in rows if row.state == "COMPLETE")
    assert best <= min(abs(json.loads(row.params)["x"] - 1) for row in rows[:4])


@pytest.mark.parametrize("num_workers", [1, 3, 4, 9])
def test_a_search_that_takes_over_decides_the_same(
    database: Database, tmp_path: Path, engines: list[Engine], num_workers: int
) -> None:
    found = []
    for name, kill in (("whole", False), ("killed", True)):
        crew = Crew(database, tmp_path / name, engines, name=name)
        crew.run(num_workers, kill)
        found.append([(row.state, row.origin, row.parent, row.params) for row in crew.rows()])
        assert crew.desk.state()[0] == "COMPLETE"
    assert found[0] == found[1]


def test_nobody_is_replaced_before_enough_have_come(database: Database, tmp_path: Path, engines: list[Engine]) -> None:
    crew = Crew(database, tmp_path, engines)
    first = crew.ask(4)
    for lease, loss in zip(first[:3], (0.5, 0.9, 0.1), strict=True):
        crew.train(lease, loss)
    assert [lease.trial.number for lease in crew.ask(3)] == [0, 1, 2]
    crew.train(first[3], 0.95)
    assert crew.ask(1)[0].trial.number == 4


def test_equals_are_left_alone_and_nan_is_worst(database: Database, tmp_path: Path, engines: list[Engine]) -> None:
    crew = Crew(database, tmp_path, engines)
    for lease in crew.ask(4):
        crew.train(lease, 0.5)
    assert [lease.trial.number for lease in crew.ask(4)] == [0, 1, 2, 3]
    other = Crew(database, tmp_path, engines, name="nan")
    for lease, loss in zip(other.ask(4), (0.5, float("nan"), 0.6, 0.7), strict=True):
        other.train(lease, loss)
    other.ask(4)
    assert [row.state for row in other.rows()] == ["RUNNING", "PRUNED", "RUNNING", "RUNNING", "RUNNING"]


def test_who_breaks_an_outcome_constraint_is_the_worst(database: Database, tmp_path: Path, engines: list[Engine]) -> None:
    crew = Crew(database, tmp_path, engines, outcome_constraints=["latency <= 50"])
    for lease, loss, latency in zip(crew.ask(4), (0.1, 0.9, 0.6, 0.7), (60.0, 10.0, 20.0, 30.0), strict=True):
        crew.train(lease, loss, latency=latency)
    crew.ask(4)
    rows = crew.rows()
    assert [row.state for row in rows] == ["PRUNED", "RUNNING", "RUNNING", "RUNNING", "RUNNING"]
    assert rows[4].parent == 2
    assert views.get_trial(database, "default", rows[0].id).feasible is False


def test_of_those_who_break_an_outcome_constraint_the_furthest_off_is_the_worst(
    database: Database, tmp_path: Path, engines: list[Engine]
) -> None:
    crew = Crew(database, tmp_path, engines, outcome_constraints=["latency <= 50"])
    for lease, latency in zip(crew.ask(4), (60.0, 90.0, 70.0, 55.0), strict=True):
        crew.train(lease, 0.1 * lease.trial.number, latency=latency)
    crew.ask(4)
    rows = crew.rows()
    assert [row.state for row in rows] == ["RUNNING", "PRUNED", "RUNNING", "RUNNING", "RUNNING"]
    assert rows[4].parent == 3


def test_max_trials_counts_children_and_then_all_go_on(database: Database, tmp_path: Path, engines: list[Engine]) -> None:
    crew = Crew(database, tmp_path, engines, limits={"max_trials": 5})
    crew.run()
    rows = crew.rows()
    assert Counter(row.state for row in rows) == {"COMPLETE": 4, "PRUNED": 1}
    assert crew.desk.state() == ("COMPLETE", "max_trials")


def test_who_fails_is_replaced(database: Database, tmp_path: Path, engines: list[Engine]) -> None:
    """Before the first boundary by a new member, after it by a child of the best, where there is one."""
    crew = Crew(database, tmp_path, engines)
    first = crew.ask(4)
    crew.desk.fail(first[0], "nan")
    for lease, loss in zip(first[1:], (0.2, 0.3, 0.4), strict=True):
        crew.train(lease, loss)
    (new,) = crew.ask(1)
    assert (new.trial.number, new.trial.resume) == (4, None)
    crew.train(new, 0.1)
    held = {lease.trial.number: lease for lease in crew.ask(4)}
    assert sorted(held) == [1, 2, 4, 5]  # 3 was the worst of four
    crew.desk.fail(held[2], "nan")
    (child,) = crew.ask(1)
    assert child.trial.number == 6
    assert crew.rows()[6].parent == 4
    assert child.trial.resume is not None
    assert child.trial.resume.step == 1
    crew.engines[-1].step()
    assert crew.ask(1) == []
    trials.cancel(database, "default", child.trial.id)
    leases.tell(database, "default", child.id, Tell(state="FAIL", reason="cancelled"))
    assert crew.ask(1) == []  # whoever cancels a trial wants no other in its place


def test_without_a_checkpoint_nobody_is_copied_and_the_interval_is_repeated_once(
    database: Database, tmp_path: Path, engines: list[Engine]
) -> None:
    crew = Crew(database, tmp_path, engines)
    for lease in crew.ask(4):
        crew.train(lease, saves=False)
    second = crew.ask(4)
    assert [(lease.trial.number, lease.trial.resume, lease.trial.pause_at) for lease in second] == [
        (number, None, 1) for number in range(4)
    ]
    for lease in second[:3]:
        crew.train(lease, 0.5, saves=False)
    crew.train(second[3], 0.5)
    (third,) = crew.ask(1)
    assert (third.trial.number, third.trial.pause_at) == (3, 3)
    rows = crew.rows()
    assert [row.state for row in rows[:4]] == ["FAIL", "FAIL", "FAIL", "RUNNING"]
    assert "without a checkpoint, twice" in rows[0].error


def test_enqueued_trials_are_members(database: Database, tmp_path: Path, engines: list[Engine]) -> None:
    crew = Crew(database, tmp_path, engines)
    trials.create(database, "default", crew.desk.study.name, TrialCreate(params={"x": 1.0, "kind": "a"}))
    assert [lease.trial.number for lease in crew.ask(5)] == [0, 1, 2, 3]


def test_a_study_that_stops_ends_its_paused_members(database: Database, tmp_path: Path, engines: list[Engine]) -> None:
    crew = Crew(database, tmp_path, engines)
    for lease in crew.ask(4):
        crew.train(lease)
    studies.stop(database, "default", crew.desk.study.id)
    engines[-1].step()
    assert {row.state for row in crew.rows()} == {"PRUNED"}
    assert crew.desk.state()[0] == "STOPPED"
    with pytest.raises(StudyNotRunning, match="has made its population, whose members have ended"):
        studies.resume(database, "default", crew.desk.study.id)
    assert crew.desk.state()[0] == "STOPPED"


def test_a_population_stopped_before_all_members_were_made_goes_on(
    database: Database, tmp_path: Path, engines: list[Engine]
) -> None:
    crew = Crew(database, tmp_path, engines)
    (lease,) = crew.ask(1)
    crew.train(lease)
    studies.stop(database, "default", crew.desk.study.id)
    engines[-1].step()
    studies.resume(database, "default", crew.desk.study.id)
    crew.run()
    assert crew.desk.state() == ("COMPLETE", "population_trained")
    assert [row.state for row in crew.rows()].count("COMPLETE") == 3


def test_a_verdict_pauses_those_whose_code_does_not_know_the_boundary(
    database: Database, tmp_path: Path, engines: list[Engine]
) -> None:
    crew = Crew(database, tmp_path, engines)
    (lease,) = crew.ask(1)
    for step, verdict in ((0, "continue"), (1, "pause")):
        crew.desk.report(lease, step, 0.5)
        engines[-1].step()
        assert str(leases.renew(database, "default", lease.id).verdict) == verdict
    leases.tell(database, "default", lease.id, Tell(state="WAITING", reason="paused"))
    assert crew.desk.take() == []  # until the search lets it go on


@pytest.mark.parametrize("saves", [True, False])
def test_what_was_not_decided_is_not_stored(
    database: Database, tmp_path: Path, engines: list[Engine], monkeypatch: pytest.MonkeyPatch, saves: bool
) -> None:
    """The study is paused while a member is about to go on, and another search takes over."""
    crew = Crew(database, tmp_path, engines)
    first = crew.ask(4)
    for lease, loss in zip(first[:3], (0.9, 0.1, 0.2), strict=True):
        crew.train(lease, loss, saves=saves)
    promote = trials.promote

    def late(*args: Any) -> list[int]:
        studies.pause(database, "default", crew.desk.study.id)
        return promote(*args)

    with monkeypatch.context() as patch:
        patch.setattr(trials, "promote", late)
        assert crew.ask(1) == []
    crew.engines.pop().close()
    crew.engines.append(crew.desk.engine())
    crew.train(first[3], 0.3, saves=saves)
    studies.resume(database, "default", crew.desk.study.id)
    if saves:
        assert 4 in [lease.trial.number for lease in crew.ask(4)]  # in the place of the worst
        assert crew.rows()[0].state == "PRUNED"
    else:
        assert [(lease.trial.number, lease.trial.pause_at) for lease in crew.ask(4)] == [(number, 1) for number in range(4)]


def test_the_last_to_fail_is_replaced_before_the_study_ends(database: Database, tmp_path: Path, engines: list[Engine]) -> None:
    """Although nobody asks for a trial at that moment; and although it was the best at the boundary itself."""
    crew = Crew(database, tmp_path, engines)
    for _ in range(3):
        for lease in crew.ask(4):
            crew.train(lease, 0.5)
    best, *others = crew.ask(4)
    assert (best.trial.number, best.trial.pause_at) == (0, None)
    for lease in others:
        crew.train(lease, 0.5)
    crew.desk.fail(best)
    crew.engines[-1].step()
    assert crew.desk.state() == ("RUNNING", None)
    (child,) = crew.ask(1)
    assert (child.trial.number, crew.rows()[4].parent) == (4, 1)
    assert child.trial.resume is not None
    assert child.trial.resume.step == 5
    crew.train(child)
    crew.engines[-1].step()
    assert crew.desk.state() == ("COMPLETE", "population_trained")
    assert [row.state for row in crew.rows()] == ["FAIL"] + ["COMPLETE"] * 4


def test_who_cannot_be_replaced_is_looked_at_again_when_somebody_comes_to_the_boundary(
    database: Database, tmp_path: Path, engines: list[Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    crew = Crew(database, tmp_path, engines)
    first = crew.ask(4)
    crew.train(first[0], 0.5)
    (again,) = crew.ask(1)
    crew.desk.fail(again)
    asked = []
    renew = Population.renew
    monkeypatch.setattr(Population, "renew", lambda *args, **room: asked.append(args[2]) or renew(*args, **room))
    for _ in range(3):
        assert crew.ask(1) == []
    assert asked == [0]
    crew.train(first[1], 0.5)
    assert [lease.trial.number for lease in crew.ask(2)] == [1, 4]
    assert crew.rows()[4].parent == 1


def test_a_population_ends_where_who_failed_last_cannot_be_replaced(
    database: Database, tmp_path: Path, engines: list[Engine]
) -> None:
    crew = Crew(database, tmp_path, engines)
    first = crew.ask(4)
    crew.train(first[0], 0.5)
    for lease in first[1:]:
        trials.cancel(database, "default", lease.trial.id)
        leases.tell(database, "default", lease.id, Tell(state="FAIL", reason="cancelled"))
    crew.desk.fail(crew.ask(1)[0])
    crew.engines[-1].step()
    assert crew.desk.state() == ("COMPLETE", "population_trained")
