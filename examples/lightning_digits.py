"""A PyTorch Lightning training as the trial: a small network on scikit-learn's digits; the callback reports, stops, saves and resumes."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset, random_split

from workers.callbacks.lightning import TunerCallback


class Digits(pl.LightningModule):
    def __init__(self, lr: float, width: int, dropout: float) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, 10))

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch: list[Tensor], index: int) -> None:
        scores = self.net(batch[0])
        self.log("val_loss", nn.functional.cross_entropy(scores, batch[1]))
        self.log("val_accuracy", (scores.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=self.hparams["lr"])


def objective(trial: Any, epochs: int = 20) -> dict[str, float]:
    pl.seed_everything(trial.seed % 2**32, verbose=False)
    inputs, targets = load_digits(return_X_y=True)
    data = TensorDataset(torch.tensor(inputs, dtype=torch.float32) / 16, torch.tensor(targets))
    train, held = random_split(data, [0.8, 0.2], torch.Generator().manual_seed(0))
    callback = TunerCallback(trial, metrics=["val_accuracy", "val_loss"], checkpoint_every=5)
    trainer = pl.Trainer(
        max_epochs=epochs, callbacks=[callback], accelerator="cpu" if trial.device == "cpu" else "gpu", devices=1, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    loaders = DataLoader(train, batch_size=64, shuffle=True), DataLoader(held, batch_size=512)
    trainer.fit(Digits(**trial.params), *loaders, ckpt_path=callback.resume_from)
    return callback.values
