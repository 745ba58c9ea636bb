"""Promotion: who pauses, who is promoted, what a kill between the two may do, and how such a study ends."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from optuna.distributions import FloatDistribution
from sqlalchemy import text

from tests.tuner.search.desk import CONDITIONAL, FINITE, MIXED, Desk, loss
from tests.tuner.search.rows import trial_row
from tuner import leases, reports, studies, trials
from tuner.db.postgres import Database
from tuner.errors import StudyNotRunning
from tuner.search.engine import Engine
from tuner.search.history import History
from tuner.search.rungs import Rungs
from tuner.search.standings import Result
from tuner.spec import StudySpec
from tuner.strategies import rung_resources
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


# --- the rule ------------------------------------------------------------------------------------------------------------


class _Board:
    """Rungs over a history in memory."""

    def __init__(self, *, direction: str = "minimize", num_brackets: int = 1, resumes: bool = True) -> None:
        space = {"x": FloatDistribution(0.0, 1.0)}
        self.history = History(study_id=1, name="s", directions=[direction], objectives=["loss"], space=space)
        self.rungs = Rungs(self.history, [1, 3, 9], eta=3, num_brackets=num_brackets, resumes=resumes)

    def put(self, number: int, *values: float, state: str = "WAITING", reason: str | None = "paused_at_rung") -> None:
        row = trial_row(
            number,
            state=state,
            reason=reason,
            objective_values=json.dumps([values[-1]]) if state == "COMPLETE" else None,
        )
        self.history.merge_trial(row)
        for step, value in enumerate(values):
            self.history.merge_report(100 + number, step, {"loss": value})
        self.rungs.take_in(number)


@pytest.mark.parametrize(
    "least, most, eta, resources",
    [
        (None, 20, 3, [1, 3, 9, 20]),
        (None, 100, 3, [5, 15, 45, 100]),
        (2, 9, 2, [2, 4, 8, 9]),
        (1, 1, 3, [1]),
        (3, 27, 3, [3, 9, 27]),
    ],
)
def test_resources(least: int | None, most: int, eta: int, resources: list[int]) -> None:
    assert rung_resources(least, most, eta) == resources


def test_top_third_at_any_time() -> None:
    board = _Board()
    board.put(0, 0.5)
    board.put(1, 0.4)
    assert list(board.rungs.list_promotable()) == []  # a third of two is nobody
    board.put(2, 0.9)
    assert list(board.rungs.list_promotable()) == [1]
    board.rungs.promote(1)
    assert list(board.rungs.list_promotable()) == []
    for number, value in ((3, 0.1), (4, 0.2), (5, 0.8)):
        board.put(number, value)
    assert list(board.rungs.list_promotable()) == [3, 4]  # a wrong pause is undone, whoever went before


def test_highest_rung_first_and_results_of_the_ended_count() -> None:
    board = _Board()
    for number in range(3):
        board.put(number, 0.1 * number)
        board.rungs.promote(number)
        board.put(number, 0.1 * number, 0.5, 0.5 - 0.1 * number)
    for number in range(3, 6):
        board.put(number, 0.01 * number, state="FAIL", reason="exception")
    board.put(6, 0.001)
    assert list(board.rungs.list_promotable()) == [2, 6]


def test_nan_is_worst_and_equals_go_by_number() -> None:
    board = _Board(direction="maximize")
    for number, value in enumerate((math.nan, 0.3, 0.3)):
        board.put(number, value)
    assert list(board.rungs.list_promotable()) == [1]
    assert board.rungs.best(0, 3) == [1, 2, 0]


def test_a_result_is_the_first_report_at_or_after_the_rung() -> None:
    board = _Board()
    board.put(0, reason=None, state="RUNNING")
    board.history.merge_report(100, 4, {"loss": 0.7})
    board.rungs.take_in(0)
    assert board.rungs.results(0) == {0: Result.of([0.7])}
    assert board.rungs.results(1) == {0: Result.of([0.7])}
    assert board.rungs.results(2) == {}
    assert board.rungs.judge(0, 0) == "pause"
    board.rungs.promote(0)
    assert board.rungs.judge(0, 8) == "continue"  # the last rung is the whole training


def test_who_came_past_a_rung_competes_where_it_stands() -> None:
    board = _Board()
    for number in range(3):
        board.put(number, 0.5, 0.4, 0.3 - 0.1 * number)
    board.put(3, 0.9)
    assert list(board.rungs.list_promotable()) == [2]
    board.rungs.promote(2)
    assert board.rungs.goal(2) == 2
    assert board.rungs.judge(2, 4) == "continue"


def test_who_was_trained_to_the_end_before_the_pause_reached_it_only_has_to_say_so() -> None:
    board = _Board()
    board.put(0, *[0.1] * 3)
    board.put(1, *[0.9] * 9)
    board.put(2, *[0.2] * 3)
    board.put(3, *[0.3] * 3)
    assert list(board.rungs.list_promotable()) == [1, 0]
    board.rungs.promote(1)
    assert board.rungs.goal(1) == 2
    assert list(board.rungs.list_promotable()) == [0]


@pytest.mark.parametrize("resumes", [True, False])
def test_nobody_is_paused_or_stopped_with_the_last_report(resumes: bool) -> None:
    board = _Board(resumes=resumes)
    for number in range(3):
        board.put(number, 0.1)
    board.put(3, *[0.9] * 8, state="RUNNING", reason=None)
    assert board.rungs.judge(3, 7) == ("pause" if resumes else "prune")
    board.put(3, *[0.9] * 9, state="RUNNING", reason=None)
    assert board.rungs.judge(3, 8) == "continue"


def test_another_value_of_the_same_report_replaces_the_first() -> None:
    board = _Board()
    board.put(0, 0.5)
    board.put(1, 0.4)
    board.put(0, 0.3)
    assert board.rungs.best(0, 3) == [0, 1]


def test_brackets_begin_at_their_rungs_and_compete_apart() -> None:
    board = _Board(num_brackets=3)
    for number in range(60):
        board.put(number, 0.5, state="RUNNING", reason=None)
    starts = [board.rungs.goal(number) for number in range(60)]
    assert set(starts) == {0, 1, 2}
    assert starts.count(0) > starts.count(1) > 0
    later = next(number for number in range(60) if starts[number] == 1)
    board.put(later, 0.5, 0.5, state="RUNNING", reason=None)
    assert board.rungs.judge(later, 1) == "continue"
    board.put(later, 0.5, 0.5, 0.5, state="RUNNING", reason=None)
    assert board.rungs.judge(later, 2) == "pause"


def test_who_would_be_promoted_next_goes_on_without_a_pause() -> None:
    board = _Board()
    board.put(0, 0.5)
    board.put(1, 0.4)
    board.put(2, 0.3, state="RUNNING", reason=None)
    assert board.rungs.judge(2, 0) == "continue"
    assert board.rungs.goal(2) == 1
    for number in (3, 4):
        board.put(number, 0.6)
    board.put(5, 0.2, state="RUNNING", reason=None)
    board.put(6, 0.1)  # waits, is better, and is the next
    assert board.rungs.judge(5, 0) == "pause"


def test_several_rungs_at_once() -> None:
    """A worker that does not wait for verdicts reports past rungs; it is judged at each."""
    board = _Board()
    for number in range(5):
        board.put(number, 0.5, 0.5, 0.5 + number)
        board.rungs.promote(number)
    board.put(5, 0.1, 0.1, 0.1, 0.1, state="RUNNING", reason=None)
    assert board.rungs.judge(5, 3) == "continue"
    assert board.rungs.goal(5) == 2


def test_without_checkpoints_who_is_not_among_the_best_ends() -> None:
    board = _Board(resumes=False)
    verdicts = []
    for number, value in enumerate((0.5, 0.4, 0.6, 0.45, 0.3, 0.41, math.nan)):
        board.put(number, value, state="RUNNING", reason=None)
        verdicts.append(str(board.rungs.judge(number, 0)))
    assert verdicts == ["continue", "continue", "prune", "prune", "continue", "prune", "prune"]
    first = _Board(resumes=False)
    first.put(0, math.nan, state="RUNNING", reason=None)
    assert first.rungs.judge(0, 0) == "prune"
    board.put(7, 0.9, reason="preempted")  # handed back by a worker that was stopped: it is nobody's to promote
    assert list(board.rungs.list_promotable()) == board.rungs.list_unheld() == []


def test_the_trainers_epochs_are_the_resource() -> None:
    body = {
        "objectives": [{"name": "val_loss", "direction": "minimize"}],
        "space": {"optimizer.lr": {"type": "float", "low": 1e-4, "high": 0.1, "log": True}},
        "pruner": {"name": "promotion"},
        "trial": {"executor": "trainer", "trainer": {"dataset": {"name": "digits"}, "model": {"name": "mlp"}, "epochs": 40}},
    }
    assert StudySpec.parse(body).max_resource == 40
    del body["trial"]["trainer"]["epochs"]  # type: ignore[index]
    assert StudySpec.parse(body).max_resource == 20


# --- over the tables -----------------------------------------------------------------------------------------------------


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
