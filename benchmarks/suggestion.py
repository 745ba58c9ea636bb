"""What the arithmetic of one suggestion costs: the service's TPE over columns and Optuna's, both in memory, on the same finished trials.

CPU time of the process, one thread; the two sides take turns. Each suggestion is finished with its value before the next is made, as
when one worker asks and tells. `benchmarks.suggest` measures the whole way of an ask.

    python -m benchmarks.suggestion [--finished 1000 10000 30000] [--asks 15]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import optuna

from benchmarks.machine import describe
from benchmarks.suggest import HIGH, LOW, NAMES, history, objective
from tuner.search import distributions, samplers
from tuner.search.history import History
from tuner.space import SearchSpace
from tuner.strategy_spec import SamplerSpec

Suggest = Callable[[], tuple[float, list[float]]]


def tuner_side(finished: int) -> Suggest:
    """A function that makes one suggestion and finishes it: its CPU seconds and its parameters."""
    space = SearchSpace.parse({name: {"type": "float", "low": LOW, "high": HIGH, "log": True} for name in NAMES})
    known = History(
        study_id=1, name="suggestion", directions=["minimize"], objectives=["loss"], space=distributions.of_space(space)
    )
    proposer = samplers.build(SamplerSpec(name="tpe"), space, known, seed=1, max_attempts=lambda: 1, rungs=None)
    stored = {name: distributions.to_json(known.space[name]) for name in NAMES}

    def finish(number: int, params: Mapping[str, Any], value: float) -> None:
        known.merge_trial(
            SimpleNamespace(
                id=number + 1,
                number=number,
                state="COMPLETE",
                reason=None,
                params=json.dumps(dict(params)),
                distributions=json.dumps(stored),
                objective_values=json.dumps([value]),
                constraint_values=None,
                system_attrs="{}",
                judged_step=None,
                origin="suggested",
                repeats=None,
                verdict="continue",
            )
        )

    for number, (params, value) in enumerate(history(finished)):
        finish(number, dict(zip(NAMES, params, strict=True)), value)
    numbers = iter(range(finished, 10**9))

    def suggest() -> tuple[float, list[float]]:
        number = next(numbers)
        began = time.process_time()
        suggestion = proposer.propose(number)
        seconds = time.process_time() - began
        assert suggestion is not None
        known.commit()
        params = [float(suggestion.params[name]) for name in NAMES]
        finish(number, suggestion.params, objective(params))
        return seconds, params

    return suggest


def optuna_side(finished: int) -> Suggest:
    distribution = optuna.distributions.FloatDistribution(LOW, HIGH, log=True)
    study = optuna.create_study(direction="minimize", sampler=optuna.samplers.TPESampler(seed=1))
    study.add_trials(
        [
            optuna.create_trial(
                params=dict(zip(NAMES, params, strict=True)), distributions=dict.fromkeys(NAMES, distribution), value=value
            )
            for params, value in history(finished)
        ]
    )

    def suggest() -> tuple[float, list[float]]:
        began = time.process_time()
        trial = study.ask()
        params = [trial.suggest_float(name, LOW, HIGH, log=True) for name in NAMES]
        seconds = time.process_time() - began
        study.tell(trial, objective(params))
        return seconds, params

    return suggest


def main(arguments: list[str] | None = None) -> str:
    """Run the benchmark and return its table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--finished", type=int, nargs="+", default=[1_000, 10_000, 30_000])
    parser.add_argument("--asks", type=int, default=15)
    options = parser.parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    lines = [
        f"TPE, {len(NAMES)} parameters, in memory, {describe()}, CPU milliseconds, medians of {options.asks} suggestions in turn",
        "",
        "| finished trials | Tuner | Optuna | ratio |",
        "|---|---|---|---|",
    ]
    for finished in options.finished:
        sides = (tuner_side(finished), optuna_side(finished))
        for suggest in sides:
            suggest()  # the first builds what the others use
        taken: tuple[list[float], list[float]] = ([], [])
        for _ in range(options.asks):
            for times, suggest in zip(taken, sides, strict=True):
                times.append(1000 * suggest()[0])
        ours, theirs = (statistics.median(times) for times in taken)
        lines.append(f"| {finished} | {ours:.1f} | {theirs:.1f} | **{theirs / ours:.1f}x less** |")
        print(lines[-1], flush=True)
    return "\n".join(lines)


if __name__ == "__main__":
    print(main())
