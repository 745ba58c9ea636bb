"""Population based training (Jaderberg et al. 2017, arXiv 1711.09846), asynchronous, with truncation selection.

Members train side by side and pause at each boundary, every `interval` reports, holding no worker. Whoever is furthest behind goes on first,
so a population larger than the number of workers is trained in turns. At that moment it is held against all who have come to this
boundary so far: one of the worst quantile ends, and a child takes its place, which goes on from the checkpoint that one of the best
quantile, drawn at random, left at the same boundary (exploit), with hyperparameters that are the parent's times 1.2 or 0.8, or drawn
anew (explore). A member that fails is replaced alike, or by a new one where it had not come to a boundary. Who is better is `standings`:
who breaks an outcome constraint by then comes after those who do not, NaN ranks last, equals go by number.

What a member has done stands in its reports and in attributes that the deciding transaction writes, and chance hangs on the study's seed
and the child's number alone: a search that takes over decides the same.

Weakness: members that come to a boundary before 1 / quantile others have are not replaced there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Set
from enum import StrEnum
from random import Random
from typing import Any

import numpy as np
from optuna.study import StudyDirection
from sqlalchemy import Connection

from tuner import feasibility, lineage, outcome_constraints, populations, trials
from tuner.errors import InvalidValue
from tuner.lineage import Source
from tuner.parameters import CategoricalParameter, FloatParameter, IntParameter, Parameter, is_number
from tuner.search import distributions, steps
from tuner.search.history import History
from tuner.search.standings import Result, Standings
from tuner.space import SearchSpace
from tuner.space_edits import DROPPED_KEY
from tuner.spec import Executor, StudySpec
from tuner.trials import Suggestion
from tuner.wire import Reason, TrialState, Verdict

GOAL_KEY = "tuner:boundary"
"""System attribute of a trial: the boundary it runs to, from 1."""
CHILD_KEY = "tuner:population"
"""System attribute of a child: the `boundary` of the checkpoint it began from, and the number of the trial it `replaces`."""
RESUMED_KEY = "tuner:without_checkpoint"
"""System attribute of a trial: the boundary it reached without leaving a checkpoint, so that it was sent to repeat the interval."""
_NO_CHECKPOINT = (
    "paused after {count} reports without a checkpoint, twice: a population needs one at each boundary; save it before you return at "
    "the verdict pause"
)
_MAX_DRAWS = 32
_STREAM = 1711


class Renewal(StrEnum):
    """What became of a paused member, or of the place of one that failed."""

    GOES_ON = "goes_on"
    CHILD = "child"
    FAILED = "failed"
    NOTHING = "nothing"
    OUTDATED = "outdated"
    """The tables say something else than is known here."""


def build(spec: StudySpec, history: History, seed: int) -> Population | None:
    """None where the study, its pruner decided, is no population."""
    return Population(spec, history, seed) if spec.is_population else None


class Population:
    """The members of one study, their results at each boundary, and the decisions that follow from them."""

    def __init__(self, spec: StudySpec, history: History, seed: int) -> None:
        options, most = spec.pruner.options, spec.max_resource
        assert most is not None  # the spec has been validated
        self.interval = populations.interval(options, most)
        self._num_boundaries = (most - 1) // self.interval
        self._goals = range(self.interval - 1, self._num_boundaries * self.interval, self.interval)  # the steps of the boundaries
        self._size = int(options.get("size", populations.SIZE))
        self._quantile = float(options.get("quantile", populations.QUANTILE))
        self._resample = float(options.get("resample", 0.25))
        self._perturbation = float(options.get("perturbation", 0.2))
        self._space = spec.space
        self._free = populations.perturbable(spec.space, options, by_trainer=spec.trial.executor == Executor.TRAINER)
        self._history = history
        self._seed = seed
        self._sign = -1.0 if history.directions[0] == StudyDirection.MAXIMIZE else 1.0
        self._json = {name: distributions.to_json(distribution) for name, distribution in history.ranges.items()}
        self._standings = [Standings() for _ in range(self._num_boundaries + 1)]
        self._passed: dict[int, list[int]] = {}  # by trial: the steps of its results, boundary by boundary from its base
        self._first: set[int] = set()  # numbers of the trials that are nobody's children
        self._failed: set[int] = set()
        self._replaced: set[int] = set()
        self._in_vain: set[int] = set()  # of the failed, those for whose place there was nobody to copy
        self._waiting: set[int] = set()  # numbers of trials that have come to their boundary and run no more
        self.held: set[int] = set()
        """Trials that the database holds back, as far as known."""

    # --- taking in -------------------------------------------------------------------------------------------------------

    def take_in(self, number: int) -> None:
        """Look at a trial of the history again: its reports, its state, whether it is held."""
        trial, state, reason = self._history.get(number), self._history.state_of(number), self._history.reason_of(number)
        has_arrived = self._place(number)
        if has_arrived or state != TrialState.RUNNING:  # by then its checkpoint is there
            self._in_vain = {each for each in self._in_vain if number not in self._results(self.standing(each))}
        child = trial.system_attrs.get(CHILD_KEY)
        if child is None and DROPPED_KEY not in trial.system_attrs:  # else another one is made in its stead
            self._first.add(number)
        if child is not None:
            self._replaced.add(child["replaces"])
        if state == TrialState.FAIL and reason != Reason.CANCELLED:
            self._failed.add(number)
        repeats = reason != Reason.PAUSED_AT_RUNG and trial.system_attrs.get(RESUMED_KEY) == self._goal(number)
        waits = state == TrialState.WAITING and self._is_at_boundary(number) and not repeats
        (self._waiting.add if waits else self._waiting.discard)(number)
        is_held = state == TrialState.WAITING and reason == Reason.PAUSED_AT_RUNG
        (self.held.add if is_held else self.held.discard)(number)

    def _place(self, number: int) -> bool:
        """Give a trial its results at the boundaries that its new reports bear on; whether it has come to another one."""
        changed = self._history.changes.take(number)
        if changed is None:
            return False
        base, passed = self._base(number), self._passed.setdefault(number, [])
        num_passed, goals = len(passed), self._goals[base:]
        if not steps.bears_on(changed, passed, goals):
            return False
        reported = self._history.get(number).intermediate_values
        for index in steps.revise(passed, goals, changed[0], reported):
            step = passed[index]
            violation = outcome_constraints.total(self._history.violations_at(number, step))
            self._standings[base + 1 + index].put(number, Result.of([self._sign * reported[step]], violation))
        return len(passed) > num_passed

    def _results(self, boundary: int) -> Mapping[int, Result]:
        """By number of trial."""
        return self._standings[boundary].results

    def _base(self, number: int) -> int:
        """The boundary a trial began at: 0, or its parent's."""
        child = self._history.get(number).system_attrs.get(CHILD_KEY)
        return 0 if child is None else int(child["boundary"])

    def _goal(self, number: int) -> int:
        """The boundary a trial runs to; beyond the last: the end of its training."""
        return int(self._history.get(number).system_attrs.get(GOAL_KEY, self._base(number) + 1))

    def _is_at_boundary(self, number: int) -> bool:
        goal = self._goal(number)
        return goal <= self._num_boundaries and number in self._results(goal)

    def standing(self, number: int) -> int:
        """The last boundary that a trial has come to."""
        boundary = self._goal(number) - 1
        while boundary < self._num_boundaries and number in self._results(boundary + 1):
            boundary += 1
        return boundary

    # --- pausing ---------------------------------------------------------------------------------------------------------

    def judge(self, number: int, step: int) -> Verdict:
        """What a running trial that has reported `step` is to do."""
        is_there = self._is_at_boundary(number) and step >= self._goal(number) * self.interval - 1
        return Verdict.PAUSE if is_there else Verdict.CONTINUE

    def list_unheld(self) -> list[int]:
        """Trials that wait at their boundary and are not held: their worker died before the pause was decided."""
        return sorted(self._waiting - self.held)

    def list_promotable(self) -> Iterator[int]:
        """Paused trials, all of which go on or are replaced, whoever is furthest behind first."""
        yield from sorted(self.held | self._waiting, key=lambda number: (self.standing(number), number))

    def list_vacancies(self) -> list[int]:
        """Trials that have failed after a boundary and may be replaced, whoever was furthest behind first."""
        vacant = [number for number in self._failed - self._replaced - self._in_vain if self.standing(number) > 0]
        return sorted(vacant, key=lambda number: (self.standing(number), number))

    def best_waiting(self) -> int | None:
        """Nobody has to be trained to the end: all are who can."""
        return None

    @property
    def waiting(self) -> Set[int]:
        return self._waiting

    @property
    def is_over(self) -> bool:
        """All members have come to their end, but for who may still be put in the place of one that failed."""
        counts = self._history.counts
        return self.num_missing <= 0 and not counts[TrialState.WAITING] and not counts[TrialState.RUNNING]

    @property
    def num_missing(self) -> int:
        """How many first members are still to be made: those there are not, and those that failed before any boundary."""
        return self._size - len(self._first) + sum(self.standing(number) == 0 for number in self._failed)

    # --- going on --------------------------------------------------------------------------------------------------------

    def _better(self, number: int) -> list[int]:
        """Who may be copied in the place of a trial at its boundary; empty where it shall go on itself."""
        boundary = self.standing(number)
        standings, results = self._standings[boundary], self._results(boundary)
        count = math.floor(self._quantile * len(standings))
        if number in self._failed:
            return [other for _, other in standings.top() if other not in self._failed][: max(count, 1)]
        if not self._is_at_boundary(number):
            return []  # it has reported nothing there to compare
        if standings.place(number) < len(standings) - count:
            return []
        return [other for _, other in standings.top(count) if other not in self._failed and results[other] < results[number]]

    def renew(self, connection: Connection, number: int, child_number: int, *, has_room: bool) -> Renewal:
        """Decide on a paused trial, or on the place of one that has failed, and store that but for the attributes.

        `has_room`: the study may make another trial. The history has to be rolled back where nothing was stored.
        """
        study, boundary = self._history.study_id, self.standing(number)
        trial, first = self._history.get(number), boundary * self.interval - 1
        has_failed = number in self._failed
        better = self._better(number) if has_room else []
        sources = lineage.list_sources(connection, study, better, first, first + self.interval) if better else []
        child = self._child(child_number, number, sources) if sources else None
        if child is not None:
            replaced = None if has_failed else trial._trial_id
            if not lineage.copy(connection, study, child, replaced, self._history.space_version):
                return Renewal.OUTDATED
            outcome = Renewal.CHILD
            self._replaced.add(number)
        elif has_failed:
            if has_room:
                self._in_vain.add(number)
            return Renewal.NOTHING
        else:
            # One that came here without leaving a checkpoint, as a worker that dies may make it, repeats the interval, once.
            repeats = boundary > self._base(number) and not lineage.list_sources(connection, study, [number], first, 2**62)
            if repeats and trial.system_attrs.get(RESUMED_KEY) == boundary:
                lineage.fail_held(connection, study, trial._trial_id, _NO_CHECKPOINT.format(count=boundary * self.interval))
                outcome = Renewal.FAILED
            elif trials.promote(connection, study, [trial._trial_id]):
                # Now that it is decided: whatever is written here the caller stores.
                key, value = (RESUMED_KEY, boundary) if repeats else (GOAL_KEY, boundary + 1)
                self._history.set_trial_system_attr(trial._trial_id, key, value)
                outcome = Renewal.GOES_ON
            else:
                return Renewal.OUTDATED
        self._waiting.discard(number)
        self.held.discard(number)
        return outcome

    def _child(self, number: int, replaced: int, sources: list[Source]) -> Suggestion | None:
        """The trial `number`, entered in the history, which copies one of these; None where none of their configurations is allowed."""
        state = np.random.SeedSequence((self._seed, _STREAM, number)).generate_state(2, np.uint64)
        rng = Random(int(state[0]))
        for source in rng.sample(sources, len(sources)):
            params = explore(
                self._space,
                self._history.get(source.number).params,
                self._free,
                rng,
                resample=self._resample,
                perturbation=self._perturbation,
            )
            if params is not None:
                break
        else:
            return None
        trial = self._history.open_trial(number)
        attrs = {"boundary": self.standing(replaced), "replaces": replaced}
        self._history.set_trial_system_attr(trial._trial_id, CHILD_KEY, attrs)
        trial._params = params
        trial._distributions = {name: self._history.ranges[name] for name in params}
        self._history.close_trial(trial)
        return Suggestion(
            number=number,
            params=params,
            distributions={name: self._json[name] for name in params},
            system_attrs={CHILD_KEY: attrs},
            origin="population",
            parent=source.number,
            source=source.id,
        )


# --- exploring -----------------------------------------------------------------------------------------------------------


def explore(
    space: SearchSpace,
    parent: Mapping[str, Any],
    free: Set[str],
    rng: Random,
    *,
    resample: float = 0.25,
    perturbation: float = 0.2,
) -> dict[str, Any] | None:
    """A configuration near the parent's, in which only `free` parameters differ; None where no allowed one was found.

    Each is drawn anew with probability `resample`, else perturbed; one that the space has come to freeze has its frozen value. The others
    are the parent's, and `space_edits` lets nobody freeze them at another value: no copy of that parent would be allowed.
    """
    for last in (*[False] * (_MAX_DRAWS - 1), True):
        params: dict[str, Any] = {}
        for name in space.order:
            if space.is_active(name, params):
                params[name] = _explored(space.parameters[name], name, parent, free, rng, resample, perturbation)
        try:
            found = space.check(params)
        except InvalidValue:
            continue
        if found != parent or last:
            return dict(found)
    return None


def _explored(
    parameter: Parameter, name: str, parent: Mapping[str, Any], free: Set[str], rng: Random, resample: float, perturbation: float
) -> Any:
    if name in parent and name not in free:
        return parent[name]
    if parameter.frozen is not None:
        return parameter.frozen[0]
    if name not in parent or rng.random() < resample:
        return feasibility.draw_value(parameter, rng)
    return perturb(parameter, parent[name], 1 if rng.random() < 0.5 else -1, perturbation)


def perturb(parameter: Parameter, value: Any, direction: int, perturbation: float) -> Any:
    """The value times 1 + perturbation, or 1 - perturbation for direction -1, within the range; on a grid at least one step away.

    Of choices that are all numbers the next larger or smaller one; other choices stay, for there is no next.
    """
    if isinstance(parameter, CategoricalParameter):
        if not all(is_number(choice) for choice in parameter.choices):
            return value
        ordered = sorted(parameter.choices, key=lambda choice: float(choice))  # type: ignore[arg-type]
        return ordered[min(max(ordered.index(value) + direction, 0), len(ordered) - 1)]
    moved = min(max(value * (1 + direction * perturbation), parameter.low), parameter.high)
    found = _nearest(parameter, moved)
    count = parameter.num_values
    if count is None or found != value:
        return found
    step = parameter.step or 0
    towards = direction if value >= 0 else -direction
    return _nearest(parameter, min(max(value + towards * step, parameter.low), parameter.high))


def _nearest(parameter: FloatParameter | IntParameter, value: float) -> float | int:
    count, step = parameter.num_values, parameter.step
    if count is None or not step:
        return value
    return parameter.value_at(min(max(round((value - parameter.low) / step), 0), count - 1))
