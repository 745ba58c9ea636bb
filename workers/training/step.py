"""One optimizer step: the gradients of its batches added up, unscaled, clipped and applied, or computed in a closure.

An optimizer that takes a closure evaluates its batches several times: each time with the same dropout masks, else its line search
would compare different functions. Clipping is for the others: a clipped gradient contradicts a line search.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from workers.training import gradients
from workers.training.batches import Batch
from workers.training.run import Run


def take_step(run: Run, batches: Sequence[Batch], *, is_watched: bool = True) -> tuple[Tensor, Tensor | None]:
    """Move the weights once; returns the mean loss of all samples, without penalties, and where watched the gradient's norm."""
    if run.facts.closure == "none":
        loss, _ = add_gradients(run, batches)
        norm = apply_gradients(run, is_watched=is_watched)
    else:
        loss = step_with_closure(run, batches)
        norm = gradients.total_norm(run.weights) if is_watched else None
    run.schedule.step()
    if run.averaged is not None:
        run.averaged.update_parameters(run.model)
    return loss, norm


def add_gradients(run: Run, batches: Sequence[Batch]) -> tuple[Tensor, Tensor]:
    """Leave in the weights the gradient of the mean over all samples; returns that mean without penalties and with them.

    Each batch counts by its share of the samples, so that unequal batches make the same gradient as one large batch.
    """
    for weight in run.weights:
        weight.grad = None
    if len(batches) == 1:
        loss, objective = compute_loss(run, *batches[0])
        _backward(run, objective)
        return loss, objective.detach()
    count = sum(len(targets) for _, targets in batches)
    loss_sum = objective_sum = torch.zeros((), device=run.device)
    for inputs, targets in batches:
        share = len(targets) / count
        loss, objective = compute_loss(run, inputs, targets)
        _backward(run, objective * share)
        loss_sum, objective_sum = loss_sum + loss * share, objective_sum + objective.detach() * share
    return loss_sum, objective_sum


def compute_loss(run: Run, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The mean loss over a batch, detached, and what is to be made small: the same with the model's own losses and the penalty."""
    with run.mixed():
        objective = run.loss(run.forward(inputs), targets)
    loss = objective.detach()
    if run.auxiliary is not None and (auxiliary := run.auxiliary()) is not None:
        objective = objective + auxiliary
    if run.penalty is not None:
        objective = objective + run.penalty(run.penalized)
    return loss, objective


def apply_gradients(run: Run, *, is_watched: bool) -> Tensor | None:
    """Clip and step; returns the norm before clipping where watched, infinite or NaN where fp16 left the step out."""
    config, scaler = run.config, run.scaler
    if scaler is not None:
        scaler.unscale_(run.optimizer)
    norm = gradients.total_norm(run.weights) if is_watched else None
    gradients.clip(run.weights, norm, max_norm=config.clip_norm, max_value=config.clip_value)
    if scaler is not None:
        scaler.step(run.optimizer)
        scaler.update()
    else:
        run.optimizer.step()
    return norm


def step_with_closure(run: Run, batches: Sequence[Batch]) -> Tensor:
    """A step of an optimizer that asks for losses or gradients itself; returns the first loss it was given, without penalties."""
    first: list[Tensor] = []

    def gradients_of_all() -> Tensor:
        loss, objective = add_gradients(run, batches)
        first.append(loss)
        return objective

    def loss_of_all() -> Tensor:
        ((inputs, targets),) = batches
        with twice_differentiable():
            loss, objective = compute_loss(run, inputs, targets)
        first.append(loss)
        return objective

    closure = gradients_of_all if run.facts.closure == "backward" else loss_of_all
    run.optimizer.step(same_masks(run.device, closure))  # type: ignore[arg-type]  # torch's own take tensors
    return first[0]


@contextmanager
def twice_differentiable() -> Iterator[None]:
    """Without the kernels whose gradients have none: fused attention, cuDNN's recurrences."""
    with sdpa_kernel(SDPBackend.MATH), torch.backends.cudnn.flags(enabled=False):
        yield


def same_masks(device: torch.device, closure: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """The closure with the random stream wound back before each call."""
    cpu = torch.get_rng_state()
    cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None

    def rewound() -> Tensor:
        torch.set_rng_state(cpu)
        if cuda is not None:
            torch.cuda.set_rng_state(cuda, device)
        return closure()

    return rewound


def _backward(run: Run, objective: Tensor) -> None:
    scaled = objective if run.scaler is None else run.scaler.scale(objective)
    scaled.backward()  # type: ignore[no-untyped-call]
