"""A training with Hugging Face's Trainer as the trial: a small vision transformer, made from its configuration, on scikit-learn's digits."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch.utils.data import Dataset, random_split
from transformers import Trainer, TrainingArguments, ViTConfig, ViTForImageClassification, set_seed

from workers.callbacks.transformers import TunerCallback


class Digits(Dataset[dict[str, torch.Tensor]]):
    def __init__(self) -> None:
        bunch = load_digits()
        self.images = torch.tensor(bunch.images, dtype=torch.float32).unsqueeze(1) / 16
        self.labels = torch.tensor(bunch.target)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"pixel_values": self.images[index], "labels": self.labels[index]}


def accuracy(prediction: Any) -> dict[str, float]:
    return {"accuracy": float(np.mean(prediction.predictions.argmax(-1) == prediction.label_ids))}


def objective(trial: Any, epochs: int = 10) -> dict[str, float]:
    set_seed(trial.seed % 2**32)
    train, held = random_split(Digits(), [0.8, 0.2], torch.Generator().manual_seed(0))
    size = trial.params["hidden_size"]
    config = ViTConfig(
        image_size=8, patch_size=2, num_channels=1, num_labels=10, hidden_size=size, intermediate_size=2 * size,
        num_hidden_layers=trial.params["layers"], num_attention_heads=4,
    )  # fmt: skip
    callback = TunerCallback(trial, metrics={"eval_accuracy": "val_accuracy", "eval_loss": "val_loss"}, checkpoint_every=5)
    arguments = TrainingArguments(
        output_dir=str(trial.scratch), num_train_epochs=epochs, per_device_train_batch_size=64, per_device_eval_batch_size=512,
        learning_rate=trial.params["lr"], warmup_steps=20, eval_strategy="epoch", save_strategy="no", disable_tqdm=True,
        use_cpu=trial.device == "cpu",
    )  # fmt: skip
    trainer = Trainer(
        ViTForImageClassification(config),
        arguments,
        train_dataset=train,
        eval_dataset=held,
        compute_metrics=accuracy,
        callbacks=[callback],
    )
    trainer.train(resume_from_checkpoint=callback.resume_from)
    return callback.values
