"""Executor `entrypoint`: a Python function, `package.module:function`, called with the trial and the study's `args` as keywords.

The module is the operator's own, imported from where the worker runs, or that of the study's bundle, and then of nowhere else. It stays
imported: edit it and the worker must be restarted. A bundle that is imported has a trial process of its own (`workers.engines.local`),
which works in the bundle's folder.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Iterable, Mapping
from operator import attrgetter
from pathlib import Path
from typing import Any

from tuner.errors import InvalidValue
from workers import record
from workers.errors import Refused
from workers.executors import allows_entrypoint
from workers.pipe import Assignment
from workers.report import Trial

ENTRYPOINT = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*", re.ASCII)


def check_allowed(config: Mapping[str, Any], allow: Iterable[str]) -> None:
    """Refused unless the operator of this worker has allowed the function."""
    name = str(config.get("entrypoint") or "")
    if not ENTRYPOINT.fullmatch(name):
        raise Refused(f"entrypoint: {name[:200]!r} is not of the form 'package.module:function'.")
    if not allows_entrypoint(name, allow):
        module = name.partition(":")[0]
        raise Refused(f"This worker may not run the entrypoint {name!r}; its operator can allow it with --allow '{module}:*'.")


def execute(assignment: Assignment, trial: Trial) -> object:
    config = assignment.trial.config
    name = str(config["entrypoint"])
    module_name, _, path = name.partition(":")
    if assignment.bundle is not None:
        enter(assignment.bundle, module_name)
    try:
        module = importlib.import_module(module_name)
        record.digest_modules(module)  # now, while its files are what was imported
        function = attrgetter(path)(module)
    except AttributeError as error:
        raise InvalidValue(f"entrypoint: {name!r}: {error}") from error
    result: object = function(trial, **(config.get("args") or {}))
    return result


def enter(bundle: Path, module: str) -> None:
    """Work in the bundle's folder and import from it first. Refused when the module would come from somewhere else."""
    os.chdir(bundle)
    if str(bundle) not in sys.path:
        sys.path.insert(0, str(bundle))
        importlib.invalidate_caches()
    top = module.partition(".")[0]
    try:
        found = importlib.util.find_spec(top)
    except ValueError:
        found = None
    places = [] if found is None else [found.origin, *(found.submodule_search_locations or ())]
    if not any(place is not None and Path(place).is_relative_to(bundle) for place in places):
        raise Refused(f"entrypoint: the study's bundle has no module {top!r}, or one whose name is taken on this worker.")
