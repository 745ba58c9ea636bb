"""Whole trajectories: schedules, penalties and losses over 25 steps of gradient descent against plain formulas in float64.

The plain side knows no autograd: gradients of losses and of the small MLP are written out in numpy.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.workers.training.test_optimizers import PROBLEMS, difference, gradients_at, normal
from tests.workers.training.test_schedules import FORMULAS
from tuner import catalog
from workers.training import losses, optimizers, regularizers, schedules
from workers.training.models.activations import activation

STEPS = 25
LR = 0.05
Array = Any
Gradient = Callable[[Array, Array], Array]
"""Of a mean loss by the outputs `[samples, outputs]`, given the targets."""


# --- schedules and penalties --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("name", FORMULAS)
def test_descent_under_a_schedule(name: str, problem: str) -> None:
    """24 epochs of one step: w <- w - lr factor(e) g."""
    hyperparameters, factor = FORMULAS[name]
    start, loss = PROBLEMS[problem]()
    weights = [nn.Parameter(w.clone()) for w in start]
    optimizer = optimizers.build("sgd", weights, lr=LR)
    schedule = schedules.build(name, optimizer, 24, 1, **hyperparameters)
    wanted = start
    for epoch in range(24):
        optimizer.zero_grad()
        loss(list(weights)).backward()
        optimizer.step()
        schedule.step()
        gradients = gradients_at(wanted, loss)
        wanted = [w - LR * factor(epoch) * g for w, g in zip(wanted, gradients, strict=True)]
    assert difference([w.detach() for w in weights], wanted) < 1e-7


PENALTIES: dict[str, tuple[dict[str, float], Callable[[Tensor], Tensor]]] = {
    "none": ({}, torch.zeros_like),
    "l2": ({"strength": 0.3}, lambda w: 0.3 * w),
    "l1": ({"strength": 0.3}, lambda w: 0.3 * w.sign()),
    "elastic_net": ({"l1": 0.2, "l2": 0.5}, lambda w: 0.2 * w.sign() + 0.5 * w),
}


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("name", regularizers.names())
def test_descent_under_a_penalty(name: str, problem: str) -> None:
    hyperparameters, slope = PENALTIES[name]
    start, loss = PROBLEMS[problem]()
    weights = [nn.Parameter(w.clone()) for w in start]
    optimizer = optimizers.build("sgd", weights, lr=LR)
    penalty = regularizers.build(name, **hyperparameters)
    wanted = start
    for _ in range(STEPS):
        optimizer.zero_grad()
        value = loss(list(weights))
        (value if penalty is None else value + penalty(weights)).backward()
        optimizer.step()
        wanted = [w - LR * (g + slope(w)) for w, g in zip(wanted, gradients_at(wanted, loss), strict=True)]
    assert difference([w.detach() for w in weights], wanted) < 1e-7


# --- losses -------------------------------------------------------------------------------------------------------------------


def softmax(z: Array) -> Array:
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def cross_entropy(z: Array, y: Array) -> Array:
    """Smoothed by 0.1: the target is spread over all classes."""
    return (softmax(z) - (0.9 * np.eye(z.shape[1])[y] + 0.1 / z.shape[1])) / len(z)


def focal(z: Array, y: Array) -> Array:
    """gamma 2: d/dp of -(1-p)^2 log p is 2 (1-p) log p - (1-p)^2 / p, and dp/dz = p (onehot - softmax)."""
    s, one = softmax(z), np.eye(z.shape[1])[y]
    p = (s * one).sum(1, keepdims=True)
    return (2 * (1 - p) * np.log(p) - (1 - p) ** 2 / p) * p * (one - s) / len(z)


def bce(z: Array, y: Array) -> Array:
    """Class 1 weighs 2.5."""
    s, y = 1 / (1 + np.exp(-z)), y[:, None]
    return (2.5 * y * (s - 1) + (1 - y) * s) / len(z)


REGRESSION = {
    "mse": ({}, lambda z, y: 2 * (z - y) / len(z)),
    "mae": ({}, lambda z, y: np.sign(z - y) / len(z)),
    "huber": ({"delta": 0.3}, lambda z, y: np.clip(z - y, -0.3, 0.3) / len(z)),
}
CASES: dict[str, tuple[dict[str, float], Gradient, int]] = {
    "cross_entropy": ({"label_smoothing": 0.1}, cross_entropy, 3),
    "focal": ({"gamma": 2.0}, focal, 3),
    "bce": ({"pos_weight": 2.5}, bce, 1),
    **{name: (hyperparameters, gradient, 1) for name, (hyperparameters, gradient) in REGRESSION.items()},
}


def test_every_loss_is_followed() -> None:
    """That of the detector has no plain gradient here: test_boxes.py computes its value by hand."""
    assert {*CASES, "grid_detection"} == set(losses.names())


def descended(model: Callable[[list[Tensor]], Tensor], start: list[Tensor], name: str, targets: Tensor) -> list[Tensor]:
    weights = [nn.Parameter(w.clone()) for w in start]
    optimizer = optimizers.build("sgd", weights, lr=LR)
    loss = losses.build(name, **CASES[name][0])
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss(model(list(weights)), targets).backward()
        optimizer.step()
    return [w.detach() for w in weights]


def targets_of(name: str) -> Tensor:
    if name in REGRESSION:
        return normal(12, 20, 1)
    return torch.arange(20) % (2 if name == "bce" else 3)


@pytest.mark.parametrize("name", CASES)
def test_a_linear_model_descends_by_the_losss_formula(name: str) -> None:
    _, gradient, outputs = CASES[name]
    inputs, start, targets = normal(10, 20, 5), normal(11, outputs, 5), targets_of(name)
    found = descended(lambda weights: inputs @ weights[0].T, [start], name, targets)
    x, w, y = inputs.numpy(), start.numpy(), targets.numpy()
    for _ in range(STEPS):
        w = w - LR * gradient(x @ w.T, y).T @ x
    assert difference(found, [torch.from_numpy(w)]) < 1e-7


@pytest.mark.parametrize("name", CASES)
def test_an_mlp_descends_by_the_losss_formula(name: str) -> None:
    _, gradient, outputs = CASES[name]
    inputs, targets = normal(10, 20, 5), targets_of(name)
    start = [normal(13, 6, 5) / 2, normal(14, 6) / 2, normal(15, outputs, 6) / 2, normal(16, outputs) / 2]

    def model(weights: list[Tensor]) -> Tensor:
        return torch.tanh(inputs @ weights[0].T + weights[1]) @ weights[2].T + weights[3]

    found = descended(model, start, name, targets)
    x, y = inputs.numpy(), targets.numpy()
    w1, b1, w2, b2 = (w.numpy() for w in start)
    for _ in range(STEPS):
        h = np.tanh(x @ w1.T + b1)
        d2 = gradient(h @ w2.T + b2, y)
        d1 = d2 @ w2 * (1 - h**2)
        w1, b1 = w1 - LR * d1.T @ x, b1 - LR * d1.sum(0)
        w2, b2 = w2 - LR * d2.T @ h, b2 - LR * d2.sum(0)
    assert difference(found, [torch.from_numpy(w) for w in (w1, b1, w2, b2)]) < 1e-7


# --- activations --------------------------------------------------------------------------------------------------------------

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda x: x,
    "relu": lambda x: torch.where(x > 0, x, 0.0),
    "leaky_relu": lambda x: torch.where(x > 0, x, 0.01 * x),
    "gelu": lambda x: x * (1 + torch.erf(x / 2**0.5)) / 2,
    "silu": lambda x: x / (1 + torch.exp(-x)),
    "tanh": lambda x: (torch.exp(x) - torch.exp(-x)) / (torch.exp(x) + torch.exp(-x)),
    "sigmoid": lambda x: 1 / (1 + torch.exp(-x)),
}


@pytest.mark.parametrize("name", catalog.get("models", "mlp").by_name["activation"].choices)
def test_activations_equal_their_formula(name: str) -> None:
    x = torch.linspace(-4, 4, 41, dtype=torch.float64)
    assert torch.allclose(activation(name)(x), ACTIVATIONS[name](x), rtol=1e-12, atol=1e-15)


def test_a_sigmoid_has_its_slope() -> None:
    x = torch.linspace(-4, 4, 41, dtype=torch.float64)
    assert torch.allclose(activation("sigmoid", 2.5)(x), 1 / (1 + torch.exp(-2.5 * x)), rtol=1e-12)
