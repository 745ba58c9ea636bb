"""Trials with Hugging Face's Trainer that the tests of its callback run in real trial processes."""

from __future__ import annotations

import os
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from torch.utils.data import Dataset
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainerCallback, TrainingArguments, set_seed

from tests.workers.frameworks import BATCH, EPOCHS, HELD, TRAIN, digest, learning_rates, ready, wait_for_verdict
from workers.callbacks.transformers import TunerCallback
from workers.report import Trial

__all__ = ["fit", "ready"]

LENGTH, WORDS = 8, 40


class Sentences(Dataset[dict[str, torch.Tensor]]):
    """Random words; the label says whether the first comes before the second."""

    def __init__(self, first: int, last: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.words = torch.randint(5, WORDS, (TRAIN + HELD, LENGTH), generator=generator)[first:last]

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        words = self.words[index]
        return {"input_ids": words, "attention_mask": torch.ones_like(words), "labels": (words[0] < words[1]).long()}


class Waits(TrainerCallback):
    def __init__(self, trial: Trial, hear_at: int) -> None:
        self.trial, self.hear_at = trial, hear_at

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.epoch == self.hear_at:
            wait_for_verdict(self.trial)


def fit(
    trial: Trial,
    hear_at: int | None = None,
    plateau: bool = False,
    resumes: bool = True,
    evaluates: bool = True,
    eval_every: int | None = None,
    lr: float = 0.01,
    **options: Any,
) -> dict[str, float]:
    set_seed(3)
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    model = BertForSequenceClassification(BertConfig(vocab_size=WORDS, max_position_embeddings=LENGTH, **size))
    callback = TunerCallback(trial, **{"metrics": {"eval_loss": "loss"}, **options})
    how_often = "no" if not evaluates else "steps" if eval_every else "epoch"
    args = TrainingArguments(
        output_dir=str(trial.scratch), num_train_epochs=EPOCHS, per_device_train_batch_size=BATCH, learning_rate=lr, seed=3,
        eval_strategy=how_often, eval_steps=eval_every, save_strategy="no", use_cpu=True, disable_tqdm=True,
        lr_scheduler_type="reduce_lr_on_plateau" if plateau else "linear", metric_for_best_model="eval_loss",
    )  # fmt: skip
    others = [] if hear_at is None else [Waits(trial, hear_at)]
    trainer = Trainer(
        model, args, train_dataset=Sentences(0, TRAIN), eval_dataset=Sentences(TRAIN, TRAIN + HELD), callbacks=[callback, *others]
    )
    trainer.train(resume_from_checkpoint=callback.resume_from if resumes else None)
    if evaluates:
        trainer.evaluate()  # a user's own, which is not reported
    trial.user_attrs["weights"] = digest(model)
    if not plateau:
        trial.user_attrs["lrs"] = learning_rates(trainer.optimizer, trainer.lr_scheduler)
    return callback.values
