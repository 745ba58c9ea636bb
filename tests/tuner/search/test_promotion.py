"""Studies with promotion: who pauses, who is promoted, what a kill between the two may do, and how such a study ends."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

from tests.tuner.search.desk import CONDITIONAL, FINITE, MIXED, Desk, loss
from tuner import leases, reports, studies, trials
from tuner.db.postgres import Database
from tuner.errors import StudyNotRunning
from tuner.search.engine import Engine
from tuner.wire import Lease, Report, StudyPatch, Tell, TrialCreate, Verdict

SPACE = {"x": {"type": "float", "low": 0.0, "high": 1.0}}
PROMOTION = {"name": "promotion", "max_resource": 9, "min_resource": 1}


@pytest.fixture
def engines(engines: list[Engine], database: Database) -> list[Engine]:
    """With one to begin with."""
    engines.append(Engine(database))
    return engines


def _kill(desk: Desk, engines: list[Engine]) -> None:
    """Another search takes over, with nothing but the tables."""
    engines.pop().close()
    engines.append(desk.engine())


def _desk(database: Database, space: Mapping[str, Any] = SPACE, **spec: Any) -> Desk:
    return Desk(database, space, **{"sampler": {"name": "random", "seed": 1}, "pruner": PROMOTION} | spec)


def _curve(params: Mapping[str, Any], step: int) -> float:
    return loss(params) + 1.0 / (1 + step)


def _judged(desk: Desk, engine: Engine, lease: Lease, step: int, value: float) -> str:
    desk.report(lease, step, value)
    engine.step()
    return str(reports.get_verdict(desk.database, "default", lease.id, step).answer.verdict)


def _hand_back(desk: Desk, lease: Lease) -> None:
    leases.tell(desk.database, "default", lease.id, Tell(state="WAITING", reason="paused"))


def _train(desk: Desk, engines: list[Engine], lease: Lease, steps: dict[int, list[int]], first: int, kill: bool = False) -> str:
    """As a worker does: report until told otherwise. `steps`: what each trial has trained, in order."""
    number = lease.trial.number
    for step in range(first, 9):
        steps.setdefault(number, []).append(step)
        verdict = _judged(desk, engines[-1], lease, step, _curve(lease.trial.params, step))
        if kill:
            _kill(desk, engines)
        if verdict == "pause":
            _hand_back(desk, lease)
            return verdict
        assert verdict == "continue"
    desk.tell(lease, _curve(lease.trial.params, 8))
    return "complete"


def _rows(desk: Desk) -> list[Any]:
    with desk.database.read() as connection:
        return list(
            connection.execute(
                text(
                    "SELECT number, state, reason, not_before > now() + interval '1000 years' AS held, priority, attempts, objective_values, system_attrs"
                    " FROM trials WHERE study_id = :study ORDER BY number"
                ),
                {"study": desk.study.id},
            )
        )


def _run_to_the_end(
    desk: Desk,
    engines: list[Engine],
    steps: dict[int, list[int]] | None = None,
    *,
    kill: bool = False,
    checkpoints: bool = True,
) -> dict[int, list[int]]:
    steps = {} if steps is None else steps
    for _ in range(500):
        engines[-1].step()
        if desk.state()[0] != "RUNNING":
            return steps
        try:
            (lease,) = desk.ask(engines[-1])
        except StudyNotRunning:
            return steps
        if kill:
            _kill(desk, engines)
        known = steps.get(lease.trial.number)
        _train(desk, engines, lease, steps, known[-1] + 1 if known and checkpoints else 0, kill)
    raise AssertionError("the study does not end")


@pytest.mark.parametrize("kill", [False, True])
def test_a_study_from_first_to_last(database: Database, engines: list[Engine], kill: bool) -> None:
    desk = _desk(database, max_trials=12)
    steps = _run_to_the_end(desk, engines, kill=kill)
    assert desk.state() == ("COMPLETE", "max_trials")
    rows = _rows(desk)
    assert [row.number for row in rows] == list(range(12))
    for trained in steps.values():  # nothing lost, nothing trained twice
        assert trained == list(range(len(trained)))
        assert len(trained) in (1, 3, 9)
    ended = {row.state for row in rows}
    assert ended == {"COMPLETE", "PRUNED"}
    values = {lease: loss(params) for lease, params in enumerate(desk.params())}
    best = sorted(values, key=lambda number: values[number])
    assert {number for number, trained in steps.items() if len(trained) > 1} >= set(best[:4])
    assert rows[best[0]].state == "COMPLETE"
    for row in rows:
        last = _curve(desk.params()[row.number], steps[row.number][-1])
        assert json.loads(row.objective_values) == pytest.approx([last])
        assert row.attempts <= 1


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_kills_change_no_decision(database: Database, engines: list[Engine], sampler: str) -> None:
    found = []
    for name, kill in (("calm", False), ("killed", True)):
        options = {"name": sampler, "seed": 3, "n_startup_trials": 4}
        desk = _desk(database, MIXED, name=name, max_trials=14, sampler=options)
        found.append((_run_to_the_end(desk, engines, kill=kill), desk.params(), desk.states()))
    assert found[0] == found[1]


def test_without_checkpoints_a_promoted_trial_passes_its_rung(database: Database, engines: list[Engine]) -> None:
    desk = _desk(database, max_trials=9)
    steps = _run_to_the_end(desk, engines, checkpoints=False)
    assert desk.state()[0] == "COMPLETE"
    assert any(trained == [0, *range(3), *range(9)] for trained in steps.values())


@pytest.mark.parametrize("max_trials", [1, 2])
def test_too_few_trials_for_halving_leave_the_best_trained_in_full(
    database: Database, engines: list[Engine], max_trials: int
) -> None:
    desk = _desk(database, max_trials=max_trials)
    _run_to_the_end(desk, engines)
    assert desk.state() == ("COMPLETE", "max_trials")
    values = [loss(params) for params in desk.params()]
    assert desk.states().count("COMPLETE") == 1
    assert desk.states()[values.index(min(values))] == "COMPLETE"


@pytest.mark.parametrize("kill", [False, True])
def test_trials_paused_before_an_edit_go_on_as_they_are(database: Database, engines: list[Engine], kill: bool) -> None:
    desk = _desk(database, max_trials=12, sampler={"name": "tpe", "seed": 1})
    steps: dict[int, list[int]] = {}
    for lease in desk.ask(engines[-1], 5):
        _train(desk, engines, lease, steps, 0, kill)
    before = desk.params()
    assert any(row.held for row in _rows(desk))
    studies.update_study(database, "default", desk.study.id, StudyPatch(space={"x": {"high": 3.0, "freeze": 2.5}}))
    _run_to_the_end(desk, engines, steps, kill=kill)
    assert desk.state() == ("COMPLETE", "max_trials")
    assert desk.params()[:5] == before
    assert {params["x"] for params in desk.params()[5:]} == {2.5}
    assert len(steps) == 12
    assert any(len(steps[number]) > 1 for number in range(5))  # promoted after the edit


def test_where_the_best_fails_the_next_is_trained_in_full(database: Database, engines: list[Engine]) -> None:
    desk = _desk(database, max_trials=2)
    for lease in desk.ask(engines[-1], 2):
        assert _judged(desk, engines[-1], lease, 0, float(lease.trial.number)) == "pause"
        _hand_back(desk, lease)
    engines[-1].step()
    (best,) = desk.take(2)
    assert best.trial.number == 0
    desk.fail(best)
    engines[-1].step()
    (other,) = desk.take(2)
    assert other.trial.number == 1
    desk.tell(other, 0.5)
    engines[-1].step()
    assert desk.states() == ["FAIL", "COMPLETE"]
    assert desk.state() == ("COMPLETE", "max_trials")


def test_without_checkpoints_trials_end_at_their_rungs(database: Database, engines: list[Engine]) -> None:
    desk = _desk(database, max_trials=9, pruner={**PROMOTION, "resume": False})
    steps: dict[int, list[int]] = {}
    for _ in range(9):
        (lease,) = desk.ask(engines[-1])
        for step in range(9):
            steps.setdefault(lease.trial.number, []).append(step)
            verdict = _judged(desk, engines[-1], lease, step, _curve(lease.trial.params, step))
            _kill(desk, engines)
            if verdict != "continue":
                assert verdict == "prune"
                leases.tell(database, "default", lease.id, Tell(state="PRUNED"))
                break
        else:
            desk.tell(lease, _curve(lease.trial.params, 8))
    engines[-1].step()
    assert desk.state() == ("COMPLETE", "max_trials")
    assert set(desk.states()) == {"COMPLETE", "PRUNED"}
    assert {len(trained) for trained in steps.values()} <= {1, 3, 9}
    assert len(steps[0]) == 9  # with nothing to compare it with the first goes on
    values = [loss(params) for params in desk.params()]
    assert len(steps[values.index(min(values))]) == 9


def _pause_three(desk: Desk, engines: list[Engine]) -> list[Lease]:
    found = desk.ask(engines[-1], 3)
    for lease, value in zip(found, (0.3, 0.1, 0.2), strict=True):
        assert _judged(desk, engines[-1], lease, 0, value) == "pause"
    return found


def test_paused_trials_are_held_until_promoted(database: Database, engines: list[Engine]) -> None:
    desk = _desk(database)
    for lease in _pause_three(desk, engines):
        _hand_back(desk, lease)
    assert [(row.state, row.reason, row.held, row.priority) for row in _rows(desk)] == [
        ("WAITING", "paused_at_rung", True, -1)
    ] * 3
    assert desk.take() == []
    (lease,) = desk.ask(engines[-1])
    assert (lease.trial.number, lease.attempt) == (1, 2)
    (other,) = desk.ask(engines[-1])
    assert other.trial.number == 3  # nobody else is in the top third: a new one
    assert [row.state for row in _rows(desk)] == ["WAITING", "RUNNING", "WAITING", "RUNNING"]


def test_a_search_killed_between_pause_and_promotion(database: Database, engines: list[Engine]) -> None:
    desk = _desk(database)
    for lease in _pause_three(desk, engines):
        _kill(desk, engines)
        _hand_back(desk, lease)
    _kill(desk, engines)
    desk.demand()
    engines[-1].step()
    _kill(desk, engines)  # promoted, not leased yet
    desk.demand()
    engines[-1].step()
    assert [json.loads(row.system_attrs).get("tuner:rung") for row in _rows(desk)] == [None, 1, None]
    assert [lease.trial.number for lease in desk.take(5)] == [1]


def _expire(desk: Desk, lease: Lease) -> None:
    with desk.database.begin() as connection:
        connection.execute(
            text("UPDATE attempts SET expires_at = clock_timestamp() - interval '1 second' WHERE id = :id"), {"id": lease.id}
        )
    assert leases.reap(desk.database, backoff=0.0) == 1


def test_a_worker_that_dies_after_the_pause_was_decided(database: Database, engines: list[Engine]) -> None:
    desk = _desk(database)
    for lease in _pause_three(desk, engines):
        _expire(desk, lease)
    assert {(row.state, row.reason, row.held) for row in _rows(desk)} == {("WAITING", "paused_at_rung", True)}
    assert [lease.trial.number for lease in desk.ask(engines[-1])] == [1]


def test_a_worker_that_dies_before_the_pause_was_decided(database: Database, engines: list[Engine]) -> None:
    desk = _desk(database)
    found = desk.ask(engines[-1], 3)
    for lease, value in zip(found, (0.3, 0.1, 0.2), strict=True):
        desk.report(lease, 0, value)
        _expire(desk, lease)
    engines[-1].step()
    assert {(row.state, row.reason, row.held) for row in _rows(desk)} == {("WAITING", "paused_at_rung", True)}
    assert [lease.trial.number for lease in desk.ask(engines[-1])] == [1]


def test_a_preempted_trial_before_its_rung_goes_on(database: Database, engines: list[Engine]) -> None:
    desk = _desk(database, pruner={"name": "promotion", "max_resource": 9, "min_resource": 3})
    (lease,) = desk.ask(engines[-1])
    assert _judged(desk, engines[-1], lease, 0, 0.5) == "continue"
    leases.tell(database, "default", lease.id, Tell(state="WAITING", reason="preempted"))
    (again,) = desk.ask(engines[-1])
    assert (again.trial.number, again.attempt) == (0, 2)


def test_resuming_the_study_does_not_lift_a_pause_at_a_rung(database: Database, engines: list[Engine]) -> None:
    desk = _desk(database)
    at_rung, before = desk.ask(engines[-1], 2)
    assert _judged(desk, engines[-1], at_rung, 0, 0.5) == "pause"
    studies.pause(database, "default", desk.study.id)
    assert leases.renew(database, "default", before.id).verdict == "pause"
    studies.resume(database, "default", desk.study.id)
    assert leases.renew(database, "default", at_rung.id).verdict == "pause"
    assert leases.renew(database, "default", before.id).verdict == "continue"


def test_stop_ends_paused_trials_as_pruned(database: Database, engines: list[Engine]) -> None:
    desk = _desk(database)
    for lease in _pause_three(desk, engines):
        _hand_back(desk, lease)
    studies.stop(database, "default", desk.study.id)
    engines[-1].step()
    assert [(row.state, row.objective_values) for row in _rows(desk)] == [
        ("PRUNED", "[0.3]"),
        ("PRUNED", "[0.1]"),
        ("PRUNED", "[0.2]"),
    ]
    assert desk.state() == ("STOPPED", "stopped")


def test_cancelled_trials_are_never_promoted(database: Database, engines: list[Engine]) -> None:
    desk = _desk(database)
    found = _pause_three(desk, engines)
    for lease in found:
        _hand_back(desk, lease)
    engines[-1].step()
    trials.cancel(database, "default", found[1].trial.id)
    (lease,) = desk.ask(engines[-1])
    assert lease.trial.number == 3


def test_a_grid_ends(database: Database, engines: list[Engine]) -> None:
    desk = _desk(database, FINITE, sampler={"name": "grid"}, max_trials=None)
    _run_to_the_end(desk, engines)
    assert desk.state() == ("COMPLETE", "space_exhausted")
    assert set(desk.states()) == {"COMPLETE", "PRUNED"}
    assert len(desk.states()) == 12


def test_a_batch_beyond_the_rung_pauses(database: Database, engines: list[Engine]) -> None:
    desk = _desk(database)
    (lease,) = desk.ask(engines[-1])
    reports.append(database, "default", lease.id, [Report(step=step, values={"loss": 0.1}) for step in range(5)])
    engines[-1].step()
    answer = reports.get_verdict(database, "default", lease.id, 4)
    assert (str(answer.answer.verdict), answer.judged) == ("pause", True)


def test_a_pause_that_comes_after_the_last_report_costs_no_result(database: Database, engines: list[Engine]) -> None:
    desk = _desk(database, max_trials=4)
    first, *others = desk.ask(engines[-1], 4)
    reports.append(database, "default", first.id, [Report(step=0, values={"loss": 0.9})])
    engines[-1].step()
    for lease in others:
        assert _judged(desk, engines[-1], lease, 0, 0.1) == "pause"
        _hand_back(desk, lease)
    reports.append(database, "default", first.id, [Report(step=step, values={"loss": 0.9}) for step in range(1, 9)])
    _hand_back(desk, first)
    (again,) = desk.ask(engines[-1])
    assert again.trial.number == first.trial.number
    desk.tell(again, 0.9)
    assert desk.states()[first.trial.number] == "COMPLETE"


def test_a_pause_by_a_search_that_had_lost_the_study_is_lifted(database: Database, engines: list[Engine]) -> None:
    desk = _desk(database)
    for lease in _pause_three(desk, engines):
        _hand_back(desk, lease)
    (lease,) = desk.ask(engines[-1])
    with database.begin() as connection:
        trials.judge(connection, desk.study.id, {lease.trial.id: (0, Verdict.PAUSE)})  # late: it runs to the next rung by now
    _hand_back(desk, lease)
    (again,) = desk.ask(engines[-1])
    assert again.trial.number == lease.trial.number
    assert json.loads(_rows(desk)[again.trial.number].system_attrs)["tuner:rung"] == 1


def test_a_trial_without_the_objective_is_not_paused(database: Database, engines: list[Engine]) -> None:
    desk = _desk(database)
    (lease,) = desk.ask(engines[-1])
    reports.append(database, "default", lease.id, [Report(step=0, values={"other": 1.0})])
    engines[-1].step()
    assert reports.get_verdict(database, "default", lease.id, 0).answer.verdict == "continue"
    assert _judged(desk, engines[-1], lease, 1, 0.5) == "pause"


# --- the model -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sampler",
    [
        {"name": "auto"},
        {"name": "tpe", "group": True},
        {"name": "tpe", "multivariate": False},
        {"name": "gp"},
    ],
    ids=str,
)
def test_models_learn_from_paused_trials(database: Database, engines: list[Engine], sampler: dict[str, Any]) -> None:
    """No trial ever ends, and yet the proposals close in on what was good at the first rung."""
    space = CONDITIONAL if sampler.get("group") else SPACE | {"y": SPACE["x"]}
    pruner = {**PROMOTION, "max_resource": 1000, "eta": 100}
    desk = _desk(database, space, sampler={**sampler, "seed": 5}, pruner=pruner)

    def value(params: Mapping[str, Any]) -> float:
        if "x" in params:
            return abs(float(params["x"]) - 0.2) + abs(float(params["y"]) - 0.7)
        return loss(params)

    for _ in range(60):
        (lease,) = desk.ask(engines[-1])
        assert _judged(desk, engines[-1], lease, 0, value(lease.trial.params)) == "pause"
        _hand_back(desk, lease)
    values = [value(params) for params in desk.params()]
    assert np.median(values[40:]) < 0.75 * np.median(values[:12])
    assert set(desk.states()) == {"WAITING"}


@pytest.mark.parametrize("pruner", ["successive_halving", "hyperband", "threshold"])
def test_beside_another_pruner_the_first_survivors_are_not_copied(database: Database, engines: list[Engine], pruner: str) -> None:
    """Two bad trials come to their end; of the many that ended early, the good ones teach all the same."""
    options = {"threshold": {"upper": 9.0}}.get(pruner, {})
    desk = _desk(database, SPACE | {"y": SPACE["x"]}, sampler={"name": "auto", "seed": 5}, pruner={"name": pruner, **options})
    for place in range(40):
        x, y = (0.9, 0.1) if place < 2 else (place % 7 / 7, place % 5 / 5)
        trials.create(database, "default", desk.study.id, TrialCreate(params={"x": x, "y": y}))
        (lease,) = desk.ask(engines[-1])
        value = abs(x - 0.2) + abs(y - 0.7)
        desk.report(lease, 0, value)
        if place < 2:
            desk.tell(lease, value)
        else:
            leases.tell(database, "default", lease.id, Tell(state="PRUNED"))
    found = [lease.trial.params for lease in desk.ask(engines[-1], 12)]
    assert np.median([abs(params["x"] - 0.2) + abs(params["y"] - 0.7) for params in found]) < 0.5
