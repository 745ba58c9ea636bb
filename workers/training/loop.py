"""The training loop: from a configuration to reported values, readable top to bottom.

One epoch trains, evaluates, reports and perhaps saves; everything random is drawn from streams that the seed and the epoch decide
or that the checkpoint keeps, so that a resumed CPU trial equals an uninterrupted one bit for bit. What a training consists of is
`run`, one optimizer step is `step`, what a name in the configuration means is the business of the registries; leases, pipes and
uploads are the executor's.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch

from workers.training import batches, checkpoint, gradients, metrics, precision, record
from workers.training.config import TrainerConfig
from workers.training.failures import TrainingFailed, named
from workers.training.run import Run
from workers.training.step import take_step

WATCHED = 4
"""The norm of the gradient is measured in one of so many steps: of a small network it costs a twentieth of the step."""


class Trial(Protocol):
    """What the loop uses of the SDK's trial object."""

    @property
    def params(self) -> Mapping[str, Any]: ...
    @property
    def seed(self) -> int: ...
    @property
    def device(self) -> str: ...
    @property
    def resume_path(self) -> str | Path | None: ...
    @property
    def inherits(self) -> bool: ...
    @property
    def user_attrs(self) -> dict[str, Any]: ...
    @property
    def record(self) -> dict[str, Any]: ...
    def report(self, step: int, values: Mapping[str, float]) -> str: ...
    def save_checkpoint(self, state: dict[str, Any], step: int) -> None: ...


def train(config: Mapping[str, Any], trial: Trial) -> dict[str, float]:
    """Train a trial of the base configuration `config` and return the values of its last epoch.

    Reports each epoch under its number from 0. After a verdict other than continue it returns early. However it ends, its last state is
    saved, unless the trial was pruned. TrainingFailed carries the reason of a training that could not begin or go on.
    """
    with named():
        run = start(TrainerConfig.parse(config, trial.params, trial.seed), torch.device(trial.device))
        trial.record.update(record.describe(run.config, run.data))
        if trial.resume_path is not None:
            state = checkpoint.load(Path(trial.resume_path))
            run.inherit(state) if trial.inherits else run.restore(state)
        if run.is_stale():
            return run.values  # the attempt before had come to the end, and no word of it has arrived
        try:
            for epoch in range(run.next_epoch, run.config.epochs):
                run.values = run_epoch(run, epoch)
                is_last = epoch + 1 == run.config.epochs or run.is_stale()
                if is_last and run.data.test is not None:
                    with run.mixed():
                        tested = metrics.evaluate(run.evaluated, run.data, run.data.test, run.loss)
                    run.values |= {f"test_{name}": value for name, value in tested.items()}
                if run.flags:
                    trial.user_attrs["flags"] = sorted(run.flags)
                verdict = trial.report(epoch, run.values)
                is_due = is_last or (epoch + 1) % run.config.checkpoint_every == 0
                if verdict in ("pause", "stop") or (verdict == "continue" and is_due):
                    trial.save_checkpoint(run.state(epoch), step=epoch)
                if verdict != "continue" or is_last:
                    trial.record["weights"] = record.describe_weights(run.evaluated, epoch)
                    break
        finally:
            trial.user_attrs.update(run.usage.read())
        return run.values


def start(config: TrainerConfig, device: torch.device) -> Run:
    """Seed everything and build the components of a configuration."""
    set_determinism(config, device)
    precision.set_products(config.precision)
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    return Run.build(config, device)


def run_epoch(run: Run, epoch: int) -> dict[str, float]:
    """One pass over the training set and one evaluation; returns what is reported."""
    lr = run.schedule.get_last_lr()[0]
    trained = train_epoch(run, epoch)
    if not math.isfinite(trained["train_loss"]):
        raise TrainingFailed("nan", f"the training loss was {trained['train_loss']} in epoch {epoch}")
    precision.check_scale(run.scaler)
    layers = gradients.layer_norms(run.model)
    run.flags.update(gradients.flags(layers))
    with run.mixed():
        held = metrics.evaluate(run.evaluated, run.data, run.data.validation, run.loss)
    if not math.isfinite(held["loss"]):
        raise TrainingFailed("nan", f"the validation loss was {held['loss']} after epoch {epoch}")
    run.schedule.observe(held["loss"])
    run.stale_epochs = 0 if held["loss"] < run.best_loss else run.stale_epochs + 1
    run.best_loss = min(run.best_loss, held["loss"])
    return {
        **{f"val_{name}": value for name, value in held.items()},
        **trained,
        "lr": lr,
        **({f"grad_norm.{name}": norm for name, norm in layers.items()} if run.config.layer_gradients else {}),
    }


def train_epoch(run: Run, epoch: int) -> dict[str, float]:
    """The steps of an epoch: `train_loss` and `grad_norm`, their means over samples and watched steps, and `samples_per_second`."""
    part, config = run.data.train, run.config
    order = batches.epoch_order(len(part), config.seed, epoch)
    loss_sum, norm_sum = (torch.zeros((), dtype=torch.float64, device=run.device) for _ in range(2))
    num_norms = torch.zeros((), dtype=torch.int64, device=run.device)
    run.model.train()
    if run.facts.train_eval:
        run.optimizer.train()  # type: ignore[attr-defined]
    began = time.perf_counter()
    steps = batches.steps(part, order, config.batch_size, config.accumulate, full_batch=run.facts.full_batch)
    for number, step in enumerate(steps):
        if run.augment is not None:
            step = [(run.augment(inputs), targets) for inputs, targets in step]
        loss, norm = take_step(run, step, is_watched=number % WATCHED == 0)
        loss_sum.add_(loss, alpha=sum(len(targets) for _, targets in step))
        if norm is not None:
            num_norms.add_(norm.isfinite())  # it is not where fp16 left the step out
            norm_sum.add_(norm if run.scaler is None else norm.nan_to_num(0.0, 0.0))
    train_loss = float(loss_sum) / len(part)  # waits for the device, so that the time below is the work's
    seconds = time.perf_counter() - began
    run.usage.add(len(part), seconds)
    if run.facts.train_eval:
        run.optimizer.eval()  # type: ignore[attr-defined]
    return {
        "train_loss": train_loss,
        "grad_norm": float(norm_sum) / max(1, int(num_norms)),
        "samples_per_second": len(part) / max(seconds, 1e-9),
    }


def set_determinism(config: TrainerConfig, device: torch.device) -> None:
    """Set the whole process to repeatable algorithms, or back: where the configuration asks for it, else on a CPU."""
    if device.type == "cuda":
        # cuBLAS reads this when it starts; without it its sums may differ from run to run.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(device.type == "cpu" if config.deterministic is None else config.deterministic)
    # A debugging aid, on by default, that writes into each new tensor.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
