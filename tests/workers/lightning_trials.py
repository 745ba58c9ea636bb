"""Trials with PyTorch Lightning that the tests of its callback run in real trial processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from tests.workers.frameworks import BATCH, EPOCHS, HELD, TRAIN, digest, learning_rates, ready, wait_for_verdict
from workers.callbacks.lightning import TunerCallback
from workers.report import Trial

__all__ = ["fit", "ready"]


class Module(pl.LightningModule):
    """Dropout and shuffling draw random numbers; Adam and the schedule remember: a resumed training differs unless all is restored."""

    def __init__(self, trial: Trial, hear_at: int | None, plateau: bool, lr: float) -> None:
        super().__init__()
        self.lr = lr
        self.trial, self.hear_at, self.plateau = trial, hear_at, plateau
        self.net = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.3), nn.ReLU(), nn.Linear(8, 2))

    def on_train_epoch_start(self) -> None:
        if self.current_epoch == self.hear_at:
            wait_for_verdict(self.trial)

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def validation_step(self, batch: list[Tensor], index: int) -> None:
        self.log("val_loss", nn.functional.cross_entropy(self.net(batch[0]), batch[1]))

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), lr=self.lr)
        if self.plateau:
            schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, factor=0.5)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "monitor": "val_loss"}}
        return {"optimizer": optimizer, "lr_scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)}


def fit(
    trial: Trial,
    hear_at: int | None = None,
    plateau: bool = False,
    resumes: bool = True,
    evaluates: bool = True,
    eval_every: int | None = None,
    keep_in: str | None = None,
    lr: float = 0.05,
    **options: Any,
) -> dict[str, float]:
    pl.seed_everything(3, verbose=False)
    inputs = torch.randn(TRAIN + HELD, 4)
    data = TensorDataset(inputs, (inputs[:, 0] * inputs[:, 1] > 0).long())
    train = DataLoader(torch.utils.data.Subset(data, range(TRAIN)), batch_size=BATCH, shuffle=True)
    held = DataLoader(torch.utils.data.Subset(data, range(TRAIN, TRAIN + HELD)), batch_size=BATCH)
    module = Module(trial, hear_at, plateau, lr)
    callback = TunerCallback(trial, **{"metrics": {"val_loss": "loss"}, **options})
    trainer = pl.Trainer(
        accelerator="cpu", callbacks=[callback, *([ModelCheckpoint(dirpath=keep_in)] if keep_in else [])], logger=False,
        enable_checkpointing=keep_in is not None, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=trial.scratch, max_epochs=EPOCHS, min_epochs=EPOCHS, val_check_interval=eval_every,
    )  # fmt: skip
    trainer.fit(module, train, held if evaluates else None, ckpt_path=callback.resume_from if resumes else None)
    trial.user_attrs["weights"] = digest(module)
    if not plateau:
        trial.user_attrs["lrs"] = learning_rates(trainer.optimizers[0], trainer.lr_scheduler_configs[0].scheduler)
    if keep_in:
        trial.user_attrs["kept"] = [path.name for path in Path(keep_in).iterdir()]
    return callback.values
