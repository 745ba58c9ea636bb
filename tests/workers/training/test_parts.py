"""Initializers, regularizers and losses against their formulas."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from workers.training import augmentations, initializers, losses, optimizers, regularizers


def initialized(name: str, module: nn.Module, **hyperparameters: Any) -> nn.Module:
    torch.manual_seed(0)
    initializers.build(name, **hyperparameters)(module)
    return module


LAYERS: dict[str, tuple[Callable[[], Any], int, int]] = {
    "linear": (lambda: nn.Linear(400, 300), 400, 300),
    "convolution": (lambda: nn.Conv2d(32, 64, 3), 32 * 9, 64 * 9),
}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(
    ("name", "variance", "bound"),
    [
        ("xavier_uniform", lambda i, o: 2 / (i + o), lambda i, o: math.sqrt(6 / (i + o))),
        ("xavier_normal", lambda i, o: 2 / (i + o), None),
        ("he_uniform", lambda i, o: 2 / i, lambda i, o: math.sqrt(6 / i)),
        ("he_normal", lambda i, o: 2 / i, None),
    ],
)
def test_variance_and_bound(
    name: str, variance: Callable[[int, int], float], bound: Callable[[int, int], float] | None, layer: str
) -> None:
    make, fan_in, fan_out = LAYERS[layer]
    module = initialized(name, make())
    weight = module.weight.detach()
    assert float(weight.var()) == pytest.approx(variance(fan_in, fan_out), rel=0.05)
    assert abs(float(weight.mean())) < 5 * math.sqrt(variance(fan_in, fan_out) / weight.numel())
    largest = float(weight.abs().max()) / math.sqrt(variance(fan_in, fan_out))
    if bound is None:
        assert largest > 3.5  # a normal has tails, the uniform ends at sqrt(3)
    else:
        assert 0.99 * bound(fan_in, fan_out) < float(weight.abs().max()) <= bound(fan_in, fan_out)
    assert float(module.bias.detach().abs().max()) == 0.0


def test_orthogonal() -> None:
    module: Any = initialized("orthogonal", nn.Linear(30, 50), gain=2.0)
    assert torch.allclose(module.weight.detach().T @ module.weight.detach(), 4 * torch.eye(30), atol=1e-5)


def test_trunc_normal_ends_at_two_deviations() -> None:
    module: Any = initialized("trunc_normal", nn.Linear(300, 300), std=0.1)
    assert 0.199 < float(module.weight.detach().abs().max()) <= 0.2
    assert float(module.weight.detach().std()) == pytest.approx(0.08796, rel=0.02)  # of a normal cut at two deviations


def test_zeros_and_default() -> None:
    module: Any = initialized("zeros", nn.Linear(3, 4))
    assert float(module.weight.detach().abs().max()) == 0.0
    torch.manual_seed(5)
    untouched = nn.Linear(3, 4)
    before = untouched.weight.clone()
    initialized("default", untouched)
    assert torch.equal(untouched.weight, before)


def test_recurrent_weights_are_set_and_norms_are_left() -> None:
    recurrent = nn.LSTM(20, 20, num_layers=2)
    initialized("he_normal", nn.Sequential(recurrent, nn.LayerNorm(20)))
    assert float(recurrent.weight_hh_l1.detach().std()) == pytest.approx(math.sqrt(2 / 20), rel=0.1)
    assert float(recurrent.bias_hh_l1.detach().abs().max()) == 0.0
    norm = nn.LayerNorm(20)
    initialized("zeros", norm)
    assert torch.equal(norm.weight, torch.ones(20))


def weights() -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [
        torch.randn(4, 3, generator=generator, dtype=torch.float64),
        torch.randn(2, 4, generator=generator, dtype=torch.float64),
    ]


@pytest.mark.parametrize(
    ("name", "hyperparameters", "value", "gradient"),
    [
        ("l2", {"strength": 0.3}, lambda w: 0.15 * w**2, lambda w: 0.3 * w),
        ("l1", {"strength": 0.3}, lambda w: 0.3 * w.abs(), lambda w: 0.3 * w.sign()),
        ("elastic_net", {"l1": 0.2, "l2": 0.5}, lambda w: 0.2 * w.abs() + 0.25 * w**2, lambda w: 0.2 * w.sign() + 0.5 * w),
    ],
)
def test_penalties(
    name: str, hyperparameters: dict[str, float], value: Callable[[Tensor], Tensor], gradient: Callable[[Tensor], Tensor]
) -> None:
    penalty = regularizers.build(name, **hyperparameters)
    assert penalty is not None
    leaves = [w.requires_grad_() for w in weights()]
    total = penalty(leaves)
    assert float(total.detach()) == pytest.approx(sum(float(value(w.detach()).sum()) for w in leaves), rel=1e-12)
    for found, w in zip(torch.autograd.grad(total, leaves), leaves, strict=True):
        assert torch.allclose(found, gradient(w.detach()), rtol=1e-12, atol=0)


def test_none_is_no_penalty() -> None:
    assert regularizers.build("none") is None


def steps_with(optimizer: str, regularizer: str, decay: float, **hyperparameters: float) -> Tensor:
    """25 steps on a small quadratic with a penalty, with weight decay, or with neither."""
    target = weights()[0]
    weight = nn.Parameter(torch.zeros_like(target))
    penalty = regularizers.build(regularizer, **hyperparameters)
    used = optimizers.build(optimizer, [weight], lr=0.05, weight_decay=decay)
    for _ in range(25):
        used.zero_grad()
        loss = 0.5 * (weight - target).square().sum()
        (loss if penalty is None else loss + penalty([weight])).backward()
        used.step()
    return weight.detach()


def test_l2_is_coupled_decay_and_neither_l1_nor_decoupled_decay() -> None:
    for optimizer in ("sgd", "adam"):
        penalized, decayed = steps_with(optimizer, "l2", 0.0, strength=0.4), steps_with(optimizer, "none", 0.4)
        assert torch.allclose(penalized, decayed, rtol=1e-9)
    l1 = steps_with("adam", "l1", 0.0, strength=0.4)
    l2 = steps_with("adam", "l2", 0.0, strength=0.4)
    decoupled = steps_with("adamw", "none", 0.4)
    differences = [float((a - b).abs().max()) for a, b in ((l1, l2), (l1, decoupled), (l2, decoupled))]
    assert min(differences) > 1e-3


def outputs_and_classes() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(4)
    return 3 * torch.randn(12, 4, generator=generator, dtype=torch.float64), torch.arange(12) % 4


def test_cross_entropy_with_smoothing() -> None:
    outputs, classes = outputs_and_classes()
    log_p = outputs - outputs.exp().sum(1, keepdim=True).log()
    wanted = 0.0
    for row, y in zip(log_p, classes, strict=True):
        wanted -= sum((0.9 * int(k == int(y)) + 0.1 / 4) * row[k] for k in range(4)) / 12
    assert float(losses.build("cross_entropy", label_smoothing=0.1)(outputs, classes)) == pytest.approx(float(wanted), rel=1e-12)


def test_focal() -> None:
    outputs, classes = outputs_and_classes()
    p = outputs.softmax(1)[torch.arange(12), classes]
    found = losses.build("focal", gamma=1.5)(outputs, classes)
    assert float(found) == pytest.approx(float((-((1 - p) ** 1.5) * p.log()).mean()), rel=1e-12)
    plain = losses.build("cross_entropy")(outputs, classes)
    assert float(losses.build("focal", gamma=0.0)(outputs, classes)) == pytest.approx(float(plain), rel=1e-12)
    certain = torch.tensor([[100.0, 0.0]], requires_grad=True)
    losses.build("focal", gamma=0.5)(certain, torch.tensor([0])).backward()
    assert certain.grad is not None
    assert bool(certain.grad.isfinite().all())


def test_bce() -> None:
    z, y = torch.linspace(-3, 3, 9, dtype=torch.float64), torch.arange(9) % 2
    p = 1 / (1 + torch.exp(-z))
    wanted = -(2.5 * y * p.log() + (1 - y) * (1 - p).log()).mean()
    assert float(losses.build("bce", pos_weight=2.5)(z[:, None], y)) == pytest.approx(float(wanted), rel=1e-9)


@pytest.mark.parametrize(
    ("name", "hyperparameters", "formula"),
    [
        ("mse", {}, lambda d: d**2),
        ("mae", {}, abs),
        ("huber", {"delta": 0.7}, lambda d: d**2 / 2 if abs(d) <= 0.7 else 0.7 * (abs(d) - 0.35)),
    ],
)
def test_regression_losses(name: str, hyperparameters: dict[str, float], formula: Callable[[float], float]) -> None:
    outputs = torch.linspace(-2, 2, 11, dtype=torch.float64)[:, None]
    targets = outputs.flip(0) / 3
    wanted = sum(formula(float(z - y)) for z, y in zip(outputs, targets, strict=True)) / 11
    assert float(losses.build(name, **hyperparameters)(outputs, targets)) == pytest.approx(wanted, rel=1e-12)


def augmented(name: str, images: Tensor, **hyperparameters: Any) -> Tensor:
    torch.manual_seed(1)
    augment = augmentations.build(name, **hyperparameters)
    assert augment is not None
    return augment(images)


def test_flip_mirrors_some_and_only_left_to_right() -> None:
    images = torch.randn(200, 2, 3, 4)
    found = augmented("flip", images, flip=0.3)
    mirrored = (found == images.flip(-1)).flatten(1).all(1)
    assert ((found == images).flatten(1).all(1) ^ mirrored).all()
    assert 40 < int(mirrored.sum()) < 80
    assert torch.equal(augmented("flip", images, flip=0.0), images)
    assert torch.equal(augmented("flip", images, flip=1.0), images.flip(-1))


def test_shift_moves_whole_pictures() -> None:
    images = torch.randn(100, 3, 5, 6)
    found = augmented("shift", images, shift=2)
    padded = nn.functional.pad(images, (2, 2, 2, 2))
    moves = set()
    for before, after in zip(padded, found, strict=True):
        fits = [(d, r) for d in range(5) for r in range(5) if torch.equal(before[:, d : d + 5, r : r + 6], after)]
        assert len(fits) == 1
        moves |= set(fits)
    assert len(moves) > 20  # of 25
    assert torch.equal(augmented("shift", images, shift=0), images)


def test_noise_and_both() -> None:
    x = torch.zeros(500, 40)
    assert float(augmented("noise", x, std=0.3).std()) == pytest.approx(0.3, rel=0.02)
    images = torch.randn(20, 1, 4, 4)
    assert torch.equal(augmented("flip_shift", images, flip=1.0, shift=0), images.flip(-1))
    assert augmentations.build("none") is None
