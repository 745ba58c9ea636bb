"""Compiling a model with torch.compile, in the persistent process of many trials.

Only training runs compiled; validation, whose chunks have other shapes, does not. What compiling writes to disk is kept as long as the
process lives, for its next trial of the same architecture. It is not shared between processes: one that is killed while it compiles
leaves half a library behind, over which torch would stumble for ever. Weakness: the time compiling takes counts as training.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

FOLDER = "TORCHINDUCTOR_CACHE_DIR"
GIVEN = os.environ.get(FOLDER)
"""By the worker's operator: later torch itself writes there the folder it shares among processes."""
PREFIX = "tuner-compiled-"
LOCK = "lock"


def compile(model: nn.Module, threads: int) -> Callable[[Tensor], Tensor]:
    """The model's forward pass, compiled when it is first called and again when the shape of its inputs changes."""
    os.environ[FOLDER] = GIVEN or str(own_folder())
    # torch reads this once; otherwise it starts a pool of as many compilers as the host has cores.
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", str(threads))
    # What was compiled for earlier trials counts against a limit, beyond which torch compiles no more.
    torch.compiler.reset()
    compiled: Callable[[Tensor], Tensor] = torch.compile(model)
    return compiled


@cache
def own_folder() -> Path:
    return make_folder(Path(tempfile.gettempdir()))


def make_folder(parent: Path) -> Path:
    """A folder that is this process's until it ends, in whatever way; those of processes that have ended are removed."""
    for folder in parent.glob(f"{PREFIX}*"):
        if _is_abandoned(folder):
            shutil.rmtree(folder, ignore_errors=True)
    made = Path(tempfile.mkdtemp(prefix=f".{PREFIX}", dir=parent))
    # Held by a descriptor that nobody closes. The folder gets its name when that is done, so that no other process removes it.
    fcntl.flock(os.open(made / LOCK, os.O_CREAT | os.O_RDWR, 0o600), fcntl.LOCK_EX)
    return made.rename(parent / made.name.removeprefix("."))


def _is_abandoned(folder: Path) -> bool:
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR)
    except OSError:  # another user's, or gone by now
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
