"""Executors: the ways a trial can be run. Each module has one `execute(assignment, trial)`; it returns what the trial returned.

`trainer` is ours and always allowed; `entrypoint` and `command` run foreign code and only what the operator of this worker has
allowed by a pattern (`--allow`). The patterns come from the worker's command line, never from the server.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Literal

from workers.pipe import Assignment
from workers.report import Refused, Trial

Executor = Literal["trainer", "entrypoint", "command"]
EXECUTORS: tuple[Executor, ...] = ("trainer", "entrypoint", "command")
COMMAND_PREFIX = "command:"


def execute(assignment: Assignment, trial: Trial) -> object:
    """Run the trial here, now. Raises what its code raises; Refused when this worker may not run it."""
    name = assignment.trial.executor
    if name not in EXECUTORS:
        raise Refused(f"This worker knows no executor {name!r}; it has {', '.join(EXECUTORS)}.")
    result: object = importlib.import_module(f"workers.executors.{name}").execute(assignment, trial)
    return result


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


def warm_up() -> None:
    """Import what nearly every trial needs, while no trial is waiting for it."""
    try:
        importlib.import_module("workers.training.loop")
    except ImportError:
        return  # a host without torch; a trainer trial will end with the full error
