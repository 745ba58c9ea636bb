"""The front is what comparing each point with each other gives."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from tuner.front import front

LOSSES = st.one_of(st.integers(-2, 2).map(float), st.sampled_from([math.inf, -math.inf, 0.5]))


def dominates(one: list[float], other: list[float]) -> bool:
    return all(a <= b for a, b in zip(one, other, strict=True)) and one != other


@settings(deadline=None)
@given(st.integers(1, 4).flatmap(lambda size: st.lists(st.lists(LOSSES, min_size=size, max_size=size), max_size=40)))
def test_no_other_is_as_good_and_better(points: list[list[float]]) -> None:
    expected = [index for index, point in enumerate(points) if not any(dominates(other, point) for other in points)]
    assert front(points) == expected


def test_nan_is_compared_with_none() -> None:
    assert front([[0.0, 1.0], [math.nan, 0.0], [1.0, 1.0], [math.nan, 5.0]]) == [0, 1, 3]
    assert front([[math.nan]]) == [0]
