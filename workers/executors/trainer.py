"""Executor `trainer`: the built-in training loop over the study's trainer configuration, in which it sets the trial's parameters."""

from __future__ import annotations

from workers.pipe import Assignment
from workers.report import Trial


def execute(assignment: Assignment, trial: Trial) -> object:
    from workers.training import loop

    return loop.train(assignment.trial.config.get("trainer") or {}, trial)
