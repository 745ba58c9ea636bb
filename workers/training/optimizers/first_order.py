"""Builders of the first-order optimizers: the catalogue's hyperparameters to torch's arguments.

Where torch has its step as one fused kernel that is asked for: of a small network, whose steps are short, it halves the cost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer

from workers.training.optimizers.muon import Muon
from workers.training.optimizers.parameter_free import Prodigy, ScheduleFreeAdamW
from workers.training.optimizers.rmsprop import RMSpropInside
from workers.training.optimizers.sign_and_ratio import LAMB, Lion


def _sgd(params: Any, *, lr: float, weight_decay: float, momentum: float = 0.0, nesterov: bool = False) -> Optimizer:
    # Looking ahead by no momentum is plain SGD, which torch refuses to be asked for in these words.
    return torch.optim.SGD(
        params, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov and momentum > 0, fused=True
    )


def _nesterov(params: Any, *, lr: float, weight_decay: float, momentum: float) -> Optimizer:
    return _sgd(params, lr=lr, weight_decay=weight_decay, momentum=momentum, nesterov=True)


def _adagrad(
    params: Any, *, lr: float, lr_decay: float, initial_accumulator: float, eps: float, weight_decay: float
) -> Optimizer:
    return torch.optim.Adagrad(
        params,
        lr=lr,
        lr_decay=lr_decay,
        initial_accumulator_value=initial_accumulator,
        eps=eps,
        weight_decay=weight_decay,
    )


def _adadelta(params: Any, *, lr: float, rho: float, eps: float, weight_decay: float) -> Optimizer:
    return torch.optim.Adadelta(params, lr=lr, rho=rho, eps=eps, weight_decay=weight_decay)


def _rmsprop(
    params: Any,
    *,
    lr: float,
    rho: float,
    eps: float,
    eps_inside: bool,
    momentum: float,
    centered: bool,
    weight_decay: float,
) -> Optimizer:
    if eps_inside:
        return RMSpropInside(params, lr=lr, rho=rho, eps=eps, momentum=momentum, centered=centered, weight_decay=weight_decay)
    return torch.optim.RMSprop(params, lr=lr, alpha=rho, eps=eps, momentum=momentum, centered=centered, weight_decay=weight_decay)


def _adam(params: Any, *, lr: float, beta1: float, beta2: float, eps: float, amsgrad: bool, weight_decay: float) -> Optimizer:
    return torch.optim.Adam(params, lr=lr, betas=(beta1, beta2), eps=eps, amsgrad=amsgrad, weight_decay=weight_decay, fused=True)


def _adamw(params: Any, *, lr: float, beta1: float, beta2: float, eps: float, amsgrad: bool, weight_decay: float) -> Optimizer:
    return torch.optim.AdamW(params, lr=lr, betas=(beta1, beta2), eps=eps, amsgrad=amsgrad, weight_decay=weight_decay, fused=True)


def _nadam(
    params: Any, *, lr: float, beta1: float, beta2: float, eps: float, momentum_decay: float, weight_decay: float
) -> Optimizer:
    return torch.optim.NAdam(
        params, lr=lr, betas=(beta1, beta2), eps=eps, momentum_decay=momentum_decay, weight_decay=weight_decay
    )


def _radam(params: Any, *, lr: float, beta1: float, beta2: float, eps: float, weight_decay: float) -> Optimizer:
    return torch.optim.RAdam(params, lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay)


def _adamax(params: Any, *, lr: float, beta1: float, beta2: float, eps: float, weight_decay: float) -> Optimizer:
    return torch.optim.Adamax(params, lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay)


def _adafactor(
    params: Any, *, lr: float, beta2_decay: float, min_scale: float, clip_threshold: float, weight_decay: float
) -> Optimizer:
    return torch.optim.Adafactor(
        params, lr=lr, beta2_decay=beta2_decay, eps=(None, min_scale), d=clip_threshold, weight_decay=weight_decay
    )


def _lion(params: Any, *, lr: float, beta1: float, beta2: float, weight_decay: float) -> Optimizer:
    return Lion(params, lr=lr, betas=(beta1, beta2), weight_decay=weight_decay)


def _lamb(params: Any, *, lr: float, beta1: float, beta2: float, eps: float, weight_decay: float) -> Optimizer:
    return LAMB(params, lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay)


def _muon(
    params: Any,
    *,
    lr: float,
    momentum: float,
    iterations: int,
    adamw_lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
) -> Optimizer:
    return Muon(
        params,
        lr=lr,
        momentum=momentum,
        iterations=iterations,
        adamw_lr=adamw_lr,
        betas=(beta1, beta2),
        eps=eps,
        weight_decay=weight_decay,
    )


def _prodigy(
    params: Any,
    *,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    d0: float,
    d_coefficient: float,
    weight_decay: float,
) -> Optimizer:
    return Prodigy(
        params,
        lr=lr,
        betas=(beta1, beta2),
        eps=eps,
        d0=d0,
        d_coefficient=d_coefficient,
        weight_decay=weight_decay,
    )


def _schedule_free_adamw(params: Any, *, lr: float, beta1: float, beta2: float, eps: float, weight_decay: float) -> Optimizer:
    return ScheduleFreeAdamW(params, lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay)


BUILDERS: dict[str, Callable[..., Optimizer]] = {
    "gd": _sgd,
    "sgd": _sgd,
    "minibatch": _sgd,
    "momentum": _sgd,
    "nesterov": _nesterov,
    "adagrad": _adagrad,
    "adadelta": _adadelta,
    "rmsprop": _rmsprop,
    "adam": _adam,
    "adamw": _adamw,
    "nadam": _nadam,
    "radam": _radam,
    "adamax": _adamax,
    "adafactor": _adafactor,
    "lion": _lion,
    "lamb": _lamb,
    "muon": _muon,
    "prodigy": _prodigy,
    "schedule_free_adamw": _schedule_free_adamw,
}
