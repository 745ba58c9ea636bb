"""Shampoo and SOAP: preconditioners made of one factor for the rows and one for the columns of a matrix.

Kernels of convolutions are taken as matrices of one row an output channel. A side longer than max_dimension has no factor.
Weights without two sides are treated by the diagonal method each generalizes: Adagrad and Adam.
"""

from __future__ import annotations

import torch
from torch import Tensor

from workers.training.optimizers.rule import Group, State, WeightRule


def _sides(matrix: Tensor, max_dimension: int) -> list[bool]:
    return [size <= max_dimension for size in matrix.shape]


class Shampoo(WeightRule):
    """L <- L + G G' ; R <- R + G' G ; W <- W - lr L^(-1/4) G R^(-1/4); with one factor alone its root is the inverse square root."""

    def start(self, weight: Tensor, state: State, group: Group) -> None:
        if group["momentum"] > 0:
            state["velocity"] = torch.zeros_like(weight)
        if weight.ndim < 2:
            state["square"] = torch.full_like(weight, group["eps"])
            return
        matrix = weight.reshape(len(weight), -1)
        for side, has_factor in enumerate(_sides(matrix, group["max_dimension"])):
            if has_factor:
                eye = torch.eye(matrix.shape[side], dtype=weight.dtype, device=weight.device)
                state[f"factor{side}"], state[f"root{side}"] = eye * group["eps"], eye.clone()

    def update(self, weight: Tensor, gradient: Tensor, state: State, group: Group, t: int) -> None:
        if group["weight_decay"] != 0:
            gradient = gradient.add(weight, alpha=group["weight_decay"])
        if weight.ndim < 2:
            step = gradient / state["square"].addcmul_(gradient, gradient).sqrt()
        else:
            step = self._precondition(gradient.reshape(len(gradient), -1), state, group, t).view_as(weight)
        if group["momentum"] > 0:
            step = state["velocity"].mul_(group["momentum"]).add_(step)
        weight.add_(step, alpha=-group["lr"])

    def _precondition(self, gradient: Tensor, state: State, group: Group, t: int) -> Tensor:
        sides = [side for side in (0, 1) if f"factor{side}" in state]
        step = gradient
        for side in sides:
            turned = gradient if side == 0 else gradient.T
            factor = state[f"factor{side}"].addmm_(turned, turned.T)
            if (t - 1) % group["update_every"] == 0:
                state[f"root{side}"] = inverse_root(factor, 2 * len(sides))
            step = state[f"root{side}"] @ step if side == 0 else step @ state[f"root{side}"]
        return step if sides else gradient


def _eigen(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues and eigenvectors of a symmetric matrix; all NaN where it is not finite, as arithmetic has it elsewhere."""
    if not bool(matrix.isfinite().all()):
        return matrix.new_full((len(matrix),), torch.nan), torch.full_like(matrix, torch.nan)
    values, vectors = torch.linalg.eigh(matrix)
    return values, vectors


def inverse_root(matrix: Tensor, degree: int) -> Tensor:
    """The symmetric positive matrix to the power -1/degree."""
    values, vectors = _eigen(matrix)
    # Rounding may leave the eigenvalues of directions without gradient below zero.
    floor = values.max().clamp(min=1e-30) * torch.finfo(matrix.dtype).eps
    root: Tensor = (vectors * values.clamp(min=floor).pow(-1 / degree)) @ vectors.T
    return root


class SOAP(WeightRule):
    """Adam in the eigenbasis of Shampoo's factors, which are running means; the basis follows by power iteration."""

    def start(self, weight: Tensor, state: State, group: Group) -> None:
        state["mean"] = torch.zeros_like(weight)
        state["square"] = torch.zeros_like(weight)
        if weight.ndim < 2:
            return
        gradient = weight.grad
        assert gradient is not None
        matrix = gradient.reshape(len(gradient), -1)
        for side, has_factor in enumerate(_sides(matrix, group["max_dimension"])):
            if has_factor:
                turned = matrix if side == 0 else matrix.T
                state[f"factor{side}"] = turned @ turned.T
                # In rows, as a checkpoint will give it back: products of another layout round differently.
                state[f"basis{side}"] = _eigen(state[f"factor{side}"])[1].flip(1).contiguous()

    def update(self, weight: Tensor, gradient: Tensor, state: State, group: Group, t: int) -> None:
        beta1, beta2 = group["betas"]
        mean = state["mean"].lerp_(gradient, 1 - beta1)
        rotated = self._rotate(gradient, state)
        square = state["square"].mul_(beta2).addcmul_(rotated, rotated, value=1 - beta2)
        root = (square / (1 - beta2**t)).sqrt_().add_(group["eps"])
        step = self._rotate(self._rotate(mean, state) / (1 - beta1**t) / root, state, back=True)
        weight.mul_(1 - group["lr"] * group["weight_decay"]).add_(step, alpha=-group["lr"])
        self._follow(gradient, state, group, t)

    def _rotate(self, tensor: Tensor, state: State, *, back: bool = False) -> Tensor:
        if tensor.ndim < 2:
            return tensor
        matrix = tensor.reshape(len(tensor), -1)
        if "basis0" in state:
            matrix = (state["basis0"] if back else state["basis0"].T) @ matrix
        if "basis1" in state:
            matrix = matrix @ (state["basis1"].T if back else state["basis1"])
        return matrix.reshape(tensor.shape)

    def _follow(self, gradient: Tensor, state: State, group: Group, t: int) -> None:
        if gradient.ndim < 2:
            return
        matrix = gradient.reshape(len(gradient), -1)
        for side in (0, 1):
            if f"factor{side}" not in state:
                continue
            turned = matrix if side == 0 else matrix.T
            factor = state[f"factor{side}"].lerp_(turned @ turned.T, 1 - group["betas"][1])
            if t % group["update_every"] == 0:
                basis = state[f"basis{side}"]
                order = (basis * (factor @ basis)).sum(0).argsort(descending=True)
                state[f"basis{side}"] = torch.linalg.qr(factor @ basis[:, order])[0].contiguous()
                square = state["square"].reshape(matrix.shape).index_select(side, order)
                state["square"] = square.reshape(gradient.shape)
