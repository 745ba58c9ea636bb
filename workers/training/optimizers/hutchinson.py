"""AdaHessian and Sophia: the diagonal of the Hessian, estimated by Hutchinson's z * (H z), in the place of squared gradients.

z is drawn from torch's global random stream. Weakness: AdaHessian's averaging of the diagonal over a convolution's kernel is left out.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from workers.training.optimizers.rule import Closure, CurvatureRule


class AdaHessian(CurvatureRule):
    """v <- beta2 v + (1-beta2) D^2 with D = z * (H z) ; w <- w - lr (mhat / (vhat^(power/2) + eps) + decay w)."""

    def advance(self, closure: Closure) -> Any:
        loss, gradients = self.differentiate(closure, twice=True)
        signs = [torch.randint_like(w, 2) * 2 - 1 for w in self.weights]
        curvatures = self.curvature_along(gradients, signs)
        diagonals = {w: z * h for w, z, h in zip(self.weights, signs, curvatures, strict=True)}
        with torch.no_grad():
            for group in self.param_groups:
                for weight in group["params"]:
                    self._update(weight, diagonals[weight], group)
        return loss.detach()

    def _update(self, weight: Tensor, diagonal: Tensor, group: dict[str, Any]) -> None:
        state, (beta1, beta2), gradient = self.state[weight], group["betas"], weight.grad
        assert gradient is not None
        if not state:
            state["t"] = 0
            state["mean"], state["square"] = torch.zeros_like(weight), torch.zeros_like(weight)
        state["t"] += 1
        mean = state["mean"].lerp_(gradient, 1 - beta1)
        square = state["square"].mul_(beta2).addcmul_(diagonal, diagonal, value=1 - beta2)
        root = (square / (1 - beta2 ** state["t"])).pow_(group["power"] / 2).add_(group["eps"])
        weight.mul_(1 - group["lr"] * group["weight_decay"])
        weight.addcdiv_(mean, root, value=-group["lr"] / (1 - beta1 ** state["t"]))


class Sophia(CurvatureRule):
    """h <- beta2 h + (1-beta2) z * (H z), each update_every steps ; w <- w - lr (clip(m / max(gamma h, eps), 1) + decay w)."""

    def advance(self, closure: Closure) -> Any:
        is_due = all(self.state[w].get("t", 0) % g["update_every"] == 0 for g in self.param_groups for w in g["params"])
        loss, gradients = self.differentiate(closure, twice=is_due)
        diagonals: list[Tensor | None] = [None] * len(gradients)
        if is_due:
            directions = [torch.randn_like(w) for w in self.weights]
            curvatures = self.curvature_along(gradients, directions)
            diagonals = [z * h for z, h in zip(directions, curvatures, strict=True)]
        found = dict(zip(self.weights, diagonals, strict=True))
        with torch.no_grad():
            for group in self.param_groups:
                for weight in group["params"]:
                    self._update(weight, found[weight], group)
        return loss.detach()

    def _update(self, weight: Tensor, diagonal: Tensor | None, group: dict[str, Any]) -> None:
        state, (beta1, beta2), gradient = self.state[weight], group["betas"], weight.grad
        assert gradient is not None
        if not state:
            state["t"] = 0
            state["mean"], state["curvature"] = torch.zeros_like(weight), torch.zeros_like(weight)
        state["t"] += 1
        if diagonal is not None:
            state["curvature"].lerp_(diagonal, 1 - beta2)
        mean = state["mean"].lerp_(gradient, 1 - beta1)
        step = (mean / (group["gamma"] * state["curvature"]).clamp_(min=group["eps"])).clamp_(-1, 1)
        weight.mul_(1 - group["lr"] * group["weight_decay"]).add_(step, alpha=-group["lr"])
