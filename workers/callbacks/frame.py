"""What a callback of any framework does with a trial: report evaluations, hear the verdict, know when to save, where to resume from.

When a framework evaluates, how its training is stopped, and what its state is, the two callbacks say. A verdict is looked at after each
evaluation; between two of them only prune and stop end the training, since a pause needs a checkpoint of a state that can be resumed.
Weakness: one process a trial, so no data-parallel training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from tuner.errors import InvalidValue
from tuner.handles import AskedTrial
from tuner.wire import Verdict
from workers.callbacks.checkpoints import Trial, load, random_state, save
from workers.report import Trial as WorkerTrial

Step = Literal["epoch", "global_step"]
STEPS = ("epoch", "global_step")


class TrialCallback:
    """The frame. After training, `values` are what the last evaluation reported: return them, or tell them.

    `metrics`: names to report, or {the framework's name: the name to report it under}; None reports every number there is.
    `step`: what an evaluation is reported at, the number of the epoch (from 0) or of the optimizer's steps.
    `checkpoint_every`: a checkpoint after every n-th evaluation and when the trial is paused; 0 only when it is paused; None never,
    so that a trial handed on starts afresh.
    """

    framework: ClassVar[str]
    resume_argument: ClassVar[str]

    def __init__(
        self,
        trial: Trial | AskedTrial,
        *,
        metrics: Sequence[str] | Mapping[str, str] | None = None,
        step: Step = "epoch",
        checkpoint_every: int | None = 1,
    ) -> None:
        if isinstance(metrics, str):
            raise InvalidValue(f"metrics: give a list of names, such as [{metrics!r}]")
        if step not in STEPS:
            raise InvalidValue(f"step: {step!r} is not allowed; give one of {', '.join(STEPS)}")
        if checkpoint_every is not None and checkpoint_every < 0:
            raise InvalidValue(f"checkpoint_every: {checkpoint_every} is not allowed; give a number from 0, or None")
        self.values: dict[str, float] = {}
        self.verdict: str = Verdict.CONTINUE
        self._trial = trial
        self._metrics = metrics if metrics is None or isinstance(metrics, Mapping) else {name: name for name in metrics}
        self._step: Step = step
        self._every = checkpoint_every
        self._step_done = -1
        self._step_restored = -1
        self._num_evaluations = 0
        self._is_due = False
        self._is_asked = False
        self._restored: dict[str, Any] | None = None

    # --- before training ------------------------------------------------------------------------------------------------------

    def _open_checkpoint(self) -> dict[str, Any] | None:
        """The framework's state that this attempt goes on from; None for a fresh start."""
        if not self._is_asked and self._every is not None:
            self._restored = load(self._trial)
            if self._restored is not None:
                self._take_over(self._restored)
        self._is_asked = True
        return None if self._restored is None else self._restored["training"]

    def _take_over(self, state: dict[str, Any]) -> None:
        written_by = state.get("framework")
        if written_by != self.framework:
            raise InvalidValue(f"the trial's checkpoint is not one of {self.framework}'s callback: its framework is {written_by}")
        self.values = dict(state["values"])
        self._step_done = self._step_restored = state["step"]
        self._num_evaluations = state["num_evaluations"]

    def _check_start(self, num_processes: int, evaluates: bool, how_to_evaluate: str) -> None:
        """InvalidValue for a training that this callback cannot serve."""
        if num_processes > 1:
            raise InvalidValue(f"a trial is trained in one process, not in {num_processes}: the others could not report")
        if not evaluates:
            raise InvalidValue(f"the callback reports after each evaluation, and there is none: {how_to_evaluate}")
        if self._every is not None and not self._is_asked:
            raise InvalidValue(
                f"pass {self.resume_argument}=callback.resume_from when training starts, so that a paused trial goes on from its"
                " checkpoint; or make the callback with checkpoint_every=None"
            )

    # --- while it trains ------------------------------------------------------------------------------------------------------

    def _report(self, step: int, found: Mapping[str, object]) -> None:
        """Report an evaluation. Nothing is reported twice, nor after a verdict other than continue: that one is being obeyed."""
        if self.verdict != Verdict.CONTINUE or step <= self._step_restored:
            return
        if step <= self._step_done:
            raise InvalidValue(
                f"a second evaluation at step {step}: with several evaluations an epoch, make the callback with step='global_step'"
            )
        self.values = self._chosen(found)
        self.verdict = str(self._trial.report(step, self.values))
        self._step_done = step
        self._num_evaluations += 1
        if self._every is not None:
            is_nth = self._every > 0 and self._num_evaluations % self._every == 0
            self._is_due = self.verdict == Verdict.PAUSE or (self.verdict == Verdict.CONTINUE and is_nth)

    def _is_over(self) -> bool:
        """Whether the trial is to end before its next evaluation; asks the trial, which then knows that it has been heard.

        An asked trial hears only in answer to a report.
        """
        trial = self._trial
        if self.verdict == Verdict.CONTINUE and isinstance(trial, WorkerTrial):
            verdict = trial.verdict
            if verdict in (Verdict.PRUNE, Verdict.STOP) and trial.should_stop:
                self.verdict = str(verdict)
        return self.verdict in (Verdict.PRUNE, Verdict.STOP)

    def _save(self, training: Mapping[str, Any]) -> None:
        """Keep the framework's state as the one after the last evaluation."""
        self._is_due = False
        state = {
            "framework": self.framework,
            "step": self._step_done,
            "num_evaluations": self._num_evaluations,
            "values": self.values,
            "random": random_state(),
            "training": training,
        }
        save(self._trial, state, self._step_done)

    def _chosen(self, found: Mapping[str, object]) -> dict[str, float]:
        numbers = {name: number for name, value in found.items() if (number := _number(value)) is not None}
        if self._metrics is None:
            if not numbers:
                raise InvalidValue("the evaluation has no number to report: have the training log at least one")
            return numbers
        missing = [name for name in self._metrics if name not in numbers]
        if missing:
            there = ", ".join(numbers) or "nothing"
            raise InvalidValue(f"metrics: the evaluation has no number named {missing[0]!r}; it has {there}")
        return {reported: numbers[name] for name, reported in self._metrics.items()}


def _number(value: object) -> float | None:
    """A number, or a tensor or array of one, as a float; None for anything else."""
    if isinstance(value, int | float):
        return float(value)
    numel = getattr(value, "numel", None)
    if callable(numel) and numel() == 1:
        return float(value.item())  # type: ignore[attr-defined]
    size = getattr(value, "size", None)
    return float(value.item()) if size == 1 else None  # type: ignore[attr-defined]
