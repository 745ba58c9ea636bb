"""The best trial of a study, and how sure that is: which other trials are as good, and where their parameters lie.

Pure, like `tuner.advice`. As good is what lies within a tenth of the way from the best value to the median; without repeated
trials nothing is known of a single trial's noise. Weakness: that tenth is a convention, not a measurement.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tuner import statistics
from tuner.comparison import NEAR
from tuner.outcomes import Outcome, StudyOutcomes
from tuner.parameters import is_number
from tuner.results import BestConfiguration, Estimate, Likely
from tuner.wire import TrialState

MIN_COMPLETE = 5
"""Complete trials from which on they alone say what is usual: a stopped one has not had its training."""


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """Counted trials with a finite value that are feasible, the best first, and their losses.

    The best is a complete trial as soon as there is one, whatever value one that was stopped had on its way; where trials are repeated it is the
    one the race has found (`tuner.racing`), though one with fewer seeds may have the better mean.
    """

    outcomes: Sequence[Outcome]
    losses: Sequence[float]
    sign: float
    same: Sequence[float] | None = None
    """What the trials of the best configuration came to, where the study repeats trials: the values of the outcomes are means then."""

    @classmethod
    def of(cls, study: StudyOutcomes, objective: int = 0) -> Ranked:
        sign = -1.0 if study.directions[objective] == "maximize" else 1.0
        valued = [(sign * value, outcome) for outcome in study.outcomes if (value := _value(outcome, objective)) is not None]
        valued.sort(key=lambda item: (item[0], item[1].number))
        best = study.best
        if best is None:
            best = next((outcome.number for _, outcome in valued if outcome.state == TrialState.COMPLETE), None)
        valued.sort(key=lambda item: item[1].number != best)
        return cls(
            outcomes=[outcome for _, outcome in valued],
            losses=[loss for loss, _ in valued],
            sign=sign,
            same=None if study.best is None else study.best_values,
        )

    @property
    def within(self) -> float:
        """How far from the best a trial may lie and be as good. Trials that were stopped early count only where few were not."""
        pairs = zip(self.outcomes, self.losses, strict=True)
        whole = [loss for outcome, loss in pairs if outcome.state == TrialState.COMPLETE]
        median = float(np.median(whole if len(whole) >= MIN_COMPLETE else self.losses))
        return max(0.0, NEAR * (median - self.losses[0]))

    @property
    def as_good(self) -> list[Outcome]:
        limit = self.losses[0] + self.within
        return [outcome for outcome, loss in zip(self.outcomes, self.losses, strict=True) if loss <= limit]


def describe(ranked: Ranked) -> BestConfiguration | None:
    """None while no trial is complete with a value."""
    if not ranked.outcomes or ranked.outcomes[0].state != TrialState.COMPLETE:
        return None
    best, as_good = ranked.outcomes[0], ranked.as_good
    same = ranked.same
    if same is None:
        same = [
            ranked.sign * loss
            for outcome, loss in zip(ranked.outcomes, ranked.losses, strict=True)
            if outcome.params == best.params and outcome.state == TrialState.COMPLETE
        ]
    likely = {name: _likely([outcome.params[name] for outcome in as_good if name in outcome.params]) for name in best.params}
    repeated = _mean(same) if len(same) > 1 else None
    return BestConfiguration(
        trial=best.number,
        value=ranked.sign * ranked.losses[0],
        params=dict(best.params),
        within=ranked.within,
        num_as_good=len(as_good),
        likely=likely,
        repeated=repeated,
        num_repeats=max(1, len(same)),
        sentence=_say(len(as_good), ranked.within, likely, repeated, len(same)),
    )


def _say(num_as_good: int, within: float, likely: Mapping[str, Likely], repeated: Estimate | None, num_repeats: int) -> str:
    text = f"No other trial lies within {within:.2g} of the best value." if within else "No other trial has the best value."
    if num_as_good > 1:
        where = f"lie within {within:.2g} of the best value" if within else "have the best value"
        text = f"{num_as_good} trials {where}, with {_show_likely(likely)}."
    if repeated is not None:
        text += f" Over {num_repeats} trials of the best configuration the mean is {repeated.value:.4g}"
        text += f" (95 % interval {repeated.low:.4g} to {repeated.high:.4g})."
    return text


def _show_likely(likely: Mapping[str, Likely]) -> str:
    parts = []
    for name, found in likely.items():
        if found.choices is not None:
            parts.append(f"{name} {' or '.join(str(choice) for choice in found.choices[:5])}")
        elif found.low == found.high:
            parts.append(f"{name} {found.low:.3g}")
        else:
            parts.append(f"{name} {found.low:.3g} to {found.high:.3g}")
    return ", ".join(parts)


def _value(outcome: Outcome, objective: int) -> float | None:
    value = outcome.values[objective]
    usable = (
        outcome.counts and outcome.feasible and outcome.state != TrialState.FAIL and value is not None and math.isfinite(value)
    )
    return value if usable else None


def _likely(values: Sequence[Any]) -> Likely:
    if all(is_number(value) for value in values):
        return Likely(low=min(values), high=max(values))
    return Likely(choices=[value for value, _ in Counter(values).most_common()])


def _mean(values: Sequence[float]) -> Estimate:
    mean, low, high = statistics.mean_with_interval(values)
    return Estimate(value=mean, low=low, high=high)
