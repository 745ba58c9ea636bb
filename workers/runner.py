"""The loop of one slot: lease a trial, have it run, send what it says, tell how it ended, take the next.

Network trouble never ends the loop: requests are repeated with jitter until they land or the lease is lost. What arrives while a request
is under way goes together in the next. A model's failure is told once and never retried here; lost trials are the server's to retry.
"""

from __future__ import annotations

import logging
import random
import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar

from tuner.client import Client
from tuner.errors import Conflict, Denied, IdempotencyConflict, Invalid, InvalidValue, NotFound, TunerError
from tuner.wire import Lease, LeaseRequest, LogText, Reason, Report, Resources, Tell
from workers import archive
from workers.bundles import BundleCache
from workers.engines import Place
from workers.errors import Refused
from workers.executors import check_allowed, offered
from workers.holding import HAND_BACK, Batch, HeldTrial, Holdings, PendingCheckpoint, renewal_delay
from workers.pipe import Assignment
from workers.report import shorten
from workers.roots import DataRoots
from workers.slots import Slot

log = logging.getLogger("tuner.worker")

LEASE_WAIT = 20.0
NEXT_WAIT = 1.0
LOG_INTERVAL = 1.0
MAX_BACKOFF = 5.0
MAX_BATCH_REPORTS = 1_000
MAX_BATCH_CHARACTERS = 100_000

Value = TypeVar("Value")
Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class RunnerOptions:
    """What all runners of an agent share."""

    worker: str
    allow: tuple[str, ...]
    bundles: BundleCache | None
    """None: this host runs no code that comes with a study."""
    data: DataRoots
    scratch: Path
    ttl: float | None
    warm: bool


class SlotRunner:
    """Serves one slot until `draining` is set and its trial has been told, or `giving_up` is."""

    def __init__(
        self,
        slot: Slot,
        place: Place,
        client: Client,
        holdings: Holdings,
        options: RunnerOptions,
        *,
        draining: threading.Event,
        giving_up: threading.Event,
        on_idle: Callable[[], None],
    ) -> None:
        self.is_idle = False
        self._slot = slot
        self._place = place
        self._client = client.with_patience(0)
        self._holdings = holdings
        self._options = options
        self._draining = draining
        self._giving_up = giving_up
        self._on_idle = on_idle

    def run(self) -> None:
        held: HeldTrial | None = None
        if self._options.warm:
            with suppress(OSError):  # the first trial will say what is wrong
                self._place.warm()
        while held is not None or not self._draining.is_set():
            held = self._lease() if held is None else self._serve(held)
        self.is_idle = True
        self._on_idle()

    # --- taking ---------------------------------------------------------------------------------------------------------------

    def _lease(self) -> HeldTrial | None:
        """Wait for a trial; None when none came, or this agent is leaving."""
        key = uuid.uuid4().hex
        tries = 0
        while not self._draining.is_set():
            asked_at = time.monotonic()
            self._become_idle()
            try:
                leases = self._client.lease(self._request(LEASE_WAIT), request_key=key)
            except TunerError as error:
                if tries in (0, 10) and not self._draining.is_set():
                    log.warning("slot %d: no trial: %s", self._slot.index, error)
                tries += 1
                self._draining.wait(_backoff(tries))
                continue
            finally:
                self.is_idle = False
            return self._hold(leases[0], asked_at) if leases else None
        return None

    def _become_idle(self) -> None:
        self.is_idle = True
        self._on_idle()

    def _request(self, wait: float) -> LeaseRequest:
        return LeaseRequest(
            worker=self._options.worker,
            wait=wait,
            ttl=self._options.ttl,
            resources=Resources(gpus=self._slot.gpu_share, cpus=self._slot.cpus),
            executors=offered(self._options.allow),
            bundles=self._options.bundles is not None,
            devices=self._slot.devices,
        )

    def _hold(self, lease: Lease, asked_at: float) -> HeldTrial:
        """The lease began between request and answer. After a long wait that says too little: renew at once to know."""
        now = time.monotonic()
        renew_at = now if now - asked_at > lease.ttl / 10 else now + renewal_delay(lease.ttl)
        held = HeldTrial(lease, self._place, granted_at=now, renew_at=renew_at)
        self._holdings.add(held)
        return held

    # --- running --------------------------------------------------------------------------------------------------------------

    def _serve(self, held: HeldTrial) -> HeldTrial | None:
        """Run a held trial to its end and tell it; the next one, if the answer brought one.

        When this host itself fails (no disk, no process), the lease is left to expire: that counts as an attempt, so a trial cannot go
        round for ever.
        """
        scratch: Path | None = None
        try:
            scratch = Path(tempfile.mkdtemp(prefix=f"trial-{held.lease.trial.id}-", dir=self._options.scratch))
            tell = self._run_trial(held, scratch)
            return None if tell is None else self._tell(held, tell)
        except Exception:
            log.exception("%s: this host failed to run it", held.name)
            self._place.close()
            self._draining.wait(MAX_BACKOFF)
            return None
        finally:
            self._holdings.remove(held)
            if scratch is not None:
                shutil.rmtree(scratch, ignore_errors=True)

    def _run_trial(self, held: HeldTrial, scratch: Path) -> Tell | None:
        """The outcome; None when the lease was lost."""
        resume_path, start_step = self._fetch_checkpoint(held, scratch)
        if held.is_lost:
            return None
        if self._draining.is_set():
            return HAND_BACK
        try:
            with self._bundle(held) as bundle:
                return None if held.is_lost else self._run_code(held, scratch, bundle, resume_path, start_step)
        except Invalid as error:
            return Tell(state="FAIL", reason=Reason.REFUSED, error=f"This worker does not run the study's code: {error}")

    def _run_code(
        self, held: HeldTrial, scratch: Path, bundle: Path | None, resume_path: Path | None, start_step: int
    ) -> Tell | None:
        assignment = Assignment(
            lease=held.lease.id,
            trial=held.lease.trial,
            attempt=held.lease.attempt,
            device=self._slot.device,
            scratch=scratch,
            allow=self._options.allow,
            bundle=bundle,
            data=self._options.data,
            resume_path=resume_path,
            start_step=start_step,
        )
        self._place.assign(assignment, held.receive)
        tell = self._relay(held)
        if tell is not None:
            log.info("%s: %s%s", held.name, tell.state, f" ({tell.reason})" if tell.reason else "")
            if tell.reason in (Reason.OOM_CUDA, Reason.OOM_HOST):
                self._place.close()  # a fresh process has its memory back
        return tell

    def _relay(self, held: HeldTrial) -> Tell | None:
        """Send what the trial says until it is over; its outcome, or None when the lease was lost."""
        lines_sent_at = time.monotonic()
        while True:
            batch = held.collect(LOG_INTERVAL)
            self._send_reports(held, batch.reports)
            while batch.checkpoint is not None:
                batch = self._send_checkpoint(held, batch.checkpoint)
            if batch.over or time.monotonic() - lines_sent_at >= LOG_INTERVAL:
                self._send_lines(held, held.take_lines())
                lines_sent_at = time.monotonic()
            if batch.over:
                return held.outcome

    def _send_reports(self, held: HeldTrial, reports: list[Report]) -> None:
        for some in _split(reports, lambda report: 30 * len(report.values) + sum(map(len, report.values))):
            self._insist_or_drop(held, partial(self._send_some_reports, held, some))

    def _send_some_reports(self, held: HeldTrial, reports: list[Report]) -> None:
        sent_at = time.monotonic()
        answer = self._client.report(held.lease.id, reports)
        held.acknowledge(sent_at, answer.verdict)

    def _send_lines(self, held: HeldTrial, lines: list[LogText]) -> None:
        for some in _split(lines, lambda line: len(line.text)):
            self._insist_or_drop(held, partial(self._client.append_logs, held.lease.id, some))

    def _send_checkpoint(self, held: HeldTrial, checkpoint: PendingCheckpoint) -> Batch:
        """Upload a checkpoint, after the reports up to its step, so that none is missing when the trial resumes from it.

        Returns the batch that these reports came with.
        """
        with tempfile.TemporaryFile(dir=self._options.scratch) as packed:
            sha256 = None
            try:
                sha256 = archive.pack(checkpoint.folder, packed)
            except OSError as error:
                log.warning("%s: the checkpoint of step %d was not packed: %s", held.name, checkpoint.step, error)
            finally:
                shutil.rmtree(checkpoint.folder, ignore_errors=True)
            batch = held.collect(0.0)
            self._send_reports(held, batch.reports)
            if sha256 is not None:
                packed.seek(0)
                upload = partial(self._client.upload_checkpoint, held.lease.id, checkpoint.step, packed, sha256=sha256)
                self._insist_or_drop(held, upload, tries=5)
        return batch

    def _fetch_checkpoint(self, held: HeldTrial, scratch: Path) -> tuple[Path | None, int]:
        """Folder of the checkpoint to resume from and the first step after it. One that does not arrive whole: from the start."""
        resume = held.lease.trial.resume
        if resume is None:
            return None, 0
        folder = scratch / "resume"
        try:
            with tempfile.TemporaryFile(dir=self._options.scratch) as packed:

                def download() -> int:
                    packed.seek(0)
                    packed.truncate()
                    try:
                        return self._client.download_checkpoint(resume.checkpoint, packed)
                    except NotFound as error:
                        raise InvalidValue(str(error)) from error

                step = self._insist(held, download)
                if step is None:
                    return None, 0
                packed.seek(0)
                archive.unpack(packed, folder)
        except (OSError, Invalid) as error:
            log.warning("%s: starts anew, its checkpoint is of no use: %s", held.name, error)
            return None, 0
        return folder, step + 1

    def _bundle(self, held: HeldTrial) -> AbstractContextManager[Path | None]:
        """The code that came with the study, for a block; None without any, where it would be refused, or when the trial was lost.

        Invalid where what the server sends is no bundle of that name.
        """
        sha256 = held.lease.trial.config.get("bundle")
        if not isinstance(sha256, str) or self._options.bundles is None:
            return nullcontext()
        try:
            check_allowed(held.lease.trial, self._options.allow)
        except Refused:
            return nullcontext()  # its process will say why

        def download(target: BinaryIO) -> bool:
            def download_once() -> bool:
                target.seek(0)
                target.truncate()
                try:
                    self._client.download_bundle(sha256, target)
                except NotFound as error:
                    raise InvalidValue(str(error)) from error
                return True

            return self._insist(held, download_once) or False

        return self._options.bundles.hold(sha256, download)

    # --- telling --------------------------------------------------------------------------------------------------------------

    def _tell(self, held: HeldTrial, tell: Tell) -> HeldTrial | None:
        """Tell the outcome until it lands; the next trial, if one came with the answer.

        Repeated unchanged, also when this agent has begun to leave meanwhile: the server answers with the lease it gave the first time,
        which would be stranded otherwise.
        """
        asking = tell if self._draining.is_set() else tell.model_copy(update={"lease_next": self._request(NEXT_WAIT)})

        def try_once() -> HeldTrial | None:
            asked_at = time.monotonic()
            answer = self._client.tell(held.lease.id, asking)
            return self._hold(answer.leases[0], asked_at) if answer.leases else None

        try:
            return self._insist(held, try_once)
        except Invalid as error:
            log.error("%s: its outcome was refused: %s", held.name, error)
            failed = Tell(
                state="FAIL", reason=Reason.EXCEPTION, error=shorten(f"The server refused the trial's outcome: {error}")
            )
            self._insist(held, lambda: self._client.tell(held.lease.id, failed))
            return None

    def _insist(self, held: HeldTrial, call: Callable[[], Value], *, tries: int | None = None) -> Value | None:
        """Repeat `call` while the server is away; None when the lease is lost, `tries` are spent, or the agent gives up.

        Raises Invalid: repeating a request that the server refuses helps nobody.
        """
        count = 0
        while not held.is_lost and not self._giving_up.is_set():
            try:
                return call()
            except Invalid:
                raise
            except TunerError as error:
                if _is_loss(error):
                    held.lose(str(error))
                    return None
                count += 1
                if count == tries:
                    log.warning("%s: given up after %d tries: %s", held.name, tries, error)
                    return None
                self._giving_up.wait(_backoff(count))
        return None

    def _insist_or_drop(self, held: HeldTrial, call: Callable[[], object], *, tries: int | None = None) -> None:
        """As `_insist`, for what the trial can do without."""
        try:
            self._insist(held, call, tries=tries)
        except Invalid as error:
            log.error("%s: refused by the server: %s", held.name, error)


def _is_loss(error: TunerError) -> bool:
    """Whether an answer means that this lease can never be written to again."""
    return isinstance(error, Conflict | NotFound | Denied) and not isinstance(error, IdempotencyConflict)


def _backoff(tries: int) -> float:
    return random.uniform(0.05, min(MAX_BACKOFF, 0.2 * 2.0 ** min(tries, 10)))


def _split(items: Iterable[Item], size: Callable[[Item], int]) -> Iterator[list[Item]]:
    """Batches that stay below the server's limits."""
    some: list[Item] = []
    total = 0
    for item in items:
        if some and (len(some) >= MAX_BATCH_REPORTS or total + size(item) > MAX_BATCH_CHARACTERS):
            yield some
            some, total = [], 0
        some.append(item)
        total += size(item)
    if some:
        yield some
