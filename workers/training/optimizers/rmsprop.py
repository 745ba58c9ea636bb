"""RMSprop with eps inside the root: w <- w - lr g / sqrt(E[g2] + eps). torch's own puts it outside."""

from __future__ import annotations

import torch
from torch import Tensor

from workers.training.optimizers.rule import Group, State, WeightRule


class RMSpropInside(WeightRule):
    def start(self, weight: Tensor, state: State, group: Group) -> None:
        state["square"] = torch.zeros_like(weight)
        if group["centered"]:
            state["mean"] = torch.zeros_like(weight)
        if group["momentum"] > 0:
            state["velocity"] = torch.zeros_like(weight)

    def update(self, weight: Tensor, gradient: Tensor, state: State, group: Group, t: int) -> None:
        if group["weight_decay"] != 0:
            gradient = gradient.add(weight, alpha=group["weight_decay"])
        square = state["square"].mul_(group["rho"]).addcmul_(gradient, gradient, value=1 - group["rho"])
        if group["centered"]:
            mean = state["mean"].lerp_(gradient, 1 - group["rho"])
            # Rounding may leave the variance of a constant gradient below zero.
            square = square.addcmul(mean, mean, value=-1).clamp_(min=0)
        step = gradient / (square + group["eps"]).sqrt_()
        if group["momentum"] > 0:
            step = state["velocity"].mul_(group["momentum"]).add_(step)
        weight.add_(step, alpha=-group["lr"])
