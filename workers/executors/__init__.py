"""Executors: the ways a trial can be run. Each module has one `execute(assignment, trial)`; it returns what the trial returned.

`trainer` is ours and always allowed; `entrypoint` and `command` run foreign code and only what the operator of this worker has
allowed by a pattern (`--allow`), and code that comes with a study (a bundle) only where that is switched on (`--allow-bundles`) as
well. All this comes from the worker's command line, never from the server.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any, Literal

from tuner.wire import LeasedTrial
from workers.errors import Refused
from workers.pipe import Assignment
from workers.report import Trial

Executor = Literal["trainer", "entrypoint", "command"]
EXECUTORS: tuple[Executor, ...] = ("trainer", "entrypoint", "command")
COMMAND_PREFIX = "command:"


def execute(assignment: Assignment, trial: Trial) -> object:
    """Run the trial here, now. Raises what its code raises; Refused when this worker may not run it."""
    check_allowed(assignment.trial, assignment.allow)
    if assignment.trial.config.get("bundle") is not None and assignment.bundle is None:
        raise Refused("This worker runs no code that comes with a study; its operator can switch that on with --allow-bundles.")
    result: object = _module(assignment.trial.executor).execute(assignment, trial)
    return result


def check_allowed(trial: LeasedTrial, allow: Iterable[str]) -> None:
    """Refused when no pattern allows what the trial asks to run."""
    if trial.executor not in EXECUTORS:
        raise Refused(f"This worker knows no executor {trial.executor!r}; it has {', '.join(EXECUTORS)}.")
    if trial.executor != "trainer":
        _module(trial.executor).check_allowed(trial.config, allow)


def offered(allow: Iterable[str]) -> list[Executor]:
    """Names of the executors a worker with these patterns offers when it asks for trials."""
    patterns = list(allow)
    names: list[Executor] = ["trainer"]
    if any(not pattern.startswith(COMMAND_PREFIX) for pattern in patterns):
        names.append("entrypoint")
    if any(pattern.startswith(COMMAND_PREFIX) for pattern in patterns):
        names.append("command")
    return names


def allows_entrypoint(name: str, allow: Iterable[str]) -> bool:
    """Whether a pattern (with * and ?, as in file names) matches the whole of `package.module:function`."""
    return any(fnmatchcase(name, pattern) for pattern in allow if not pattern.startswith(COMMAND_PREFIX))


def allows_command(program: str, allow: Iterable[str]) -> bool:
    """Whether a pattern `command:...` matches the program as the study names it. A bare * allows entrypoints only."""
    patterns = [pattern.removeprefix(COMMAND_PREFIX) for pattern in allow if pattern.startswith(COMMAND_PREFIX)]
    return any(fnmatchcase(program, pattern) for pattern in patterns)


def _module(executor: str) -> Any:
    return importlib.import_module(f"workers.executors.{executor}")


def warm_up() -> None:
    """Import what nearly every trial needs, while no trial is waiting for it."""
    try:
        importlib.import_module("workers.training.loop")
    except ImportError:
        return  # a host without torch; a trainer trial will end with the full error
