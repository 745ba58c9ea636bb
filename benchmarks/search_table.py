"""What the simulated searches found, as tables in Markdown and as a figure: means, bootstrap intervals, and the comparisons that matter.

Intervals resample problems, not rows: the seeds of one problem are not independent of each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Rows = Sequence[Mapping[str, Any]]
SHARES = (0.10, 0.25, 0.50, 1.00)
REFERENCE, RANDOM = "Optuna TPE", "Optuna random"
NUM_RESAMPLES = 4000


def write(rows: Rows) -> str:
    parts = []
    for name, workers in sorted({(row["set"], row["workers"]) for row in rows}):
        found = _gather([row for row in rows if (row["set"], row["workers"]) == (name, workers)])
        if found.problems:
            parts += [_table(f"{name}, W = {workers}", found), ""]
    return "\n".join(parts)


class Found:
    """One set and W: by strategy the regrets `[problems, seeds, marks]`, of the pairs that all strategies have."""

    def __init__(self, any_report: Mapping[str, Floats], full: Mapping[str, Floats], problems: Sequence[str]) -> None:
        self.any, self.full, self.problems = any_report, full, problems


def _gather(rows: Rows) -> Found:
    names = list(dict.fromkeys(row["strategy"] for row in rows))
    by_key = {(row["strategy"], row["problem"], row["seed"]): row for row in rows}
    problems = list(dict.fromkeys(row["problem"] for row in rows))
    seeds = sorted({row["seed"] for row in rows})
    problems = [each for each in problems if all((name, each, seed) in by_key for name in names for seed in seeds)]

    def regrets(kind: str) -> dict[str, Floats]:
        return {name: np.array([[by_key[name, each, seed][kind] for seed in seeds] for each in problems]) for name in names}

    return Found(regrets("any"), regrets("full"), problems)


def _table(title: str, found: Found) -> str:
    shape = next(iter(found.any.values())).shape
    lines = [
        f"### {title}: {shape[0]} problems x {shape[1]} seeds",
        "",
        "| strategy | "
        + " | ".join(f"{share:.0%}" for share in SHARES)
        + " | end, 95 % | end / Optuna TPE, 95 % | budget to Optuna TPE's end | trained in full | worse than random on |",
        "|---|" + "---|" * (len(SHARES) + 5),
    ]
    for name, regrets in found.any.items():
        ends = regrets[:, :, -1]
        cells = [f"{_mean_curve(regrets)[_mark(regrets, share)]:.2f}" for share in SHARES]
        cells.append(_interval(lambda chosen, ends=ends: ends[chosen].mean(), len(ends)))
        cells.append(_ratio(found, name))
        cells.append(_reached(found, name))
        cells.append(f"{found.full[name][:, :, -1].mean():.2f}")
        cells.append(_worse(found, name))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _mean_curve(regrets: Floats) -> Floats:
    curve: Floats = regrets.mean(axis=(0, 1))
    return curve


def _mark(regrets: Floats, share: float) -> int:
    return round(share * regrets.shape[2]) - 1


def _interval(statistic: Callable[[npt.NDArray[np.intp]], float], size: int) -> str:
    rng = np.random.default_rng(0)
    values = [statistic(rng.integers(0, size, size)) for _ in range(NUM_RESAMPLES)]
    return f"{np.quantile(values, 0.025):.2f} to {np.quantile(values, 0.975):.2f}"


def _ratio(found: Found, name: str) -> str:
    if REFERENCE not in found.any or name == REFERENCE:
        return ""
    ends, reference = found.any[name][:, :, -1], found.any[REFERENCE][:, :, -1]
    interval = _interval(lambda chosen: ends[chosen].mean() / max(reference[chosen].mean(), 1e-9), len(ends))
    return f"{ends.mean() / reference.mean():.2f} ({interval})"


def _reached(found: Found, name: str) -> str:
    """The first mark at which the mean is at most the reference's last."""
    if REFERENCE not in found.any:
        return ""
    curve = _mean_curve(found.any[name])
    reached = np.flatnonzero(curve <= _mean_curve(found.any[REFERENCE])[-1])
    return f"{(reached[0] + 1) / len(curve):.0%}" if len(reached) else "not reached"


def _worse(found: Found, name: str) -> str:
    """Problems on which the mean end is above random's by more than two standard errors of the paired differences, over all problems."""
    if RANDOM not in found.any or name == RANDOM:
        return ""
    differences = found.any[name][:, :, -1] - found.any[RANDOM][:, :, -1]
    noise = (
        2.0 * float(np.sqrt(differences.var(axis=1, ddof=1).mean() / differences.shape[1])) if differences.shape[1] > 1 else 0.0
    )
    worse = [each for each, mean in zip(found.problems, differences.mean(axis=1), strict=True) if mean > noise]
    return ", ".join(worse) or "none"


def plot(rows: Rows, path: Path) -> None:
    """Mean regret over the share of the budget: a row of panels a set, a panel a W."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.fonttype"] = "none"  # text as text: a small file
    from matplotlib import pyplot

    colors = dict(zip(dict.fromkeys(row["strategy"] for row in rows), mpl.colormaps["tab20"].colors, strict=False))
    sets = sorted({row["set"] for row in rows})
    workers = sorted({row["workers"] for row in rows})
    figure, axes = pyplot.subplots(
        len(sets), len(workers), figsize=(4.2 * len(workers), 3.4 * len(sets)), squeeze=False, sharey=True
    )
    for place, name in enumerate(sets):
        for column, count in enumerate(workers):
            axis = axes[place][column]
            found = _gather([row for row in rows if (row["set"], row["workers"]) == (name, count)])
            for strategy, regrets in found.any.items():
                curve = _mean_curve(regrets)
                own = strategy.startswith("Tuner auto")
                axis.plot(
                    np.arange(1, len(curve) + 1) / len(curve),
                    curve,
                    label=strategy,
                    color=colors[strategy],
                    linewidth=2.2 if own else 1.0,
                    alpha=1.0 if own else 0.7,
                )
            axis.set_title(f"{name}, W = {count}")
            axis.set_xlabel("share of the budget of 32 trainings")
            axis.set_ylim(0.0, 1.0)
        axes[place][0].set_ylabel("mean regret")
    # Not every panel has every strategy.
    lines = {label: line for row in axes for axis in row for line, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(list(lines.values()), list(lines), loc="lower center", ncols=3, fontsize=8)
    figure.tight_layout(rect=(0.0, 0.02 + 0.08 * len(lines) / 3 / len(sets), 1.0, 1.0))
    figure.savefig(path)
