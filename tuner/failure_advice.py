"""Advice from failed trials: the end of a range or the choice where they lie, else how many there are and why.

Pure, part of `tuner.advice`. Weakness: looks at one parameter at a time, so a failing corner of two stays unnamed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from tuner.outcomes import Outcome, StudyOutcomes
from tuner.parameters import CategoricalParameter, is_same
from tuner.results import Advice
from tuner.space_change import change, show_value
from tuner.spec import StudySpec
from tuner.wire import TrialState

CERTAIN = 0.01
"""Probability, over all cuts and parameters looked at, below which what is seen is not taken for chance."""
MIN_FAILURES = 4
HINTS = {
    "nan": "a smaller learning rate or clipping keeps losses finite",
    "oom_cuda": "smaller batches or models need less memory, a whole GPU has more (resources: {gpus: 1})",
    "oom_host": "fewer slots a worker or a smaller data set need less memory",
    "timeout": "limits.trial_timeout ended them",
    "lost": "their workers died or were cut off",
}


@dataclass(frozen=True)
class _Part:
    """Trials on one side of a cut, or of one choice, against the others."""

    inside: Sequence[Outcome]
    outside: Sequence[Outcome]

    @property
    def is_failing(self) -> bool:
        """At least half fail inside, at most a fifth elsewhere."""
        num_failed = _count(self.inside)
        if num_failed < MIN_FAILURES or not self.outside:
            return False
        return 2 * num_failed >= len(self.inside) and 5 * _count(self.outside) <= len(self.outside)

    @property
    def p_value(self) -> float:
        """Fisher's exact test, one-sided: the chance that so many of the failures lie inside if they fall anywhere."""
        num_inside, total = _count(self.inside), len(self.inside) + len(self.outside)
        return float(stats.hypergeom.sf(num_inside - 1, total, num_inside + _count(self.outside), len(self.inside)))

    @property
    def evidence(self) -> dict[str, Any]:
        return {
            "failed": _count(self.inside),
            "trials": len(self.inside),
            "failed_elsewhere": _count(self.outside),
            "trials_elsewhere": len(self.outside),
            "p_value": self.p_value,
        }

    def describe(self, where: str) -> str:
        reason = _reasons(self.inside).most_common(1)[0][0]
        return (
            f"{_count(self.inside)} of {len(self.inside)} trials with {where} failed ({reason}),"
            f" {_count(self.outside)} of the {len(self.outside)} others"
        )


def advise_on_failures(study: StudyOutcomes, best: Mapping[str, Any]) -> Iterator[Advice]:
    """Where trials fail, if that is clear; else that they do, from a fifth of the trials on. What the best trial has is never left out."""
    ended = [outcome for outcome in study.outcomes if outcome.state.is_finished and not outcome.is_cancelled]
    num_failed = _count(ended)
    if num_failed < MIN_FAILURES:
        return
    found = list(_find_parts(study.spec, ended, best)) if study.spec is not None else []
    yield from found
    if not found and 5 * num_failed >= len(ended):
        reasons = _reasons(ended)
        hint = HINTS.get(reasons.most_common(1)[0][0])
        counts = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        yield Advice(
            kind="failures",
            sentence=f"{num_failed} of {len(ended)} trials failed ({counts})" + (f"; {hint}." if hint else "."),
            evidence={"failed": num_failed, "trials": len(ended), "reasons": dict(reasons)},
        )


def _find_parts(spec: StudySpec, ended: Sequence[Outcome], best: Mapping[str, Any]) -> Iterator[Advice]:
    for name, parameter in spec.space.parameters.items():
        having = [outcome for outcome in ended if name in outcome.params]
        certain = CERTAIN / len(spec.space.parameters)
        if isinstance(parameter, CategoricalParameter):
            yield from _find_choices(spec, name, parameter, having, best.get(name), certain)
        else:
            yield from _find_end(spec, name, having, best.get(name), certain)


def _find_end(spec: StudySpec, name: str, having: Sequence[Outcome], best: Any, certain: float) -> Iterator[Advice]:
    """The cut with the smallest p-value, corrected for how many there are (Bonferroni)."""
    ordered = sorted(having, key=lambda outcome: outcome.params[name])
    values = [outcome.params[name] for outcome in ordered]
    cuts = np.array([index for index in range(1, len(values)) if values[index - 1] < values[index]], dtype=int)
    failed = np.cumsum([0] + [outcome.state == TrialState.FAIL for outcome in ordered])
    found: tuple[float, int, bool] | None = None
    for above in (True, False):
        num_inside, failed_inside = (len(values) - cuts, failed[-1] - failed[cuts]) if above else (cuts, failed[cuts])
        num_outside, failed_outside = len(values) - num_inside, failed[-1] - failed_inside
        failing = (failed_inside >= MIN_FAILURES) & (2 * failed_inside >= num_inside) & (5 * failed_outside <= num_outside)
        if failing.any():
            p_values = stats.hypergeom.sf(failed_inside[failing] - 1, len(values), failed[-1], num_inside[failing])
            place = int(np.argmin(p_values))
            candidate = (float(p_values[place]), int(cuts[failing][place]), above)
            found = candidate if found is None else min(found, candidate)
    if found is None or found[0] * 2 * len(cuts) > certain:
        return
    _, cut, above = found
    part = _Part(ordered[cut:], ordered[:cut]) if above else _Part(ordered[:cut], ordered[cut:])
    end = values[cut - 1] if above else values[cut]
    if best is not None and (best > end if above else best < end):
        return
    side, verb, word, field = ("above", "lower", "upper", "high") if above else ("below", "raise", "lower", "low")
    yield Advice(
        kind="narrow",
        parameter=name,
        sentence=f"{part.describe(f'{name} {side} {show_value(end)}')}: {verb} its {word} end to {show_value(end)}.",
        evidence=part.evidence,
        change=change(spec, name, {field: end}),
    )


def _find_choices(
    spec: StudySpec, name: str, parameter: CategoricalParameter, having: Sequence[Outcome], best: Any, certain: float
) -> Iterator[Advice]:
    for choice in parameter.choices:
        part = _Part(
            [outcome for outcome in having if is_same(outcome.params[name], choice)],
            [outcome for outcome in having if not is_same(outcome.params[name], choice)],
        )
        if part.is_failing and part.p_value * len(parameter.choices) <= certain and not is_same(choice, best):
            rest = [other for other in parameter.choices if other is not choice]
            yield Advice(
                kind="drop",
                parameter=name,
                sentence=f"{part.describe(f'{name} {show_value(choice)}')}: leave it out, or find out why.",
                evidence={"choices": [choice], **part.evidence},
                change=change(spec, name, {"choices": rest}),
            )


def _count(outcomes: Sequence[Outcome]) -> int:
    return sum(outcome.state == TrialState.FAIL for outcome in outcomes)


def _reasons(outcomes: Sequence[Outcome]) -> Counter[str]:
    return Counter(outcome.reason or "no reason told" for outcome in outcomes if outcome.state == TrialState.FAIL)
