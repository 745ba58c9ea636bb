"""Projects in the states that every view has to bear, made over HTTP as clients make them; each holds one study to look at, and workers.

Names are as long as the contract lets them be. What a state is about is in its function's docstring.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from tests.api.conftest import Server
from tests.api.dashboard.conftest import Bench
from tuner.wire import Scope

LONG = "a_name_without_any_blank_to_break_at."
USAGE = {
    "cpu": 0.5,
    "memory": 8_000_000_000,
    "gpus": [{"utilization": 0.75, "memory": 40_000_000_000, "memory_total": 80_000_000_000, "temperature": 91}],
}


def long(length: int, ending: str = "") -> str:
    """A name of that many characters, none of them a blank."""
    return (LONG * (length // len(LONG) + 1))[: length - len(ending)] + ending


@dataclass(frozen=True, kw_only=True)
class Seeded:
    """A project: an admin's `key` to it, its `study`, another like it, and a `trial` by number; None where the state has none."""

    key: str
    study: int | None
    beside: int | None
    trial: int | None


def none(bench: Bench) -> tuple[int | None, int | None]:
    """A project as it is at first: no study, no worker."""
    return None, None


def empty(bench: Bench) -> tuple[int | None, int | None]:
    """A study without a trial, that workers would run."""
    return bench.study("empty", trial={"executor": "command", "command": ["train"]}), None


def one(bench: Bench) -> tuple[int | None, int | None]:
    """One trial, complete, with reports."""
    study = bench.study("one", tags=["vision"], notes="a note")
    lease = bench.lease(study, worker="node-1")
    for step in range(5):
        bench.report(lease, step, 0.1 * step)
    bench.tell(lease, 0.5)
    bench.worker("node-1")
    return study, 0


def odd(bench: Bench) -> tuple[int | None, int | None]:
    """NaN and infinities as values and as reports, the largest and the smallest numbers, choices of several types."""
    study = bench.study(
        "odd",
        objectives=[{"name": "loss", "direction": "minimize"}],
        space={
            "x": {"type": "categorical", "choices": [None, True, 3, "three"]},
            "y": {"type": "float", "low": -1e300, "high": 1e300},
        },
    )
    for number, value in enumerate(["Infinity", -1e300, 1e-300, "-Infinity", 0.0, 1e300]):
        body = {
            "params": {"x": [None, True, 3, "three"][number % 4], "y": number * 1e299},
            "state": "COMPLETE",
            "values": {"loss": value},
        }
        bench.http.post(f"/v1/studies/{study}/trials", json=body).raise_for_status()
    for values in (["NaN"], [1.0, "NaN", "Infinity", 0.5, "-Infinity"]):
        bench.http.post(f"/v1/studies/{study}/trials", json={"params": {"x": 3, "y": 0.0}}).raise_for_status()
        lease = bench.ask(study, "node-1")
        reports = [
            {"step": step, "values": {"loss": value, "grad_norm": "Infinity", "lr": 0.0}} for step, value in enumerate(values)
        ]
        bench.http.post(f"/v1/leases/{lease['id']}/reports", json={"reports": reports}).raise_for_status()
        bench.http.post(
            f"/v1/leases/{lease['id']}/tell", json={"state": "COMPLETE", "values": {"loss": values[-1]}}
        ).raise_for_status()
    bench.worker("node-1", cpus=0.5, memory=1)
    return study, 7


def long_names(bench: Bench) -> tuple[int | None, int | None]:
    """Every name as long as it may be, in one word."""
    objective, metric, worker = long(128, "objective"), long(128, "metric"), long(200, "worker")
    space = {
        long(128, "rate"): {"type": "float", "low": 1e-5, "high": 1.0, "log": True},
        long(128, "kind"): {"type": "categorical", "choices": [long(200, "sgd"), long(200, "adam")]},
        long(128, "third"): {"type": "float", "low": 0.0, "high": 1.0, "when": {long(128, "kind"): [long(200, "sgd")]}},
    }
    study = bench.study(
        long(128, "study"),
        objectives=[{"name": objective, "direction": "maximize"}],
        space=space,
        tags=[long(200, "tag"), "b"],
        notes=long(2_000),
    )
    for number in range(12):
        kind = number % 2
        params = {long(128, "rate"): 10.0 ** -(number % 5), long(128, "kind"): long(200, ("sgd", "adam")[kind])}
        params |= {} if kind else {long(128, "third"): 0.123456789012}
        bench.http.post(f"/v1/studies/{study}/trials", json={"params": params}).raise_for_status()
        lease = bench.ask(study, worker)
        values = {objective: 0.123456789012 * number, metric: 1.0}
        bench.http.post(
            f"/v1/leases/{lease['id']}/reports", json={"reports": [{"step": 10**6, "values": values}]}
        ).raise_for_status()
        lines = [{"text": long(3_000, str(line))} for line in range(3)]
        bench.http.post(f"/v1/leases/{lease['id']}/logs", json={"lines": lines}).raise_for_status()
        if number == 11:
            told: dict[str, Any] = {"state": "FAIL", "reason": "exception", "error": long(2_000)}
        else:
            told = {"state": "COMPLETE", "values": values, "user_attrs": {long(100, "attribute"): long(300)}}
        bench.http.post(f"/v1/leases/{lease['id']}/tell", json=told).raise_for_status()
    trial = bench.http.get(f"/v1/studies/{study}/trials/11").json()["id"]
    bench.http.patch(f"/v1/trials/{trial}", json={"notes": f"# {long(200)}\n- {long(200)}"}).raise_for_status()
    bench.worker(worker, host=long(200, "host"), gpus=[long(200, "gpu")] * 2, version=long(50), usage=USAGE)
    bench.http.post("/v1/keys", json={"name": long(200, "key"), "scope": "worker", "project": "long_names"}).raise_for_status()
    return study, 11


def wide(bench: Bench) -> tuple[int | None, int | None]:
    """Sixty parameters; a fleet of twelve machines."""
    space = {
        f"layer_{number}.weight_decay": {"type": "float", "low": 1e-6, "high": 1.0, "log": True}
        if number % 3
        else {"type": "int", "low": 1, "high": 8}
        for number in range(60)
    }
    study = bench.study("sixty parameters", space=space)
    for trial in range(14):
        params = {name: 10.0 ** -(1 + (trial + at) % 5) if at % 3 else 1 + (trial * 7 + at) % 8 for at, name in enumerate(space)}
        body = {"params": params, "state": "COMPLETE", "values": {"accuracy": 0.5 + ((trial * 37) % 14) / 40}}
        bench.http.post(f"/v1/studies/{study}/trials", json=body).raise_for_status()
    for number in range(12):
        bench.worker(f"node-{number:02}", slots=8, gpus=["H100"] * 8, usage=USAGE)
    return study, 3


def conditional(bench: Bench) -> tuple[int | None, int | None]:
    """Parameters that are there only when another says so, three levels deep."""
    space = {
        "model": {"type": "categorical", "choices": ["mlp", "cnn"]},
        "depth": {"type": "int", "low": 1, "high": 4},
        "dropout": {"type": "float", "low": 0.0, "high": 0.6, "step": 0.1, "when": {"depth": {"gt": 2}}},
        "optimizer": {"type": "categorical", "choices": ["sgd", "adam"], "when": {"model": ["cnn"]}},
        "momentum": {"type": "float", "low": 0.0, "high": 0.99, "when": {"optimizer": ["sgd"]}},
    }
    study = bench.study("conditional", space=space)
    for number in range(16):
        params: dict[str, Any] = {"model": ("mlp", "cnn")[number % 2], "depth": 1 + number % 4}
        if params["depth"] > 2:
            params["dropout"] = round(0.1 * (number % 7), 1)
        if params["model"] == "cnn":
            params["optimizer"] = ("sgd", "adam")[number // 2 % 2]
            if params["optimizer"] == "sgd":
                params["momentum"] = 0.9
        body = {"params": params, "state": "COMPLETE", "values": {"accuracy": 0.4 + ((number * 5) % 16) / 40}}
        bench.http.post(f"/v1/studies/{study}/trials", json=body).raise_for_status()
    bench.worker("node-1")
    return study, 5


def several(bench: Bench) -> tuple[int | None, int | None]:
    """Three objectives, of both directions."""
    objectives = [
        {"name": "accuracy", "direction": "maximize"},
        {"name": "latency", "direction": "minimize"},
        {"name": "energy", "direction": "minimize"},
    ]
    study = bench.study("several objectives", objectives=objectives)
    for number in range(16):
        values = {"accuracy": 0.5 + number / 40, "latency": 10.0 + (number * 7) % 16, "energy": 3.0 + (number * 5) % 16}
        bench.add(study, values, number=number)
    bench.worker("node-1")
    return study, 4


def failed(bench: Bench) -> tuple[int | None, int | None]:
    """Nothing but failed trials, for several reasons; their worker has fallen silent."""
    study = bench.study("all failed", trial={"executor": "command", "command": ["train"]})
    for number, reason in enumerate(("exception", "nan", "oom_cuda", "timeout", "exception", "exception")):
        lease = bench.lease(study, number, worker="node-1")
        lines = [
            {"text": "Traceback (most recent call last):", "stream": "stderr"},
            {"text": '  File "train.py", line 12', "stream": "stderr"},
        ]
        bench.http.post(f"/v1/leases/{lease['id']}/logs", json={"lines": lines}).raise_for_status()
        bench.tell(lease, None, reason=reason, error=f"RuntimeError: {reason}\n" + "  at layer 3\n" * 20)
    bench.worker("node-1", gpus=["H100"])
    return study, 4


def running(bench: Bench) -> tuple[int | None, int | None]:
    """Trials that run, some that wait, none that has ended."""
    study = bench.study("running only", limits={"max_trials": 20, "timeout": 7200})
    for number in range(4):
        lease = bench.lease(study, number, worker=f"node-{number % 2}")
        for step in range(number * 4):
            bench.report(lease, step, 0.2 + 0.05 * step)
    for number in range(3):
        bench.http.post(f"/v1/studies/{study}/trials", json={"params": bench.params(number)}).raise_for_status()
    for name in ("node-0", "node-1"):
        bench.worker(name, slots=4, gpus=["H100", "A40"], usage=USAGE)
    return study, 2


STATES: dict[str, Callable[[Bench], tuple[int | None, int | None]]] = {
    state.__name__: state for state in (none, empty, one, odd, long_names, wide, conditional, several, failed, running)
}


def seed(server: Server, name: str) -> Seeded:
    """The state in a project of its own."""
    key = server.make_key(Scope.ADMIN, name)
    with server.http(key) as http:
        study, trial = STATES[name](Bench(http))
        return Seeded(key=key, study=study, beside=None if study is None else beside(http, study), trial=trial)


def beside(http: httpx.Client, study: int) -> int:
    """Another study of the same specification, with the first complete trials of that one: something to compare it with."""
    spec = http.get(f"/v1/studies/{study}").raise_for_status().json()["spec"]
    name = long(128, "beside") if len(spec["name"]) > 100 else "beside"
    made = int(http.post("/v1/studies", json={**spec, "name": name}).raise_for_status().json()["id"])
    for trial in http.get(f"/v1/studies/{study}/trials?state=COMPLETE&sort=number&limit=3").raise_for_status().json()["items"]:
        body = {"params": trial["params"], "state": "COMPLETE", "values": trial["values"]}
        http.post(f"/v1/studies/{made}/trials", json=body).raise_for_status()
    return made
