"""Learning-rate schedules: `build(name, optimizer, epochs, steps_per_epoch, ...)`, then `step()` after each optimizer step.

A schedule is a curve: the factor of the optimizer's own lr after e epochs, warm-up not counted. With steps_per_epoch 1, `step()`
is called once an epoch, as torch's schedulers are. `observe(val_loss)` at the end of each epoch matters to plateau alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from torch.optim import Optimizer

from workers.training.registry import Registry

Curve = Callable[[float], float]
# Steps over steps_per_epoch may fall a rounding error short of a whole epoch.
ROUNDING = 1e-9


class Plateau:
    """Falls by `factor` when the metric has not improved for more than `patience` observations."""

    def __init__(self, *, factor: float, patience: int, threshold: float) -> None:
        self.factor, self.patience, self.threshold = factor, patience, threshold
        self.best = math.inf
        self.stale = 0
        self.scale = 1.0

    def __call__(self, e: float) -> float:
        return self.scale

    def observe(self, metric: float) -> None:
        if metric < self.best * (1 - self.threshold):
            self.best, self.stale = metric, 0
        else:
            self.stale += 1
        if self.stale > self.patience:
            self.scale, self.stale = self.scale * self.factor, 0


class Schedule:
    def __init__(
        self,
        optimizer: Optimizer,
        curve: Curve,
        *,
        steps_per_epoch: int,
        warmup: float,
        warmup_factor: float,
        min_lr: float = 0.0,
    ) -> None:
        self.optimizer = optimizer
        self.curve = curve
        self.steps_per_epoch = steps_per_epoch
        self.warmup, self.warmup_factor, self.min_lr = warmup, warmup_factor, min_lr
        self.base = [float(group["lr"]) for group in optimizer.param_groups]
        self.num_steps = 0
        self._set()

    def factor(self, num_steps: int) -> float:
        """The multiple of the base lr for the step after `num_steps` steps."""
        e = num_steps / self.steps_per_epoch
        if e < self.warmup:
            return self.warmup_factor + (1 - self.warmup_factor) * e / self.warmup
        return self.curve(e - self.warmup)

    def step(self, metric: float | None = None) -> None:
        self.num_steps += 1
        if metric is not None:
            self.observe(metric)
        self._set()

    def observe(self, metric: float) -> None:
        """Tell a plateau the metric of the epoch that has ended; warm-up is not judged."""
        if isinstance(self.curve, Plateau) and self.num_steps >= self.warmup * self.steps_per_epoch:
            self.curve.observe(metric)
            self._set()

    def get_last_lr(self) -> list[float]:
        return [float(group["lr"]) for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        state: dict[str, Any] = {"num_steps": self.num_steps, "base": self.base}
        if isinstance(self.curve, Plateau):
            state["plateau"] = {"best": self.curve.best, "stale": self.curve.stale, "scale": self.curve.scale}
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.base = list(state["base"])
        self._go_to(state, state["num_steps"])

    def inherit(self, state: dict[str, Any], num_epochs: int) -> None:
        """Go on after `num_epochs` of another training, from its plateau, with this one's base lr and as many steps as it makes an epoch."""
        self._go_to(state, num_epochs * self.steps_per_epoch)

    def _go_to(self, state: dict[str, Any], num_steps: int) -> None:
        self.num_steps = num_steps
        if isinstance(self.curve, Plateau):
            saved = state["plateau"]
            self.curve.best, self.curve.stale, self.curve.scale = saved["best"], saved["stale"], saved["scale"]
        self._set()

    def _set(self) -> None:
        factor = self.factor(self.num_steps)
        for group, base in zip(self.optimizer.param_groups, self.base, strict=True):
            group["lr"] = max(base * factor, min(base, self.min_lr))


def _schedule(make_curve: Callable[..., Curve]) -> Callable[..., Schedule]:
    """A builder from a function of the epochs after warm-up and the entry's hyperparameters to a curve."""

    def build_schedule(
        optimizer: Optimizer,
        epochs: float,
        steps_per_epoch: int,
        *,
        warmup: float,
        warmup_factor: float,
        min_lr: float = 0.0,
        **hyperparameters: Any,
    ) -> Schedule:
        return Schedule(
            optimizer,
            make_curve(max(epochs - warmup, 1.0), **hyperparameters),
            steps_per_epoch=steps_per_epoch,
            warmup=warmup,
            warmup_factor=warmup_factor,
            min_lr=min_lr,
        )

    return build_schedule


def _constant(epochs: float) -> Curve:
    return lambda e: 1.0


def _step(epochs: float, *, step_size: int, gamma: float) -> Curve:
    return lambda e: float(gamma ** math.floor(e / step_size + ROUNDING))


def _exponential(epochs: float, *, gamma: float) -> Curve:
    return lambda e: float(gamma ** math.floor(e + ROUNDING))


def _plateau(epochs: float, *, factor: float, patience: int, threshold: float) -> Curve:
    return Plateau(factor=factor, patience=patience, threshold=threshold)


def _multistep(epochs: float, *, milestones: Sequence[int], gamma: float) -> Curve:
    return lambda e: float(gamma ** sum(milestone <= e + ROUNDING for milestone in milestones))


def _falling_cosine(share: float) -> float:
    """From 1 to 0 as share goes from 0 to 1, and 0 from there on."""
    return (1 + math.cos(math.pi * min(share, 1.0))) / 2


def _cosine(epochs: float, *, min_factor: float) -> Curve:
    return lambda e: min_factor + (1 - min_factor) * _falling_cosine(e / epochs)


def _cosine_restarts(epochs: float, *, first_cycle: int, multiplier: int, min_factor: float) -> Curve:
    def curve(e: float) -> float:
        length, since = float(first_cycle), e + ROUNDING
        while since >= length:
            since -= length
            length *= multiplier
        return min_factor + (1 - min_factor) * _falling_cosine(max(since - ROUNDING, 0.0) / length)

    return curve


def _linear(epochs: float, *, end_factor: float) -> Curve:
    return lambda e: 1 + (end_factor - 1) * min(e / epochs, 1.0)


def _polynomial(epochs: float, *, power: float, end_factor: float) -> Curve:
    return lambda e: end_factor + (1 - end_factor) * float((1 - min(e / epochs, 1.0)) ** power)


def _one_cycle(epochs: float, *, rise: float, start_factor: float, end_factor: float) -> Curve:
    def curve(e: float) -> float:
        share = e / epochs
        if share < rise:
            return start_factor + (1 - start_factor) * (1 - _falling_cosine(share / rise))
        return end_factor + (1 - end_factor) * _falling_cosine((share - rise) / (1 - rise))

    return curve


def _cyclic(epochs: float, *, half_cycle: int, base_factor: float, decay: float) -> Curve:
    def curve(e: float) -> float:
        cycle, within = divmod(e + ROUNDING, 2 * half_cycle)
        height = 1 - abs((within - ROUNDING) / half_cycle - 1)
        return base_factor + (1 - base_factor) * height * float(decay**cycle)

    return curve


_REGISTRY: Registry[Schedule] = Registry(
    "schedules",
    {
        "constant": _schedule(_constant),
        "step": _schedule(_step),
        "exponential": _schedule(_exponential),
        "plateau": _schedule(_plateau),
        "multistep": _schedule(_multistep),
        "cosine": _schedule(_cosine),
        "cosine_restarts": _schedule(_cosine_restarts),
        "linear": _schedule(_linear),
        "polynomial": _schedule(_polynomial),
        "one_cycle": _schedule(_one_cycle),
        "cyclic": _schedule(_cyclic),
    },
)


def names() -> list[str]:
    return _REGISTRY.names()


def build(name: str, optimizer: Optimizer, epochs: float = 1, steps_per_epoch: int = 1, **hyperparameters: Any) -> Schedule:
    """Take over the optimizer's lr: it is set for the first step at once, and by each `step()` for the next."""
    return _REGISTRY.build(name, optimizer, epochs, steps_per_epoch, **hyperparameters)
