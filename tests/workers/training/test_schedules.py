"""Every schedule against its formula, and against torch's scheduler of the same meaning."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler

from workers.training import schedules

EPOCHS = 24
BASE = 0.4


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=BASE)


def lrs(name: str, *, epochs: int = EPOCHS, steps_per_epoch: int = 1, **hyperparameters: Any) -> list[float]:
    """The lr of each optimizer step."""
    used = optimizer()
    schedule = schedules.build(name, used, epochs, steps_per_epoch, **hyperparameters)
    found = []
    for _ in range(epochs * steps_per_epoch):
        found.append(used.param_groups[0]["lr"])
        used.step()
        schedule.step()
    return found


FORMULAS: dict[str, tuple[dict[str, Any], Callable[[float], float]]] = {
    "constant": ({}, lambda e: 1.0),
    "step": ({"step_size": 5, "gamma": 0.3}, lambda e: 0.3 ** (e // 5)),
    "exponential": ({"gamma": 0.9}, lambda e: 0.9 ** math.floor(e)),
    "multistep": ({"milestones": [3, 9], "gamma": 0.1}, lambda e: 1.0 if e < 3 else 0.1 if e < 9 else 0.01),
    "cosine": ({"min_factor": 0.1}, lambda e: 0.1 + 0.9 * (1 + math.cos(math.pi * e / EPOCHS)) / 2),
    "cosine_restarts": (
        {"first_cycle": 3, "multiplier": 2, "min_factor": 0.0},
        lambda e: (
            (1 + math.cos(math.pi * (e / 3 if e < 3 else (e - 3) / 6 if e < 9 else (e - 9) / 12 if e < 21 else (e - 21) / 24)))
            / 2
        ),
    ),
    "linear": ({"end_factor": 0.2}, lambda e: 1 - 0.8 * e / EPOCHS),
    "polynomial": ({"power": 3.0, "end_factor": 0.1}, lambda e: 0.1 + 0.9 * (1 - e / EPOCHS) ** 3),
    "one_cycle": (
        {"rise": 0.25, "start_factor": 0.04, "end_factor": 0.01},
        lambda e: (
            0.04 + 0.96 * (1 - math.cos(math.pi * e / 6)) / 2
            if e < 6
            else 0.01 + 0.99 * (1 + math.cos(math.pi * (e - 6) / 18)) / 2
        ),
    ),
    "cyclic": (
        {"half_cycle": 3, "base_factor": 0.1, "decay": 0.5},
        lambda e: 0.1 + 0.9 * (1 - abs(e % 6 / 3 - 1)) * 0.5 ** (e // 6),
    ),
}


@pytest.mark.parametrize("steps_per_epoch", [1, 4, 7])
@pytest.mark.parametrize("name", FORMULAS)
def test_equals_its_formula(name: str, steps_per_epoch: int) -> None:
    hyperparameters, formula = FORMULAS[name]
    wanted = [BASE * formula(step / steps_per_epoch) for step in range(EPOCHS * steps_per_epoch)]
    assert lrs(name, steps_per_epoch=steps_per_epoch, **hyperparameters) == pytest.approx(wanted, rel=1e-7, abs=1e-9)


def test_every_schedule_is_compared_with_something() -> None:
    assert {*FORMULAS, "plateau"} == set(schedules.names())


TORCH: dict[str, tuple[dict[str, Any], Callable[[torch.optim.Optimizer], Any]]] = {
    "step": ({"step_size": 5, "gamma": 0.3}, lambda o: lr_scheduler.StepLR(o, 5, 0.3)),
    "exponential": ({"gamma": 0.9}, lambda o: lr_scheduler.ExponentialLR(o, 0.9)),
    "multistep": ({"milestones": [3, 9]}, lambda o: lr_scheduler.MultiStepLR(o, [3, 9])),
    "cosine": ({"min_factor": 0.1}, lambda o: lr_scheduler.CosineAnnealingLR(o, EPOCHS, BASE * 0.1)),
    "cosine_restarts": ({"first_cycle": 3}, lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 3, 2)),
    "linear": ({"end_factor": 0.2}, lambda o: lr_scheduler.LinearLR(o, 1.0, 0.2, EPOCHS)),
    "polynomial": ({"power": 3.0}, lambda o: lr_scheduler.PolynomialLR(o, EPOCHS, 3.0)),
    "one_cycle": (
        {"rise": 0.25, "start_factor": 0.04, "end_factor": 0.01},
        # torch counts the last step as reached: 25 steps from 0 to 24, the peak at step 6.
        lambda o: lr_scheduler.OneCycleLR(
            o, BASE, total_steps=25, pct_start=7 / 25, div_factor=25, final_div_factor=4, cycle_momentum=False
        ),
    ),
    "cyclic": (
        {"half_cycle": 3, "decay": 0.5},
        lambda o: lr_scheduler.CyclicLR(o, BASE * 0.1, BASE, 3, mode="triangular2", cycle_momentum=False),
    ),
}


@pytest.mark.parametrize("name", TORCH)
def test_equals_torchs_scheduler(name: str) -> None:
    hyperparameters, make = TORCH[name]
    used = optimizer()
    scheduler = make(used)
    wanted = []
    for _ in range(EPOCHS):
        wanted.append(used.param_groups[0]["lr"])
        used.step()
        scheduler.step()
    assert lrs(name, **hyperparameters) == pytest.approx(wanted, rel=1e-7, abs=1e-12)


def test_plateau_equals_torchs() -> None:
    losses = [5, 4, 4, 4, 4, 3.9999, 3, 3, 3, 3, 3, 3, 2, 2.5, 2.4, 2.3, 2.2, 2.1, 2.05, 2.01, 2.0, 2.0]
    ours, theirs = optimizer(), optimizer()
    schedule = schedules.build("plateau", ours, 1, 1, factor=0.5, patience=2, threshold=1e-3, min_lr=0.03)
    scheduler = lr_scheduler.ReduceLROnPlateau(theirs, factor=0.5, patience=2, threshold=1e-3, min_lr=0.03, eps=0)
    found, wanted = [], []
    for loss in losses:
        schedule.observe(loss)
        scheduler.step(loss)
        found.append(ours.param_groups[0]["lr"])
        wanted.append(theirs.param_groups[0]["lr"])
    assert found == pytest.approx(wanted)
    assert found[-1] < BASE / 3


def test_warmup_rises_in_a_line_and_then_the_schedule_begins() -> None:
    found = lrs("step", steps_per_epoch=2, warmup=2.0, warmup_factor=0.2, step_size=3, gamma=0.1)
    assert found[:4] == pytest.approx([BASE * f for f in (0.2, 0.4, 0.6, 0.8)])
    assert found[4:10] == pytest.approx([BASE] * 6)
    assert found[10] == pytest.approx(BASE * 0.1)


def test_a_cosine_after_warmup_still_ends_with_the_training() -> None:
    found = lrs("cosine", epochs=10, warmup=5.0)
    assert found[5] == pytest.approx(BASE)
    assert found[9] == pytest.approx(BASE * (1 + math.cos(math.pi * 4 / 5)) / 2)


@pytest.mark.parametrize("name", schedules.names())
def test_goes_on_from_its_state(name: str) -> None:
    def fresh() -> tuple[torch.optim.Optimizer, Any]:
        used = optimizer()
        return used, schedules.build(name, used, EPOCHS, 3, warmup=1.0)

    def run(used: torch.optim.Optimizer, schedule: Any, steps: range) -> list[float]:
        found = []
        for step in steps:
            used.step()
            schedule.step()
            schedule.observe(1.0)
            found.append(used.param_groups[0]["lr"] + step * 0)
        return found

    one, schedule = fresh()
    run(one, schedule, range(20))
    state = schedule.state_dict()
    rest = run(one, schedule, range(20, 60))
    two, again = fresh()
    again.load_state_dict(state)
    assert run(two, again, range(20, 60)) == rest
