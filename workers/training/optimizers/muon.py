"""Muon: momentum made orthogonal for matrices; AdamW for everything else.

torch.optim.Muon takes matrices alone and computes in bfloat16; this one takes a whole model and computes in the weights' own
precision. Kernels of convolutions are taken as matrices of one row an output channel.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from workers.training.optimizers.rule import Group, State, WeightRule

QUINTIC = (3.4445, -4.7750, 2.0315)
"""Coefficients of the Newton-Schulz iteration: they bring singular values near 1 quickly rather than exactly."""


class Muon(WeightRule):
    def __init__(self, params: Any, *, lr: float, adamw_lr: float, **defaults: Any) -> None:
        super().__init__(_split(params, lr, adamw_lr), lr=lr, **defaults)

    def start(self, weight: Tensor, state: State, group: Group) -> None:
        state["mean"] = torch.zeros_like(weight)
        if weight.ndim < 2:
            state["square"] = torch.zeros_like(weight)

    def update(self, weight: Tensor, gradient: Tensor, state: State, group: Group, t: int) -> None:
        weight.mul_(1 - group["lr"] * group["weight_decay"])
        if weight.ndim < 2:
            beta1, beta2 = group["betas"]
            mean = state["mean"].lerp_(gradient, 1 - beta1)
            square = state["square"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
            root = (square / (1 - beta2**t)).sqrt_().add_(group["eps"])
            weight.addcdiv_(mean, root, value=-group["lr"] / (1 - beta1**t))
            return
        mean = state["mean"].lerp_(gradient, 1 - group["momentum"])
        ahead = gradient.lerp(mean, group["momentum"])
        step = orthogonalize(ahead.reshape(len(weight), -1), group["iterations"])
        rows, columns = step.shape
        weight.add_(step.view_as(weight), alpha=-group["lr"] * math.sqrt(max(1.0, rows / columns)))


def orthogonalize(matrix: Tensor, iterations: int) -> Tensor:
    """The nearest matrix with all singular values near 1, by Newton-Schulz."""
    a, b, c = QUINTIC
    is_tall = matrix.shape[0] > matrix.shape[1]
    x: Tensor = matrix.T if is_tall else matrix
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(iterations):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if is_tall else x


def _split(params: Any, lr: float, adamw_lr: float) -> list[Group]:
    """Groups of matrices with Muon's rate and of the other weights with AdamW's."""
    given = list(params)
    groups = given if given and isinstance(given[0], dict) else [{"params": given}]
    found = []
    for group in groups:
        weights = list(group["params"])
        matrices = [w for w in weights if w.ndim >= 2]
        others = [w for w in weights if w.ndim < 2]
        found += [{**group, "params": matrices, "lr": lr}] if matrices else []
        found += [{**group, "params": others, "lr": adamw_lr}] if others else []
    return found
