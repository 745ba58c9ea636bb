"""Checkpoints: a folder with `state.safetensors` and `state.json`, whole or invisible, never pickle.

The state is any nesting of dicts, lists and tuples of tensors and plain values. Tensors go to safetensors under running numbers;
the JSON keeps the tree with references to them and the SHA-256 of the tensor file. The folder is written under another name,
flushed to disk and renamed. Reading verifies the hash.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from tuner.errors import InvalidValue

FORMAT = 1
TENSORS = "state.safetensors"
TREE = "state.json"


def save(folder: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint as `folder`, replacing what stands there. InvalidValue for what safetensors and JSON cannot hold."""
    tensors: dict[str, torch.Tensor] = {}
    tree = _flatten(state, tensors, "state")
    data = save_tensors(tensors)
    record = {
        "format": FORMAT,
        "sha256": hashlib.sha256(data).hexdigest(),
        "state": tree,
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    written = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        _write(written / TENSORS, data)
        _write(written / TREE, json.dumps(record, allow_nan=False).encode())
        if folder.exists():
            shutil.rmtree(folder)
        written.rename(folder)
    except BaseException:
        shutil.rmtree(written, ignore_errors=True)
        raise
    _flush(folder.parent)


def load(folder: Path | str, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read the state of a checkpoint with its tensors on `device`. InvalidValue, in one sentence, when it is missing or damaged."""
    folder = Path(folder)
    try:
        record = json.loads((folder / TREE).read_bytes())
        data = (folder / TENSORS).read_bytes()
    except FileNotFoundError as error:
        raise InvalidValue(f"{folder} is not a checkpoint: {Path(error.filename).name} is missing") from error
    except ValueError as error:
        raise InvalidValue(f"the checkpoint {folder} is damaged: {TREE} is not JSON") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise InvalidValue(f"the checkpoint {folder} has another format than {FORMAT}")
    if hashlib.sha256(data).hexdigest() != record["sha256"]:
        raise InvalidValue(f"the checkpoint {folder} is damaged: the hash of {TENSORS} differs")
    tensors = {name: tensor.to(device) for name, tensor in load_tensors(data).items()}
    state: dict[str, Any] = _unflatten(record["state"], tensors)
    return state


def _flatten(value: Any, tensors: dict[str, torch.Tensor], path: str) -> Any:
    """The JSON tree of a value. A one-key dict whose key starts with $ marks what JSON lacks."""
    if isinstance(value, torch.Tensor):
        reference = str(len(tensors))
        # safetensors refuses tensors that share memory, so each gets its own.
        tensors[reference] = value.detach().to("cpu").clone(memory_format=torch.contiguous_format)
        return {"$tensor": reference}
    if isinstance(value, Mapping):
        if all(isinstance(key, str) and not key.startswith("$") for key in value):
            return {key: _flatten(item, tensors, f"{path}.{key}") for key, item in value.items()}
        pairs = [[_flatten(k, tensors, path), _flatten(v, tensors, f"{path}.{k}")] for k, v in value.items()]
        return {"$items": pairs}
    if isinstance(value, list):
        return [_flatten(item, tensors, f"{path}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, tuple):
        return {"$tuple": [_flatten(item, tensors, f"{path}[{i}]") for i, item in enumerate(value)]}
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": str(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise InvalidValue(
        f"a checkpoint holds tensors, numbers, texts, booleans, null, lists and mappings; {path} is a {type(value).__name__}"
    )


def _unflatten(tree: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    if isinstance(tree, list):
        return [_unflatten(item, tensors) for item in tree]
    if not isinstance(tree, dict):
        return tree
    match tree:
        case {"$tensor": reference}:
            return tensors[reference]
        case {"$items": pairs}:
            return {_unflatten(key, tensors): _unflatten(item, tensors) for key, item in pairs}
        case {"$tuple": items}:
            return tuple(_unflatten(item, tensors) for item in items)
        case {"$float": text}:
            return float(text)
    return {key: _unflatten(item, tensors) for key, item in tree.items()}


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _flush(folder: Path) -> None:
    """Make a rename inside `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
