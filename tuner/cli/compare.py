"""`tuner study compare`: which level of a parameter, or which study, is better; a table, sentences, a figure.

Everything is worked out by the server; the figure is drawn here, by matplotlib (extra `figures`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tuner.cli.options import AsJson, Key, Server, connect
from tuner.cli.output import print_json, print_table, say, show, show_duration
from tuner.errors import InvalidValue
from tuner.results import Comparison, Estimate, LevelResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = (".png", ".svg", ".pdf")
# Okabe and Ito's colours, which people see apart whatever their eyes; lines tell them apart once more from the eighth level on.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_LINES = ("-", "--", "-.", ":")


def compare(
    studies: Annotated[list[str], typer.Argument(metavar="STUDY...", help="A study; or several, to compare them as wholes.")],
    by: Annotated[
        str | None,
        typer.Option("--by", metavar="PARAMETER", help="Parameter whose levels to compare; else what the study compares."),
    ] = None,
    metric: Annotated[str | None, typer.Option("--metric", help="Objective to compare by; else the first.")] = None,
    figure: Annotated[
        Path | None, typer.Option("--figure", metavar="FILE", help=f"Draw the expected best value: {', '.join(FORMATS)}.")
    ] = None,
    as_json: AsJson = False,
    server: Server = None,
    key: Key = None,
) -> None:
    """Say which level of a parameter is better, with what certainty, at which cost."""
    if figure is not None and figure.suffix.lower() not in FORMATS:
        raise InvalidValue(f"--figure: {figure.name} must end in one of {', '.join(FORMATS)}")
    if len(studies) > 1 and by is not None:
        raise InvalidValue("--by: several studies are compared as wholes; leave --by out, or name one study")
    with connect(server, key) as client:
        if len(studies) > 1:
            found = client.compare_studies([client.get_study(study).id for study in studies], metric=metric)
        else:
            found = client.compare(studies[0], by=by, metric=metric)
    if figure is not None:
        draw(found, figure)
    if as_json:
        print_json(found)
        return
    print_comparison(found)
    if figure is not None:
        say(f"the figure is {figure}")


def print_comparison(found: Comparison) -> None:
    print_table(
        (
            found.by,
            "trials",
            "failed",
            "best",
            f"best of {found.budget}",
            f"expected best of {found.k}",
            "rank",
            "sensitivity",
            "time",
        ),
        [_row(level) for level in found.levels],
        title=f"{found.metric} ({found.direction}); in brackets: 95 % intervals",
    )
    for note in (found.conclusion, f"Test: {found.test}.", *found.notes):
        typer.echo(note)


def draw(found: Comparison, file: Path) -> None:
    """Expected best value after k trials of each level, with its interval, faint where that cannot be relied on."""
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ImportError:
        raise InvalidValue("--figure needs matplotlib: pip install 'tuner[figures]'") from None
    figure = Figure(figsize=(7.5, 4.5), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    for index, level in enumerate(level for level in found.levels if level.best_after is not None):
        _draw_level(axes, level, _COLOURS[index % len(_COLOURS)], _LINES[index // len(_COLOURS) % len(_LINES)])
    axes.set_title("with 95 % intervals, faint where they cannot be relied on", fontsize="small", loc="left")
    axes.set_xlabel("trials k")
    axes.set_ylabel(f"expected best {found.metric} after k trials")
    axes.set_ylim(*_limits(found))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(title=found.by, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    try:
        figure.savefig(file)
    except OSError as error:
        raise InvalidValue(f"--figure: cannot write {file}: {error.strerror}") from None


def _draw_level(axes: Axes, level: LevelResult, colour: str, line: str) -> None:
    curve = level.best_after
    assert curve is not None
    axes.plot(curve.k, curve.expected, color=colour, linestyle=line, label=f"{show(level.level)} ({level.trials.counted})")
    known = [
        (k, low, high)
        for k, low, high in zip(curve.k, curve.low, curve.high, strict=True)
        if low is not None and high is not None
    ]
    sure = [item for item in known if item[0] <= curve.reliable_up_to]
    for part, strength in ((sure, 0.2), (known[max(0, len(sure) - 1) :], 0.06)):
        if part:
            ks, low, high = zip(*part, strict=True)
            axes.fill_between(ks, low, high, color=colour, alpha=strength, linewidth=0)


def _limits(found: Comparison) -> tuple[float, float]:
    """From the best value to the worst expected after two trials: one diverged trial would make all else a line at the edge."""
    curves = [level.best_after for level in found.levels if level.best_after is not None]
    best = [curve.expected[-1] for curve in curves]
    worst = [curve.expected[min(1, len(curve.expected) - 1)] for curve in curves]
    low, high = min(*best, *worst), max(*best, *worst)
    margin = 0.08 * (high - low) or 1.0
    return low - margin, high + margin


def _row(level: LevelResult) -> tuple[object, ...]:
    rank = level.rank
    return (
        show(level.level),
        level.trials.counted,
        level.trials.failed,
        None if level.best is None else f"{level.best.value:.4g} (trial {level.best.trial})",
        level.best_at_equal_budget,
        None if level.expected_best is None else _interval(level.expected_best),
        None if rank is None else f"{rank.value:g} [{rank.low}, {rank.high}]",
        None if level.sensitivity is None else f"{100 * level.sensitivity:.0f} %",
        show_duration(level.seconds),
    )


def _interval(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.4g}"
    return f"{estimate.value:.4g} [{estimate.low:.4g}, {estimate.high:.4g}]"
