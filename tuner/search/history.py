"""One study's trials in memory, as the Optuna storage its samplers and pruners read.

Fed by rows that changed (`merge_trial`, `merge_report`: merging a row twice changes nothing) and never rebuilt; reads copy nothing. What
samplers and pruners write (attributes of trials and of the study) is collected for the transaction that stores their decision, and can be
rolled back when that transaction does not come about. Trials that wait appear as RUNNING: their configuration is taken, so the samplers
must know it. Its weakness: trials are Python objects, about 6 kB each with what is derived from them, all of a study's.
"""

from __future__ import annotations

import bisect
import copy
import json
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any, Protocol

from optuna.distributions import BaseDistribution
from optuna.search_space import intersection_search_space
from optuna.search_space.group_decomposed import _SearchSpaceGroup
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from tuner import outcome_constraints
from tuner.outcome_constraints import OutcomeConstraint
from tuner.search import distributions, steps
from tuner.search.read_storage import ReadStorage
from tuner.search.steps import Changes
from tuner.wire import NON_FINITE, TrialState

_OPTUNA_STATES = {
    TrialState.WAITING: OptunaState.RUNNING,
    TrialState.RUNNING: OptunaState.RUNNING,
    TrialState.COMPLETE: OptunaState.COMPLETE,
    TrialState.PRUNED: OptunaState.PRUNED,
    TrialState.FAIL: OptunaState.FAIL,
}
_MISSING = object()


COLUMNS = """id, number, state, reason, params, distributions, objective_values, constraint_values, system_attrs, judged_step, verdict, origin,
    CASE WHEN origin = 'repeat' THEN parent END AS repeats"""


class TrialRow(Protocol):
    """The columns of `trials` that the history reads: COLUMNS."""

    id: int
    number: int
    state: str
    reason: str | None
    params: str
    distributions: str
    objective_values: str | None
    constraint_values: str | None
    system_attrs: str
    judged_step: int | None
    verdict: str
    origin: str
    repeats: int | None


class Observer(Protocol):
    """Who keeps arrays beside the trials. `index` is the trial's place in `History.trials`."""

    def changed(self, index: int, trial: FrozenTrial) -> None: ...

    def reset(self) -> None: ...


class History(ReadStorage):
    """The trials of one study, in the order of their numbers; an Optuna storage that holds this study alone."""

    def __init__(
        self,
        *,
        study_id: int,
        name: str,
        directions: Sequence[str],
        objectives: Sequence[str],
        space: Mapping[str, BaseDistribution],
        constraints: Sequence[OutcomeConstraint] = (),
        frozen: Mapping[str, Any] | None = None,
        space_version: int = 1,
        system_attrs: Mapping[str, Any] | None = None,
    ) -> None:
        """`frozen`: the values of parameters that have one in all new trials. `space_version`: above 1 where the space has been edited."""
        self.study_id = study_id
        self.name = name
        self.ranges = dict(space)  # which its trials have, whichever version of the space they were made of
        self.frozen = dict(frozen or {})
        self.space = {  # of which new trials are drawn
            name: distributions.single(item, self.frozen[name]) if name in self.frozen else item for name, item in space.items()
        }
        self.space_version = space_version
        self.directions = [
            StudyDirection.MAXIMIZE if direction == "maximize" else StudyDirection.MINIMIZE for direction in directions
        ]
        self.objectives = tuple(objectives)
        self.constraints = tuple(constraints)
        self._kept = frozenset((*self.objectives[len(self.objectives) == 1 :], *outcome_constraints.metrics(self.constraints)))
        self.measured: dict[int, dict[int, dict[str, float]]] = {}
        """By number and step: metrics under constraints, and of several objectives their values, which Optuna's trials have no place for."""
        self.changes = Changes()
        self.trials: list[FrozenTrial] = []
        self.states: list[TrialState] = []
        self.reasons: list[str | None] = []
        self.verdicts: dict[int, str] = {}
        self.judged: dict[int, int] = {}
        self.unjudged: dict[int, list[int]] = {}
        self.counts: Counter[TrialState] = Counter()
        self.system_attrs: dict[str, Any] = dict(system_attrs or {})
        self.repeats: dict[int, int] = {}
        """By number of a trial that repeats another one: the number of that one."""
        self.lent: set[int] = set()
        """Numbers of the trials that a finished study lent."""
        self._foreign = False
        self._index: dict[int, int] = {}
        self._numbers: list[int] = []
        self._by_id: dict[int, FrozenTrial] = {}
        self._parsed: dict[str, dict[str, BaseDistribution]] = {}
        self._having: dict[OptunaState, Counter[str]] = {OptunaState.COMPLETE: Counter(), OptunaState.PRUNED: Counter()}
        self._signatures: dict[frozenset[str], int] = {}
        self._observers: list[Observer] = []
        self._open: list[FrozenTrial] = []
        self._shown = False  # observers know of an open trial
        self._study_writes: dict[str, Any] = {}
        self._trial_writes: dict[int, FrozenTrial] = {}
        self._undo: list[tuple[dict[str, Any], str, Any]] = []

    # --- feeding ---------------------------------------------------------------------------------------------------------

    def merge_trial(self, row: TrialRow) -> bool:
        """Take in a row of `trials`; whether it told anything new. The reports of a finished trial have to be merged before it."""
        state = TrialState(row.state)
        index = self._index.get(row.number)
        if index is None:
            trial = self._build(row)
            self._set_outcome(trial, row, state)  # observers may be told of it as it is placed
            index = self._place(trial, state, row.reason)
        else:
            trial = self.trials[index]
            self._identify(trial, row.id)
            self.verdicts[row.number] = row.verdict
            self.reasons[index] = row.reason
            if row.judged_step is not None:
                self.judged[row.number] = max(row.judged_step, self.judged.get(row.number, row.judged_step))
            if self.states[index].is_finished:
                return False
            completed = self._complete_params(trial, row)
            if self.states[index] == state:
                if completed:
                    for observer in self._observers:
                        observer.changed(index, trial)
                return completed
            self.counts[self.states[index]] -= 1
            self.states[index] = state
        self.counts[state] += 1
        self.reasons[index] = row.reason
        self.verdicts[row.number] = row.verdict
        if row.judged_step is not None:
            self.judged[row.number] = row.judged_step
        self._set_outcome(trial, row, state)
        if state.is_finished:
            self._finished(row.number, trial)
        for observer in self._observers:
            observer.changed(index, trial)
        return True

    def place(self, row: TrialRow) -> None:
        """Make a finished trial known, so that its reports can be merged before it: one that is new gets its place, as a running one.

        Placing trials in the order of their numbers moves none; each one placed before others makes observers begin anew.
        """
        known = self._index.get(row.number)
        if known is not None:
            self._identify(self.trials[known], row.id)
            return
        trial = self._build(row)
        index = self._place(trial, TrialState.RUNNING)
        self.counts[TrialState.RUNNING] += 1
        for observer in self._observers:
            observer.changed(index, trial)

    def _identify(self, trial: FrozenTrial, trial_id: int) -> None:
        """Note the id a trial has in the database, which one that was suggested here gets when it is stored."""
        if trial._trial_id != trial_id:
            self._by_id.pop(trial._trial_id, None)
            trial._trial_id = trial_id
            self._by_id[trial_id] = trial

    def merge_report(self, trial_id: int, step: int, metrics: Mapping[str, Any]) -> bool:
        """Take in a report; False when its trial is not known yet, so that it must be offered again."""
        trial = self._by_id.get(trial_id)
        if trial is None:
            return False
        is_new = False
        if len(self.objectives) == 1 and (value := metrics.get(self.objectives[0])) is not None:
            is_new = steps.put(trial.intermediate_values, step, _number(value))
        kept = {name: _number(metrics[name]) for name in self._kept if name in metrics}
        if kept:
            is_new |= steps.put(self.measured.setdefault(trial.number, {}), step, kept)
        if is_new:
            self.changes.note(trial.number, step)
        if not trial.state.is_finished() and step > self.judged.get(trial.number, -1):
            unjudged = self.unjudged.setdefault(trial.number, [])
            if step not in unjudged:
                bisect.insort(unjudged, step)
        return True

    def reported(self, trial: FrozenTrial) -> dict[int, tuple[float, ...]]:
        """The values of all objectives, by step, of the steps at which a trial has reported them all."""
        if len(self.objectives) == 1:
            return {step: (value,) for step, value in trial.intermediate_values.items()}
        return {
            step: tuple(values[name] for name in self.objectives)
            for step, values in self.measured.get(trial.number, {}).items()
            if all(name in values for name in self.objectives)
        }

    def violations_at(self, number: int, step: int) -> dict[str, float]:
        """Violations of outcome constraints by what a trial has last reported up to a step; without those it has reported nothing of."""
        if not self.constraints:
            return {}
        measured = steps.last_values(self.measured.get(number, {}), step, len(self._kept))
        return outcome_constraints.violations(self.constraints, measured)

    def mark_judged(self, number: int, step: int) -> None:
        self.judged[number] = step
        later = [each for each in self.unjudged.pop(number, []) if each > step]
        if later:
            self.unjudged[number] = later

    def add_observer(self, observer: Observer) -> None:
        """Tell `observer` of every trial, those that are there included."""
        self._observers.append(observer)
        for index, trial in enumerate(self.trials):
            observer.changed(index, trial)

    def _build(self, row: TrialRow) -> FrozenTrial:
        if row.repeats is not None:
            self.repeats[row.number] = row.repeats
        if row.origin == "portfolio":
            self.lent.add(row.number)
        trial = self._by_id[row.id] = FrozenTrial(
            number=row.number,
            state=OptunaState.RUNNING,
            value=None,
            values=None,
            datetime_start=None,
            datetime_complete=None,
            params=json.loads(row.params),
            distributions=self._distributions(row),
            user_attrs={},
            system_attrs=json.loads(row.system_attrs),
            intermediate_values={},
            trial_id=row.id,
        )
        return trial

    def _complete_params(self, trial: FrozenTrial, row: TrialRow) -> bool:
        """Take in what another program has given to a trial since it was first seen: parameters, one by one, and attributes; whether it has."""
        params, attrs = json.loads(row.params), json.loads(row.system_attrs)
        if params == trial._params and attrs.items() <= trial._system_attrs.items():
            return False
        trial._params, trial._distributions = params, self._distributions(row)
        trial._system_attrs = {**trial._system_attrs, **attrs}
        return True

    def _distributions(self, row: TrialRow) -> dict[str, BaseDistribution]:
        known = self._parsed.get(row.distributions)
        return dict(self._parse(row.distributions) if known is None else known)

    def _set_outcome(self, trial: FrozenTrial, row: TrialRow, state: TrialState) -> None:
        if row.objective_values is not None:
            trial._values = [float(value) for value in json.loads(row.objective_values)]
        if row.constraint_values is not None:
            found = outcome_constraints.attributes(json.loads(row.constraint_values), trial._system_attrs)
            trial._system_attrs = {**trial._system_attrs, **found}
        trial.state = _OPTUNA_STATES[state]

    def _parse(self, text: str) -> dict[str, BaseDistribution]:
        parsed = {}
        for name, stored in json.loads(text).items():
            distribution = distributions.from_json(stored)
            own = self.ranges.get(name)
            if own is not None and (own == distribution or (self.space_version > 1 and distributions.covers(own, distribution))):
                distribution = own
            else:
                self._foreign = True
            parsed[name] = distribution
        if len(self._parsed) > 10_000:
            self._parsed.clear()
        self._parsed[text] = parsed
        return parsed

    def _place(self, trial: FrozenTrial, state: TrialState, reason: str | None = None) -> int:
        number = trial.number
        index = len(self.trials) if not self._numbers or number > self._numbers[-1] else bisect.bisect(self._numbers, number)
        self._numbers.insert(index, number)
        self.trials.insert(index, trial)
        self.states.insert(index, state)
        self.reasons.insert(index, reason)
        if index == len(self.trials) - 1:
            self._index[number] = index
        else:
            self._index = {each: place for place, each in enumerate(self._numbers)}
            self._reset_observers()
        return index

    def _finished(self, number: int, trial: FrozenTrial) -> None:
        self.unjudged.pop(number, None)
        having = self._having.get(trial.state)
        if having is not None:
            having.update(trial.params.keys())
            signature = frozenset(trial.params)
            self._signatures[signature] = min(number, self._signatures.get(signature, number))

    def _reset_observers(self) -> None:
        for observer in self._observers:
            observer.reset()
            for index, trial in enumerate(self.trials):
                observer.changed(index, trial)

    # --- deciding --------------------------------------------------------------------------------------------------------

    def open_trial(self, number: int, repeats: int | None = None) -> FrozenTrial:
        """A trial about to be suggested: RUNNING, without parameters yet, and not in the database before `commit`.

        `repeats`: the number of the trial that it repeats.
        """
        if repeats is not None:
            self.repeats[number] = repeats
        trial = FrozenTrial(
            number=number,
            state=OptunaState.RUNNING,
            value=None,
            values=None,
            datetime_start=None,
            datetime_complete=None,
            params={},
            distributions={},
            user_attrs={},
            system_attrs={},
            intermediate_values={},
            trial_id=-1 - number,
        )
        self._place(trial, TrialState.WAITING)
        self.counts[TrialState.WAITING] += 1
        self._by_id[trial._trial_id] = trial
        self._open.append(trial)
        return trial

    def close_trial(self, trial: FrozenTrial) -> None:
        """The trial has its parameters: observers may look."""
        self._shown = True
        for observer in self._observers:
            observer.changed(self._index[trial.number], trial)

    def commit(self) -> None:
        """The transaction that stores the collected writes has been committed."""
        self._open.clear()
        self._shown = False
        self._study_writes.clear()
        self._trial_writes.clear()
        self._undo.clear()

    def rollback(self, stored: int = 0) -> None:
        """Forget the trials opened since the last commit but the first `stored`, and with `stored` 0 all attributes written."""
        for trial in reversed(self._open[stored:]):
            index = self._index.pop(trial.number)
            del self.trials[index], self._numbers[index], self.states[index], self.reasons[index]
            self.counts[TrialState.WAITING] -= 1
            self.repeats.pop(trial.number, None)
            del self._by_id[trial._trial_id]
        if self._shown and self._open[stored:]:
            self._reset_observers()
        if stored == 0:
            for container, key, old in reversed(self._undo):
                if old is _MISSING:
                    container.pop(key, None)
                else:
                    container[key] = old
        self.commit()

    @property
    def study_writes(self) -> dict[str, Any]:
        """Attributes of the study written since the last commit."""
        return dict(self._study_writes)

    @property
    def trial_writes(self) -> dict[int, dict[str, Any]]:
        """All system attributes, by id, of the stored trials of which some were written since the last commit."""
        return {trial_id: dict(trial.system_attrs) for trial_id, trial in self._trial_writes.items() if trial_id >= 0}

    @property
    def version_prefix(self) -> str:
        """What the names of attributes have in front that hold a model of one version of the space; nothing at the first."""
        return "" if self.space_version == 1 else f"{self.space_version}:"

    @property
    def foreign(self) -> bool:
        """Whether a trial has distributions other than the study's: made by another program."""
        return self._foreign

    def get(self, number: int) -> FrozenTrial:
        return self.trials[self._index[number]]

    def state_of(self, number: int) -> TrialState:
        return self.states[self._index[number]]

    def numbers_of(self, trial_ids: Iterable[int]) -> set[int]:
        """Numbers of those of these trials that are known."""
        return {self._by_id[trial_id].number for trial_id in trial_ids if trial_id in self._by_id}

    def reason_of(self, number: int) -> str | None:
        return self.reasons[self._index[number]]

    def place_of(self, number: int) -> int:
        """Where the trial stands in `trials`."""
        return self._index[number]

    def num_finished(self, *, include_pruned: bool) -> int:
        """COMPLETE trials, and PRUNED ones where asked for: what samplers count."""
        return self.counts[TrialState.COMPLETE] + (self.counts[TrialState.PRUNED] if include_pruned else 0)

    def common_space(self, *, include_pruned: bool) -> dict[str, BaseDistribution]:
        """Parameters that every finished trial has, by name: Optuna's intersection search space, without looking at the trials again."""
        total = self.num_finished(include_pruned=include_pruned)
        if total == 0:
            return {}
        if self.foreign:
            found = intersection_search_space(self.trials, include_pruned)
            # What has one value here, be it frozen or the level of a comparison, keeps it.
            return {
                name: own if (own := self.space[name]).single() else distribution
                for name, distribution in found.items()
                if name in self.space
            }
        complete, pruned = self._having[OptunaState.COMPLETE], self._having[OptunaState.PRUNED]
        having = {name: complete[name] + (pruned[name] if include_pruned else 0) for name in self.space}
        return {name: self.space[name] for name in sorted(self.space) if having[name] == total}

    def grouped_spaces(self) -> _SearchSpaceGroup:
        """Optuna's decomposition into groups of parameters that occur together; the same whichever trial ended first."""
        group = _SearchSpaceGroup()
        for signature, _ in sorted(self._signatures.items(), key=lambda item: item[1]):
            group.add_distributions({name: self.space[name] for name in self.space if name in signature})
        return group

    # --- Optuna's storage ------------------------------------------------------------------------------------------------

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[OptunaState] | None = None
    ) -> list[FrozenTrial]:
        if states is None:
            return self.trials.copy()
        return [trial for trial in self.trials if trial.state in states]

    def get_trial(self, trial_id: int) -> FrozenTrial:
        return self._by_id[trial_id]

    def get_study_id_from_name(self, study_name: str) -> int:
        return self.study_id

    def get_study_name_from_id(self, study_id: int) -> str:
        return self.name

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        return self.directions

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        return {}

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return self.system_attrs

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self._write(self.system_attrs, key, value)
        self._study_writes[key] = value

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        trial = self._by_id[trial_id]
        if trial_id >= 0:
            # Pruners hold the trials as they were before they write, and count on it.
            trial = copy.copy(trial)
            trial._system_attrs = dict(trial._system_attrs)
            self._by_id[trial_id] = self.trials[self._index[trial.number]] = trial
        self._write(trial._system_attrs, key, value)
        self._trial_writes[trial_id] = trial

    def _write(self, container: dict[str, Any], key: str, value: Any) -> None:
        self._undo.append((container, key, container.get(key, _MISSING)))
        container[key] = value


def _number(reported: float | str) -> float:
    return NON_FINITE[reported] if isinstance(reported, str) else float(reported)
