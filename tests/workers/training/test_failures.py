"""How trainings fail: with a reason and one sentence, whatever it was that went wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.workers.training.handles import RecordingTrial
from tuner import catalog
from workers.training import loop
from workers.training.failures import TrainingFailed, named

IRIS: dict[str, Any] = {
    "dataset": {"name": "iris"},
    "model": {"name": "mlp", "hidden": [4]},
    "epochs": 2,
    "batch_size": 64,
    "seed": 0,
}


@pytest.mark.parametrize("name", catalog.names("optimizers"))
def test_a_rate_that_diverges_ends_as_nan_or_bad_but_never_otherwise(name: str) -> None:
    reason = None
    try:
        loop.train(IRIS | {"optimizer": {"name": name, "lr": 1e30}}, RecordingTrial())
    except TrainingFailed as failed:
        reason = failed.reason
    assert reason in (None, "nan")


def failure(trainer: dict[str, Any]) -> TrainingFailed:
    with pytest.raises(TrainingFailed) as caught:
        loop.train(trainer, RecordingTrial())
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("name", [e.name for e in catalog.entries("datasets") if any(h.required for h in e.hyperparameters)])
def test_a_missing_file_is_named(name: str, tmp_path: Path) -> None:
    required = [h.name for h in catalog.get("datasets", name).hyperparameters if h.required]
    dataset = {"name": name, **{field: str(tmp_path / "nothing") for field in required}}
    model = next(
        e.name for e in catalog.entries("models") if {catalog.get("datasets", name).facts.sample or "image"} <= set(e.facts.takes)
    )
    failed = failure({"dataset": dataset, "model": {"name": model}})
    assert failed.reason == "exception"
    assert str(failed).startswith("dataset.")
    assert str(tmp_path / "nothing") in str(failed)


def test_what_nobody_foresaw_is_one_sentence_and_its_trace_is_in_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(TrainingFailed) as caught, named():
        torch.zeros(2, 3) @ torch.zeros(2, 3)
    assert caught.value.reason == "exception"
    assert str(caught.value).startswith("RuntimeError: mat1 and mat2 shapes cannot be multiplied")
    assert "\n" not in str(caught.value)
    assert "Traceback" in capsys.readouterr().err


def test_batch_norm_on_a_single_sample_is_named() -> None:
    """Batches of seven leave one of 120."""
    failed = failure(IRIS | {"model": {"name": "mlp", "norm": "batch"}, "batch_size": 7})
    assert failed.reason == "exception"
    assert str(failed).startswith("model.norm: batch norm cannot train on a single sample")


def test_errors_with_a_reason_of_their_own_keep_it() -> None:
    class Refused(Exception):
        reason = "refused"

    with pytest.raises(Refused), named():
        raise Refused("this worker may not")
    with pytest.raises(TrainingFailed, match=r"^UnicodeDecodeError: .*log"), named():
        b"\xff".decode()  # its `reason` is none of ours


def test_want_of_memory_has_its_reason() -> None:
    with pytest.raises(TrainingFailed, match="the host's memory was not enough") as caught, named():
        torch.empty(2**50)
    assert caught.value.reason == "oom_host"


@pytest.mark.parametrize(
    ("error", "reason", "message"),
    [
        (
            torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nMore"),
            "oom_cuda",
            "the GPU's memory was not",
        ),
        (
            RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be"),
            "oom_cuda",
            "not enough: CUDA error: out of mem",
        ),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), "oom_cuda", "the GPU's memory"),
        (MemoryError(), "oom_host", "the host's memory was not enough"),
    ],
    ids=str,
)
def test_what_libraries_say_of_memory(error: Exception, reason: str, message: str) -> None:
    with pytest.raises(TrainingFailed, match=message) as caught, named():
        raise error
    assert caught.value.reason == reason
    assert "\n" not in str(caught.value)


def test_what_cannot_be_repeated_is_named_where_that_was_asked_for() -> None:
    torch.use_deterministic_algorithms(True)
    with (
        pytest.raises(TrainingFailed, match="this device has no put_ that repeats bit for bit; set deterministic to false"),
        named(),
    ):
        torch.zeros(3).put_(torch.tensor([0]), torch.ones(1))


@pytest.mark.parametrize(("asked", "is_set"), [(None, True), (True, True), (False, False)])
def test_determinism_is_as_asked_and_on_a_cpu_the_default(asked: bool | None, is_set: bool) -> None:
    config = {"dataset": {"name": "iris"}, "model": {"name": "neuron"}, "epochs": 1, "deterministic": asked}
    loop.train(config, RecordingTrial())
    assert torch.are_deterministic_algorithms_enabled() == is_set
    torch.use_deterministic_algorithms(True)
