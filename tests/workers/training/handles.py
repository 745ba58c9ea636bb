"""A trial object for the loop: records what is reported, and answers with a verdict when a step is reached."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workers.training import checkpoint

# What a clock decides is no part of what must repeat.
TIMED = ("samples_per_second",)


class RecordingTrial:
    def __init__(
        self,
        params: Mapping[str, Any] | None = None,
        *,
        seed: int = 7,
        device: str = "cpu",
        folder: Path | None = None,
        resume: Path | None = None,
        inherits: bool = False,
        verdicts: Mapping[int, str] | None = None,
    ) -> None:
        self.params = dict(params or {})
        self.seed = seed
        self.device = device
        self.resume_path = resume
        self.inherits = inherits
        self.start_step = 0
        self.folder = folder
        self.verdicts = dict(verdicts or {})
        self.reports: list[tuple[int, dict[str, float]]] = []
        self.saved: list[int] = []
        self.user_attrs: dict[str, Any] = {}
        self.record: dict[str, Any] = {}

    def report(self, step: int, values: Mapping[str, float]) -> str:
        self.reports.append((step, {name: v for name, v in values.items() if name not in TIMED}))
        return self.verdicts.get(step, "continue")

    def save_checkpoint(self, state: dict[str, Any], step: int) -> None:
        self.saved.append(step)
        if self.folder is not None:
            checkpoint.save(self.folder, state)
