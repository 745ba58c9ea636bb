"""The search of a study that repeats its promising trials: what samplers see of it, and who is repeated when. The rule is `tuner.racing`.

Samplers, rungs and pruners see one trial for each configuration, with the mean over its repeats as its value: else a model would take the
configurations that are repeated for so many that are good. Everything follows from the trials in the history, those about to be
stored included, so that a batch repeats nothing twice and a search that takes over goes on as the first would have. A repeat is trained to its
end: nobody judges it, for one that was cut off would say nothing of the mean. Weakness: a configuration that a sampler proposes a second time by
itself is another configuration.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Set

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from tuner import outcome_constraints, racing
from tuner.racing import Configuration, Race, before_reserve, reserve
from tuner.search import distributions
from tuner.search.history import History
from tuner.search.part_history import PartHistory
from tuner.search.samplers import Proposer
from tuner.spec import StudySpec
from tuner.trials import Suggestion
from tuner.wire import TrialState


def build(spec: StudySpec, history: History) -> ConfigurationHistory | None:
    """None where the study repeats nothing."""
    return None if spec.repeat is None else ConfigurationHistory(history, spec.repeat.max)


class ConfigurationHistory(PartHistory):
    """The first trial of each configuration, its value the mean over all of them; and the race that goes by those values."""

    def __init__(self, whole: History, most: int) -> None:
        super().__init__(whole, whole.ranges)
        self._most = most
        self._is_maximized = whole.directions[0] == StudyDirection.MAXIMIZE
        self.race = Race(most)
        whole.add_observer(self)

    def changed(self, index: int, trial: FrozenTrial) -> None:
        state, repeats = self._whole.states[index], self._whole.repeats.get(trial.number)
        value = trial.values[0] if state == TrialState.COMPLETE else None
        is_feasible = outcome_constraints.total(trial.constraints) <= 0
        loss = racing.loss(value, is_maximized=self._is_maximized, is_feasible=is_feasible)
        found = self.race.take_in(trial.number, state, self._whole.reasons[index], loss, repeats)
        if repeats is None:
            self.adopt(trial, state)
        self._show(found)

    def reset(self) -> None:
        """Forget everything: the study's history tells it all again."""
        self.race = Race(self._most)
        self.forget()

    def get(self, number: int) -> FrozenTrial:
        return self.trials[self._index[number]]

    def set_trial_system_attr(self, trial_id: int, key: str, value: object) -> None:
        super().set_trial_system_attr(trial_id, key, value)
        found = self.race.configurations.get(self._whole.get_trial(trial_id).number)
        if found is not None:  # else the trial is about to be suggested
            self._show(found)

    def _show(self, configuration: Configuration) -> None:
        """Give the configuration's trial, once there are repeats of it, the mean for a value."""
        index = self._index.get(configuration.number)
        if index is None or not configuration.is_complete or configuration.num_seeds < 2:
            return
        shown = copy.copy(self._whole.get(configuration.number))
        shown._values = [-configuration.mean if self._is_maximized else configuration.mean]
        self.trials[index] = shown
        for observer in self._observers:
            observer.changed(index, shown)


class RacingProposer:
    """Proposes a repeat where the race asks for one, else what the study's own proposer does.

    While the reserve of the last trials is used up, no configuration begins as long as the race may still need its trials: then workers wait, at
    the end of a study for about the time of one training.
    """

    runs_ahead = False  # whatever the proposer: repeats depend on results

    def __init__(
        self,
        proposer: Proposer,
        seen: ConfigurationHistory,
        whole: History,
        *,
        max_trials: Callable[[], int | None],
        max_attempts: Callable[[], int],
        paused: Callable[[], Set[int]],
    ) -> None:
        """`max_trials`, `max_attempts`: the limits as they stand now. `paused`: trials that wait at a rung."""
        self._proposer = proposer
        self._seen = seen
        self._whole = whole
        self._max_trials = max_trials
        self._max_attempts = max_attempts
        self._paused = paused

    @property
    def exhausted(self) -> bool:
        """Neither a configuration nor a repeat is left to make, and none is under way."""
        return self._proposer.exhausted and not self._seen.race.is_pending and self._next_repeat(ending=True) is None

    def propose(self, number: int) -> Suggestion | None:
        max_trials, most_repeats = self._max_trials(), None
        if max_trials is not None:
            most = self._seen.race.most
            first_kept, most_repeats = max_trials - reserve(most, max_trials), before_reserve(most, max_trials)
            if number >= first_kept:
                return self._propose_kept(number, first_kept, max_trials - number)
        repeated = self._next_repeat(most_repeats=most_repeats)
        if repeated is None:
            suggestion = self._proposer.propose(number)
            if suggestion is not None:
                return suggestion
            repeated = self._next_repeat(ending=True)
        return None if repeated is None else self._repeat(number, repeated)

    def _propose_kept(self, number: int, first_kept: int, left: int) -> Suggestion | None:
        """One of the last trials, which are kept for repeats: what the race does not need goes to new configurations."""
        repeated = self._next_repeat(ending=True, left=left)
        if repeated is not None:
            return self._repeat(number, repeated)
        return None if self._is_open(first_kept) else self._proposer.propose(number)

    def _next_repeat(self, *, most_repeats: int | None = None, ending: bool = False, left: int | None = None) -> int | None:
        race = self._seen.race
        return race.next_repeat(max_failures=self._max_attempts(), most_repeats=most_repeats, ending=ending, left=left)

    def _is_open(self, first_kept: int) -> bool:
        """Whether a result may still come that changes the race: of a repeat, or of a configuration made before the reserve."""
        race = self._seen.race
        return race.is_pending or any(number < first_kept for number in race.under_way - self._paused())

    def _repeat(self, number: int, repeated: int) -> Suggestion:
        first = self._whole.get(repeated)
        trial = self._whole.open_trial(number, repeated)
        trial._params = dict(first._params)
        trial._distributions = dict(first._distributions)
        self._whole.close_trial(trial)
        return Suggestion(
            number=number,
            params=trial._params,
            distributions={name: distributions.to_json(each) for name, each in trial._distributions.items()},
            origin="repeat",
            parent=repeated,
        )
