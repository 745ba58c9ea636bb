"""A training goes on from another one's checkpoint: its weights and moments, this one's hyperparameters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.workers.training.handles import RecordingTrial
from tests.workers.training.test_loop import DIGITS, LRS
from workers.training import checkpoint, loop, optimizers
from workers.training.config import TrainerConfig
from workers.training.run import Run

BASE = DIGITS | {"model": {"name": "mlp", "hidden": [8], "norm": "batch"}, "checkpoint_every": 1}


def parent(folder: Path, config: dict[str, Any], params: dict[str, Any], epochs: int = 2) -> dict[str, Any]:
    """The state after so many epochs."""
    loop.train(config, RecordingTrial(params, folder=folder, verdicts={epochs - 1: "pause"}))
    return checkpoint.load(folder)


def child(config: dict[str, Any], params: dict[str, Any], state: dict[str, Any], seed: int = 8) -> Run:
    run = loop.start(TrainerConfig.parse(config, params, seed), torch.device("cpu"))
    run.inherit(state)
    return run


def weights_of(run: Run) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in run.model.state_dict().items()}


def assert_equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(torch.as_tensor(value), torch.as_tensor(other[name])), name


def test_weights_and_moments_are_the_parents_and_hyperparameters_the_childs(tmp_path: Path) -> None:
    fields = {"optimizer": {"name": "adamw", "weight_decay": 0.1}, "ema": 0.9}
    state = parent(tmp_path, BASE | fields, {"optimizer.lr": 0.01, "optimizer.beta1": 0.9})
    run = child(BASE | fields, {"optimizer.lr": 0.012, "optimizer.beta1": 0.72, "optimizer.weight_decay": 0.08}, state)
    assert_equal(weights_of(run), state["model"])
    assert run.averaged is not None
    assert_equal(run.averaged.state_dict(), state["averaged"])
    own = run.optimizer.state_dict()
    assert own["state"].keys() == state["optimizer"]["state"].keys()
    for number, moments in own["state"].items():
        assert_equal(moments, state["optimizer"]["state"][number])
    assert [(group["lr"], group["betas"], group["weight_decay"]) for group in run.optimizer.param_groups] == [
        (0.012, (0.72, 0.999), 0.08),
        (0.012, (0.72, 0.999), 0.0),
    ]
    assert run.next_epoch == 2


def test_the_optimizer_moves_by_the_childs_lr(tmp_path: Path) -> None:
    """Gradient descent without momentum: a step is lr times the gradient, which is the same for all children."""
    config = BASE | {"optimizer": {"name": "gd"}, "schedule": {"name": "exponential", "gamma": 0.5}}
    state = parent(tmp_path, config, {"optimizer.lr": 0.1})

    def move(lr: float) -> dict[str, torch.Tensor]:
        run = child(config, {"optimizer.lr": lr}, state)
        loop.run_epoch(run, run.next_epoch)
        return {name: value.detach() - state["model"][name] for name, value in run.model.named_parameters()}

    same, larger = move(0.1), move(0.12)
    for name, moved in same.items():
        torch.testing.assert_close(larger[name], 1.2 * moved, rtol=1e-3, atol=1e-7)


def test_the_loop_reports_the_childs_lr_from_the_next_epoch_on(tmp_path: Path) -> None:
    config = BASE | {"epochs": 5, "schedule": {"name": "exponential", "gamma": 0.5}}
    parent(tmp_path, config, {"optimizer.lr": 0.01})
    trial = RecordingTrial({"optimizer.lr": 0.008}, seed=8, resume=tmp_path, inherits=True)
    loop.train(config, trial)
    assert [(step, values["lr"]) for step, values in trial.reports] == [
        (2, pytest.approx(0.002)),
        (3, pytest.approx(0.001)),
        (4, pytest.approx(0.0005)),
    ]


def test_its_own_checkpoint_resumes_bit_for_bit(tmp_path: Path) -> None:
    config = BASE | {"model": {"name": "mlp", "hidden": [8], "dropout": 0.2}, "epochs": 6}
    parent(tmp_path / "parent", config, {"optimizer.lr": 0.01})
    params = {"optimizer.lr": 0.012, "batch_size": 20}
    whole = RecordingTrial(params, seed=8, resume=tmp_path / "parent", inherits=True)
    loop.train(config, whole)
    first = RecordingTrial(
        params, seed=8, resume=tmp_path / "parent", inherits=True, folder=tmp_path / "own", verdicts={3: "pause"}
    )
    loop.train(config, first)
    second = RecordingTrial(params, seed=8, resume=tmp_path / "own")
    loop.train(config, second)
    assert first.reports + second.reports == whole.reports


def test_the_schedule_is_as_far_as_the_epochs_whatever_the_batch_size(tmp_path: Path) -> None:
    config = BASE | {"epochs": 10, "schedule": {"name": "cosine"}, "optimizer": {"name": "sgd", "lr": 0.1}}
    state = parent(tmp_path, config, {"batch_size": 32}, epochs=4)
    run = child(config, {"batch_size": 100}, state)
    assert run.schedule.num_steps == 4 * run.schedule.steps_per_epoch != state["schedule"]["num_steps"]
    other = child(config, {"batch_size": 32}, state)
    assert run.schedule.get_last_lr() == pytest.approx(other.schedule.get_last_lr())


def test_a_plateau_stays_where_it_is(tmp_path: Path) -> None:
    schedule = {"name": "plateau", "patience": 0, "factor": 0.5, "threshold": 0.9}
    state = parent(tmp_path, BASE | {"schedule": schedule}, {"optimizer.lr": 0.01}, epochs=3)
    scale = state["schedule"]["plateau"]["scale"]
    assert scale < 1
    run = child(BASE | {"schedule": schedule}, {"optimizer.lr": 0.02}, state)
    assert run.schedule.get_last_lr() == [pytest.approx(0.02 * scale)]


def test_random_streams_and_early_stopping_are_its_own(tmp_path: Path) -> None:
    config = BASE | {"early_stopping": 1, "optimizer": {"name": "sgd", "lr": 1e-30}, "epochs": 9}
    loop.train(config, RecordingTrial(folder=tmp_path))
    state = checkpoint.load(tmp_path)
    assert state["stale_epochs"] == 1
    one, other = (child(config, {}, state, seed=seed) for seed in (8, 9))
    assert not one.is_stale()
    drawn = []
    for seed in (8, 9, 8):
        child(config, {}, state, seed=seed)
        drawn.append(torch.rand(3).tolist())
    assert drawn[0] == drawn[2] != drawn[1]
    assert_equal(weights_of(one), weights_of(other))


@pytest.mark.parametrize("before, after", [(0.0, 0.1), (0.1, 0.0)])
def test_weight_decay_that_comes_or_goes_regroups_the_moments(tmp_path: Path, before: float, after: float) -> None:
    state = parent(tmp_path, BASE, {"optimizer.weight_decay": before})
    run = child(BASE, {"optimizer.weight_decay": after}, state)
    original = loop.start(TrainerConfig.parse(BASE, {"optimizer.weight_decay": before}, 7), torch.device("cpu"))
    original.restore(state)
    for mine, its in zip(run.model.parameters(), original.model.parameters(), strict=True):
        assert torch.equal(run.optimizer.state[mine]["exp_avg"], original.optimizer.state[its]["exp_avg"])


@pytest.mark.parametrize("name, kept", [("prodigy", ("d", "numerator", "t")), ("schedule_free_adamw", ("averaged",))])
def test_what_a_group_has_learnt_comes_along(name: str, kept: tuple[str, ...], tmp_path: Path) -> None:
    state = parent(tmp_path, BASE, {"optimizer.name": name})
    run = child(BASE, {"optimizer.name": name, "optimizer.beta1": 0.8}, state)
    for group in run.optimizer.param_groups:
        assert {key: group[key] for key in kept} == {key: state["optimizer"]["param_groups"][0][key] for key in kept}
        assert group["betas"] == (0.8, 0.999)
    fresh = loop.start(TrainerConfig.parse(BASE, {"optimizer.name": name}, 8), torch.device("cpu")).optimizer.param_groups[0]
    assert all(fresh[key] != run.optimizer.param_groups[0][key] for key in kept)


@pytest.mark.parametrize("name", optimizers.names())
def test_every_optimizer_goes_on_with_other_hyperparameters(name: str, tmp_path: Path) -> None:
    config = BASE | {"model": {"name": "mlp", "hidden": [4]}, "epochs": 3}
    entry = optimizers._REGISTRY.entry(name)
    lr = LRS.get(name, float(entry.by_name["lr"].default))  # type: ignore[arg-type]
    others = {"momentum": 0.5, "weight_decay": 0.01, "beta1": 0.8, "eps": 1e-6, "rho": 0.85}
    changed = {f"optimizer.{key}": value for key, value in others.items() if key in entry.by_name}
    zeros = {f"optimizer.{key}": 0.0 for key in ("momentum", "weight_decay") if key in entry.by_name}
    if name in ("momentum", "nesterov"):
        zeros.pop("optimizer.momentum")
    state = parent(tmp_path, config, zeros | {"optimizer.name": name, "optimizer.lr": lr}, epochs=1)
    run = child(config, changed | {"optimizer.name": name, "optimizer.lr": 0.8 * lr}, state)
    assert_equal(weights_of(run), state["model"])
    values = loop.run_epoch(run, run.next_epoch)
    assert values["lr"] == pytest.approx(0.8 * lr)
    assert values["train_loss"] < 1.3 * state["values"]["train_loss"]
