"""The search spaces of Optuna's samplers, as a history keeps them: nothing is looked through again for a suggestion."""

from __future__ import annotations

from optuna.distributions import BaseDistribution
from optuna.search_space.group_decomposed import _SearchSpaceGroup
from optuna.study import Study

from tuner.search.history import History


class CommonSpace:
    """Stands in for Optuna's IntersectionSearchSpace, which walks over all trials after the oldest unfinished one."""

    def __init__(self, history: History, *, include_pruned: bool) -> None:
        self._history = history
        self._include_pruned = include_pruned

    def calculate(self, study: Study, use_cache: bool = False) -> dict[str, BaseDistribution]:
        return self._history.common_space(include_pruned=self._include_pruned)


class GroupedSpace:
    """Stands in for Optuna's _GroupDecomposedSearchSpace, whose groups depend on the order in which trials were first seen."""

    def __init__(self, history: History) -> None:
        self._history = history

    def calculate(self, study: Study, use_cache: bool = False) -> _SearchSpaceGroup:
        return self._history.grouped_spaces()
