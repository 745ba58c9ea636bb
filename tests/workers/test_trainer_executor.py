"""The trainer executor: a real PyTorch training in a trial process, reported, checkpointed, paused, resumed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tests.workers.conftest import Heard
from workers.engines.local import LocalPlace

Run = Callable[..., Heard]

CONFIG: dict[str, Any] = {
    "executor": "trainer",
    "trainer": {
        "dataset": {"name": "iris"},
        "model": {"name": "mlp", "hidden": [8]},
        "optimizer": {"name": "adam", "lr": 1.0e-3},
        "epochs": 3,
        "batch_size": 32,
        "seed": 0,
    },
}


def test_a_training_runs_warm_and_resumes(run: Run, place: LocalPlace) -> None:
    place.warm()
    changes: dict[str, Any] = {"objectives": ["val_accuracy"], "params": {"optimizer.lr": 0.05}}
    heard = run(CONFIG, **changes)
    tell = heard.tell()
    assert tell.state == "COMPLETE", tell.error
    assert tell.values is not None
    assert list(tell.values) == ["val_accuracy"]
    assert [message["step"] for message in heard.of("report")] == [0, 1, 2]
    assert heard.of("report")[0]["values"]["lr"] == 0.05

    start = time.monotonic()
    assert run(CONFIG, **changes).tell().values == tell.values, "a seed repeats a training bit for bit"
    assert time.monotonic() - start < 2.0, "the second training finds everything warm"

    long = CONFIG | {"trainer": CONFIG["trainer"] | {"epochs": 100_000}}
    paused = run(long, **changes)
    paused.wait("report")
    place.send({"kind": "verdict", "lease": "lease-1", "verdict": "pause"})
    told = paused.tell()
    assert told.reason == "paused", told.error
    checkpoint = paused.of("checkpoint")[-1]
    resumed = run(long, resume_path=checkpoint["folder"], start_step=checkpoint["step"] + 1, **changes)
    resumed.wait("report")
    place.send({"kind": "verdict", "lease": "lease-1", "verdict": "prune"})
    assert resumed.tell().state == "PRUNED"
    assert resumed.of("report")[0]["step"] == checkpoint["step"] + 1


def test_a_training_goes_on_from_anothers_checkpoint_with_its_own_hyperparameters(run: Run) -> None:
    heard = run(CONFIG, params={"optimizer.lr": 0.05}, objectives=["val_accuracy"], pause_at=1)
    assert heard.tell().reason == "paused_at_rung"
    checkpoint = heard.of("checkpoint")[-1]
    assert checkpoint["step"] == 1
    changes = {"objectives": ["val_accuracy"], "resume_path": checkpoint["folder"], "start_step": 2}
    resume = {"step": 1, "checkpoint": "/v1/trials/1/checkpoints/1", "sha256": "0" * 64}
    for inherited, lr in ((True, 0.04), (False, 0.05)):  # one's own checkpoint says which lr it was
        child = run(CONFIG, params={"optimizer.lr": 0.04}, resume=resume | {"inherited": inherited}, **changes)
        assert child.tell().state == "COMPLETE"
        assert [(message["step"], message["values"]["lr"]) for message in child.of("report")] == [(2, lr)]


def test_a_wrong_parameter_says_which(run: Run) -> None:
    tell = run(CONFIG, objectives=["val_accuracy"], params={"optimizer.momntum": 0.5}).tell()
    assert (tell.state, tell.reason) == ("FAIL", "exception")
    assert "momntum" in (tell.error or "")
