"""Executor `trainer`: the built-in training loop over the study's trainer configuration, in which it sets the trial's parameters.

The files of a data set are looked up here, below the folders that the worker's operator has named, before the loop opens any.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tuner import catalog
from tuner.catalog.datasets import files
from tuner.errors import InvalidValue
from workers.pipe import Assignment
from workers.report import Trial
from workers.roots import DataRoots


def execute(assignment: Assignment, trial: Trial) -> object:
    from workers.training import loop

    config = assignment.trial.config.get("trainer") or {}
    trial.params |= locate_files(config, trial.params, assignment.data)
    return loop.train(config, trial)


def locate_files(config: Mapping[str, Any], params: Mapping[str, Any], data: DataRoots) -> dict[str, str]:
    """Parameters that set each file of the trial's data set to where it lies on this host. Refused for one that may not be read."""
    try:
        dataset = catalog.merge(config, params)["dataset"]
    except InvalidValue:
        return {}  # the loop will say what is wrong, and open nothing
    fields = files(catalog.get("datasets", dataset["name"]))
    return {f"dataset.{field}": str(data.locate(dataset[field], f"dataset.{field}")) for field in fields if dataset[field]}
