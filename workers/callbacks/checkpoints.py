"""A framework's state as a checkpoint of the trial: safetensors and JSON, never pickle, and the random states beside it.

A worker's trial takes the state as it is and uploads it. An asked trial of the SDK takes bytes: there the checkpoint's folder is packed
as a worker would pack it, so that either may go on with what the other has saved.
"""

from __future__ import annotations

import io
import random
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from tuner.handles import AskedTrial
from workers import archive


class Trial(Protocol):
    """What a callback uses of a worker's trial."""

    @property
    def inherits(self) -> bool: ...
    def report(self, step: int, values: Mapping[str, float]) -> str: ...
    def save_checkpoint(self, state: Mapping[str, Any], step: int) -> None: ...
    def load_checkpoint(self) -> dict[str, Any] | None: ...


def save(trial: Trial | AskedTrial, state: Mapping[str, Any], step: int) -> None:
    """InvalidValue, with the path of the value, for what safetensors and JSON cannot hold."""
    if not isinstance(trial, AskedTrial):
        trial.save_checkpoint(state, step)
        return
    from workers.training import checkpoint

    with tempfile.TemporaryDirectory(prefix="tuner-checkpoint-") as folder, tempfile.TemporaryFile() as packed:
        checkpoint.save(Path(folder) / "state", state)
        archive.pack(Path(folder) / "state", packed)
        packed.seek(0)
        trial.save_checkpoint(packed, step)


def load(trial: Trial | AskedTrial) -> dict[str, Any] | None:
    """The state that this attempt goes on from, its tensors on the CPU; None for a fresh start. InvalidValue when it is damaged."""
    if not isinstance(trial, AskedTrial):
        return trial.load_checkpoint()
    found = trial.load_checkpoint()
    if found is None:
        return None
    from workers.training import checkpoint

    with tempfile.TemporaryDirectory(prefix="tuner-checkpoint-") as folder:
        archive.unpack(io.BytesIO(found[1]), Path(folder) / "state")
        return checkpoint.load(Path(folder) / "state")


def random_state() -> dict[str, Any]:
    """Where the streams of Python, NumPy and torch (CPU, and the current CUDA device) stand."""
    import numpy as np
    import torch

    numpy = np.random.get_state(legacy=False)
    state: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": numpy | {"state": numpy["state"] | {"key": torch.from_numpy(numpy["state"]["key"].astype(np.int64))}},
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: Mapping[str, Any]) -> None:
    """Put the streams back to where `random_state` found them."""
    import numpy as np
    import torch

    random.setstate(state["python"])
    numpy = state["numpy"]
    np.random.set_state(numpy | {"state": numpy["state"] | {"key": numpy["state"]["key"].numpy().astype(np.uint32)}})
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
