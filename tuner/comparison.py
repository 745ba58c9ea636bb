"""Levels of a parameter, or studies, held against each other: which is better, with what certainty, at which cost.

Pure: trials in, the whole answer out. The formulas are `tuner.statistics`, reading is `tuner.outcomes`, the words are
`tuner.comparison_words`. Losses (the smaller the better) are used inside, values of the metric go out. Decided here: a failed trial counts
as the worst value that any trial of the comparison has, a trial stopped early or paused at a rung with the last value it reported;
cancelled and unfinished ones do not count. Weakness: significance takes trials for independent, as under random search.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from tuner import comparison_words, statistics
from tuner.errors import Conflict, FieldError, InvalidValue
from tuner.outcomes import Outcome, StudyOutcomes
from tuner.parameters import CategoricalParameter, is_number, near, show
from tuner.results import Best, BestAfter, BestSoFar, Comparison, Estimate, LevelResult, LevelTrials, PairResult, RankEstimate
from tuner.statistics import Floats
from tuner.wire import Scalar, TrialState

MAX_LEVELS = 40
NUM_PARTS = 4
"""Groups, of about as many trials each, into which the values of a number are cut."""
NUM_RESAMPLES = 2000
MAX_DRAWS = 4_000_000
"""Losses drawn for one level's bootstrap at most, unless that would leave fewer than 200 resamples."""
NEAR = 0.1
"""As good as the best is what lies within this share of the way from the best of all to the median of all: free of the metric's scale."""


@dataclass(frozen=True, kw_only=True)
class Level:
    """What is compared: trials of one choice, one range of a number, or one study."""

    name: Scalar
    study: str
    outcomes: Sequence[Outcome]


@dataclass(frozen=True, kw_only=True)
class _Sample:
    """A level's counted trials by number, and their losses."""

    level: Level
    counted: list[Outcome]
    losses: Floats

    @property
    def seconds(self) -> Floats:
        return np.array([outcome.seconds for outcome in self.counted])

    @property
    def gpu_seconds(self) -> Floats:
        return np.array([outcome.gpu_seconds for outcome in self.counted])


@dataclass(frozen=True, kw_only=True)
class _Tuned:
    """A level's expected best after k trials: as a loss, and of resamples."""

    expected: float
    resampled: Floats
    num_trials: int


def compare_study(study: StudyOutcomes, by: str | None = None, metric: str | None = None) -> Comparison:
    """The levels of a parameter of one study; without `by` those its spec compares.

    InvalidValue for a parameter or metric that is not there; Conflict while there is nothing to compare.
    """
    study = study.by_configuration()
    compared = study.spec.compare if study.spec is not None else None
    if by is None:
        if compared is None:
            raise InvalidValue(
                errors=[
                    FieldError("query.by", f"is missing: the spec of study {study.name!r} compares nothing; name a parameter")
                ]
            )
        by = compared.by
    objective = study.index_of(metric)
    levels = split(study, by)
    dealt = compared is not None and compared.by == by
    return compare(
        levels,
        by=by,
        metric=study.objectives[objective],
        direction=study.directions[objective],
        objective=objective,
        block_size=len(levels) if dealt else None,
        notes=comparison_words.describe_search(study, by, dealt=dealt),
    )


def compare_studies(studies: Sequence[StudyOutcomes], metric: str | None = None) -> Comparison:
    """Whole studies, which must have the metric (by default the first's first objective) in common, with one direction."""
    studies = [study.by_configuration() for study in studies]
    metric = studies[0].objectives[0] if metric is None else metric
    indices = [study.index_of(metric) for study in studies]
    directions = {study.directions[index] for study, index in zip(studies, indices, strict=True)}
    if len(directions) > 1:
        problem = f"{metric} is to be minimized in one of them and maximized in another: they cannot be compared"
        raise InvalidValue(errors=[FieldError("query.studies", problem)])
    levels = [
        Level(
            name=study.name,
            study=study.name,
            outcomes=[replace(outcome, values=(outcome.values[index],)) for outcome in study.outcomes],
        )
        for study, index in zip(studies, indices, strict=True)
    ]
    return compare(levels, by="study", metric=metric, direction=directions.pop())


def split(study: StudyOutcomes, by: str) -> list[Level]:
    """The study's trials by level: choices in the order of the space, few numbers one by one, more of them cut at quantiles."""
    having = [outcome for outcome in study.outcomes if by in outcome.params]
    parameters = study.spec.space.parameters if study.spec is not None else {}
    if by not in parameters and not having:
        known = parameters or dict.fromkeys(name for outcome in study.outcomes for name in outcome.params)
        raise InvalidValue(errors=[FieldError("query.by", f"study {study.name!r} has no parameter {by!r}; {near(by, known)}")])
    parameter = parameters.get(by)
    values = {_key(outcome.params[by]): outcome.params[by] for outcome in having}
    if isinstance(parameter, CategoricalParameter):
        values = {_key(choice): choice for choice in parameter.choices} | values
    elif all(is_number(value) for value in values.values()):
        if len(values) > 2 * NUM_PARTS:
            return _split_numbers(study.name, by, having)
        values = dict(sorted(values.items(), key=lambda item: float(item[1])))
    if len(values) > MAX_LEVELS:
        raise InvalidValue(
            errors=[FieldError("query.by", f"{by} has {len(values)} levels; at most {MAX_LEVELS} can be compared")]
        )
    grouped: dict[Hashable, list[Outcome]] = {key: [] for key in values}
    for outcome in having:
        grouped[_key(outcome.params[by])].append(outcome)
    return [Level(name=value, study=study.name, outcomes=grouped[key]) for key, value in values.items()]


def compare(
    levels: Sequence[Level],
    *,
    by: str,
    metric: str,
    direction: str,
    objective: int = 0,
    block_size: int | None = None,
    notes: Sequence[str] = (),
) -> Comparison:
    """Hold levels against each other. With `block_size` L, the trials L * i to L * i + L - 1 share a seed and are matched.

    Conflict when fewer than two levels have a counted trial, or no trial has a finite value.
    """
    sign = -1.0 if direction == "maximize" else 1.0
    samples = _sample(levels, objective, sign)
    held = [sample for sample in samples if sample.counted]
    if len(held) < 2:
        raise Conflict(f"a comparison needs trials with results of at least two levels of {by}; there are some of {len(held)}")
    sizes = [len(sample.counted) for sample in held]
    budget, k = min(sizes), statistics.reliable(min(sizes))
    every = np.concatenate([sample.losses for sample in held])
    within = NEAR * float(np.median(every) - every.min())
    seconds = min(float(sample.seconds.sum()) for sample in held)
    rng = np.random.default_rng(0)
    results, tuned = [], {}
    for index, sample in enumerate(samples):
        result = LevelResult(level=sample.level.name, trials=_count(sample.level.outcomes))
        if sample.counted:
            curve, tuned[index] = _best_after(sample, k, sign, rng)
            place = curve.k.index(k)
            best = int(np.argmin(sample.losses))
            result = LevelResult(
                level=sample.level.name,
                trials=result.trials,
                best=None
                if _loss(sample.counted[best], objective, sign) == math.inf
                else Best(value=sign * sample.losses[best], trial=sample.counted[best].number, study=sample.level.study),
                best_at_equal_budget=sign * float(sample.losses[:budget].min()),
                best_at_equal_seconds=_best_within(sample, seconds, sign) if seconds > 0 else None,
                expected_best=Estimate(value=curve.expected[place], low=curve.low[place], high=curve.high[place]),
                best_after=curve,
                best_so_far=_best_so_far(sample, sign),
                sensitivity=float(np.mean(sample.losses <= every.min() + within)),
                seconds=sum(outcome.seconds for outcome in sample.level.outcomes),
                gpu_seconds=sum(outcome.gpu_seconds for outcome in sample.level.outcomes),
            )
        results.append(result)
    ranks = _rank(tuned)
    results = [result.model_copy(update={"rank": ranks.get(index)}) for index, result in enumerate(results)]
    comparison = Comparison(
        by=by,
        metric=metric,
        direction="maximize" if sign < 0 else "minimize",
        budget=budget,
        equal_budgets=len(held) == len(samples) and max(sizes) - min(sizes) <= 1,
        paired=block_size is not None,
        k=k,
        within=within,
        levels=sorted(results, key=lambda result: math.inf if result.rank is None else result.rank.value),
        pairs=_compare_pairs(samples, tuned, sign, block_size),
        test=comparison_words.TESTS[block_size is not None],
        conclusion="",
        notes=[],
    )
    said = comparison_words.describe_figures(comparison, failures_as=sign * float(every.max()))
    return comparison.model_copy(update={"conclusion": comparison_words.conclude(comparison), "notes": [*notes, *said]})


def _sample(levels: Sequence[Level], objective: int, sign: float) -> list[_Sample]:
    """Counted trials of each level; what has no finite value, or is infeasible, is as bad as the worst that has one."""
    counted = [[outcome for outcome in level.outcomes if outcome.counts] for level in levels]
    raw = [[_loss(outcome, objective, sign) for outcome in outcomes] for outcomes in counted]
    finite = [loss for losses in raw for loss in losses if math.isfinite(loss)]
    if not finite:
        raise Conflict("a comparison needs trials with results; no trial has a finite value yet")
    best, worst = min(finite), max(finite)
    return [
        _Sample(
            level=level,
            counted=outcomes,
            losses=np.array([best if loss == -math.inf else min(loss, worst) for loss in losses], dtype=np.float64),
        )
        for level, outcomes, losses in zip(levels, counted, raw, strict=True)
    ]


def _loss(outcome: Outcome, objective: int, sign: float) -> float:
    value = outcome.values[objective]
    return math.inf if value is None or outcome.state == TrialState.FAIL or not outcome.feasible else sign * value


def _best_after(sample: _Sample, k: int, sign: float, rng: np.random.Generator) -> tuple[BestAfter, _Tuned]:
    losses, num_trials = sample.losses, len(sample.losses)
    ks = sorted({*statistics.spaced(num_trials), k})
    num_resamples = max(200, min(NUM_RESAMPLES, MAX_DRAWS // num_trials))
    expected = statistics.expected_best(losses, ks)
    resampled = statistics.resample_best(losses, ks, rng, num_resamples)
    half = statistics.spread(statistics.deviation(resampled, axis=0), num_trials)
    # What the best of many is not better than, the best of fewer is not either: without it an accuracy would be thought above 1.
    better = np.maximum.accumulate((expected - half)[::-1])[::-1]
    ends = np.sort(sign * np.stack([better, expected + half]), axis=0)
    low, high = ([float(end) if math.isfinite(end) else None for end in side] for side in ends)
    curve = BestAfter(
        k=ks,
        expected=(sign * expected).tolist(),
        low=low,
        high=high,
        reliable_up_to=statistics.reliable(num_trials),
        seconds=(np.array(ks) * sample.seconds.mean()).tolist(),
        gpu_seconds=(np.array(ks) * sample.gpu_seconds.mean()).tolist(),
    )
    place = ks.index(k)
    return curve, _Tuned(expected=float(expected[place]), resampled=resampled[:, place], num_trials=num_trials)


def _best_so_far(sample: _Sample, sign: float) -> BestSoFar:
    best = np.minimum.accumulate(sample.losses)
    last = len(best) - 1
    places = sorted({0, *(np.flatnonzero(np.diff(best)) + 1).tolist(), last})
    return BestSoFar(
        trials=[place + 1 for place in places],
        seconds=np.cumsum(sample.seconds)[places].tolist(),
        gpu_seconds=np.cumsum(sample.gpu_seconds)[places].tolist(),
        value=(sign * best[places]).tolist(),
    )


def _best_within(sample: _Sample, seconds: float, sign: float) -> float | None:
    """Best of the first trials that together trained for no longer; None where already the first did."""
    fitting = np.cumsum(sample.seconds) <= seconds * (1 + 1e-9)
    return sign * float(sample.losses[fitting].min()) if fitting.any() else None


def _rank(tuned: dict[int, _Tuned]) -> dict[int, RankEstimate]:
    expected = np.array([each.expected for each in tuned.values()])
    fewest = min(len(each.resampled) for each in tuned.values())
    low, high = statistics.bootstrap_ranks(np.stack([each.resampled[:fewest] for each in tuned.values()], axis=1))
    values = statistics.rank(expected)
    return {
        index: RankEstimate(value=float(values[place]), low=int(low[place]), high=int(high[place]))
        for place, index in enumerate(tuned)
    }


def _compare_pairs(samples: Sequence[_Sample], tuned: dict[int, _Tuned], sign: float, block_size: int | None) -> list[PairResult]:
    found: list[PairResult] = []
    for one, other in combinations(tuned, 2):
        first, second, num_pairs = samples[one].losses, samples[other].losses, None
        if block_size is not None:
            first, second = _match(samples[one], samples[other], block_size)
            num_pairs = len(first)
            p_value, superiority = statistics.compare_matched(first, second)
        else:
            p_value, superiority = statistics.compare_unmatched(first, second)
        found.append(
            PairResult(
                levels=(samples[one].level.name, samples[other].level.name),
                num_pairs=num_pairs,
                superiority=superiority,
                p_value=p_value,
                p_corrected=1.0,
                difference=_difference(tuned[one], tuned[other], sign),
            )
        )
    corrected = statistics.correct([pair.p_value for pair in found])
    return [
        pair.model_copy(update={"p_corrected": p, "better": _better(pair) if p < statistics.SIGNIFICANT else None})
        for pair, p in zip(found, corrected, strict=True)
    ]


def _better(pair: PairResult) -> int:
    return 0 if pair.superiority > 0.5 else 1


def _match(one: _Sample, other: _Sample, block_size: int) -> tuple[Floats, Floats]:
    """Losses of the trials that share a block, the first of each level in it."""
    blocks = [
        {o.number // block_size: loss for o, loss in zip(s.counted[::-1], s.losses[::-1], strict=True)} for s in (one, other)
    ]
    common = sorted(blocks[0].keys() & blocks[1].keys())
    return np.array([blocks[0][block] for block in common]), np.array([blocks[1][block] for block in common])


def _difference(one: _Tuned, other: _Tuned, sign: float) -> Estimate:
    """Of the expected best after k trials; the errors of two levels add up as those of independent ones."""
    value = one.expected - other.expected
    error = math.hypot(float(statistics.deviation(one.resampled)), float(statistics.deviation(other.resampled)))
    half = float(statistics.spread(np.array([error]), min(one.num_trials, other.num_trials))[0])
    if not math.isfinite(half):
        return Estimate(value=sign * value)
    low, high = sorted((sign * (value - half), sign * (value + half)))
    return Estimate(value=sign * value, low=low, high=high)


def _count(outcomes: Sequence[Outcome]) -> LevelTrials:
    states = [outcome.state for outcome in outcomes]
    num_cancelled = sum(outcome.is_cancelled for outcome in outcomes)
    num_paused = sum(outcome.is_paused for outcome in outcomes)
    return LevelTrials(
        counted=sum(outcome.counts for outcome in outcomes),
        complete=states.count(TrialState.COMPLETE),
        pruned=states.count(TrialState.PRUNED),
        paused=num_paused,
        failed=states.count(TrialState.FAIL) - num_cancelled,
        cancelled=num_cancelled,
        running=states.count(TrialState.RUNNING),
        waiting=states.count(TrialState.WAITING) - num_paused,
    )


def _split_numbers(study: str, by: str, having: Sequence[Outcome]) -> list[Level]:
    values = np.array([float(outcome.params[by]) for outcome in having])
    cuts = np.unique(np.quantile(values, np.arange(1, NUM_PARTS) / NUM_PARTS))
    parts = np.searchsorted(cuts, values, side="right")
    levels = []
    for part in np.unique(parts):
        members = np.flatnonzero(parts == part)
        name = f"{show(float(f'{values[members].min():.3g}'))} to {show(float(f'{values[members].max():.3g}'))}"
        levels.append(Level(name=name, study=study, outcomes=[having[int(index)] for index in members]))
    return levels


def _key(value: Any) -> Hashable:
    """Tells true from 1."""
    return isinstance(value, bool), value
