"""Promotion under kill -9: workers and search die between pauses and promotions, and no trial is lost or trained twice."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.acceptance.conftest import Machine, wait_for
from tuner.client import Client
from tuner.wire import StudyState, Trial, TrialState

EPOCHS, FIRST_RUNG = 18, 2
STUDY = {
    "name": "promoted",
    "objectives": [{"name": "val_accuracy", "direction": "maximize"}],
    "space": {"optimizer.lr": {"type": "float", "low": 1e-4, "high": 0.1, "log": True}},
    "sampler": {"name": "auto", "seed": 3},
    "trial": {
        "executor": "trainer",
        "trainer": {
            "dataset": {"name": "digits"},
            "model": {"name": "mlp", "hidden": [128]},
            "optimizer": {"name": "momentum"},
            "epochs": EPOCHS,
            "batch_size": 8,
        },
    },
    "limits": {"max_trials": 12, "max_attempts": 20},
}


@pytest.mark.slow
def test_workers_and_search_are_killed_between_pause_and_promotion(machine: Machine, client: Client) -> None:
    machine.start("server")
    machine.start("search")
    for name in ("worker-one", "worker-two"):
        machine.start(name, "--gpus", "none", "--slots", "1", "--name", name)
    study = client.create_study(STUDY)
    assert study.now.strategy is not None
    assert study.now.strategy.pruner["name"] == "promotion"

    def paused() -> list[Trial]:
        return [trial for trial in client.list_trials("promoted", state="WAITING").items if trial.reason == "paused_at_rung"]

    for count, victim in ((1, "worker-one"), (3, "search"), (4, "worker-two"), (5, "search")):
        wait_for(lambda count=count: len(paused()) >= count, 120, f"{count} paused trials")  # type: ignore[misc]
        machine.kill(victim)
        machine.start(victim, *(() if victim == "search" else ("--gpus", "none", "--slots", "1", "--name", victim)))
    ended = study.wait(timeout=240)
    assert (ended.state, ended.reason) == (StudyState.COMPLETE, "max_trials")
    trials = list(study.trials())
    assert [trial.number for trial in trials] == list(range(12))
    assert {trial.state for trial in trials} == {TrialState.COMPLETE, TrialState.PRUNED}
    for trial in trials:
        steps = [report.step for report in client.list_reports(trial.id)]
        assert steps == list(range(len(steps)))
        assert len(steps) >= FIRST_RUNG  # or a little past it: nobody waits for a search that is dead
        assert (len(steps) == EPOCHS) == (trial.state == TrialState.COMPLETE)
        attempts = client.list_attempts(trial.id)
        for before, after in pairwise(attempts):
            if before.reason == "paused_at_rung":  # from where it paused, not from before
                own = [report.step for report in client.list_reports(trial.id) if report.epoch <= before.epoch]
                assert after.resumed_from == max(own)
    assert any(len(client.list_attempts(trial.id)) > 1 for trial in trials)
