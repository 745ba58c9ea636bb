"""The loop trains, reports, obeys verdicts, repeats itself, and resumes as if it had never stopped."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.workers.training.handles import TIMED, RecordingTrial
from tuner import catalog
from workers.training import loop, optimizers, schedules
from workers.training.config import TrainerConfig
from workers.training.failures import TrainingFailed

DIGITS: dict[str, Any] = {
    "dataset": {"name": "digits"},
    "model": {"name": "mlp", "hidden": [32], "dropout": 0.2},
    "epochs": 4,
}
LRS = {
    "gd": 0.5,
    "sgd": 0.1,
    "minibatch": 0.1,
    "momentum": 0.03,
    "nesterov": 0.03,
    "adagrad": 0.05,
    "radam": 0.01,
    "lion": 1e-3,
    "lamb": 0.01,
    "rmsprop": 0.003,
}


def train(config: dict[str, Any], trial: RecordingTrial | None = None) -> tuple[dict[str, float], RecordingTrial]:
    trial = trial or RecordingTrial()
    return loop.train(config, trial), trial


def test_learns_digits_and_reports_each_epoch() -> None:
    values, trial = train(DIGITS | {"epochs": 10})
    assert values["val_accuracy"] > 0.93
    assert [step for step, _ in trial.reports] == list(range(10))
    assert trial.reports[-1][1].items() <= values.items()
    assert trial.reports[0][1]["train_loss"] > trial.reports[-1][1]["train_loss"]


@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
def test_solves_xor(activation: str) -> None:
    values, _ = train(
        {
            "dataset": {"name": "xor"},
            "model": {"name": "mlp", "hidden": [8], "activation": activation},
            "optimizer": {"name": "adam", "lr": 0.05},
            "batch_size": 8,
            "epochs": 40,
        }
    )
    assert values["val_accuracy"] == 1.0


def test_without_a_hidden_layer_xor_stays_unsolved() -> None:
    values, _ = train({"dataset": {"name": "xor"}, "model": {"name": "mlp", "depth": 0}, "epochs": 40})
    assert values["val_accuracy"] <= 0.75


def test_regression_reports_its_own_metrics() -> None:
    values, _ = train({"dataset": {"name": "diabetes"}, "model": {"name": "mlp", "hidden": [16]}, "epochs": 15})
    assert values["val_r2"] > 0.3
    assert "val_mae" in values
    assert "val_accuracy" not in values


@pytest.mark.parametrize("dataset", ["iris", "wine", "breast_cancer"])
def test_learns_tables(dataset: str) -> None:
    values, _ = train(
        {"dataset": {"name": dataset}, "model": {"name": "mlp", "hidden": [16]}, "optimizer": {"lr": 0.01}, "epochs": 20}
    )
    assert values["val_accuracy"] > 0.85


def test_a_convolution_learns_digits() -> None:
    values, _ = train({"dataset": {"name": "digits"}, "model": {"name": "cnn", "channels": 8, "dropout": 0.1}, "epochs": 6})
    assert values["val_accuracy"] > 0.93


@pytest.mark.parametrize("name", optimizers.names())
def test_each_optimizer_lowers_the_loss(name: str) -> None:
    params = {"optimizer.name": name} | ({"optimizer.lr": LRS[name]} if name in LRS else {})
    _, trial = train(DIGITS | {"model": {"name": "mlp", "hidden": [16]}}, RecordingTrial(params))
    losses = [values["train_loss"] for _, values in trial.reports]
    assert losses[-1] < 0.85 * losses[0]


RESUMED = DIGITS | {
    "model": {"name": "mlp", "hidden": [10], "dropout": 0.2, "norm": "batch"},
    "augmentation": {"name": "shift", "shift": 1},
    "early_stopping": 50,
    "epochs": 5,
    "checkpoint_every": 5,
}


@pytest.mark.parametrize("name", optimizers.names())
def test_resumed_equals_uninterrupted(name: str, tmp_path: Path) -> None:
    config = RESUMED | {"schedule": {"name": "plateau", "patience": 0, "factor": 0.5, "warmup": 1}}
    if name == "newton":  # its Hessian is the square of the weights
        config |= {"model": RESUMED["model"] | {"hidden": [4]}}
    params = {"optimizer.name": name} | ({"optimizer.lr": LRS[name]} if name in LRS else {})
    check_resuming(config, params, tmp_path)


@pytest.mark.parametrize("name", schedules.names())
def test_resumed_equals_uninterrupted_under_each_schedule(name: str, tmp_path: Path) -> None:
    """With all that fits together: accumulated, averaged, scaled gradients."""
    config = RESUMED | {"accumulate": 3, "ema": 0.9, "precision": "fp16", "clip_norm": 1.0}
    check_resuming(config, {"schedule.name": name, "schedule.warmup": 0.4}, tmp_path)


@pytest.mark.parametrize(
    "fields",
    [
        {"accumulate": 4},
        {"ema": 0.95},
        {"precision": "fp16", "dataset": {"name": "diabetes"}, "model": {"name": "neuron"}, "augmentation": {"name": "none"}},
        {"precision": "bf16", "deterministic": True},
        {"optimizer": {"name": "lbfgs"}, "accumulate": 2, "ema": 0.5, "epochs": 4},
    ],
    ids=str,
)
def test_resumed_equals_uninterrupted_with(fields: dict[str, Any], tmp_path: Path) -> None:
    check_resuming(RESUMED | fields, {}, tmp_path)


def check_resuming(config: dict[str, Any], params: dict[str, Any], folder: Path) -> None:
    """Bit for bit: reports, weights, averaged weights, states of optimizer, schedule, scaler and random streams."""
    last = config["epochs"] - 1
    config = config | {"checkpoint_every": config["epochs"]}
    _, whole = train(config, RecordingTrial(params, folder=folder / "whole"))
    _, first = train(config, RecordingTrial(params, folder=folder / "c", verdicts={2: "pause"}))
    torch.manual_seed(999)  # another trial has used the process in between
    _, second = train(config, RecordingTrial(params, resume=folder / "c", folder=folder / "end"))
    assert first.reports + second.reports == whole.reports
    assert [first.saved, second.saved, whole.saved] == [[2], [last], [last]]
    ends = [json.loads((folder / name / "state.json").read_text()) for name in ("end", "whole")]
    for end in ends:
        for name in TIMED:
            del end["state"]["values"][name]
    assert ends[0] == ends[1]  # with the digest of the tensors


@pytest.mark.parametrize(
    "fields", [{"epochs": 3}, {"epochs": 50, "early_stopping": 2, "optimizer": {"name": "sgd", "lr": 1e-30}}]
)
def test_resumed_from_its_end_a_trial_has_its_values(fields: dict[str, Any], tmp_path: Path) -> None:
    """A worker may die between its last checkpoint and the word that the trial has ended."""
    config = DIGITS | {"dataset": {"name": "digits", "test": 0.1}} | fields
    values, whole = train(config, RecordingTrial(folder=tmp_path / "c"))
    assert whole.saved[-1] == 2
    again, resumed = train(config, RecordingTrial(resume=tmp_path / "c"))
    assert (again, resumed.reports) == (values, [])


def test_a_seed_repeats_bit_for_bit_and_another_differs() -> None:
    _, one = train(DIGITS, RecordingTrial(seed=1))
    _, again = train(DIGITS, RecordingTrial(seed=1))
    _, other = train(DIGITS, RecordingTrial(seed=2))
    _, fixed = train(DIGITS | {"seed": 1}, RecordingTrial(seed=2))
    assert one.reports == again.reports == fixed.reports
    assert one.reports[-1][1]["train_loss"] != other.reports[-1][1]["train_loss"]


def test_checkpoints_come_every_n_epochs_and_of_the_last() -> None:
    _, trial = train(DIGITS | {"epochs": 7, "checkpoint_every": 3})
    assert trial.saved == [2, 5, 6]
    _, trial = train(DIGITS | {"epochs": 6, "checkpoint_every": 3})
    assert trial.saved == [2, 5]


@pytest.mark.parametrize(("verdict", "saved"), [("prune", []), ("pause", [1]), ("stop", [1])])
def test_verdicts_end_training(verdict: str, saved: list[int]) -> None:
    values, trial = train(DIGITS, RecordingTrial(verdicts={1: verdict}))
    assert [step for step, _ in trial.reports] == [0, 1]
    assert trial.saved == saved
    assert "val_accuracy" in values


def test_nan_ends_the_trial_with_its_reason() -> None:
    with pytest.raises(TrainingFailed, match="in epoch 0") as caught:
        train(DIGITS, RecordingTrial({"optimizer.name": "momentum", "optimizer.lr": 1e30}))
    assert caught.value.reason == "nan"


def test_early_stopping_ends_after_stale_epochs() -> None:
    config = DIGITS | {"epochs": 50, "early_stopping": 2, "optimizer": {"name": "sgd", "lr": 1e-30}}
    _, trial = train(config)
    assert len(trial.reports) == 3  # the first is the best; two more are not better


def test_the_test_part_is_reported_at_the_end_alone() -> None:
    values, trial = train(DIGITS | {"dataset": {"name": "digits", "test": 0.1}, "epochs": 3})
    assert "test_accuracy" in values
    assert ["test_accuracy" in v for _, v in trial.reports] == [False, False, True]


def test_full_batch_optimizers_take_one_step_an_epoch() -> None:
    run = loop.start(TrainerConfig.parse(DIGITS, {"optimizer.name": "gd", "schedule.name": "step"}, 0), torch.device("cpu"))
    loop.run_epoch(run, 0)
    assert run.schedule.num_steps == 1


def test_clipping_bounds_the_step() -> None:
    config = DIGITS | {"model": {"name": "mlp"}, "optimizer": {"name": "gd", "lr": 1.0}}

    def step_norm(**fields: Any) -> tuple[float, float]:
        run = loop.start(TrainerConfig.parse(config | fields, {}, 0), torch.device("cpu"))
        before = torch.cat([p.detach().flatten().clone() for p in run.model.parameters()])
        values = loop.run_epoch(run, 0)
        moved = torch.cat([p.detach().flatten() for p in run.model.parameters()]) - before
        return float(moved.norm()), values["grad_norm"]

    free, norm = step_norm()
    assert free == pytest.approx(norm, rel=1e-4)
    assert step_norm(clip_norm=norm / 10) == (pytest.approx(norm / 10, rel=1e-4), pytest.approx(norm, rel=1e-6))
    assert step_norm(clip_value=1e-4)[0] < norm / 2


@pytest.mark.parametrize(
    ("config", "params", "message"),
    [
        ({}, {"optimizer.name": "adam", "optimizer.momentum": 0.9}, "optimizer.momentum: adam has no hyperparameter 'momentum'"),
        ({"model": {"name": "cnn", "depth": 4}}, {}, "model.depth: must be at most 3 for images of 8x8"),
        ({"dataset": {"name": "digits", "validation": 0.6, "test": 0.5}}, {}, "leave nothing to train on"),
        ({"model": {"name": "mlp", "hidden": [999]}}, {"optimizer.name": "newton"}, "newton takes at most 5,000 parameters"),
    ],
)
def test_bad_configurations_end_the_trial_in_one_sentence(config: dict[str, Any], params: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainingFailed, match=re.escape(message)) as caught:
        train(DIGITS | config, RecordingTrial(params))
    assert caught.value.reason == "exception"


def test_a_warm_process_takes_little_time() -> None:
    """20 epochs of a digits MLP: well under a second of CPU; benchmarks/training.py says what of it are steps."""
    config = DIGITS | {"epochs": 20}
    train(config)
    began = time.process_time()
    _, trial = train(config)
    assert time.process_time() - began < 2.0  # 0.3 s on an idle core; leaves room for a loaded one
    assert len(trial.reports) == 20


@pytest.mark.parametrize("config", [DIGITS, {"dataset": {"name": "diabetes"}, "model": {"name": "mlp"}, "epochs": 1}])
def test_reports_are_those_the_catalogue_promises(config: dict[str, Any]) -> None:
    values, _ = train(config)
    data = catalog.get("datasets", config["dataset"]["name"]).facts
    assert set(values) == {
        metric.name
        for metric in catalog.entries("metrics")
        if data.task in metric.facts.tasks and (data.classes or 0) >= metric.facts.min_classes
    }


def test_gradients_that_vanish_are_flagged_and_shown_layer_by_layer() -> None:
    deep = {"name": "mlp", "hidden": [16], "depth": 12, "activation": "sigmoid"}
    values, trial = train(DIGITS | {"model": deep, "epochs": 1, "layer_gradients": True})
    assert trial.user_attrs["flags"] == ["vanishing"]
    assert values["grad_norm.layers.1.weight"] < 1e-5 * values["grad_norm.layers.25.weight"]
    _, healthy = train(DIGITS | {"epochs": 1})
    assert "flags" not in healthy.user_attrs


def test_gradients_that_explode_are_flagged() -> None:
    config = DIGITS | {"model": {"name": "mlp", "depth": 3, "activation": "identity"}, "epochs": 2}
    _, trial = train(config, RecordingTrial({"optimizer.name": "sgd", "optimizer.lr": 0.01, "optimizer.momentum": 0.9}))
    assert "flags" not in trial.user_attrs
    _, trial = train(
        {"dataset": {"name": "diabetes"}, "model": {"name": "mlp", "depth": 3, "activation": "identity"}, "epochs": 1},
        RecordingTrial({"optimizer.name": "adam", "optimizer.lr": 5.0}),
    )
    assert trial.user_attrs["flags"] == ["exploding"]
