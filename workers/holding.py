"""A trial this agent holds the lease of: what its process has said and not been sent yet, and when it must be ended.

Three threads meet here: the process's reader (`receive`), the slot's runner (`collect`), and the agent's watch and renewer. Nothing here
touches the network. The lease is reckoned from the moment a request was *sent* that the server acknowledged: the end of the lease is
never later than that plus its time to live, so a host that has been cut off stops before the trial is handed on (self-fencing).
"""

from __future__ import annotations

import logging
import math
import random
import shutil
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuner.wire import Lease, LogText, Reason, Report, Tell, Verdict
from workers.engines import Place
from workers.pipe import PREEMPT, Message
from workers.report import shorten

MAX_PENDING_REPORTS = 100_000
MAX_PENDING_LINES = 2_000
LOST_GRACE = 3.0
STOP_GRACE = 15.0

log = logging.getLogger("tuner.worker")

HAND_BACK = Tell(state="WAITING", reason=Reason.PREEMPTED)


@dataclass(frozen=True, kw_only=True)
class PendingCheckpoint:
    step: int
    folder: Path


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What came since the last one. `over`: the process is done with the trial and nothing more will come."""

    reports: list[Report]
    checkpoint: PendingCheckpoint | None
    over: bool


def fence_after(ttl: float) -> float:
    """Seconds without an acknowledged renewal after which training must stop: well before the lease ends."""
    return ttl - 15.0 if ttl >= 60.0 else 0.75 * ttl


def renewal_delay(ttl: float) -> float:
    """A fifth of the lease's life, ±20 %, so that the renewals of many workers do not come in step."""
    return ttl / 5.0 * random.uniform(0.8, 1.2)


class HeldTrial:
    """One lease from its grant to its end. All times are of `clock`; `granted_at` is when the lease's life began at the latest."""

    def __init__(
        self, lease: Lease, place: Place, *, granted_at: float, renew_at: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.lease = lease
        self._clock = clock
        self.renew_at = renew_at
        self._place = place
        self._changed = threading.Condition()
        self._acknowledged_at = granted_at
        self._reports: list[Report] = []
        self._lines: deque[LogText] = deque()
        self._dropped_lines = 0
        self._checkpoint: PendingCheckpoint | None = None
        self._verdict = str(Verdict.CONTINUE)
        self._over = False
        self._lost: str | None = None
        self._killed = False
        self._forced: Tell | None = None
        self._record: dict[str, Any] | None = None
        self._outcome: Tell | None = None
        # Why, when to kill the trial, and as what it then ends.
        self._ends: dict[str, tuple[float, Tell]] = {}
        seconds = lease.trial.config.get("timeout")
        self._timeout = float(seconds) if seconds is not None else math.inf

    @property
    def name(self) -> str:
        return f"trial {self.lease.trial.number} of {self.lease.trial.study}"

    @property
    def is_lost(self) -> bool:
        return self._lost is not None

    @property
    def outcome(self) -> Tell | None:
        """How it ended, once over; None when the lease was lost."""
        return None if self.is_lost else self._outcome

    # --- the process's reader thread -----------------------------------------------------------------------------------------

    def receive(self, message: Message) -> None:
        kind = message["kind"]
        with self._changed:
            if kind == "begin":
                self._record = message["record"]
                self._ends["timeout"] = (self._clock() + self._timeout, self._timed_out())
                if self._verdict != Verdict.CONTINUE:
                    self._pass_on(self._verdict)
            elif kind == "report":
                # A trial that reports faster than the network takes it waits here, after 100,000 reports.
                self._changed.wait_for(lambda: len(self._reports) < MAX_PENDING_REPORTS or self._is_ending())
                if not self._is_ending():
                    self._reports.append(Report(step=message["step"], values=message["values"]))
            elif kind == "checkpoint":
                self._replace_checkpoint(PendingCheckpoint(step=message["step"], folder=Path(message["folder"])))
            elif kind == "log":
                self._add_line(LogText(stream=message["stream"], text=message["text"]))
            elif kind == "end":
                self._outcome = Tell.model_validate_json(message["tell"])
                self._over = True
            elif kind == "exit":
                # Its process can say no more, but it has said how it began.
                self._outcome = (self._forced or crashed(message)).model_copy(update={"record": self._record})
                self._over = True
            self._changed.notify_all()

    def _is_ending(self) -> bool:
        return self.is_lost or self._killed

    def _replace_checkpoint(self, checkpoint: PendingCheckpoint) -> None:
        """Only the newest is worth uploading."""
        if self._checkpoint is not None:
            shutil.rmtree(self._checkpoint.folder, ignore_errors=True)
        self._checkpoint = checkpoint

    def _add_line(self, line: LogText) -> None:
        if len(self._lines) >= MAX_PENDING_LINES:
            self._dropped_lines += 1
        else:
            self._lines.append(line)

    def _timed_out(self) -> Tell:
        return Tell(
            state="FAIL", reason=Reason.TIMEOUT, error=f"The trial ran longer than its limit of {self._timeout:g} seconds."
        )

    # --- the slot's runner ---------------------------------------------------------------------------------------------------

    def collect(self, timeout: float) -> Batch:
        """Wait for something to send, at most `timeout` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._reports) or self._checkpoint is not None or self._over, timeout)
            reports, self._reports = self._reports, []
            checkpoint, self._checkpoint = self._checkpoint, None
            self._changed.notify_all()
            return Batch(reports=reports, checkpoint=checkpoint, over=self._over)

    def take_lines(self) -> list[LogText]:
        """Log lines not sent yet, with a note of those there was no room for."""
        with self._changed:
            lines = list(self._lines)
            self._lines.clear()
            dropped, self._dropped_lines = self._dropped_lines, 0
        if dropped:
            lines.append(LogText(stream="tuner", text=f"{dropped} lines left out: they came faster than they could be sent"))
        return lines

    # --- what the server says --------------------------------------------------------------------------------------------------

    def acknowledge(self, sent_at: float, verdict: Verdict) -> None:
        """The server has renewed the lease in answer to a request sent at `sent_at`."""
        with self._changed:
            self._acknowledged_at = max(self._acknowledged_at, sent_at)
            self.renew_at = self._acknowledged_at + renewal_delay(self.lease.ttl)
            if verdict != self._verdict and (self._verdict != PREEMPT or verdict == Verdict.STOP):
                self._verdict = verdict
                if verdict == Verdict.STOP:
                    cancelled = Tell(state="FAIL", reason=Reason.CANCELLED)
                    self._ends.setdefault("stop", (sent_at + STOP_GRACE, cancelled))
                self._pass_on(verdict)

    def lose(self, why: str) -> None:
        """The lease is gone: nothing of this trial is sent any more, and it ends at once, killed if it does not obey."""
        with self._changed:
            if self.is_lost:
                return
            self._lost = why
            if not self._over:
                log.warning("%s: stopped, its lease is lost: %s", self.name, why)
                grace = min(LOST_GRACE, (self.lease.ttl - fence_after(self.lease.ttl)) / 2)
                self._ends["lost"] = (self._clock() + grace, HAND_BACK)
                self._pass_on(Verdict.STOP)
            self._changed.notify_all()

    # --- the agent's watch -----------------------------------------------------------------------------------------------------

    def preempt(self, deadline: float) -> None:
        """Ask for a checkpoint and the trial back; at `deadline` it ends without one."""
        with self._changed:
            self._ends["preempted"] = (deadline, HAND_BACK)
            if self._verdict not in (PREEMPT, Verdict.STOP):
                self._verdict = PREEMPT
                self._pass_on(PREEMPT)

    def watch(self) -> None:
        """Kill the trial if its time is up in any way."""
        now = self._clock()
        with self._changed:
            if self._over:
                return
            silence = now - self._acknowledged_at
            if silence > fence_after(self.lease.ttl):
                self.lose(f"the server has not acknowledged it for {silence:.0f} seconds")
            due = sorted((at, name) for name, (at, _) in self._ends.items() if at <= now)
            if due and not self._killed:
                self._killed = True
                self._forced = self._ends[due[0][1]][1]
                log.warning("%s: killed (%s)", self.name, due[0][1])
                self._changed.notify_all()
            if self._killed:
                self._place.kill()  # again at each look: the process may have been started in between

    def _pass_on(self, verdict: str) -> None:
        if not self._over:
            self._place.send({"kind": "verdict", "lease": self.lease.id, "verdict": verdict})


class Holdings:
    """The trials an agent holds; `on_change` is called when one joins or leaves."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._changed = threading.Condition()
        self._held: list[HeldTrial] = []
        self._renewing: set[HeldTrial] = set()
        self._closed = False
        self._on_change = on_change

    def add(self, held: HeldTrial) -> None:
        with self._changed:
            self._held.append(held)
            self._changed.notify_all()
        self._on_change()

    def remove(self, held: HeldTrial) -> None:
        with self._changed:
            self._held.remove(held)
        self._on_change()

    def list_(self) -> list[HeldTrial]:
        with self._changed:
            return list(self._held)

    @contextmanager
    def next_to_renew(self) -> Iterator[HeldTrial | None]:
        """Wait until a lease is due for renewal and claim it, so that of several threads one renews it; None once closed."""
        with self._changed:
            while (held := self._earliest()) is None or (delay := held.renew_at - time.monotonic()) > 0:
                if self._closed:
                    break
                self._changed.wait(None if held is None else delay)
            claimed = None if self._closed else held
            if claimed is not None:
                self._renewing.add(claimed)
        try:
            yield claimed
        finally:
            with self._changed:
                if claimed is not None:
                    self._renewing.discard(claimed)
                    self._changed.notify_all()

    def close(self) -> None:
        """Let those who wait in `next_to_renew` go."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _earliest(self) -> HeldTrial | None:
        candidates = [held for held in self._held if not held.is_lost and held not in self._renewing]
        return min(candidates, key=lambda held: held.renew_at, default=None)


def crashed(message: Message) -> Tell:
    """How a trial ended whose process did, from the engine's message of its exit."""
    code = int(message["code"])
    if message["oom"]:
        reason, how = Reason.OOM_HOST, "was killed by the kernel because the host ran out of memory"
    elif code < 0:
        reason, how = Reason.CRASH, f"was ended by {_signal_name(-code)}"
    else:
        reason, how = Reason.CRASH, f"exited with code {code}"
    return Tell(state="FAIL", reason=reason, error=shorten("\n".join([f"The trial's process {how}.", *message["stderr"]])))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
