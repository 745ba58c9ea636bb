"""RMSprop with eps inside the root: w <- w - lr g / sqrt(E[g2] + eps). torch's own puts it outside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer


class RMSpropInside(Optimizer):
    def __init__(
        self,
        params: Any,
        *,
        lr: float,
        rho: float,
        eps: float,
        momentum: float,
        centered: bool,
        weight_decay: float,
    ) -> None:
        defaults = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "momentum": momentum,
            "centered": centered,
            "weight_decay": weight_decay,
        }
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, group)
        return loss

    def _update(self, weight: torch.Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        gradient = weight.grad
        assert gradient is not None
        if group["weight_decay"] != 0:
            gradient = gradient.add(weight, alpha=group["weight_decay"])
        if not state:
            state["square"] = torch.zeros_like(weight)
            if group["centered"]:
                state["mean"] = torch.zeros_like(weight)
            if group["momentum"] > 0:
                state["velocity"] = torch.zeros_like(weight)
        square = state["square"].mul_(group["rho"]).addcmul_(gradient, gradient, value=1 - group["rho"])
        if group["centered"]:
            mean = state["mean"].lerp_(gradient, 1 - group["rho"])
            # Rounding may leave the variance of a constant gradient below zero.
            square = square.addcmul(mean, mean, value=-1).clamp_(min=0)
        step = gradient / (square + group["eps"]).sqrt_()
        if group["momentum"] > 0:
            step = state["velocity"].mul_(group["momentum"]).add_(step)
        weight.add_(step, alpha=-group["lr"])
