"""Builders of the optimizers that use curvature beyond a running mean: the catalogue's hyperparameters to their arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer

from tuner import catalog
from workers.training.optimizers.hutchinson import AdaHessian, Sophia
from workers.training.optimizers.kronecker import SOAP, Shampoo
from workers.training.optimizers.newton import BFGS, Newton, NewtonCG


def _max_parameters(name: str) -> int | None:
    found: int | None = catalog.get("optimizers", name).facts.max_parameters
    return found


def _newton(params: Any, *, lr: float, damping: float, line_search: bool) -> Optimizer:
    return Newton(params, lr=lr, damping=damping, line_search=line_search, max_parameters=_max_parameters("newton"))


def _newton_cg(params: Any, *, lr: float, max_cg: int) -> Optimizer:
    return NewtonCG(params, lr=lr, max_cg=max_cg)


def _bfgs(params: Any, *, lr: float, max_iter: int, tolerance_grad: float) -> Optimizer:
    return BFGS(params, lr=lr, max_iter=max_iter, tolerance_grad=tolerance_grad, max_parameters=_max_parameters("bfgs"))


def _lbfgs(
    params: Any,
    *,
    lr: float,
    max_iter: int,
    history_size: int,
    tolerance_grad: float,
    tolerance_change: float,
    line_search: str,
) -> Optimizer:
    return torch.optim.LBFGS(
        params,
        lr=lr,
        max_iter=max_iter,
        history_size=history_size,
        tolerance_grad=tolerance_grad,
        tolerance_change=tolerance_change,
        line_search_fn=line_search,
    )


def _adahessian(
    params: Any, *, lr: float, beta1: float, beta2: float, eps: float, power: float, weight_decay: float
) -> Optimizer:
    return AdaHessian(params, lr=lr, betas=(beta1, beta2), eps=eps, power=power, weight_decay=weight_decay)


def _sophia(
    params: Any,
    *,
    lr: float,
    beta1: float,
    beta2: float,
    gamma: float,
    eps: float,
    update_every: int,
    weight_decay: float,
) -> Optimizer:
    return Sophia(
        params,
        lr=lr,
        betas=(beta1, beta2),
        gamma=gamma,
        eps=eps,
        update_every=update_every,
        weight_decay=weight_decay,
    )


def _shampoo(
    params: Any,
    *,
    lr: float,
    momentum: float,
    eps: float,
    update_every: int,
    max_dimension: int,
    weight_decay: float,
) -> Optimizer:
    return Shampoo(
        params,
        lr=lr,
        momentum=momentum,
        eps=eps,
        update_every=update_every,
        max_dimension=max_dimension,
        weight_decay=weight_decay,
    )


def _soap(
    params: Any,
    *,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    update_every: int,
    max_dimension: int,
    weight_decay: float,
) -> Optimizer:
    return SOAP(
        params,
        lr=lr,
        betas=(beta1, beta2),
        eps=eps,
        update_every=update_every,
        max_dimension=max_dimension,
        weight_decay=weight_decay,
    )


BUILDERS: dict[str, Callable[..., Optimizer]] = {
    "newton": _newton,
    "newton_cg": _newton_cg,
    "bfgs": _bfgs,
    "lbfgs": _lbfgs,
    "adahessian": _adahessian,
    "sophia": _sophia,
    "shampoo": _shampoo,
    "soap": _soap,
}
