"""A part of a study's trials as a history of its own: what a sampler, its rungs and its pruner see where they are not to see all of them.

Its trials are those of the study's history; what is written goes there. Who makes a part decides which trials it adopts: the levels of a
comparison (`levels`) and the configurations of a race (`race`) do. Weakness: after the study's history has been put in another order the part is
told everything anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from tuner.search.history import History
from tuner.wire import TrialState


class PartHistory(History):
    """Some of the trials of `whole`, with the very same objects unless who makes the part says otherwise."""

    def __init__(self, whole: History, space: Mapping[str, BaseDistribution]) -> None:
        super().__init__(
            study_id=whole.study_id,
            name=whole.name,
            directions=[direction.name.lower() for direction in whole.directions],
            objectives=whole.objectives,
            constraints=whole.constraints,
            space=space,
            frozen=whole.frozen,
            space_version=whole.space_version,
        )
        self.measured = whole.measured
        self.changes = whole.changes
        self._whole = whole

    @property
    def foreign(self) -> bool:
        return self._whole.foreign

    def adopt(self, trial: FrozenTrial, state: TrialState) -> None:
        """Take in a trial of the study's history that is new or in a new state."""
        index = self._index.get(trial.number)
        if index is None:
            index = self._place(trial, state)
        elif self.states[index] == state:
            return
        else:
            self.counts[self.states[index]] -= 1
            self.states[index] = state
        self.counts[state] += 1
        if state.is_finished:
            self._finished(trial.number, trial)
        for observer in self._observers:
            observer.changed(index, trial)

    def forget(self) -> None:
        self.trials.clear()
        self.states.clear()
        self.reasons.clear()
        self.counts.clear()
        self._index.clear()
        self._numbers.clear()
        self._signatures.clear()
        for having in self._having.values():
            having.clear()
        self._reset_observers()

    def open_trial(self, number: int, repeats: int | None = None) -> FrozenTrial:
        trial = self._whole.open_trial(number, repeats)
        self._place(trial, TrialState.WAITING)
        self.counts[TrialState.WAITING] += 1
        return trial

    def close_trial(self, trial: FrozenTrial) -> None:
        for observer in self._observers:
            observer.changed(self._index[trial.number], trial)
        self._whole.close_trial(trial)

    def get(self, number: int) -> FrozenTrial:
        return self._whole.get(number)

    def state_of(self, number: int) -> TrialState:
        return self._whole.state_of(number)

    def reason_of(self, number: int) -> str | None:
        return self._whole.reason_of(number)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        return self._whole.get_trial(trial_id)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return self._whole.get_study_system_attrs(study_id)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self._whole.set_study_system_attr(study_id, key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._whole.set_trial_system_attr(trial_id, key, value)
        trial = self._whole.get_trial(trial_id)  # another object, if it had been stored
        self.trials[self._index[trial.number]] = trial
