"""Racing on seeds: which configuration is repeated next, and which one is the best, as a pure function of the trials there are.

A configuration is a trial and the trials that repeat it: the same parameters, each with a seed of its own. The rule is the intensification
of SMAC (Hutter, Hoos, Leyton-Brown 2011, "Sequential Model-Based Optimization for General Algorithm Configuration", procedure 2) without
its memory, so that any search decides the same from the trials alone, whoever decided before and in whatever order results came:

* The incumbent is the configuration with the most seeds, of several the one with the lowest mean. It is also what is reported.
* A configuration with fewer seeds, whose mean is not worse than the incumbent's, is a challenger. Its seeds are doubled (1, 2, 4, ...) until
  its mean is worse, or until it has as many as the incumbent and with the lower mean takes its place. Should the incumbent's mean rise with a new
  seed, those it had beaten are challengers again.
* The incumbent gets a further seed after 4, 9, 16, ... complete configurations. SMAC gives it one for each configuration held against it, which
  in a budget of tens of trainings spends on early incumbents what later ones are found with. Simulated with 60 trainings as in `benchmarks.racing`,
  what is reported is truly better by 0.02 (5 seeds, one worker) to 0.3 (10 seeds, eight workers) of the configurations' spread, and elsewhere the same within the simulations' error.
* Repeats that wait or run count as made. SMAC holds both against each other on the seeds they share; here no two trials share a seed, so
  all that is known of the incumbent is used.
* At most as many repeats are made as configurations, the reserve of the last trials included: SMAC3, too, gives half to intensification by default, though of the time, the other half of which
  goes to choosing configurations. What half of the trainings costs a random search is known: the expected best of n / 2 draws for that of n.
* The last trials of a study are kept for repeats: `reserve`. There is no time for doubling then: of the challengers that can still come
  to as many seeds as the incumbent, the one with the lowest mean gets all it lacks; without one the incumbent gets all it may have.

Weakness: means are held against each other without a test, as in SMAC; with few seeds a race is lost or won by luck, the more often the
closer two configurations are. With many workers and few trials for each, races end late.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tuner.errors import FieldError
from tuner.wire import Reason, TrialState

MIN_SEEDS, MAX_SEEDS = 2, 100
"""Of a configuration: what a study may ask for."""


def check(
    most: int,
    *,
    num_objectives: int,
    compares: bool,
    is_population: bool,
    max_trials: int | None,
    trainer: Mapping[str, Any] | None,
    space: Container[str],
) -> Iterator[FieldError]:
    """What speaks against repeating trials up to `most` seeds."""
    if num_objectives > 1:
        yield FieldError("repeat", "needs a single objective, of which there is a mean; with several leave it out")
    if compares:
        yield FieldError(
            "repeat", "does not go with compare, whose trials have paired seeds of their own (compare.seeds); leave one out"
        )
    if is_population:
        yield FieldError("repeat", "does not go with a population, whose trials go on from one another; leave one out")
    if max_trials is not None and max_trials <= most:
        yield FieldError("repeat.max", f"must be below limits.max_trials, {max_trials}, which counts repeats: not {most}")
    if trainer is not None and "seed" in space:
        yield FieldError("space.seed", "would give a repeat the seed of the trial it repeats; leave it or repeat out")
    elif trainer is not None and trainer.get("seed") is not None:
        yield FieldError("trial.trainer.seed", "would give all repeats the same seed; leave it or repeat out")


def reserve(most: int, max_trials: int) -> int:
    """How many of the last trials are kept for repeats: what one configuration may need, and half of a small budget at most."""
    return min(most - 1, max_trials // 2)


def before_reserve(most: int, max_trials: int) -> int:
    """How many repeats are made before the reserve at most, so that with it at most half of all trials are repeats."""
    return max_trials // 2 - reserve(most, max_trials)


def loss(value: float | None, *, is_maximized: bool, is_feasible: bool) -> float | None:
    """A trial's value as the race takes it: the smaller the better, infinite where an outcome constraint is broken; None without a value."""
    if not is_feasible:
        return math.inf
    return -value if value is not None and is_maximized else value


def mean_loss(losses: Sequence[float]) -> float:
    """Infinite where that is no number, and of no losses."""
    mean = sum(losses) / len(losses) if losses else math.inf
    return math.inf if math.isnan(mean) else mean


@dataclass(kw_only=True, slots=True)
class Configuration:
    """A trial and its repeats. Losses by number of trial, the smaller the better; infinite where the training diverged or an outcome constraint is broken."""

    number: int
    is_complete: bool = False
    losses: dict[int, float] = field(default_factory=dict)
    pending: set[int] = field(default_factory=set)  # repeats that wait or run
    failed: set[int] = field(default_factory=set)  # repeats without a result

    @property
    def num_seeds(self) -> int:
        return len(self.losses)

    @property
    def mean(self) -> float:
        return mean_loss([self.losses[number] for number in sorted(self.losses)])

    @property
    def races(self) -> bool:
        return self.is_complete and math.isfinite(self.mean)


_Standing = tuple[int, float, int]
"""Seeds times -1, mean and number of a configuration: the incumbent has the least."""


class Race:
    """The configurations of one study, kept in order as results come. `most`: seeds of a configuration at most."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.configurations: dict[int, Configuration] = {}
        self.under_way: set[int] = set()
        """Trials that wait or run and repeat no other."""
        self._repeats: set[int] = set()
        self._pending: set[int] = set()  # those of them that wait or run
        # Of the configurations that race: all by their means, and by their standings those with several seeds, which are few.
        self._standings: dict[int, _Standing] = {}
        self._by_mean: list[tuple[float, int]] = []
        self._repeated: list[_Standing] = []

    def take_in(
        self, number: int, state: TrialState, reason: str | None, loss: float | None, repeats: int | None
    ) -> Configuration:
        """A trial that is new or in another state, and its configuration. `repeats`: the number of the trial it repeats."""
        root = number if repeats is None else repeats
        found = self.configurations.get(root)
        if found is None:
            found = self.configurations[root] = Configuration(number=root)
        if repeats is not None:
            self._repeats.add(number)
        for pending in (self.under_way,) if repeats is None else (found.pending, self._pending):
            (pending.discard if state.is_finished else pending.add)(number)
        if state == TrialState.COMPLETE and loss is not None:
            found.losses[number] = loss
            found.is_complete |= repeats is None
        elif state.is_finished and repeats is not None:
            if reason == Reason.NAN:
                found.losses[number] = math.inf
            else:
                found.failed.add(number)
        self._place(found)
        return found

    def _place(self, configuration: Configuration) -> None:
        """Give a configuration its place among those that race, or take it out."""
        number, known = configuration.number, self._standings.pop(configuration.number, None)
        if known is not None:
            del self._by_mean[bisect.bisect_left(self._by_mean, known[1:])]
            if -known[0] > 1:
                del self._repeated[bisect.bisect_left(self._repeated, known)]
        if configuration.races:
            standing = self._standings[number] = (-configuration.num_seeds, configuration.mean, number)
            bisect.insort(self._by_mean, standing[1:])
            if configuration.num_seeds > 1:
                bisect.insort(self._repeated, standing)

    @property
    def incumbent(self) -> Configuration | None:
        """The best configuration; None while no trial is complete."""
        if not self._by_mean:
            return None
        return self.configurations[self._repeated[0][-1] if self._repeated else self._by_mean[0][-1]]

    @property
    def ranked(self) -> list[Configuration]:
        """The incumbent, then the other configurations that race by their means, though one with fewer seeds may have the better mean."""
        best = self.incumbent
        by_mean = [self.configurations[number] for _, number in self._by_mean]
        return sorted(by_mean, key=lambda each: each is not best)

    @property
    def is_pending(self) -> bool:
        """Whether a repeat waits or runs."""
        return bool(self._pending)

    def next_repeat(
        self, *, max_failures: int, most_repeats: int | None = None, ending: bool = False, left: int | None = None
    ) -> int | None:
        """Number of the trial to repeat next; None: a new configuration is worth more, or no repeat is worth anything.

        `max_failures`: how many repeats of a configuration may fail before it gets no more. `most_repeats`: how many there may be before the
        study is `ending`, never more than configurations; None: as many. `ending`: no new configuration is to be made, so
        that nothing holds repeats back; `left`: how many trials may still be made then, None where the study does not limit them.
        """
        num_configurations = len(self.configurations)
        most_repeats = num_configurations if most_repeats is None else min(most_repeats, num_configurations)
        if not ending and len(self._repeats) >= most_repeats:
            return None
        incumbent = self.incumbent
        if incumbent is None:
            return None
        num_seeds = incumbent.num_seeds
        if ending and left is not None:
            able = (
                each
                for each in self._challengers(incumbent)
                if num_seeds - each.num_seeds - len(each.pending) <= left and _lacks(each, num_seeds, max_failures)
            )
            chosen = next(able, None)
        else:
            able = (
                each
                for each in self._challengers(incumbent)
                if _lacks(each, min(num_seeds, _doubled(each.num_seeds)), max_failures)
            )
            chosen = min(able, key=lambda each: self._standings[each.number], default=None)
        most = self.most if ending else min(self.most, math.isqrt(len(self._standings)))
        if chosen is None and _lacks(incumbent, most, max_failures):
            chosen = incumbent
        return None if chosen is None else chosen.number

    def _challengers(self, incumbent: Configuration) -> Iterator[Configuration]:
        """Those with fewer seeds whose mean is not worse, the lowest mean first."""
        _, mean, _ = self._standings[incumbent.number]
        for _, number in self._by_mean[: bisect.bisect_right(self._by_mean, (mean, math.inf))]:
            if self.configurations[number].num_seeds < incumbent.num_seeds:
                yield self.configurations[number]


def _doubled(num_seeds: int) -> int:
    """The next power of two."""
    return 1 << num_seeds.bit_length()


def _lacks(configuration: Configuration, goal: int, max_failures: int) -> bool:
    """Whether a further repeat has to be made for the configuration to get so many seeds."""
    return len(configuration.failed) < max_failures and configuration.num_seeds + len(configuration.pending) < goal
