"""Gaussian processes: Optuna's sampler without state in memory, and fitted to the results of a rung instead of final values.

Optuna's learns from COMPLETE trials alone. Under promotion these are the few that were trained in full, and all that is known of the
paused and the pruned ones would be lost on it. Weakness: a fit costs seconds from a few hundred results on.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Container, Iterator
from types import SimpleNamespace
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import GPSampler
from optuna.study import Study
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from tuner.search.history import CommonSpace, History
from tuner.search.rungs import RANDOM_SHARE, Rungs


class StatelessGPSampler(GPSampler):
    """Keeps the fitted kernels, from which the next fit starts, in the attributes of the trial they proposed, not in memory."""

    def __init__(self, history: History, **options: Any) -> None:
        super().__init__(**{"warn_independent_sampling": False} | options)
        self._kernels = f"gp:{history.version_prefix}kernels"
        self._intersection_search_space: Any = CommonSpace(history, include_pruned=False)

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        self._gprs_cache_list = self._restored(study)
        params = super().sample_relative(study, trial, search_space)
        if params and self._gprs_cache_list is not None:
            kernels = [
                [gpr.inverse_squared_lengthscales.tolist(), gpr.kernel_scale.item(), gpr.noise_var.item()]
                for gpr in self._gprs_cache_list
            ]
            study._storage.set_trial_system_attr(trial._trial_id, self._kernels, kernels)
        return params

    def _restored(self, study: Study) -> Any:
        import torch  # Optuna's Gaussian process needs it; nothing else in the search does

        for trial in reversed(study._get_trials(deepcopy=False, use_cache=True)):
            kernels = trial.system_attrs.get(self._kernels)
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
    """GPSampler on the results of the leading rung; takes GPSampler's options. One objective.

    It follows `tuner.search.rung_tpe`: which rung leads, when the model speaks at all, the share of random proposals, and who is pending,
    of which Optuna's sampler takes the expected improvement together with the next proposal (qLogEI).
    """

    def __init__(self, history: History, rungs: Rungs, **options: Any) -> None:
        self._startup = options.pop("n_startup_trials", None)
        super().__init__(history, n_startup_trials=1, **options)  # it is decided here
        self._history = history
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

    def sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        # What Optuna's sampler asks of a study.
        view: Any = SimpleNamespace(directions=study.directions, _storage=study._storage, _get_trials=self._get_trials)
        return super().sample_relative(view, trial, search_space)

    def _get_trials(
        self, deepcopy: bool = False, states: Container[OptunaState] | None = None, use_cache: bool = True
    ) -> list[FrozenTrial]:
        """All trials as they are; of given states: those with a result at the rung as COMPLETE, those without any as RUNNING."""
        if states is None:
            return self._history.trials
        pending = [
            trial
            for trial in self._history.trials
            if trial.state == OptunaState.RUNNING and trial.number not in self._rungs.results(0)
        ]
        return [*self._results(), *pending]

    def _results(self) -> Iterator[FrozenTrial]:
        """Copies, with the result at the rung as their value, in the order of their numbers."""
        if self._rung is None:
            return
        for number, rank in sorted(self._rungs.results(self._rung).items()):
            if math.isfinite(rank):
                trial = copy.copy(self._history.get(number))
                trial.state = OptunaState.COMPLETE
                trial.values = [self._rungs.value_of(rank)]
                yield trial
