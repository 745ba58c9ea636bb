"""Batches: in which order an epoch goes through the training set, and how many samples make a batch and a step.

The order depends on seed and epoch alone: whatever else was drawn, a resumed trial sees the same. Weakness: the samples of a few
batches are copied together, which takes up to GATHERED bytes more.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice

import torch
from torch import Tensor

from workers.training.datasets import Part

Batch = tuple[Tensor, Tensor]
"""Inputs and targets of some samples."""
GATHERED = 2**22
"""Bytes of inputs that are brought together at once: one copy of many samples is quicker than many copies."""


def epoch_order(count: int, seed: int, epoch: int) -> Tensor:
    generator = torch.Generator().manual_seed((seed << 20) + epoch)
    return torch.randperm(count, generator=generator)


def num_steps(count: int, batch_size: int, accumulate: int, *, full_batch: bool) -> int:
    """Optimizer steps of an epoch over `count` samples."""
    return 1 if full_batch else math.ceil(math.ceil(count / batch_size) / accumulate)


def steps(part: Part, order: Tensor, batch_size: int, accumulate: int, *, full_batch: bool) -> Iterator[list[Batch]]:
    """The batches of each step of an epoch: `accumulate` of `batch_size` samples, what is left in the last; with `full_batch` one
    step of all samples in `accumulate` parts."""
    if full_batch:
        batch_size = math.ceil(len(order) / accumulate)
    batches = _batches(part, order, batch_size)
    while step := list(islice(batches, accumulate)):
        yield step


def _batches(part: Part, order: Tensor, batch_size: int) -> Iterator[Batch]:
    sample_bytes = part.inputs[:1].nbytes
    at_once = max(1, GATHERED // (sample_bytes * batch_size))
    for chunk in torch.split(order.to(part.inputs.device), at_once * batch_size):
        inputs, targets = part.inputs[chunk], part.targets[chunk]
        yield from zip(torch.split(inputs, batch_size), torch.split(targets, batch_size), strict=True)
