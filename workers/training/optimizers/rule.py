"""What the optimizers of this package share: an update rule for one weight, or for all weights from a closure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

Closure = Callable[[], Any]
Group = dict[str, Any]
State = dict[str, Any]


class WeightRule(Optimizer, ABC):
    """An optimizer that treats each weight by itself: `start` makes its state, `update` takes step t (from 1)."""

    def __init__(self, params: Any, **defaults: Any) -> None:
        super().__init__(params, defaults)

    @abstractmethod
    def start(self, weight: Tensor, state: State, group: Group) -> None: ...

    @abstractmethod
    def update(self, weight: Tensor, gradient: Tensor, state: State, group: Group, t: int) -> None: ...

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["t"] = 0
                    self.start(weight, state, group)
                state["t"] += 1
                self.update(weight, weight.grad, state, group, state["t"])
        return loss


class CurvatureRule(Optimizer, ABC):
    """An optimizer that differentiates for itself: `step` takes a closure that returns the loss without calling backward.

    It leaves the gradient in `.grad`, for those who watch its norm.
    """

    def __init__(self, params: Any, **defaults: Any) -> None:
        super().__init__(params, defaults)

    @property
    def weights(self) -> list[Tensor]:
        return [weight for group in self.param_groups for weight in group["params"]]

    @abstractmethod
    def advance(self, closure: Closure) -> Any:
        """One step; returns the loss it started from."""

    def step(self, closure: Closure | None = None) -> Any:
        if closure is None:
            raise TypeError(f"{type(self).__name__}.step needs a closure that returns the loss without calling backward")
        with torch.enable_grad():
            return self.advance(closure)

    def differentiate(self, closure: Closure, *, twice: bool) -> tuple[Tensor, list[Tensor]]:
        """The loss and its gradients by weight, zeros where the loss does not depend; `twice`: to be differentiated again."""
        loss = closure()
        found = torch.autograd.grad(loss, self.weights, create_graph=twice, allow_unused=True)
        gradients = [torch.zeros_like(w) if g is None else g for w, g in zip(self.weights, found, strict=True)]
        for weight, gradient in zip(self.weights, gradients, strict=True):
            weight.grad = gradient.detach()
        return loss, gradients

    def curvature_along(self, gradients: list[Tensor], directions: list[Tensor]) -> list[Tensor]:
        """The Hessian times `directions`, from gradients made with `twice`."""
        # A gradient that depends on no weight, as that of a linear loss, has no graph to go back through.
        pairs = [(g, d) for g, d in zip(gradients, directions, strict=True) if g.requires_grad]
        if not pairs:
            return [torch.zeros_like(w) for w in self.weights]
        found = torch.autograd.grad(
            [g for g, _ in pairs], self.weights, [d for _, d in pairs], retain_graph=True, allow_unused=True
        )
        return [torch.zeros_like(w) if h is None else h for w, h in zip(self.weights, found, strict=True)]
