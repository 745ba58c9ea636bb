"""Builders of the second-order optimizers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer


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


BUILDERS: dict[str, Callable[..., Optimizer]] = {"lbfgs": _lbfgs}
