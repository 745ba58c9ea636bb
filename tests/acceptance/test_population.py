"""A population over real processes, killed now and then: nothing is lost or trained twice, and children are what they say they are."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import Machine, wait_for
from tests.workers.training.handles import RecordingTrial
from tuner.client import Client
from tuner.wire import StudyState, Trial, TrialState
from workers.training import loop

EPOCHS, INTERVAL, SIZE = 12, 2, 6
TRAINER: dict[str, Any] = {
    "dataset": {"name": "digits"},
    "model": {"name": "mlp", "hidden": [64], "dropout": 0.1},
    "optimizer": {"name": "momentum"},
    "schedule": {"name": "exponential", "gamma": 0.9},
    "epochs": EPOCHS,
    "batch_size": 8,
    "checkpoint_every": 1,
}
STUDY = {
    "name": "population",
    "objectives": [{"name": "val_accuracy", "direction": "maximize"}],
    "space": {
        "optimizer.lr": {"type": "float", "low": 1e-4, "high": 0.1, "log": True},
        "optimizer.momentum": {"type": "float", "low": 0.1, "high": 0.95},
        "batch_size": {"type": "categorical", "choices": [8, 16, 32]},
        "model.hidden": {"type": "categorical", "choices": [32, 64]},
    },
    "sampler": {"name": "auto", "seed": 3},
    "pruner": {"name": "population", "size": SIZE, "interval": INTERVAL},
    "trial": {"executor": "trainer", "trainer": TRAINER, "checkpoints": {"keep": 1000}},
    "limits": {"max_trials": 100, "max_attempts": 20},
}


def children(client: Client) -> list[Trial]:
    return [trial for trial in client.list_trials("population").items if trial.origin == "population"]


@pytest.mark.slow
def test_workers_and_search_are_killed_between_a_decision_and_the_childs_start(
    machine: Machine, client: Client, tmp_path: Path
) -> None:
    machine.start("server")
    machine.start("search")
    workers = ("worker-one", "worker-two")
    for name in workers:
        machine.start(name, "--gpus", "none", "--slots", "1", "--name", name)
    study = client.create_study(STUDY)
    for count, victims in ((1, workers), (2, ("search",)), (3, ("worker-two", "search"))):
        wait_for(lambda count=count: len(children(client)) >= count, 120, f"{count} children")  # type: ignore[misc]
        for victim in victims:
            machine.kill(victim)
        for victim in victims:
            machine.start(victim, *(() if victim == "search" else ("--gpus", "none", "--slots", "1", "--name", victim)))
    ended = study.wait(timeout=240)
    assert (ended.state, ended.reason) == (StudyState.COMPLETE, "population_trained")
    trials = {trial.number: trial for trial in study.trials()}
    born = [trial for trial in trials.values() if trial.origin == "population"]
    assert sorted(trials) == list(range(SIZE + len(born)))
    assert [trial.state for trial in trials.values()].count(TrialState.COMPLETE) == SIZE
    assert [trial.state for trial in trials.values()].count(TrialState.PRUNED) == len(born)
    for trial in trials.values():
        first = client.list_attempts(trial.id)[0].resumed_from if trial.parent is not None else None
        reports = client.list_reports(trial.id)
        steps = [report.step for report in reports]
        begin = 0 if first is None else first + 1
        assert begin % INTERVAL == 0
        assert steps == list(range(begin, begin + len(steps)))
        assert steps[-1] + 1 == (EPOCHS if trial.state == TrialState.COMPLETE else steps[-1] // INTERVAL * INTERVAL + INTERVAL)
    for child in born:
        _check_child(client, child, trials[child.parent or 0], tmp_path)


def _check_child(client: Client, child: Trial, parent: Trial, folder: Path) -> None:
    """Its first interval, trained here from the parent's checkpoint with the child's parameters, gives its very reports."""
    assert parent.number == child.parent
    assert child.params["model.hidden"] == parent.params["model.hidden"]
    assert child.params != parent.params
    first = client.list_attempts(child.id)[0].resumed_from
    assert first is not None
    packed, unpacked = folder / f"{child.number}.tar", folder / str(child.number)
    with packed.open("w+b") as target:
        client.download_checkpoint(f"/v1/trials/{parent.id}/checkpoints/{first}", target)
    with tarfile.open(packed) as archive:
        archive.extractall(unpacked, filter="data")
    reports = {report.step: report.values for report in client.list_reports(child.id)}
    record = client.list_attempts(child.id)[-1].record
    assert record is not None
    trial = RecordingTrial(
        child.params, seed=record["seed"], resume=unpacked, inherits=True, verdicts={first + INTERVAL: "prune"}
    )
    loop.train(TRAINER, trial)
    assert trial.reports
    for step, values in trial.reports:
        assert {name: reports[step][name] for name in values} == values
    lr = float(str(child.params["optimizer.lr"])) * 0.9 ** (first + 1)
    assert reports[first + 1]["lr"] == pytest.approx(lr)
