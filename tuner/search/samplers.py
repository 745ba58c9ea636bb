"""From a sampler's spec to proposals: which Optuna sampler, with which options, and the define-by-run walk over the search space.

Proposal n draws from random streams derived from (study seed, n) alone, and a sampler keeps nothing between two proposals that is not in
the history: so a search that takes a study over goes on exactly as the first would have. Grids are `cells`, TPE is `tpe`, Gaussian processes are `gp`. Weakness: the
reseeding reaches into private attributes of Optuna's samplers (pinned below 6; `reseed` fails loudly where it finds none).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Any, Protocol

import numpy as np
from optuna.distributions import BaseDistribution, _get_single_value
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    NSGAIIISampler,
    NSGAIISampler,
    QMCSampler,
    RandomSampler,
)
from optuna.samplers._lazy_random_state import LazyRandomState
from optuna.study import Study
from optuna.trial import FrozenTrial

from tuner import feasibility
from tuner.search import distributions
from tuner.search.cells import CellProposer
from tuner.search.gp import RungGPSampler, StatelessGPSampler
from tuner.search.history import History
from tuner.search.rung_tpe import RungTPESampler
from tuner.search.rungs import Rungs
from tuner.search.search_spaces import CommonSpace
from tuner.search.tpe import ColumnTPESampler
from tuner.space import SearchSpace
from tuner.strategy_spec import SamplerSpec
from tuner.trials import Suggestion
from tuner.wire import TrialState

MAX_PROPOSALS = {"gp": 4}
"""Of one trial, where a space has constraints: a Gaussian process is fitted anew for each, in seconds, and finds nearly the same again."""
DEFAULT_PROPOSALS = 32
"""Of the other samplers, whose proposals cost milliseconds."""

# What a sampler shares with the searches of other processes; here all parameters of a trial are known together.
_SHARED = ("tpe:relative_params", "gp:relative_params")


class Proposer(Protocol):
    """Proposes configurations for one study. `runs_ahead`: its proposals do not depend on results, so they may be made early."""

    runs_ahead: bool

    def propose(self, number: int) -> Suggestion | None:
        """A configuration for this number, entered in the history; None when there is nothing left to propose now."""

    @property
    def exhausted(self) -> bool:
        """Nothing will ever be proposed again, whatever the trials that run may give."""


def build(
    spec: SamplerSpec,
    space: SearchSpace,
    history: History,
    *,
    seed: int,
    max_attempts: Callable[[], int],
    rungs: Rungs | None = None,
) -> Proposer:
    """The proposer of a study whose sampler is decided; TPE and GP are fitted to the rungs where there are some. ValueError for options Optuna refuses."""
    if spec.name in ("grid", "brute_force"):
        return CellProposer(space, history, seed=seed if spec.name == "grid" else None, max_attempts=max_attempts)
    return OptunaProposer(
        make_sampler(spec, space, history, seed, rungs),
        space,
        history,
        seed=seed,
        runs_ahead=spec.name in ("random", "qmc"),
        max_proposals=MAX_PROPOSALS.get(spec.name, DEFAULT_PROPOSALS),
    )


def make_sampler(spec: SamplerSpec, space: SearchSpace, history: History, seed: int, rungs: Rungs | None = None) -> BaseSampler:
    options: dict[str, Any] = dict(spec.options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # experimental and deprecated options are the user's choice, made in the spec
        if spec.name == "tpe":
            if rungs is not None:
                return RungTPESampler(history, rungs, **options)
            return ColumnTPESampler(history, **options)
        if spec.name == "random":
            return RandomSampler(**options)
        if spec.name == "gp":
            if rungs is not None:
                return RungGPSampler(history, rungs, **options)
            return StatelessGPSampler(history, **options)
        if spec.name == "cmaes":
            return _cmaes(history, options)
        if spec.name == "qmc":
            always = {name: history.space[name] for name in sorted(space.roots) if not history.space[name].single()}
            return _StaticQMCSampler(always, seed=seed, **{"warn_independent_sampling": False} | options)
        if spec.name == "nsga2":
            return _with_common_space(NSGAIISampler(**options), history)
        if spec.name == "nsga3":
            return _with_common_space(NSGAIIISampler(**options), history)
    raise ValueError(f"there is no sampler {spec.name!r}")


class OptunaProposer:
    """Asks an Optuna sampler: relative sampling for what its relative search space covers, independent sampling for the rest.

    A proposal that breaks a constraint is thrown away and another one drawn, `max_proposals` at most, each from its own random stream: so
    what is proposed follows the sampler's distribution on the allowed part of the space. After that a random allowed
    configuration is taken: a model that keeps to a corner that is not allowed knows too little of the rest, and gets a result from there.
    It keeps what the sampler has noted of the trial, so that population-based samplers count it among their generation.
    """

    def __init__(
        self,
        sampler: BaseSampler,
        space: SearchSpace,
        history: History,
        *,
        seed: int,
        runs_ahead: bool,
        max_proposals: int = DEFAULT_PROPOSALS,
    ) -> None:
        self.runs_ahead = runs_ahead
        self._sampler = sampler
        self._space = space
        self._history = history
        self._seed = seed
        self._json = {name: distributions.to_json(distribution) for name, distribution in history.ranges.items()}
        self._study = Study(history.name, history, sampler=sampler)
        self._max_proposals = max_proposals
        self._given_up = False

    @property
    def exhausted(self) -> bool:
        """No allowed configuration has been found, and no trial is under way: practically impossible after `feasibility.problems`."""
        counts = self._history.counts
        return self._given_up and not counts[TrialState.WAITING] and not counts[TrialState.RUNNING]

    def propose(self, number: int) -> Suggestion | None:
        if self._given_up:
            return None
        self._study._thread_local.cached_all_trials = self._history.trials
        trial = self._history.open_trial(number)
        params = next((p for p in self._drawn(trial) if self._space.allows(p)), None) or self._random(number)
        if params is None:
            self._given_up = True
            self._history.close_trial(trial)  # for its observers to hear that it is taken back, as the caller does
            return None
        trial._params = params
        trial._distributions = {name: self._history.ranges[name] for name in params}
        self._history.close_trial(trial)
        return Suggestion(
            number=number,
            params=trial._params,
            distributions={name: self._json[name] for name in trial._params},
            system_attrs={key: value for key, value in trial.system_attrs.items() if not key.startswith(_SHARED)},
        )

    def _drawn(self, trial: FrozenTrial) -> Iterator[dict[str, Any]]:
        """The sampler's proposals for a trial, one after the other; the first is drawn as if there were no constraints."""
        for count in range(self._max_proposals):
            reseed(self._sampler, self._seed, trial.number, *((count,) if count else ()))
            trial._params, trial._distributions = {}, {}
            self._walk(trial)
            yield trial._params

    def _random(self, number: int) -> dict[str, Any] | None:
        entropy = np.random.SeedSequence((self._seed, number, self._max_proposals)).generate_state(1)
        fixed = {name: _get_single_value(each) for name, each in self._history.space.items() if each.single()}
        found: dict[str, Any] | None = feasibility.draw(self._space, Random(int(entropy[0])), fixed)
        return found

    def _walk(self, trial: FrozenTrial) -> None:
        relative_space = self._sampler.infer_relative_search_space(self._study, trial)
        relative = self._sampler.sample_relative(self._study, trial, relative_space)
        for name in self._space.order:
            if self._space.is_active(name, trial._params):
                distribution = self._history.space[name]
                value = distributions.external(distribution, self._value(trial, name, distribution, relative))
                trial._params[name] = self._space.parameters[name].canonical(value)
                trial._distributions[name] = distribution

    def _value(self, trial: FrozenTrial, name: str, distribution: BaseDistribution, relative: Mapping[str, Any]) -> Any:
        if distribution.single():
            return _get_single_value(distribution)
        if name in relative and distribution._contains(distribution.to_internal_repr(relative[name])):
            return relative[name]
        return self._sampler.sample_independent(self._study, trial, name, distribution)


def reseed(sampler: BaseSampler, seed: int, *numbers: int) -> None:
    """Set all random states of a sampler from (study seed, number of the trial, ...); each its own stream."""
    states = list(_random_states(sampler))
    if not states:
        raise RuntimeError(f"no random state found in {type(sampler).__name__}: is this version of Optuna known?")
    for state, value in zip(states, np.random.SeedSequence((seed, *numbers)).generate_state(len(states)), strict=True):
        state.rng.seed(int(value))


def _random_states(sampler: BaseSampler) -> Iterator[LazyRandomState]:
    for name in ("_rng", "_cma_rng", "_random_sampler", "_independent_sampler"):
        held = getattr(sampler, name, None)
        if isinstance(held, LazyRandomState):
            yield held
        elif isinstance(held, BaseSampler):
            yield from _random_states(held)


def _with_common_space(sampler: Any, history: History) -> BaseSampler:
    """Give a sampler our bookkeeping of the parameters all trials have."""
    assert hasattr(sampler, "_search_space")
    sampler._search_space = CommonSpace(history, include_pruned=False)
    found: BaseSampler = sampler
    return found


def _cmaes(history: History, options: Mapping[str, Any]) -> BaseSampler:
    """Its state, in units of the ranges, is found by the prefix of an attribute's name: an edited space has its own, and so begins anew."""
    sampler = CmaEsSampler(**{"warn_independent_sampling": False} | dict(options))
    sampler._attr_prefix += history.version_prefix
    return _with_common_space(sampler, history)


class _StaticQMCSampler(QMCSampler):
    """One sequence from the first trial on, over the parameters that are always there.

    Optuna takes them from the first finished trial, which would make proposals depend on when results arrive.
    """

    def __init__(self, always: dict[str, BaseDistribution], **options: Any) -> None:
        super().__init__(**options)
        self._always = always

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._always
