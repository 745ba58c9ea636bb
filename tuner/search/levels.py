"""The search of a study that compares levels: each level is searched as a study of its own, within one.

The level with the fewest trials is next, so budgets differ by at most one whatever the sampler, and enqueued trials are made up for. Each
level has its own sampler, which sees only that level's trials, and its own rungs; pruners judge a trial among those of its level. So no
level gains from, or is cut off by, what another one does. A level's trials are the very objects of the study's history. What `compare`
promises beyond that is in `tuner.levels`. Weakness: nothing that was learnt of one level is used for another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import replace
from itertools import chain, zip_longest
from typing import Any

from optuna.distributions import CategoricalDistribution
from optuna.pruners import BasePruner
from optuna.samplers import RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from tuner.parameters import CategoricalParameter, is_same
from tuner.search import distributions, rungs, samplers
from tuner.search.history import History
from tuner.search.part_history import PartHistory
from tuner.search.rungs import Rungs
from tuner.search.samplers import Proposer
from tuner.spec import StudySpec
from tuner.trials import Suggestion
from tuner.wire import TrialState, Verdict

_KEY = "tuner:level:{index}:{key}"
"""System attribute of the study for what a level's sampler writes under `key`."""


def build(spec: StudySpec, history: History) -> Levels | None:
    """None where the study compares nothing."""
    return None if spec.compare is None else Levels(spec, history)


class Levels:
    """The levels of one study: who is next, and the sampler, rungs and pruner's view of each."""

    def __init__(self, spec: StudySpec, history: History) -> None:
        assert spec.compare is not None
        parameter = spec.space.parameters[spec.compare.by]
        assert isinstance(parameter, CategoricalParameter)
        self.by = spec.compare.by
        self._spec = spec
        self._history = history
        self._choices = parameter.choices
        self.histories = [LevelHistory(history, self.by, index, choice) for index, choice in enumerate(parameter.choices)]
        history.add_observer(self)

    def changed(self, index: int, trial: FrozenTrial) -> None:
        if self.has(trial):
            self.of(trial).adopt(trial, self._history.states[index])

    def reset(self) -> None:
        """Forget everything: the history tells it all again."""
        for history in self.histories:
            history.forget()

    def has(self, trial: FrozenTrial) -> bool:
        """Whether the trial has a level: one that another program makes gets its parameters one by one."""
        return self.by in trial.params

    def of(self, trial: FrozenTrial) -> LevelHistory:
        value = trial.params[self.by]
        return next(self.histories[index] for index, choice in enumerate(self._choices) if is_same(choice, value))

    def next_level(self) -> int:
        """Index of the level with the fewest trials, the first of several."""
        return min(range(len(self.histories)), key=lambda index: len(self.histories[index].trials))

    @property
    def busy(self) -> bool:
        """Whether a trial of some level waits or runs."""
        return bool(self._history.counts[TrialState.WAITING] or self._history.counts[TrialState.RUNNING])

    def build_search(self, seed: int, max_attempts: Callable[[], int]) -> tuple[LevelRungs | None, Proposer]:
        """What `rungs.build` and `samplers.build` make for a whole study, made for each level and put together."""
        parts = [rungs.build(self._spec, history) for history in self.histories]
        proposers = [
            samplers.build(self._spec.sampler, self._spec.space, history, seed=seed, max_attempts=max_attempts, rungs=part)
            for history, part in zip(self.histories, parts, strict=True)
        ]
        built = [part for part in parts if part is not None]
        proposer = LevelProposer(self, proposers, distributions.to_json(self._history.ranges[self.by]))
        return LevelRungs(self, self._history, built) if built else None, proposer

    def view(self, trial: FrozenTrial, pruner: BasePruner) -> Study:
        """The study that a pruner sees when it judges this trial: its level."""
        history = self.of(trial)
        return Study(history.name, history, sampler=RandomSampler(), pruner=pruner)


class LevelHistory(PartHistory):
    """One level's trials. What is written goes to the study's history, with which the trials are shared."""

    def __init__(self, whole: History, by: str, index: int, choice: Any) -> None:
        # With one value there is nothing to sample or to learn about the parameter.
        super().__init__(whole, {**whole.ranges, by: CategoricalDistribution((choice,))})
        self.index = index
        self._by = by

    def close_trial(self, trial: FrozenTrial) -> None:
        trial._distributions[self._by] = self._whole.ranges[self._by]
        super().close_trial(trial)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        prefix = _KEY.format(index=self.index, key="")
        attrs = self._whole.get_study_system_attrs(study_id)
        return {key.removeprefix(prefix): value for key, value in attrs.items() if key.startswith(prefix)}

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self._whole.set_study_system_attr(study_id, _KEY.format(index=self.index, key=key), value)


class LevelProposer:
    """Proposes for the level that is next, by that level's own proposer."""

    def __init__(self, levels: Levels, proposers: Sequence[Proposer], distribution: Any) -> None:
        self._levels = levels
        self._proposers = proposers
        self._distribution = distribution
        self.runs_ahead = proposers[0].runs_ahead

    @property
    def exhausted(self) -> bool:
        # A level without an allowed configuration ends the study: it would always be next, and the others may not run ahead of it.
        return not self._levels.busy and any(proposer.exhausted for proposer in self._proposers)

    def propose(self, number: int) -> Suggestion | None:
        suggestion = self._proposers[self._levels.next_level()].propose(number)
        if suggestion is None:
            return None
        return replace(suggestion, distributions={**suggestion.distributions, self._levels.by: self._distribution})


class LevelRungs:
    """Rungs of each level, as one: a trial is promoted for what it is among the trials of its level."""

    def __init__(self, levels: Levels, history: History, parts: Sequence[Rungs]) -> None:
        self._levels = levels
        self._history = history
        self.parts = parts

    def take_in(self, number: int) -> None:
        if self._levels.has(self._history.get(number)):
            self._of(number).take_in(number)

    def judge(self, number: int, step: int) -> Verdict:
        return self._of(number).judge(number, step) if self._levels.has(self._history.get(number)) else Verdict.CONTINUE

    def best_waiting(self) -> int | None:
        return next((number for part in self.parts if (number := part.best_waiting()) is not None), None)

    def promote(self, number: int) -> None:
        self._of(number).promote(number)

    def list_unheld(self) -> list[int]:
        return sorted(chain.from_iterable(part.list_unheld() for part in self.parts))

    def list_promotable(self) -> Iterator[int]:
        """The levels in turn, so that none waits for another."""
        for numbers in zip_longest(*(part.list_promotable() for part in self.parts)):
            yield from (number for number in numbers if number is not None)

    @property
    def held(self) -> Set[int]:
        return frozenset().union(*(part.held for part in self.parts))

    @property
    def waiting(self) -> Set[int]:
        return frozenset().union(*(part.waiting for part in self.parts))

    def _of(self, number: int) -> Rungs:
        return self.parts[self._levels.of(self._history.get(number)).index]
