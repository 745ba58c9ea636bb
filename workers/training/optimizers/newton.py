"""Newton's method, Newton-CG and BFGS over all weights as one vector, on the device they are on.

All three search along their direction by halving the step until Armijo's condition holds (Nocedal and Wright, Numerical
Optimization, chapters 3, 6 and 7). The loss must be the same function at each call within a step: full batch, fixed masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tuner.errors import InvalidValue
from workers.training.optimizers.rule import Closure, CurvatureRule

ARMIJO = 1e-4
MAX_HALVINGS = 30
ROWS_AT_ONCE = 128


class VectorRule(CurvatureRule):
    """The weights as one vector, moved along directions."""

    def __init__(self, params: Any, *, max_parameters: int | None = None, **defaults: Any) -> None:
        super().__init__(params, **defaults)
        count = sum(w.numel() for w in self.weights)
        if max_parameters is not None and count > max_parameters:
            raise InvalidValue(
                f"{type(self).__name__.lower()} takes at most {max_parameters:,} parameters and this model has {count:,}: "
                "use lbfgs or newton_cg, or a smaller model"
            )

    def vector(self) -> Tensor:
        return flatten(self.weights).detach().clone()

    @torch.no_grad()
    def move_to(self, vector: Tensor) -> None:
        for weight, part in zip(self.weights, self.unflatten(vector), strict=True):
            weight.copy_(part)

    def unflatten(self, vector: Tensor) -> list[Tensor]:
        parts = torch.split(vector, [w.numel() for w in self.weights])
        return [part.view_as(w) for part, w in zip(parts, self.weights, strict=True)]

    def value_at(self, closure: Closure, vector: Tensor) -> float:
        self.move_to(vector)
        with torch.no_grad():
            return float(closure())

    def search(self, closure: Closure, start: Tensor, loss: float, slope: float, direction: Tensor, first: float) -> float:
        """Move from `start` along a direction of descent; returns the step length, 0 when none lowers the loss."""
        length = first
        for _ in range(MAX_HALVINGS):
            # Written so that a loss that is not a number counts as too high.
            if self.value_at(closure, start + length * direction) <= loss + ARMIJO * length * slope:
                return length
            length /= 2
        self.move_to(start)
        return 0.0


class Newton(VectorRule):
    """w <- w - lr (H + damping I)^-1 g with the exact Hessian; damping is quadrupled until the matrix is positive definite."""

    def advance(self, closure: Closure) -> Any:
        group = self.param_groups[0]
        loss, gradients = self.differentiate(closure, twice=True)
        gradient = flatten(gradients)
        hessian = self._hessian(gradient)
        direction = -self._solve(hessian, gradient.detach(), group["damping"])
        start = self.vector()
        if group["line_search"]:
            slope = float(gradient.detach() @ direction)
            self.search(closure, start, float(loss.detach()), slope, direction, group["lr"])
        else:
            self.move_to(start + group["lr"] * direction)
        return loss.detach()

    def _hessian(self, gradient: Tensor) -> Tensor:
        """Row by row, many rows at once."""
        if not gradient.requires_grad:
            return torch.zeros(len(gradient), len(gradient), dtype=gradient.dtype, device=gradient.device)
        eye = torch.eye(len(gradient), dtype=gradient.dtype, device=gradient.device)
        rows = []
        for chunk in torch.split(eye, ROWS_AT_ONCE):
            found = torch.autograd.grad(
                gradient, self.weights, chunk, retain_graph=True, is_grads_batched=True, allow_unused=True, materialize_grads=True
            )
            rows.append(torch.cat([part.reshape(len(chunk), -1) for part in found], 1))
        hessian = torch.cat(rows).detach()
        return (hessian + hessian.T) / 2

    @staticmethod
    def _solve(hessian: Tensor, gradient: Tensor, damping: float) -> Tensor:
        eye = torch.eye(len(gradient), dtype=gradient.dtype, device=gradient.device)
        # Below this, factoring an almost singular matrix gives directions made of rounding errors.
        least = float(hessian.diagonal().abs().max().clamp(min=1.0)) * 10 * torch.finfo(gradient.dtype).eps
        while True:
            factor, failed = torch.linalg.cholesky_ex(hessian + damping * eye)
            if not failed:
                return torch.cholesky_solve(gradient[:, None], factor)[:, 0]
            if not damping < 1e30:
                return gradient  # a Hessian that is not finite: descend and let the loss tell
            damping = max(4 * damping, least)


class NewtonCG(VectorRule):
    """The Newton direction by conjugate gradients on Hessian-vector products, left at the first negative curvature."""

    def advance(self, closure: Closure) -> Any:
        group = self.param_groups[0]
        loss, gradients = self.differentiate(closure, twice=True)
        gradient = flatten(gradients).detach()
        direction = self._direction(gradients, gradient, group["max_cg"])
        slope = float(gradient @ direction)
        self.search(closure, self.vector(), float(loss.detach()), slope, direction, group["lr"])
        return loss.detach()

    def _direction(self, gradients: list[Tensor], gradient: Tensor, max_cg: int) -> Tensor:
        norm = gradient.norm()
        enough = min(0.5, float(norm.sqrt())) * norm
        found, residual, search = torch.zeros_like(gradient), gradient.clone(), -gradient
        for iteration in range(max_cg):
            curved = flatten(self.curvature_along(gradients, self.unflatten(search)))
            curvature = search @ curved
            if curvature <= 0:
                return search if iteration == 0 else found
            square = residual @ residual
            length = square / curvature
            found = found + length * search
            residual = residual + length * curved
            if residual.norm() < enough:
                break
            search = -residual + (residual @ residual) / square * search
        return found


class BFGS(VectorRule):
    """H <- (I - r s y') H (I - r y s') + r s s' with r = 1 / (s'y), where s'y > 0; w <- w - length H g; max_iter times a step."""

    def advance(self, closure: Closure) -> Any:
        group = self.param_groups[0]
        first_loss: Tensor | None = None
        state = self.state[self.weights[0]]
        loss, gradients = self.differentiate(closure, twice=False)
        for _ in range(group["max_iter"]):
            first_loss = loss.detach() if first_loss is None else first_loss
            gradient = flatten(gradients)
            if not bool(gradient.abs().max() > group["tolerance_grad"]):
                break
            inverse = state.get("inverse_hessian")
            direction = -gradient if inverse is None else -(inverse @ gradient)
            slope = float(gradient @ direction)
            if slope >= 0:
                state.pop("inverse_hessian")
                direction, slope = -gradient, -float(gradient @ gradient)
            start = self.vector()
            # Nothing is known of the scale yet: the first step has at most length 1.
            first = min(1.0, 1.0 / float(gradient.norm())) if "inverse_hessian" not in state else 1.0
            length = self.search(closure, start, float(loss.detach()), slope, direction, group["lr"] * first)
            if length == 0.0:
                if "inverse_hessian" not in state:
                    break
                del state["inverse_hessian"]
                continue
            loss, gradients = self.differentiate(closure, twice=False)
            self._learn(state, length * direction, flatten(gradients) - gradient)
        return loss.detach() if first_loss is None else first_loss

    @staticmethod
    def _learn(state: dict[str, Any], s: Tensor, y: Tensor) -> None:
        curvature = s @ y
        if not bool(curvature > 1e-10 * s.norm() * y.norm()):
            return
        inverse = state.get("inverse_hessian")
        if inverse is None:
            inverse = torch.eye(len(s), dtype=s.dtype, device=s.device) * (curvature / (y @ y))
        seen = inverse @ y
        # The product above, multiplied out and in place: three outer products instead of two products of matrices.
        scale = float(curvature)
        inverse.addr_(s, s, alpha=(scale + float(y @ seen)) / scale**2)
        inverse.addr_(seen, s, alpha=-1 / scale).addr_(s, seen, alpha=-1 / scale)
        state["inverse_hessian"] = inverse


def flatten(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.reshape(-1) for tensor in tensors])
