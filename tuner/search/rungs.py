"""Asynchronous successive halving with pause and promotion (Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning").

A trial runs to the next rung of its bracket and pauses there, holding no worker; at any later time it is promoted once it stands in the top
1/eta of the results of its rung, and goes on from its checkpoint. One that would be the next to be promoted at the moment it reaches
its rung goes on without a pause: its worker would get it back. Which rung a trial runs to is an attribute of the trial, raised by
the transaction that promotes it; everything else here follows from the reports, so a search that takes over decides the same. A result
at a rung is the first report at or after the step that completes it: steps count from 0, so resource r is complete with step r - 1.
The last rung is the whole training and pauses nobody. Who is better is `standings`: with several objectives that is a matter of Pareto ranks
(Schmucker et al. 2021, "Multi-objective Asynchronous Successive Halving"), and a result is a report that has all of them; a trial that breaks
an outcome constraint, by what it has reported so far, comes after those that do not. NaN ranks last, equals by number.

Where trials cannot go on from a checkpoint (`resumes` false) the same rungs stop instead: who is not in the top 1/eta when it reaches its
rung ends there. The best so far always goes on, since nobody could be brought back later.

Weakness: a trial that its worker has been told to pause, and has not handed back yet, cannot be promoted in that moment.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Mapping, Sequence, Set

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from tuner import outcome_constraints
from tuner.levels import block_of
from tuner.search import steps
from tuner.search.history import History
from tuner.search.standings import Result, Standings
from tuner.spec import StudySpec
from tuner.strategies import rung_resources
from tuner.wire import Reason, TrialState, Verdict

RUNG_KEY = "tuner:rung"
"""System attribute of a trial: the rung it has been promoted to."""
RANDOM_SHARE = 1.0 / 3.0
"""Of the proposals of a sampler fitted to rungs; BOHB's rho, at its published default (Falkner et al. 2018)."""
MIN_RESULTS = 10
"""At a rung, before a model is fitted to it: TPE takes a tenth of the results for good ones, and of fewer than ten it knows none but the best.
In small spaces dimension + 1 would let two whole trainings lead, and forget all that ended lower down. Optuna's TPE begins at ten trials too."""
_MAX_RUNGS = 20
"""Where the length of a training is not known: enough for 3^18 reports."""


def build(spec: StudySpec, history: History) -> Rungs | None:
    """None where the study, its pruner decided, has no promotion."""
    if spec.pruner.name != "promotion":
        return None
    options, most = spec.pruner.options, spec.max_resource
    assert most is not None  # the spec has been validated
    eta = int(options.get("eta", 3))
    resources = rung_resources(options.get("min_resource"), most, eta)
    return Rungs(
        history,
        resources,
        eta=eta,
        num_brackets=int(options.get("brackets", 1)),
        resumes=bool(options.get("resume", True)),
        num_levels=1 if spec.compare is None else spec.space.parameters[spec.compare.by].num_values or 1,
    )


def fitted(spec: StudySpec, history: History) -> Rungs:
    """Rungs that judge nobody, for a sampler to be fitted to where another pruner ends trials. Whole trainings are the last."""
    resource = spec.max_resource
    known = isinstance(resource, int)  # Hyperband's may be "auto"
    resources = rung_resources(None, resource, 3) if resource is not None and known else [3**power for power in range(_MAX_RUNGS)]
    return Rungs(history, resources, eta=3, resumes=False)


class Rungs:
    """Results of one study's trials at each rung, and the decisions that follow from them. Rung indices count from the first rung up."""

    def __init__(
        self,
        history: History,
        resources: list[int],
        *,
        eta: int,
        num_brackets: int = 1,
        resumes: bool = True,
        num_levels: int = 1,
    ) -> None:
        """`num_levels`: levels the study compares, whose trials take turns; those of one block are of one bracket."""
        self.resources = resources
        self._num_levels = num_levels
        self.resumes = resumes
        self._history = history
        self._eta = eta
        self._signs = [-1.0 if direction == StudyDirection.MAXIMIZE else 1.0 for direction in history.directions]
        self._cycle = _cycle(len(resources), eta, num_brackets)
        self._arrivals: list[list[int]] = [[] for _ in resources]
        self._violations: list[dict[int, dict[str, float]]] = [{} for _ in resources]
        self._standings = [Standings(len(self._signs)) for _ in resources]
        self._of_brackets = [[Standings(len(self._signs)) for _ in range(num_brackets)] for _ in resources]
        self._goals = [resource - 1 for resource in resources]
        self._passed: dict[int, list[int]] = {}  # by trial: the steps of its results, rung by rung
        self._waiting: set[int] = set()  # numbers of trials that have completed their rung and run no more
        self._trained: set[int] = set()  # of these, who have a result at the last rung
        self.held: set[int] = set()
        """Trials that the database holds back, as far as known."""

    def take_in(self, number: int) -> None:
        """Look at a trial of the history again: its reports, its state, whether it is held."""
        trial, state = self._history.get(number), self._history.state_of(number)
        for rung, values, violations in self._results(trial):
            losses = [sign * value for sign, value in zip(self._signs, values, strict=True)]
            self._place(rung, number, Result.of(losses, outcome_constraints.total(violations)))
            self._violations[rung][number] = violations
        waits = self.resumes and state == TrialState.WAITING and self.has_completed_rung(number)
        (self._waiting.add if waits else self._waiting.discard)(number)
        (self._trained.add if waits and self._is_trained(number) else self._trained.discard)(number)
        is_held = state == TrialState.WAITING and self._history.reason_of(number) == Reason.PAUSED_AT_RUNG
        (self.held.add if is_held else self.held.discard)(number)

    def goal(self, number: int) -> int:
        """The rung the trial runs to."""
        promoted = self._history.get(number).system_attrs.get(RUNG_KEY)
        return self._bracket(number) if promoted is None else int(promoted)

    def has_completed_rung(self, number: int) -> bool:
        """Whether the trial has a result at the rung it was to run to, and that is not the last."""
        goal = self.goal(number)
        return goal < len(self.resources) - 1 and number in self._standings[goal].results

    def judge(self, number: int, step: int) -> Verdict:
        """What a running trial that has reported `step` is to do at its rung; one that may go on is promoted with the same breath."""
        while self._has_reached_rung(number, step):
            if not self._goes_on(number):
                return Verdict.PAUSE if self.resumes else Verdict.PRUNE
            self.promote(number)
        return Verdict.CONTINUE

    def _has_reached_rung(self, number: int, step: int) -> bool:
        """Not without a result: the trial could never be promoted."""
        return self.has_completed_rung(number) and step >= self.resources[self.goal(number)] - 1

    def _is_trained(self, number: int) -> bool:
        return number in self._standings[-1].results

    def _goes_on(self, number: int) -> bool:
        """Whether a running trial at its rung is promoted on the spot."""
        if self._is_trained(number):
            return True
        if self.resumes:
            return next(self.list_promotable(running=number), None) == number
        goal = self.goal(number)
        standings = self._of_brackets[goal][self._bracket(number)]
        return standings.results[number].is_usable and standings.place(number) < max(1, len(standings) // self._eta)

    def list_unheld(self) -> list[int]:
        """Trials that wait, have completed their rung and are not held: their worker died before the pause was decided."""
        return sorted(self._waiting - self.held)

    def list_promotable(self, running: int | None = None) -> Iterator[int]:
        """Paused trials in the top 1/eta of their rung, the highest rung first, within it the best first; `running` as if it paused.

        Before them any that is held and has its rung before it: a search that had lost the study without knowing may have paused it. And
        any that was trained to its end before the pause reached it: it has only to say so.
        """
        yield from sorted(self.held - self._waiting)
        yield from sorted(self._trained)
        if not self._waiting and running is None:
            return
        for rung in range(len(self.resources) - 2, -1, -1):
            tops = [standings.top(len(standings) // self._eta) for standings in self._of_brackets[rung]]
            for _, number in heapq.merge(*tops):
                is_paused = number in self._waiting and number not in self._trained
                if (is_paused or number == running) and self._standing(number) == rung:
                    yield number

    def best_waiting(self) -> int | None:
        """The paused trial that has come furthest, of those the best."""
        for rung in range(len(self.resources) - 2, -1, -1):
            for _, number in self._standings[rung].top():
                if number in self._waiting and self._standing(number) == rung:
                    return number
        return None

    def promote(self, number: int) -> None:
        """Let a paused trial run to the next rung, where it has completed its own. Its attribute is written with the transaction that stores the promotion."""
        goal = self._standing(number) + 1 if self.has_completed_rung(number) else self.goal(number)
        self._history.set_trial_system_attr(self._history.get(number)._trial_id, RUNG_KEY, goal)
        self._waiting.discard(number)
        self._trained.discard(number)
        self.held.discard(number)

    # --- what samplers are fitted to -------------------------------------------------------------------------------------

    def speaking(self, startup: int | None = None) -> int | None:
        """The rung that a model of the results should be fitted to, the highest with enough of them; None while it had better not speak.

        Enough is dimension + 1, and MIN_RESULTS at least. It speaks from the moment some rung holds that many, and two for each trial under
        way, or `startup` where given. With several objectives the good ones lie along a front and take more to show: there a rung leads
        once a tenth of its results, TPE's share of good ones, is dimension + 1, and until then the first does.
        """
        dimension = sum(not distribution.single() for distribution in self._history.space.values())
        enough = max(dimension + 1, MIN_RESULTS)
        if startup is None:
            unfinished = self._history.counts[TrialState.WAITING] + self._history.counts[TrialState.RUNNING]
            startup = max(2 * (unfinished - len(self._waiting)), enough)
        rung = self._leading(max(1, min(startup, enough)))
        if rung is None or max(len(standings) for standings in self._standings) < startup:
            return None
        return rung if len(self._signs) == 1 else self._leading(10 * (dimension + 1)) or 0

    def _leading(self, enough: int) -> int | None:
        """The highest rung with enough results."""
        for rung in range(len(self.resources) - 1, -1, -1):
            if len(self._standings[rung]) >= enough:
                return rung
        return None

    def num_results(self, rung: int) -> int:
        return len(self._standings[rung])

    def results(self, rung: int) -> Mapping[int, Result]:
        """By number of trial."""
        return self._standings[rung].results

    def values_of(self, result: Result) -> list[float]:
        """The objectives' values of a result."""
        return [sign * loss for sign, loss in zip(self._signs, result.losses, strict=True)]

    def violations(self, rung: int) -> Mapping[int, Mapping[str, float]]:
        """Violations of outcome constraints when they came to the rung, of those that had been measured, by number of trial."""
        return self._violations[rung]

    def arrivals(self, rung: int) -> Sequence[int]:
        """Numbers of the trials with a result, as they came; only ever appended to."""
        return self._arrivals[rung]

    def best(self, rung: int, count: int) -> list[int]:
        """Numbers of the `count` best at a rung, of all brackets."""
        return [number for _, number in self._standings[rung].top(count)]

    @property
    def waiting(self) -> Set[int]:
        """Trials that have completed their rung and run no more: not pending, for their result is known."""
        return self._waiting

    # --- taking in -------------------------------------------------------------------------------------------------------

    def _results(self, trial: FrozenTrial) -> Iterator[tuple[int, Sequence[float], dict[str, float]]]:
        """Rung, values of the objectives, violations of outcome constraints: where they may have changed since this was asked."""
        last = len(self.resources) - 1
        is_complete = trial.state == OptunaState.COMPLETE
        changed, passed = self._history.changes.take(trial.number), self._passed.setdefault(trial.number, [])
        if changed is not None and steps.bears_on(changed, passed, self._goals):
            reported = self._history.reported(trial)
            for rung in steps.revise(passed, self._goals, changed[0], reported):
                if rung < last or not is_complete:
                    yield rung, reported[passed[rung]], self._history.violations_at(trial.number, passed[rung])
        if is_complete:
            yield last, trial.values, trial.constraints

    def _place(self, rung: int, number: int, result: Result) -> None:
        known = self._standings[rung].results.get(number)
        if known == result:
            return
        if known is None:
            self._arrivals[rung].append(number)
        self._standings[rung].put(number, result)
        self._of_brackets[rung][self._bracket(number)].put(number, result)

    def _standing(self, number: int) -> int:
        """The rung a paused trial competes at: workers that do not wait for verdicts come past the rung where it was to pause."""
        rung = self.goal(number)
        while rung < len(self.resources) - 2 and number in self._standings[rung + 1].results:
            rung += 1
        return rung

    def _bracket(self, number: int) -> int:
        """Bracket b begins at rung b."""
        return self._cycle[block_of(number, self._num_levels) % len(self._cycle)]


def _cycle(num_rungs: int, eta: int, num_brackets: int) -> list[int]:
    """Which bracket trial after trial belongs to: as many of each as Hyperband starts (Li et al. 2018, algorithm 1), well mixed."""
    if num_brackets == 1:
        return [0]
    # A bracket that begins s rungs below the last starts ceil(num_rungs / (s + 1) * eta^s) trials.
    below = [num_rungs - 1 - bracket for bracket in range(num_brackets)]
    counts = [math.ceil(num_rungs / (s + 1) * eta**s) for s in below]
    return [
        bracket for _, bracket in sorted(((place + 0.5) / count, b) for b, count in enumerate(counts) for place in range(count))
    ]
