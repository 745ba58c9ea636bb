"""The trial object that training code calls: its parameters, reports, verdicts and checkpoints.

A report never waits for the network: it goes down the pipe to the agent, which sends it in a batch, and `report` answers with the
last verdict known, which may be a report or two old. How an attempt ends is decided here too (`Trial.conclude`), from what the
code returned and what it had been told. A function that never reports is never pruned.
"""

from __future__ import annotations

import json
import math
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from tuner.errors import InvalidValue
from tuner.wire import Reason, Report, Scalar, Tell, Verdict
from workers import record
from workers.pipe import PREEMPT, Assignment, Receive

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_ERROR_CHARACTERS = 8_000
MAX_ERROR_LINES = 40

_OUR_FOLDERS = (Path(__file__).parent, Path(__file__).parent / "executors")

_OUTCOMES: dict[str, tuple[Literal["PRUNED", "WAITING", "FAIL"], Reason]] = {
    Verdict.PRUNE: ("PRUNED", Reason.PRUNED),
    Verdict.PAUSE: ("WAITING", Reason.PAUSED),
    PREEMPT: ("WAITING", Reason.PREEMPTED),
    Verdict.STOP: ("FAIL", Reason.CANCELLED),
}


class Trial:
    """One attempt of one trial, seen from inside its process.

    `device` is "cpu" or "cuda:0"; `start_step` is the first step not covered by the checkpoint in `resume_path` (0 without one);
    `inherits`: that checkpoint is another trial's, whose hyperparameters were others: after loading set your own again;
    `bundle` is the folder of the code that came with the study (None without one), which all trials share: write to `scratch`.
    What is put into `user_attrs` is stored with the trial; what is put into `record`, such as a digest of the data, with this attempt, and a
    repetition of the trial is held against it.
    """

    def __init__(self, assignment: Assignment, send: Receive) -> None:
        leased = assignment.trial
        self.id: int = leased.id
        self.number: int = leased.number
        self.study: str = leased.study
        self.params: dict[str, Scalar] = dict(leased.params)
        self.seed: int = leased.seed
        self.objectives: tuple[str, ...] = tuple(leased.objectives)
        self.constrained: tuple[str, ...] = tuple(leased.constrained)
        self.attempt: int = assignment.attempt
        self.device: str = assignment.device
        self.resume_path: Path | None = assignment.resume_path
        self.start_step: int = assignment.start_step
        self.inherits: bool = assignment.resume_path is not None and leased.resume is not None and leased.resume.inherited
        self.bundle: Path | None = assignment.bundle
        self.user_attrs: dict[str, Any] = {}
        self.record: dict[str, Any] = {}
        self.on_verdict: Callable[[Verdict], None] | None = None
        self._begun = record.begin(assignment)
        self._until = assignment.until
        self._pause_at = leased.pause_at
        self._is_at_boundary = False
        self._scratch = assignment.scratch
        self._send = send
        self._verdict = str(Verdict.CONTINUE)
        self._told = str(Verdict.CONTINUE)
        self._reports_since_told = 0
        self._num_checkpoints = 0

    def report(self, step: int, values: Mapping[str, float] | float) -> Verdict:
        """Store intermediate values at `step` and learn what to do: "continue", or stop here ("prune", "pause", "stop").

        A bare number is the value of the only objective. At "pause" save a checkpoint, then return. InvalidValue for what
        cannot be a report.
        """
        if not isinstance(values, Mapping):
            values = {self._only_objective(): values}
        try:
            report = Report(step=step, values={name: float(value) for name, value in values.items()})
        except ValidationError as error:
            problem = error.errors(include_url=False, include_input=False)[0]
            raise InvalidValue(f"report: {'.'.join(map(str, problem['loc']))}: {problem['msg']}") from None
        except (TypeError, ValueError) as error:
            raise InvalidValue(f"report: every value must be a number: {error}") from None
        self._send({"kind": "report", "step": report.step, "values": report.values})
        if self._until is not None and report.step >= self._until:
            self.deliver(Verdict.PRUNE)
        if self._pause_at is not None and report.step >= self._pause_at:
            self._is_at_boundary = True
            if self._verdict == Verdict.CONTINUE:
                self.deliver(Verdict.PAUSE)
        verdict = self._verdict
        if verdict == self._told:
            self._reports_since_told += 1
        else:
            self._told, self._reports_since_told = verdict, 0
        return _public(verdict)

    @property
    def should_stop(self) -> bool:
        """Whether the last known verdict is another than "continue"; for code that wants to look between two reports."""
        if self._verdict != Verdict.CONTINUE and self._verdict != self._told:
            self._told, self._reports_since_told = self._verdict, 0
        return self._verdict != Verdict.CONTINUE

    @property
    def verdict(self) -> Verdict:
        """The last known verdict, without taking note that the code has been told."""
        return _public(self._verdict)

    @property
    def scratch(self) -> Path:
        """A folder for temporary files of this attempt; removed when it ends."""
        return self._scratch

    def save_checkpoint(self, state: Mapping[str, Any], step: int) -> None:
        """Keep a (nested) dict of tensors and plain values as the state after `step`; the upload goes on beside training."""
        from workers.training import checkpoint

        folder = self.checkpoint_folder(step)
        checkpoint.save(folder, state)
        self.send_checkpoint(folder, step)

    def load_checkpoint(self) -> dict[str, Any] | None:
        """The state this attempt resumes from, its tensors on the CPU, or None for a fresh start."""
        if self.resume_path is None:
            return None
        from workers.training import checkpoint

        return checkpoint.load(self.resume_path)

    def send_checkpoint(self, folder: Path, step: int) -> None:
        """Hand a finished folder below `scratch` to the agent, which uploads and then removes it."""
        self._send({"kind": "checkpoint", "step": step, "folder": str(folder)})

    def checkpoint_folder(self, step: int) -> Path:
        self._num_checkpoints += 1
        return self._scratch / f"checkpoint-{step}-{self._num_checkpoints}"

    def recorded(self) -> dict[str, Any]:
        """The record of this attempt as far as it is known now. InvalidValue for what users' code has put there and cannot be kept."""
        try:
            complete = json.loads(json.dumps(record.complete(self._begun, self.record, self.device)))
            return Tell(state="FAIL", record=complete).record or {}
        except ValidationError as error:
            raise InvalidValue(f"record: {error.errors(include_url=False, include_input=False)[0]['msg']}") from None
        except (TypeError, ValueError) as error:
            raise InvalidValue(f"record: only JSON values can be recorded: {error}") from None

    def deliver(self, verdict: str) -> None:
        """Called by the pipe's reader thread when a verdict arrives."""
        self._verdict = verdict
        notify = self.on_verdict  # another thread takes it away when the program has ended
        if notify is not None:
            notify(_public(verdict))

    def conclude(self, result: object) -> Tell:
        """How the attempt ends, given what the code returned.

        A verdict the code was told and stopped on governs. Code that went on reporting has declined it: its values count.
        """
        if self._told != Verdict.CONTINUE and (result is None or self._reports_since_told < 2):
            return self._tell_verdict(self._told)
        if isinstance(result, int | float) and not isinstance(result, bool):
            result = {self._only_objective(): result}
        if not isinstance(result, Mapping):
            wanted = ", ".join(repr(name) for name in self.objectives)
            return self._tell_failed(
                Reason.MISSING_OBJECTIVE, f"The trial returned {type(result).__name__}; return a dict with {wanted}."
            )
        missing = [name for name in self.objectives if result.get(name) is None]
        if missing:
            given = ", ".join(map(str, result)) or "nothing"
            return self._tell_failed(
                Reason.MISSING_OBJECTIVE, f"No value for the objective {missing[0]!r}; the trial returned: {given}."
            )
        values = {name: float(result[name]) for name in self.objectives}
        values |= {name: float(result[name]) for name in self.constrained if result.get(name) is not None}
        for name, value in values.items():
            if math.isnan(value) and name in self.objectives:
                return self._tell_failed(Reason.NAN, f"The objective {name!r} is NaN.")
        return Tell(state="COMPLETE", values=values, user_attrs=self._checked_attrs(), record=self.recorded())

    def conclude_failed(self, error: BaseException) -> Tell:
        """How the attempt ends when the code raised `error`; exceptions may carry their own `reason`."""
        reason = getattr(error, "reason", None)
        if isinstance(reason, str) and reason in set(Reason):
            return self._tell_failed(reason, str(error) or type(error).__name__)
        text = "".join(traceback.format_exception(type(error), error, _foreign_part(error.__traceback__)))
        if isinstance(error, MemoryError):
            return self._tell_failed(Reason.OOM_HOST, text)
        if any(base.__name__ == "OutOfMemoryError" for base in type(error).__mro__):
            return self._tell_failed(Reason.OOM_CUDA, text)
        return self._tell_failed(Reason.EXCEPTION, text)

    def _tell_verdict(self, verdict: str) -> Tell:
        state, reason = _OUTCOMES[verdict]
        if state == "WAITING" and self._is_at_boundary:
            reason = Reason.PAUSED_AT_RUNG
        return Tell(state=state, reason=reason, user_attrs=self._checked_attrs(), record=self.recorded())

    def _tell_failed(self, reason: str, error: str) -> Tell:
        try:
            attrs = self._checked_attrs()
        except InvalidValue:
            attrs = {}
        try:
            recorded = self.recorded()
        except InvalidValue:
            recorded = record.complete(self._begun, {}, self.device)
        return Tell(state="FAIL", reason=reason, error=shorten(error), user_attrs=attrs, record=recorded)

    def _checked_attrs(self) -> dict[str, Any]:
        try:
            return Tell(state="FAIL", user_attrs=json.loads(json.dumps(self.user_attrs))).user_attrs
        except (TypeError, ValueError) as error:
            raise InvalidValue(f"user_attrs: only JSON values can be stored: {error}") from None

    def _only_objective(self) -> str:
        if len(self.objectives) != 1:
            names = ", ".join(repr(name) for name in self.objectives)
            raise InvalidValue(f"a bare number is ambiguous with several objectives: give a dict with {names}")
        return self.objectives[0]


def shorten(text: str) -> str:
    """The last lines of an error's text, without what JSON or PostgreSQL cannot hold."""
    lines = text.replace("\x00", "�").encode("utf-8", "replace").decode().rstrip().splitlines()
    return "\n".join(lines[-MAX_ERROR_LINES:])[-MAX_ERROR_CHARACTERS:]


def _foreign_part(trace: TracebackType | None) -> TracebackType | None:
    """A traceback without its first frames in this package, which say nothing about what went wrong."""
    rest = trace
    while rest is not None and Path(rest.tb_frame.f_code.co_filename).parent in _OUR_FOLDERS:
        rest = rest.tb_next
    return rest or trace


def _public(verdict: str) -> Verdict:
    return Verdict.PAUSE if verdict == PREEMPT else Verdict(verdict)
