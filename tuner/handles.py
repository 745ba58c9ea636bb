"""What the SDK puts into a person's hands: a study, an asked trial, and the thread that keeps asked trials' leases alive.

Every operation is one call of `tuner.calls`; `tuner.client` makes these objects. A renewal that fails is tried again until the lease is
known to be lost; an asked trial whose process is suspended for longer than its time to live is handed on by the server, and says so.
"""

from __future__ import annotations

import io
import random
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from tuner import wire
from tuner.calls import Calls, iterate
from tuner.errors import CheckpointNotFound, InvalidValue, LeaseLost, NotFound, TunerError
from tuner.results import AdviceList, Comparison
from tuner.wire import Reason, StudyState, Verdict

if TYPE_CHECKING:
    import pandas as pd


POLL = 0.5
PAGE = 500
FRESH = 0.01
"""Seconds after a word from the server in which reports are gathered instead of sent: its verdict is as good as new."""
FLUSH_INTERVAL = 0.25
"""Seconds after which gathered reports are sent even if nothing follows them."""
MAX_GATHERED = 1_000
ASLEEP_AFTER = 5.0


class Renewer:
    """One daemon thread that renews the leases of all asked trials of a client, each about five times in its time to live.

    What a trial has gathered of reports is sent with the renewal, which then comes within FLUSH_INTERVAL.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._due: dict[str, tuple[float, AskedTrial]] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopped = False
        self._is_asleep = False

    def add(self, trial: AskedTrial) -> None:
        with self._changed:
            self._due[trial.lease.id] = (_next_renewal(trial.lease.ttl), trial)
            if self._thread is None and not self._stopped:
                self._thread = threading.Thread(target=self._run, name="tuner-renewer", daemon=True)
                self._thread.start()
            if self._is_asleep:
                self._is_asleep = False
                self._changed.notify()

    def hasten(self, trial: AskedTrial) -> None:
        """Renew within FLUSH_INTERVAL. Wakes nobody, for the thread looks that often by itself: a report must cost nothing."""
        with self._changed:
            if trial.lease.id in self._due:
                self._due[trial.lease.id] = (time.monotonic() + FLUSH_INTERVAL, trial)

    def remove(self, lease: str) -> None:
        with self._changed:
            self._due.pop(lease, None)

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify()

    def _run(self) -> None:
        idle_since: float | None = None
        while True:
            with self._changed:
                if self._stopped:
                    return
                now = time.monotonic()
                first = min(self._due.values(), key=lambda entry: entry[0], default=None)
                if first is None or first[0] > now:
                    # Between two trials of a quick loop there is none for a moment: only after a while without is it worth being woken.
                    idle_since = None if first is not None else idle_since or now
                    self._is_asleep = idle_since is not None and now - idle_since > ASLEEP_AFTER
                    self._changed.wait(
                        None if self._is_asleep else FLUSH_INTERVAL if first is None else min(first[0] - now, FLUSH_INTERVAL)
                    )
                    continue
                idle_since = None
                trial = first[1]
                self._due[trial.lease.id] = (_next_renewal(trial.lease.ttl), trial)
            try:
                trial.renew(self._calls)
            except (LeaseLost, NotFound):
                trial.hear(Verdict.STOP, lost=True)
                self.remove(trial.lease.id)
            except TunerError:
                continue


def _next_renewal(ttl: float) -> float:
    return time.monotonic() + ttl / 5 * random.uniform(0.8, 1.2)


class AskedTrial:
    """A trial leased to this process. Report while it runs, then tell how it ended; until then its lease is renewed."""

    def __init__(self, calls: Calls, lease: wire.Lease, renewer: Renewer) -> None:
        self.lease = lease
        self.takes_next = False
        self.following: AskedTrial | None = None
        self.told: wire.Trial | None = None
        self._calls = calls
        self._renewer = renewer
        self._verdict = Verdict.CONTINUE
        self._answered = Verdict.CONTINUE
        self._lost = False
        self._is_at_boundary = False
        self._heard_at = time.monotonic()
        self._gathered: list[wire.Report] = []
        self._sending = threading.Lock()
        renewer.add(self)

    @property
    def id(self) -> int:
        return self.lease.trial.id

    @property
    def number(self) -> int:
        return self.lease.trial.number

    @property
    def params(self) -> dict[str, wire.Scalar]:
        return self.lease.trial.params

    @property
    def seed(self) -> int:
        """Derived from the study's seed and the trial's number: the same whenever the study is repeated."""
        return self.lease.trial.seed

    @property
    def inherits(self) -> bool:
        """Whether the checkpoint it goes on from is another trial's, whose hyperparameters were others."""
        resume = self.lease.trial.resume
        return resume is not None and resume.inherited

    @property
    def verdict(self) -> str:
        """The last verdict heard, be it in answer to a report or to a renewal in the background."""
        return self._verdict.value

    def report(self, step: int, values: Mapping[str, float] | float, *, wait: float = 0.0) -> str:
        """Store values of a step and return the verdict: continue, prune, pause or stop. A lease that was lost answers stop.

        The verdict is at most FRESH seconds old: reports that follow each other faster are gathered and go with the next one, or with the
        tell. In a study with a pruner each report is sent; with `wait` the answer comes once the search has judged it.
        """
        if self.told is not None:
            raise InvalidValue(f"trial {self.number} has been told already; report before telling")
        report = wire.Report(step=step, values=self._named(values))
        with self._sending:
            self._gathered.append(report)
            first, many = len(self._gathered) == 1, len(self._gathered) >= MAX_GATHERED
        is_due = self.lease.trial.judged or wait or many or time.monotonic() - self._heard_at >= FRESH
        if is_due and not self._lost:
            try:
                with self._sending:
                    self.hear(self._send(self._calls, wait).verdict)
            except LeaseLost:
                self.hear(Verdict.STOP, lost=True)
        elif first:
            self._renewer.hasten(self)
        pause_at = self.lease.trial.pause_at
        if pause_at is not None and step >= pause_at:
            self._is_at_boundary = True
            if self._verdict is Verdict.CONTINUE:  # else it ends, or is another's by now
                self.hear(Verdict.PAUSE)
        self._answered = self._verdict
        return self._verdict.value

    def renew(self, calls: Calls) -> None:
        """Renew the lease, with what has been gathered; not while another request of this trial is under way, which renews too."""
        if self._sending.acquire(blocking=False):
            try:
                self.hear(self._send(calls, 0.0).verdict)
            finally:
                self._sending.release()

    def _send(self, calls: Calls, wait: float) -> wire.VerdictAnswer:
        """Send what has been gathered, or renew when that is nothing. What could not be sent stays."""
        if not self._gathered:
            return calls.renew(self.lease.id)
        answer = calls.report(self.lease.id, self._gathered, wait=wait)
        self._gathered = []
        return answer

    def tell(
        self,
        values: Mapping[str, float] | float | None = None,
        *,
        user_attrs: Mapping[str, Any] | None = None,
        insist: bool = False,
    ) -> wire.Trial:
        """Finish the trial with a value for each objective, and return it as the server has it.

        Metrics under outcome constraints are told with them, or have been reported before.

        After a report that answered prune, pause or stop the trial ends as that verdict demands (PRUNED, handed back, FAIL), since the
        loop was left early because of it; `insist` tells COMPLETE all the same. LeaseLost when the trial was handed on meanwhile.
        """
        if self._answered is not Verdict.CONTINUE and not insist:
            return self._follow_verdict(user_attrs)
        if values is None:
            raise InvalidValue(f"values: give a value for each objective: {', '.join(self.lease.trial.objectives)}")
        return self._tell(wire.Tell(state="COMPLETE", values=self._named(values), user_attrs=dict(user_attrs or {})))

    def tell_pruned(self, *, user_attrs: Mapping[str, Any] | None = None) -> wire.Trial:
        return self._tell(wire.Tell(state="PRUNED", user_attrs=dict(user_attrs or {})))

    def tell_failed(self, reason: str = Reason.EXCEPTION, error: str | None = None) -> wire.Trial:
        """End the trial as FAIL. `reason` is a short word such as nan, oom_cuda or exception; `error` a text for people."""
        return self._tell(wire.Tell(state="FAIL", reason=str(reason), error=error))

    def hand_back(self) -> wire.Trial:
        """Return the trial unfinished: it waits for another to take it, and goes on from its last checkpoint."""
        return self._tell(wire.Tell(state="WAITING", reason=Reason.PREEMPTED))

    def save_checkpoint(self, source: bytes | Path | BinaryIO, step: int) -> wire.Checkpoint:
        """Upload the state after `step`; whoever takes this trial next finds it. InvalidValue for what is no file and no bytes."""
        if isinstance(source, bytes):
            return self._calls.upload_checkpoint(self.lease.id, step, io.BytesIO(source))
        if isinstance(source, Path):
            with source.open("rb") as stream:
                return self._calls.upload_checkpoint(self.lease.id, step, stream)
        if not hasattr(source, "read"):  # such as the dict of states that `save_checkpoint` takes on a worker
            raise InvalidValue(f"a checkpoint must be bytes, a Path or an open binary file, not {type(source).__name__}")
        return self._calls.upload_checkpoint(self.lease.id, step, source)

    def load_checkpoint(self) -> tuple[int, bytes] | None:
        """Step and content of the last checkpoint of an earlier attempt; None when the trial starts afresh."""
        resume = self.lease.trial.resume
        if resume is None:
            return None
        target = io.BytesIO()
        with suppress(CheckpointNotFound):
            return self._calls.download_checkpoint(resume.checkpoint, target), target.getvalue()
        return None

    def hear(self, verdict: Verdict, *, lost: bool = False) -> None:
        """Note a verdict (of the renewer or of a report). Once it is not continue it stays."""
        self._heard_at = time.monotonic()
        self._lost = self._lost or lost
        if verdict is not Verdict.CONTINUE or self._verdict is Verdict.CONTINUE:
            self._verdict = verdict

    def settle(self) -> None:
        """Tell what a loop left untold: as the last verdict demands; InvalidValue when there was none to follow."""
        if self.told is not None or self._lost:
            self._renewer.remove(self.lease.id)
            return
        if self._verdict is not Verdict.CONTINUE:
            with suppress(LeaseLost):
                self._follow_verdict(None)
            return
        message = f"trial {self.number} was never told: end each turn of the loop with trial.tell(...) or trial.tell_failed(...)"
        self.takes_next = False
        self._tell(wire.Tell(state="FAIL", reason=Reason.MISSING_OBJECTIVE, error=message))
        raise InvalidValue(message)

    def abandon(self) -> None:
        """End what a loop that is being left still holds: the untold trial as FAIL, a trial taken ahead handed back."""
        self.takes_next = False
        with suppress(TunerError):
            if self.following is not None:
                self.following.hand_back()
            if self.told is None and not self._lost:
                self.tell_failed(Reason.EXCEPTION, "the loop over the trials was left before this one was told")

    def __enter__(self) -> AskedTrial:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if self.told is not None or self._lost:
            return
        if error is None:
            self.settle()
        elif isinstance(error, KeyboardInterrupt | SystemExit):
            with suppress(TunerError):
                self.hand_back()
        else:
            with suppress(TunerError):
                self.tell_failed(Reason.EXCEPTION, "".join(traceback.format_exception(error))[-20_000:])

    def _follow_verdict(self, user_attrs: Mapping[str, Any] | None) -> wire.Trial:
        attrs = dict(user_attrs or {})
        if self._verdict is Verdict.PRUNE:
            return self._tell(wire.Tell(state="PRUNED", user_attrs=attrs))
        if self._verdict is Verdict.PAUSE:
            reason = Reason.PAUSED_AT_RUNG if self._is_at_boundary else Reason.PAUSED
            return self._tell(wire.Tell(state="WAITING", reason=reason, user_attrs=attrs))
        return self._tell(wire.Tell(state="FAIL", reason=Reason.CANCELLED, user_attrs=attrs))

    def _tell(self, tell: wire.Tell) -> wire.Trial:
        try:
            with self._sending:
                tell = tell.model_copy(update={"lease_next": self.takes_next, "reports": self._gathered})
                answer = self._calls.tell(self.lease.id, tell)
        except LeaseLost:
            self.hear(Verdict.STOP, lost=True)
            self._renewer.remove(self.lease.id)
            raise
        self._renewer.remove(self.lease.id)
        self.told = answer.trial
        if answer.leases and self.following is None:
            self.following = AskedTrial(self._calls, answer.leases[0], self._renewer)
        return answer.trial

    def _named(self, values: Mapping[str, float] | float) -> dict[str, float]:
        """Values by name; a bare number is the only objective's."""
        if isinstance(values, Mapping):
            return {name: float(value) for name, value in values.items()}
        objectives = self.lease.trial.objectives
        if len(objectives) != 1:
            raise InvalidValue(f"values: the study has several objectives, give each by name: {', '.join(objectives)}")
        return {objectives[0]: float(values)}

    def __repr__(self) -> str:
        return f"AskedTrial(number={self.number}, params={self.params})"


class StudyHandle:
    """A study at hand: what it looks like now, and what can be done to it."""

    def __init__(self, calls: Calls, study: wire.Study) -> None:
        self._calls = calls
        self.id = study.id
        self.name = study.name

    @property
    def now(self) -> wire.Study:
        """The study as the server has it at this moment."""
        return self._calls.get_study(self.id)

    @property
    def state(self) -> StudyState:
        return self.now.state

    @property
    def best_trial(self) -> wire.Trial:
        """InvalidValue as long as no trial is complete, and for a study of several objectives."""
        trials = self.best_trials
        if not trials:
            which = "feasible complete" if self.now.counts.infeasible else "complete"
            raise InvalidValue(f"study {self.name!r} has no {which} trial yet")
        if len(trials) > 1:
            raise InvalidValue(f"study {self.name!r} has several objectives and {len(trials)} best trials; use best_trials")
        return trials[0]

    @property
    def best_trials(self) -> list[wire.Trial]:
        """The best trial; with several objectives all that no other dominates."""
        return self._calls.best(self.id)

    def importance(self, *, objective: str | None = None, method: str | None = None) -> dict[str, float]:
        """Share of each parameter, the most important first; `method` ped_anova or fanova."""
        return self._calls.importance(self.id, objective=objective, method=method).importance

    def compare(self, by: str | None = None, *, metric: str | None = None) -> Comparison:
        """The levels of a parameter held against each other; without `by` those that the study compares."""
        return self._calls.compare(self.id, by=by, metric=metric)

    def advice(self) -> AdviceList:
        """The best configuration with its uncertainty, and what to try next in words."""
        return self._calls.advice(self.id)

    def trials(self, *, state: str | None = None, sort: str | None = None) -> Iterator[wire.Trial]:
        return iterate(lambda cursor: self._calls.list_trials(self.id, state=state, sort=sort, cursor=cursor, limit=PAGE))

    def trials_dataframe(self) -> pd.DataFrame:
        """One row a trial: number, state, reason, feasible where there are outcome constraints, times, values.<objective>, params.<name>. Needs pandas."""
        try:
            import pandas as pd
        except ImportError:
            raise InvalidValue("trials_dataframe needs pandas: pip install pandas (or use study.trials())") from None
        rows = []
        for trial in self.trials():
            row: dict[str, Any] = {"number": trial.number, "state": trial.state.value, "reason": trial.reason}
            if trial.feasible is not None:
                row["feasible"] = trial.feasible
            row.update(
                created_at=trial.created_at, started_at=trial.started_at, finished_at=trial.finished_at, duration=trial.duration
            )
            row.update({f"values.{name}": value for name, value in (trial.values or {}).items()})
            row.update({f"params.{name}": value for name, value in trial.params.items()})
            rows.append(row)
        return pd.DataFrame(rows)

    def enqueue(self, params: Mapping[str, wire.Scalar], *, user_attrs: Mapping[str, Any] | None = None) -> wire.Trial:
        """Have these parameters tried before anything else."""
        return self._calls.create_trial(self.id, wire.TrialCreate(params=dict(params), user_attrs=dict(user_attrs or {})))

    def edit_space(self, edits: Mapping[str, Mapping[str, Any]], *, version: int | None = None) -> wire.Study:
        """Append choices, move ends of ranges outwards, freeze or unfreeze; further trials are made of the new space.

        `edits` by parameter, such as {"lr": {"high": 1.0}, "optimizer": {"append": ["lion"]}, "batch_size": {"freeze": 64}}. With
        `version` Conflict unless the space is at that version. InvalidSpec says what cannot be edited.
        """
        changes = {name: dict(fields) for name, fields in edits.items()}
        patch = {"space": changes} | ({} if version is None else {"space_version": version})
        return self._calls.update_study(self.id, wire.StudyPatch.model_validate(patch))

    def wait(self, *, progress: bool = False, timeout: float | None = None, poll: float = POLL) -> wire.Study:
        """Return the study once it has ended; TimeoutError after `timeout` seconds. `progress` shows a bar on standard error."""
        deadline = None if timeout is None else time.monotonic() + timeout
        follow = self.follow(deadline=deadline, poll=poll)
        if progress:
            from tuner.progress import show

            return show(follow, stream=sys.stderr)
        *_, last = follow
        return last

    def follow(self, *, deadline: float | None = None, poll: float = POLL) -> Iterator[wire.Study]:
        """The study again and again, as it is, the last time once it has ended."""
        while True:
            study = self.now
            yield study
            if study.state.is_finished:
                return
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(
                    f"study {self.name!r} is still {study.state.value} with {study.counts.finished} trials finished"
                )
            time.sleep(poll)

    def pause(self) -> wire.Study:
        return self._calls.pause_study(self.id)

    def resume(self) -> wire.Study:
        return self._calls.resume_study(self.id)

    def stop(self) -> wire.Study:
        """Let running trials end, then end the study."""
        return self._calls.stop_study(self.id)

    def cancel(self) -> wire.Study:
        """End the study and its running trials now."""
        return self._calls.cancel_study(self.id)

    def delete(self) -> None:
        self._calls.delete_study(self.id)

    def __repr__(self) -> str:
        return f"StudyHandle(id={self.id}, name={self.name!r})"
