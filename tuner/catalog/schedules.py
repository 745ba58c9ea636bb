"""The learning-rate schedules of the catalogue: each gives lr as a multiple of the optimizer's own.

e is the time since warm-up in epochs; E the epochs that remain after warm-up. `warmup` in front of any of them rises in a line
from warmup_factor to 1. All but plateau are closed forms of e, so a fused group can tabulate them.
"""

from __future__ import annotations

from dataclasses import dataclass

from tuner.catalog.entries import Entry, Hyperparameter, integer, number


@dataclass(frozen=True, kw_only=True)
class ScheduleFacts:
    closed_form: bool = True
    per_step: bool = False
    """lr changes with each optimizer step, not only between epochs."""


ScheduleEntry = Entry[ScheduleFacts]

WARMUP = (
    number("warmup", 0.0, 0, 100_000, summary="epochs of linear warm-up in front"),
    number("warmup_factor", 0.01, 0, 1, low_open=True, summary="share of lr at the start of warm-up"),
)


def _entry(
    name: str,
    summary: str,
    when_to_use: str,
    source: str,
    *hyperparameters: Hyperparameter,
    facts: ScheduleFacts | None = None,
) -> ScheduleEntry:
    return Entry(
        kind="schedules",
        name=name,
        summary=summary,
        when_to_use=when_to_use,
        source=source,
        hyperparameters=(*hyperparameters, *WARMUP),
        facts=facts or ScheduleFacts(),
    )


def _gamma(default: float) -> Hyperparameter:
    return number("gamma", default, 0, 1, low_open=True, summary="factor of one decay")


ENTRIES: tuple[ScheduleEntry, ...] = (
    _entry(
        "constant",
        "lr stays as it is.",
        "Short trainings, adaptive optimizers, and optimizers that set their own rate.",
        "lr(e) = lr",
    ),
    _entry(
        "step",
        "lr times gamma after each step_size epochs.",
        "The classic for convolutional networks.",
        "lr(e) = lr gamma^floor(e / step_size)",
        integer("step_size", 10, 1, per_lane=True, summary="epochs between decays"),
        _gamma(0.1),
    ),
    _entry(
        "exponential",
        "lr times gamma after each epoch.",
        "A smooth decay with one knob.",
        "lr(e) = lr gamma^floor(e)",
        _gamma(0.95),
    ),
    _entry(
        "plateau",
        "lr times factor whenever val_loss has not improved for more than patience epochs.",
        "When it is not known beforehand how long training takes.",
        "as torch.optim.lr_scheduler.ReduceLROnPlateau, mode min",
        number("factor", 0.1, 0, 1, low_open=True, high_open=True, summary="factor of one reduction"),
        integer("patience", 5, 0, per_lane=True, summary="epochs without improvement that are let pass"),
        number("threshold", 1e-4, 0, summary="relative improvement that counts"),
        number("min_lr", 0.0, 0, summary="lr never falls below"),
        facts=ScheduleFacts(closed_form=False),
    ),
)
