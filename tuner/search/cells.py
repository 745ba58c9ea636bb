"""Exact enumeration of a finite search space: grid (shuffled by the study's seed) and brute force (in declared order).

Each configuration once. One that failed is tried again, after all others, until it has failed as often as a trial may be attempted; a
cancelled one is not: somebody did not want it. What has been tried is read from the history alone, enqueued trials included, so many
workers, restarts and other searches change nothing. Weakness: a space of more than MAX_SHUFFLED cells is walked in declared order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import numpy as np
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from tuner.search import distributions
from tuner.search.history import History
from tuner.space import SearchSpace
from tuner.space_edits import DROPPED_KEY
from tuner.trials import Suggestion
from tuner.wire import Reason, TrialState

MAX_SHUFFLED = 200_000

Key = tuple[Hashable, ...]


class CellProposer:
    """Proposes the cells of a finite space. `seed` None: in declared order. `max_attempts`: the limit as it stands now."""

    runs_ahead = True

    def __init__(self, space: SearchSpace, history: History, *, seed: int | None, max_attempts: Callable[[], int]) -> None:
        self._space = space
        self._history = history
        self._seed = seed
        self._max_attempts = max_attempts
        self._json = {name: distributions.to_json(distribution) for name, distribution in history.ranges.items()}
        self.reset()
        history.add_observer(self)

    def reset(self) -> None:
        """Forget everything: the history tells it all again."""
        self._states: dict[int, OptunaState] = {}
        self._keys: dict[int, Key] = {}
        self._taken: Counter[Key] = Counter()  # trials of the cell that wait, run or gave a result, or were cancelled
        self._failed: Counter[Key] = Counter()
        self._failed_cells: dict[Key, dict[str, Any]] = {}
        self._cells = self._walk()
        self._next: dict[str, Any] | None = None
        self._walked = False

    def changed(self, index: int, trial: FrozenTrial) -> None:
        if not trial._distributions and self._space.order:
            return  # opened, and not filled in yet
        key = self._key(trial._params)
        known, before = self._states.get(trial.number), self._keys.get(trial.number)
        if key != before:  # it is new, or another program has given it its parameters since
            self._taken[key] += 1
            if before is not None:
                self._taken[before] -= 1
        self._states[trial.number], self._keys[trial.number] = trial.state, key
        if trial.state != OptunaState.FAIL or known == OptunaState.FAIL:
            return
        if DROPPED_KEY in trial.system_attrs:  # as if it had never been proposed
            self._taken[key] -= 1
        elif self._history.reason_of(trial.number) != Reason.CANCELLED:
            self._taken[key] -= 1
            self._failed[key] += 1
            self._failed_cells.setdefault(key, trial._params)

    def propose(self, number: int) -> Suggestion | None:
        cell = self._find()
        if cell is None:
            return None
        trial = self._history.open_trial(number)
        trial._params.update(cell)
        trial._distributions.update({name: self._history.ranges[name] for name in cell})
        self._history.close_trial(trial)
        self._next = None
        return Suggestion(number=number, params=cell, distributions={name: self._json[name] for name in cell})

    @property
    def exhausted(self) -> bool:
        """No cell is left and no trial is under way that might fail and come again."""
        return (
            not self._history.counts[TrialState.WAITING] and not self._history.counts[TrialState.RUNNING] and self._find() is None
        )

    def _find(self) -> dict[str, Any] | None:
        """The next cell to try: the first nobody has tried, else the first that failed and may be tried again."""
        if self._next is not None and self._is_untried(self._next):
            return self._next
        self._next = None
        if not self._walked:
            for cell in self._cells:
                if self._is_untried(cell):
                    self._next = cell
                    return cell
            self._walked = True
        for key, cell in self._failed_cells.items():
            if not self._taken[key] and self._failed[key] < self._max_attempts():
                return cell
        return None

    def _is_untried(self, cell: dict[str, Any]) -> bool:
        key = self._key(cell)
        return not self._taken[key] and not self._failed[key]

    def _walk(self) -> Iterator[dict[str, Any]]:
        num_cells = self._space.num_cells()
        if self._seed is None or num_cells is None or num_cells > MAX_SHUFFLED:
            yield from self._space.cells()
            return
        cells = list(self._space.cells())
        for place in np.random.RandomState(self._seed % 2**32).permutation(len(cells)):
            yield cells[place]

    def _key(self, params: dict[str, Any]) -> Key:
        return tuple((name, params[name]) for name in self._space.order if name in params)
