"""A child of a population in a framework: the parent's moments and place in the schedule, the child's own hyperparameters.

Frameworks restore an optimizer with the hyperparameters it had, which would undo the child's. Here the saved state is given those of the
optimizer that the child's code has made, before the framework restores it. Weakness: what ReduceLROnPlateau had taken from the learning rate
is forgotten, for it keeps no base to take it from.
"""

from __future__ import annotations

from typing import Any


def set_hyperparameters(saved: dict[str, Any], optimizer: Any) -> None:
    """Put an optimizer's hyperparameters in the place of those in a saved state of its kind; lr falls by what the schedule had made of it."""
    for group, own in zip(saved["param_groups"], optimizer.param_groups, strict=True):
        base, now = group.get("initial_lr", group["lr"]), group["lr"]
        group.update({key: value for key, value in own.items() if key != "params"})
        own_base = own.get("initial_lr", own["lr"])
        group["lr"] = own_base * (now / base) if base else own_base


def set_bases(saved: dict[str, Any], schedule: Any, optimizer: dict[str, Any]) -> None:
    """Let a saved schedule go on from the learning rates of this one; `optimizer`: its saved state, with hyperparameters set."""
    if "base_lrs" in saved:
        saved["base_lrs"] = list(schedule.base_lrs)
    if "_last_lr" in saved:
        saved["_last_lr"] = [group["lr"] for group in optimizer["param_groups"]]
    for inner, own in zip(saved.get("_schedulers", ()), getattr(schedule, "_schedulers", ()), strict=True):
        set_bases(inner, own, optimizer)
