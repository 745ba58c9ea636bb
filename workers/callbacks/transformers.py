"""`TunerCallback` for Hugging Face's Trainer: reports after each evaluation, obeys the verdict, saves and resumes.

A checkpoint holds weights, optimizer, schedule, the Trainer's own state (step, epoch, log) and the random states. To resume, weights and
the Trainer's state are laid out as `resume_from_checkpoint` wants them (safetensors and JSON); the rest is put back when training begins.
Training is resumed within an epoch too: the Trainer skips the batches that were seen. Weakness: fp16's loss scale and what other callbacks
remember (the patience of EarlyStoppingCallback) begin anew, since the Trainer shows neither to a callback.
"""

from __future__ import annotations

import dataclasses
import math
import tempfile
from pathlib import Path
from typing import Any

from tuner.errors import InvalidValue
from tuner.wire import Verdict
from workers.callbacks.checkpoints import set_random_state
from workers.callbacks.frame import TrialCallback
from workers.callbacks.inheriting import set_bases, set_hyperparameters

try:
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
    from transformers.trainer import TRAINER_STATE_NAME
    from transformers.utils import SAFE_WEIGHTS_NAME
except ImportError as error:
    raise ImportError("workers.callbacks.transformers needs the Trainer: pip install 'tuner[transformers]'") from error


class TunerCallback(TrialCallback, TrainerCallback):
    """`Trainer(callbacks=[callback])`, then `trainer.train(resume_from_checkpoint=callback.resume_from)`; see `TrialCallback`."""

    framework = "transformers"
    resume_argument = "resume_from_checkpoint"

    _folder: tempfile.TemporaryDirectory[str] | None = None
    _is_training = False

    @property
    def resume_from(self) -> str | None:
        """What `resume_from_checkpoint` is to be: a folder that is there until training begins; None for a fresh start."""
        training = self._open_checkpoint()
        if training is None:
            return None
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="tuner-resume-")
            lay_out(training, Path(self._folder.name))
        return self._folder.name

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        *,
        optimizer: Any = None,
        lr_scheduler: Any = None,
        **_: Any,
    ) -> None:
        self._check_start(args.world_size, args.eval_strategy != "no", "give the TrainingArguments an eval_strategy")
        self._is_training = True
        if self._restored is None:
            return
        training = self._restored["training"]
        if state.global_step != training["trainer"]["global_step"]:
            raise InvalidValue(
                "the trial goes on from a checkpoint: pass resume_from_checkpoint=callback.resume_from to trainer.train"
            )
        if self._trial.inherits:
            set_hyperparameters(training["optimizer"], optimizer)
            set_bases(training["scheduler"], lr_scheduler, training["optimizer"])
        optimizer.load_state_dict(training["optimizer"])
        lr_scheduler.load_state_dict(training["scheduler"])
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def on_epoch_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **parts: Any) -> None:
        self._save_if_due(state, parts)
        if float(state.epoch).is_integer():
            self._restore_random_state()

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **parts: Any) -> None:
        self._save_if_due(state, parts)
        self._restore_random_state()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self._is_over():
            control.should_training_stop = True

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **parts: Any) -> None:
        step = math.ceil(state.epoch) - 1 if self._step == "epoch" else state.global_step
        if not self._is_training or step < 0:  # an evaluation of the user's own, or one before the first step
            return
        self._report(step, parts["metrics"])
        if self.verdict != Verdict.CONTINUE:
            control.should_training_stop = True

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **parts: Any) -> None:
        self._save_if_due(state, parts)
        if self.verdict != Verdict.CONTINUE:
            control.should_evaluate = control.should_save = False

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **parts: Any) -> None:
        self._save_if_due(state, parts)

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._is_training = False

    def _save_if_due(self, state: TrainerState, parts: dict[str, Any]) -> None:
        """Called at each event that can be the first after an evaluation: during it, the schedule has not seen its outcome yet.

        After the last evaluation that is the log of the whole training, before the best weights take the place of the last ones.
        """
        if self._is_due:
            self._save(
                {
                    "model": parts["model"].state_dict(),
                    "optimizer": parts["optimizer"].state_dict(),
                    "scheduler": parts["lr_scheduler"].state_dict(),
                    "trainer": dataclasses.asdict(state),
                }
            )

    def _restore_random_state(self) -> None:
        """Put the random streams back once, at the point of the loop where they were noted."""
        if self._restored is not None:
            if not self._trial.inherits:
                set_random_state(self._restored["random"])
            self._restored = None


def lay_out(training: dict[str, Any], folder: Path) -> None:
    """Write what the Trainer reads from a checkpoint's folder before it calls anybody: where it stood, and the weights."""
    import torch
    from safetensors.torch import save_file

    TrainerState(**training["trainer"]).save_to_json(str(folder / TRAINER_STATE_NAME))
    weights = {name: value for name, value in training["model"].items() if isinstance(value, torch.Tensor)}
    save_file(weights, folder / SAFE_WEIGHTS_NAME)
