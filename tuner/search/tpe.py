"""Optuna's TPE over columns: the same division of trials, the same kernels, the same draws, without walking over all trials.

Optuna spends 85 % of a suggestion on turning trials into arrays and most of the rest on building kernels that have not changed. Here the
few good trials go through Optuna's own `_ParzenEstimator`, the many others through `mixture` once there are enough of them. Several
objectives and trials with foreign distributions take Optuna's own path. A test holds it against plain Optuna.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator
from optuna.samplers._tpe.sampler import default_gamma, default_weights
from optuna.study import Study
from optuna.trial import FrozenTrial

from tuner.search.columns import Columns, Floats
from tuner.search.history import History
from tuner.search.mixture import MIN_KERNELS, Mixture
from tuner.search.search_spaces import CommonSpace, GroupedSpace


class ColumnTPESampler(TPESampler):
    """TPESampler for the study of one history; takes TPESampler's options. `columns`: what it is fitted to, by default the outcomes."""

    def __init__(self, history: History, columns: Columns | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._history = history
        self._search_space: Any = CommonSpace(history, include_pruned=True)
        if self._group:
            self._group_decomposed_search_space: Any = GroupedSpace(history)
        self._columns = Columns(history) if columns is None and len(history.directions) == 1 else columns
        self._mixtures: dict[tuple[str, ...], Mixture] = {}
        parameters = self._parzen_estimator_parameters
        self._keeps_kernels = (
            parameters.prior_weight == 1.0
            and parameters.consider_magic_clip
            and not parameters.consider_endpoints
            and parameters.weights is default_weights
        )

    def _sample_relative(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        if not search_space or self._history.num_finished(include_pruned=True) < self._n_startup_trials:
            return {}
        return self._sample(study, trial, search_space)

    def sample_independent(self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution) -> Any:
        if self._history.num_finished(include_pruned=True) < self._n_startup_trials:
            return self._random_sampler.sample_independent(study, trial, param_name, param_distribution)
        return self._sample(study, trial, {param_name: param_distribution})[param_name]

    def _sample(self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        columns = self._columns
        if columns is None or self._history.foreign:
            return super()._sample(study, trial, search_space)
        names = tuple(search_space)
        gamma = default_gamma if self._gamma is None else self._gamma
        mask = columns.having(names, running=self._constant_liar)
        below = columns.below(gamma(columns.num_finished))
        good = below[mask[below]]
        mask[below] = False
        below_kernels = self._estimator({name: columns.get(name, good) for name in names}, search_space)
        samples = below_kernels.sample(self._rng.rng, self._n_ei_candidates)
        gain = below_kernels.log_pdf(samples) - self._log_pdf_above(columns, mask, search_space, samples)
        # A candidate that rounding has put outside the range has no density in either: never the best.
        best = self._compare(samples, np.where(np.isnan(gain), -np.inf, gain))
        return {name: distribution.to_external_repr(best[name]) for name, distribution in search_space.items()}

    def _log_pdf_above(
        self, columns: Columns, mask: Any, search_space: dict[str, BaseDistribution], samples: Mapping[str, Floats]
    ) -> Floats:
        names = tuple(search_space)
        if not self._keeps_kernels or np.count_nonzero(mask) < MIN_KERNELS:
            rows = np.flatnonzero(mask)
            found: Floats = self._estimator({name: columns.get(name, rows) for name in names}, search_space).log_pdf(
                dict(samples)
            )
            return found
        mixture = self._mixtures.get(names)
        if mixture is None:
            mixture = self._mixtures[names] = Mixture(search_space, columns)
        mixture.update(mask)
        return mixture.log_pdf(samples)

    def _estimator(self, observations: dict[str, Floats], search_space: dict[str, BaseDistribution]) -> _ParzenEstimator:
        return _ParzenEstimator(observations, search_space, self._parzen_estimator_parameters)
