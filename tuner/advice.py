"""What to try next, in words: each piece of advice is one sentence with its evidence, derived from a study's trials.

Pure: trials in, sentences out. Every rule keeps silent below a threshold that its docstring states, so that few trials give little advice. A
change is proposed only where the study's spec would be valid with it (`tuner.space_change`). Failures are `tuner.failure_advice`; the
rest is for studies with one objective. Weakness: rules look at one parameter at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from tuner import comparison, statistics
from tuner.best_configuration import Ranked, describe
from tuner.errors import Conflict, InvalidValue
from tuner.failure_advice import CERTAIN, advise_on_failures
from tuner.outcomes import StudyOutcomes
from tuner.parameters import CategoricalParameter, Parameter
from tuner.results import Advice, AdviceList
from tuner.space_change import change, end_share, freeze, is_at_end, show_value, show_values, widen
from tuner.spec import StudySpec

MIN_TRIALS = 20
"""With a value, below which nothing is said about where they lie."""
MIN_TRIALS_TO_FREEZE = MIN_TRIALS_TO_STOP = 30
UNIMPORTANT = 0.05
"""Share of the importance of all parameters below which a parameter may be frozen."""


def advise(study: StudyOutcomes, importance: Mapping[str, float] | None = None) -> AdviceList:
    """The best configuration with its uncertainty, and what to try next. `importance`: shares that sum to 1."""
    if len(study.objectives) != 1:
        return AdviceList(items=list(advise_on_failures(study, {})))
    whole, study = study, study.by_configuration()
    ranked = Ranked.of(study)
    best = describe(ranked)
    items = list(advise_on_failures(study, {} if best is None else best.params))
    # A child of a population was trained with other values before: what its last ones are worth, and more such trials, is not known.
    is_population = study.spec is not None and study.spec.is_population
    if len(ranked.outcomes) >= MIN_TRIALS and not is_population:
        if study.spec is not None:
            items += _widen(study.spec, ranked)
            failing = [(item.parameter, choice) for item in items if item.kind == "drop" for choice in item.evidence["choices"]]
            items += _drop(study, study.spec, ranked, failing)
            items += _freeze(study.spec, ranked, importance or {})
        items += _go_on_or_stop(whole, ranked)
        items += _repeat(ranked)
    return AdviceList(best=best, items=items)


def _widen(spec: StudySpec, ranked: Ranked) -> Iterator[Advice]:
    """The best trial and at least half of the best tenth lie in the outer tenth of a range, where uniform draws would hardly lie."""
    for name, parameter in spec.space.parameters.items():
        having = [outcome for outcome in ranked.outcomes if name in outcome.params]
        if isinstance(parameter, CategoricalParameter) or parameter.frozen is not None or len(having) < MIN_TRIALS:
            continue
        top = [outcome.params[name] for outcome in having[: max(5, math.ceil(len(having) / 10))]]
        for upper in (False, True):
            num_inside = sum(is_at_end(parameter, value, upper=upper) for value in top)
            p_value = float(stats.binom.sf(num_inside - 1, len(top), end_share(parameter, upper=upper)))
            if not is_at_end(parameter, top[0], upper=upper) or 2 * num_inside < len(top):
                continue
            if p_value * 2 * len(spec.space.parameters) > CERTAIN or (changed := widen(spec, name, upper=upper)) is None:
                continue
            word, field = ("upper", "high") if upper else ("lower", "low")
            yield Advice(
                kind="widen",
                parameter=name,
                sentence=f"{num_inside} of the {len(top)} best trials have {name} near the {word} end of its range,"
                f" {show_value(getattr(parameter, field))}; the best one has {show_value(top[0])}: widen it to {show_value(changed[field])}.",
                evidence={"inside": num_inside, "best_trials": len(top), "p_value": p_value},
                change=changed,
            )


def _drop(study: StudyOutcomes, spec: StudySpec, ranked: Ranked, failing: Sequence[tuple[str | None, Any]]) -> Iterator[Advice]:
    """Choices worse than the leading one by the comparison's corrected test, without a trial as good as the best.

    Not those of which is said already that they fail.
    """
    for name, parameter in spec.space.roots.items():
        if not isinstance(parameter, CategoricalParameter) or parameter.frozen is not None or len(parameter.choices) < 2:
            continue
        try:
            found = comparison.compare_study(study, name)
        except (Conflict, InvalidValue):
            continue  # there are results of one choice only, or too many choices
        leader = found.levels[0]
        beaten = {
            pair.levels[1 - pair.better]: pair.p_corrected
            for pair in found.pairs
            if pair.better is not None and pair.levels[pair.better] == leader.level
        }
        good = {outcome.params[name] for outcome in ranked.as_good}
        dropped = [
            choice
            for choice, p_value in beaten.items()
            if p_value <= CERTAIN and choice not in good and (name, choice) not in failing
        ]
        if not dropped:
            continue
        num_trials = sum(level.trials.counted for level in found.levels if level.level in dropped)
        yield Advice(
            kind="drop",
            parameter=name,
            sentence=f"{show_values(dropped)} as {name} {'is' if len(dropped) == 1 else 'are'} worse than {show_value(leader.level)}"
            f" (p at most {max(beaten[choice] for choice in dropped):.1g}), and none of those {num_trials} trials came near the best: leave out.",
            evidence={"choices": dropped, "leader": leader.level, "p_values": [beaten[choice] for choice in dropped]},
            change=change(spec, name, {"choices": [choice for choice in parameter.choices if choice not in dropped]}),
        )


def _freeze(spec: StudySpec, ranked: Ranked, importance: Mapping[str, float]) -> Iterator[Advice]:
    """Parameters with hardly any importance over 30 trials, whose values show no relation to the trials' order either.

    Not those on which others depend, nor frozen ones.
    """
    parents = {condition.parent for parameter in spec.space.parameters.values() for condition in parameter.when or ()}
    left_alone = parents | spec.space.frozen.keys()
    best = ranked.outcomes[0].params
    for name, share in importance.items():
        if share > UNIMPORTANT or name in left_alone or name not in best or name not in spec.space.parameters:
            continue
        pairs = zip(ranked.outcomes, ranked.losses, strict=True)
        known = [(outcome.params[name], loss) for outcome, loss in pairs if name in outcome.params]
        if len(known) < MIN_TRIALS_TO_FREEZE or (p_value := _relation(spec.space.parameters[name], known)) < 0.1:
            continue
        yield Advice(
            kind="freeze",
            parameter=name,
            sentence=f"{name} has {100 * share:.0f} % of the importance over {len(known)} trials: freeze it at {show_value(best[name])}, as in"
            " the best trial.",
            evidence={"importance": share, "trials": len(known), "p_value": p_value},
            change=freeze(spec, name, best[name]),
        )


def _relation(parameter: Parameter, known: Sequence[tuple[Any, float]]) -> float:
    """p-value of Spearman's rank correlation, or for choices of Kruskal and Wallis: small where values and losses are related."""
    losses = [loss for _, loss in known]
    if len(set(losses)) < 2 or len({value for value, _ in known}) < 2:
        return 1.0
    if isinstance(parameter, CategoricalParameter):
        groups = [[loss for value, loss in known if value == choice] for choice in parameter.choices]
        return float(stats.kruskal(*(group for group in groups if group)).pvalue)
    return float(stats.spearmanr([value for value, _ in known], losses).pvalue)


def _go_on_or_stop(study: StudyOutcomes, ranked: Ranked) -> Iterator[Advice]:
    """No improvement in the second half of 30 trials or more, which was not to be expected either; or one in the last tenth of all trials.

    Little is, for an improvement, a hundredth of the way from the best value to the median of all, and for what the expected best of all
    trials gains on that of half of them, a twentieth: twice as many again would gain less.
    """
    order = sorted(range(len(ranked.outcomes)), key=lambda index: ranked.outcomes[index].number)
    near = np.array([ranked.losses[index] for index in order]) <= ranked.losses[0] + 0.1 * ranked.within
    first, count = int(np.argmax(near)), len(order)
    trial = ranked.outcomes[order[first]].number
    half, whole = statistics.expected_best(np.array(ranked.losses), [count // 2, count])
    evidence = {"trial": trial, "trials_after": count - first - 1, "trials": count, "gain": float(half - whole)}
    if count >= MIN_TRIALS_TO_STOP and first < count / 2 and half - whole <= 0.5 * ranked.within:
        yield Advice(
            kind="stop",
            sentence=f"The {count - first - 1} of {count} trials after trial {trial} have hardly improved the best value, and the best of {count} is"
            f" expected to be only {half - whole:.2g} better than that of {count // 2}: more trials in this space will gain little.",
            evidence=evidence,
        )
    elif first >= 0.9 * count and study.max_trials is not None and len(study.outcomes) >= study.max_trials:
        yield Advice(
            kind="continue",
            sentence=f"The best value came late, with trial {trial}, only {count - first - 1} of {count} trials before the end: more trials"
            f" (limits.max_trials, now {study.max_trials}) may find better.",
            evidence=evidence,
        )


def _repeat(ranked: Ranked) -> Iterator[Advice]:
    """Several configurations are as good as the best, which has not been repeated."""
    found = describe(ranked)
    if found is not None and found.num_as_good > 2 and found.repeated is None:
        yield Advice(
            kind="repeat",
            sentence=f"{found.num_as_good} trials are as good as the best, within {found.within:.2g}: the best of so many is partly luck, repeat them on"
            " other seeds before you choose (repeat: {max: 5} does it in the next study).",
            evidence={"as_good": found.num_as_good, "within": found.within},
        )
