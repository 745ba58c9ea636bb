"""Optimizers that take a knob away: Prodigy finds the scale of the learning rate, schedule-free AdamW needs no schedule."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from workers.training.optimizers.rule import Closure, Group, State, WeightRule


class Prodigy(Optimizer):
    """Adam whose rate is d lr, with d a growing lower bound of the distance from the start to the solution, over all weights.

    Keeps d and the numerator of its estimate as plain numbers in each group, so each step waits for the device once.
    """

    GROUP_STATE = ("d", "numerator", "t")
    """What a group keeps that is no hyperparameter."""

    def __init__(self, params: Any, **defaults: Any) -> None:
        super().__init__(params, {**defaults, "d": defaults["d0"], "numerator": 0.0, "t": 0})

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        weights = [(w, group) for group in self.param_groups for w in group["params"] if w.grad is not None]
        if not weights:
            return loss
        d, d0 = self.param_groups[0]["d"], self.param_groups[0]["d0"]
        beta3 = self.param_groups[0]["betas"][1] ** 0.5
        dot, total = 0.0, 0.0
        for weight, group in weights:
            gradient, state, scale = weight.grad, self.state[weight], d * group["lr"]
            assert gradient is not None
            beta1, beta2 = group["betas"]
            if not state:
                state["start"] = weight.clone()
                for name in ("mean", "square", "sum"):
                    state[name] = torch.zeros_like(weight)
            dot = dot + d / d0 * scale * torch.sum(gradient * (state["start"] - weight))
            state["mean"].mul_(beta1).add_(gradient, alpha=d * (1 - beta1))
            state["square"].mul_(beta2).addcmul_(gradient, gradient, value=d * d * (1 - beta2))
            state["sum"].mul_(beta3).add_(gradient, alpha=d / d0 * scale)
            total = total + state["sum"].abs().sum()
        for weight, group in weights:
            state, scale = self.state[weight], d * group["lr"]
            weight.mul_(1 - scale * group["weight_decay"])
            weight.addcdiv_(state["mean"], state["square"].sqrt().add_(d * group["eps"]), value=-scale)
        numerator = beta3 * self.param_groups[0]["numerator"] + float(dot)
        estimate = self.param_groups[0]["d_coefficient"] * numerator / float(total) if float(total) > 0 else 0.0
        for group in self.param_groups:
            group["numerator"], group["d"], group["t"] = numerator, max(d, estimate), group["t"] + 1
        return loss


class ScheduleFreeAdamW(WeightRule):
    """Keeps the fast iterate z and its average x; gradients are taken at y = (1-beta1) z + beta1 x.

    The weights hold y between `train()` and `eval()`, and x after `eval()`: evaluate and save only then.
    """

    GROUP_STATE = ("averaged",)

    def __init__(self, params: Any, **defaults: Any) -> None:
        super().__init__(params, **defaults, averaged=False)

    def start(self, weight: Tensor, state: State, group: Group) -> None:
        state["z"] = weight.clone()
        state["square"] = torch.zeros_like(weight)
        state["weight_sum"] = 0.0

    def update(self, weight: Tensor, gradient: Tensor, state: State, group: Group, t: int) -> None:
        if group["averaged"]:
            raise RuntimeError("call train() before a step and eval() before evaluating")
        lr, (beta1, beta2) = group["lr"], group["betas"]
        square = state["square"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        step = gradient / (square / (1 - beta2**t)).sqrt_().add_(group["eps"])
        step.add_(weight, alpha=group["weight_decay"])
        state["weight_sum"] += lr**2
        share = lr**2 / state["weight_sum"] if state["weight_sum"] > 0 else 0.0
        z = state["z"]
        average = (weight - (1 - beta1) * z) / beta1
        z.sub_(step, alpha=lr)
        average.lerp_(z, share)
        weight.copy_(average.mul_(beta1).add_(z, alpha=1 - beta1))

    @torch.no_grad()
    def eval(self) -> None:
        for group in self.param_groups:
            if not group["averaged"]:
                for weight in group["params"]:
                    if "z" in self.state[weight]:
                        weight.lerp_(self.state[weight]["z"], 1 - 1 / group["betas"][0])
            group["averaged"] = True

    @torch.no_grad()
    def train(self) -> None:
        for group in self.param_groups:
            if group["averaged"]:
                for weight in group["params"]:
                    if "z" in self.state[weight]:
                        weight.lerp_(self.state[weight]["z"], 1 - group["betas"][0])
            group["averaged"] = False
