"""The optimizers: `build(name, params, ...)` gives an object with torch's optimizer interface.

Optimizers of torch are used where torch has the formula of the catalogue; the rest are here. `groups` keeps weight decay off
biases and norms.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from tuner.catalog.optimizers import OptimizerFacts
from workers.training.optimizers import first_order, second_order
from workers.training.optimizers.kronecker import Shampoo
from workers.training.optimizers.rmsprop import RMSpropInside
from workers.training.registry import Registry

_REGISTRY: Registry[Optimizer] = Registry("optimizers", {**first_order.BUILDERS, **second_order.BUILDERS})


def names() -> list[str]:
    return _REGISTRY.names()


def facts(name: str) -> OptimizerFacts:
    """What this optimizer needs of the loop."""
    found: OptimizerFacts = _REGISTRY.entry(name).facts
    return found


def build(name: str, params: Iterable[torch.Tensor] | Iterable[dict[str, Any]], **hyperparameters: Any) -> Optimizer:
    return _REGISTRY.build(name, params, **hyperparameters)


def inherit(optimizer: Optimizer, saved: dict[str, Any], order: list[torch.Tensor]) -> None:
    """Take over the moments of another optimizer of this name, as its `state_dict` has them; hyperparameters stay this one's own.

    `order`: this optimizer's weights in the order of the saved ones. What a group keeps besides its hyperparameters comes along
    (`GROUP_STATE`); a velocity that momentum asks for and the other never had begins at zero.
    """
    own = optimizer.state_dict()
    index = {id(weight): number for number, weight in enumerate(w for g in optimizer.param_groups for w in g["params"])}
    numbers = [number for group in saved["param_groups"] for number in group["params"]]
    places = {number: index[id(weight)] for number, weight in zip(numbers, order, strict=True)}
    own["state"] = {places[number]: state for number, state in saved["state"].items()}
    for group in own["param_groups"]:
        group.update({key: saved["param_groups"][0][key] for key in getattr(optimizer, "GROUP_STATE", ())})
    optimizer.load_state_dict(own)
    velocity = _VELOCITY.get(type(optimizer))
    for group in optimizer.param_groups:
        for weight in group["params"]:
            if velocity is not None and group["momentum"] > 0 and optimizer.state.get(weight):
                optimizer.state[weight].setdefault(velocity, torch.zeros_like(weight))


_VELOCITY = {torch.optim.RMSprop: "momentum_buffer", RMSpropInside: "velocity", Shampoo: "velocity"}
"""Optimizers that make room for a velocity when they begin or never."""


def is_decayed(parameter: torch.Tensor) -> bool:
    """Matrices and kernels decay; biases and the scales of norms, which are vectors, do not."""
    return parameter.ndim > 1


def groups(model: nn.Module, *, all_decay: bool) -> list[dict[str, Any]]:
    """Parameter groups in which only matrices and kernels have weight decay, or one group where all do."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    spared = [] if all_decay else [p for p in parameters if not is_decayed(p)]
    decayed = [p for p in parameters if all_decay or is_decayed(p)]
    found: list[dict[str, Any]] = [{"params": decayed}, {"params": spared, "weight_decay": 0.0}]
    return [group for group in found if group["params"]]
