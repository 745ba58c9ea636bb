"""The race on seeds: who is repeated next, who is the best, from trials alone."""

from __future__ import annotations

import itertools
import random
from typing import Any

import numpy as np
import pytest

from tests.tuner.specs import external
from tuner.errors import InvalidSpec
from tuner.racing import Configuration, Race, before_reserve, reserve
from tuner.spec import StudySpec
from tuner.wire import Reason, TrialState

COMPLETE, WAITING, RUNNING, FAIL = TrialState.COMPLETE, TrialState.WAITING, TrialState.RUNNING, TrialState.FAIL


class Board:
    """A race whose trials are numbered as they come."""

    def __init__(self, most: int = 5) -> None:
        self.race = Race(most)
        self.numbers = itertools.count()

    def add(self, loss: float | None, of: int | None = None, state: TrialState = COMPLETE, reason: str | None = None) -> int:
        number = next(self.numbers)
        self.race.take_in(number, state, reason, loss, of)
        return number

    def configuration(self, *losses: float) -> int:
        """With so many seeds."""
        number = self.add(losses[0])
        for loss in losses[1:]:
            self.add(loss, number)
        return number

    def next(self, **options: Any) -> int | None:
        return self.race.next_repeat(**{"max_failures": 3, **options})

    @property
    def best(self) -> int | None:
        return None if self.race.incumbent is None else self.race.incumbent.number


def test_nothing_is_repeated_before_there_is_something_to_hold_against() -> None:
    board = Board()
    assert board.best is None
    assert board.next() is None
    for loss in (3.0, 1.0, 2.0):
        board.add(loss)
        assert board.next() is None
    assert board.best == 1


def test_the_incumbent_gets_a_seed_for_each_square_number_of_configurations() -> None:
    board = Board()
    asked = []
    for number in range(30):
        board.add(float(number), state=COMPLETE)
        while board.next() == 0:
            board.add(0.0, 0)
            asked.append(number + 1)
    assert asked == [4, 9, 16, 25]
    assert board.race.configurations[0].num_seeds == 5


def test_a_challenger_doubles_its_seeds_until_it_is_worse() -> None:
    board = Board()
    incumbent = board.configuration(1.0, 1.0, 1.0, 1.0, 1.0)
    for _ in range(8):
        board.add(9.0)
    challenger = board.add(0.5)
    assert board.next() == challenger
    first = board.add(None, challenger, RUNNING)
    assert board.next() is None  # one seed more doubles one
    board.race.take_in(first, COMPLETE, None, 0.7, challenger)
    batch = []
    while board.next() == challenger:
        batch.append(board.add(None, challenger, WAITING))
    assert len(batch) == 2
    board.race.take_in(batch[0], COMPLETE, None, 0.9, challenger)
    assert board.next() is None  # the other of the batch is under way
    board.race.take_in(batch[1], COMPLETE, None, 5.0, challenger)
    assert board.next() is None
    assert board.best == incumbent


def test_a_challenger_with_as_many_seeds_and_the_lower_mean_is_the_best() -> None:
    board = Board()
    board.configuration(1.0, 1.0, 1.0, 1.0, 1.0)
    for _ in range(8):
        board.add(9.0)
    challenger = board.add(0.5)
    asked = 0
    while board.next() == challenger:
        board.add(0.9, challenger)
        asked += 1
    assert asked == 4
    assert board.best == challenger
    assert board.next() is None


def test_a_tie_is_a_challenge_and_the_earlier_one_stays() -> None:
    board = Board(most=2)
    first = board.configuration(1.0, 1.0)
    second = board.add(1.0)
    board.add(9.0)
    assert board.next() == second
    board.add(1.0, second)
    assert board.best == first


def test_those_beaten_are_challengers_again_when_the_incumbent_was_lucky() -> None:
    board = Board()
    lucky = board.add(0.0)
    other = board.add(0.5)
    board.add(9.0)
    board.add(9.0)
    assert board.next() == lucky
    board.add(3.0, lucky)
    assert board.next() == other


def test_the_race_begun_goes_before_one_that_has_not() -> None:
    board = Board()
    board.configuration(1.0, 1.0, 1.0, 1.0, 1.0)
    for _ in range(8):
        board.add(9.0)
    begun = board.configuration(0.9, 0.9)
    board.add(0.1)
    assert board.next() == begun


def test_at_most_as_many_repeats_as_configurations() -> None:
    board = Board()
    board.configuration(1.0, 1.0, 1.0, 1.0, 1.0)
    for _ in range(3):
        board.add(0.5)
    assert board.next() is None  # four of each
    board.add(9.0)
    assert board.next() == 5
    assert board.next(ending=True) == 5


def test_failed_repeats_are_made_up_for_until_there_are_too_many() -> None:
    board = Board(most=2)
    incumbent = board.add(1.0)
    for _ in range(9):
        board.add(9.0)
    for reason in (Reason.LOST, Reason.CANCELLED, Reason.EXCEPTION):
        assert board.next() == incumbent
        board.add(None, incumbent, FAIL, reason)
    assert board.next() is None
    assert board.next(max_failures=4) == incumbent
    assert board.best == incumbent


def test_a_configuration_that_diverges_on_a_seed_is_not_the_best() -> None:
    board = Board()
    diverging = board.add(0.1)
    board.add(None, diverging, FAIL, Reason.NAN)
    other = board.add(1.0)
    assert board.best == other
    assert board.next(ending=True) == other


def test_only_complete_trials_race() -> None:
    board = Board(most=3)
    board.add(0.1, state=TrialState.PRUNED)
    board.add(0.0, state=WAITING, reason=Reason.PAUSED_AT_RUNG)
    board.add(None, state=FAIL)
    complete = board.add(1.0)
    assert board.best == complete
    assert board.next(ending=True) == complete
    assert board.race.under_way == {1}


def test_at_the_end_the_best_that_can_still_catch_up_gets_all_it_lacks() -> None:
    board = Board()
    incumbent = board.configuration(1.0, 1.0, 1.0, 1.0)
    late, later = board.add(0.5), board.add(0.4)
    for _ in range(9):
        board.add(9.0)
    assert board.next(ending=True, left=2) == incumbent
    for left in (4, 3, 2):
        assert board.next(ending=True, left=left) == later
        board.add(None, later, WAITING)
    assert board.next(ending=True, left=1) == incumbent
    assert late not in (board.next(ending=True, left=left) for left in (2, 1))


def test_the_reserve_is_what_one_configuration_may_need() -> None:
    assert reserve(5, 60) == 4
    assert reserve(100, 120) == 60


def test_neither_the_order_of_results_nor_their_repetition_matters() -> None:
    rng = random.Random(3)
    trials: list[tuple[int, TrialState, str | None, float | None, int | None]] = []
    for number in range(60):
        of = rng.randrange(number) if number > 5 and rng.random() < 0.4 else None
        if of is not None and trials[of][4] is not None:
            of = trials[of][4]
        state = rng.choice([COMPLETE, COMPLETE, COMPLETE, RUNNING, FAIL])
        trials.append((number, state, None, rng.random() if state == COMPLETE else None, of))
    found = set()
    for seed in range(20):
        order = trials.copy()
        random.Random(seed).shuffle(order)
        race = Race(5)
        for number, _, _, _, of in order:
            race.take_in(number, WAITING, None, None, of)
        for trial in [*order, *order[:30]]:
            race.take_in(*trial)
        assert race.incumbent is not None
        found.add(
            (race.incumbent.number, race.next_repeat(max_failures=3), race.next_repeat(max_failures=3, ending=True, left=4))
        )
    assert len(found) == 1


def test_the_order_that_is_kept_says_what_the_rule_says() -> None:
    rng = random.Random(5)
    race, ended, numbers = Race(4), 0, itertools.count()
    running: list[tuple[int, int | None]] = []
    decided = set()
    for _ in range(600):
        of = race.next_repeat(max_failures=2)
        number = next(numbers)
        race.take_in(number, WAITING, None, None, of)
        running.append((number, of))
        while len(running) > rng.randrange(6):
            number, of = running.pop(rng.randrange(len(running)))
            state = rng.choice([COMPLETE] * 6 + [FAIL])
            loss = round(rng.gauss(0.0, 2.0), 1) if rng.random() < 0.95 else float("inf")  # with ties, and infeasible ones
            race.take_in(number, state, None, loss if state == COMPLETE else None, of)
            ended += 1
        for options in ({}, {"most_repeats": 20}, {"ending": True}, {"ending": True, "left": 2}):
            found = race.next_repeat(max_failures=2, **options)
            assert found == _rule(race, 2, **options)
            decided.add((found is None, *options))
    assert len(race._repeats) > 100
    assert len(decided) >= 4


def _rule(
    race: Race, max_failures: int, *, most_repeats: int | None = None, ending: bool = False, left: int | None = None
) -> int | None:
    """Whom to repeat, from all configurations anew."""
    racing = [each for each in race.configurations.values() if each.races]
    incumbent = min(racing, key=lambda each: (-each.num_seeds, each.mean, each.number), default=None)
    assert race.incumbent is incumbent
    assert race.is_pending == any(each.pending for each in race.configurations.values())
    most_repeats = len(race.configurations) if most_repeats is None else most_repeats
    if incumbent is None or (not ending and len(race._repeats) >= min(most_repeats, len(race.configurations))):
        return None

    def lacks(each: Configuration, goal: int) -> bool:
        return len(each.failed) < max_failures and each.num_seeds + len(each.pending) < goal

    lower = [each for each in racing if each.num_seeds < incumbent.num_seeds and each.mean <= incumbent.mean]
    if left is not None:
        able = [each for each in lower if incumbent.num_seeds - each.num_seeds - len(each.pending) <= left]
        able = [each for each in able if lacks(each, incumbent.num_seeds)]
        chosen = min(able, key=lambda each: (each.mean, each.number), default=None)
    else:
        able = [each for each in lower if lacks(each, min(incumbent.num_seeds, 2 ** each.num_seeds.bit_length()))]
        chosen = min(able, key=lambda each: (-each.num_seeds, each.mean, each.number), default=None)
    most = race.most if ending else min(race.most, int(len(racing) ** 0.5))
    if chosen is None and lacks(incumbent, most):
        chosen = incumbent
    return None if chosen is None else chosen.number


@pytest.mark.parametrize("num_workers", [1, 8])
def test_under_noise_the_best_of_a_race_is_truly_better_than_the_best_single_trial(num_workers: int) -> None:
    """Configurations and noise of the same size, 100 trainings either way, the regret averaged over 60 studies."""
    single, raced = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        true = np.abs(rng.normal(size=100))
        single.append(true[np.argmin(true + rng.normal(size=100))])
        raced.append(true[_race(rng, true, num_workers)])
    assert np.mean(raced) < 0.75 * np.mean(single)


def _race(rng: np.random.Generator, true: Any, num_workers: int) -> int:
    """Number of the best after as many trials as there are configurations; the workers end in random order."""
    race, running, roots = Race(5), list[int](), dict[int, int]()
    for number in range(len(true)):
        ending = number >= len(true) - reserve(5, len(true))
        most_repeats = before_reserve(5, len(true))
        left = len(true) - number if ending else None
        of = race.next_repeat(max_failures=3, most_repeats=most_repeats, ending=ending, left=left)
        race.take_in(number, RUNNING, None, None, of)
        roots[number] = number if of is None else of
        running.append(number)
        while len(running) >= num_workers or (running and number == len(true) - 1):
            done = running.pop(int(rng.integers(len(running))))
            root = roots[done]
            race.take_in(done, COMPLETE, None, true[root] + rng.normal(), None if root == done else root)
    assert race.incumbent is not None
    return race.incumbent.number


@pytest.mark.parametrize(
    "repeat, loc, says",
    [
        ({"max": 1}, "repeat.max", "an integer from 2 to 100"),
        ({"max": 0}, "repeat.max", "an integer from 2 to 100"),
        ({"max": 1000}, "repeat.max", "an integer from 2 to 100"),
        ({"max": "5"}, "repeat.max", "an integer from 2 to 100"),
        ({"max": None}, "repeat.max", "an integer from 2 to 100"),
        ({}, "repeat.max", "an integer from 2 to 100"),
        ({"max": 5, "min": 2}, "repeat.min", "max"),
        (5, "repeat", "{max: 5}"),
        ({"max": 20}, "repeat.max", "must be below limits.max_trials, 20"),
    ],
)
def test_what_is_wrong_with_repeat_is_said(repeat: Any, loc: str, says: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        external(repeat=repeat, limits={"max_trials": 20})
    assert [error.loc for error in caught.value.errors] == [loc]
    assert says in caught.value.errors[0].msg


@pytest.mark.parametrize(
    "changes, loc, says",
    [
        (
            {"space": {"x": {"type": "categorical", "choices": ["a", "b"]}}, "compare": {"by": "x"}},
            "repeat",
            "does not go with compare",
        ),
        ({"pruner": {"name": "population", "max_resource": 9}}, "repeat", "does not go with a population"),
        (
            {"objectives": [{"name": "a", "direction": "minimize"}, {"name": "b", "direction": "minimize"}]},
            "repeat",
            "single objective",
        ),
    ],
)
def test_what_does_not_go_with_repeat_is_refused(changes: dict[str, Any], loc: str, says: str) -> None:
    external(**changes)
    with pytest.raises(InvalidSpec) as caught:
        external(repeat={"max": 5}, **changes)
    assert [error.loc for error in caught.value.errors] == [loc]
    assert says in caught.value.errors[0].msg


def test_a_trainers_fixed_seed_is_refused() -> None:
    trainer = {"dataset": {"name": "digits"}, "model": {"name": "mlp"}, "optimizer": {"name": "adam"}, "seed": 0}
    body = {
        "objectives": [{"name": "val_accuracy", "direction": "maximize"}],
        "trial": {"executor": "trainer", "trainer": trainer},
        "space": {"optimizer.lr": {"type": "float", "low": 1e-4, "high": 0.1, "log": True}},
        "repeat": {"max": 3},
    }
    with pytest.raises(InvalidSpec) as caught:
        external(**body)
    assert [error.loc for error in caught.value.errors] == ["trial.trainer.seed"]
    del trainer["seed"]
    assert external(**body).repeat is not None
    with pytest.raises(InvalidSpec) as caught:
        external(**{**body, "space": {"seed": {"type": "int", "low": 0, "high": 9}}})
    assert [error.loc for error in caught.value.errors] == ["space.seed"]


def test_a_study_without_repeat_is_stored_as_before() -> None:
    assert "repeat" not in external().to_json()
    repeating = external(repeat={"max": 5})
    assert StudySpec.parse(repeating.to_json()) == repeating
    assert repeating.digest() != external().digest()
