"""The data sets: tensors in memory, split once by the data set's own seed and standardized by the training part.

`load` keeps what it has made in the process, on the device, so that the next trial on the same data starts at once; files that
have changed since are read again. Weakness: everything is in memory; batches are slices of an index, which is what makes small
trainings quick.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from workers.training.config import Component
from workers.training.datasets import bundled, generated, images, scenes, tables, texts
from workers.training.datasets.parts import Dataset, Part
from workers.training.registry import Registry

__all__ = ["Dataset", "Part", "build", "load", "names"]

_REGISTRY: Registry[Dataset] = Registry(
    "datasets",
    {**bundled.BUILDERS, **generated.BUILDERS, **tables.BUILDERS, **images.BUILDERS, **texts.BUILDERS, **scenes.BUILDERS},
)


def names() -> list[str]:
    return _REGISTRY.names()


def build(name: str, **hyperparameters: Any) -> Dataset:
    """Read and split a data set, in float64 on the CPU. InvalidValue, in one sentence, about a missing or unsuitable file."""
    return _REGISTRY.build(name, **hyperparameters)


def load(component: Component, device: torch.device, dtype: torch.dtype) -> Dataset:
    """The data set on the device, from this process's memory if it was asked for before."""
    hyperparameters = tuple(component.hyperparameters.items())
    stamps = tuple(_stamp(value) for name, value in hyperparameters if name in ("path", "source", "target", "images"))
    return _load(component.name, hyperparameters, stamps, device, dtype)


def _stamp(path: str) -> tuple[int, int]:
    """What changes when a file does."""
    try:
        stat = Path(path).stat()
    except OSError:
        return (0, 0)
    return (stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=8)
def _load(
    name: str,
    hyperparameters: tuple[tuple[str, Any], ...],
    stamps: tuple[tuple[int, int], ...],
    device: torch.device,
    dtype: torch.dtype,
) -> Dataset:
    return build(name, **dict(hyperparameters)).to(device, dtype)
