"""What a training took of its device is told with the trial, whichever way it ends."""

from __future__ import annotations

import sys

import pytest
import torch

from tests.workers.training.handles import RecordingTrial
from workers.training import loop
from workers.training.failures import TrainingFailed
from workers.training.usage import Usage

CPU = torch.device("cpu")


def test_a_failed_trial_too_tells_what_it_took() -> None:
    trial = RecordingTrial({"optimizer.name": "momentum", "optimizer.lr": 1e30})
    with pytest.raises(TrainingFailed):
        loop.train({"dataset": {"name": "digits"}, "model": {"name": "mlp"}}, trial)
    assert trial.user_attrs["samples_per_second"] > 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process its highest resident memory")
def test_peak_memory_is_that_since_the_training_began() -> None:
    megabyte = 2**20
    first = Usage(CPU)
    before = first.read()["peak_memory"]
    block = b"x" * (200 * megabyte)
    assert first.read()["peak_memory"] > before + 150 * megabyte
    del block
    second = Usage(CPU).read()
    assert second["peak_memory"] < before + 150 * megabyte
    assert second["peak_memory_of"] == "process"
