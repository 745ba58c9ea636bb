"""Augmentations: functions of a batch of training inputs `[samples, ...]`, drawn from torch's global random stream of its device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from workers.training.registry import Registry

Augment = Callable[[Tensor], Tensor]


def _none() -> None:
    return None


def _flip(*, flip: float) -> Augment:
    def augment(images: Tensor) -> Tensor:
        mirrored = torch.rand(len(images), 1, 1, 1, device=images.device) < flip
        return torch.where(mirrored, images.flip(-1), images)

    return augment


def _shift(*, shift: int) -> Augment:
    def augment(images: Tensor) -> Tensor:
        count, _, height, width = images.shape
        padded = functional.pad(images, (shift, shift, shift, shift))
        down, right = torch.randint(2 * shift + 1, (2, count, 1), device=images.device)
        rows = down + torch.arange(height, device=images.device)
        columns = right + torch.arange(width, device=images.device)
        sample = torch.arange(count, device=images.device)[:, None, None]
        # Indexing around the channels' slice puts them last.
        return padded[sample, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)

    return augment


def _flip_shift(*, flip: float, shift: int) -> Augment:
    mirror, move = _flip(flip=flip), _shift(shift=shift)
    return lambda images: move(mirror(images))


def _noise(*, std: float) -> Augment:
    return lambda inputs: inputs + std * torch.randn_like(inputs)


_REGISTRY: Registry[Augment | None] = Registry(
    "augmentations",
    {"none": _none, "flip": _flip, "shift": _shift, "flip_shift": _flip_shift, "noise": _noise},
)


def names() -> list[str]:
    return _REGISTRY.names()


def build(name: str, **hyperparameters: Any) -> Augment | None:
    return _REGISTRY.build(name, **hyperparameters)
