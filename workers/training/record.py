"""What the built-in trainer adds to a trial's record: its complete configuration and the digests of code, data and weights.

A digest is the SHA-256 of the numbers themselves, not of the files they came from: two files with the same samples are the same data.
Weakness: data and weights on a GPU are copied to the host for it, the data once a process, the weights once an attempt.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from tuner.wire import encode_numbers
from workers.record import digest_folder
from workers.training.config import Component, TrainerConfig
from workers.training.datasets import Dataset


def describe(config: TrainerConfig, data: Dataset) -> dict[str, Any]:
    """What decides a training before its first step."""
    return {
        "config": encode_numbers({field.name: _plain(getattr(config, field.name)) for field in fields(config)}),
        "code": {"workers.training": _digest_code()},
        "data": digest_data(data),
        "threads": torch.get_num_threads(),
        "precision": config.precision,
    }


def describe_weights(model: nn.Module, step: int) -> dict[str, Any]:
    """The weights as they are after `step`."""
    return {"step": step, "sha256": digest_tensors(model.state_dict().items())}


_digests: WeakKeyDictionary[Dataset, str] = WeakKeyDictionary()


def digest_data(data: Dataset) -> str:
    """SHA-256 of all parts of a data set as they are trained and evaluated on; remembered as long as the data set is."""
    if data not in _digests:
        parts = {"train": data.train, "validation": data.validation, "test": data.test}
        _digests[data] = digest_tensors(
            (f"{name}.{kind}", tensor)
            for name, part in parts.items()
            if part is not None
            for kind, tensor in (("inputs", part.inputs), ("targets", part.targets))
        )
    return _digests[data]


def digest_tensors(tensors: Iterable[tuple[str, Any]]) -> str:
    """SHA-256 of named tensors of any kind, sorted by name: of names, types, shapes and bytes; what is no tensor is left out."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors, key=lambda item: item[0]):
        if isinstance(tensor, Tensor):
            digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
            # NumPy lacks some of torch's types; all have bytes.
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


@lru_cache
def _digest_code() -> str:
    return digest_folder(Path(__file__).parent)


def _plain(value: Any) -> Any:
    if isinstance(value, Component):
        return {"name": value.name, **_plain(value.hyperparameters)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return list(value) if isinstance(value, tuple) else value
