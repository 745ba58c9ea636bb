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


FIRST_ORDER: tuple[OptimizerEntry, ...] = (
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
        "nadam",
        "Adam with Nesterov's look-ahead in the mean of gradients.",
        "As adam; a little quicker at the start.",
        "Dozat 2016; torch.optim.NAdam",
        _lr(2e-3),
        *_BETAS,
        _eps(1e-8),
        number("momentum_decay", 4e-3, 0, log=True, summary="how slowly beta1 reaches its full value"),
        _decay(),
        facts=OptimizerFacts(),
    ),
    _entry(
        "radam",
        "Adam with its variance rectified: a step without the denominator until enough gradients were seen.",
        "As adam without warm-up.",
        "Liu et al. 2020, arXiv 1908.03265; torch.optim.RAdam",
        _lr(1e-3),
        *_BETAS,
        _eps(1e-8),
        _decay(),
        facts=OptimizerFacts(),
    ),
    _entry(
        "adamax",
        "Adam with the largest recent gradient in place of the root of the mean square: u <- max(beta2 u, |g| + eps).",
        "Sparse gradients; embeddings.",
        "Kingma and Ba 2015, arXiv 1412.6980, section 7; torch.optim.Adamax",
        _lr(2e-3),
        *_BETAS,
        _eps(1e-8),
        _decay(),
        facts=OptimizerFacts(),
    ),
    _entry(
        "adafactor",
        "Adam's second moment of a matrix kept as one vector of rows and one of columns; the step scales with the weights.",
        "Large models, where Adam's memory does not fit.",
        "Shazeer and Stern 2018, arXiv 1804.04235; torch.optim.Adafactor",
        _lr(1e-2),
        number("beta2_decay", -0.8, None, 0, high_open=True, summary="beta2 = 1 - t^beta2_decay"),
        number("min_scale", 1e-3, 0, log=True, summary="least size of the weights that scales a step"),
        number("clip_threshold", 1.0, 1, summary="bound on the root mean square of an update"),
        _decay(),
        facts=OptimizerFacts(decay="decoupled"),
    ),
    _entry(
        "lion",
        "u = sign(beta1 m + (1-beta1) g) ; w <- w - lr (u + weight_decay w) ; m <- beta2 m + (1-beta2) g.",
        "Transformers and vision at large batch; lr 3 to 10 times below AdamW's.",
        "Chen et al. 2023, arXiv 2302.06675; own implementation",
        _lr(1e-4),
        _unit("beta1", 0.9, "share of the mean in the sign"),
        _unit("beta2", 0.99, "decay of the mean of gradients"),
        _decay(),
        facts=OptimizerFacts(decay="decoupled"),
    ),
    _entry(
        "lamb",
        "Adam's step r = mhat / (sqrt(vhat) + eps) + weight_decay w, scaled for each weight to |w| / |r|.",
        "Very large batches.",
        "You et al. 2020, arXiv 1904.00962; own implementation",
        _lr(1e-3),
        *_BETAS,
        _eps(1e-6),
        _decay(),
        facts=OptimizerFacts(decay="decoupled"),
    ),
    _entry(
        "muon",
        "Momentum made orthogonal by Newton-Schulz for matrices, scaled by sqrt(max(1, rows / columns)); AdamW for vectors.",
        "Hidden layers of transformers and convolutions: fewer steps than AdamW.",
        "Jordan et al. 2024, kellerjordan.github.io/posts/muon; own implementation",
        _lr(0.02),
        _momentum(0.95),
        integer("iterations", 5, 1, 20, summary="of Newton-Schulz"),
        number("adamw_lr", 3e-4, 0, low_open=True, log=True, summary="learning rate of the vectors"),
        *_BETAS,
        _eps(1e-8),
        _decay(),
        facts=OptimizerFacts(two_d_only=True, decay="decoupled"),
    ),
    _entry(
        "prodigy",
        "Adam with its rate estimated: d grows to a lower bound of the distance to the solution, the step is d lr.",
        "When there is no time to tune lr: leave it at 1.",
        "Mishchenko and Defazio 2023, arXiv 2306.06101, algorithm 4; own implementation",
        _lr(1.0),
        *_BETAS,
        _eps(1e-8),
        number("d0", 1e-6, 0, low_open=True, log=True, summary="first estimate of the distance"),
        number("d_coefficient", 1.0, 0, low_open=True, log=True, summary="factor of the estimate"),
        _decay(),
        facts=OptimizerFacts(decay="decoupled"),
    ),
    _entry(
        "schedule_free_adamw",
        "AdamW on z, evaluated at its running average x, with gradients at y = (1-beta1) z + beta1 x: no schedule is needed.",
        "When the number of epochs is not known beforehand; with schedule constant. Batch norm's statistics follow y, not x.",
        "Defazio et al. 2024, arXiv 2405.15682; own implementation",
        _lr(2.5e-3),
        number("beta1", 0.9, 0, 1, low_open=True, high_open=True, summary="share of the average in y"),
        _unit("beta2", 0.999, "decay of the mean of squared gradients"),
        _eps(1e-8),
        _decay(),
        facts=OptimizerFacts(train_eval=True, decay="decoupled"),
    ),
)

SECOND_ORDER: tuple[OptimizerEntry, ...] = (
    _entry(
        "newton",
        "w <- w - lr (H + damping I)^-1 g with the exact Hessian on the whole training set; damping grows until the matrix "
        "is positive definite.",
        "Models of at most 5,000 parameters, to see what curvature is worth.",
        "Nocedal and Wright 2006, chapter 3; own implementation",
        _lr(1.0),
        number("damping", 1e-4, 0, log=True, per_lane=False, summary="added to the diagonal"),
        switch("line_search", True, summary="halve the step until the loss falls enough"),
        facts=OptimizerFacts(order=2, closure="loss", create_graph=True, full_batch=True, max_parameters=5_000, decay="none"),
    ),
    _entry(
        "newton_cg",
        "The Newton direction by conjugate gradients on Hessian-vector products, left at the first negative curvature; "
        "whole training set, line search.",
        "Curvature for models of any size.",
        "Nocedal and Wright 2006, algorithm 7.1; own implementation",
        _lr(1.0),
        integer("max_cg", 50, 1, 10_000, summary="products in one step"),
        facts=OptimizerFacts(order=2, closure="loss", create_graph=True, full_batch=True, decay="none"),
    ),
    _entry(
        "bfgs",
        "A full approximation of the inverse Hessian from the last steps, on the whole training set, with line search.",
        "Models of at most 10,000 parameters; beyond, lbfgs.",
        "Nocedal and Wright 2006, algorithm 6.1; own implementation",
        _lr(1.0),
        integer("max_iter", 20, 1, 1000, summary="iterations in one step"),
        number("tolerance_grad", 1e-7, 0, log=True, per_lane=False),
        facts=OptimizerFacts(order=2, closure="loss", full_batch=True, max_parameters=10_000, decay="none"),
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
    _entry(
        "adahessian",
        "Adam with the diagonal of the Hessian, D = z (H z) for random signs z, in place of the gradient in v.",
        "Curvature at about twice Adam's cost.",
        "Yao et al. 2021, arXiv 2006.00719, without its averaging over kernels; own implementation",
        _lr(0.1),
        *_BETAS,
        _eps(1e-4),
        number("power", 1.0, 0, 1, low_open=True, summary="of the root of the diagonal"),
        _decay(),
        facts=OptimizerFacts(order=2, closure="loss", create_graph=True, decay="decoupled"),
    ),
    _entry(
        "sophia",
        "w <- w - lr clip(m / max(gamma h, eps), 1) with h a running mean of the Hessian's diagonal, renewed now and then.",
        "Language models.",
        "Liu et al. 2023, arXiv 2305.14342, Sophia-H; own implementation",
        _lr(1e-3),
        _unit("beta1", 0.96, "decay of the mean of gradients"),
        _unit("beta2", 0.99, "decay of the mean of the diagonal"),
        number("gamma", 0.01, 0, low_open=True, log=True, summary="how much of the diagonal divides"),
        _eps(1e-12),
        integer("update_every", 10, 1, 10_000, summary="steps between two looks at the Hessian"),
        _decay(),
        facts=OptimizerFacts(order=2, closure="loss", create_graph=True, decay="decoupled"),
    ),
    _entry(
        "shampoo",
        "L <- L + G G' ; R <- R + G' G ; W <- W - lr L^(-1/4) G R^(-1/4) for matrices, Adagrad for vectors.",
        "Matrices of moderate size.",
        "Gupta, Koren and Singer 2018, arXiv 1802.09568; own implementation",
        _lr(0.03),
        _momentum(0.9),
        _eps(1e-4),
        integer("update_every", 1, 1, 10_000, summary="steps between two roots"),
        integer("max_dimension", 2048, 1, 65_536, summary="a longer side gets no factor"),
        _decay(),
        facts=OptimizerFacts(order=2),
    ),
    _entry(
        "soap",
        "Adam in the eigenbasis of Shampoo's factors.",
        "Transformers and convolutions: fewer steps than AdamW.",
        "Vyas et al. 2024, arXiv 2409.11321; own implementation",
        _lr(3e-3),
        _unit("beta1", 0.95, "decay of the mean of gradients"),
        _unit("beta2", 0.95, "decay of squares and factors"),
        _eps(1e-8),
        integer("update_every", 10, 1, 10_000, summary="steps between two turns of the basis"),
        integer("max_dimension", 2048, 1, 65_536, summary="a longer side gets no factor"),
        _decay(),
        facts=OptimizerFacts(order=2, decay="decoupled"),
    ),
)
ENTRIES = FIRST_ORDER + SECOND_ORDER
