"""Evaluation: what is reported of a model on held-out samples, named as in the catalogue without the part's prefix."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from workers.training.datasets import Part
from workers.training.losses import Loss

CHUNK = 4096
TOP = 5


@torch.no_grad()
def evaluate(model: nn.Module, part: Part, loss: Loss, task: str) -> dict[str, float]:
    """`loss` and, by task, `accuracy` (and `top5_accuracy`) or `r2` and `mae`. Leaves the model in evaluation mode."""
    model.eval()
    outputs = torch.cat([model(inputs) for inputs in torch.split(part.inputs, CHUNK)])
    values = {"loss": float(loss(outputs, part.targets))}
    if task == "classification":
        values |= _classification(outputs, part.targets)
    else:
        values |= _regression(outputs.double(), part.targets.double())
    return values


def _classification(outputs: Tensor, targets: Tensor) -> dict[str, float]:
    """One output decides by its sign, several by the largest. Top-5 says nothing of five classes or fewer."""
    if outputs.shape[1] == 1:
        return {"accuracy": float(((outputs[:, 0] > 0) == targets).double().mean())}
    values = {"accuracy": float((outputs.argmax(1) == targets).double().mean())}
    if outputs.shape[1] > TOP:
        among = (outputs.topk(TOP, 1).indices == targets[:, None]).any(1)
        values["top5_accuracy"] = float(among.double().mean())
    return values


def _regression(outputs: Tensor, targets: Tensor) -> dict[str, float]:
    errors = targets - outputs
    total = (targets - targets.mean()).square().sum()
    return {"r2": float(1 - errors.square().sum() / total), "mae": float(errors.abs().mean())}
