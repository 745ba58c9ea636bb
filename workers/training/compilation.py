"""Compiling a model with torch.compile, in the persistent process of many trials.

Only training runs compiled; validation, whose chunks have other shapes, does not. What compiling writes is kept in torch's own cache
on disk, where the next trial of the same architecture finds it. Weakness: the time it takes counts as training.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import torch
from torch import Tensor, nn


def compile(model: nn.Module, threads: int) -> Callable[[Tensor], Tensor]:
    """The model's forward pass, compiled when it is first called and again when the shape of its inputs changes."""
    # torch reads this once; otherwise it starts a pool of as many compilers as the host has cores.
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", str(threads))
    # What was compiled for earlier trials counts against a limit, beyond which torch compiles no more.
    torch.compiler.reset()
    compiled: Callable[[Tensor], Tensor] = torch.compile(model)
    return compiled
