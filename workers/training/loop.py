"""The training loop: from a configuration to reported values, readable top to bottom.

One epoch trains, evaluates, reports and perhaps saves; everything random is drawn from streams that the seed and the epoch decide
or that the checkpoint keeps, so that a resumed CPU trial equals an uninterrupted one bit for bit. What a name in the configuration
means is the business of the registries; leases, pipes and uploads are the executor's.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim import Optimizer

from tuner.catalog.optimizers import OptimizerFacts
from workers.training import (
    augmentations,
    checkpoint,
    datasets,
    gradients,
    initializers,
    losses,
    metrics,
    models,
    optimizers,
    record,
    regularizers,
    schedules,
)
from workers.training.augmentations import Augment
from workers.training.config import TrainerConfig
from workers.training.failures import TrainingFailed, named
from workers.training.losses import Loss
from workers.training.models.transformer import ViT
from workers.training.regularizers import Penalty
from workers.training.schedules import Schedule

DTYPES = {"float32": torch.float32, "float64": torch.float64, "bf16": torch.float32}
"""Of weights and data; bf16 computes in bfloat16 where that is safe (autocast)."""


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
    def user_attrs(self) -> dict[str, Any]: ...
    @property
    def record(self) -> dict[str, Any]: ...
    def report(self, step: int, values: Mapping[str, float]) -> str: ...
    def save_checkpoint(self, state: dict[str, Any], step: int) -> None: ...


@dataclass(kw_only=True)
class Run:
    """Everything one training changes or needs at hand."""

    config: TrainerConfig
    device: torch.device
    data: datasets.Dataset
    model: nn.Module
    loss: Loss
    penalty: Penalty | None
    penalized: list[Tensor]
    augment: Augment | None
    optimizer: Optimizer
    facts: OptimizerFacts
    schedule: Schedule
    next_epoch: int = 0
    best_loss: float = math.inf
    stale_epochs: int = 0
    flags: set[str] = field(default_factory=set)

    def state(self, epoch: int) -> dict[str, Any]:
        """What a later process needs to go on after `epoch`."""
        state: dict[str, Any] = {
            "epoch": epoch,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "random": {"cpu": torch.get_rng_state()},
            "best_loss": self.best_loss,
            "stale_epochs": self.stale_epochs,
            "flags": sorted(self.flags),
        }
        if self.device.type == "cuda":
            state["random"]["cuda"] = torch.cuda.get_rng_state(self.device)
        return state

    def restore(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        torch.set_rng_state(state["random"]["cpu"])
        if self.device.type == "cuda" and "cuda" in state["random"]:
            torch.cuda.set_rng_state(state["random"]["cuda"], self.device)
        self.best_loss, self.stale_epochs = state["best_loss"], state["stale_epochs"]
        self.flags = set(state["flags"])
        self.next_epoch = state["epoch"] + 1

    def mixed(self) -> torch.autocast:
        """The precision in which the model and its loss are computed."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bf16")


def train(config: Mapping[str, Any], trial: Trial) -> dict[str, float]:
    """Train a trial of the base configuration `config` and return the values of its last epoch.

    Reports each epoch under its number from 0. After a verdict other than continue it returns early, with a checkpoint saved
    unless the trial was pruned. TrainingFailed carries the reason of a training that could not begin or go on.
    """
    with named():
        run = start(TrainerConfig.parse(config, trial.params, trial.seed), torch.device(trial.device))
        trial.record.update(record.describe(run.config, run.data))
        if trial.resume_path is not None:
            run.restore(checkpoint.load(Path(trial.resume_path)))
        values: dict[str, float] = {}
        for epoch in range(run.next_epoch, run.config.epochs):
            values = run_epoch(run, epoch)
            is_last = epoch + 1 == run.config.epochs or is_stale(run)
            if is_last and run.data.test is not None:
                with run.mixed():
                    tested = metrics.evaluate(run.model, run.data, run.data.test, run.loss)
                values |= {f"test_{name}": value for name, value in tested.items()}
            if run.flags:
                trial.user_attrs["flags"] = sorted(run.flags)
            verdict = trial.report(epoch, values)
            if verdict in ("pause", "stop") or (epoch + 1) % run.config.checkpoint_every == 0:
                trial.save_checkpoint(run.state(epoch), step=epoch)
            if verdict != "continue" or is_last:
                trial.record["weights"] = record.describe_weights(run.model, epoch)
                break
        return values


def start(config: TrainerConfig, device: torch.device) -> Run:
    """Seed everything and build the components of a configuration."""
    set_determinism(config, device)
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    data = datasets.load(config.dataset, device, DTYPES[config.precision])
    outputs = losses.num_outputs(config.loss.name, data.outputs)
    model = models.build(config.model.name, data.shape, outputs, **config.model.hyperparameters)
    initializers.build(config.initializer.name, **config.initializer.hyperparameters)(model)
    model.to(device, DTYPES[config.precision])
    facts = optimizers.facts(config.optimizer.name)
    params = model.parameters() if facts.decay == "none" else optimizers.groups(model, all_decay=config.decay_biases_and_norms)
    optimizer = optimizers.build(config.optimizer.name, params, **config.optimizer.hyperparameters)
    batch_size = len(data.train) if facts.full_batch else config.batch_size
    return Run(
        config=config,
        device=device,
        data=data,
        model=model,
        loss=losses.build(config.loss.name, **config.loss.hyperparameters),
        penalty=regularizers.build(config.regularizer.name, **config.regularizer.hyperparameters),
        penalized=[p for p in model.parameters() if config.decay_biases_and_norms or optimizers.is_decayed(p)],
        augment=augmentations.build(config.augmentation.name, **config.augmentation.hyperparameters),
        optimizer=optimizer,
        facts=facts,
        schedule=schedules.build(
            config.schedule.name,
            optimizer,
            config.epochs,
            math.ceil(len(data.train) / batch_size),
            **config.schedule.hyperparameters,
        ),
    )


def run_epoch(run: Run, epoch: int) -> dict[str, float]:
    """One pass over the training set and one evaluation; returns what is reported."""
    part, config = run.data.train, run.config
    count = len(part)
    # The order depends on seed and epoch alone: whatever else was drawn, a resumed trial sees the same.
    generator = torch.Generator().manual_seed((config.seed << 20) + epoch)
    order = torch.randperm(count, generator=generator).to(run.device)
    loss_sum = torch.zeros((), device=run.device)
    norm_sum = torch.zeros((), device=run.device)
    batches = (order,) if run.facts.full_batch else torch.split(order, config.batch_size)
    lr = run.schedule.get_last_lr()[0]
    run.model.train()
    if run.facts.train_eval:
        run.optimizer.train()  # type: ignore[attr-defined]
    began = time.perf_counter()
    for batch in batches:
        inputs = part.inputs[batch] if run.augment is None else run.augment(part.inputs[batch])
        loss, norm = take_step(run, inputs, part.targets[batch])
        loss_sum += loss * len(batch)
        norm_sum += norm
    train_loss = float(loss_sum) / count  # waits for the device, so that the time below is the work's
    seconds = time.perf_counter() - began
    if not math.isfinite(train_loss):
        raise TrainingFailed("nan", f"the training loss was {train_loss} in epoch {epoch}")
    if run.facts.train_eval:
        run.optimizer.eval()  # type: ignore[attr-defined]
    layers = gradients.layer_norms(run.model)
    run.flags.update(gradients.flags(layers))
    with run.mixed():
        held = metrics.evaluate(run.model, run.data, run.data.validation, run.loss)
    if not math.isfinite(held["loss"]):
        raise TrainingFailed("nan", f"the validation loss was {held['loss']} after epoch {epoch}")
    run.schedule.observe(held["loss"])
    run.stale_epochs = 0 if held["loss"] < run.best_loss else run.stale_epochs + 1
    run.best_loss = min(run.best_loss, held["loss"])
    return {
        **{f"val_{name}": value for name, value in held.items()},
        "train_loss": train_loss,
        "lr": lr,
        "grad_norm": float(norm_sum) / len(batches),
        **({f"grad_norm.{name}": norm for name, norm in layers.items()} if config.layer_gradients else {}),
        "samples_per_second": count / max(seconds, 1e-9),
    }


def take_step(run: Run, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """One optimizer step on one batch; returns its loss without the penalty, and the norm of its gradient.

    An optimizer that takes a closure evaluates the batch several times: each time with the same dropout masks, else its line
    search would compare different functions. Clipping is for the others: a clipped gradient contradicts a line search.
    """
    first: list[Tensor] = []

    def objective() -> Tensor:
        with run.mixed(), differentiable(run.facts):
            loss = run.loss(run.model(inputs), targets)
        if not first:
            first.append(loss.detach())
        if isinstance(run.model, ViT):
            balance = run.model.auxiliary_loss()
            loss = loss if balance is None else loss + balance
        return loss if run.penalty is None else loss + run.penalty(run.penalized)

    def backward() -> Tensor:
        run.optimizer.zero_grad()
        total = objective()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    if run.facts.closure == "none":
        backward()
        norm = gradients.clip(run.model, norm=run.config.clip_norm, value=run.config.clip_value)
        run.optimizer.step()
    else:
        closure = backward if run.facts.closure == "backward" else objective
        run.optimizer.step(same_masks(run.device, closure))  # type: ignore[arg-type]  # torch's own take tensors
        norm = gradients.total_norm(run.model)
    run.schedule.step()
    return first[0], norm


@contextmanager
def differentiable(facts: OptimizerFacts) -> Iterator[None]:
    """Where an optimizer may differentiate twice, leave out the kernels whose gradients have none: fused attention, cuDNN's."""
    if facts.closure != "loss":
        yield
        return
    with sdpa_kernel(SDPBackend.MATH), torch.backends.cudnn.flags(enabled=False):
        yield


def same_masks(device: torch.device, closure: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """The closure with the random stream wound back before each call."""
    cpu = torch.get_rng_state()
    cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None

    def rewound() -> Tensor:
        torch.set_rng_state(cpu)
        if cuda is not None:
            torch.cuda.set_rng_state(cuda, device)
        return closure()

    return rewound


def is_stale(run: Run) -> bool:
    """Whether early stopping is due."""
    return run.config.early_stopping is not None and run.stale_epochs >= run.config.early_stopping


def set_determinism(config: TrainerConfig, device: torch.device) -> None:
    wanted = config.deterministic if config.deterministic is not None else device.type == "cpu"
    if wanted and device.type == "cuda":
        # cuBLAS reads this when it starts; without it its sums may differ from run to run.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(wanted, warn_only=device.type == "cuda")
