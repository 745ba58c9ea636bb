"""The optimizers of the catalogue: update rules, their hyperparameters, and what each needs of the training loop.

Notation as in the papers: w weights, g gradient, lr learning rate, t step from 1. Weakness: `when_to_use` is a rule of thumb.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tuner.catalog.entries import Entry, Hyperparameter, choice, integer, number, switch


@dataclass(frozen=True, kw_only=True)
class OptimizerFacts:
    order: Literal[1, 2] = 1
    closure: Literal["none", "backward", "loss"] = "none"
    """"backward": step takes torch's closure (zero_grad, loss, backward); "loss": a closure that only returns the loss."""
    full_batch: bool = False
    """The loop gives it the whole training set in each step and leaves batch_size aside."""
    create_graph: bool = False
    """Gradients must themselves be differentiable."""
    train_eval: bool = False
    """It keeps two sets of weights: `train()` and `eval()` must bracket training and evaluation."""
    two_d_only: bool = False
    """It updates matrices; the loop gives the other parameters to AdamW."""
    max_parameters: int | None = None
    decay: Literal["none", "coupled", "decoupled"] = "coupled"
    """Where weight_decay acts: added to the gradient (L2) or taken from the weights directly."""
    family: str | None = None
    """Optimizers of one family can share the update of a fused group."""
    maturity: Literal["proven", "experimental"] = "proven"


OptimizerEntry = Entry[OptimizerFacts]


def _lr(default: float) -> Hyperparameter:
    return number("lr", default, 0, low_open=True, log=True, summary="learning rate")


def _decay(default: float = 0.0) -> Hyperparameter:
    return number("weight_decay", default, 0, log=True, summary="spares biases and norms unless decay_biases_and_norms")


def _eps(default: float) -> Hyperparameter:
    return number("eps", default, 0, log=True, summary="keeps the denominator from zero")


def _momentum(default: float) -> Hyperparameter:
    return number("momentum", default, 0, 1, high_open=True, summary="share of the last step kept")


def _unit(name: str, default: float, summary: str) -> Hyperparameter:
    return number(name, default, 0, 1, high_open=True, summary=summary)


_BETAS = (
    _unit("beta1", 0.9, "decay of the mean of gradients"),
    _unit("beta2", 0.999, "decay of the mean of squared gradients"),
)


def _entry(
    name: str,
    summary: str,
    when_to_use: str,
    source: str,
    *hyperparameters: Hyperparameter,
    facts: OptimizerFacts,
) -> OptimizerEntry:
    return Entry(
        kind="optimizers",
        name=name,
        summary=summary,
        when_to_use=when_to_use,
        source=source,
        hyperparameters=hyperparameters,
        facts=facts,
    )


ENTRIES: tuple[OptimizerEntry, ...] = (
    _entry(
        "gd",
        "Batch gradient descent: the whole training set in one step, w <- w - lr g. batch_size is left aside.",
        "Small data, and as the plain baseline of every comparison.",
        "Cauchy 1847; torch.optim.SGD on the full batch",
        _lr(0.1),
        _decay(),
        facts=OptimizerFacts(full_batch=True, family="sgd"),
    ),
    _entry(
        "sgd",
        "Stochastic gradient descent, w <- w - lr g, on batches of the configured batch_size; "
        "batch_size 1 is the textbook's one sample a step.",
        "A strong finisher on large networks when lr and its schedule are tuned.",
        "Robbins and Monro 1951; torch.optim.SGD",
        _lr(0.01),
        _momentum(0.0),
        switch("nesterov", False, per_lane=True, summary="look ahead; needs momentum above 0"),
        _decay(),
        facts=OptimizerFacts(family="sgd"),
    ),
    _entry(
        "minibatch",
        "Mini-batch gradient descent: w <- w - lr g with g the mean gradient of batch_size samples; sgd by its other name.",
        "As sgd, where a study wants to name the batch explicitly.",
        "Robbins and Monro 1951; torch.optim.SGD",
        _lr(0.01),
        _decay(),
        facts=OptimizerFacts(family="sgd"),
    ),
    _entry(
        "momentum",
        "Heavy ball: v <- momentum v + g ; w <- w - lr v.",
        "Where plain sgd zigzags; the usual choice for convolutional networks.",
        "Polyak 1964; torch.optim.SGD",
        _lr(0.01),
        _momentum(0.9),
        _decay(),
        facts=OptimizerFacts(family="sgd"),
    ),
    _entry(
        "nesterov",
        "Nesterov's accelerated gradient: v <- momentum v + g ; w <- w - lr (g + momentum v).",
        "As momentum, a little steadier at high momentum.",
        "Nesterov 1983, in the form of Sutskever et al. 2013; torch.optim.SGD(nesterov=True)",
        _lr(0.01),
        _momentum(0.9),
        _decay(),
        facts=OptimizerFacts(family="sgd"),
    ),
    _entry(
        "adagrad",
        "G <- G + g^2 ; w <- w - lr g / (sqrt(G) + eps): a rate for each weight that only falls.",
        "Sparse features; short trainings.",
        "Duchi, Hazan and Singer 2011; torch.optim.Adagrad",
        _lr(0.01),
        number("lr_decay", 0.0, 0, log=True, summary="lr / (1 + (t - 1) lr_decay)"),
        number("initial_accumulator", 0.0, 0, summary="G at the start"),
        _eps(1e-10),
        _decay(),
        facts=OptimizerFacts(family="adagrad"),
    ),
    _entry(
        "adadelta",
        "E[g2] <- rho E[g2] + (1-rho) g^2 ; d = sqrt(E[d2]+eps) / sqrt(E[g2]+eps) g ; "
        "E[d2] <- rho E[d2] + (1-rho) d^2 ; w <- w - lr d.",
        "When no learning rate is to be tuned: lr 1 is its own scale.",
        "Zeiler 2012, arXiv 1212.5701; torch.optim.Adadelta",
        _lr(1.0),
        _unit("rho", 0.9, "decay of both running means"),
        _eps(1e-6),
        _decay(),
        facts=OptimizerFacts(family="adadelta"),
    ),
    _entry(
        "rmsprop",
        "E[g2] <- rho E[g2] + (1-rho) g^2 ; w <- w - lr g / sqrt(E[g2] + eps), or with eps_inside false "
        "w <- w - lr g / (sqrt(E[g2]) + eps), torch's place for eps.",
        "Recurrent networks and noisy gradients.",
        "Hinton 2012, lecture 6e; torch.optim.RMSprop, own implementation for eps_inside",
        _lr(0.01),
        _unit("rho", 0.9, "decay of the mean of squared gradients"),
        _eps(1e-8),
        switch("eps_inside", False, per_lane=True, summary="eps inside the root, as in the lecture's formula"),
        _momentum(0.0),
        switch("centered", False, summary="divide by the standard deviation instead"),
        _decay(),
        facts=OptimizerFacts(family="rmsprop"),
    ),
    _entry(
        "adam",
        "m, v running means of g and g^2, corrected for their start: w <- w - lr mhat / (sqrt(vhat) + eps).",
        "The default: works almost everywhere with little tuning.",
        "Kingma and Ba 2015, arXiv 1412.6980; torch.optim.Adam",
        _lr(1e-3),
        *_BETAS,
        _eps(1e-8),
        switch("amsgrad", False, summary="divide by the largest v so far"),
        _decay(),
        facts=OptimizerFacts(family="adam"),
    ),
    _entry(
        "adamw",
        "Adam with decoupled weight decay: w <- w - lr weight_decay w besides Adam's step.",
        "Transformers, and wherever weight decay matters.",
        "Loshchilov and Hutter 2019, arXiv 1711.05101; torch.optim.AdamW",
        _lr(1e-3),
        *_BETAS,
        _eps(1e-8),
        switch("amsgrad", False, summary="divide by the largest v so far"),
        _decay(0.01),
        facts=OptimizerFacts(family="adam", decay="decoupled"),
    ),
    _entry(
        "lbfgs",
        "Limited-memory BFGS with a strong Wolfe line search on the whole training set; batch_size is left aside, "
        "because curvature measured on changing mini-batches makes it diverge.",
        "Small networks and small data: often the lowest training loss.",
        "Liu and Nocedal 1989; torch.optim.LBFGS",
        _lr(1.0),
        integer("max_iter", 20, 1, 1000, summary="iterations in one step"),
        integer("history_size", 10, 1, 1000, summary="pairs kept of the curvature"),
        number("tolerance_grad", 1e-7, 0, log=True, per_lane=False),
        number("tolerance_change", 1e-9, 0, log=True, per_lane=False),
        choice("line_search", "strong_wolfe", ["strong_wolfe"]),
        facts=OptimizerFacts(order=2, closure="backward", full_batch=True, decay="none"),
    ),
)
