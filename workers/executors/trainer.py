"""Executor `trainer`: the built-in training loop over the study's trainer configuration with the trial's parameters set in it."""

from __future__ import annotations

from tuner import catalog
from workers.pipe import Assignment
from workers.report import Trial


def execute(assignment: Assignment, trial: Trial) -> object:
    from workers.training import loop

    config = catalog.merge(assignment.trial.config.get("trainer") or {}, assignment.trial.params)
    return loop.train(config, trial)
