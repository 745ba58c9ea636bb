"""The rule of promotion: who pauses at a rung, and who is promoted, from the results alone."""

from __future__ import annotations

import json
import math

import pytest
from optuna.distributions import FloatDistribution

from tests.tuner.search.rows import trial_row
from tuner.search.history import History
from tuner.search.rungs import Rungs
from tuner.search.standings import Result
from tuner.spec import StudySpec
from tuner.strategies import rung_resources


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
