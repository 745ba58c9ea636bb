"""Gradients between backward and the step: their norms, clipping, and whether they vanish or explode.

The rules for the two flags are rough: they point at a layer to look at and end no trial.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from workers.training.optimizers import is_decayed

VANISHING = 1e-5
"""Norm of the smallest layer's gradient over the largest's, below which a trial is flagged."""
EXPLODING = 1e4
"""Norm of the whole gradient above which a trial is flagged."""
MAX_LAYERS = 100


def total_norm(weights: Sequence[Tensor]) -> Tensor:
    """As torch.nn.utils.get_total_norm, whose sorting by device and format costs a small network a tenth of its step."""
    found = [w.grad for w in weights if w.grad is not None]
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(found))) if found else torch.zeros(())


def clip(weights: Sequence[Tensor], norm: Tensor | None, *, max_norm: float | None, max_value: float | None) -> None:
    """Clip each entry to `max_value`, then the whole to `max_norm`, where these are set; `norm` before, where it is known."""
    if max_value is not None:
        nn.utils.clip_grad_value_(weights, max_value)
    if max_norm is not None:
        if norm is None or max_value is not None:
            norm = total_norm(weights)
        nn.utils.clip_grads_with_norm_(weights, max_norm, norm)


def layer_norms(model: nn.Module) -> dict[str, float]:
    """Norm of the gradient of each weight matrix, by its name, of the first so many; waits for the device."""
    found = [(name, p.grad) for name, p in model.named_parameters() if p.grad is not None and is_decayed(p)][:MAX_LAYERS]
    if not found:
        return {}
    norms = torch.stack([gradient.norm() for _, gradient in found]).tolist()
    return {name: norm for (name, _), norm in zip(found, norms, strict=True)}


def flags(layers: dict[str, float]) -> list[str]:
    """vanishing: some layer hardly learns beside another. exploding: steps are far too long."""
    if not layers:
        return []
    found = []
    largest, smallest = max(layers.values()), min(layers.values())
    if largest > 0 and smallest / largest < VANISHING:
        found.append("vanishing")
    if math.sqrt(sum(norm**2 for norm in layers.values())) > EXPLODING:
        found.append("exploding")
    return found
