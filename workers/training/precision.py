"""Precisions: the number formats of weights and arithmetic, by the names the configuration has for them.

float32 and float64 are formats of everything. tf32, bf16 and fp16 keep weights, data, gradients and losses in float32 and round on
the way: tf32 the factors of a GPU's matrix products, bf16 and fp16 whatever torch's autocast knows to be safe. fp16 has so small a
range that gradients are scaled up before they are computed; a step whose gradients overflow nevertheless is left out and the scale
halved. Weakness: a CPU computes tf32 as float32, and bf16 and fp16 mostly slower than that.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.amp import GradScaler

from workers.training.failures import TrainingFailed
from workers.training.losses import Loss

WEIGHTS = {
    "float32": torch.float32,
    "float64": torch.float64,
    "tf32": torch.float32,
    "bf16": torch.float32,
    "fp16": torch.float32,
}
"""Format of weights and data."""
COMPUTED = {"bf16": torch.bfloat16, "fp16": torch.float16}
LEAST_SCALE = 2.0**-24
"""Below it gradients overflow at any scale; from 2**16 the scale is halved 40 times on the way."""


def set_products(precision: str) -> None:
    """Matrix products of the whole process: as exact as float32, or with factors rounded to TF32 where a GPU can."""
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")


def mixed(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Where the model and its loss are computed."""
    computed = COMPUTED.get(precision)
    return nullcontext() if computed is None else torch.autocast(device.type, computed)


def exact_loss(loss: Loss, precision: str) -> Loss:
    """The loss of outputs turned back to float32: sums and roots want its range."""
    if precision not in COMPUTED:
        return loss

    def of_exact(outputs: Tensor, targets: Tensor) -> Tensor:
        return loss(outputs.float(), targets)

    return of_exact


def make_scaler(precision: str, device: torch.device) -> GradScaler | None:
    return GradScaler(device.type) if precision == "fp16" else None


def check_scale(scaler: GradScaler | None) -> None:
    """TrainingFailed once no scale is left at which the gradients are finite."""
    if scaler is not None and scaler.get_scale() < LEAST_SCALE:
        raise TrainingFailed("nan", "the gradients were infinite or NaN in float16 at every scale")
