"""What this host offers: its GPUs, CPUs and memory, cut into slots for one trial each.

The agent itself never imports torch: a short-lived child process asks it for the GPUs, so an agent stays small and holds no CUDA
context. Weakness: on CPU-only hosts of a kind not recognised in `_may_have_gpus` the question costs the import of torch once.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

from tuner.errors import InvalidValue

GPU_DEVICES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
PROBE = "import json, torch; print(json.dumps([torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]))"
PROBE_TIMEOUT = 120.0


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A place for one trial: a GPU or a share of one, or none, and some CPUs."""

    index: int
    gpu: str | None = None
    gpu_share: float = 0.0
    cpus: float = 1.0

    @property
    def device(self) -> str:
        """As the trial sees it: its process is shown one GPU only."""
        return "cpu" if self.gpu is None else "cuda:0"

    @property
    def devices(self) -> list[int] | None:
        """As the host counts its GPUs; None on a CPU."""
        return None if self.gpu is None else [int(self.gpu)]


@dataclass(frozen=True, kw_only=True)
class Host:
    gpu_names: tuple[str, ...]
    cpus: int
    memory: int


def find_host(gpus: str) -> Host:
    """Look at this machine; with gpus="none" without asking for GPUs."""
    names = () if gpus == "none" else _find_gpu_names()
    return Host(gpu_names=names, cpus=count_cpus(), memory=psutil.virtual_memory().total)


def count_cpus() -> int:
    """CPUs this process may use, which in a container may be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def make_slots(host: Host, *, gpus: str = "all", slots: int | None = None, cpus: float | None = None) -> list[Slot]:
    """Cut the host into slots: one a GPU, or `slots` spread evenly over the GPUs; without GPUs `slots` (default 1) CPU slots.

    InvalidValue when `gpus` names one that is not there or `slots` is not positive.
    """
    if slots is not None and slots < 1:
        raise InvalidValue(f"--slots: {slots} is not allowed; give 1 or more")
    chosen = choose_gpus(host, gpus)
    count = slots if slots is not None else max(1, len(chosen))
    each = (cpus if cpus is not None else float(host.cpus)) / count
    if not chosen:
        return [Slot(index=index, cpus=each) for index in range(count)]
    sharing = [sum(1 for index in range(count) if index % len(chosen) == at) for at in range(len(chosen))]
    return [
        Slot(
            index=index,
            gpu=chosen[index % len(chosen)],
            gpu_share=1.0 / sharing[index % len(chosen)],
            cpus=each,
        )
        for index in range(count)
    ]


def choose_gpus(host: Host, gpus: str) -> list[str]:
    """Indices of the GPUs that `all`, `none` or a list like `0,1` means here."""
    if gpus == "none":
        return []
    if gpus == "all":
        return [str(index) for index in range(len(host.gpu_names))]
    chosen = [item.strip() for item in gpus.split(",")]
    for item in chosen:
        if not item.isascii() or not item.isdigit():
            raise InvalidValue(f"--gpus: {gpus!r} is not allowed; give all, none, or indices such as 0,1")
        if int(item) >= len(host.gpu_names):
            there = f"0 to {len(host.gpu_names) - 1}" if host.gpu_names else "none"
            raise InvalidValue(f"--gpus: GPU {item} is not on this host; there: {there}")
    if len(set(map(int, chosen))) != len(chosen):
        raise InvalidValue(f"--gpus: {gpus!r} names a GPU twice")
    return [str(int(item)) for item in chosen]


def _may_have_gpus() -> bool:
    if importlib.util.find_spec("torch") is None:
        return False
    return sys.platform != "linux" or any(Path(path).exists() for path in GPU_DEVICES)


def _find_gpu_names() -> tuple[str, ...]:
    if not _may_have_gpus():
        return ()
    try:
        answer = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=PROBE_TIMEOUT, check=True)
        return tuple(map(str, json.loads(answer.stdout)))
    except (OSError, subprocess.SubprocessError, ValueError):
        return ()
