"""One optimizer step: batches are divided and accumulated as said, and what fp16 leaves out moves nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workers.training.handles import RecordingTrial
from workers.training import batches, loop
from workers.training.batches import epoch_order, num_steps, steps
from workers.training.config import TrainerConfig
from workers.training.datasets import Part
from workers.training.failures import TrainingFailed
from workers.training.run import Run
from workers.training.step import add_gradients, take_step

DIGITS: dict[str, Any] = {
    "dataset": {"name": "digits"},
    "model": {"name": "mlp", "hidden": [8]},
    "precision": "float64",
    "regularizer": {"name": "l2", "strength": 0.01},
    "epochs": 2,
}
CPU = torch.device("cpu")


def start(**fields: Any) -> Run:
    return loop.start(TrainerConfig.parse(DIGITS | fields, {}, 0), CPU)


def weights(run: Run) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in run.model.parameters()])


def difference(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).norm() / other.norm())


@given(st.integers(1, 200), st.integers(1, 60), st.integers(1, 9), st.booleans(), st.integers(0, 3))
@settings(deadline=None)
def test_each_sample_has_its_turn_once_an_epoch(count: int, size: int, accumulate: int, full: bool, epoch: int) -> None:
    part = Part(inputs=torch.arange(count)[:, None].float(), targets=torch.arange(count))
    found = list(steps(part, epoch_order(count, 3, epoch), size, accumulate, full_batch=full))
    assert len(found) == num_steps(count, size, accumulate, full_batch=full)
    assert all(1 <= len(step) <= accumulate for step in found)
    seen = [sample for step in found for inputs, targets in step for sample in zip(inputs[:, 0], targets, strict=True)]
    assert all(x == y for x, y in seen)
    assert sorted(int(y) for _, y in seen) == list(range(count))
    if not full:
        sizes = [len(targets) for step in found for _, targets in step]
        assert sizes[:-1] == [size] * (len(sizes) - 1)


def test_samples_brought_together_are_the_same_as_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    part = Part(inputs=torch.randn(100, 3), targets=torch.arange(100))
    order = epoch_order(100, 1, 0)
    together = [batch for step in steps(part, order, 7, 1, full_batch=False) for batch in step]
    monkeypatch.setattr(batches, "GATHERED", 1)
    apart = [batch for step in steps(part, order, 7, 1, full_batch=False) for batch in step]
    assert [y.tolist() for _, y in together] == [y.tolist() for _, y in apart] == [o.tolist() for o in order.split(7)]
    assert all(torch.equal(x, other) for (x, _), (other, _) in zip(together, apart, strict=True))


@pytest.mark.parametrize("sizes", [[32, 32, 32, 32], [50, 30, 1]])
def test_accumulated_gradients_are_those_of_one_large_batch(sizes: list[int]) -> None:
    run = start()
    inputs, targets = run.data.train.inputs[: sum(sizes)], run.data.train.targets[: sum(sizes)]
    whole_loss, whole_objective = add_gradients(run, [(inputs, targets)])
    whole = torch.cat([w.grad.flatten() for w in run.weights if w.grad is not None])
    parts = list(zip(inputs.split(sizes), targets.split(sizes), strict=True))
    loss, objective = add_gradients(run, parts)
    assert difference(torch.cat([w.grad.flatten() for w in run.weights if w.grad is not None]), whole) <= 1e-12
    assert float(loss) == pytest.approx(float(whole_loss), rel=1e-12)
    assert float(objective) == pytest.approx(float(whole_objective), rel=1e-12)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "gd", "lbfgs"])
def test_accumulating_trains_as_one_large_batch_does(optimizer: str) -> None:
    """With a last step of fewer batches, clipping, and a schedule that counts steps; full-batch optimizers in three parts."""
    fields = {"optimizer": {"name": optimizer}, "schedule": {"name": "cosine", "warmup": 0.5}, "clip_norm": 0.5}
    parts, whole = start(batch_size=100, accumulate=3, **fields), start(batch_size=300, **fields)
    for epoch in range(2):
        of_parts, of_whole = loop.run_epoch(parts, epoch), loop.run_epoch(whole, epoch)
        assert of_parts["train_loss"] == pytest.approx(of_whole["train_loss"], rel=1e-9)
        assert of_parts["grad_norm"] == pytest.approx(of_whole["grad_norm"], rel=1e-6)
    assert parts.schedule.num_steps == whole.schedule.num_steps
    assert parts.schedule.get_last_lr() == whole.schedule.get_last_lr()
    # A line search takes rounding further than a step does.
    assert difference(weights(parts), weights(whole)) <= (1e-7 if optimizer == "lbfgs" else 1e-11)


def test_accumulating_where_the_optimizer_cannot_is_one_sentence() -> None:
    with pytest.raises(TrainingFailed, match="accumulate: must be 1 with newton, which differentiates the loss"):
        loop.train(DIGITS | {"accumulate": 2}, RecordingTrial({"optimizer.name": "newton"}))


def test_an_overflow_in_fp16_leaves_the_step_out_and_halves_the_scale() -> None:
    run = start(precision="fp16", batch_size=512, optimizer={"name": "sgd", "lr": 0.1})
    assert run.scaler is not None
    run.scaler.load_state_dict(run.scaler.state_dict() | {"scale": 2.0**60})
    before = weights(run)
    batch = (run.data.train.inputs[:64], run.data.train.targets[:64])
    _, norm = take_step(run, [batch])
    assert norm is not None
    assert not norm.isfinite()
    assert torch.equal(weights(run), before)
    assert run.scaler.get_scale() == 2.0**59
    values = loop.run_epoch(run, 0)
    assert run.scaler.get_scale() < 2.0**59
    assert values["grad_norm"] == 0.0  # no step of this epoch was taken
    run.scaler.load_state_dict(run.scaler.state_dict() | {"scale": 2.0**10})
    _, norm = take_step(run, [batch])
    assert norm is not None
    assert 0 < norm < 100
    assert not torch.equal(weights(run), before)


@pytest.mark.parametrize("clip", [{}, {"clip_norm": 0.01}, {"clip_value": 0.01, "clip_norm": 0.02}])
def test_watching_the_gradient_changes_nothing(clip: dict[str, float]) -> None:
    watched, unwatched = start(**clip), start(**clip)
    batch = (watched.data.train.inputs[:64], watched.data.train.targets[:64])
    _, norm = take_step(watched, [batch], is_watched=True)
    _, nothing = take_step(unwatched, [batch], is_watched=False)
    assert nothing is None
    assert norm is not None
    assert norm > 0.02  # before it was clipped
    assert torch.equal(weights(watched), weights(unwatched))


def test_the_norm_reported_is_that_of_every_fourth_step() -> None:
    config = {"batch_size": 300, "optimizer": {"name": "sgd", "lr": 0.1}}  # five steps an epoch
    reported, by_hand = start(**config), start(**config)
    values = loop.run_epoch(reported, 0)
    part = by_hand.data.train
    norms = [take_step(by_hand, step)[1] for step in steps(part, epoch_order(len(part), 0, 0), 300, 1, full_batch=False)]
    assert len(norms) == 5
    assert norms[0] is not None
    assert norms[4] is not None
    assert values["grad_norm"] == pytest.approx(float(norms[0] + norms[4]) / 2)


def test_gradients_that_are_never_finite_end_an_fp16_trial() -> None:
    run = start(precision="fp16")
    assert run.scaler is not None
    run.scaler.load_state_dict(run.scaler.state_dict() | {"scale": 2.0**-30})
    with pytest.raises(TrainingFailed, match="at every scale") as caught:
        loop.run_epoch(run, 0)
    assert caught.value.reason == "nan"
