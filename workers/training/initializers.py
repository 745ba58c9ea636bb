"""Initializers: functions that set a model's weights in place, drawing from torch's global random stream.

A weight is that of a linear, convolutional or recurrent layer; biases are zeroed. Norms and embeddings keep torch's start.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from workers.training.registry import Registry

Initialize = Callable[[nn.Module], None]
WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.RNNBase)


def _each_weight(set_weight: Callable[[Tensor], object]) -> Initialize:
    @torch.no_grad()
    def initialize(model: nn.Module) -> None:
        for module in model.modules():
            if not isinstance(module, WEIGHTED):
                continue
            # A recurrent layer has several weights and biases of its own.
            for name, parameter in module.named_parameters(recurse=False):
                if name.startswith("bias"):
                    parameter.zero_()
                else:
                    set_weight(parameter)

    return initialize


def _default() -> Initialize:
    return lambda model: None


def _xavier_uniform() -> Initialize:
    return _each_weight(nn.init.xavier_uniform_)


def _xavier_normal() -> Initialize:
    return _each_weight(nn.init.xavier_normal_)


def _he_uniform() -> Initialize:
    return _each_weight(lambda weight: nn.init.kaiming_uniform_(weight, nonlinearity="relu"))


def _he_normal() -> Initialize:
    return _each_weight(lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="relu"))


def _orthogonal(*, gain: float) -> Initialize:
    return _each_weight(lambda weight: nn.init.orthogonal_(weight, gain=gain))


def _trunc_normal(*, std: float) -> Initialize:
    return _each_weight(lambda weight: nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std))


def _zeros() -> Initialize:
    return _each_weight(nn.init.zeros_)


_REGISTRY: Registry[Initialize] = Registry(
    "initializers",
    {
        "default": _default,
        "xavier_uniform": _xavier_uniform,
        "xavier_normal": _xavier_normal,
        "he_uniform": _he_uniform,
        "he_normal": _he_normal,
        "orthogonal": _orthogonal,
        "trunc_normal": _trunc_normal,
        "zeros": _zeros,
    },
)


def names() -> list[str]:
    return _REGISTRY.names()


def build(name: str, **hyperparameters: Any) -> Initialize:
    """A function that initializes a model with torch's global random stream."""
    return _REGISTRY.build(name, **hyperparameters)
