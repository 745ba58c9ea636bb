"""What the search of one study is put together of, by its spec and by what `auto` has decided.

One place says what goes with what: a comparison has levels with parts of their own; a population is drawn by the study's sampler and judged by
itself; a race shows configurations instead of trials to all others, and puts its repeats before their proposals.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from typing import Any

from tuner.search import levels, population, race, rungs, samplers
from tuner.search.history import History
from tuner.search.levels import LevelRungs, Levels
from tuner.search.population import Population
from tuner.search.race import RacingProposer
from tuner.search.rungs import Rungs
from tuner.search.samplers import Proposer
from tuner.spec import StudySpec


@dataclass(frozen=True, kw_only=True)
class Parts:
    proposer: Proposer
    seen: History
    """What samplers and pruners see: the study's trials, or its configurations where some are repeated."""
    rungs: Rungs | LevelRungs | Population | None = None
    """Who judges reports, pauses trials and lets them go on; None: nobody, or a pruner of Optuna's."""
    fitted: Rungs | None = None
    """Rungs that judge nobody, to which the sampler is fitted beside a pruner of Optuna's."""
    levels: Levels | None = None
    population: Population | None = None


def build(spec: StudySpec, history: History, *, seed: int, fits_rungs: bool, limits: Callable[[], Mapping[str, Any]]) -> Parts:
    """`spec` as decided; `fits_rungs`: whether its sampler is fitted to rungs that judge nobody. `limits`: the study's, as they stand now."""

    def max_attempts() -> int:
        return int(limits().get("max_attempts") or 1)

    compared = levels.build(spec, history)
    if compared is not None:
        judge, proposer = compared.build_search(seed, max_attempts)
        return Parts(proposer=proposer, seen=history, rungs=judge, levels=compared)
    raced = race.build(spec, history)
    seen = history if raced is None else raced
    members = population.build(spec, history, seed)
    promotion = rungs.build(spec, seen)
    fitted = rungs.fitted(spec, seen) if fits_rungs else None
    proposer = samplers.build(spec.sampler, spec.space, seen, seed=seed, max_attempts=max_attempts, rungs=fitted or promotion)
    judging = members or promotion
    if raced is not None:

        def paused() -> Set[int]:
            return frozenset() if judging is None else judging.held | judging.waiting

        proposer = RacingProposer(
            proposer, raced, history, max_trials=lambda: limits().get("max_trials"), max_attempts=max_attempts, paused=paused
        )
    return Parts(proposer=proposer, seen=seen, rungs=judging, fitted=fitted, population=members)
