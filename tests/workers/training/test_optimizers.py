"""Every optimizer against its formula written out plainly in float64, 25 steps on a quadratic and on a small MLP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.workers.training import references
from tuner import catalog
from tuner.errors import InvalidValue
from workers.training import datasets, optimizers

STEPS = 25
Loss = Callable[[list[Tensor]], Tensor]


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def quadratic() -> tuple[list[Tensor], Loss]:
    """A convex bowl over a matrix and a vector, stretched tenfold in some directions."""
    root = normal(1, 18, 18) / 4
    curvature = root @ root.T + torch.diag(torch.linspace(0.1, 1.0, 18, dtype=torch.float64))
    target = normal(2, 18)

    def loss(weights: list[Tensor]) -> Tensor:
        away = torch.cat([w.flatten() for w in weights]) - target
        return 0.5 * away @ curvature @ away

    return [normal(3, 3, 4), normal(4, 6)], loss


def mlp() -> tuple[list[Tensor], Loss]:
    inputs, classes = normal(5, 20, 5), torch.arange(20) % 3

    def loss(weights: list[Tensor]) -> Tensor:
        w1, b1, w2, b2 = weights
        return functional.cross_entropy(torch.tanh(inputs @ w1.T + b1) @ w2.T + b2, classes)

    return [normal(6, 6, 5) / 2, normal(7, 6) / 2, normal(8, 3, 6) / 2, normal(9, 3) / 2], loss


PROBLEMS = {"quadratic": quadratic, "mlp": mlp}
BETAS: dict[str, Any] = {"beta1": 0.9, "beta2": 0.99, "eps": 1e-8}
CASES: list[tuple[str, Callable[..., Tensor], dict[str, Any]]] = [
    ("gd", references.sgd, {"lr": 0.1}),
    ("sgd", references.sgd, {"lr": 0.1, "weight_decay": 0.01}),
    ("sgd", references.nesterov, {"lr": 0.02, "momentum": 0.8, "nesterov": True}),
    ("minibatch", references.sgd, {"lr": 0.05}),
    ("momentum", references.momentum, {"lr": 0.02, "momentum": 0.9}),
    ("nesterov", references.nesterov, {"lr": 0.02, "momentum": 0.9}),
    ("adagrad", references.adagrad, {"lr": 0.1, "eps": 1e-10}),
    ("adagrad", references.adagrad, {"lr": 0.1, "eps": 1e-3, "lr_decay": 0.1, "initial_accumulator": 0.1}),
    ("adadelta", references.adadelta, {"lr": 1.0, "rho": 0.9, "eps": 1e-6}),
    ("rmsprop", references.rmsprop, {"lr": 0.01, "rho": 0.9, "eps": 1e-4, "eps_inside": False}),
    ("rmsprop", references.rmsprop, {"lr": 0.01, "rho": 0.9, "eps": 1e-4, "eps_inside": True}),
    (
        "rmsprop",
        references.rmsprop,
        {"lr": 0.01, "rho": 0.9, "eps": 1e-4, "eps_inside": True, "centered": True, "momentum": 0.5},
    ),
    (
        "rmsprop",
        references.rmsprop,
        {"lr": 0.01, "rho": 0.9, "eps": 1e-4, "eps_inside": False, "centered": True, "momentum": 0.5},
    ),
    ("adam", references.adam, {"lr": 0.01, **BETAS}),
    ("adam", references.adam, {"lr": 0.01, **BETAS, "weight_decay": 0.1, "amsgrad": True}),
    ("adamw", references.adamw, {"lr": 0.01, **BETAS, "weight_decay": 0.1}),
    ("nadam", references.nadam, {"lr": 0.01, **BETAS, "momentum_decay": 4e-3}),
    ("radam", references.radam, {"lr": 0.01, **BETAS}),
    ("adamax", references.adamax, {"lr": 0.01, **BETAS}),
    ("adafactor", references.adafactor, {"lr": 0.05, "beta2_decay": -0.8, "min_scale": 1e-3, "clip_threshold": 1.0}),
    ("lion", references.lion, {"lr": 0.01, "beta1": 0.9, "beta2": 0.99, "weight_decay": 0.1}),
    ("lamb", references.lamb, {"lr": 0.01, **BETAS, "weight_decay": 0.1}),
    ("muon", references.muon, {"lr": 0.02, "adamw_lr": 0.01, "momentum": 0.95, "iterations": 5, **BETAS, "weight_decay": 0.1}),
    ("shampoo", references.shampoo, {"lr": 0.03, "eps": 1e-4, "momentum": 0.5}),
    ("soap", references.soap, {"lr": 0.01, "beta1": 0.9, "beta2": 0.95, "eps": 1e-8, "update_every": 5}),
]
IDS = [f"{name}-{i}" for i, (name, _, _) in enumerate(CASES)]


def optimized(name: str, problem: str, *, steps: int = STEPS, **hyperparameters: Any) -> list[Tensor]:
    """The weights after some steps of the built optimizer, whichever closure it takes."""
    start, loss = PROBLEMS[problem]()
    weights = [torch.nn.Parameter(w.clone()) for w in start]
    optimizer = optimizers.build(name, weights, **hyperparameters)
    closure = optimizers.facts(name).closure

    def backward() -> Tensor:
        optimizer.zero_grad()
        value = loss(list(weights))
        value.backward()
        return value

    for t in range(1, steps + 1):
        torch.manual_seed(t)
        if closure == "none":
            backward()
            optimizer.step()
        else:
            optimizer.step(backward if closure == "backward" else lambda: loss(list(weights)))
    if optimizers.facts(name).train_eval:
        optimizer.eval()
    return [w.detach() for w in weights]


def gradients_at(weights: list[Tensor], loss: Loss) -> list[Tensor]:
    leaves = [w.clone().requires_grad_() for w in weights]
    return list(torch.autograd.grad(loss(leaves), leaves))


def referred(rule: Callable[..., Tensor], problem: str, **hyperparameters: Any) -> tuple[list[Tensor], list[dict[str, Any]]]:
    weights, loss = PROBLEMS[problem]()
    states: list[dict[str, Any]] = [{} for _ in weights]
    for t in range(1, STEPS + 1):
        gradients = gradients_at(weights, loss)
        weights = [rule(w, g, s, t, **hyperparameters) for w, g, s in zip(weights, gradients, states, strict=True)]
    return weights, states


def difference(found: list[Tensor], wanted: list[Tensor]) -> float:
    """Largest error of a weight, relative to the largest weight of its tensor."""
    return max(float((f - w).abs().max() / w.abs().max()) for f, w in zip(found, wanted, strict=True))


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize(("name", "rule", "hyperparameters"), CASES, ids=IDS)
def test_equals_its_formula(name: str, rule: Callable[..., Tensor], hyperparameters: dict[str, Any], problem: str) -> None:
    taken = {k: v for k, v in hyperparameters.items() if k != "nesterov"} if name == "sgd" else hyperparameters
    wanted, _ = referred(rule, problem, **taken)
    found = optimized(name, problem, **hyperparameters)
    assert difference(found, wanted) < 1e-7
    assert difference(wanted, PROBLEMS[problem]()[0]) > 1e-3  # the weights have moved at all


def test_every_optimizer_is_compared_with_something() -> None:
    elsewhere = {"prodigy", "schedule_free_adamw", "adahessian", "sophia", "newton", "newton_cg", "bfgs", "lbfgs"}
    assert {name for name, _, _ in CASES} | elsewhere == set(optimizers.names())


@pytest.mark.parametrize("problem", PROBLEMS)
def test_schedule_free_equals_its_formula(problem: str) -> None:
    h = {"lr": 0.05, **BETAS, "weight_decay": 0.01}
    _, states = referred(references.schedule_free_adamw, problem, **h)
    assert difference(optimized("schedule_free_adamw", problem, **h), [s["x"] for s in states]) < 1e-7


def test_schedule_free_refuses_a_step_in_evaluation() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer: Any = optimizers.build("schedule_free_adamw", [weight])
    weight.sum().backward()
    optimizer.eval()
    with pytest.raises(RuntimeError, match=r"call train\(\)"):
        optimizer.step()


@pytest.mark.parametrize("problem", PROBLEMS)
def test_prodigy_equals_its_formula(problem: str) -> None:
    """Algorithm 4 of the paper, over all weights as one vector."""
    lr, beta1, beta2, eps, d = 1.0, 0.9, 0.99, 1e-8, 1e-2
    weights, loss = PROBLEMS[problem]()
    x0 = x = torch.cat([w.flatten() for w in weights])
    m = v = s = torch.zeros_like(x)
    r = 0.0
    for _ in range(STEPS):
        shaped = [part.view_as(w) for part, w in zip(x.split([w.numel() for w in weights]), weights, strict=True)]
        g = torch.cat([gradient.flatten() for gradient in gradients_at(shaped, loss)])
        m = beta1 * m + (1 - beta1) * d * g
        v = beta2 * v + (1 - beta2) * d**2 * g**2
        r = beta2**0.5 * r + (1 - beta2**0.5) * lr * d**2 * float(g @ (x0 - x))
        s = beta2**0.5 * s + (1 - beta2**0.5) * lr * d**2 * g
        x = x - lr * d * m / (v.sqrt() + d * eps)
        d = max(d, r / float(s.abs().sum()))
    found = optimized("prodigy", problem, lr=lr, beta1=beta1, beta2=beta2, eps=eps, d0=1e-2)
    assert difference([torch.cat([w.flatten() for w in found])], [x]) < 1e-7
    assert d > 2e-2


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("name", ["adahessian", "sophia"])
def test_hessian_diagonals_equal_their_formula(name: str, problem: str) -> None:
    """The products H z are taken from the whole Hessian here, and from products there."""
    weights, loss = PROBLEMS[problem]()
    sizes = [w.numel() for w in weights]
    lr, beta1, beta2, decay, gamma = 0.05, 0.9, 0.95, 0.1, 0.5
    x = torch.cat([w.flatten() for w in weights])
    m = v = h = torch.zeros_like(x)

    def flat_loss(flat: Tensor) -> Tensor:
        return loss([part.view_as(w) for part, w in zip(flat.split(sizes), weights, strict=True)])

    for t in range(1, STEPS + 1):
        torch.manual_seed(t)
        hessian = torch.autograd.functional.hessian(flat_loss, x)
        (g,) = torch.autograd.grad(flat_loss(leaf := x.clone().requires_grad_()), leaf)
        m = beta1 * m + (1 - beta1) * g
        if name == "adahessian":
            z = torch.cat([(torch.randint_like(w, 2) * 2 - 1).flatten() for w in weights])
            v = beta2 * v + (1 - beta2) * (z * (hessian @ z)) ** 2
            step = m / (1 - beta1**t) / (torch.sqrt(v / (1 - beta2**t)) + 1e-4)
        else:
            if (t - 1) % 4 == 0:
                z = torch.cat([torch.randn_like(w).flatten() for w in weights])
                h = beta2 * h + (1 - beta2) * z * (hessian @ z)
            step = torch.clamp(m / torch.clamp(gamma * h, min=1e-12), -1, 1)
        x = x - lr * (step + decay * x)
    given = {"lr": lr, "beta1": beta1, "beta2": beta2, "weight_decay": decay}
    given |= {"eps": 1e-4} if name == "adahessian" else {"eps": 1e-12, "gamma": gamma, "update_every": 4}
    found = optimized(name, problem, **given)
    assert difference([torch.cat([w.flatten() for w in found])], [x]) < 1e-7


def test_newton_solves_a_quadratic_in_one_step_and_equals_its_formula() -> None:
    found = optimized("newton", "quadratic", steps=1, damping=0.0, line_search=False)
    _, loss = quadratic()
    assert max(float(g.abs().max()) for g in gradients_at(found, loss)) < 1e-12
    damped = optimized("newton", "quadratic", steps=20, lr=0.3, damping=0.5, line_search=False)
    weights, _ = quadratic()
    x = torch.cat([w.flatten() for w in weights])

    def flat_loss(flat: Tensor) -> Tensor:
        return loss([flat[:12].view(3, 4), flat[12:]])

    for _ in range(20):
        hessian = torch.autograd.functional.hessian(flat_loss, x).numpy()
        (g,) = torch.autograd.grad(flat_loss(leaf := x.clone().requires_grad_()), leaf)
        x = x - 0.3 * torch.from_numpy(np.linalg.solve(hessian + 0.5 * np.eye(18), g.numpy()))
    assert difference([torch.cat([w.flatten() for w in damped])], [x]) < 1e-7


def softmax_regression() -> tuple[int, Callable[[Tensor], Tensor]]:
    """Digits, all 1437 training samples, 650 weights, a small penalty so that there is one solution."""
    part = datasets.build("digits").train
    inputs, classes = part.inputs.flatten(1), part.targets

    def loss(flat: Tensor) -> Tensor:
        weight, bias = flat[:640].view(10, 64), flat[640:]
        return functional.cross_entropy(inputs @ weight.T + bias, classes) + 1e-3 * flat.square().sum()

    return 650, loss


def wide_mlp() -> tuple[int, Callable[[Tensor], Tensor]]:
    """1210 weights."""
    part = datasets.build("digits").train
    inputs, classes = part.inputs.flatten(1)[:500], part.targets[:500]

    def loss(flat: Tensor) -> Tensor:
        w1, b1, w2, b2 = flat.split([1024, 16, 160, 10])
        hidden = torch.tanh(inputs @ w1.view(16, 64).T + b1)
        return functional.cross_entropy(hidden @ w2.view(10, 16).T + b2, classes) + 1e-3 * flat.square().sum()

    return 1210, loss


@pytest.mark.parametrize("problem", [softmax_regression, pytest.param(wide_mlp, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("name", "method", "steps"), [("bfgs", "BFGS", 3), ("newton_cg", "Newton-CG", 40), ("lbfgs", "L-BFGS-B", 8)]
)
def test_reaches_what_scipy_reaches(name: str, method: str, steps: int, problem: Callable[[], Any]) -> None:
    count, loss = problem()
    start = 0.1 * normal(11, count)

    def value_and_gradient(x: np.ndarray[Any, Any]) -> tuple[float, np.ndarray[Any, Any]]:
        leaf = torch.from_numpy(x.copy()).requires_grad_()
        value = loss(leaf)
        return float(value.detach()), torch.autograd.grad(value, leaf)[0].numpy()

    iterations = steps * 20 if name != "newton_cg" else steps
    with np.errstate(all="ignore"):
        wanted = scipy.optimize.minimize(
            value_and_gradient, start.numpy(), jac=True, method=method, options={"maxiter": iterations}
        ).fun
    weight = torch.nn.Parameter(start.clone())
    optimizer = optimizers.build(name, [weight])

    def closure() -> Tensor:
        if name == "lbfgs":
            optimizer.zero_grad()
        value = loss(weight)
        if name == "lbfgs":
            value.backward()
        return value

    for _ in range(steps):
        optimizer.step(closure)
    assert float(loss(weight.detach())) <= 1.05 * wanted


@pytest.mark.parametrize("name", ["newton", "newton_cg", "bfgs"])
def test_line_searches_never_raise_the_loss(name: str) -> None:
    start, loss = mlp()
    weights = [torch.nn.Parameter(3 * w) for w in start]
    optimizer = optimizers.build(name, weights)
    losses = [float(loss([w.detach() for w in weights]))]
    for _ in range(15):
        optimizer.step(lambda: loss(list(weights)))
        losses.append(float(loss([w.detach() for w in weights])))
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.05 * losses[0]


@pytest.mark.parametrize(("name", "limit"), [("newton", "5,000"), ("bfgs", "10,000")])
def test_too_large_models_are_refused_with_the_way_out(name: str, limit: str) -> None:
    weight = torch.nn.Parameter(torch.zeros(1000, 1000))
    with pytest.raises(InvalidValue, match=f"{name} takes at most {limit} parameters and this model has 1,000,000: use lbfgs"):
        optimizers.build(name, [weight])


def test_coupled_and_decoupled_decay_differ() -> None:
    """With Adam a penalty's gradient is divided by the root of its own size; decoupled decay is not."""
    plain = optimized("adam", "mlp", lr=0.01)
    coupled = optimized("adam", "mlp", lr=0.01, weight_decay=0.1)
    decoupled = optimized("adamw", "mlp", lr=0.01, weight_decay=0.1)
    assert difference(optimized("adamw", "mlp", lr=0.01, weight_decay=0.0), plain) == 0.0
    assert min(difference(coupled, plain), difference(decoupled, plain), difference(coupled, decoupled)) > 1e-3


def test_decay_facts_are_true() -> None:
    """With a gradient of zero, decoupled decay shrinks a weight by exactly lr * decay; coupled adaptive decay does not."""
    for entry in catalog.entries("optimizers"):
        # Prodigy's and Muon's rates are not lr alone; LAMB's step is scaled to the norm of the weight.
        if entry.facts.decay != "decoupled" or entry.name in ("prodigy", "muon", "lamb"):
            continue
        weight = torch.nn.Parameter(torch.full((2, 2), 3.0, dtype=torch.float64))
        optimizer: Any = optimizers.build(entry.name, [weight], lr=0.01, weight_decay=0.5)
        if entry.facts.closure == "loss":
            optimizer.step(lambda weight=weight: (weight * 0).sum())
        else:
            (weight * 0).sum().backward()
            optimizer.step()
        if entry.facts.train_eval:
            optimizer.eval()
        assert float(weight.detach()[0, 0]) == pytest.approx(3 * (1 - 0.01 * 0.5), rel=1e-9), entry.name


def test_eps_has_two_places() -> None:
    outside = optimized("rmsprop", "mlp", lr=0.01, eps=1e-2)
    inside = optimized("rmsprop", "mlp", lr=0.01, eps=1e-2, eps_inside=True)
    assert difference(outside, inside) > 1e-3


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_adam_corrects_the_bias_of_its_first_steps(scale: float) -> None:
    """Of a constant gradient mhat / sqrt(vhat) is 1 in every step; uncorrected the first would be (1-b1) / sqrt(1-b2) = 3.2."""
    weight = nn.Parameter(torch.zeros(3, dtype=torch.float64))
    optimizer = optimizers.build("adam", [weight], lr=0.01, eps=0.0)
    for step in range(1, 21):
        optimizer.zero_grad()
        (scale * weight).sum().backward()
        optimizer.step()
        assert weight.detach().tolist() == pytest.approx([-0.01 * step] * 3, rel=1e-7)


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize(("name", "more"), [("nesterov", {}), ("sgd", {"nesterov": True})])
def test_nesterovs_two_forms_are_one(name: str, more: dict[str, Any], problem: str) -> None:
    """His own takes the gradient at the looked-ahead point w - mu v; that point is what torch's form calls the weights."""
    lr, mu = 0.02, 0.9
    weights, loss = PROBLEMS[problem]()
    velocity = [torch.zeros_like(w) for w in weights]
    for _ in range(STEPS):
        ahead = [w - mu * v for w, v in zip(weights, velocity, strict=True)]
        velocity = [mu * v + lr * g for v, g in zip(velocity, gradients_at(ahead, loss), strict=True)]
        weights = [w - v for w, v in zip(weights, velocity, strict=True)]
    found = optimized(name, problem, lr=lr, momentum=mu, **more)
    assert difference(found, [w - mu * v for w, v in zip(weights, velocity, strict=True)]) < 1e-7
    assert difference(found, weights) > 1e-4


@pytest.mark.parametrize("name", ["newton", "newton_cg", "bfgs"])
def test_reaches_the_minimum_that_scipy_finds(name: str) -> None:
    """Of a convex loss, so that there is one: softmax regression on 20 samples with a penalty."""
    inputs, classes = normal(5, 20, 5), torch.arange(20) % 3

    def loss(flat: Tensor) -> Tensor:
        return functional.cross_entropy(inputs @ flat.view(3, 5).T, classes) + 1e-2 * flat.square().sum()

    def gradient(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        leaf = torch.from_numpy(x.copy()).requires_grad_()
        return torch.autograd.grad(loss(leaf), leaf)[0].numpy()

    wanted = scipy.optimize.minimize(
        lambda x: float(loss(torch.from_numpy(x))),
        np.zeros(15),
        jac=gradient,
        hess=lambda x: torch.autograd.functional.hessian(loss, torch.from_numpy(x)).numpy(),
        method="trust-exact",
        options={"gtol": 1e-10},
    ).x
    weight = nn.Parameter(torch.zeros(15, dtype=torch.float64))
    optimizer = optimizers.build(name, [weight], **({"tolerance_grad": 1e-10} if name == "bfgs" else {}))
    for _ in range(20):
        optimizer.step(lambda: loss(weight))
    assert difference([weight.detach()], [torch.from_numpy(wanted)]) < 1e-7


class Slope(torch.autograd.Function):
    """2 x times the gradient from behind, which itself has no derivative."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gradient: Tensor) -> Tensor:
        return 2 * x * gradient

    @staticmethod
    def backward(ctx: Any, _: Tensor) -> Any:
        raise RuntimeError("differentiated twice")


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.square()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return Slope.apply(ctx.saved_tensors[0], gradient)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("name", optimizers.names())
def test_the_catalogue_says_who_differentiates_twice_and_takes_which_closure(name: str) -> None:
    facts = optimizers.facts(name)
    weight = nn.Parameter(torch.ones(3, 2))
    optimizer: Any = optimizers.build(name, [weight])
    called = []

    def closure() -> Tensor:
        called.append(name)
        loss: Tensor = Square.apply(weight).sum()  # type: ignore[no-untyped-call]
        if facts.closure == "backward":
            optimizer.zero_grad()
            loss.backward()
        return loss

    def step() -> None:
        if facts.closure == "none":
            closure().backward()
            called.clear()
            optimizer.step()
        else:
            optimizer.step(closure)

    if facts.create_graph:
        with pytest.raises(RuntimeError, match="twice"):
            step()
    else:
        step()
        assert not torch.equal(weight.detach(), torch.ones(3, 2))
    assert bool(called) == (facts.closure != "none")
