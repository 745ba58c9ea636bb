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
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, Row, delete, select, text

from tuner import events, intermediate, rows, studies
from tuner.db.postgres import Database
from tuner.db.tables import attempts, demands, trials
from tuner.errors import Conflict, LeaseLost, StudyNotRunning, TrialFinished
from tuner.studies import StudyFacts
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
    ttl: float = DEFAULT_TTL,
) -> list[Lease]:
    """Lease up to `request.count` WAITING trials: of one study, or of any that the request's resources and executors fit.

    Enqueued trials first, then the lowest number; of several studies the one with the fewest running trials. The same `request_key` again
    returns the leases it got before, as far as they are still open. Empty when nothing waits. StudyNotRunning when the one study asked
    for has ended.
    """
    ttl = request.ttl or ttl
    with database.begin() as connection:
        if request_key is not None:
            request_key = f"{project}:{request_key}"
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 1))"), {"key": request_key})
            found = connection.execute(_REPEATED, {"key": request_key}).all()
            if found:
                return [_lease(studies.get_facts(database, connection, row.study_id), row, row.limits) for row in found if row.open]
        leases: list[Lease] = []
        for row in _eligible(connection, project, request, study):
            count = request.count - len(leases)
            parameters = {
                "study": row.id,
                "project": project,
                "count": count,
                "worker": request.worker,
                "gpus": row.gpus,
                "ttl": ttl,
                "key": request_key,
                "running": row.state == StudyState.RUNNING,
            }
            if row.limits.get("max_concurrent_trials") is not None:
                parameters["count"] = min(count, _free_places(connection, row.id))
            if parameters["count"] > 0:
                facts = studies.get_facts(database, connection, row.id)
                leases += [_lease(facts, taken, row.limits) for taken in connection.execute(_TAKE, parameters)]
            if len(leases) == request.count:
                break
    for study_id in {lease.trial.study_id for lease in leases}:
        database.wake("result", study_id)
    return leases


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
    with database.begin() as connection:
        row = pass_fence(connection, project, lease_id)
        return VerdictAnswer(verdict=row.verdict, expires_at=row.expires_at)


def pass_fence(connection: Connection, project: str, lease_id: str) -> Row[Any]:
    """Renew the lease and lock its attempt until the transaction ends, or raise LeaseLost.

    The row: trial_id, study_id, number, epoch, verdict, judged_step, expires_at.
    """
    row = connection.execute(text(_RENEW.format(fence=FENCE)), {"lease": _uuid(lease_id), "project": project}).one_or_none()
    if row is None:
        raise _lost(lease_id)
    return row


def tell(database: Database, project: str, lease_id: str, body: Tell) -> Trial:
    """End a lease with the trial's outcome. The same tell again gives the same answer; another one: TrialFinished or LeaseLost.

    COMPLETE with an objective missing or NaN is a failed trial (reason missing_objective, nan), not an error of the request. WAITING
    hands the trial back (reason preempted or paused), which does not count as an attempt; a cancelled trial then FAILs as cancelled.
    """
    digest = hashlib.sha256(body.model_dump_json(exclude={"lease_next"}).encode()).digest()
    with database.begin() as connection:
        row = connection.execute(text(_CLOSE.format(fence=FENCE)), {"lease": _uuid(lease_id), "project": project}).one_or_none()
        if row is None:
            return _repeated_tell(database, connection, project, lease_id, digest)
        facts = studies.get_facts(database, connection, row.study_id)
        if body.reports:
            intermediate.store(connection, row.study_id, row.trial_id, row.epoch, body.reports)
        outcome = _outcome(connection, row, body, facts)
        if body.user_attrs:
            # Optuna's NaN tokens in what is there already must survive, so this merges parsed JSON, not jsonb.
            outcome["user_attrs"] = json.dumps(json.loads(row.user_attrs) | body.user_attrs)
        parameters = {
            "trial": row.trial_id,
            "lease": _uuid(lease_id),
            "digest": digest,
            "gpu_seconds": row.seconds * row.gpus,
            "refund": 1 if outcome["state"] == TrialState.WAITING else 0,
            "error": None,
            "objective_values": None,
            "value": None,
            "user_attrs": None,
            **outcome,
        }
        trial = connection.execute(_END, parameters).one()
        if outcome["state"] == TrialState.WAITING:
            events.record(
                connection, project, row.study_id, "handed_back", row.number, reason=outcome["reason"], worker=row.worker
            )
    database.wake("result", row.study_id)
    if outcome["state"] == TrialState.WAITING:
        database.wake("trials", row.study_id)
    return rows.trial(trial, facts.name, facts.objectives)


def reap(database: Database, *, backoff: float = 1.0, limit: int = 100) -> int:
    """Close expired leases and queue their trials again, or FAIL them once their attempts are spent; how many.

    One transaction; SKIP LOCKED lets any number of replicas run it. A trial that was cancelled, or whose study has ended, FAILs as cancelled.
    """
    with database.begin() as connection:
        reaped = connection.execute(text(_REAP.format(fence=FENCE)), {"limit": limit, "backoff": backoff}).all()
        for row in reaped:
            kind = "lease_expired" if row.state == TrialState.WAITING else "trial_lost"
            events.record(
                connection, row.project, row.study_id, kind, row.number, worker=row.worker, epoch=row.epoch, state=row.state
            )
    for study_id in {row.study_id for row in reaped}:
        database.wake("trials", study_id)
        database.wake("result", study_id)
    return len(reaped)


_TAKE = text(
    """
    WITH c AS MATERIALIZED (
        SELECT t.id FROM trials t
        WHERE t.study_id = :study AND t.state = 'WAITING' AND (:running OR t.epoch > 0)
            AND (t.not_before IS NULL OR t.not_before <= clock_timestamp())
        ORDER BY t.priority DESC, t.number LIMIT :count FOR UPDATE OF t SKIP LOCKED
    ), u AS (
        UPDATE trials t SET state = 'RUNNING', epoch = t.epoch + 1, attempts = t.attempts + 1, verdict = 'continue', reason = NULL,
            error = NULL, not_before = NULL, worker = CAST(:worker AS text), started_at = coalesce(t.started_at, clock_timestamp())
        FROM c WHERE t.id = c.id
        RETURNING t.id, t.number, t.study_id, t.params, t.epoch
    ), k AS (
        SELECT DISTINCT ON (p.trial_id) p.trial_id, p.step, p.sha256 FROM checkpoints p JOIN u ON u.id = p.trial_id
        ORDER BY p.trial_id, p.step DESC, p.epoch DESC
    ), a AS (
        INSERT INTO attempts (id, project, study_id, trial_id, epoch, worker, gpus, ttl, resumed_from, request_key, expires_at)
        SELECT gen_random_uuid(), :project, u.study_id, u.id, u.epoch, CAST(:worker AS text), :gpus, :ttl, k.step, CAST(:key AS text),
            clock_timestamp() + :ttl * interval '1 second'
        FROM u LEFT JOIN k ON k.trial_id = u.id
        RETURNING id, trial_id, ttl, expires_at
    )
    SELECT a.id AS lease, a.ttl, a.expires_at, u.*, k.step, k.sha256
    FROM u JOIN a ON a.trial_id = u.id LEFT JOIN k ON k.trial_id = u.id ORDER BY u.number
    """
)

_REPEATED = text(
    """
    SELECT a.id AS lease, a.ttl, a.expires_at, t.id, t.number, t.study_id, t.params, a.epoch, k.step, k.sha256,
        a.ended_at IS NULL AS open, s.limits
    FROM attempts a JOIN trials t ON t.id = a.trial_id JOIN studies s ON s.id = t.study_id
    LEFT JOIN LATERAL (
        SELECT p.step, p.sha256 FROM checkpoints p WHERE p.trial_id = t.id AND p.step = a.resumed_from ORDER BY p.epoch DESC LIMIT 1
    ) k ON true
    WHERE a.request_key = :key ORDER BY t.number
    """
)

_RENEW = """
    UPDATE attempts a SET expires_at = clock_timestamp() + a.ttl * interval '1 second'
    FROM trials t
    WHERE a.id = :lease AND a.project = :project AND t.id = a.trial_id AND {fence}
    RETURNING a.trial_id, a.study_id, a.epoch, a.expires_at, t.number, t.verdict, t.judged_step
"""

_CLOSE = """
    UPDATE attempts a SET ended_at = clock_timestamp()
    FROM trials t
    WHERE a.id = :lease AND a.project = :project AND t.id = a.trial_id AND {fence}
    RETURNING a.trial_id, a.study_id, a.epoch, a.worker, a.gpus, extract(epoch FROM clock_timestamp() - a.started_at)::float AS seconds,
        t.number, t.verdict, t.reason, t.user_attrs
"""

# Ends the attempt's row too: its reason and error are known only now.
_END = text(
    """
    WITH a AS (
        UPDATE attempts SET reason = coalesce(CAST(:reason AS text), lower(CAST(:state AS text))), error = CAST(:error AS text)
        WHERE id = :lease
    )
    UPDATE trials t SET state = CAST(:state AS text), reason = CAST(:reason AS text), error = CAST(:error AS text),
        objective_values = CAST(:objective_values AS text), value = CAST(:value AS float),
        user_attrs = coalesce(CAST(:user_attrs AS text), t.user_attrs), finish_hash = :digest, verdict = 'continue',
        attempts = t.attempts - :refund, gpu_seconds = t.gpu_seconds + :gpu_seconds,
        worker = CASE WHEN :state = 'WAITING' THEN NULL ELSE t.worker END,
        finished_at = CASE WHEN :state = 'WAITING' THEN NULL ELSE clock_timestamp() END
    WHERE t.id = :trial
    RETURNING t.*
    """
)

_REAP = """
    WITH e AS MATERIALIZED (
        SELECT a.id FROM attempts a
        WHERE a.ended_at IS NULL AND a.expires_at < clock_timestamp()
        ORDER BY a.expires_at LIMIT :limit FOR UPDATE SKIP LOCKED
    ), a AS (
        UPDATE attempts x SET ended_at = clock_timestamp(), reason = 'lost'
        FROM e WHERE x.id = e.id
        RETURNING x.trial_id, x.epoch, x.worker, x.gpus, extract(epoch FROM x.expires_at - x.started_at)::float AS seconds
    ), o AS (
        SELECT t.id, a.epoch, a.worker, a.gpus * a.seconds AS gpu_seconds, CASE
            WHEN t.verdict = 'stop' AND t.reason = 'timeout' THEN 'timeout'
            WHEN t.verdict = 'stop' OR s.state IN ('COMPLETE', 'STOPPED', 'FAIL') THEN 'cancelled'
            WHEN t.attempts >= coalesce((s.limits->>'max_attempts')::int, 3) THEN 'lost' END AS ended
        FROM a JOIN trials t ON t.id = a.trial_id JOIN studies s ON s.id = t.study_id
        WHERE t.state = 'RUNNING' AND t.epoch = a.epoch
    )
    UPDATE trials t SET
        state = CASE WHEN o.ended IS NULL THEN 'WAITING' ELSE 'FAIL' END,
        reason = coalesce(o.ended, 'lost'),
        error = CASE WHEN o.ended = 'lost' THEN format('lost with its worker in each of %s attempts', t.attempts) END,
        verdict = 'continue', gpu_seconds = t.gpu_seconds + o.gpu_seconds,
        not_before = CASE WHEN o.ended IS NULL THEN clock_timestamp() + :backoff * power(2, least(t.attempts, 8) - 1) * interval '1 second' END,
        finished_at = CASE WHEN o.ended IS NULL THEN NULL ELSE clock_timestamp() END
    FROM o WHERE t.id = o.id
    RETURNING t.project, t.study_id, t.number, t.state, o.epoch, o.worker
"""

_ELIGIBLE = text(
    """
    SELECT s.id, s.state, s.limits, s.gpus,
        (SELECT count(*) FROM trials t WHERE t.study_id = s.id AND t.state = 'RUNNING') AS running,
        (SELECT count(*) FROM (SELECT FROM trials t WHERE t.study_id = s.id AND t.state = 'WAITING' LIMIT 100) w) AS waiting
    FROM studies s
    WHERE s.project = :project AND s.state IN ('RUNNING', 'STOPPING') AND s.spec IS NOT NULL
        AND s.executor = ANY(:executors) AND (CAST(:gpus AS float) IS NULL OR (s.gpus <= :gpus AND s.cpus <= greatest(:cpus, 1)))
        AND (NOT :chosen OR s.id = ANY(:ids) OR s.name = ANY(:names))
    ORDER BY running, s.id
    """
)


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
        _ELIGIBLE,
        {
            "project": project,
            "executors": list(request.executors) if request.executors is not None else ["trainer", "entrypoint", "command"],
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


def _lease(facts: StudyFacts, row: Row[Any], limits: Mapping[str, Any]) -> Lease:
    resume = None
    if row.step is not None:
        resume = Resume(step=row.step, checkpoint=f"/v1/trials/{row.id}/checkpoints/latest", sha256=row.sha256)
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
            judged=facts.judged,
            resume=resume,
        ),
    )


def _outcome(connection: Connection, row: Row[Any], body: Tell, facts: StudyFacts) -> dict[str, Any]:
    """The columns state, reason, error, objective_values and value that a tell leads to."""
    if body.state == "COMPLETE":
        return _complete(body, facts)
    if body.state == "WAITING":
        # Read under the trial's lock: a cancellation that commits while this tell runs must not be undone by it.
        verdict, why = connection.execute(
            select(trials.c.verdict, trials.c.reason).where(trials.c.id == row.trial_id).with_for_update(key_share=True)
        ).one()
        if verdict == "stop":
            return {"state": TrialState.FAIL, "reason": _stopped(why)}
        reason = body.reason if body.reason in _INFRASTRUCTURE else Reason.PREEMPTED
        return {"state": TrialState.WAITING, "reason": reason}
    if body.state == "PRUNED":
        values = _given(body, facts) or _last_reported(connection, row.trial_id, facts)
        return {
            "state": TrialState.PRUNED,
            "reason": body.reason or Reason.PRUNED,
            "error": body.error,
            "objective_values": None if values is None else json.dumps(values),
        }
    if row.verdict == "stop" and body.reason in (None, Reason.CANCELLED):
        return {"state": TrialState.FAIL, "reason": _stopped(row.reason), "error": body.error}
    return {"state": TrialState.FAIL, "reason": body.reason or Reason.EXCEPTION, "error": body.error}


def _stopped(reason: str | None) -> Reason:
    """Why a trial was told to stop: its time was up, or it was cancelled."""
    return Reason.TIMEOUT if reason == Reason.TIMEOUT else Reason.CANCELLED


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


def _given(body: Tell, facts: StudyFacts) -> list[float] | None:
    told = body.values or {}
    values = [told[name] for name in facts.objectives if name in told and not math.isnan(told[name])]
    return values if len(values) == len(facts.objectives) else None


def _last_reported(connection: Connection, trial_id: int, facts: StudyFacts) -> list[float] | None:
    """The last report of the objective of a single-objective study: the value of a PRUNED trial, as in Optuna."""
    if len(facts.objectives) != 1:
        return None
    found = connection.execute(
        text("SELECT metrics->:name FROM reports WHERE trial_id = :trial AND metrics ? :name ORDER BY step DESC LIMIT 1"),
        {"trial": trial_id, "name": facts.objectives[0]},
    ).scalar_one_or_none()
    return [float(found)] if isinstance(found, int | float) else None


def _repeated_tell(database: Database, connection: Connection, project: str, lease_id: str, digest: bytes) -> Trial:
    attempt = connection.execute(
        select(attempts).where(attempts.c.id == _uuid(lease_id), attempts.c.project == project)
    ).one_or_none()
    if attempt is None:
        raise _lost(lease_id)
    trial = connection.execute(select(trials).where(trials.c.id == attempt.trial_id)).one()
    if trial.epoch != attempt.epoch or trial.finish_hash is None or attempt.reason == Reason.LOST:
        raise _lost(lease_id)
    if trial.finish_hash != digest:
        raise TrialFinished(f"trial {trial.number} has been told already, with another outcome: {trial.state}")
    facts = studies.get_facts(database, connection, trial.study_id)
    return rows.trial(trial, facts.name, facts.objectives)


def _uuid(lease_id: str) -> UUID:
    try:
        return UUID(lease_id)
    except ValueError:
        raise _lost(lease_id) from None


def _lost(lease_id: str) -> Conflict:
    return LeaseLost(f"the lease {lease_id[:36]} is not held any more: its trial has ended or has been handed on")
