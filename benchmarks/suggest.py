"""What a suggestion costs as a study grows: TPE over 8 parameters, through the service and with Optuna on its RDBStorage.

Both sides get the same finished trials; then one worker asks and tells in turn. The time of an ask is the wall time until the parameters
are known. "First ask" is that of a fresh worker process: making a client or loading the study, then asking.

    python -m benchmarks.suggest [--finished 100 1000 10000 30000] [--asks 20]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import statistics
import time
import warnings
from dataclasses import dataclass

import psycopg

from benchmarks.machine import Service, describe, running_service

NUM_PARAMETERS = 8
LOW, HIGH = 1e-5, 1.0
NAMES = [f"p{index}" for index in range(NUM_PARAMETERS)]


@dataclass(frozen=True)
class Measured:
    """Milliseconds of a fresh worker's first ask, and the median of those after it."""

    first: float
    later: float


def history(count: int) -> list[tuple[list[float], float]]:
    """Parameters and value of `count` trials: log-uniform, with an optimum inside."""
    rng = random.Random(count)
    made = []
    for _ in range(count):
        params = [LOW * (HIGH / LOW) ** rng.random() for _ in NAMES]
        made.append((params, objective(params)))
    return made


def objective(params: list[float]) -> float:
    return sum((math.log10(value) + 2.0 + 0.1 * index) ** 2 for index, value in enumerate(params))


def measure_tuner(service: Service, finished: int, asks: int) -> Measured:
    from tuner.client import Client

    name = f"suggest-{finished}"
    with Client(service.server, service.key) as client:
        study = client.create_study(
            {
                "name": name,
                "objectives": [{"name": "loss", "direction": "minimize"}],
                "space": {parameter: {"type": "float", "low": LOW, "high": HIGH, "log": True} for parameter in NAMES},
                "sampler": {"name": "tpe", "seed": 1},
                "pruner": {"name": "none"},
                "trial": {"executor": "external"},
                "limits": {"max_trials": 1_000_000},
            }
        )
        distribution = {"name": "FloatDistribution", "attributes": {"step": None, "low": LOW, "high": HIGH, "log": True}}
        distributions = json.dumps(dict.fromkeys(NAMES, distribution))
        rows = [
            (study.id, number, json.dumps(dict(zip(NAMES, params, strict=True))), distributions, json.dumps([value]), value)
            for number, (params, value) in enumerate(history(finished))
        ]
        with psycopg.connect(service.database_url.replace("+psycopg", "")) as connection, connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO trials (project, study_id, number, state, origin, params, distributions, objective_values, value,"
                " started_at, finished_at) VALUES ('default', %s, %s, 'COMPLETE', 'added', %s, %s, %s, %s, now(), now())",
                rows,
            )
            cursor.execute("UPDATE studies SET next_number = %s WHERE id = %s", (finished, study.id))
        # The search reads the history once, as it does at its own start; a worker that comes later waits for none of it.
        client.ask(study).tell(5.0)
    began = time.perf_counter()
    with Client(service.server, service.key) as client:
        trial = client.ask(name)
        first = time.perf_counter() - began
        later = []
        for _ in range(asks):
            trial.tell({"loss": objective([float(trial.params[key]) for key in NAMES])})  # type: ignore[arg-type]
            began = time.perf_counter()
            trial = client.ask(name)
            later.append(time.perf_counter() - began)
        trial.tell({"loss": 5.0})
    return Measured(1000 * first, 1000 * statistics.median(later))


def measure_optuna(service: Service, finished: int, asks: int) -> Measured:
    import optuna
    from optuna.storages._rdb import models
    from sqlalchemy import create_engine, insert

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    name = f"suggest-{finished}"
    study = optuna.create_study(study_name=name, storage=service.optuna_url, direction="minimize")
    distribution = optuna.distributions.FloatDistribution(LOW, HIGH, log=True)
    text = optuna.distributions.distribution_to_json(distribution)
    engine = create_engine(service.optuna_url)
    # Optuna's own way in, add_trials, takes minutes for 10,000 trials; the rows are the same.
    with engine.begin() as connection:
        made = history(finished)
        ids = [
            connection.execute(
                insert(models.TrialModel)
                .values(study_id=study._study_id, number=number, state=optuna.trial.TrialState.COMPLETE)
                .returning(models.TrialModel.trial_id)
            ).scalar_one()
            for number in range(finished)
        ]
        connection.execute(
            insert(models.TrialValueModel),
            [
                {"trial_id": key, "objective": 0, "value": value, "value_type": models.TrialValueModel.TrialValueType.FINITE}
                for key, (_, value) in zip(ids, made, strict=True)
            ],
        )
        connection.execute(
            insert(models.TrialParamModel),
            [
                {
                    "trial_id": key,
                    "param_name": parameter,
                    "param_value": distribution.to_internal_repr(value),
                    "distribution_json": text,
                }
                for key, (params, _) in zip(ids, made, strict=True)
                for parameter, value in zip(NAMES, params, strict=True)
            ],
        )
    engine.dispose()

    def ask(study: optuna.Study) -> optuna.Trial:
        trial = study.ask()
        for parameter in NAMES:
            trial.suggest_float(parameter, LOW, HIGH, log=True)
        return trial

    began = time.perf_counter()
    study = optuna.load_study(study_name=name, storage=service.optuna_url, sampler=optuna.samplers.TPESampler(seed=1))
    trial = ask(study)
    first = time.perf_counter() - began
    later = []
    for _ in range(asks):
        study.tell(trial, objective(list(trial.params.values())))
        began = time.perf_counter()
        trial = ask(study)
        later.append(time.perf_counter() - began)
    return Measured(1000 * first, 1000 * statistics.median(later))


def main(arguments: list[str] | None = None) -> str:
    """Run the benchmark and return its table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--finished", type=int, nargs="+", default=[100, 1_000, 10_000, 30_000])
    parser.add_argument("--asks", type=int, default=20)
    options = parser.parse_args(arguments)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    lines = [
        f"TPE, {NUM_PARAMETERS} parameters, {describe()}, wall milliseconds, medians of {options.asks} asks in turn",
        "",
        "| finished trials | Tuner ask | Optuna ask | ratio | Tuner first ask | Optuna first ask | ratio |",
        "|---|---|---|---|---|---|---|",
    ]
    with running_service() as service:
        for finished in options.finished:
            ours, theirs = (measure(service, finished, options.asks) for measure in (measure_tuner, measure_optuna))
            lines.append(
                f"| {finished} | {ours.later:.1f} | {theirs.later:.1f} | **{theirs.later / ours.later:.1f}x** "
                f"| {ours.first:.1f} | {theirs.first:.1f} | **{theirs.first / ours.first:.0f}x** |"
            )
            print(lines[-1], flush=True)
    return "\n".join(lines)


if __name__ == "__main__":
    print(main())
