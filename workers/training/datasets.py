"""The data sets: tensors in memory, split once by the data set's own seed and standardized by the training part.

`load` keeps what it has made in the process, on the device, so that the next trial on the same data starts at once. Weakness:
everything is in memory; batches are slices of an index, which is what makes small trainings quick.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tuner.errors import InvalidValue
from workers.training.config import Component
from workers.training.registry import Registry

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """Samples `[n, *shape]` and their targets: classes `[n]`, or numbers `[n, 1]` for regression."""

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.inputs)

    def to(self, device: torch.device, dtype: torch.dtype) -> Part:
        targets = self.targets.to(device, dtype if self.targets.is_floating_point() else self.targets.dtype)
        return Part(inputs=self.inputs.to(device, dtype), targets=targets)


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    task: str
    shape: tuple[int, ...]
    outputs: int
    train: Part
    validation: Part
    test: Part | None = None

    def to(self, device: torch.device, dtype: torch.dtype) -> Dataset:
        return replace(
            self,
            train=self.train.to(device, dtype),
            validation=self.validation.to(device, dtype),
            test=None if self.test is None else self.test.to(device, dtype),
        )


def _split(inputs: Floats, targets: npt.NDArray[Any], *, task: str, validation: float, test: float, split_seed: int) -> Dataset:
    """Shuffle and cut; standardize by the training part: tables by column, images by all their pixels together."""
    count = len(inputs)
    order = np.random.default_rng(split_seed).permutation(count)
    num_validation, num_test = max(1, round(count * validation)), round(count * test)
    if num_validation + num_test >= count:
        raise InvalidValue(f"dataset.validation and dataset.test leave nothing to train on of {count} samples")
    held, tested = order[:num_validation], order[num_validation : num_validation + num_test]
    trained = order[num_validation + num_test :]
    axes = None if inputs.ndim > 2 else 0
    mean, deviation = inputs[trained].mean(axis=axes), inputs[trained].std(axis=axes)
    inputs = (inputs - mean) / np.where(deviation > 0, deviation, 1.0)
    if task == "regression":
        targets = (targets - targets[trained].mean()) / (targets[trained].std() or 1.0)
        targets = targets[:, None]

    def part(indices: npt.NDArray[Any]) -> Part:
        return Part(inputs=torch.from_numpy(inputs[indices]), targets=torch.from_numpy(targets[indices]))

    return Dataset(
        task=task,
        shape=tuple(inputs.shape[1:]),
        outputs=1 if task == "regression" else int(targets.max()) + 1,
        train=part(trained),
        validation=part(held),
        test=part(tested) if num_test else None,
    )


def _bundled(loader: str, task: str, shape: tuple[int, ...] | None = None) -> Callable[..., Dataset]:
    """A builder around one of scikit-learn's `load_...` functions."""

    def build_dataset(*, validation: float, test: float, split_seed: int) -> Dataset:
        # Importing scikit-learn takes a second; only a trial that needs it pays.
        from sklearn import datasets as bundled

        inputs, targets = getattr(bundled, loader)(return_X_y=True)
        if shape is not None:
            inputs = inputs.reshape(-1, *shape)
        kind = np.float64 if task == "regression" else np.int64
        return _split(
            inputs.astype(np.float64),
            targets.astype(kind),
            task=task,
            validation=validation,
            test=test,
            split_seed=split_seed,
        )

    return build_dataset


def _xor(*, repeats: int, noise: float, split_seed: int) -> Dataset:
    corners = torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]], dtype=torch.float64)
    classes = torch.tensor([0, 1, 1, 0])
    inputs = corners.repeat(repeats, 1)
    if noise > 0:
        generator = torch.Generator().manual_seed(split_seed)
        inputs = inputs + noise * torch.randn(inputs.shape, generator=generator, dtype=torch.float64)
    return Dataset(
        task="classification",
        shape=(2,),
        outputs=2,
        train=Part(inputs=inputs, targets=classes.repeat(repeats)),
        validation=Part(inputs=corners, targets=classes),
    )


_REGISTRY: Registry[Dataset] = Registry(
    "datasets",
    {
        "digits": _bundled("load_digits", "classification", shape=(1, 8, 8)),
        "iris": _bundled("load_iris", "classification"),
        "wine": _bundled("load_wine", "classification"),
        "breast_cancer": _bundled("load_breast_cancer", "classification"),
        "diabetes": _bundled("load_diabetes", "regression"),
        "xor": _xor,
    },
)


def names() -> list[str]:
    return _REGISTRY.names()


def build(name: str, **hyperparameters: Any) -> Dataset:
    """Read and split a data set, in float64 on the CPU."""
    return _REGISTRY.build(name, **hyperparameters)


def load(component: Component, device: torch.device, dtype: torch.dtype) -> Dataset:
    """The data set on the device, from this process's memory if it was asked for before."""
    return _load(component.name, tuple(component.hyperparameters.items()), device, dtype)


@lru_cache(maxsize=8)
def _load(name: str, hyperparameters: tuple[tuple[str, Any], ...], device: torch.device, dtype: torch.dtype) -> Dataset:
    return build(name, **dict(hyperparameters)).to(device, dtype)
