"""Which configurations finished studies lend, as arithmetic: scores, the greedy choice, and what a range that differs does."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tuner.search import portfolio
from tuner.search.portfolio import PastStudy, PastTrial
from tuner.space import SearchSpace

SPACE = SearchSpace.parse(
    {
        "lr": {"type": "float", "low": 1e-4, "high": 1.0, "log": True},
        "opt": {"type": "categorical", "choices": ["sgd", "adam"]},
        "beta": {"type": "float", "low": 0.0, "high": 0.9, "step": 0.1, "when": {"opt": "adam"}},
        "depth": {"type": "int", "low": 1, "high": 4},
    }
)


def _study(number: int, *trials: tuple[dict[str, Any], float], trained: bool = True) -> PastStudy:
    made = [PastTrial(number=place, params=params, loss=loss, trained=trained) for place, (params, loss) in enumerate(trials)]
    return PastStudy(id=number, name=f"study {number}", trials=made)


def _sampled(number: int, best_lr: float, *, seed: int = 0) -> PastStudy:
    """A study whose loss is the distance of lr from `best_lr`, in decades."""
    rng = np.random.default_rng(seed)
    trials = []
    for _ in range(60):
        lr = 10 ** rng.uniform(-4, 0)
        params = {"lr": lr, "opt": "sgd", "depth": int(rng.integers(1, 5))}
        trials.append((params, abs(math.log10(lr / best_lr))))
    return _study(number, *trials)


@pytest.mark.parametrize(
    "params, found",
    [
        ({"lr": 0.1, "opt": "sgd", "depth": 2}, {"lr": 0.1, "opt": "sgd", "depth": 2}),
        ({"lr": 7.0, "opt": "sgd", "depth": 9}, {"lr": 1.0, "opt": "sgd", "depth": 4}),
        ({"lr": 1e-9, "opt": "adam", "beta": 0.4444, "depth": 2}, {"lr": 1e-4, "opt": "adam", "beta": 0.4, "depth": 2}),
        ({"lr": 0.1, "opt": "sgd", "beta": 0.3, "depth": 2}, {"lr": 0.1, "opt": "sgd", "depth": 2}),
        ({"lr": 0.1, "opt": "lamb", "depth": 2}, None),
        ({"lr": 0.1, "opt": "adam", "depth": 2}, None),
        ({"lr": math.nan, "opt": "sgd", "depth": 2}, None),
    ],
)
def test_configurations_of_another_range(params: dict[str, Any], found: dict[str, Any] | None) -> None:
    assert portfolio.translate(SPACE, params) == found


def test_what_is_good_everywhere_goes_first_and_then_what_helps_the_study_served_worst() -> None:
    past = [_sampled(1, 1e-1, seed=1), _sampled(2, 3e-2, seed=2), _sampled(3, 1e-3, seed=3)]
    chosen = portfolio.choose(SPACE, past, 3)
    rates = [math.log10(float(candidate.params["lr"])) for candidate in chosen]  # type: ignore[arg-type]
    assert -1.9 < rates[0] < -0.7  # two of three have their best around there
    assert min(rates) < -2.5  # and the third is served next
    assert len({repr(candidate.params) for candidate in chosen}) == 3
    assert portfolio.choose(SPACE, past, 3) == chosen


def test_a_single_study_lends_its_best_in_order() -> None:
    study = _sampled(1, 1e-2)
    chosen = portfolio.choose(SPACE, [study], 4)
    best = sorted(study.trials, key=lambda trial: trial.loss)[:4]
    assert [candidate.trial.number for candidate in chosen] == [trial.number for trial in best]


def test_only_what_was_trained_to_its_end_is_lent() -> None:
    paused = _sampled(1, 1e-2)
    trials = [
        PastTrial(number=trial.number, params=trial.params, loss=trial.loss, trained=trial.number >= 50)
        for trial in paused.trials
    ]
    chosen = portfolio.choose(SPACE, [PastStudy(id=1, name="s", trials=trials)], 8)
    assert {candidate.trial.number for candidate in chosen} <= set(range(50, 60))


def test_too_little_says_nothing() -> None:
    params = {"lr": 0.1, "opt": "sgd", "depth": 2}
    assert portfolio.choose(SPACE, [], 8) == []
    assert portfolio.choose(SPACE, [_study(1, *[(params, 0.1)] * 4)], 8) == []
    assert portfolio.choose(SPACE, [_study(1, *[(params, math.inf)] * 9)], 8) == []
    assert portfolio.choose(SPACE, [_study(1, *[(params, 0.1)] * 9, trained=False)], 8) == []
    (only,) = portfolio.choose(SPACE, [_study(1, *[(params, 0.1)] * 5)], 8)
    assert only.params == params


@pytest.mark.parametrize("max_trials, size", [(None, 8), (100, 8), (32, 8), (20, 5), (4, 1), (1, 1)])
@pytest.mark.parametrize("max_concurrent_trials", [None, 4])
def test_a_quarter_of_the_trials_at_most(max_trials: int | None, max_concurrent_trials: int | None, size: int) -> None:
    assert portfolio.size(max_trials, max_concurrent_trials) == size


@pytest.mark.parametrize("max_trials, size", [(None, 16), (100, 16), (40, 10)])
def test_as_many_as_may_run_at_once(max_trials: int | None, size: int) -> None:
    assert portfolio.size(max_trials, 16) == size
    assert portfolio.size(None, 10**9) == portfolio.MAX_SIZE


def test_a_configuration_that_diverged_on_one_of_most_seeds_is_not_what_others_are_held_against() -> None:
    made = _sampled(1, 1e-2)
    diverged = PastTrial(number=60, params={"lr": 0.5, "opt": "sgd", "depth": 2}, loss=math.inf, trained=True, seeds=5)
    past = PastStudy(id=1, name="study 1", trials=[*made.trials, diverged])
    best = min(made.trials, key=lambda trial: trial.loss)
    (chosen,) = portfolio.choose(SPACE, [past], 1)
    assert chosen.params == best.params
    worst = max(made.trials, key=lambda trial: trial.loss)
    regrets = portfolio._regrets(SPACE, past, [chosen, portfolio.Candidate(params=worst.params, study=past, trial=worst)])
    assert regrets.tolist() == [0.0, 1.0]
