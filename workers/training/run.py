"""Run: everything one training changes or needs at hand, and what of it a checkpoint keeps.

`Run.build` makes it from a configuration; `loop` and `step` move it. The random streams belong to it although torch keeps them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tuner.catalog.optimizers import OptimizerFacts
from workers.training import (
    augmentations,
    batches,
    compilation,
    datasets,
    initializers,
    losses,
    models,
    optimizers,
    precision,
    regularizers,
    schedules,
)
from workers.training.augmentations import Augment
from workers.training.config import TrainerConfig
from workers.training.losses import Loss
from workers.training.models.transformer import ViT
from workers.training.regularizers import Penalty
from workers.training.schedules import Schedule
from workers.training.usage import Usage


@dataclass(kw_only=True)
class Run:
    config: TrainerConfig
    device: torch.device
    data: datasets.Dataset
    model: nn.Module
    forward: Callable[[Tensor], Tensor]
    """The model as it is trained: itself, or compiled."""
    weights: list[Tensor]
    averaged: AveragedModel | None
    loss: Loss
    auxiliary: Callable[[], Tensor | None] | None
    """What the model itself adds to the loss after a forward pass."""
    penalty: Penalty | None
    penalized: list[Tensor]
    augment: Augment | None
    optimizer: Optimizer
    facts: OptimizerFacts
    schedule: Schedule
    scaler: GradScaler | None
    usage: Usage
    next_epoch: int = 0
    values: dict[str, float] = field(default_factory=dict)
    """Reported after the last epoch."""
    best_loss: float = math.inf
    stale_epochs: int = 0
    flags: set[str] = field(default_factory=set)

    @classmethod
    def build(cls, config: TrainerConfig, device: torch.device) -> Run:
        """The components of a configuration on the device, drawn from torch's random stream. InvalidValue where they do not fit."""
        usage = Usage(device)
        dtype = precision.WEIGHTS[config.precision]
        data = datasets.load(config.dataset, device, dtype)
        outputs = losses.num_outputs(config.loss.name, data.outputs)
        model = models.build(config.model.name, data.shape, outputs, **config.model.hyperparameters)
        initializers.build(config.initializer.name, **config.initializer.hyperparameters)(model)
        model.to(device, dtype)
        facts = optimizers.facts(config.optimizer.name)
        optimizer = optimizers.build(
            config.optimizer.name, _decayed_or_not(model, config, facts), **config.optimizer.hyperparameters
        )
        steps = batches.num_steps(len(data.train), config.batch_size, config.accumulate, full_batch=facts.full_batch)
        return cls(
            config=config,
            device=device,
            data=data,
            model=model,
            forward=compilation.compile(model, config.threads) if config.compile else model,
            weights=[p for p in model.parameters() if p.requires_grad],
            averaged=_averaged(model, config.ema),
            loss=precision.exact_loss(losses.build(config.loss.name, **config.loss.hyperparameters), config.precision),
            auxiliary=model.auxiliary_loss if isinstance(model, ViT) else None,
            penalty=regularizers.build(config.regularizer.name, **config.regularizer.hyperparameters),
            penalized=[p for p in model.parameters() if config.decay_biases_and_norms or optimizers.is_decayed(p)],
            augment=augmentations.build(config.augmentation.name, **config.augmentation.hyperparameters),
            optimizer=optimizer,
            facts=facts,
            schedule=schedules.build(config.schedule.name, optimizer, config.epochs, steps, **config.schedule.hyperparameters),
            scaler=precision.make_scaler(config.precision, device),
            usage=usage,
        )

    @property
    def evaluated(self) -> nn.Module:
        """The model as it is validated and tested: of the averaged weights where there are such."""
        return self.model if self.averaged is None else self.averaged.module

    def mixed(self) -> AbstractContextManager[object]:
        """The precision in which the model and its loss are computed."""
        return precision.mixed(self.config.precision, self.device)

    def is_stale(self) -> bool:
        """Whether early stopping is due."""
        return self.config.early_stopping is not None and self.stale_epochs >= self.config.early_stopping

    def state(self, epoch: int) -> dict[str, Any]:
        """What a later process needs to go on after `epoch`."""
        state: dict[str, Any] = {
            "epoch": epoch,
            **{name: part.state_dict() for name, part in self._parts().items()},
            "random": {"cpu": torch.get_rng_state()},
            "values": self.values,
            "best_loss": self.best_loss,
            "stale_epochs": self.stale_epochs,
            "flags": sorted(self.flags),
        }
        if self.device.type == "cuda":
            state["random"]["cuda"] = torch.cuda.get_rng_state(self.device)
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where this very training has stopped."""
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        torch.set_rng_state(state["random"]["cpu"])
        if self.device.type == "cuda" and "cuda" in state["random"]:
            torch.cuda.set_rng_state(state["random"]["cuda"], self.device)
        self.values = state["values"]
        self.best_loss, self.stale_epochs = state["best_loss"], state["stale_epochs"]
        self.flags = set(state["flags"])
        self.next_epoch = state["epoch"] + 1

    def inherit(self, state: dict[str, Any]) -> None:
        """Go on from the checkpoint of another training, with this one's hyperparameters (Jaderberg et al. 2017, "exploit").

        Weights, averaged weights, moments, loss scale and the place in the schedule are the other's; lr, decay and the like are what this
        configuration says, and the schedule is as far as its epochs, however many steps this batch size makes of them. Random streams stay
        as this trial's seed has set them: all that copy one trial would else see its very dropout masks again. Early stopping begins
        anew, for how long the loss had not fallen was the doing of the other's hyperparameters.
        """
        for name in ("model", "averaged", "scaler"):
            if name in self._parts():
                self._parts()[name].load_state_dict(state[name])
        self.next_epoch = state["epoch"] + 1
        optimizers.inherit(self.optimizer, state["optimizer"], self._order_of(state["optimizer"]))
        self.schedule.inherit(state["schedule"], self.next_epoch)
        self.values = state["values"]

    def _order_of(self, saved: dict[str, Any]) -> list[Tensor]:
        """The weights in the order of a saved optimizer, whose groups are others where it had weight decay and this one has none."""
        sizes = [len(group["params"]) for group in saved["param_groups"]]
        made = self.optimizer
        if [len(group["params"]) for group in made.param_groups] != sizes:
            hyperparameters = self.config.optimizer.hyperparameters
            is_grouped = bool(hyperparameters["weight_decay"])
            params = self.model.parameters() if is_grouped else _grouped(self.model, self.config)
            made = optimizers.build(self.config.optimizer.name, params, **hyperparameters)
        return [weight for group in made.param_groups for weight in group["params"]]

    def _parts(self) -> dict[str, Any]:
        """What has a state of its own, by its name in a checkpoint."""
        parts = {
            "model": self.model,
            "averaged": self.averaged,
            "optimizer": self.optimizer,
            "schedule": self.schedule,
            "scaler": self.scaler,
        }
        return {name: part for name, part in parts.items() if part is not None}


def _decayed_or_not(model: nn.Module, config: TrainerConfig, facts: OptimizerFacts) -> Any:
    """All parameters, or groups of those with weight decay and without, where it makes a difference: each group costs time."""
    if facts.decay == "none" or not config.optimizer.hyperparameters["weight_decay"]:
        return model.parameters()
    return _grouped(model, config)


def _grouped(model: nn.Module, config: TrainerConfig) -> list[dict[str, Any]]:
    return optimizers.groups(model, all_decay=config.decay_biases_and_norms)


def _averaged(model: nn.Module, decay: float | None) -> AveragedModel | None:
    """Buffers are averaged too: batch norm's statistics shall be those of the averaged weights."""
    if decay is None:
        return None
    average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    averaged = AveragedModel(model, multi_avg_fn=average, use_buffers=True)
    for module in averaged.modules():
        if isinstance(module, nn.RNNBase):
            module.flatten_parameters()  # a copy's lie scattered, and cuDNN would gather them at each call
    return averaged
