"""Trials that the workers' tests run in real trial processes."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from workers.report import Trial


def square(trial: Trial, shift: float = 0.0) -> dict[str, float]:
    x = float(trial.params["x"])  # type: ignore[arg-type]
    value = (x - shift) ** 2
    print(f"square of {x}")
    for step in range(3):
        trial.report(step, {"loss": value + 2 - step})
    return {"loss": value}


def bare_number(trial: Trial) -> float:
    return 0.5


def missing(trial: Trial) -> dict[str, float]:
    return {"accuracy": 1.0}


def nothing(trial: Trial) -> None:
    return None


def nan(trial: Trial) -> dict[str, float]:
    return {"loss": float("nan")}


def fails(trial: Trial) -> None:
    raise ValueError("the data set is empty")


def exits(trial: Trial) -> None:
    sys.exit(3)


def fails_with_reason(trial: Trial) -> None:
    error = RuntimeError("the loss is not finite")
    error.reason = "nan"  # type: ignore[attr-defined]
    raise error


def out_of_memory(trial: Trial) -> None:
    raise MemoryError


def segfault(trial: Trial) -> None:
    print("about to crash", file=sys.stderr)
    ctypes.string_at(0)


def vanish(trial: Trial) -> None:
    os._exit(7)


def bad_report(trial: Trial) -> None:
    trial.report(-1, {"loss": 0.0})


def bad_attrs(trial: Trial) -> float:
    trial.user_attrs["object"] = object()
    return 1.0


def chatter(trial: Trial) -> float:
    print("first")
    print("second", file=sys.stderr)
    sys.stdout.write("no newline at the end\0")
    print("x" * 20_000, file=sys.stderr)
    return 1.0


def environment(trial: Trial) -> dict[str, Any]:
    trial.user_attrs["names"] = sorted(os.environ)
    trial.user_attrs["threads"] = os.environ["OMP_NUM_THREADS"]
    trial.user_attrs["gpus"] = os.environ["CUDA_VISIBLE_DEVICES"]
    trial.user_attrs["pid"] = os.getpid()
    return {"loss": 0.0}


def until_told(trial: Trial, beat: float = 0.02, limit: float = 60.0) -> dict[str, float] | None:
    """Reports until a verdict comes."""
    end = time.monotonic() + limit
    step = trial.start_step
    while time.monotonic() < end:
        if trial.report(step, {"loss": 1.0}) != "continue":
            return None
        step += 1
        time.sleep(beat)
    return {"loss": 1.0}


def deaf(trial: Trial, steps: int = 20, beat: float = 0.02) -> dict[str, float]:
    """Never looks at a verdict."""
    for step in range(steps):
        trial.report(step, {"loss": 1.0})
        time.sleep(beat)
    return {"loss": 7.0}


def long_step(trial: Trial, seconds: float = 60.0) -> dict[str, float]:
    trial.report(0, {"loss": 1.0})
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.05)
    return {"loss": 2.0}


def counts_in_checkpoints(
    trial: Trial, epochs: int = 200, beat: float = 0.02, mark: str | None = None
) -> dict[str, float] | None:
    """A checkpoint and a report each step; the value counts all steps ever made, over all attempts."""
    state = trial.load_checkpoint() or {"count": 0}
    trial.user_attrs[f"started_at_{trial.attempt}"] = trial.start_step
    for step in range(trial.start_step, epochs):
        state["count"] += 1
        trial.save_checkpoint(state, step=step)
        if trial.report(step, {"loss": float(state["count"])}) != "continue":
            return None
        if mark is not None and step == 10:
            Path(mark).write_text(str(os.getpid()))
        time.sleep(beat)
    return {"loss": float(state["count"])}


def floods(trial: Trial, steps: int) -> dict[str, float]:
    for step in range(steps):
        trial.report(step, {"loss": float(step), "a metric with a rather long name, to fill the batch": 1.0 / (step + 1)})
        print(step)
    return {"loss": 0.0}


def leaves_children(trial: Trial, mark: str) -> None:
    child = subprocess.Popen(["sleep", "300"])
    Path(mark).write_text(f"{os.getpid()} {child.pid}")
    signal.pause()
