"""Studies as large and as odd as one likes, written straight into the tables: what the dashboard's tests and benchmark look at.

A study is described by a `Shape`; the same shape and seed make the same trials. Trials go in by COPY, reports by one statement, so that
100,000 trials take some ten seconds. Weakness: what only the service itself writes (attempts, logs, checkpoints) is not there.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import text

from tuner import studies
from tuner.db.postgres import Database
from tuner.search import distributions
from tuner.spec import StudySpec

LONG = "a_name_as_long_as_some_configuration_systems_make_them.".ljust(127, "x")
"""With one character more, the longest name that a parameter may have; choices may be longer."""

USUAL: dict[str, Any] = {
    "optimizer.name": {"type": "categorical", "choices": ["sgd", "adam", "adamw", "lion"]},
    "optimizer.lr": {"type": "float", "low": 1e-5, "high": 1.0, "log": True},
    "optimizer.momentum": {"type": "float", "low": 0.0, "high": 0.99, "when": {"optimizer.name": ["sgd"]}},
    "optimizer.beta2": {"type": "float", "low": 0.9, "high": 0.9999, "when": {"optimizer.name": ["adam", "adamw", "lion"]}},
    "batch_size": {"type": "int", "low": 16, "high": 512, "log": True},
    "layers": {"type": "int", "low": 1, "high": 8},
    "dropout": {"type": "float", "low": 0.0, "high": 0.6},
    "schedule": {"type": "categorical", "choices": ["cosine", "linear", "constant"]},
}
NUMEROUS: dict[str, Any] = USUAL | {LONG + "d": {"type": "float", "low": 0.0, "high": 1.0}}
MIXED = {"COMPLETE": 0.7, "PRUNED": 0.24, "FAIL": 0.05, "RUNNING": 0.005, "WAITING": 0.005}


@dataclass(frozen=True, kw_only=True)
class Shape:
    """`states` are shares of the trials; `steps` reports a trial; the first `num_long` trials have `long_steps` instead."""

    trials: int
    space: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: USUAL)
    objectives: Sequence[str] = ("val_loss",)
    states: Mapping[str, float] = field(default_factory=lambda: MIXED)
    steps: int = 5
    num_long: int = 0
    long_steps: int = 5_000
    odd: float = 0.0
    """Share of values, reports and attributes that are NaN or infinite."""
    infeasible: float = 0.0
    """Share of the trials with a value that break an outcome constraint; a tenth of the others nobody has judged."""


def _wide() -> dict[str, Any]:
    kinds: list[dict[str, Any]] = [
        {"type": "float", "low": 0.0, "high": 1.0},
        {"type": "int", "low": 0, "high": 1000},
        {"type": "categorical", "choices": ["a", "b", "c"]},
    ]
    return {f"group{index % 6}.parameter_{index}": kinds[index % 3] for index in range(60)}


def _nested() -> dict[str, Any]:
    """Each choice has parameters of its own, which the others lack."""
    space: dict[str, Any] = {"model": {"type": "categorical", "choices": [f"m{index}" for index in range(6)]}}
    for index in range(6):
        space |= {
            f"m{index}.kind": {"type": "categorical", "choices": ["x", "y"], "when": {"model": [f"m{index}"]}},
            f"m{index}.depth": {"type": "int", "low": 1, "high": 9, "when": {"model": [f"m{index}"], f"m{index}.kind": ["x"]}},
        }
    return space


SHAPES: dict[str, Shape] = {
    "empty": Shape(trials=0),
    "one": Shape(trials=1, states={"COMPLETE": 1.0}),
    "10k": Shape(trials=10_000, space=NUMEROUS, num_long=20, odd=0.01),
    "100k": Shape(trials=100_000, space=NUMEROUS, num_long=20, odd=0.01),
    "10k objectives": Shape(trials=10_000, space=NUMEROUS, objectives=("val_loss", "seconds"), odd=0.01),
    "100k objectives": Shape(trials=100_000, space=NUMEROUS, objectives=("val_loss", "seconds"), odd=0.01),
    "odd values": Shape(trials=300, odd=0.4),
    "long names": Shape(
        trials=60,
        space={
            LONG + "a": {"type": "float", "low": 0.0, "high": 1.0},
            LONG + "b": {"type": "categorical", "choices": [LONG.ljust(199, "y") + "1", LONG.ljust(199, "y") + "2"]},
            LONG + "c": {"type": "int", "low": 1, "high": 10**12, "log": True},
        },
        objectives=("o" * 128,),
    ),
    "60 parameters": Shape(trials=200, space=_wide()),
    "conditions": Shape(trials=300, space=_nested()),
    "outcome constraints": Shape(trials=300, infeasible=0.4),
    "objectives": Shape(trials=300, objectives=("val_loss", "seconds", "memory")),
    "all failed": Shape(trials=40, states={"FAIL": 1.0}),
    "running only": Shape(trials=12, states={"RUNNING": 1.0}),
}
"""The states in which every view of a study must hold."""


def make(database: Database, name: str, shape: Shape, *, project: str = "default", seed: int = 0) -> int:
    """Create a study of this shape and return its id."""
    spec = {
        "name": name,
        "objectives": [{"name": objective, "direction": "minimize"} for objective in shape.objectives],
        "space": shape.space,
        "sampler": {"name": "random", "seed": seed},
        "pruner": {"name": "none"},
        "trial": {"executor": "external"},
        "limits": {"max_trials": None},
    }
    parsed = StudySpec.parse(spec)
    known = {parameter: distributions.to_json(found) for parameter, found in distributions.of_space(parsed.space).items()}
    study, _ = studies.create(database, project, parsed)
    with database.begin() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        with driver.cursor() as cursor, cursor.copy(f"COPY trials ({', '.join(_COLUMNS)}) FROM STDIN") as copy:
            for row in _trials(shape, known, random.Random(seed)):
                copy.write_row((project, study.id, *row))
        numbers = {"study": study.id, "steps": shape.steps, "long": shape.num_long, "long_steps": shape.long_steps}
        connection.execute(_REPORTS, numbers | {"metric": shape.objectives[0], "odd": shape.odd})
        connection.execute(_NEXT_NUMBER, {"study": study.id, "count": shape.trials})
    with database.begin() as connection:
        connection.execute(text("ANALYZE trials, reports"))
    return study.id


_COLUMNS = (
    "project", "study_id", "number", "state", "reason", "error", "params", "distributions", "objective_values", "value", "user_attrs", "epoch", "worker",
    "gpu_seconds", "started_at", "finished_at", "violation",
)  # fmt: skip

_REPORTS = text(
    """
    INSERT INTO reports (trial_id, step, study_id, epoch, metrics, created_at)
    SELECT t.id, s.step, t.study_id, 1,
        CASE WHEN (s.step * 7 + t.number * 13) % 100 < 100 * :odd THEN jsonb_build_object(CAST(:metric AS text), 'NaN', 'lr', 0.1)
        ELSE jsonb_build_object(CAST(:metric AS text), 0.1 + (t.number % 97) / 300.0 + exp(-s.step / 3.0) + 0.02 * sin(s.step * t.number),
            'lr', 0.1 / (1 + s.step)) END,
        t.started_at + (s.step + 1) * interval '1 s'
    FROM trials t CROSS JOIN LATERAL generate_series(0, CASE WHEN t.number < :long THEN :long_steps ELSE :steps END - 1) s(step)
    WHERE t.study_id = :study AND t.state <> 'WAITING'
    """
)
_NEXT_NUMBER = text("UPDATE studies SET next_number = :count WHERE id = :study")
_START = 1_750_000_000


def _trials(shape: Shape, known: Mapping[str, Any], rng: random.Random) -> Iterator[tuple[Any, ...]]:
    states, shares = list(shape.states), list(shape.states.values())
    for number in range(shape.trials):
        state = rng.choices(states, shares)[0]
        params = _params(shape.space, rng)
        values = _values(shape, params, rng) if state in ("COMPLETE", "PRUNED") else None
        lasted = rng.lognormvariate(3.0, 1.0)
        started = None if state == "WAITING" else datetime.fromtimestamp(_START + 2 * number, UTC)
        violation = _violation(shape, rng) if values else None
        finished = None if state in ("WAITING", "RUNNING") else datetime.fromtimestamp(_START + 2 * number + lasted, UTC)
        attrs = {"params_m": round(rng.random() * 90, 3), "note": math.nan if rng.random() < shape.odd else f"n{number % 7}"}
        yield (
            number, state, "exception" if state == "FAIL" else None, "RuntimeError: of this trial\n" * 20 if state == "FAIL" else None,
            json.dumps(params), json.dumps({name: known[name] for name in params}), None if values is None else json.dumps(values), values[0] if values and state == "COMPLETE" and not (violation or 0) > 0 else None,
            json.dumps(attrs), 0 if state == "WAITING" else 1, None if state == "WAITING" else f"node-{number % 16}",
            lasted if finished else 0.0, started, finished, violation,
        )  # fmt: skip


def _params(space: Mapping[str, Mapping[str, Any]], rng: random.Random) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for name, body in space.items():
        if any(params.get(other) not in choices for other, choices in body.get("when", {}).items()):
            continue
        if body["type"] == "categorical":
            params[name] = rng.choice(body["choices"])
            continue
        low, high = body["low"], body["high"]
        value = low * (high / low) ** rng.random() if body.get("log") else low + (high - low) * rng.random()
        params[name] = round(value) if body["type"] == "int" else value
    return params


def _violation(shape: Shape, rng: random.Random) -> float | None:
    if not shape.infeasible or rng.random() < 0.1:
        return None
    return 1.5 if rng.random() < shape.infeasible else 0.0


def _values(shape: Shape, params: Mapping[str, Any], rng: random.Random) -> list[float]:
    """Better near the middle of the numeric parameters, with noise and now and then a value far off."""
    numbers = [math.sin(float(value)) for value in params.values() if isinstance(value, int | float)]
    centre = sum(numbers) / max(1, len(numbers))
    values = [abs(centre - 0.3) + rng.lognormvariate(-2.0, 0.7) + index * rng.random() for index in range(len(shape.objectives))]
    if rng.random() < shape.odd:
        values[0] = rng.choice([math.inf, -math.inf, 1e300, -1e300, 0.0])
    return values
