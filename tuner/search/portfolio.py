"""Which configurations of finished studies to run first in a new one: a greedy portfolio, as pure arithmetic.

Each configuration is scored by its regret in each earlier study (0: the best there, 1: the median or worse), the value where that study
has run it, else the prediction of a random forest fitted to that study; the portfolio grows by the configuration that lowers the
mean over the studies of its best member's regret most (Wistuba et al. 2015, "Sequential model-free hyperparameter tuning"; forests as
stand-ins for what was not run as in Pfisterer et al. 2021, "Learning multiple defaults"). Which studies are looked at is
`tuner.search.past_studies`. Weakness: all earlier studies count the same, however alike they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tuner.parameters import CategoricalParameter, FloatParameter, IntParameter, Parameter, Value, is_number
from tuner.space import SearchSpace

SIZE = 8
"""Configurations in a portfolio: the number that was measured first, of a budget of 32 trainings; hence also the share below."""
MAX_SIZE = 64
"""However many trials may run at once: the greedy choice costs its square. Measured up to 16."""
SHARE = 0.25
"""Of a study's trials, the portfolio takes this much at most."""
NUM_TREES = 50
_OUTSIDE = 10.0  # how far beyond the space's ends, in units of its range, a value of another study is told apart

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class PastTrial:
    """A finished trial of another study. `loss`: the smaller the better, infinite where there was none; `trained`: to its end.

    `seeds`: over how many the loss is the mean.
    """

    number: int
    params: Mapping[str, Any]
    loss: float
    trained: bool
    seeds: int = 1


@dataclass(frozen=True, kw_only=True)
class PastStudy:
    id: int
    name: str
    trials: Sequence[PastTrial]


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A configuration of the new study's space, and where it comes from."""

    params: Mapping[str, Value]
    study: PastStudy
    trial: PastTrial


def size(max_trials: int | None, max_concurrent_trials: int | None) -> int:
    """As many as may run at once, at least SIZE: those that start together cannot learn from one another, so each of them is better lent."""
    most = min(max(SIZE, max_concurrent_trials or 0), MAX_SIZE)
    return most if max_trials is None else min(most, max(1, int(SHARE * max_trials)))


def choose(space: SearchSpace, past: Sequence[PastStudy], count: int) -> list[Candidate]:
    """Up to `count` configurations, the first to be run first. Deterministic; ties go to the study and the trial given first."""
    studies = [study for study in past if _says_something(space, study)]
    candidates = list(_candidates(space, studies, count))
    if not candidates:
        return []
    regrets = np.stack([_regrets(space, study, candidates) for study in studies])  # [studies, candidates]
    chosen: list[int] = []
    best = np.ones(len(studies))
    left = set(range(len(candidates)))
    means = regrets.mean(axis=0)
    while left and len(chosen) < count:
        # Where no candidate improves on those chosen, the one that is best on its own.
        following = min(left, key=lambda place: (np.minimum(best, regrets[:, place]).mean(), means[place], place))
        chosen.append(following)
        left.remove(following)
        best = np.minimum(best, regrets[:, following])
    return [candidates[place] for place in chosen]


def translate(space: SearchSpace, params: Mapping[str, Any]) -> dict[str, Value] | None:
    """A configuration of another study as one of this space; None where it has none.

    A number outside its range becomes the nearest end, one between two steps the nearest step. A constraint that is broken, a choice this space does not have, or a
    parameter it needs and the configuration lacks, leaves nothing to run; parameters without a meaning here are left out.
    """
    found: dict[str, Value] = {}
    for name in space.order:
        if not space.is_active(name, found):
            continue
        frozen = space.parameters[name].frozen
        if frozen is not None:
            found[name] = frozen[0]
            continue
        if name not in params:
            return None
        try:
            found[name] = space.parameters[name].check(_within(space.parameters[name], params[name]))
        except ValueError:
            return None
    return found if space.allows(found) else None


def _within(parameter: Parameter, value: Any) -> Any:
    """The nearest value of a numeric parameter; a choice as it is, and anything else for the parameter to refuse."""
    if isinstance(parameter, CategoricalParameter) or not is_number(value) or math.isnan(value):
        return value
    clipped = min(max(value, parameter.low), parameter.high)
    step = parameter.step
    return clipped if step is None else parameter.value_at(round((clipped - parameter.low) / step))


def _says_something(space: SearchSpace, study: PastStudy) -> bool:
    """Whether it has more results than the space has dimensions, below which no model is fitted, one of them of a whole training."""
    dimension = sum(parameter.num_values != 1 for parameter in space.parameters.values())
    return len(study.trials) > dimension and any(trial.trained and math.isfinite(trial.loss) for trial in study.trials)


def _candidates(space: SearchSpace, studies: Sequence[PastStudy], count: int) -> Iterator[Candidate]:
    """The `count` best trials of each study, for it cannot fill more places, each configuration once.

    A mean over more seeds goes before one over fewer, which may be luck.
    """
    seen: set[str] = set()
    for study in studies:
        trained = [trial for trial in study.trials if trial.trained and math.isfinite(trial.loss)]
        found = 0
        for trial in sorted(trained, key=lambda trial: (-trial.seeds, trial.loss, trial.number)):
            params = translate(space, trial.params)
            if params is None or (key := _key(params)) in seen:
                continue
            seen.add(key)
            yield Candidate(params=params, study=study, trial=trial)
            found += 1
            if found == count:
                break


def _regrets(space: SearchSpace, study: PastStudy, candidates: Sequence[Candidate]) -> Floats:
    """Regret of each candidate in one study."""
    from sklearn.ensemble import RandomForestRegressor

    losses = np.array([trial.loss for trial in study.trials])
    trained = (trial for trial in study.trials if trial.trained and math.isfinite(trial.loss))
    best = min(trained, key=lambda trial: (-trial.seeds, trial.loss)).loss
    spread = float(np.median(losses[np.isfinite(losses)])) - best
    regrets = np.clip((losses - best) / spread, 0.0, 1.0) if spread > 0 else (losses > best).astype(float)
    known = {_key(trial.params): regret for trial, regret in zip(study.trials, regrets.tolist(), strict=True)}
    forest = RandomForestRegressor(NUM_TREES, random_state=0)
    forest.fit(np.stack([_encode(space, trial.params) for trial in study.trials]), regrets)
    predicted = forest.predict(np.stack([_encode(space, candidate.params) for candidate in candidates]))
    return np.array(
        [known.get(_key(candidate.params), float(guess)) for candidate, guess in zip(candidates, predicted, strict=True)]
    )


def _key(params: Mapping[str, Any]) -> str:
    return repr(sorted(params.items()))


def _encode(space: SearchSpace, params: Mapping[str, Any]) -> Floats:
    """Numbers in units of their range, choices as indicators; NaN, which trees tell apart, for what a configuration lacks."""
    encoded: list[float] = []
    for name, parameter in space.parameters.items():
        value = params.get(name)
        if isinstance(parameter, CategoricalParameter):
            encoded += [math.nan if name not in params else float(choice == value) for choice in parameter.choices]
        else:
            encoded.append(_place(parameter, value))
    return np.array(encoded)


def _place(parameter: FloatParameter | IntParameter, value: Any) -> float:
    if not is_number(value) or parameter.low == parameter.high:
        return math.nan
    low, high, there = float(parameter.low), float(parameter.high), float(value)
    if parameter.log:
        if there <= 0:
            return -_OUTSIDE
        low, high, there = math.log(low), math.log(high), math.log(there)
    return min(max((there - low) / (high - low), -_OUTSIDE), _OUTSIDE)
