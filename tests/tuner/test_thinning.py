"""Thinning of curves: extremes stay, few points stay, nothing is made up."""

from __future__ import annotations

import math

from tuner.thinning import thin


def test_short_curves_stay_whole() -> None:
    assert thin([], 4) == []
    assert thin([{"loss": 1.0}] * 4, 4) == [0, 1, 2, 3]


def test_spikes_ends_and_other_metrics_stay() -> None:
    metrics = [{"loss": math.exp(-step / 2000), "lr": 0.1} for step in range(10_000)]
    metrics[4321] = {"loss": 99.0, "lr": 0.1}
    metrics[4322] = {"loss": 0.5, "lr": -7.0}
    kept = thin(metrics, 400)
    assert kept == sorted(set(kept))
    assert {0, 4321, 4322, 9_999} <= set(kept)
    assert len(kept) <= 2 * 2 * 200 + 2


def test_what_is_no_number_is_no_extreme() -> None:
    kept = thin([{"loss": "NaN"}] * 1_000, 10)
    assert kept == [0, 999]
