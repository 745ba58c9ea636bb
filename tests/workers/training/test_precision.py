"""Precisions compute as they say and train every model; the averaged weights are those of their formula and are what is evaluated."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.workers.training.handles import RecordingTrial
from tests.workers.training.test_loop import LRS
from tests.workers.training.test_models import LEARNS
from tuner import catalog
from workers.training import loop, metrics, optimizers
from workers.training.config import TrainerConfig
from workers.training.datasets import Part
from workers.training.failures import TrainingFailed
from workers.training.precision import COMPUTED, WEIGHTS
from workers.training.step import take_step

DIGITS: dict[str, Any] = {"dataset": {"name": "digits"}, "model": {"name": "mlp", "hidden": [16]}, "epochs": 3}
CPU = torch.device("cpu")
FP16_OPTIMIZERS = [name for name in optimizers.names() if optimizers.facts(name).closure == "none"]


def train(config: dict[str, Any], trial: RecordingTrial | None = None) -> tuple[dict[str, float], RecordingTrial]:
    trial = trial or RecordingTrial()
    return loop.train(config, trial), trial


@pytest.mark.parametrize("precision", WEIGHTS)
def test_precisions_compute_as_they_say_and_learn(precision: str) -> None:
    _, trial = train(DIGITS | {"precision": precision})
    assert trial.reports[-1][1]["train_loss"] < 0.7 * trial.reports[0][1]["train_loss"]
    run = loop.start(TrainerConfig.parse(DIGITS | {"precision": precision}, {}, 0), CPU)
    assert {p.dtype for p in run.model.parameters()} == {run.data.train.inputs.dtype} == {WEIGHTS[precision]}
    with run.mixed():
        outputs = run.model(run.data.train.inputs[:2])
    assert outputs.dtype == COMPUTED.get(precision, WEIGHTS[precision])
    assert run.loss(outputs, run.data.train.targets[:2]).dtype == WEIGHTS[precision]
    assert torch.get_float32_matmul_precision() == ("high" if precision == "tf32" else "highest")


def test_every_precision_of_the_catalogue_is_here() -> None:
    assert set(WEIGHTS) == set(catalog.get("trainer", "trainer").by_name["precision"].choices)


@pytest.mark.parametrize("precision", COMPUTED)
@pytest.mark.parametrize(("model", "dataset", "more"), LEARNS, ids=lambda part: part.get("name", ""))
def test_mixed_precision_trains_every_model_as_float32_does(
    model: dict[str, Any], dataset: dict[str, Any], more: dict[str, Any], precision: str
) -> None:
    config = {"dataset": dataset, "model": model, "optimizer": {"name": "sgd", "lr": 0.01}} | more
    exact, mixed = (losses_of(config | {"precision": name}) for name in ("float32", precision))
    assert mixed == pytest.approx(exact, rel=0.03)


def losses_of(config: dict[str, Any]) -> list[float]:
    """Of three steps, and of held-out samples after them."""
    run = loop.start(TrainerConfig.parse(config, {}, 0), CPU)
    train, held = run.data.train, run.data.validation
    run.model.train()
    losses = [float(take_step(run, [(train.inputs[i : i + 32], train.targets[i : i + 32])])[0]) for i in (0, 32, 64)]
    with run.mixed():
        few = Part(inputs=held.inputs[:12], targets=held.targets[:12])
        return [*losses, metrics.evaluate(run.model, run.data, few, run.loss)["loss"]]


@pytest.mark.parametrize("name", FP16_OPTIMIZERS)
def test_each_optimizer_learns_in_fp16(name: str) -> None:
    """With clipping and accumulation, after the gradients have been scaled back."""
    params = {"optimizer.name": name} | ({"optimizer.lr": LRS[name]} if name in LRS else {})
    _, trial = train(DIGITS | {"precision": "fp16", "clip_norm": 10.0, "accumulate": 2, "epochs": 4}, RecordingTrial(params))
    losses = [values["train_loss"] for _, values in trial.reports]
    assert losses[-1] < 0.9 * losses[0]
    assert trial.reports[0][1]["grad_norm"] < 100


@pytest.mark.parametrize("name", [name for name in optimizers.names() if name not in FP16_OPTIMIZERS])
def test_fp16_with_a_closure_is_refused_in_one_sentence(name: str) -> None:
    with pytest.raises(TrainingFailed, match=f"precision: must be float32 or .* with {name}, which takes its gradients"):
        train(DIGITS | {"precision": "fp16"}, RecordingTrial({"optimizer.name": name}))


def test_averaged_weights_follow_their_formula_buffers_included() -> None:
    """avg <- decay avg + (1 - decay) w after each step, from the weights after the first."""
    decay = 0.8
    model = {"name": "mlp", "hidden": [8], "norm": "batch"}
    fields = {"model": model, "precision": "float64", "ema": decay, "accumulate": 2, "batch_size": 100}
    run = loop.start(TrainerConfig.parse(DIGITS | fields, {}, 0), CPU)
    assert run.averaged is not None
    wanted: dict[str, Tensor] = {}
    step = run.schedule.step

    def watched(metric: float | None = None) -> None:
        """Called after each optimizer step, before the average is taken."""
        step(metric)
        for name, value in run.model.state_dict().items():
            if value.is_floating_point():
                wanted[name] = value.clone() if name not in wanted else decay * wanted[name] + (1 - decay) * value

    run.schedule.step = watched  # type: ignore[method-assign]
    loop.run_epoch(run, 0)
    values = loop.run_epoch(run, 1)
    found = run.averaged.module.state_dict()
    assert any("running_mean" in name for name in wanted)
    for name, value in wanted.items():
        assert torch.allclose(found[name], value, rtol=1e-12, atol=1e-14)
    held = metrics.evaluate(run.averaged.module, run.data, run.data.validation, run.loss)
    assert {f"val_{name}": value for name, value in held.items()}.items() <= values.items()
    own = metrics.evaluate(run.model, run.data, run.data.validation, run.loss)
    assert own["loss"] != held["loss"]


def test_the_averaged_weights_are_tested() -> None:
    config = DIGITS | {"dataset": {"name": "digits", "test": 0.1}}
    plain, _ = train(config)
    as_plain, _ = train(config | {"ema": 0.0})
    averaged, _ = train(config | {"ema": 0.9})
    for name in ("val_loss", "test_loss"):
        assert as_plain[name] == plain[name] != averaged[name]
    assert averaged["train_loss"] == plain["train_loss"]


def test_an_average_of_averages_is_refused() -> None:
    with pytest.raises(TrainingFailed, match="ema: must be null with schedule_free_adamw"):
        train(DIGITS | {"ema": 0.9}, RecordingTrial({"optimizer.name": "schedule_free_adamw"}))
