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
