"""TPE fitted to rung results instead of final values.

Optuna ranks every COMPLETE trial above every PRUNED one, so its TPE copies the first survivors of a halving, which survived because a rung
with few entries stops nobody. Here all trials that reached a rung are compared at that rung, and the highest rung with enough results
(dimension + 1, below which a density has nothing to say) leads. Trials under way of which nothing is known yet count as bad (constant
liar), so that the next proposal is another one; those that have come to a rung, paused or promoted, do not count beyond it: a promoted one
is among the best there, and calling it bad at the next would turn proposals away from where they should go. Until some rung holds max(2W, dimension + 1) results, with W the trials under way,
proposals are random: with fewer the model would know less than it is asked by the workers at one time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from optuna.distributions import BaseDistribution
from optuna.search_space.group_decomposed import _SearchSpaceGroup
from optuna.study import Study
from optuna.trial import FrozenTrial

from tuner.search.columns import Columns, Mask
from tuner.search.history import History
from tuner.search.rungs import Rungs
from tuner.search.tpe import ColumnTPESampler
from tuner.wire import TrialState


class RungColumns(Columns):
    """The columns of a study, divided by the results of the leading rung. `begin` fixes it for one proposal."""

    def __init__(self, history: History, rungs: Rungs) -> None:
        self._history = history
        self._rungs = rungs
        self._rung = 0
        super().__init__(history)

    def begin(self, rung: int) -> None:
        self._rung = rung

    @property
    def num_finished(self) -> int:
        return self._rungs.num_results(self._rung)

    def below(self, count: int) -> npt.NDArray[np.intp]:
        best = self._rungs.best(self._rung, count)
        return np.array(sorted(self._history.place_of(number) for number in best), dtype=np.intp)

    def having(self, names: tuple[str, ...], *, running: bool) -> Mask:
        mask = self._running[: self.num_rows].copy() if running else np.zeros(self.num_rows, dtype=bool)
        for number in self._rungs.results(0):
            mask[self._history.place_of(number)] = False
        for number in self._rungs.results(self._rung):
            mask[self._history.place_of(number)] = True
        return mask & self.having_params(names, 0, self.num_rows)

    def spaces(self) -> list[Mapping[str, BaseDistribution]]:
        """The parameter sets of the trials with a result at the leading rung, in the order of their first numbers."""
        found: dict[frozenset[str], None] = {}
        for number in sorted(self._rungs.results(self._rung)):
            found.setdefault(frozenset(self._history.get(number).params))
        return [{name: self._history.space[name] for name in self._history.space if name in names} for names in found]


class RungTPESampler(ColumnTPESampler):
    """TPESampler on the results of the leading rung; takes TPESampler's options. One objective."""

    def __init__(self, history: History, rungs: Rungs, **options: Any) -> None:
        self._startup = options.get("n_startup_trials")
        super().__init__(history, **options)
        self._rungs = rungs
        self._enough = 1 + sum(not distribution.single() for distribution in history.space.values())
        self._rung_columns = RungColumns(history, rungs)
        self._columns = self._rung_columns
        self._search_space = _Common(self._rung_columns, self)
        if self._group:
            self._group_decomposed_search_space = _Groups(self._rung_columns, self)

    def begins(self) -> bool:
        """Whether the model speaks; fixes the rung it speaks of."""
        wanted = self._startup
        if wanted is None:
            unfinished = self._history.counts[TrialState.WAITING] + self._history.counts[TrialState.RUNNING]
            wanted = max(2 * (unfinished - len(self._rungs.waiting)), self._enough)
        rung = self._rungs.leading(max(1, min(wanted, self._enough)))
        if rung is None or self._rungs.most_results() < wanted:
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
