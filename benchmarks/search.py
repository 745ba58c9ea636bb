"""Search quality: the service's own decisions, samplers, rungs and portfolios, in memory, against Optuna and Syne Tune.

An event-driven simulation with a virtual clock: W workers run trials side by side, a report costs one unit, pausing and resuming
are free. The budget is 32 whole trainings of compute, shared by the workers. Regret is the true one of the best report seen by then, whose
checkpoint a user would have (`trained in full`: of the best training that was completed, which is what a leaderboard shows). Seeds are
paired: one (problem, seed) is one row of every strategy. Warm: the same search begun with what finished studies lend, these being the
service's own cold searches of all other problems of the set, of the same seed and W.

    python -m benchmarks.search [--data taskset_adam8p.npz] [--seeds 3] [--workers 1 4 16] [--only NAME ...] [--out FILE]
    python -m benchmarks.search --show FILE [FILE ...] [--plot search.svg]

Rows are added to FILE as they come, and rows that are there already are not run again. Problems are `benchmarks.curves`, strategies
`benchmarks.strategies`. Weakness: what a pause costs in the real service (a checkpoint, a hand-over) is not in the clock.
"""

from __future__ import annotations

import argparse
import heapq
import json
import lzma
import math
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from benchmarks import search_table
from benchmarks.curves import Floats, Problem, functions, tables
from benchmarks.strategies import Optuna, Service, Strategy, SyneTune
from tuner.search.portfolio import PastStudy

BUDGET = 32
NUM_MARKS = 40
"""Shares of the budget, evenly spaced, at which regret is noted."""

AUTO, WARM = "Tuner auto", "Tuner auto, warm"


def strategies(problem: Problem, seed: int) -> dict[str, Callable[[], Strategy]]:
    """Every strategy but the warm one, which needs the others' studies."""
    tpe, random = optuna.samplers.TPESampler, optuna.samplers.RandomSampler
    pruners = optuna.pruners
    promotion = {"name": "promotion", "max_resource": problem.num_reports}
    return {
        AUTO: lambda: Service(problem, seed),
        "Tuner auto, stopping": lambda: Service(problem, seed, pruner={"name": "auto", "max_resource": problem.num_reports}),
        "Tuner random + promotion": lambda: Service(problem, seed, sampler="random", pruner=promotion),
        "Optuna TPE": lambda: Optuna(problem, tpe(seed=seed), pruners.NopPruner()),
        "Optuna TPE + median": lambda: Optuna(problem, tpe(seed=seed), pruners.MedianPruner()),
        "Optuna TPE + successive halving": lambda: Optuna(problem, tpe(seed=seed), pruners.SuccessiveHalvingPruner()),
        "Optuna TPE + Hyperband": lambda: Optuna(
            problem, tpe(seed=seed), pruners.HyperbandPruner(max_resource=problem.num_reports)
        ),
        "Optuna random": lambda: Optuna(problem, random(seed=seed), pruners.NopPruner()),
        "Optuna random + successive halving": lambda: Optuna(problem, random(seed=seed), pruners.SuccessiveHalvingPruner()),
        "Syne Tune ASHA": lambda: SyneTune(problem, "ASHA", seed),
        "Syne Tune BOHB": lambda: SyneTune(problem, "BOHB", seed),
    }


@dataclass
class _Running:
    number: int
    reported: Floats
    true: Floats
    step: int


def simulate(problem: Problem, strategy: Strategy, num_workers: int, seed: int) -> dict[str, list[float]]:
    """Regret at each mark, of the best report (`any`) and of the best training completed (`full`)."""
    marks = [BUDGET * problem.num_reports * (place + 1) / NUM_MARKS / num_workers for place in range(NUM_MARKS)]
    best = {"any": (math.inf, 1.0), "full": (math.inf, 1.0)}  # by what was reported: its regret in truth
    found: dict[str, list[float]] = {"any": [], "full": []}
    events: list[tuple[float, int]] = [(0.0, worker) for worker in range(num_workers)]
    running: dict[int, _Running] = {}
    while len(found["any"]) < NUM_MARKS:
        now, worker = heapq.heappop(events)
        while len(found["any"]) < NUM_MARKS and now > marks[len(found["any"])]:
            for kind, (_, regret) in best.items():
                found[kind].append(regret)
        trial = running.pop(worker, None)
        if trial is not None:
            value, regret = float(trial.reported[trial.step]), problem.regret(float(trial.true[trial.step]))
            goes_on = strategy.report(trial.number, trial.step, value)
            best["any"] = min(best["any"], (value, regret))
            if trial.step == problem.num_reports - 1:
                best["full"] = min(best["full"], (value, regret))
                if goes_on:
                    strategy.complete(trial.number, value)
                trial = None
            elif goes_on:
                trial.step += 1
            else:
                trial = None
        if trial is None:
            number, params, step = strategy.next()
            trial = _Running(number, *problem.curve(params, np.random.default_rng([seed, number])), step)
        running[worker] = trial
        heapq.heappush(events, (now + 1.0, worker))
    return found


class Results:
    """Rows of a file: set, problem, seed, W, strategy, and what was found."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.rows = [] if path is None or not path.exists() else [json.loads(line) for line in _read(path).splitlines()]
        self._known = {_key(row) for row in self.rows}

    def has(self, row: Mapping[str, Any]) -> bool:
        return _key(row) in self._known

    def add(self, row: Mapping[str, Any], found: Mapping[str, list[float]]) -> None:
        self.rows.append({**row, **{kind: [round(regret, 4) for regret in regrets] for kind, regrets in found.items()}})
        self._known.add(_key(row))
        if self._path is not None:
            with self._path.open("a") as out:
                out.write(json.dumps(self.rows[-1]) + "\n")


def _read(path: Path) -> str:
    """Rows that are kept are compressed."""
    return lzma.decompress(path.read_bytes()).decode() if path.suffix == ".xz" else path.read_text()


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("set", "problem", "seed", "workers", "strategy"))


def run(
    name: str,
    problems: Sequence[Problem],
    seeds: Iterable[int],
    num_workers: int,
    wanted: Callable[[str], bool],
    results: Results,
) -> None:
    """All strategies on all problems of a set, then the warm one, which borrows from the cold ones."""
    for seed in seeds:
        past: list[PastStudy] = []
        for index, problem in enumerate(problems):
            # Another seed for each problem: with the same first proposals everywhere they would be one sample, not many.
            own = seed * len(problems) + index
            for strategy, make in strategies(problem, own).items():
                row = {"set": name, "problem": problem.name, "seed": seed, "workers": num_workers, "strategy": strategy}
                lends = strategy == AUTO and wanted(WARM)
                if not lends and (not wanted(strategy) or results.has(row)):
                    continue
                made = make()
                found = simulate(problem, made, num_workers, own)
                if not results.has(row):
                    results.add(row, found)
                if isinstance(made, Service) and strategy == AUTO:
                    past.append(made.finished(index))
        for index, problem in enumerate(problems):
            row = {"set": name, "problem": problem.name, "seed": seed, "workers": num_workers, "strategy": WARM}
            if wanted(WARM) and not results.has(row):
                own = seed * len(problems) + index
                others = [study for study in past if study.id != index]
                warm = Service(problem, own, past=others, num_workers=num_workers)
                results.add(row, simulate(problem, warm, num_workers, own))


def main(arguments: Sequence[str] | None = None) -> str:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="taskset_adam8p.npz; without it the functions alone")
    parser.add_argument("--set", choices=("taskset", "functions"), help="only this set")
    parser.add_argument("--problems", type=int, default=12, help="so many of a set")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--only", nargs="+", help="only strategies of these names")
    parser.add_argument("--out", type=Path, help="file of rows to add to")
    parser.add_argument("--show", type=Path, nargs="+", help="run nothing: the table of these files")
    parser.add_argument("--plot", type=Path, help="draw regret over budget, .svg or .png")
    given = parser.parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore")
    began = time.monotonic()
    results = Results(given.out)
    if given.show:
        results.rows = [row for path in given.show for row in Results(path).rows]
    else:
        sets = {"functions": functions} | ({} if given.data is None else {"taskset": lambda: tables(given.data)})
        for name, make in sets.items():
            if given.set in (None, name):
                problems = list(make())[: given.problems]
                for num_workers in given.workers:
                    run(name, problems, given.seeds, num_workers, lambda each: given.only is None or each in given.only, results)
    table = search_table.write(results.rows)
    if given.plot is not None:
        search_table.plot(results.rows, given.plot)
    return table if given.show else f"{table}\n\nSimulated in {time.monotonic() - began:.0f} s."


if __name__ == "__main__":
    print(main())
