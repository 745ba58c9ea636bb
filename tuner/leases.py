"""Leases: the exclusive right to write to a running trial, taken, renewed and given back.

A lease is a row of `attempts`; its trial's `epoch` rises with each, and every write of a worker passes the fence: this attempt is open
and its epoch is the trial's. One conditional UPDATE decides, on the attempt's row, which is also what the reaper locks. Only the database's
clock counts. A lease that has expired but has not been reaped is still good: a slow worker beats a restart.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, Row, TextClause, delete, select, text

from tuner import events, intermediate, outcome_constraints, rows, studies, violations
from tuner import lease_statements as sql
from tuner.db.postgres import Database
from tuner.db.tables import HELD, attempts, demands, trials
from tuner.errors import LeaseLost, StudyNotRunning, TrialFinished
from tuner.studies import LRU, StudyFacts
from tuner.wire import (
    AskRequest,
    Lease,
    LeasedTrial,
    LeaseRequest,
    Reason,
    Resume,
    StudyState,
    Tell,
    Trial,
    TrialState,
    VerdictAnswer,
)

DEFAULT_TTL = 60.0
FENCE = "a.ended_at IS NULL AND t.epoch = a.epoch AND t.state = 'RUNNING'"
"""What every write of a worker must pass, in SQL, with a = attempts and t = trials."""

_INFRASTRUCTURE = (Reason.PREEMPTED, Reason.PAUSED, Reason.PAUSED_AT_RUNG)


def take(
    database: Database,
    project: str,
    request: LeaseRequest | AskRequest,
    *,
    study: str | int | None = None,
    request_key: str | None = None,
    is_repeated: bool = True,
    ttl: float = DEFAULT_TTL,
) -> list[Lease]:
    """Lease up to `request.count` WAITING trials: of one study, or of any that the request's resources and executors fit.

    Enqueued trials first, then the lowest number; of several studies the one with the fewest running trials. The same `request_key` again
    returns the leases it got before, as far as they are still open; `is_repeated` false: it is known to be new. Empty when nothing waits. StudyNotRunning when the one study asked
    for has ended.
    """
    ttl = request.ttl or ttl
    if request_key is not None:
        request_key = f"{project}:{request_key}"
    if isinstance(study, int) and (request_key is None or not is_repeated):
        # The usual case in one statement. When it finds nothing, what follows says why.
        leases = _take_at_once(database, project, request, study, request_key, ttl)
        if leases:
            database.wake("result", study)
            return leases
    with database.begin() as connection:
        if request_key is not None and is_repeated:
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 1))"), {"key": request_key})
            found = connection.execute(sql.REPEATED, {"key": request_key}).all()
            if found:
                return [
                    _lease(studies.get_facts(database, connection, row.study_id), row, row.limits) for row in found if row.open
                ]
        leases = []
        for row in _eligible(connection, project, request, study):
            count = request.count - len(leases)
            parameters = {
                "study": row.id,
                "project": project,
                "count": count,
                "worker": request.worker,
                "devices": request.devices,
                "ttl": ttl,
                "key": request_key,
                "running": row.state == StudyState.RUNNING,
            }
            if row.limits.get("max_concurrent_trials") is not None:
                parameters["count"] = min(count, _free_places(connection, row.id))
            if parameters["count"] > 0:
                facts = studies.get_facts(database, connection, row.id)
                leases += [_lease(facts, taken, taken.limits) for taken in connection.execute(sql.TAKE, parameters)]
            if len(leases) == request.count:
                break
    for study_id in {lease.trial.study_id for lease in leases}:
        database.wake("result", study_id)
    return leases


def _take_at_once(
    database: Database, project: str, request: LeaseRequest | AskRequest, study: int, request_key: str | None, ttl: float
) -> list[Lease]:
    """Leases of a running study without a limit of concurrency, which would have to be counted under a lock."""
    parameters = {
        "study": study,
        "project": project,
        "count": request.count,
        "worker": request.worker,
        "devices": request.devices,
        "ttl": ttl,
        "key": request_key,
    }
    with database.read() as connection:
        found = connection.execute(sql.TAKE_AT_ONCE, parameters).all()
        return [_lease(studies.get_facts(database, connection, study), row, row.limits) for row in found]


def register_demand(
    database: Database, project: str, request: LeaseRequest | AskRequest, study: str | int | None = None, wait: float = 30.0
) -> UUID | None:
    """Tell the search that a request waits for trials; None when no study could give any.

    Of several studies the demand goes to the one with the fewest trials running or waiting. It lapses after `wait` seconds.
    """
    with database.begin() as connection:
        candidates = [
            row for row in _eligible(connection, project, request, study, for_demand=True) if row.state == StudyState.RUNNING
        ]
        if not candidates:
            return None
        demand = uuid4()
        connection.execute(
            text(
                "INSERT INTO demands (id, study_id, count, expires_at)"
                " VALUES (:id, :study, :count, clock_timestamp() + :wait * interval '1 second')"
            ),
            {"id": demand, "study": candidates[0].id, "count": request.count, "wait": wait},
        )
    database.wake("demand", candidates[0].id)
    return demand


def has_demand(database: Database, demand: UUID) -> bool:
    """Whether a demand still stands: the search deletes those it has served."""
    with database.read() as connection:
        return connection.execute(select(demands.c.id).where(demands.c.id == demand)).one_or_none() is not None


def withdraw_demand(database: Database, demand: UUID) -> None:
    with database.begin() as connection:
        connection.execute(delete(demands).where(demands.c.id == demand))


def renew(database: Database, project: str, lease_id: str) -> VerdictAnswer:
    """Extend a lease by its time to live. LeaseLost once the trial has been handed on."""
    with database.read() as connection:  # one statement, one transaction
        row = pass_fence(connection, project, lease_id)
        return VerdictAnswer(verdict=row.verdict, expires_at=row.expires_at)


def pass_fence(connection: Connection, project: str, lease_id: str) -> Row[Any]:
    """Renew the lease and lock its attempt until the transaction ends, or raise LeaseLost.

    The row: trial_id, study_id, number, epoch, verdict, judged_step, expires_at.
    """
    row = connection.execute(fenced(sql.RENEW, FENCE), {"lease": parse_id(lease_id), "project": project}).one_or_none()
    if row is None:
        raise lost(lease_id)
    return row


@lru_cache
def fenced(template: str, fence: str, **parts: str) -> TextClause:
    """The statement of a template with the fence and other parts filled in; read once, for reading takes longer than running it."""
    return text(template.format(fence=fence, renew=sql.RENEW.format(fence=fence), **parts))


@dataclass(frozen=True, kw_only=True)
class Told:
    """The trial as a tell left it; `repeated`: the tell had been accepted before."""

    trial: Trial
    repeated: bool = False


def tell(database: Database, project: str, lease_id: str, body: Tell) -> Told:
    """End a lease with the trial's outcome. The same tell again gives the same answer; another one: TrialFinished or LeaseLost.

    COMPLETE with an objective missing or NaN is a failed trial (reason missing_objective, nan), not an error of the request; one that breaks
    an outcome constraint, or lacks its metric, is COMPLETE and infeasible. WAITING
    hands the trial back (reason preempted or paused), which does not count as an attempt; a cancelled trial then FAILs as cancelled.
    """
    digest = hashlib.sha256(body.model_dump_json(exclude={"lease_next"}).encode()).digest()
    parameters = {
        "lease": parse_id(lease_id),
        "project": project,
        "digest": digest,
        "user_attrs": json.dumps(body.user_attrs) if body.user_attrs else None,
        "record": None if body.record is None else json.dumps(body.record),
        **intermediate.parameters(body.reports),
    }
    with database.read() as connection:  # each statement is a transaction; the last one decides
        facts = _facts_of(database, connection, project, lease_id)
        outcome = _outcome(body, facts)
        outcome["ended"] = outcome["reason"]  # of the attempt, which an infeasible outcome is no fault of
        if facts.outcome_constraints and TrialState(outcome["state"]).is_finished:
            measured = violations.measure(
                connection, facts.outcome_constraints, parameters["lease"], body.values or {}, body.reports
            )
            outcome |= violations.columns(facts.outcome_constraints, outcome["state"], measured)
        row = connection.execute(
            fenced(sql.TELL, FENCE, stopped=sql.STOPPED, goes_on=sql.GOES_ON, held=sql.PAUSED, until=HELD),
            parameters | outcome,
        ).one_or_none()
        if row is None:
            return Told(trial=_repeated_tell(connection, project, facts, lease_id, digest), repeated=True)
    database.wake("result", facts.id)
    if row.state == TrialState.WAITING:
        database.wake("trials", facts.id)
    return Told(trial=rows.trial(row, facts.name, facts.objectives))


def _facts_of(database: Database, connection: Connection, project: str, lease_id: str) -> StudyFacts:
    """Facts of the study a lease belongs to, whose id is remembered since the lease was given, if that was in this process."""
    study_id = _study_of_lease.get(lease_id)
    if study_id is None:
        study_id = connection.execute(sql.STUDY_OF, {"lease": parse_id(lease_id), "project": project}).scalar_one_or_none()
        if study_id is None:
            raise lost(lease_id)
    return studies.get_facts(database, connection, study_id)


def reap(database: Database, *, backoff: float = 1.0, limit: int = 100) -> int:
    """Close expired leases and queue their trials again, or FAIL them once their attempts are spent; how many.

    One transaction; SKIP LOCKED lets any number of replicas run it. A trial that was cancelled, or whose study has ended, FAILs as cancelled.
    """
    with database.begin() as connection:
        reaped = connection.execute(
            text(sql.REAP.format(ended=sql.ENDED, at_rung=sql.AT_RUNG, until=HELD)), {"limit": limit, "backoff": backoff}
        ).all()
        for row in reaped:
            kind = "lease_expired" if row.state == TrialState.WAITING else "trial_lost"
            events.record(
                connection, row.project, row.study_id, kind, row.number, worker=row.worker, epoch=row.epoch, state=row.state
            )
    for study_id in {row.study_id for row in reaped}:
        database.wake("trials", study_id)
        database.wake("result", study_id)
    return len(reaped)


def _eligible(
    connection: Connection, project: str, request: LeaseRequest | AskRequest, study: str | int | None, *, for_demand: bool = False
) -> Sequence[Row[Any]]:
    """Studies this request may lease from, the one to serve first in front."""
    if study is not None:
        row = studies.find(connection, project, study)
        if StudyState(row.state).is_finished:
            because = f" ({row.reason})" if row.reason else ""
            raise StudyNotRunning(f"study {row.name!r} has ended: {row.state}{because}")
        if row.spec is None:
            raise StudyNotRunning(f"study {row.name!r} was made through Optuna: ask and tell with Optuna")
        return [] if row.state == StudyState.PAUSED else [row]
    assert isinstance(request, LeaseRequest)
    chosen = [str(item) for item in request.studies or ()]
    found = connection.execute(
        sql.ELIGIBLE,
        {
            "project": project,
            "executors": list(request.executors) if request.executors is not None else ["trainer", "entrypoint", "command"],
            "bundles": request.bundles,
            "gpus": None if request.resources is None else request.resources.gpus,
            "cpus": None if request.resources is None else request.resources.cpus,
            "chosen": request.studies is not None,
            "ids": [int(item) for item in chosen if item.isdigit() and len(item) < 19],
            "names": [item for item in chosen if not item.isdigit()],
        },
    ).all()
    if not for_demand:
        return [row for row in found if row.waiting]
    return sorted((row for row in found if _has_room(row)), key=lambda row: (row.running + row.waiting, row.id))


def _has_room(row: Row[Any]) -> bool:
    """Whether the study could run one more trial now."""
    most = row.limits.get("max_concurrent_trials")
    return most is None or row.running < most


def _free_places(connection: Connection, study_id: int) -> int:
    """How many more trials max_concurrent_trials lets run; holds the study's row so that nobody else counts at the same time."""
    row = connection.execute(
        text("SELECT (limits->>'max_concurrent_trials')::int AS most FROM studies WHERE id = :study FOR NO KEY UPDATE"),
        {"study": study_id},
    ).one()
    # A statement of its own: it must see what the holder of the lock before us has committed.
    running = connection.execute(
        text("SELECT count(*) FROM trials WHERE study_id = :study AND state = 'RUNNING'"), {"study": study_id}
    ).scalar_one()
    return max(0, int(row.most) - int(running)) if row.most is not None else 2**31


_study_of_lease: LRU[str, int] = LRU(50_000)


def _lease(facts: StudyFacts, row: Row[Any], limits: Mapping[str, Any]) -> Lease:
    _study_of_lease.put(str(row.lease), facts.id)
    resume = None
    if row.step is not None:
        is_own = row.holder == row.id
        checkpoint = f"/v1/trials/{row.holder}/checkpoints/{'latest' if is_own else row.step}"
        resume = Resume(step=row.step, checkpoint=checkpoint, sha256=row.sha256, inherited=not is_own)
    config = facts.config | {"timeout": limits.get("trial_timeout")}
    return Lease.model_construct(
        id=str(row.lease),
        expires_at=row.expires_at,
        ttl=row.ttl,
        attempt=row.epoch,
        trial=LeasedTrial.model_construct(
            id=row.id,
            number=row.number,
            study=facts.name,
            study_id=row.study_id,
            params=json.loads(row.params),
            seed=facts.trial_seed(row.number),
            executor=facts.executor,
            config=config,
            objectives=list(facts.objectives),
            constrained=list(outcome_constraints.metrics(facts.outcome_constraints)),
            judged=facts.judged,
            study_digest=facts.digest,
            resume=resume,
            pause_at=facts.pause_after(row.step),
        ),
    )


def _outcome(body: Tell, facts: StudyFacts) -> dict[str, Any]:
    """Parameters of sql.TELL that say how the trial ends."""
    outcome: dict[str, Any] = {
        "state": body.state,
        "reason": body.reason,
        "error": body.error,
        "objective_values": None,
        "value": None,
        "constraint_values": None,
        "violation": None,
        "objectives": list(facts.objectives),
        # Whether this tell does what a verdict to stop asks for; then the reason is the verdict's.
        "at_boundary": facts.interval is not None and body.reason == Reason.PAUSED_AT_RUNG,
        "follows": body.state == "WAITING" or (body.state == "FAIL" and body.reason in (None, Reason.CANCELLED)),
    }
    if body.state == "COMPLETE":
        return outcome | _complete(body, facts)
    if body.state == "WAITING":
        return outcome | {"reason": body.reason if body.reason in _INFRASTRUCTURE else Reason.PREEMPTED}
    if body.state == "FAIL":
        return outcome | {"reason": body.reason or Reason.EXCEPTION}
    values = _pruned_values(body, facts)
    return outcome | {
        "reason": body.reason or Reason.PRUNED,
        "objective_values": None if values is None else json.dumps(values),
    }


def _complete(body: Tell, facts: StudyFacts) -> dict[str, Any]:
    told = body.values or {}
    missing = [name for name in facts.objectives if name not in told]
    if missing:
        got = f"; it told {', '.join(sorted(told))}" if told else ""
        error = f"the tell lacks the objective {', '.join(missing)}{got}"
        return {"state": TrialState.FAIL, "reason": Reason.MISSING_OBJECTIVE, "error": error}
    values = [told[name] for name in facts.objectives]
    if any(math.isnan(value) for value in values):
        names = ", ".join(name for name, value in zip(facts.objectives, values, strict=True) if math.isnan(value))
        return {"state": TrialState.FAIL, "reason": Reason.NAN, "error": f"the objective {names} is NaN"}
    return {"state": TrialState.COMPLETE, "reason": body.reason, "objective_values": json.dumps(values), "value": values[0]}


def _pruned_values(body: Tell, facts: StudyFacts) -> list[float] | None:
    """Values of a PRUNED trial: those told, else, as in Optuna, its last report of all objectives (None: look among those stored)."""
    told = body.values or {}
    values = [told[name] for name in facts.objectives if name in told and not math.isnan(told[name])]
    if len(values) == len(facts.objectives):
        return values
    for report in sorted(body.reports, key=lambda report: -report.step):
        values = [report.values.get(name, math.nan) for name in facts.objectives]
        if all(math.isfinite(value) for value in values):
            return values
    return None


def _repeated_tell(connection: Connection, project: str, facts: StudyFacts, lease_id: str, digest: bytes) -> Trial:
    attempt = connection.execute(
        select(attempts).where(attempts.c.id == parse_id(lease_id), attempts.c.project == project)
    ).one_or_none()
    if attempt is None:
        raise lost(lease_id)
    trial = connection.execute(select(trials).where(trials.c.id == attempt.trial_id)).one()
    if trial.epoch != attempt.epoch or trial.finish_hash is None or attempt.reason == Reason.LOST:
        raise lost(lease_id)
    if trial.finish_hash != digest:
        raise TrialFinished(f"trial {trial.number} has been told already, with another outcome: {trial.state}")
    return rows.trial(trial, facts.name, facts.objectives)


def parse_id(lease_id: str) -> UUID:
    """LeaseLost for what no lease can have as its id."""
    try:
        return UUID(lease_id)
    except ValueError:
        raise lost(lease_id) from None


def lost(lease_id: str) -> LeaseLost:
    """The error of a holder whose trial has ended or has been handed on."""
    return LeaseLost(f"the lease {lease_id[:36]} is not held any more: its trial has ended or has been handed on")
