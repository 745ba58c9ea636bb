"""A trial of one's own: minimize Rosenbrock's valley by gradient descent with momentum, reporting as it goes."""

from __future__ import annotations

from typing import Any


def objective(trial: Any, steps: int = 40) -> dict[str, float] | None:
    lr, momentum = trial.params["lr"] * 1e-3, trial.params["momentum"]
    x, y, vx, vy = -1.2, 1.0, 0.0, 0.0
    for step in range(trial.start_step, steps):
        for _ in range(50):
            vx = momentum * vx - lr * (-2 * (1 - x) - 400 * x * (y - x * x))
            vy = momentum * vy - lr * 200 * (y - x * x)
            x, y = x + vx, y + vy
        if trial.report(step, {"loss": rosenbrock(x, y)}) != "continue":
            return None  # the verdict is recorded already
    return {"loss": rosenbrock(x, y)}


def rosenbrock(x: float, y: float) -> float:
    return (1 - x) ** 2 + 100 * (y - x * x) ** 2
