"""The update rules written out plainly, one weight at a time in float64, from the papers' formulas: what the optimizers must equal.

`rule(w, g, s, t, **h)` returns the new weight; `s` is a dict of its own that starts empty, `t` counts from 1.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from scipy.linalg import fractional_matrix_power
from torch import Tensor

State = dict[str, Any]


def sgd(w: Tensor, g: Tensor, s: State, t: int, *, lr: float, weight_decay: float = 0.0) -> Tensor:
    return w - lr * (g + weight_decay * w)


def momentum(w: Tensor, g: Tensor, s: State, t: int, *, lr: float, momentum: float) -> Tensor:
    """v <- mu v + lr g ; w <- w - v."""
    s["v"] = momentum * s.get("v", 0) + lr * g
    return w - s["v"]


def nesterov(w: Tensor, g: Tensor, s: State, t: int, *, lr: float, momentum: float) -> Tensor:
    s["v"] = momentum * s.get("v", 0) + g
    return w - lr * (g + momentum * s["v"])


def adagrad(
    w: Tensor, g: Tensor, s: State, t: int, *, lr: float, eps: float, lr_decay: float = 0.0, initial_accumulator: float = 0.0
) -> Tensor:
    s["G"] = s.get("G", initial_accumulator) + g**2
    return w - lr / (1 + (t - 1) * lr_decay) * g / (torch.sqrt(s["G"]) + eps)


def adadelta(w: Tensor, g: Tensor, s: State, t: int, *, lr: float, rho: float, eps: float) -> Tensor:
    s["g2"] = rho * s.get("g2", 0) + (1 - rho) * g**2
    d = torch.sqrt(torch.as_tensor(s.get("d2", 0) + eps)) / torch.sqrt(s["g2"] + eps) * g
    s["d2"] = rho * s.get("d2", 0) + (1 - rho) * d**2
    return w - lr * d


def rmsprop(
    w: Tensor,
    g: Tensor,
    s: State,
    t: int,
    *,
    lr: float,
    rho: float,
    eps: float,
    eps_inside: bool,
    centered: bool = False,
    momentum: float = 0.0,
) -> Tensor:
    s["g2"] = rho * s.get("g2", 0) + (1 - rho) * g**2
    s["g1"] = rho * s.get("g1", 0) + (1 - rho) * g
    mean = s["g2"] - s["g1"] ** 2 if centered else s["g2"]
    step = g / torch.sqrt(mean + eps) if eps_inside else g / (torch.sqrt(mean) + eps)
    s["v"] = momentum * s.get("v", 0) + step
    return w - lr * s["v"]


def adam(
    w: Tensor,
    g: Tensor,
    s: State,
    t: int,
    *,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float = 0.0,
    amsgrad: bool = False,
) -> Tensor:
    g = g + weight_decay * w
    s["m"] = beta1 * s.get("m", 0) + (1 - beta1) * g
    s["v"] = beta2 * s.get("v", 0) + (1 - beta2) * g**2
    s["largest"] = torch.maximum(s.get("largest", torch.zeros_like(w)), s["v"])
    mhat = s["m"] / (1 - beta1**t)
    vhat = (s["largest"] if amsgrad else s["v"]) / (1 - beta2**t)
    return w - lr * mhat / (torch.sqrt(vhat) + eps)


def adamw(w: Tensor, g: Tensor, s: State, t: int, *, lr: float, weight_decay: float, **h: Any) -> Tensor:
    """Decay acts on the weight, not through the gradient."""
    return adam(w, g, s, t, lr=lr, **h) - lr * weight_decay * w


def nadam(
    w: Tensor, g: Tensor, s: State, t: int, *, lr: float, beta1: float, beta2: float, eps: float, momentum_decay: float
) -> Tensor:
    mu = beta1 * (1 - 0.5 * 0.96 ** (t * momentum_decay))
    mu_next = beta1 * (1 - 0.5 * 0.96 ** ((t + 1) * momentum_decay))
    s["product"] = s.get("product", 1.0) * mu
    s["m"] = beta1 * s.get("m", 0) + (1 - beta1) * g
    s["v"] = beta2 * s.get("v", 0) + (1 - beta2) * g**2
    mhat = mu_next * s["m"] / (1 - s["product"] * mu_next) + (1 - mu) * g / (1 - s["product"])
    return w - lr * mhat / (torch.sqrt(s["v"] / (1 - beta2**t)) + eps)


def radam(w: Tensor, g: Tensor, s: State, t: int, *, lr: float, beta1: float, beta2: float, eps: float) -> Tensor:
    s["m"] = beta1 * s.get("m", 0) + (1 - beta1) * g
    s["v"] = beta2 * s.get("v", 0) + (1 - beta2) * g**2
    mhat = s["m"] / (1 - beta1**t)
    rho_inf = 2 / (1 - beta2) - 1
    rho = rho_inf - 2 * t * beta2**t / (1 - beta2**t)
    if rho <= 5:
        return w - lr * mhat
    r = math.sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
    return w - lr * r * mhat * math.sqrt(1 - beta2**t) / (torch.sqrt(s["v"]) + eps)


def adamax(w: Tensor, g: Tensor, s: State, t: int, *, lr: float, beta1: float, beta2: float, eps: float) -> Tensor:
    s["m"] = beta1 * s.get("m", 0) + (1 - beta1) * g
    s["u"] = torch.maximum(beta2 * s.get("u", torch.zeros_like(w)), g.abs() + eps)
    return w - lr / (1 - beta1**t) * s["m"] / s["u"]


def adafactor(
    w: Tensor, g: Tensor, s: State, t: int, *, lr: float, beta2_decay: float, min_scale: float, clip_threshold: float
) -> Tensor:
    beta2 = 1 - t**beta2_decay
    if g.ndim > 1:
        s["R"] = beta2 * s.get("R", 0) + (1 - beta2) * (g**2).mean(-1, keepdim=True)
        s["C"] = beta2 * s.get("C", 0) + (1 - beta2) * (g**2).mean(-2, keepdim=True)
        v = s["R"] @ s["C"] / s["R"].mean(-2, keepdim=True)
    else:
        s["V"] = beta2 * s.get("V", 0) + (1 - beta2) * g**2
        v = s["V"]
    u = g / torch.sqrt(v)
    u = u / max(1.0, float(u.square().mean().sqrt()) / clip_threshold)
    alpha = max(min_scale, float(w.square().mean().sqrt())) * min(lr, 1 / math.sqrt(t))
    return w - alpha * u


def lion(w: Tensor, g: Tensor, s: State, t: int, *, lr: float, beta1: float, beta2: float, weight_decay: float) -> Tensor:
    m = s.get("m", torch.zeros_like(w))
    s["m"] = beta2 * m + (1 - beta2) * g
    return w - lr * (torch.sign(beta1 * m + (1 - beta1) * g) + weight_decay * w)


def lamb(
    w: Tensor, g: Tensor, s: State, t: int, *, lr: float, beta1: float, beta2: float, eps: float, weight_decay: float
) -> Tensor:
    s["m"] = beta1 * s.get("m", 0) + (1 - beta1) * g
    s["v"] = beta2 * s.get("v", 0) + (1 - beta2) * g**2
    r = s["m"] / (1 - beta1**t) / (torch.sqrt(s["v"] / (1 - beta2**t)) + eps) + weight_decay * w
    ratio = float(w.norm() / r.norm()) if float(w.norm()) > 0 and float(r.norm()) > 0 else 1.0
    return w - lr * ratio * r


def muon(
    w: Tensor,
    g: Tensor,
    s: State,
    t: int,
    *,
    lr: float,
    adamw_lr: float,
    momentum: float,
    iterations: int,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
) -> Tensor:
    if w.ndim < 2:
        return adamw(w, g, s, t, lr=adamw_lr, beta1=beta1, beta2=beta2, eps=eps, weight_decay=weight_decay)
    s["m"] = momentum * s.get("m", 0) + (1 - momentum) * g
    x = ((1 - momentum) * g + momentum * s["m"]).numpy()
    # The quintic acts on the singular values alone.
    u, values, v = np.linalg.svd(x / np.linalg.norm(x), full_matrices=False)
    for _ in range(iterations):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    step = torch.from_numpy(u @ np.diag(values) @ v)
    return w - lr * weight_decay * w - lr * math.sqrt(max(1, w.shape[0] / w.shape[1])) * step


def schedule_free_adamw(
    w: Tensor, g: Tensor, s: State, t: int, *, lr: float, beta1: float, beta2: float, eps: float, weight_decay: float
) -> Tensor:
    """w is y, where gradients are taken; s["x"] is the average that counts."""
    z, x = s.get("z", w), s.get("x", w)
    s["v"] = beta2 * s.get("v", 0) + (1 - beta2) * g**2
    s["z"] = z - lr * (g / (torch.sqrt(s["v"] / (1 - beta2**t)) + eps) + weight_decay * w)
    s["x"] = (1 - 1 / t) * x + 1 / t * s["z"]
    return (1 - beta1) * s["z"] + beta1 * s["x"]


def shampoo(w: Tensor, g: Tensor, s: State, t: int, *, lr: float, eps: float, momentum: float = 0.0) -> Tensor:
    if w.ndim < 2:
        s["G"] = s.get("G", eps) + g**2
        step = g / torch.sqrt(s["G"])
    else:
        rows, columns = w.shape
        s["L"] = s.get("L", eps * np.eye(rows)) + (g @ g.T).numpy()
        s["R"] = s.get("R", eps * np.eye(columns)) + (g.T @ g).numpy()
        left, right = fractional_matrix_power(s["L"], -0.25), fractional_matrix_power(s["R"], -0.25)
        step = torch.from_numpy(np.real(left @ g.numpy() @ right))
    s["v"] = momentum * s.get("v", 0) + step
    return w - lr * s["v"]


def soap(
    w: Tensor, g: Tensor, s: State, t: int, *, lr: float, beta1: float, beta2: float, eps: float, update_every: int
) -> Tensor:
    if w.ndim < 2:
        return adam(w, g, s, t, lr=lr, beta1=beta1, beta2=beta2, eps=eps)
    gradient = g.numpy()
    if not s:
        s["L"], s["R"] = (g @ g.T).numpy(), (g.T @ g).numpy()
        # The first factors are singular and any basis of their null space would do: take the one torch finds.
        s["QL"], s["QR"] = (torch.linalg.eigh(m)[1].flip(1).numpy() for m in (g @ g.T, g.T @ g))
        s["m"], s["v"] = np.zeros_like(gradient), np.zeros_like(gradient)
    s["m"] = beta1 * s["m"] + (1 - beta1) * gradient
    s["v"] = beta2 * s["v"] + (1 - beta2) * (s["QL"].T @ gradient @ s["QR"]) ** 2
    step = (s["QL"].T @ s["m"] @ s["QR"]) / (1 - beta1**t) / (np.sqrt(s["v"] / (1 - beta2**t)) + eps)
    moved = w - lr * torch.from_numpy(s["QL"] @ step @ s["QR"].T)
    s["L"] = beta2 * s["L"] + (1 - beta2) * gradient @ gradient.T
    s["R"] = beta2 * s["R"] + (1 - beta2) * gradient.T @ gradient
    if t % update_every == 0:
        for side, (factor, basis) in enumerate((("L", "QL"), ("R", "QR"))):
            order = np.argsort(-np.diag(s[basis].T @ s[factor] @ s[basis]))
            s[basis] = np.linalg.qr(s[factor] @ s[basis][:, order])[0]
            s["v"] = s["v"][order] if side == 0 else s["v"][:, order]
    return moved
