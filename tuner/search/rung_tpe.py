"""TPE fitted to rung results instead of final values.

Optuna ranks every COMPLETE trial above every PRUNED one, so its TPE copies the first survivors of a halving, which survived because a rung
with few entries stops nobody. Here all trials that reached a rung are compared at that rung, and the highest rung with enough results
(dimension + 1, below which a density has nothing to say, and ten) leads. Trials under way of which nothing is known yet count as bad (constant
liar), so that the next proposal is another one; those that have come to a rung, paused or promoted, do not count beyond it: a promoted one
is among the best there, and calling it bad at the next would turn proposals away from where they should go. Until some rung holds that many results, and two for each trial under way,
proposals are random: with fewer the model would know less than it is asked by the workers at one time. After that every third is,
on average: what low rungs say may mislead, and so the search stays within a factor of random search with promotion (BOHB, Falkner et al. 2018).

With several objectives the good are the first by Pareto rank, and all that have come to no more than a lower rung are among the bad: compared
with survivors alone, the good of a front stand out against nothing, and proposals go where nobody has been.

Weakness: on the curves it was measured on it is not shown to end lower than random proposals with the same promotion (`benchmarks/SEARCH.md`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from optuna.distributions import BaseDistribution
from optuna.search_space.group_decomposed import _SearchSpaceGroup
from optuna.study import Study
from optuna.trial import FrozenTrial

from tuner.search.columns import Columns, Mask
from tuner.search.history import History
from tuner.search.rungs import RANDOM_SHARE, Rungs
from tuner.search.tpe import ColumnTPESampler


class RungColumns(Columns):
    """The columns of a study, divided by the results of the leading rung. `begin` fixes it for one proposal."""

    def __init__(self, history: History, rungs: Rungs) -> None:
        self._history = history
        self._rungs = rungs
        self._rung = 0
        self._is_single = len(history.directions) == 1
        super().__init__(history)

    def reset(self) -> None:
        super().reset()
        self._reached = [_Reached() for _ in self._rungs.resources]

    def begin(self, rung: int) -> None:
        self._rung = rung

    @property
    def num_finished(self) -> int:
        return self._rungs.num_results(self._rung)

    def below(self, count: int) -> npt.NDArray[np.intp]:
        best = self._rungs.best(self._rung, count)
        return np.array(sorted(self._history.place_of(number) for number in best), dtype=np.intp)

    def having(self, names: tuple[str, ...], *, running: bool) -> Mask:
        mask: Mask = np.zeros(self.num_rows, dtype=bool)
        if running:
            mask |= self._running[: self.num_rows] & ~self._reached_by(0).mask[: self.num_rows]
        # Those that came no further than a lower rung were worse there than who was promoted.
        mask |= self._reached_by(self._rung if self._is_single else 0).mask[: self.num_rows]
        return mask & self.having_params(names, 0, self.num_rows)

    def _rank(self, index: int, trial: FrozenTrial) -> None:
        """Not by its outcome: by what it has come to at the rungs."""

    def spaces(self) -> list[Mapping[str, BaseDistribution]]:
        """The parameter sets of the trials with a result at the leading rung, in the order of their first numbers."""
        first = self._reached_by(self._rung).first_numbers
        space = self._history.space
        return [{name: space[name] for name in space if name in names} for names in sorted(first, key=lambda names: first[names])]

    def _reached_by(self, rung: int) -> _Reached:
        """Those with a result at a rung, those that came since the last look taken in."""
        reached = self._reached[rung]
        if len(reached.mask) < self.num_rows:
            reached.mask = np.concatenate([reached.mask, np.zeros(2 * self.num_rows - len(reached.mask), dtype=bool)])
        arrivals = self._rungs.arrivals(rung)
        for number in arrivals[reached.num_taken :]:
            reached.mask[self._history.place_of(number)] = True
            names = frozenset(self._history.get(number).params)
            reached.first_numbers[names] = min(number, reached.first_numbers.get(names, number))
        reached.num_taken = len(arrivals)
        return reached


@dataclass
class _Reached:
    """The trials with a result at one rung, by row, and the least number of each set of parameters among them."""

    mask: Mask = field(default_factory=lambda: np.zeros(64, dtype=bool))
    first_numbers: dict[frozenset[str], int] = field(default_factory=dict)
    num_taken: int = 0


class RungTPESampler(ColumnTPESampler):
    """TPESampler on the results of the leading rung; takes TPESampler's options."""

    def __init__(self, history: History, rungs: Rungs, **options: Any) -> None:
        self._startup = options.get("n_startup_trials")
        self._is_random = False
        self._rungs = rungs
        self._rung_columns = RungColumns(history, rungs)
        super().__init__(history, self._rung_columns, **options)
        self._search_space = _Common(self._rung_columns, self)
        if self._group:
            self._group_decomposed_search_space = _Groups(self._rung_columns, self)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        self._is_random = self._rng.rng.random_sample() < RANDOM_SHARE
        return super().infer_relative_search_space(study, trial)

    def begins(self) -> bool:
        """Whether the model speaks in this proposal; fixes the rung it speaks of."""
        if self._is_random:
            return False
        rung = self._rungs.speaking(self._startup)
        if rung is None:
            return False
        self._rung_columns.begin(rung)
        return True

    def _sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        return self._sample(study, trial, search_space) if search_space else {}

    def sample_independent(self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution) -> Any:
        if not self.begins():
            return self._random_sampler.sample_independent(study, trial, param_name, param_distribution)
        return self._sample(study, trial, {param_name: param_distribution})[param_name]


class _Common:
    """Stands in for Optuna's IntersectionSearchSpace: empty while proposals are random."""

    def __init__(self, columns: RungColumns, sampler: RungTPESampler) -> None:
        self._columns = columns
        self._sampler = sampler

    def calculate(self, study: Study, use_cache: bool = False) -> dict[str, BaseDistribution]:
        if not self._sampler.begins():
            return {}
        spaces = self._columns.spaces()
        return {name: spaces[0][name] for name in sorted(spaces[0]) if all(name in space for space in spaces)}


class _Groups:
    """Stands in for Optuna's _GroupDecomposedSearchSpace."""

    def __init__(self, columns: RungColumns, sampler: RungTPESampler) -> None:
        self._columns = columns
        self._sampler = sampler

    def calculate(self, study: Study, use_cache: bool = False) -> _SearchSpaceGroup:
        group = _SearchSpaceGroup()
        for space in self._columns.spaces() if self._sampler.begins() else ():
            group.add_distributions(dict(space))
        return group
