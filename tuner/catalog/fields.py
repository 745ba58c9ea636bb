"""The plain fields of a trainer configuration, those that belong to no component, and what an optimizer leaves of their values.

The rules are data like the rest: some optimizers differentiate for themselves or take a closure, which gradient accumulation, scaled
gradients or compiled code cannot serve. Weakness: a rule looks at one field and one fact of the optimizer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tuner.catalog.entries import Entry, Value, choice, integer, number, switch
from tuner.errors import FieldError
from tuner.parameters import show


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Optimizers whose `fact` is one of `facts` take no other value of `field` than those of `allowed`."""

    field: str
    allowed: tuple[Value, ...]
    fact: str
    facts: tuple[str | bool, ...]
    because: str
    """Ends the sentence "must be 1 with newton, which ..."."""


@dataclass(frozen=True, kw_only=True)
class TrainerFacts:
    rules: tuple[Rule, ...]


PRECISIONS: tuple[Value, ...] = ("float32", "float64", "tf32", "bf16", "fp16")
RULES: tuple[Rule, ...] = (
    Rule(
        field="accumulate",
        allowed=(1,),
        fact="closure",
        facts=("loss",),
        because="differentiates the loss of its whole batch by itself",
    ),
    Rule(
        field="precision",
        allowed=tuple(name for name in PRECISIONS if name != "fp16"),
        fact="closure",
        facts=("loss", "backward"),
        because="takes its gradients from a closure, where fp16 cannot scale them",
    ),
    Rule(
        field="compile",
        allowed=(False,),
        fact="closure",
        facts=("loss",),
        because="differentiates twice, which compiled models do not allow",
    ),
    Rule(field="ema", allowed=(None,), fact="train_eval", facts=(True,), because="keeps an average of the weights itself"),
)
ENTRIES: tuple[Entry[TrainerFacts], ...] = (
    Entry(
        kind="trainer",
        name="trainer",
        summary="The built-in trainer: one loop over one data set with the components a study names.",
        when_to_use="Whenever the catalogue has what you want to train; your own code runs as an entrypoint or a command.",
        source="workers/training/loop.py",
        hyperparameters=(
            integer("epochs", 20, 1, 1_000_000, log=True, per_lane=True, summary="passes over the training set"),
            integer(
                "batch_size",
                32,
                1,
                1_000_000,
                log=True,
                summary="samples computed at once; full-batch optimizers take the whole training set",
            ),
            integer(
                "accumulate",
                1,
                1,
                10_000,
                log=True,
                summary="batches whose gradients make one step, each by its share of the samples, so that a step is that of one "
                "batch as large as all (apart from batch norm, and means over tokens where many are padding); the last step of "
                "an epoch takes what is left. Full-batch optimizers compute the training set in so many parts",
            ),
            integer(
                "seed",
                None,
                0,
                2**32 - 1,
                per_lane=True,
                optional=True,
                summary="of weights, order and dropout; null: each trial its own",
            ),
            number("clip_norm", None, 0, low_open=True, optional=True, log=True, summary="bound on the gradient's norm"),
            number("clip_value", None, 0, low_open=True, optional=True, log=True, summary="bound on each gradient entry"),
            number(
                "ema",
                None,
                0,
                1,
                high_open=True,
                optional=True,
                summary="validate and test with an exponential moving average of weights and buffers, of this decay a step "
                "(such as 0.99; the larger, the more steps it needs); null: off",
            ),
            switch(
                "decay_biases_and_norms",
                False,
                per_lane=True,
                summary="whether weight decay and penalties act on biases and norms too",
            ),
            integer(
                "early_stopping",
                None,
                1,
                1_000_000,
                per_lane=True,
                optional=True,
                summary="epochs without a better val_loss after which training ends",
            ),
            integer("checkpoint_every", 5, 1, 1_000_000, summary="epochs between checkpoints"),
            choice(
                "precision",
                "float32",
                PRECISIONS,
                summary="of weights and arithmetic; tf32, bf16 and fp16 keep weights in float32: tf32 lets a GPU round the factors "
                "of matrix products, bf16 and fp16 compute in bfloat16 or float16 where that is safe, fp16 with scaled gradients",
            ),
            switch(
                "compile",
                False,
                summary="train with torch.compile: the first steps take long, the others less; a CPU needs a C++ compiler",
            ),
            switch("layer_gradients", False, summary="report the gradient norm of each weight matrix, as grad_norm.NAME"),
            switch(
                "deterministic",
                None,
                optional=True,
                summary="repeat bit for bit, or end with a reason; null: on a CPU yes, on a GPU no, where it costs speed",
            ),
            integer("threads", 1, 1, 1024, summary="of one trial on the CPU"),
            choice("parallel", None, [None], summary="several devices for one trial; one device in this version"),
        ),
        facts=TrainerFacts(rules=RULES),
    ),
)
FIELDS = ENTRIES[0]


def refusals(optimizer: Entry[Any], fields: Mapping[str, object]) -> Iterator[FieldError]:
    """Values among `fields`, each legal by itself, that this optimizer does not allow."""
    for rule in RULES:
        value = fields.get(rule.field, FIELDS.by_name[rule.field].default)
        if getattr(optimizer.facts, rule.fact) in rule.facts and value not in rule.allowed:
            allowed = " or ".join(item if isinstance(item, str) else show(item) for item in rule.allowed)
            msg = f"must be {allowed} with {optimizer.name}, which {rule.because}"
            yield FieldError(rule.field, msg)
