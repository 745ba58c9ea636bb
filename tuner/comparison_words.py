"""A comparison in words: its conclusion, and the notes that say how its figures came about and what they do not say.

Sentences only; `tuner.comparison` has decided everything before. Weakness: English.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from tuner import statistics
from tuner.outcomes import StudyOutcomes
from tuner.parameters import CategoricalParameter, is_same, show
from tuner.results import Comparison, LevelResult
from tuner.wire import Scalar, TrialState

FEW = 8
"""Trials of a level below which its intervals are said to be too narrow."""
TESTS = {
    True: "Wilcoxon's signed-rank test on trials matched by seed, two-sided, corrected by Holm over all pairs",
    False: "Mann and Whitney's test, two-sided, corrected by Holm over all pairs",
}
_INDEPENDENT = ("random", "qmc", "grid", "brute_force")


def conclude(comparison: Comparison) -> str:
    """What is shown and what is not, the best level first."""
    order = [level.level for level in comparison.levels if level.rank is not None]

    def place(level: Scalar) -> int:
        return next(index for index, other in enumerate(order) if is_same(level, other))

    beaten: dict[int, list[int]] = defaultdict(list)
    p_values: dict[tuple[int, int], float] = {}
    for pair in comparison.pairs:
        if pair.better is not None:
            winner, loser = (place(pair.levels[side]) for side in (pair.better, 1 - pair.better))
            beaten[winner].append(loser)
            p_values[winner, loser] = pair.p_corrected
    if not beaten:
        return f"No difference is shown between {_names(order)}." + _best_of_all(comparison)
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for winner in sorted(beaten):
        groups[tuple(sorted(beaten[winner]))].append(winner)
    said = []
    for losers, winners in groups.items():
        found = [p_values[winner, loser] for winner in winners for loser in losers]
        largest = show_p(max(found)) if len(found) == 1 else show_p(max(found)).replace("=", "at most")
        verb = "is" if len(winners) == 1 else "are each"
        said.append(f"{_names(order[w] for w in winners)} {verb} better than {_names(order[x] for x in losers)} ({largest})")
    lost = {loser for losers in beaten.values() for loser in losers}
    unbeaten = [level for index, level in enumerate(order) if index not in lost]
    if len(unbeaten) > 1:
        said.append(f"no difference is shown between {_names(unbeaten)}")
    return "; ".join(said) + "." + _best_of_all(comparison)


def describe_search(study: StudyOutcomes, by: str, *, dealt: bool) -> list[str]:
    """What in the way the study was run speaks against reading too much into the figures."""
    notes = []
    if not dealt:
        roots = {} if study.spec is None else study.spec.space.roots
        way = f", as `compare: {{by: {by}}}` in its spec would" if isinstance(roots.get(by), CategoricalParameter) else ""
        notes.append(
            f"The study did not give the levels of {by} equal budgets and equal seeds{way}: how many trials a level got was up to the sampler."
        )
    without = sum(by not in outcome.params for outcome in study.outcomes)
    if without:
        notes.append(f"Left out, without {by}: {without} of {len(study.outcomes)} trials.")
    if study.spec is None:
        return [*notes, "The study was made through Optuna: nothing is known of its sampler."]
    if study.sampler not in _INDEPENDENT:
        notes.append(
            f"The sampler ({study.sampler}) learns from results: one lucky find makes the next trials of its level better too, and p-values"
            " are too small. Between equal levels tpe showed a false difference in 2 to 12 % of cases, cmaes in 15 to 18 %, instead of 5 %;"
            " with `sampler: {name: random}` p-values hold."
        )
    if study.spec.is_population:
        notes.append(
            f"Members of the population go on from one another's trainings: a child's {by} is that of its last part alone, and trials depend on"
            " each other, so that p-values are too small."
        )
    num_pruned = sum(outcome.state == TrialState.PRUNED or outcome.is_paused for outcome in study.outcomes)
    if num_pruned:
        notes.append(
            f"Stopped early or paused, counted with the last value reported: {num_pruned} of {len(study.outcomes)} trials. Levels that start"
            " slowly are at a disadvantage; with `pruner: {name: none}` whole trainings are compared."
        )
    num_infeasible = sum(not outcome.feasible for outcome in study.outcomes)
    if num_infeasible:
        notes.append(
            f"Counted as the worst value of all, for they break an outcome constraint: {num_infeasible} of {len(study.outcomes)} trials."
        )
    trainer = study.spec.trial.trainer or {}
    if trainer.get("seed") is not None and "seed" not in study.spec.space.parameters:
        notes.append(f"trial.trainer.seed is {trainer['seed']}: all trials trained with this one seed.")
    return notes


def describe_figures(comparison: Comparison, *, failures_as: float) -> list[str]:
    """How failures are counted, what the interval and the test can and cannot say here."""
    held = [level for level in comparison.levels if level.rank is not None]
    notes = []
    empty = [level.level for level in comparison.levels if level.rank is None]
    if empty:
        notes.append(f"Without a counted trial: {_names(empty)}.")
    failed = [f"{_name(level.level)} {level.trials.failed}" for level in held if level.trials.failed]
    if failed:
        notes.append(f"Failed trials count as the worst value of all, {_number(failures_as)}: {', '.join(failed)}.")
    cancelled = [f"{_name(level.level)} {level.trials.cancelled}" for level in held if level.trials.cancelled]
    if cancelled:
        notes.append(f"Cancelled trials do not count: {', '.join(cancelled)}.")
    if not comparison.equal_budgets:
        counts = [level.trials.counted for level in held]
        notes.append(
            f"The levels have from {min(counts)} to {max(counts)} counted trials: the best at equal budget is that of the first"
            f" {comparison.budget} of each; the expected best does not depend on how many there are."
        )
    notes.append(
        f"Expected best: of {comparison.k} trials drawn from a level's own without replacement, with a 95 % interval from the standard error"
        " of bootstrap resamples. Ranks are by it."
    )
    few = [level.level for level in held if level.trials.counted < FEW]
    if few:
        notes.append(f"Fewer than {FEW} trials have {_names(few)}: those intervals are too narrow.")
    notes += _describe_power(comparison, held)
    notes.append(
        f"Sensitivity: the share of a level's trials that lie within {_number(comparison.within)} of the best of all, a tenth of the way from"
        " there to the median of all."
    )
    return notes


def show_p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.2g}"


def _describe_power(comparison: Comparison, held: Sequence[LevelResult]) -> list[str]:
    """Whether any difference could have been shown with so few trials."""
    num_pairs = len(comparison.pairs)
    if statistics.smallest_p(comparison.budget, matched=comparison.paired) * num_pairs < statistics.SIGNIFICANT:
        return []
    needed = comparison.budget
    while statistics.smallest_p(needed, matched=comparison.paired) * num_pairs >= statistics.SIGNIFICANT:
        needed += 1
    return [
        f"With {_numbered(comparison.budget, 'trial')} a level and {_numbered(num_pairs, 'pair')} of levels the test cannot show any difference,"
        " however large:"
        f" it needs at least {needed} trials a level."
    ]


def _numbered(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _best_of_all(comparison: Comparison) -> str:
    """The best trial, where its level has been found worse than another: the typical trial is one thing, the best another."""
    maximize = comparison.direction == "maximize"
    found = [level for level in comparison.levels if level.best is not None]
    best = max(found, key=lambda level: level.best.value if maximize else -level.best.value)  # type: ignore[union-attr]
    assert best.best is not None
    worse = any(pair.better is not None and is_same(pair.levels[1 - pair.better], best.level) for pair in comparison.pairs)
    if not worse:
        return ""
    return f" Yet the best trial of all, {best.best.trial} with {_number(best.best.value)}, is one of {_name(best.level)}."


def _names(levels: Iterable[Scalar]) -> str:
    names = [_name(level) for level in levels]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _name(level: Scalar) -> str:
    return level if isinstance(level, str) else show(level)


def _number(value: float) -> str:
    return f"{value:.4g}"
