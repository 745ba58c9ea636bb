"""The learning-rate schedules of the catalogue: each gives lr as a multiple of the optimizer's own.

e is the time since warm-up in epochs; E the epochs that remain after warm-up. `warmup` in front of any of them rises in a line
from warmup_factor to 1. All but plateau are closed forms of e, so a fused group can tabulate them.
"""

from __future__ import annotations

from dataclasses import dataclass

from tuner.catalog.entries import Entry, Hyperparameter, integer, integers, number


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


PER_STEP = ScheduleFacts(per_step=True)


def _end(name: str, default: float) -> Hyperparameter:
    return number(name, default, 0, 1, summary="share of lr")


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
    _entry(
        "multistep",
        "lr times gamma at each milestone.",
        "When the epochs at which to decay are known.",
        "lr(e) = lr gamma^(milestones at or before e)",
        integers("milestones", [10, 15], 1, 1_000_000, summary="epochs after which lr falls"),
        _gamma(0.1),
    ),
    _entry(
        "cosine",
        "Half a cosine from lr to its min_factor over the whole training.",
        "The default of today's practice.",
        "Loshchilov and Hutter 2017, arXiv 1608.03983; lr(e) = lr (m + (1 - m) (1 + cos(pi e / E)) / 2)",
        _end("min_factor", 0.0),
        facts=PER_STEP,
    ),
    _entry(
        "cosine_restarts",
        "Half cosines one after the other, each multiplier times as long as the one before.",
        "Long trainings; several good snapshots on the way.",
        "Loshchilov and Hutter 2017, arXiv 1608.03983",
        integer("first_cycle", 5, 1, 1_000_000, per_lane=True, summary="epochs of the first cycle"),
        integer("multiplier", 2, 1, 100, per_lane=True, summary="growth of the cycles"),
        _end("min_factor", 0.0),
        facts=PER_STEP,
    ),
    _entry(
        "linear",
        "A line from lr to its end_factor over the whole training.",
        "Fine-tuning.",
        "lr(e) = lr (1 + (end - 1) e / E)",
        _end("end_factor", 0.0),
        facts=PER_STEP,
    ),
    _entry(
        "polynomial",
        "As linear, bent by a power.",
        "Detection and segmentation.",
        "lr(e) = lr (end + (1 - end) (1 - e / E)^power)",
        number("power", 2.0, 0, low_open=True, summary="1 is linear"),
        _end("end_factor", 0.0),
        facts=PER_STEP,
    ),
    _entry(
        "one_cycle",
        "Up from start_factor to lr over rise of the training, down to end_factor over the rest, both along cosines.",
        "Short trainings at high lr.",
        "Smith and Topin 2018, arXiv 1708.07120; lr alone, momentum stays",
        number("rise", 0.3, 0, 1, low_open=True, high_open=True, summary="share of the training that rises"),
        _end("start_factor", 0.04),
        _end("end_factor", 4e-6),
        facts=PER_STEP,
    ),
    _entry(
        "cyclic",
        "Up and down in lines between base_factor and lr; decay shrinks each cycle's height.",
        "To find out which lr is still stable; ensembles of snapshots.",
        "Smith 2017, arXiv 1506.01186; triangular, triangular2 with decay 0.5",
        integer("half_cycle", 2, 1, 1_000_000, per_lane=True, summary="epochs up, and as many down"),
        _end("base_factor", 0.1),
        number("decay", 1.0, 0, 1, low_open=True, summary="of the height after each cycle"),
        facts=PER_STEP,
    ),
)
