"""kill -9 of every part in the middle of the work: nothing acknowledged is lost, nothing is done twice, the study ends as it would have."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.acceptance.conftest import TTL, Machine, wait_for
from tuner.client import Client
from tuner.errors import TunerError
from tuner.wire import StudyState, TrialState

SPACE = {
    "x": {"type": "float", "low": 0.0, "high": 1.0},
    "lr": {"type": "float", "low": 1e-5, "high": 1.0, "log": True},
    "kind": {"type": "categorical", "choices": ["a", "b", "c"]},
    "depth": {"type": "int", "low": 1, "high": 4, "when": {"kind": ["a", "b"]}},
}


def spec(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "objectives": [{"name": "score", "direction": "maximize"}],
        "space": SPACE,
        "sampler": {"name": "tpe", "seed": 5},
        "pruner": {"name": "none"},
        "trial": {"executor": "external"},
        "limits": {"max_trials": 100},
        **changes,
    }


def score(params: dict[str, Any]) -> float:
    return float(params["x"]) - abs(float(params["lr"]) - 0.1) + 0.1 * float(params.get("depth", 0))


def test_32_clients_finish_exactly_100_trials(machine: Machine, client: Client) -> None:
    machine.start("server")
    machine.start("search")
    study = client.create_study(spec("exact"))
    told: list[int] = []

    def work(_: int) -> None:
        with Client(machine.server, machine.key) as own:
            for trial in own.asks(own.study("exact")):
                trial.report(0, {"score": score(trial.params)})
                trial.tell({"score": score(trial.params)})
                told.append(trial.number)

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(work, range(32)))
    assert sorted(told) == list(range(100))
    trials = list(study.trials())
    assert [trial.number for trial in trials] == list(range(100))
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    assert {trial.attempt for trial in trials} == {1}
    assert study.wait(timeout=30).state == StudyState.COMPLETE


@pytest.mark.slow
def test_killed_server_and_search_lose_nothing(machine: Machine, client: Client) -> None:
    """Eight clients work while the server and the search are killed five times each."""
    machine.start("server")
    machine.start("search")
    client.create_study(spec("killed", limits={"max_trials": 120}))
    acknowledged: dict[int, float] = {}
    over = threading.Event()

    def work(_: int) -> None:
        with Client(machine.server, machine.key) as own:
            while not over.is_set():
                try:
                    trial = own.ask("killed")
                    if trial is None:
                        continue
                    trial.report(0, {"score": 0.5})
                    acknowledged[trial.number] = (trial.tell({"score": score(trial.params)}).values or {})["score"]
                except TunerError:  # a lease lost to a long outage, or the end of the study
                    if machine.is_ready() and own.get_study("killed").state != StudyState.RUNNING:
                        return

    with ThreadPoolExecutor(8) as pool:
        workers = [pool.submit(work, index) for index in range(8)]
        try:
            for round_ in range(5):
                reached = 15 * (round_ + 1)
                wait_for(lambda reached=reached: len(acknowledged) >= reached, 90, f"{reached} trials")
                machine.kill("server")
                machine.kill("search")
                machine.start("search")
                machine.start("server")
            ended = client.study("killed").wait(timeout=120)
        finally:
            over.set()
        for worker in workers:
            worker.result()
    trials = {trial.number: trial for trial in client.study("killed").trials()}
    assert ended.state == StudyState.COMPLETE
    assert sorted(trials) == list(range(120))
    assert all(trial.state == TrialState.COMPLETE for trial in trials.values())
    assert {number: (trials[number].values or {})["score"] for number in acknowledged} == acknowledged


@pytest.mark.parametrize("changes", [{}, pytest.param({"repeat": {"max": 4}}, marks=pytest.mark.slow)], ids=["plain", "repeat"])
def test_a_killed_search_changes_nothing(machine: Machine, client: Client, changes: dict[str, Any]) -> None:
    """One worker after the other: the same trials with a search that is killed now and then as with one that is not."""
    machine.start("server")
    machine.start("search")
    told: dict[str, int] = {"undisturbed": 0, "disturbed": 0}
    for name in told:
        client.create_study(spec(name, limits={"max_trials": 40}, **changes))
        while told[name] < 40:
            if name == "disturbed" and told[name] in (7, 15, 23, 31):
                machine.kill("search")
                machine.start("search")
            trial = wait_for(lambda name=name: client.ask(name), 30, "a suggestion")
            told[name] += 1
            trial.tell({"score": score(trial.params) + random.Random(trial.number).gauss(0.0, 0.2)})
    disturbed, undisturbed = (
        [(trial.params, trial.parent) for trial in client.study(name).trials()] for name in ("disturbed", "undisturbed")
    )
    assert disturbed == undisturbed
    assert any(parent is not None for _, parent in disturbed) == bool(changes)


@pytest.mark.slow
def test_killed_worker_resumes_elsewhere(machine: Machine, client: Client) -> None:
    machine.start("server")
    machine.start("search")
    client.create_study(
        spec(
            "resume",
            objectives=[{"name": "val_accuracy", "direction": "maximize"}],
            space={"optimizer.lr": {"type": "float", "low": 1e-3, "high": 1e-2, "log": True}},
            trial={
                "executor": "trainer",
                "trainer": {
                    "dataset": {"name": "digits"},
                    "model": {"name": "mlp", "hidden": [256, 256]},
                    "optimizer": {"name": "adam"},
                    "epochs": 150,
                    "batch_size": 16,
                    "checkpoint_every": 1,
                },
            },
            limits={"max_trials": 1},
        )
    )
    machine.start("worker-one", "--gpus", "none", "--name", "one")
    running = wait_for(lambda: next(iter(client.list_trials("resume", state="RUNNING").items), None), 60, "a running trial")
    wait_for(lambda: len(client.list_checkpoints(running.id)) >= 2, 60, "two checkpoints")
    machine.start("worker-two", "--gpus", "none", "--name", "two")
    machine.kill("worker-one")
    taken_over = wait_for(
        lambda: next((a for a in client.list_attempts(running.id) if a.worker == "two"), None), TTL + 10, "the takeover"
    )
    assert taken_over.resumed_from is not None
    ended = client.study("resume").wait(timeout=240)
    trial = client.get_trial(running.id)
    assert (ended.state, trial.state, trial.attempt) == (StudyState.COMPLETE, TrialState.COMPLETE, 2)
    assert [report.step for report in client.list_reports(running.id)] == list(range(150))
    assert [attempt.reason for attempt in client.list_attempts(running.id)] == ["lost", "complete"]


@pytest.mark.slow
def test_drained_worker_hands_back_and_another_goes_on(machine: Machine, client: Client) -> None:
    machine.start("server")
    machine.start("search")
    client.create_study(
        spec(
            "drain",
            objectives=[{"name": "val_accuracy", "direction": "maximize"}],
            space={"optimizer.lr": {"type": "float", "low": 1e-3, "high": 1e-2, "log": True}},
            trial={
                "executor": "trainer",
                "trainer": {
                    "dataset": {"name": "digits"},
                    "model": {"name": "mlp"},
                    "optimizer": {"name": "adam"},
                    "epochs": 200,
                },
            },
            limits={"max_trials": 1, "max_attempts": 1},
        )
    )
    first = machine.start("worker-one", "--gpus", "none", "--name", "one")
    running = wait_for(lambda: next(iter(client.list_trials("drain", state="RUNNING").items), None), 60, "a running trial")
    wait_for(lambda: client.list_reports(running.id), 60, "a report")
    first.terminate()
    assert first.wait(40) == 0
    del machine.parts["worker-one"]
    handed_back = client.get_trial(running.id)
    assert (handed_back.state, handed_back.reason) == (TrialState.WAITING, "preempted")
    machine.start("worker-two", "--gpus", "none", "--name", "two")
    assert client.study("drain").wait(timeout=120).state == StudyState.COMPLETE
    attempts = client.list_attempts(running.id)
    assert [(attempt.reason, attempt.error) for attempt in attempts] == [("preempted", None), ("complete", None)]
    assert attempts[1].resumed_from is not None
