"""What this machine is doing, for people who look at the fleet: CPUs, memory, and each NVIDIA GPU as `nvidia-smi` tells.

What cannot be measured is left out; nothing here may disturb training. Weakness: all GPUs of the machine are told, also those that the
worker does not use.
"""

from __future__ import annotations

import subprocess

import psutil

from tuner.wire import GpuUsage, MachineUsage

MIB = 1 << 20
PATIENCE = 5.0
_QUERY = ("nvidia-smi", "--query-gpu=utilization.gpu,memory.used,memory.total,temperature.gpu", "--format=csv,noheader,nounits")


def measure(*, gpus: bool) -> MachineUsage:
    """Usage now; that of the CPUs is since the last call, so the first says nothing of them."""
    return MachineUsage(
        cpu=psutil.cpu_percent() / 100, memory=psutil.virtual_memory().used, gpus=read_gpus(_ask_driver()) if gpus else []
    )


def read_gpus(text: str) -> list[GpuUsage]:
    """What `nvidia-smi` printed, a line a GPU; "[N/A]" where it cannot tell."""
    return [_gpu(line.split(",")) for line in text.splitlines() if line.count(",") == 3]


def _gpu(cells: list[str]) -> GpuUsage:
    utilization, used, total, temperature = (_number(cell) for cell in cells)
    return GpuUsage(
        utilization=None if utilization is None else utilization / 100,
        memory=None if used is None else round(used * MIB),
        memory_total=None if total is None else round(total * MIB),
        temperature=temperature,
    )


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _ask_driver() -> str:
    try:
        return subprocess.run(_QUERY, capture_output=True, text=True, timeout=PATIENCE, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
