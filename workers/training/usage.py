"""Usage: what a training takes of its device, for the trial's attributes: samples per second, and the most memory at once.

On a GPU memory is what torch has allocated there, kept data sets included. On a CPU it is the resident memory of the whole trial
process, its libraries included, since the training began; only Linux lets a process ask for that, elsewhere nothing is said. Weakness:
the allocator's cache, the CUDA context and other processes are not in a GPU's figure.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

PROCESS = Path("/proc/self")


class Usage:
    """Counts from its making on; one at a time in a process."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.num_samples = 0
        self.seconds = 0.0
        self.is_measured = False
        if device.type == "cuda":
            torch.cuda.init()  # type: ignore[no-untyped-call]  # before that there is nothing to reset
            torch.cuda.reset_peak_memory_stats(device)
        else:
            with suppress(OSError):
                (PROCESS / "clear_refs").write_text("5")  # sets the high-water mark back to the present
                self.is_measured = True

    def add(self, num_samples: int, seconds: float) -> None:
        """Samples trained on, and how long it took."""
        self.num_samples += num_samples
        self.seconds += seconds

    def read(self) -> dict[str, Any]:
        """`samples_per_second` of the training steps alone; `peak_memory` in bytes, `peak_memory_of` gpu or process."""
        found: dict[str, Any] = {}
        if self.num_samples:
            found["samples_per_second"] = round(self.num_samples / max(self.seconds, 1e-9), 1)
        if self.device.type == "cuda":
            found |= {"peak_memory": torch.cuda.max_memory_allocated(self.device), "peak_memory_of": "gpu"}
        elif self.is_measured:
            found |= {"peak_memory": _resident_high_water(), "peak_memory_of": "process"}
        return found


def _resident_high_water() -> int:
    """Bytes, by Linux's /proc."""
    for line in (PROCESS / "status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "VmHWM":
            return int(value.split()[0]) * 1024
    raise OSError(f"{PROCESS / 'status'} says nothing of VmHWM")
