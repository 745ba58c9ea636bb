"""Parts of a data set and how samples are divided among them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tuner.errors import InvalidValue

Numbers = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """Samples `[n, *shape]` and their targets: classes `[n]`, numbers `[n, 1]`, or next tokens `[n, length]`."""

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.inputs)

    def to(self, device: torch.device, dtype: torch.dtype) -> Part:
        """On the device; numbers in the given precision, tokens and classes as they are."""
        inputs, targets = (
            tensor.to(device, dtype if tensor.is_floating_point() else tensor.dtype) for tensor in (self.inputs, self.targets)
        )
        return Part(inputs=inputs, targets=targets)


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """`shape` is that of one sample as the models take it; `outputs` is the number of classes, targets or tokens."""

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


def divide(count: int, validation: float, test: float, split_seed: int) -> tuple[Numbers, Numbers, Numbers]:
    """Indices of the training, validation and test parts of `count` samples, shuffled. InvalidValue when none are left."""
    order = np.random.default_rng(split_seed).permutation(count)
    num_validation, num_test = max(1, round(count * validation)), round(count * test)
    if num_validation + num_test >= count:
        raise InvalidValue(f"dataset.validation and dataset.test leave nothing to train on of {count} samples")
    return order[num_validation + num_test :], order[:num_validation], order[num_validation : num_validation + num_test]


def make_dataset(
    inputs: Numbers,
    targets: Numbers,
    *,
    task: str,
    validation: float,
    test: float,
    split_seed: int,
    tested: tuple[Numbers, Numbers] | None = None,
) -> Dataset:
    """Split samples and standardize by the training part: tables by column, images and sequences by all their numbers together.

    Targets are classes, or numbers for regression, which are standardized too. `tested` is a test part that comes by itself.
    """
    trained, held, kept = divide(len(inputs), validation, test, split_seed)
    axes = None if inputs.ndim > 2 else 0
    mean, deviation = inputs[trained].mean(axis=axes), inputs[trained].std(axis=axes)
    deviation = np.where(deviation > 0, deviation, 1.0)
    target_mean, target_deviation = 0.0, 1.0
    if task == "regression":
        target_mean, target_deviation = targets[trained].mean(), targets[trained].std() or 1.0

    def part(some_inputs: Numbers, some_targets: Numbers) -> Part:
        standard = torch.from_numpy((some_inputs - mean) / deviation)
        if task == "regression":
            return Part(inputs=standard, targets=torch.from_numpy((some_targets - target_mean) / target_deviation)[:, None])
        return Part(inputs=standard, targets=torch.from_numpy(some_targets.astype(np.int64)))

    last = tested if tested is not None else (inputs[kept], targets[kept])
    return Dataset(
        task=task,
        shape=tuple(inputs.shape[1:]),
        outputs=1 if task == "regression" else max(2, int(targets.max()) + 1),
        train=part(inputs[trained], targets[trained]),
        validation=part(inputs[held], targets[held]),
        test=part(*last) if len(last[0]) else None,
    )
