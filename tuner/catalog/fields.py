"""The plain fields of a trainer configuration: those that belong to no component."""

from __future__ import annotations

from dataclasses import dataclass

from tuner.catalog.entries import Entry, choice, integer, number, switch


@dataclass(frozen=True, kw_only=True)
class TrainerFacts:
    pass


ENTRIES: tuple[Entry[TrainerFacts], ...] = (
    Entry(
        kind="trainer",
        name="trainer",
        summary="The built-in trainer: one loop over one data set with the components a study names.",
        when_to_use="Whenever the catalogue has what you want to train; your own code runs as an entrypoint or a command.",
        source="workers/training/loop.py",
        hyperparameters=(
            integer("epochs", 20, 1, 1_000_000, log=True, per_lane=True, summary="passes over the training set"),
            integer("batch_size", 32, 1, 1_000_000, log=True, summary="samples a step; full-batch optimizers ignore it"),
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
                ["float32", "float64", "bf16"],
                summary="of weights and arithmetic; bf16 keeps weights in float32 and computes in bfloat16 where that is safe",
            ),
            switch("layer_gradients", False, summary="report the gradient norm of each weight matrix, as grad_norm.NAME"),
            switch(
                "deterministic",
                None,
                optional=True,
                summary="repeat bit for bit; null: on a CPU yes, on a GPU no, where it costs speed",
            ),
            integer("threads", 1, 1, 1024, summary="of one trial on the CPU"),
            choice("parallel", None, [None], summary="several devices for one trial; one device in this version"),
        ),
        facts=TrainerFacts(),
    ),
)
FIELDS = ENTRIES[0]
