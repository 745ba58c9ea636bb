"""Lion, which steps by a sign, and LAMB, which steps by a ratio of norms."""

from __future__ import annotations

import torch
from torch import Tensor

from workers.training.optimizers.rule import Group, State, WeightRule


class Lion(WeightRule):
    """u = sign(beta1 m + (1-beta1) g) ; w <- w - lr (u + decay w) ; m <- beta2 m + (1-beta2) g."""

    def start(self, weight: Tensor, state: State, group: Group) -> None:
        state["mean"] = torch.zeros_like(weight)

    def update(self, weight: Tensor, gradient: Tensor, state: State, group: Group, t: int) -> None:
        beta1, beta2 = group["betas"]
        sign = state["mean"].lerp(gradient, 1 - beta1).sign_()
        weight.mul_(1 - group["lr"] * group["weight_decay"]).add_(sign, alpha=-group["lr"])
        state["mean"].lerp_(gradient, 1 - beta2)


class LAMB(WeightRule):
    """r = mhat / (sqrt(vhat) + eps) + decay w ; w <- w - lr (|w| / |r|) r, the ratio 1 where either norm is 0."""

    def start(self, weight: Tensor, state: State, group: Group) -> None:
        state["mean"] = torch.zeros_like(weight)
        state["square"] = torch.zeros_like(weight)

    def update(self, weight: Tensor, gradient: Tensor, state: State, group: Group, t: int) -> None:
        beta1, beta2 = group["betas"]
        mean = state["mean"].lerp_(gradient, 1 - beta1)
        square = state["square"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        step = (mean / (1 - beta1**t)).div_((square / (1 - beta2**t)).sqrt_().add_(group["eps"]))
        step.add_(weight, alpha=group["weight_decay"])
        weight_norm, step_norm = weight.norm(), step.norm()
        ratio = torch.where((weight_norm > 0) & (step_norm > 0), weight_norm / step_norm, 1.0)
        weight.sub_(step.mul_(group["lr"] * ratio))
