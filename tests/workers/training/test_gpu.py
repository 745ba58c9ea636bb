"""On a GPU: every optimizer and every model in every precision, as on the CPU; resuming, lack of memory, compiling."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.workers.training.handles import RecordingTrial
from tests.workers.training.test_loop import LRS
from tests.workers.training.test_models import LEARNS
from workers.training import loop, models, optimizers
from workers.training.failures import TrainingFailed, named
from workers.training.precision import mixed

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device, and torch sees none"),
]
GPU = "cuda:0"
DIGITS: dict[str, Any] = {"dataset": {"name": "digits"}, "model": {"name": "mlp", "hidden": [16]}, "epochs": 4}


def train(config: dict[str, Any], trial: RecordingTrial | None = None) -> tuple[dict[str, float], RecordingTrial]:
    trial = trial or RecordingTrial(device=GPU)
    return loop.train(config, trial), trial


@pytest.mark.parametrize("precision", ["float32", "bf16", "fp16"])
@pytest.mark.parametrize("name", optimizers.names())
def test_each_optimizer_learns(name: str, precision: str) -> None:
    if precision == "fp16" and optimizers.facts(name).closure != "none":
        pytest.skip("gradients taken from a closure cannot be scaled")
    params = {"optimizer.name": name} | ({"optimizer.lr": LRS[name]} if name in LRS else {})
    _, trial = train(DIGITS | {"precision": precision}, RecordingTrial(params, device=GPU))
    losses = [values["train_loss"] for _, values in trial.reports]
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16", "fp16"])
@pytest.mark.parametrize(("model", "dataset", "more"), LEARNS, ids=lambda part: part.get("name", ""))
def test_each_model_trains_as_on_the_cpu(
    model: dict[str, Any], dataset: dict[str, Any], more: dict[str, Any], precision: str
) -> None:
    """One epoch of small steps without dropout, whose masks differ from device to device."""
    still = {"dropout": 0.0} if "dropout" in model else {}
    config = {"dataset": dataset, "model": model | still, "optimizer": {"name": "sgd", "lr": 0.01}} | more | {"epochs": 1}
    on_cpu, _ = train(config, RecordingTrial())
    on_gpu, _ = train(config | {"precision": precision}, RecordingTrial(device=GPU))
    for name in ("train_loss", "val_loss"):
        assert on_gpu[name] == pytest.approx(on_cpu[name], rel=0.01 if precision == "float32" else 0.1)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("depth", [11, 13, 16, 19])
def test_vgg_takes_a_step(depth: int, precision: str) -> None:
    """No bundled data set has images large enough for it."""
    model = models.build("vgg", (3, 32, 32), 2, depth=depth, width=0.1).to(GPU)
    inputs, classes = torch.randn(8, 3, 32, 32, device=GPU), torch.arange(8, device=GPU) % 2
    with mixed(precision, torch.device(GPU)):
        loss = nn.functional.cross_entropy(model(inputs), classes)
    loss.backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in model.parameters())


@pytest.mark.parametrize("optimizer", ["newton_cg", "adahessian", "sophia"])
@pytest.mark.parametrize("model", [{"name": "lstm", "hidden": 6}, {"name": "vit", "patch": 4, "dim": 8, "depth": 1, "heads": 2}])
def test_models_can_be_differentiated_twice(model: dict[str, Any], optimizer: str) -> None:
    config = DIGITS | {"model": model, "optimizer": {"name": optimizer}, "epochs": 2, "batch_size": 256}
    _, trial = train(config)
    assert trial.reports[1][1]["train_loss"] < trial.reports[0][1]["train_loss"]


RESUMED = DIGITS | {
    "model": {"name": "mlp", "hidden": [10], "dropout": 0.2, "norm": "batch"},
    "augmentation": {"name": "noise"},
    "schedule": {"name": "cosine"},
    "checkpoint_every": 4,
    "deterministic": True,
}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"accumulate": 3, "ema": 0.9},
        {"precision": "bf16"},
        {"precision": "fp16", "ema": 0.9},
        {"optimizer": {"name": "lbfgs"}},
    ],
    ids=str,
)
def test_resumed_equals_uninterrupted(fields: dict[str, Any], tmp_path: Path) -> None:
    """Within rounding: the sums of a GPU may depend on what else has run in the process."""
    config = RESUMED | fields
    _, whole = train(config, RecordingTrial(device=GPU))
    _, first = train(config, RecordingTrial(device=GPU, folder=tmp_path, verdicts={1: "pause"}))
    torch.manual_seed(999)
    _, second = train(config, RecordingTrial(device=GPU, resume=tmp_path))
    assert [step for step, _ in first.reports + second.reports] == [step for step, _ in whole.reports]
    for (_, found), (_, wanted) in zip(first.reports + second.reports, whole.reports, strict=True):
        assert found == pytest.approx(wanted, rel=1e-4)


def test_a_trial_moves_from_gpu_to_cpu(tmp_path: Path) -> None:
    config = DIGITS | {"optimizer": {"name": "adam"}, "schedule": {"name": "cosine"}}
    _, whole = train(config, RecordingTrial())
    train(config, RecordingTrial(device=GPU, folder=tmp_path, verdicts={1: "pause"}))
    _, rest = train(config, RecordingTrial(resume=tmp_path))
    assert rest.reports[-1][1]["val_loss"] == pytest.approx(whole.reports[-1][1]["val_loss"], rel=1e-3)


@pytest.mark.parametrize(("model", "dataset", "more"), LEARNS, ids=lambda part: part.get("name", ""))
def test_asked_to_repeat_a_model_does_or_says_what_cannot(
    model: dict[str, Any], dataset: dict[str, Any], more: dict[str, Any]
) -> None:
    config = {"dataset": dataset, "model": model, "optimizer": {"lr": 0.01}} | more | {"epochs": 1, "deterministic": True}
    one, again = (outcome(config) for _ in range(2))
    assert one == again
    assert not isinstance(one, str) or "that repeats bit for bit; set deterministic to false" in one


def outcome(config: dict[str, Any]) -> list[tuple[int, dict[str, float]]] | str:
    """What was reported, or why the trial has failed."""
    trial = RecordingTrial(device=GPU)
    try:
        loop.train(config, trial)
    except TrainingFailed as failed:
        return str(failed)
    return trial.reports


@pytest.fixture
def little_memory() -> Iterator[None]:
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e-4, GPU)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0, GPU)


def test_lack_of_memory_is_named_and_the_process_goes_on(little_memory: None) -> None:
    large = DIGITS | {"model": {"name": "mlp", "hidden": [4096], "depth": 3}, "epochs": 1}
    with pytest.raises(TrainingFailed, match="the GPU's memory was not enough") as caught:
        train(large)
    assert caught.value.reason == "oom_cuda"
    torch.cuda.set_per_process_memory_fraction(1.0, GPU)
    _, trial = train(large)
    assert trial.user_attrs["peak_memory"] > 2 * 4096 * 4096 * 4
    assert trial.user_attrs["peak_memory_of"] == "gpu"


def test_more_than_the_device_has_is_named() -> None:
    with pytest.raises(TrainingFailed, match="the GPU's memory was not enough") as caught, named():
        torch.empty(2**46, dtype=torch.uint8, device=GPU)
    assert caught.value.reason == "oom_cuda"


def test_peak_memory_is_that_of_one_trial() -> None:
    wide, narrow = ({"model": {"name": "mlp", "hidden": [width], "depth": 2}, "epochs": 1} for width in (2048, 8))
    _, large = train(DIGITS | wide)
    _, small = train(DIGITS | narrow)
    assert large.user_attrs["peak_memory"] > small.user_attrs["peak_memory"] + 4 * 2048 * 2048


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(
    importlib.util.find_spec("triton") is None or (shutil.which("gcc") or shutil.which("cc")) is None,
    reason="torch.compile needs triton and a C compiler for a GPU",
)
def test_a_compiled_model_trains_as_a_plain_one() -> None:
    config = DIGITS | {"optimizer": {"name": "sgd"}, "epochs": 2}
    plain, _ = train(config)
    compiled, _ = train(config | {"compile": True})
    assert compiled["val_loss"] == pytest.approx(plain["val_loss"], rel=1e-3)
