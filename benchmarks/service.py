"""Trial cycles through the service against Optuna's RDBStorage: ask + 5 reports + tell, durable on both sides, the same PostgreSQL.

One cycle is what a worker with a tiny objective does. Both sides sample at random, so that the figures are those of the storage and
the service and not of a sampler; suggestions are `benchmarks.suggest`. N client processes run for some seconds, the sides in turn, and
the medians of the repetitions are compared. CPU is that of everything: clients, server, search, PostgreSQL.

    python -m benchmarks.service [--clients 4 16] [--seconds 8] [--repetitions 3]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.machine import Service, describe, running_service

PARAMETERS = ("a", "b", "c", "d")
REPORTS = 5


@dataclass(frozen=True)
class Measured:
    """Cycles a second of all clients together, and CPU milliseconds of everything for one cycle."""

    rate: float
    cpu: float


def run_tuner(service: Service, study: str, start: Any, seconds: float, results: Any) -> None:
    """A client of the service, by its SDK."""
    from tuner.client import Client

    with Client(service.server, service.key) as client:
        handle = client.study(study)
        warm = client.ask(handle)
        assert warm is not None
        warm.tell({"score": 0.0})
        start.wait()
        cpu, end, cycles = time.process_time(), time.monotonic() + seconds, 0
        for trial in client.asks(handle):
            value = sum(float(trial.params[name]) for name in PARAMETERS)  # type: ignore[arg-type]
            for step in range(REPORTS):
                trial.report(step, {"score": value * step})
            cycles += 1
            if time.monotonic() >= end:
                trial.takes_next = False
            trial.tell({"score": value})
            if time.monotonic() >= end:
                break
        results.put((cycles, time.process_time() - cpu))


def run_optuna(service: Service, study_name: str, start: Any, seconds: float, results: Any) -> None:
    """A worker as Optuna documents it: the storage in the database, ask, report, tell."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    study = optuna.load_study(study_name=study_name, storage=service.optuna_url, sampler=optuna.samplers.RandomSampler())

    def cycle() -> None:
        trial = study.ask()
        value = sum(trial.suggest_float(name, 0.0, 1.0) for name in PARAMETERS)
        for step in range(REPORTS):
            trial.report(value * step, step)
        study.tell(trial, value)

    cycle()
    start.wait()
    cpu, end, cycles = time.process_time(), time.monotonic() + seconds, 0
    while time.monotonic() < end:
        cycle()
        cycles += 1
    results.put((cycles, time.process_time() - cpu))


def measure(service: Service, client: Callable[..., None], clients: int, seconds: float, tag: str) -> Measured:
    """Run `clients` processes for `seconds` on a new study."""
    name = f"bench-{client.__name__}-{tag}"
    if client is run_tuner:
        from tuner.client import Client

        with Client(service.server, service.key) as sdk:
            sdk.create_study(
                {
                    "name": name,
                    "objectives": [{"name": "score", "direction": "maximize"}],
                    "space": {parameter: {"type": "float", "low": 0.0, "high": 1.0} for parameter in PARAMETERS},
                    "sampler": {"name": "random", "seed": 1},
                    "pruner": {"name": "none"},
                    "trial": {"executor": "external"},
                    "limits": {"max_trials": 1_000_000},
                }
            )
    else:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        optuna.create_study(study_name=name, storage=service.optuna_url, direction="maximize")
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(clients + 1), context.Queue()
    processes = [
        context.Process(target=client, args=(_picklable(service), name, start, seconds, results)) for _ in range(clients)
    ]
    for process in processes:
        process.start()
    start.wait(120)
    before, began = service.cpu_seconds(), time.monotonic()
    answers = [results.get(timeout=seconds + 120) for _ in processes]
    wall = time.monotonic() - began
    after = service.cpu_seconds()
    for process in processes:
        process.join(30)
    cycles = sum(count for count, _ in answers)
    cpu = sum(used for _, used in answers) + sum(after[part] - before[part] for part in after)
    parts = {part: round(1000 * (after[part] - before[part]) / cycles, 2) for part in after}
    print(
        json.dumps(
            {
                "side": client.__name__,
                "clients": clients,
                "cycles_per_s": round(cycles / wall, 1),
                "cpu_ms_per_cycle": {**parts, "clients": round(1000 * sum(used for _, used in answers) / cycles, 2)},
            }
        ),
        flush=True,
    )
    return Measured(rate=cycles / wall, cpu=1000 * cpu / cycles)


def _picklable(service: Service) -> Service:
    """What a client process needs of the service, without the handles of its processes."""
    return Service(service.folder, service.server, service.key, [], service.database_url, service.optuna_url, None)  # type: ignore[arg-type]


def main(arguments: list[str] | None = None) -> str:
    """Run the benchmark and return its table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, nargs="+", default=[4, 16])
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--repetitions", type=int, default=3)
    options = parser.parse_args(arguments)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    lines = [
        f"Ask + {REPORTS} reports + tell, {describe()}, medians of {options.repetitions} x {options.seconds:g} s, interleaved",
        "",
        "| clients | Tuner cycles/s | Optuna RDBStorage cycles/s | ratio | Tuner CPU ms/cycle | Optuna CPU ms/cycle | ratio |",
        "|---|---|---|---|---|---|---|",
    ]
    with running_service() as service:
        for clients in options.clients:
            sides: dict[Callable[..., None], list[Measured]] = {run_tuner: [], run_optuna: []}
            for repetition in range(options.repetitions):
                for client, measured in sides.items():
                    measured.append(measure(service, client, clients, options.seconds, f"{clients}-{repetition}"))
            ours, theirs = (
                Measured(statistics.median(m.rate for m in measured), statistics.median(m.cpu for m in measured))
                for measured in sides.values()
            )
            lines.append(
                f"| {clients} | {ours.rate:.1f} | {theirs.rate:.1f} | **{ours.rate / theirs.rate:.1f}x** "
                f"| {ours.cpu:.1f} | {theirs.cpu:.1f} | **{theirs.cpu / ours.cpu:.1f}x less** |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    print(main())
