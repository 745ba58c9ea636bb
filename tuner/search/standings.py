"""Who stands where among the trials that have come to the same place, such as a rung: the best first.

Feasible trials come before infeasible ones, which go by how far they break the outcome constraints. With one objective trials go by its
value; with several by non-dominated sorting, and within a front by an epsilon-net, the way that Schmucker et al. 2021 ("Multi-objective
Asynchronous Successive Halving", arXiv 2106.12639) found best for choosing whom to promote: the one that is best by the first objective,
then always the one that lies farthest from those before it, so that a front cut short is still spread over its length.

Weakness: with several objectives the order is made anew after each result, from all of them.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from optuna.study._multi_objective import _fast_non_domination_rank

Floats = npt.NDArray[np.float64]


class Result(NamedTuple):
    """`violation` of outcome constraints, 0 where they are met; `losses`: each objective's value, the smaller the better.

    Ordered as results of one objective are.
    """

    violation: float
    losses: tuple[float, ...]

    @classmethod
    def of(cls, losses: Sequence[float], violation: float = 0.0) -> Result:
        """A result with a NaN is as bad as can be."""
        if any(math.isnan(loss) for loss in losses):
            return cls(math.inf, (math.inf,) * len(losses))
        return cls(violation, tuple(losses))

    @property
    def is_usable(self) -> bool:
        return self.violation < math.inf and max(self.losses) < math.inf


Key = tuple[float, ...] | Result


class Standings:
    """Results by number of trial, and their order; equals go by number."""

    def __init__(self, num_objectives: int = 1) -> None:
        self.results: dict[int, Result] = {}
        self._is_single = num_objectives == 1
        self._ordered: list[tuple[Key, int]] = []
        self._is_outdated = False

    def __len__(self) -> int:
        return len(self.results)

    def put(self, number: int, result: Result) -> None:
        """Take in a trial's result, or another one in its place."""
        known = self.results.get(number)
        self.results[number] = result
        if not self._is_single:
            self._is_outdated = True
            return
        if known is not None:
            del self._ordered[bisect.bisect_left(self._ordered, (known, number))]
        bisect.insort(self._ordered, (result, number))

    def top(self, count: int | None = None) -> list[tuple[Key, int]]:
        """The `count` best, or all: what to merge several standings by, and the number."""
        self._bring_up_to_date()
        return self._ordered[:count]

    def place(self, number: int) -> int:
        """How many stand before the trial."""
        self._bring_up_to_date()
        if self._is_single:
            return bisect.bisect_left(self._ordered, (self.results[number], number))
        return next(place for place, (_, each) in enumerate(self._ordered) if each == number)

    def _bring_up_to_date(self) -> None:
        if self._is_outdated:
            numbers = sorted(self.results)
            results = [self.results[number] for number in numbers]
            self._ordered = [((float(place),), numbers[index]) for place, index in enumerate(order(results))]
            self._is_outdated = False


def order(results: Sequence[Result]) -> list[int]:
    """Indices, the best first: front by front, each front spread out. Of equals the one given first."""
    if not results:
        return []
    losses = np.array([result.losses for result in results], dtype=np.float64)
    violations = np.array([result.violation for result in results], dtype=np.float64)
    ranks = _fast_non_domination_rank(losses, penalty=violations)
    ordered: list[int] = []
    for rank in np.unique(ranks):
        members = np.flatnonzero(ranks == rank)
        ordered += members[spread(losses[members])].tolist()
    return ordered


def spread(losses: Floats) -> list[int]:
    """The order in which an epsilon-net takes points `[points, objectives]`: each the farthest from those before it.

    Distances are in units of each objective's range among the points. The first is the best by the first objective.
    """
    finite = np.where(np.isfinite(losses), losses, np.nan)
    low, high = (np.nan_to_num(end) for end in (_end(finite, np.fmin), _end(finite, np.fmax)))
    scaled = np.clip((np.clip(losses, low, high) - low) / np.where(high > low, high - low, 1.0), 0.0, 1.0)
    taken = [int(np.lexsort(losses.T[::-1])[0])]
    distances = np.full(len(losses), np.inf)
    for _ in range(len(losses) - 1):
        distances = np.minimum(distances, np.linalg.norm(scaled - scaled[taken[-1]], axis=1))
        distances[taken[-1]] = -1.0
        taken.append(int(np.argmax(distances)))
    return taken


def _end(values: Floats, end: np.ufunc) -> Floats:
    """The least or the greatest of each column without NaN; NaN of a column without any number."""
    found: Floats = end.reduce(values, axis=0)
    return found
