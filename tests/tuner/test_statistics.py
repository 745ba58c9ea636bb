from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from tuner import statistics


def test_expected_best_is_the_mean_over_all_subsets() -> None:
    losses = np.array([3.0, 1.0, 4.0, 1.5, 9.0, 2.6])
    for k in range(1, 7):
        smallest = [min(subset) for subset in combinations(losses, k)]
        assert statistics.expected_best(losses, [k])[0] == pytest.approx(np.mean(smallest))


def test_expected_best_by_hand() -> None:
    # Of {1, 2, 3} two: (1,2) (1,3) (2,3), the smallest 1, 1, 2.
    assert statistics.expected_best(np.array([3.0, 1.0, 2.0]), [1, 2, 3]) == pytest.approx([2.0, 4 / 3, 1.0])


def test_weights_of_many_trials_sum_to_one() -> None:
    weights = statistics.subset_weights(20_000, [1, 7, 10_000, 20_000])
    assert weights.sum(axis=1) == pytest.approx(1.0)
    assert np.all(np.diff(weights, axis=1) <= 1e-12)
    assert weights[-1, 0] == 1.0


def test_resamples_have_the_spread_of_the_mean() -> None:
    losses = np.random.default_rng(0).normal(size=50)
    resampled = statistics.resample_best(losses, [1], np.random.default_rng(1), 4000)
    assert resampled.shape == (4000, 1)
    assert resampled.std() == pytest.approx(losses.std() / 50**0.5, rel=0.05)
    assert resampled.mean() == pytest.approx(losses.mean(), abs=0.01)


@pytest.mark.parametrize("draw", ["lognormal", "uniform"])
@pytest.mark.parametrize("num_trials", [12, 32])
def test_the_interval_covers_the_truth(draw: str, num_trials: int) -> None:
    """At the k that is called reliable; the docstring gives what was measured for more distributions."""
    rng = np.random.default_rng(0)
    k = statistics.reliable(num_trials)
    sample = getattr(rng, draw)
    truth = sample(size=(200_000, k)).min(axis=1).mean()
    covered = 0
    for _ in range(300):
        losses = sample(size=num_trials)
        error = statistics.resample_best(losses, [k], rng, 300).std(axis=0, ddof=1)
        covered += abs(statistics.expected_best(losses, [k]) - truth)[0] <= statistics.spread(error, num_trials)[0]
    assert 0.87 <= covered / 300 <= 0.99


def test_one_trial_has_no_interval() -> None:
    assert statistics.spread(np.zeros(1), 1) == np.inf


def test_the_deviation_of_huge_and_tiny_losses() -> None:
    losses = np.array([[1e300, -1e300, 0.0], [1.0, 2.0, 4.0], [0.0, 0.0, 0.0], [1e-300, 2e-300, 4e-300]]).T
    by_hand = np.array([1.0, 2.0, 4.0]).std(ddof=1)
    assert statistics.deviation(losses, axis=0) == pytest.approx([1e300, by_hand, 0.0, by_hand * 1e-300], rel=1e-12, abs=0)
    assert float(statistics.deviation(losses[:, 1])) == pytest.approx(by_hand)


def test_ranks_of_resamples() -> None:
    # The first is always best; the other two change places in half of the resamples.
    resampled = np.array([[0.0, 1.0, 2.0], [0.0, 2.0, 1.0]] * 50)
    low, high = statistics.bootstrap_ranks(resampled)
    assert (low.tolist(), high.tolist()) == ([1, 2, 2], [1, 3, 3])
    low, high = statistics.bootstrap_ranks(np.ones((10, 2)))
    assert (low.tolist(), high.tolist()) == ([1, 1], [2, 2])
    assert statistics.rank(np.array([2.0, 1.0, 2.0])).tolist() == [2.5, 1.0, 2.5]


def test_matched_by_hand() -> None:
    """Six differences of one sign: the exact p-value is 2 / 2^6."""
    first = np.arange(6.0)
    p, superiority = statistics.compare_matched(first, first + np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))
    assert (p, superiority) == (pytest.approx(2 / 64), 1.0)
    assert p == statistics.smallest_p(6, matched=True)
    # Differences -3, 1, 2 of rank 3, 1, 2: half of the ranks speak for the first.
    assert statistics.compare_matched(np.zeros(3), np.array([3.0, -1.0, -2.0]))[1] == 0.5
    assert statistics.compare_matched(first, first) == (1.0, 0.5)
    assert statistics.compare_matched(np.zeros(0), np.zeros(0)) == (1.0, 0.5)


def test_unmatched_by_hand() -> None:
    """All of four below all of four: 2 / C(8, 4)."""
    p, superiority = statistics.compare_unmatched(np.arange(4.0), np.arange(4.0) + 10)
    assert (p, superiority) == (pytest.approx(2 / 70), 1.0)
    assert p == pytest.approx(statistics.smallest_p(4, matched=False))
    assert statistics.compare_unmatched(np.array([1.0, 3.0]), np.array([1.0, 2.0]))[1] == pytest.approx(3 / 8)
    assert statistics.compare_unmatched(np.ones(3), np.ones(5)) == (1.0, 0.5)
    assert statistics.compare_unmatched(np.zeros(0), np.ones(5)) == (1.0, 0.5)
    assert statistics.smallest_p(20_000, matched=False) == statistics.smallest_p(20_000, matched=True) == 0.0


def test_holm_by_hand() -> None:
    """Holm's own way: 0.01 * 4, 0.02 * 3, then never less than what came before, and never above 1."""
    assert statistics.correct([0.03, 0.01, 0.8, 0.02]) == pytest.approx([0.06, 0.04, 0.8, 0.06])
    assert statistics.correct([0.5, 0.6]) == [1.0, 1.0]
    assert statistics.correct([]) == []


@pytest.mark.parametrize("matched", [True, False])
def test_a_false_difference_is_shown_in_at_most_one_comparison_of_twenty(matched: bool) -> None:
    """Three equal levels of 15 trials: the chance that any pair of them comes out, over 200 comparisons."""
    rng = np.random.default_rng(5)
    test = statistics.compare_matched if matched else statistics.compare_unmatched
    shown = 0
    for _ in range(200):
        block = rng.normal(size=(1, 15)) if matched else 0.0  # what a seed does to all levels alike
        losses = np.exp(rng.normal(size=(3, 15)) + block)
        p_values = [test(losses[one], losses[other])[0] for one, other in combinations(range(3), 2)]
        shown += min(statistics.correct(p_values)) < statistics.SIGNIFICANT
    assert shown / 200 <= 0.05 + 2 * (0.05 * 0.95 / 200) ** 0.5


@pytest.mark.parametrize("matched", [True, False])
def test_a_clear_difference_is_shown(matched: bool) -> None:
    rng = np.random.default_rng(6)
    test = statistics.compare_matched if matched else statistics.compare_unmatched
    shown = sum(test(rng.normal(size=20), rng.normal(size=20) + 1.5)[0] < statistics.SIGNIFICANT for _ in range(100))
    assert shown >= 90


def test_spaced() -> None:
    assert statistics.spaced(5) == [1, 2, 3, 4, 5]
    wide = statistics.spaced(1000)
    assert (wide[0], wide[-1]) == (1, 1000)
    assert len(wide) <= 61
    assert wide == sorted(set(wide))
