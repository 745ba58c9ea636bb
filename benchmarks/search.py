"""Search quality over published learning curves: the service's own rungs and samplers, in memory, against Optuna's.

An event-driven simulation with a virtual clock: W workers run trials side by side, a report costs one unit, pausing and resuming
are free. The budget is 32 full trainings of compute, shared by the workers. A proposed configuration is answered with the curve of its
nearest neighbour in the table. Regret is that of the best report seen by then, whose checkpoint a user would have: 0 is the best end
of a full training in the table, 1 the median of all full trainings. Seeds are paired: one (task, seed) is one row of every strategy's.

The file is `taskset_adam8p.npz` (12 TaskSet tasks, Metz et al. 2020; arrays hp, hp_names, tasks, valid). The tasks are alike and the table
has 1000 rows, of which a method with cheap trials sees many: judge a strategy on more than this file.

    python -m benchmarks.search --data FILE [--tasks 12] [--seeds 1] [--workers 4]
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import optuna

from benchmarks.machine import describe
from tuner.search import distributions, rungs, samplers
from tuner.search.history import History
from tuner.spec import StudySpec
from tuner.wire import Reason, TrialState

BUDGET = 32
SHARES = (0.10, 0.25, 0.50, 1.00)
# By random-forest importance, as in the table's description.
WEIGHTS = np.array([4.0, 1.0, 1.0, 2.5, 1.5, 1.2, 0.5, 0.7])
Floats = npt.NDArray[np.float64]


class Table:
    """One task's configurations and curves. Proposals are points of the unit cube of the parameters, named p0, p1, ..."""

    def __init__(self, configurations: Floats, names: Sequence[str], curves: Floats) -> None:
        logs = np.log10(
            [1.0 - column if name.startswith("beta") else column for name, column in zip(names, configurations.T, strict=True)]
        ).T
        self._points = (logs - logs.min(axis=0)) / np.ptp(logs, axis=0)
        self.num_parameters = len(names)
        start = float(np.nanmedian(curves[:, 0]))
        clipped = np.clip(np.nan_to_num(curves, nan=math.inf, posinf=math.inf), None, 2.0 * start)
        self.curves: Floats = clipped[:, 1:]  # the first is before training
        self.num_reports = self.curves.shape[1]
        ends = self.curves[:, -1]
        self._best, self._median = float(ends.min()), float(np.median(ends))

    def curve(self, params: dict[str, float]) -> Floats:
        point = np.array([params[f"p{index}"] for index in range(self.num_parameters)])
        distances = (WEIGHTS * (self._points - point) ** 2).sum(axis=1)
        found: Floats = self.curves[int(distances.argmin())]
        return found

    def regret(self, best: float) -> float:
        return float(np.clip((best - self._best) / (self._median - self._best), 0.0, 1.0))


def load(path: Path, num_tasks: int) -> Iterator[tuple[str, Table]]:
    data = np.load(path, allow_pickle=False)
    for index, task in enumerate(data["tasks"][:num_tasks]):
        yield (
            str(task),
            Table(data["hp"].astype(float), [str(name) for name in data["hp_names"]], data["valid"][index].astype(float)),
        )


class Strategy(Protocol):
    """What a worker asks: the next trial to run, and after each report whether to go on."""

    def next(self) -> tuple[int, dict[str, float], int]:
        """A trial's number and parameters, and how many reports it has made already."""

    def report(self, number: int, step: int, value: float) -> bool:
        """Whether the trial goes on."""

    def complete(self, number: int, value: float) -> None: ...


class Service:
    """The service's decisions: demand is answered by a promotion, else by a proposal; a trial pauses at its rung."""

    def __init__(self, num_parameters: int, num_reports: int, seed: int, sampler: str, pruner: str) -> None:
        options = {"max_resource": num_reports} if pruner == "promotion" else {}
        self._spec = StudySpec.parse(
            {
                "objectives": [{"name": "loss", "direction": "minimize"}],
                "space": {f"p{index}": {"type": "float", "low": 0.0, "high": 1.0} for index in range(num_parameters)},
                "sampler": {"name": sampler},
                "pruner": {"name": pruner, **options},
            }
        )
        space = distributions.of_space(self._spec.space)
        self._history = History(study_id=1, name="simulated", directions=["minimize"], metric="loss", space=space)
        self._rungs = rungs.build(self._spec, self._history)
        self._proposer = samplers.build(
            self._spec.sampler, self._spec.space, self._history, seed=seed, max_attempts=lambda: 1, rungs=self._rungs
        )
        self._rows: list[SimpleNamespace] = []

    def next(self) -> tuple[int, dict[str, float], int]:
        number = None if self._rungs is None else next(self._rungs.list_promotable(), None)
        if number is not None:
            assert self._rungs is not None
            self._rungs.promote(number)
            self._rows[number].reason = None
        else:
            number = len(self._rows)
            suggestion = self._proposer.propose(number)
            assert suggestion is not None
            row = SimpleNamespace(id=number, number=number, reason=None, verdict="continue", judged_step=None)
            row.params, row.distributions = json.dumps(suggestion.params), json.dumps(suggestion.distributions)
            row.objective_values, row.system_attrs = None, json.dumps(suggestion.system_attrs)
            self._rows.append(row)
        self._history.commit()
        self._merge(number, TrialState.RUNNING)
        trial = self._history.get(number)
        return number, trial.params, len(trial.intermediate_values)

    def report(self, number: int, step: int, value: float) -> bool:
        self._history.merge_report(number, step, {"loss": value})
        if self._rungs is None:
            return True
        self._rungs.take_in(number)
        if not self._rungs.pauses(number, step):
            return True
        self._rows[number].reason = Reason.PAUSED_AT_RUNG
        self._merge(number, TrialState.WAITING)
        return False

    def complete(self, number: int, value: float) -> None:
        self._rows[number].objective_values = json.dumps([value])
        self._merge(number, TrialState.COMPLETE)

    def _merge(self, number: int, state: TrialState) -> None:
        self._rows[number].state = state
        self._history.merge_trial(self._rows[number])
        if self._rungs is not None:
            self._rungs.take_in(number)


class Optuna:
    """Optuna as its users have it, in memory."""

    def __init__(
        self, num_parameters: int, seed: int, sampler: type[optuna.samplers.BaseSampler], pruner: optuna.pruners.BasePruner
    ) -> None:
        self._space: dict[str, Any] = {
            f"p{index}": optuna.distributions.FloatDistribution(0.0, 1.0) for index in range(num_parameters)
        }
        made: Any = sampler
        self._study = optuna.create_study(sampler=made(seed=seed), pruner=pruner)
        self._trials: dict[int, optuna.Trial] = {}

    def next(self) -> tuple[int, dict[str, float], int]:
        trial = self._study.ask(self._space)
        self._trials[trial.number] = trial
        return trial.number, trial.params, 0

    def report(self, number: int, step: int, value: float) -> bool:
        trial = self._trials[number]
        trial.report(value, step)
        if not trial.should_prune():
            return True
        self._study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        return False

    def complete(self, number: int, value: float) -> None:
        self._study.tell(self._trials[number], value)


@dataclass
class _Running:
    number: int
    curve: Floats
    step: int


def simulate(table: Table, strategy: Strategy, num_workers: int) -> list[float]:
    """Regret once each of SHARES of the budget is spent."""
    budget = BUDGET * table.num_reports
    marks = [share * budget / num_workers for share in SHARES]
    best = math.inf
    found: list[float] = []
    events: list[tuple[float, int]] = [(0.0, worker) for worker in range(num_workers)]
    running: dict[int, _Running] = {}
    while len(found) < len(marks):
        now, worker = heapq.heappop(events)
        while len(found) < len(marks) and now > marks[len(found)]:
            found.append(table.regret(best))
        trial = running.pop(worker, None)
        if trial is not None:
            value = float(trial.curve[trial.step])
            goes_on = strategy.report(trial.number, trial.step, value)
            best = min(best, value)
            if trial.step == table.num_reports - 1:
                if goes_on:
                    strategy.complete(trial.number, value)
                trial = None
            elif goes_on:
                trial.step += 1
            else:
                trial = None
        if trial is None:
            number, params, step = strategy.next()
            trial = _Running(number, table.curve(params), step)
        running[worker] = trial
        heapq.heappush(events, (now + 1.0, worker))
    return found


def _strategies(table: Table, seed: int) -> dict[str, Callable[[], Strategy]]:
    size, reports = table.num_parameters, table.num_reports
    tpe, random = optuna.samplers.TPESampler, optuna.samplers.RandomSampler
    nop, halving = optuna.pruners.NopPruner, optuna.pruners.SuccessiveHalvingPruner
    return {
        "Optuna: TPE, its default": lambda: Optuna(size, seed, tpe, nop()),
        "Optuna: random": lambda: Optuna(size, seed, random, nop()),
        "Optuna: TPE + SuccessiveHalvingPruner": lambda: Optuna(size, seed, tpe, halving()),
        "Optuna: random + SuccessiveHalvingPruner": lambda: Optuna(size, seed, random, halving()),
        "Tuner: auto, no pruner": lambda: Service(size, reports, seed, "auto", "none"),
        "Tuner: random + promotion": lambda: Service(size, reports, seed, "random", "promotion"),
        "Tuner: auto + promotion": lambda: Service(size, reports, seed, "auto", "promotion"),
    }


def main(arguments: Sequence[str] | None = None) -> str:
    parser = argparse.ArgumentParser(description="Search quality over published learning curves.")
    parser.add_argument("--data", type=Path, required=True, help="taskset_adam8p.npz")
    parser.add_argument("--tasks", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--workers", type=int, nargs="+", default=[4])
    given = parser.parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    began = time.monotonic()
    lines = [f"{describe()}. Budget of {BUDGET} full trainings; {given.tasks} tasks x {given.seeds} seeds."]
    for num_workers in given.workers:
        lines += ["", f"W = {num_workers}: mean regret at a share of the budget (last column: its bootstrap interval, 95 %)", ""]
        lines.append("| strategy | " + " | ".join(f"{share:.0%}" for share in SHARES) + " | at the end |")
        lines.append("|---|" + "---|" * (len(SHARES) + 1))
        regrets: dict[str, list[list[float]]] = {}
        for index, (_, table) in enumerate(load(given.data, given.tasks)):
            # Another seed for each task: with the same first proposals everywhere the tasks would be one sample, not many.
            for seed in range(index * given.seeds, (index + 1) * given.seeds):
                for name, make in _strategies(table, seed).items():
                    regrets.setdefault(name, []).append(simulate(table, make(), num_workers))
        for name, rows in regrets.items():
            means = np.mean(rows, axis=0)
            low, high = _interval(np.array(rows)[:, -1])
            lines.append(f"| {name} | " + " | ".join(f"{mean:.2f}" for mean in means) + f" | {low:.2f} to {high:.2f} |")
    lines += ["", f"Simulated in {time.monotonic() - began:.0f} s."]
    return "\n".join(lines)


def _interval(values: Floats) -> tuple[float, float]:
    rng = np.random.default_rng(0)
    means = rng.choice(values, size=(2000, len(values))).mean(axis=1)
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


if __name__ == "__main__":
    print(main())
