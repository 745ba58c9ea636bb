"""Gaussian processes: Optuna's sampler without state in memory, and fitted to the results of a rung instead of final values.

Optuna's learns from COMPLETE trials alone. Under promotion these are the few that were trained in full, and all that is known of the
paused and the pruned ones would be lost on it. Outcome constraints have a process each. Weakness: a fit costs seconds from a few hundred results on.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Container, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import GPSampler
from optuna.study import Study
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from tuner import outcome_constraints
from tuner.search.history import History
from tuner.search.rungs import RANDOM_SHARE, Rungs
from tuner.search.search_spaces import CommonSpace


class StatelessGPSampler(GPSampler):
    """Keeps the fitted kernels, from which the next fit starts, in the attributes of the trial they proposed, not in memory."""

    def __init__(self, history: History, **options: Any) -> None:
        super().__init__(**{"warn_independent_sampling": False} | options)
        self._history = history
        self._kernels = f"gp:{history.version_prefix}kernels"
        self._intersection_search_space: Any = CommonSpace(history, include_pruned=False)

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        results = self._results()
        constraint_kernels = f"{self._kernels}:{'; '.join(results[0].constraints if results else ())}"
        self._gprs_cache_list = _restored(study, self._kernels)
        self._constraints_gprs_cache_list = _restored(study, constraint_kernels)
        with warnings.catch_warnings():
            # A violation without limit, of a metric that has no number, is as bad as the worst that has one.
            warnings.filterwarnings("ignore", "Clip non-finite values")
            params = super().sample_relative(self._view(study, results), trial, search_space)
        fitted = {self._kernels: self._gprs_cache_list, constraint_kernels: self._constraints_gprs_cache_list}
        for key, regressors in fitted.items():
            if params and regressors is not None:
                kernels = [
                    [gpr.inverse_squared_lengthscales.tolist(), gpr.kernel_scale.item(), gpr.noise_var.item()]
                    for gpr in regressors
                ]
                study._storage.set_trial_system_attr(trial._trial_id, key, kernels)
        return params

    def _results(self) -> list[FrozenTrial]:
        """The trials it learns from, as COMPLETE ones. All with the same constraints, in one order, which is what Optuna's sampler goes by."""
        complete = [trial for trial in self._history.trials if trial.state == OptunaState.COMPLETE]
        measured = [(trial, trial.constraints) for trial in complete]
        return _alike(measured) if any(found for _, found in measured) else complete

    def _pending(self) -> list[FrozenTrial]:
        return [trial for trial in self._history.trials if trial.state == OptunaState.RUNNING]

    def _view(self, study: Study, results: list[FrozenTrial]) -> Any:
        """What Optuna's sampler asks of a study. Of given states are those that it learns from, and the pending ones."""

        def get_trials(
            deepcopy: bool = False, states: Container[OptunaState] | None = None, use_cache: bool = True
        ) -> list[FrozenTrial]:
            if states is None:
                return self._history.trials
            return [trial for trial in (*results, *self._pending()) if trial.state in states]

        return SimpleNamespace(directions=study.directions, _storage=study._storage, _get_trials=get_trials)


def _alike(measured: Sequence[tuple[FrozenTrial, Mapping[str, float]]]) -> list[FrozenTrial]:
    """Copies of trials with those of their violations alone that all of them have, in the order of the alphabet."""
    shared = sorted(set.intersection(*(set(found) for _, found in measured))) if measured else []
    copies = []
    for trial, found in measured:
        shown = copy.copy(trial)
        shown._system_attrs = outcome_constraints.attributes({text: found[text] for text in shared}, {})
        copies.append(shown)
    return copies


def _restored(study: Study, key: str) -> Any:
    import torch  # Optuna's Gaussian process needs it; nothing else in the search does

    for trial in reversed(study._get_trials(deepcopy=False, use_cache=True)):
        kernels = trial.system_attrs.get(key)
        if kernels is not None:
            return [
                SimpleNamespace(
                    inverse_squared_lengthscales=torch.tensor(scales, dtype=torch.float64),
                    kernel_scale=torch.tensor(scale, dtype=torch.float64),
                    noise_var=torch.tensor(noise, dtype=torch.float64),
                )
                for scales, scale, noise in kernels
            ]
    return None


class RungGPSampler(StatelessGPSampler):
    """GPSampler on the results of the leading rung; takes GPSampler's options.

    It follows `tuner.search.rung_tpe`: which rung leads, when the model speaks at all, the share of random proposals, and who is pending,
    of which Optuna's sampler takes the expected improvement together with the next proposal (qLogEI).
    """

    def __init__(self, history: History, rungs: Rungs, **options: Any) -> None:
        self._startup = options.pop("n_startup_trials", None)
        super().__init__(history, n_startup_trials=1, **options)  # it is decided here
        self._rungs = rungs
        self._rung: int | None = None

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        self._rung = None
        if self._rng.rng.random_sample() >= RANDOM_SHARE:
            self._rung = self._rungs.speaking(self._startup)
        common = set(self._history.space)
        for result in self._results():
            common.intersection_update(result.params)
        space = self._history.space
        return {} if self._rung is None else {name: space[name] for name in sorted(common) if not space[name].single()}

    def _pending(self) -> list[FrozenTrial]:
        return [trial for trial in super()._pending() if trial.number not in self._rungs.results(0)]

    def _results(self) -> list[FrozenTrial]:
        """Copies, with the result at the rung as their values, in the order of their numbers.

        An outcome constraint is modelled where all of them had its metric measured when they came to the rung.
        """
        if self._rung is None:
            return []
        usable = {
            number: result for number, result in self._rungs.results(self._rung).items() if all(map(math.isfinite, result.losses))
        }
        violations = self._rungs.violations(self._rung)
        results = _alike([(self._history.get(number), violations[number]) for number in sorted(usable)])
        for trial in results:
            trial.state = OptunaState.COMPLETE
            trial.values = self._rungs.values_of(usable[trial.number])
        return results
