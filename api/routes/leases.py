"""The hot path: trials are taken, reported on, renewed and told here. Waiting is here and in `api.waiting`; deciding is in `tuner.leases`."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Hashable
from dataclasses import dataclass
from time import monotonic
from typing import Any
from uuid import UUID

from api.auth import HOLD, LEASE
from api.routing import Call, Routes
from tuner import leases, reports, studies, wire, workers
from tuner.errors import StudyNotRunning

routes = Routes("leases")
SEEN_INTERVAL = 5.0


@dataclass(kw_only=True)
class Seeker:
    """Whoever looks for trials to lease, over one request."""

    call: Call
    request: wire.LeaseRequest | wire.AskRequest
    study: str | int | None
    key: str | None
    is_repeated: bool = True
    demand: UUID | None = None

    def take(self) -> list[wire.Lease]:
        call = self.call
        found = leases.take(
            call.database,
            call.project,
            self.request,
            study=self.study,
            request_key=self.key,
            is_repeated=self.is_repeated,
            ttl=call.services.settings.lease_ttl,
        )
        if found:
            call.services.metrics.leases.inc(len(found))
        # From now on the same request may have come a second time and have been served meanwhile.
        self.is_repeated = True
        return found

    def look(self) -> list[wire.Lease]:
        """Take what is there; else see that a demand stands for us.

        A demand that is gone was served: either its trial is there now, or somebody else took it and we must ask anew. One that still
        stands is left alone, for the search may be at it: a second one would make it suggest a trial too many.
        """
        found = self.take()
        if not found and self.demand is not None and not leases.has_demand(self.call.database, self.demand):
            self.demand = None
            found = self.take()
        if found:
            self.withdraw()
        elif self.demand is None:
            self.demand = leases.register_demand(
                self.call.database, self.call.project, self.request, self.study, wait=self.request.wait + 5
            )
        return found

    def withdraw(self) -> None:
        if self.demand is not None:
            leases.withdraw_demand(self.call.database, self.demand)
            self.demand = None

    async def wait(self, study_id: int | None, mark: int) -> list[wire.Lease]:
        """Look whenever it is our turn, until something was found, the time is up, or nobody is there to have it."""
        board = self.call.board
        deadline = monotonic() + self.request.wait
        try:
            async with board.queue(self._queue_key(), study_id, self.call.request) as place:
                if board.mark("trials") != mark:
                    place.wake()
                while not board.is_closed and (remaining := deadline - monotonic()) > 0:
                    is_turn = await place.wait_turn(remaining)
                    if place.is_gone:
                        break
                    if is_turn and not board.is_closed:
                        found: list[wire.Lease] = await self.call.in_thread(self.look)
                        if found:
                            place.is_served = True
                            return found
        finally:
            if self.demand is not None:
                await asyncio.shield(asyncio.ensure_future(self.call.in_thread(self.withdraw)))
        return []

    def _queue_key(self) -> Hashable:
        """Equal for requests that could take the same trials."""
        if isinstance(self.request, wire.AskRequest):
            return (self.call.project, str(self.study))
        wanted = (self.request.studies, self.request.resources, self.request.executors, self.request.bundles)
        return (self.call.project, str(self.study), repr(wanted))


@routes.route("POST", "/v1/leases/{lease}/reports", HOLD, answer=wire.VerdictAnswer, ledger=False)
def append_reports(call: Call, lease: str, body: wire.Reports) -> wire.VerdictAnswer | Coroutine[Any, Any, wire.VerdictAnswer]:
    """Store reports, renew the lease, return the verdict; with `wait` once the search has judged them or the time is up."""
    mark = call.board.mark("judged")
    appended = reports.append(call.database, call.project, lease, body.reports)
    call.services.metrics.reports.inc(len(body.reports))
    if appended.judged or not body.wait:
        return appended.answer
    return _wait_for_judgement(call, lease, max(report.step for report in body.reports), body.wait, appended, mark)


async def _wait_for_judgement(
    call: Call, lease: str, step: int, wait: float, appended: reports.Appended, mark: int
) -> wire.VerdictAnswer:
    deadline = monotonic() + wait
    async with call.board.judgement(appended.study_id, call.request) as place:
        if call.board.mark("judged") != mark:
            place.wake()
        while not (appended.judged or call.board.is_closed or place.is_gone) and (remaining := deadline - monotonic()) > 0:
            await place.wait(min(remaining, 1.0))
            if not place.is_gone:
                appended = await call.in_thread(reports.get_verdict, call.database, call.project, lease, step)
    return appended.answer


@routes.route("POST", "/v1/leases/{lease}/tell", HOLD, answer=wire.TellAnswer, ledger=False)
def tell(call: Call, lease: str, body: wire.Tell) -> wire.TellAnswer | Coroutine[Any, Any, wire.TellAnswer]:
    """Finish the trial, or hand it back with state WAITING. Repeating a tell repeats its answer. With `lease_next` also lease again."""
    told = leases.tell(call.database, call.project, lease, body)
    trial = told.trial
    call.services.metrics.tells.labels(str(trial.state)).inc()
    call.services.metrics.reports.inc(len(body.reports))
    # A place has become free: those who wait for this study in this process need not wait for their next look.
    call.board.notify("trials", trial.study_id)
    following = body.lease_next
    if following is False:
        return wire.TellAnswer.model_construct(trial=trial, leases=[])
    request = wire.AskRequest(worker=trial.worker) if following is True else following
    study = None if isinstance(request, wire.LeaseRequest) else trial.study_id
    _note_worker(call, request.worker)
    # The lease told is the natural key: its tell, repeated, finds what the first one took.
    seeker = Seeker(call=call, request=request, study=study, key=f"tell {lease}", is_repeated=told.repeated)
    return _take_next(seeker, trial, wait=request.wait > 0)


def _take_next(seeker: Seeker, trial: wire.Trial, *, wait: bool) -> wire.TellAnswer | Coroutine[Any, Any, wire.TellAnswer]:
    """The next leases in the answer to a tell. That the study has ended is no failure of the tell."""
    mark = seeker.call.board.mark("trials")
    try:
        found = seeker.look() if wait else seeker.take()
    except StudyNotRunning:
        return wire.TellAnswer.model_construct(trial=trial, leases=[])
    if found or not wait:
        return wire.TellAnswer.model_construct(trial=trial, leases=found)
    return _wait_for_next(seeker, trial, mark)


async def _wait_for_next(seeker: Seeker, trial: wire.Trial, mark: int) -> wire.TellAnswer:
    try:
        found = await seeker.wait(None if seeker.study is None else trial.study_id, mark)
    except StudyNotRunning:
        found = []
    return wire.TellAnswer.model_construct(trial=trial, leases=found)


@routes.route("POST", "/v1/leases/{lease}/renew", HOLD, answer=wire.VerdictAnswer, ledger=False)
def renew(call: Call, lease: str) -> wire.VerdictAnswer:
    """Keep a lease for another time to live."""
    return leases.renew(call.database, call.project, lease)


@routes.route("POST", "/v1/leases", LEASE, answer=wire.Leases, ledger=False)
def take_leases(call: Call, body: wire.LeaseRequest) -> wire.Leases | Coroutine[Any, Any, wire.Leases | None] | None:
    """Take work of any study this worker fits, waiting up to `wait` seconds; 204 when there is none."""
    _note_worker(call, body.worker)
    mark = call.board.mark("trials")
    seeker = Seeker(call=call, request=body, study=None, key=_request_key(call))
    found = seeker.look() if body.wait else seeker.take()
    if found:
        return wire.Leases.model_construct(leases=found)
    return _wait_for_leases(seeker, mark) if body.wait else None


async def _wait_for_leases(seeker: Seeker, mark: int) -> wire.Leases | None:
    found = await seeker.wait(None, mark)
    return wire.Leases.model_construct(leases=found) if found else None


@routes.route("POST", "/v1/studies/{study}/ask", HOLD, answer=wire.Leases, ledger=False)
def ask(call: Call, study: str, body: wire.AskRequest) -> wire.Leases | Coroutine[Any, Any, wire.Leases]:
    """Lease trials of this study, for any loop in any language. 409 once the study has ended; none when none came in time."""
    mark = call.board.mark("trials")
    seeker = Seeker(call=call, request=body, study=study, key=_request_key(call))
    found = seeker.look() if body.wait else seeker.take()
    if found or not body.wait:
        return wire.Leases.model_construct(leases=found)
    return _wait_for_asked(seeker, _study_id(call, study), mark)


async def _wait_for_asked(seeker: Seeker, study_id: int, mark: int) -> wire.Leases:
    return wire.Leases.model_construct(leases=await seeker.wait(study_id, mark))


@routes.route("POST", "/v1/leases/{lease}/logs", HOLD, answer=None)
def append_logs(call: Call, lease: str, body: wire.LogLines) -> None:
    """Append log lines of the attempt that holds this lease."""
    reports.append_logs(call.database, call.project, lease, body.lines)


def _study_id(call: Call, study: str) -> int:
    known = int(study) if study.isascii() and study.isdigit() else call.board.get_study_id(call.project, study)
    if known is None:
        with call.database.read() as connection:
            known = int(studies.find(connection, call.project, study).id)
        call.board.put_study_id(call.project, study, known)
    return known


def _note_worker(call: Call, name: str | None) -> None:
    """Mark a worker as heard of; in this process every few seconds at most, for this is the hot path."""
    if name is None:
        return
    seen, worker = call.services.workers_seen, (call.project, name)
    if monotonic() - seen.get(worker, -SEEN_INTERVAL) >= SEEN_INTERVAL:
        if len(seen) > 10_000:
            seen.clear()
        seen[worker] = monotonic()
        workers.saw(call.database, call.project, name)


def _request_key(call: Call) -> str | None:
    return None if call.key is None else f"{call.caller.key_id} {call.key}"
