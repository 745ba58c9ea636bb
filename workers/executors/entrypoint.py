"""Executor `entrypoint`: a Python function of the operator's own code, `package.module:function`, called with the trial.

The module is imported from where the worker runs and stays imported: edit it and the worker must be restarted. `args` of the
study are passed as keyword arguments.
"""

from __future__ import annotations

import importlib
import re
from operator import attrgetter

from tuner.errors import InvalidValue
from workers.executors import allows_entrypoint
from workers.pipe import Assignment
from workers.report import Refused, Trial

ENTRYPOINT = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*", re.ASCII)


def execute(assignment: Assignment, trial: Trial) -> object:
    config = assignment.trial.config
    name = str(config.get("entrypoint") or "")
    if not ENTRYPOINT.fullmatch(name):
        raise Refused(f"entrypoint: {name[:200]!r} is not of the form 'package.module:function'.")
    if not allows_entrypoint(name, assignment.allow):
        module = name.partition(":")[0]
        raise Refused(f"This worker may not run the entrypoint {name!r}; its operator can allow it with --allow '{module}:*'.")
    module_name, _, path = name.partition(":")
    try:
        function = attrgetter(path)(importlib.import_module(module_name))
    except AttributeError as error:
        raise InvalidValue(f"entrypoint: {name!r}: {error}") from error
    result: object = function(trial, **(config.get("args") or {}))
    return result
