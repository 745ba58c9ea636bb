"""`TunerCallback` for PyTorch Lightning: reports at the end of each validation, obeys the verdict, saves and resumes.

A checkpoint holds what Lightning's own holds (weights, optimizers, schedules, loops, precision, the other callbacks, what the module's
hooks add) without the hyperparameters, and the random states; Lightning restores it by `ckpt_path`. A pause is obeyed at the end of its
epoch, so that nothing is repeated; evaluations between the two are not reported. Weakness: a periodic checkpoint is taken where Lightning takes its own, before
ReduceLROnPlateau has seen the epoch; one taken at a pause is after it.
"""

from __future__ import annotations

from typing import Any

from tuner.errors import InvalidValue
from tuner.wire import Verdict
from workers.callbacks.checkpoints import set_random_state
from workers.callbacks.frame import TrialCallback
from workers.callbacks.inheriting import set_bases, set_hyperparameters

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
    from lightning.pytorch.plugins.io import CheckpointIO
    from lightning.pytorch.trainer.states import TrainerFn
except ImportError as error:
    raise ImportError("workers.callbacks.lightning needs PyTorch Lightning: pip install 'tuner[lightning]'") from error

RESUME = "the trial's checkpoint"
"""Stands for the checkpoint where Lightning wants a path."""
LEFT_OUT = ("hyper_parameters", "hparams_name", "hparams_type", "datamodule_hyper_parameters", "datamodule_hparams_type")
"""Keys that Lightning's checkpoint carries to build a module anew, which nobody does here; they may hold any object."""


class TunerCallback(TrialCallback, Callback):
    """`Trainer(callbacks=[callback])`, then `trainer.fit(module, data, ckpt_path=callback.resume_from)`; see `TrialCallback`."""

    framework = "lightning"
    resume_argument = "ckpt_path"

    @property
    def resume_from(self) -> str | None:
        """What `ckpt_path` is to be; None for a fresh start."""
        return None if self._open_checkpoint() is None else RESUME

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == TrainerFn.FITTING:
            trainer.strategy.checkpoint_io = TrialIO(trainer.strategy.checkpoint_io, self)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if isinstance(trainer.strategy.checkpoint_io, TrialIO):
            trainer.strategy.checkpoint_io = trainer.strategy.checkpoint_io.inner

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._check_start(
            trainer.world_size,
            trainer.enable_validation,
            "give trainer.fit a validation data loader, and the module a validation_step",
        )
        if self._restored is not None:
            if trainer.ckpt_path != RESUME:
                raise InvalidValue(
                    f"the trial goes on from a checkpoint: pass ckpt_path=callback.resume_from, not {trainer.ckpt_path}"
                )
            if self._trial.inherits:
                self._keep_hyperparameters(trainer, self._restored["training"])
            else:
                set_random_state(self._restored["random"])
            self._restored = None

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking:
            return
        self._report(trainer.current_epoch if self._step == "epoch" else trainer.global_step, trainer.callback_metrics)
        if self._is_over():
            stop(trainer)

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if self._is_over():
            stop(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.verdict == Verdict.PAUSE:
            stop(trainer)
        elif self._is_due:
            trainer.save_checkpoint(RESUME, weights_only=False)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._is_due:
            trainer.save_checkpoint(RESUME, weights_only=False)

    def _keep_hyperparameters(self, trainer: Trainer, checkpoint: dict[str, Any]) -> None:
        """Lightning restores optimizers and schedules from this very mapping, after this."""
        for saved, optimizer in zip(checkpoint["optimizer_states"], trainer.optimizers, strict=True):
            set_hyperparameters(saved, optimizer)
        for saved, config in zip(checkpoint["lr_schedulers"], trainer.lr_scheduler_configs, strict=True):
            index = next(i for i, optimizer in enumerate(trainer.optimizers) if optimizer is config.scheduler.optimizer)
            set_bases(saved, config.scheduler, checkpoint["optimizer_states"][index])

    def _keep(self, checkpoint: dict[str, Any]) -> None:
        self._save({key: value for key, value in checkpoint.items() if key not in LEFT_OUT})


class TrialIO(CheckpointIO):
    """Lightning's way to its checkpoints, with the trial's beside the user's own, which go on as before."""

    def __init__(self, inner: CheckpointIO, callback: TunerCallback) -> None:
        self.inner = inner
        self._callback = callback

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        if path == RESUME:
            self._callback._keep(checkpoint)
        else:
            self.inner.save_checkpoint(checkpoint, path, storage_options)

    def load_checkpoint(self, path: Any, map_location: Any | None = None, weights_only: bool | None = None) -> dict[str, Any]:
        if path == RESUME:
            checkpoint = self._callback._open_checkpoint()
            assert checkpoint is not None
            return checkpoint
        return self.inner.load_checkpoint(path, map_location, weights_only)

    def remove_checkpoint(self, path: Any) -> None:
        self.inner.remove_checkpoint(path)

    def teardown(self) -> None:
        self.inner.teardown()


def stop(trainer: Trainer) -> None:
    """End training now, whatever minimum of epochs or steps was asked for: a verdict stands above it."""
    trainer.should_stop = True
    trainer.fit_loop.min_epochs = 0
    trainer.fit_loop.epoch_loop.min_steps = None
