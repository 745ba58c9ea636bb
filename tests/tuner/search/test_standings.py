"""The order of trials with several objectives, against a definition by brute force, and how a front is spread."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tuner.search.standings import Result, Standings, order, spread


def dominates(one: Result, other: Result) -> bool:
    """Constrained domination (Deb et al. 2002): the feasible before the infeasible, those by their violation."""
    if one.violation != other.violation:
        return one.violation < other.violation
    if one.violation > 0:
        return False
    pairs = list(zip(one.losses, other.losses, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def fronts(results: list[Result]) -> list[int]:
    """Of each result the number of its front, by peeling off those that nobody left dominates."""
    left, found, rank = set(range(len(results))), [0] * len(results), 0
    while left:
        front = {i for i in left if not any(dominates(results[j], results[i]) for j in left)}
        for i in front:
            found[i] = rank
        left -= front
        rank += 1
    return found


VALUES = st.sampled_from([-math.inf, -1.0, 0.0, 0.25, 0.5, 2.0, math.inf, math.nan])
RESULTS = st.integers(1, 3).flatmap(
    lambda size: st.lists(
        st.builds(
            Result.of,
            st.lists(VALUES, min_size=size, max_size=size),
            st.sampled_from([0.0, 0.0, 0.0, 0.5, 1.0, math.inf]),
        ),
        max_size=25,
    )
)


@given(RESULTS)
def test_order_is_front_by_front(results: list[Result]) -> None:
    found = order(results)
    assert sorted(found) == list(range(len(results)))
    ranks = fronts(results)
    assert [ranks[index] for index in found] == sorted(ranks)


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=1, max_size=20))
def test_a_front_is_taken_farthest_first(points: list[tuple[float, float]]) -> None:
    losses = np.array(points)
    found = spread(losses)
    assert sorted(found) == list(range(len(points)))
    assert points[found[0]] == min(points)
    span = losses.max(axis=0) - losses.min(axis=0)
    scaled = (losses - losses.min(axis=0)) / np.where(span > 0, span, 1.0)
    for count in range(1, len(points)):
        distances = [min(math.dist(scaled[each], scaled[taken]) for taken in found[:count]) for each in found[count:]]
        assert distances[0] >= max(distances) - 1e-9


def test_ends_of_a_front_come_first() -> None:
    front = [Result.of((x, 1 - x)) for x in (0.5, 0.0, 0.25, 1.0)]
    assert order([Result.of((2.0, 2.0)), *front]) == [2, 4, 1, 3, 0]


def test_units_of_an_objective_do_not_matter() -> None:
    rng = np.random.default_rng(0)
    losses = rng.random((30, 3))
    assert spread(losses) == spread(losses * [1.0, 1e6, 1e-6] + [0.0, 5.0, 0.0])


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 5), st.sampled_from([0.0, 0.0, 1.0])), max_size=30))
def test_standings_of_one_objective_are_sorted_results(puts: list[tuple[int, int, float]]) -> None:
    standings = Standings()
    latest: dict[int, Result] = {}
    for number, loss, violation in puts:
        latest[number] = Result.of([float(loss)], violation)
        standings.put(number, latest[number])
    wanted = [number for _, number in sorted((result, number) for number, result in latest.items())]
    assert [number for _, number in standings.top()] == wanted
    assert [standings.place(number) for number in wanted] == list(range(len(wanted)))
    assert [number for _, number in standings.top(2)] == wanted[:2]


def test_standings_of_several_objectives_follow_what_is_put() -> None:
    standings = Standings(2)
    standings.put(3, Result.of((1.0, 1.0)))
    standings.put(1, Result.of((2.0, 2.0)))
    assert [number for _, number in standings.top()] == [3, 1]
    standings.put(1, Result.of((0.5, 0.5)))
    assert [number for _, number in standings.top(1)] == [1]
    assert (standings.place(3), len(standings)) == (1, 2)
