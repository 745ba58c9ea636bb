"""A study's trials as numpy columns, appended as results come, and TPE's division of them into good and bad.

Rows are places in `History.trials`. What Optuna's `_split_trials` sorts anew for every suggestion is kept sorted here. Trials that break an
outcome constraint come after all others, by how far they break them, as in c-TPE's baseline (Watanabe & Hutter 2023, "c-TPE: Tree-structured
Parzen Estimator with Inequality Constraints for Expensive Hyperparameter Optimization") and in Optuna. One objective only.
"""

from __future__ import annotations

import bisect
import math

import numpy as np
import numpy.typing as npt
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from tuner import outcome_constraints
from tuner.search.history import History

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
_Entry = tuple[float, int] | tuple[float, float, int]
"""What a trial is ranked by, the smaller the better, and its row."""


class Columns:
    """Parameters `[trials, parameters]` in Optuna's internal representation (NaN: absent), and the ranking of finished trials."""

    def __init__(self, history: History) -> None:
        self._space = history.space
        self._places = {name: place for place, name in enumerate(history.space)}
        self._sign = -1.0 if history.directions[0] == StudyDirection.MAXIMIZE else 1.0
        self.reset()
        history.add_observer(self)

    def reset(self) -> None:
        """Forget everything: the history tells it all again."""
        self.version = object()  # another object: rows have moved, nothing derived from them holds
        self.num_rows = 0
        self._values: Floats = np.full((64, len(self._places)), np.nan)
        self._finished: Mask = np.zeros(64, dtype=bool)
        self._running: Mask = np.zeros(64, dtype=bool)
        # Rank and row, best first. Equal ranks go by number, as with Optuna's stable sort.
        self._complete: list[_Entry] = []
        self._pruned: list[_Entry] = []
        self._infeasible: list[_Entry] = []
        self._entries: dict[int, tuple[list[_Entry], _Entry]] = {}  # by row: where it stands
        self._num_params: dict[int, int] = {}  # by row, of trials under way: another program gives them theirs one by one

    def changed(self, index: int, trial: FrozenTrial) -> None:
        if index >= self.num_rows:
            self._grow(index + 1)
        if not self._finished[index] and self._num_params.get(index, 0) < len(trial._params):
            for name, value in trial._params.items():
                place = self._places.get(name)
                if place is not None:
                    self._values[index, place] = trial._distributions[name].to_internal_repr(value)
            self._num_params[index] = len(trial._params)
        if trial.state.is_finished():
            self._num_params.pop(index, None)
        self._running[index] = trial.state == OptunaState.RUNNING
        if trial.state not in (OptunaState.COMPLETE, OptunaState.PRUNED):
            return
        self._finished[index] = True
        self._rank(index, trial)

    def _rank(self, index: int, trial: FrozenTrial) -> None:
        """Put a finished trial in its place of the ranking, or in another one: the mean over the repeats of a configuration changes."""
        entry: _Entry
        if (violation := outcome_constraints.total(trial.constraints)) > 0:
            ranking, entry = self._infeasible, (violation, index)
        elif trial.state == OptunaState.COMPLETE:
            assert trial.value is not None
            ranking, entry = self._complete, (self._sign * trial.value, index)
        else:
            ranking, entry = self._pruned, (*self._pruned_rank(trial), index)
        known = self._entries.get(index)
        if known is not None:
            if known[1] == entry:
                return
            del known[0][bisect.bisect_left(known[0], known[1])]
        bisect.insort(ranking, entry)
        self._entries[index] = ranking, entry

    @property
    def num_finished(self) -> int:
        return len(self._complete) + len(self._pruned) + len(self._infeasible)

    def below(self, count: int) -> npt.NDArray[np.intp]:
        """Rows of the `count` best: complete trials by value, pruned ones by how far they came, infeasible ones; in the order of their numbers."""
        rows = [entry[-1] for entry in self._complete[:count]]
        rows += [entry[-1] for entry in self._pruned[: count - len(rows)]]
        rows += [entry[-1] for entry in self._infeasible[: count - len(rows)]]
        return np.array(sorted(rows), dtype=np.intp)

    def having(self, names: tuple[str, ...], *, running: bool) -> Mask:
        """Which trials have all these parameters, are finished and did not fail, or (`running`) are under way."""
        mask = self._finished[: self.num_rows].copy()
        if running:
            mask |= self._running[: self.num_rows]
        return mask & self.having_params(names, 0, self.num_rows)

    def having_params(self, names: tuple[str, ...], first: int, last: int) -> Mask:
        """Which of the trials in these rows have all these parameters, whatever became of them."""
        mask: Mask = np.ones(last - first, dtype=bool)
        for name in names:
            mask &= ~np.isnan(self._values[first:last, self._places[name]])
        return mask

    def get(self, name: str, rows: npt.NDArray[np.intp]) -> Floats:
        found: Floats = self._values[rows, self._places[name]]
        return found

    def _pruned_rank(self, trial: FrozenTrial) -> tuple[float, float]:
        if not trial.intermediate_values:
            return 1.0, 0.0
        step, value = max(trial.intermediate_values.items())
        return float(-step), math.inf if math.isnan(value) else self._sign * value

    def _grow(self, num_rows: int) -> None:
        if num_rows > len(self._values):
            size = max(num_rows, 2 * len(self._values))
            self._values = np.concatenate([self._values, np.full((size - len(self._values), len(self._places)), np.nan)])
            self._finished = np.concatenate([self._finished, np.zeros(size - len(self._finished), dtype=bool)])
            self._running = np.concatenate([self._running, np.zeros(size - len(self._running), dtype=bool)])
        self.num_rows = num_rows
