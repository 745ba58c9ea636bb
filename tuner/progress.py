"""A study's progress on a terminal: a bar that moves, or, where the stream is no terminal, a line when something changed.

Fed with snapshots of the study; it asks for nothing itself. Used by the SDK's `wait(progress=True)` and by the command line.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tuner.wire import Study

LINE_INTERVAL, LINE_SHARE = 2.0, 0.05
"""Where there is no terminal: least seconds between two lines, and least share of the time so far, so that long logs stay short."""


def show(studies: Iterable[Study], *, stream: TextIO) -> Study:
    """Show each snapshot as it comes and return the last one, in which the study has ended unless the snapshots stopped early."""
    console = Console(file=stream, highlight=False, soft_wrap=True)
    return _show_bar(studies, console) if console.is_terminal else _show_lines(studies, console)


def _show_bar(studies: Iterable[Study], console: Console) -> Study:
    last: Study | None = None
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[facts]}", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=console, expand=True) as progress:
        task = progress.add_task("", total=None, facts="")
        for last in studies:
            progress.update(task, description=last.name, completed=last.counts.finished, total=_limit(last), facts=describe(last))
    if last is None:
        raise ValueError("no snapshot of the study came")
    return last


def _show_lines(studies: Iterable[Study], console: Console) -> Study:
    last: Study | None = None
    shown: object = None
    start = time.monotonic()
    shown_at = start - LINE_INTERVAL
    for last in studies:
        facts = (last.state, last.reason, last.counts.finished)
        now = time.monotonic()
        if facts != shown and (last.state.is_finished or now - shown_at >= max(LINE_INTERVAL, LINE_SHARE * (now - start))):
            limit = _limit(last)
            console.print(
                f"{last.name}: {last.counts.finished}{f'/{limit}' if limit else ''} trials, {describe(last)}", markup=False
            )
            shown, shown_at = facts, now
    if last is None:
        raise ValueError("no snapshot of the study came")
    return last


def describe(study: Study) -> str:
    """Best value so far, what runs, what failed, and the state where it is not simply running."""
    facts = []
    best = show_best(study)
    if best is not None:
        facts.append(f"best {best}")
    counts = study.counts
    facts.append(f"{counts.running} running")
    if counts.waiting:  # paused at a rung, most of them, where there are rungs
        facts.append(f"{counts.waiting} waiting")
    if counts.pruned:
        facts.append(f"{counts.pruned} pruned")
    if counts.infeasible:
        facts.append(f"{counts.infeasible} infeasible")
    if counts.fail:
        facts.append(f"{counts.fail} failed")
    if study.state != "RUNNING":
        facts.append(study.state.value + (f" ({study.reason})" if study.reason else ""))
    return ", ".join(facts)


def show_best(study: Study) -> str | None:
    """The best value so far and whose it is, with its interval where trials are repeated; None while there is none."""
    if study.best_value is None:
        return None
    value = f"{study.best_value:.4g}" if study.best_repeats is None else study.best_repeats.show()
    objectives = study.spec.get("objectives") or []
    name = f"{objectives[0]['name']} " if len(objectives) > 1 else ""  # that of the others has another trial
    return f"{name}{value} (trial {study.best_trial})"


def _limit(study: Study) -> int | None:
    limits: dict[str, Any] = study.spec.get("limits") or {}
    maximum = limits.get("max_trials")
    return int(maximum) if maximum is not None else None
