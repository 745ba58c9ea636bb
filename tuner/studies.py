"""The life of a study: each function is one verb and one transaction.

States: RUNNING -> PAUSED <-> RUNNING -> STOPPING -> COMPLETE | STOPPED | FAIL. Only `finish_if_done` and `finish` end a study. A study's
row is locked before its trials' rows, everywhere, so that no two transitions can wait for each other. Trials are `tuner.trials`.
"""

from __future__ import annotations

import json
import re
import secrets
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from threading import Lock
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Row, func, insert, select, text, update

from tuner import auto, events, levels, outcome_constraints, populations, repeats, rows, space_edits
from tuner.db.postgres import Database
from tuner.db.tables import bundles, studies
from tuner.errors import FieldError, InvalidSpec, StudyExists, StudyNotFound, StudyNotRunning
from tuner.outcome_constraints import OutcomeConstraint
from tuner.spec import Limits, StudySpec
from tuner.wire import Study, StudyPatch, StudyState

SEED_KEY = "tuner:seed"
"""System attribute of a study: the seed from which all of its random streams derive."""

_FINAL = (StudyState.COMPLETE, StudyState.STOPPED, StudyState.FAIL)


@dataclass(frozen=True, kw_only=True)
class StudyFacts:
    """What never changes about a study, kept in memory for the hot path."""

    id: int
    project: str
    name: str
    objectives: tuple[str, ...]
    directions: tuple[str, ...]
    executor: str
    config: dict[str, Any]
    judged: bool
    seed: int
    digest: str | None
    num_levels: int = 1
    num_seeds: int | None = None
    outcome_constraints: tuple[OutcomeConstraint, ...] = ()
    interval: int | None = None
    """Reports between two boundaries at which all members of a population pause; None: there is no population."""
    max_resource: int | None = None
    """Reports of a whole training of a member."""

    def pause_after(self, step: int | None) -> int | None:
        """The step at which a member of a population pauses that goes on after `step`; None: it trains to the end."""
        if self.interval is None or self.max_resource is None:
            return None
        trained = 0 if step is None else step + 1
        boundary = (trained // self.interval + 1) * self.interval
        return boundary - 1 if boundary < self.max_resource else None

    def trial_seed(self, number: int) -> int:
        """Seed of a trial, in [0, 2**31): a function of the study's seed and the trial's number alone.

        In a study that compares levels the trials of a block have the same (`tuner.levels`).
        """
        number = levels.seed_place(number, self.num_levels, self.num_seeds)
        # Multiplication by odd constants and xor-shifts (splitmix64): well spread, and the same on every machine.
        state = (self.seed * 0x9E3779B97F4A7C15 + number + 1) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        return (state ^ (state >> 31)) & 0x7FFFFFFF


Name = TypeVar("Name", bound=Hashable)
Value = TypeVar("Value")


class LRU(Generic[Name, Value]):
    """What was used last, by name, at most `size` of it; for any number of threads."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: OrderedDict[Name, Value] = OrderedDict()
        self._lock = Lock()

    def get(self, name: Name) -> Value | None:
        with self._lock:
            found = self._entries.get(name)
            if found is not None:
                self._entries.move_to_end(name)
            return found

    def put(self, name: Name, value: Value) -> None:
        with self._lock:
            self._entries[name] = value
            while len(self._entries) > self._size:
                self._entries.popitem(last=False)


_caches: WeakKeyDictionary[Database, LRU[int, StudyFacts]] = WeakKeyDictionary()


def get_facts(database: Database, connection: Connection, study_id: int) -> StudyFacts:
    cache = _caches.setdefault(database, LRU(1000))
    facts = cache.get(study_id)
    if facts is None:
        row = connection.execute(select(studies).where(studies.c.id == study_id)).one_or_none()
        if row is None:
            raise StudyNotFound(f"no study has the id {study_id}")
        facts = _facts(row)
        cache.put(study_id, facts)
    return facts


def _facts(row: Row[Any]) -> StudyFacts:
    spec = json.loads(row.spec) if row.spec else {}
    compare = spec.get("compare")
    pruner = (row.strategy or {}).get("pruner", {})
    is_population = pruner.get("name") == "population"
    return StudyFacts(
        id=row.id,
        project=row.project,
        name=row.name,
        objectives=tuple(objective["name"] for objective in row.objectives),
        directions=tuple(objective["direction"] for objective in row.objectives),
        executor=row.executor,
        config=spec.get("trial", {"executor": "external"}),
        judged=bool(row.pruned_by_search),
        seed=int(json.loads(row.system_attrs).get(SEED_KEY, row.id)),
        num_levels=1 if compare is None else len(spec["space"][compare["by"]]["choices"]),
        num_seeds=None if compare is None else compare.get("seeds"),
        digest=row.spec_digest,
        outcome_constraints=outcome_constraints.read(spec.get("outcome_constraints", ()))[0],
        interval=pruner["interval"] if is_population else None,
        max_resource=pruner["max_resource"] if is_population else None,
    )


def find(connection: Connection, project: str, study: str | int, *, lock: bool = False) -> Row[Any]:
    """The study's row by id (an int, or all digits) or name; StudyNotFound else. With `lock`, until the transaction ends."""
    key = str(study)
    by_id = re.fullmatch(r"[0-9]{1,18}", key)
    query = select(studies).where(studies.c.project == project, studies.c.id == int(key) if by_id else studies.c.name == key)
    if lock:
        query = query.with_for_update(key_share=True)
    row = connection.execute(query).one_or_none() if "\x00" not in key else None
    if row is None:
        raise StudyNotFound(f"no study {key[:200]!r} in project {project!r}")
    return row


def lock(connection: Connection, study_id: int) -> None:
    """Lock the study's row until the transaction ends, where trials are to be written and nothing has to be known of the study."""
    connection.execute(select(studies.c.id).where(studies.c.id == study_id).with_for_update(key_share=True))


def create(database: Database, project: str, spec: StudySpec, created_by: str | None = None) -> tuple[Study, bool]:
    """Store a study and whether it is new. The same spec under the same name again is the same study; another spec: StudyExists."""
    name = spec.name or f"study-{secrets.token_hex(4)}"
    stored = spec.to_json() | {"name": name}
    decision = auto.decide_searchable(spec)
    seed = spec.sampler.seed if spec.sampler.seed is not None else secrets.randbits(32)
    limits = stored["limits"]
    timeout = limits.get("timeout")
    values = {
        "project": project,
        "name": name,
        "spec": json.dumps(stored),
        "spec_digest": spec.digest(),
        "objectives": [{"name": objective.name, "direction": objective.direction} for objective in spec.objectives],
        "executor": stored["trial"]["executor"],
        "bundle": spec.trial.bundle,
        "gpus": stored["trial"]["resources"]["gpus"],
        "cpus": stored["trial"]["resources"]["cpus"],
        "limits": limits,
        "pruned_by_search": 0 if decision.pruner.name == "none" else 1,
        "strategy": decision.to_json(),
        "tags": list(spec.tags),
        "notes": spec.notes,
        "system_attrs": json.dumps({SEED_KEY: seed}),
        "created_by": created_by,
        "deadline": None if timeout is None else func.clock_timestamp() + text(f"interval '{float(timeout)} seconds'"),
    }
    with database.begin() as connection:
        # Two creations of one name at the same time: the second waits here and then finds the first.
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": f"study {project} {name}"})
        row = connection.execute(select(studies).where(studies.c.project == project, studies.c.name == name)).one_or_none()
        if row is None:
            if spec.trial.bundle is not None:
                _require_bundle(connection, project, spec.trial.bundle)
            row = connection.execute(insert(studies).values(**values).returning(studies)).one()
            events.record(connection, project, row.id, "created", by=created_by)
            created = True
        elif row.spec_digest != spec.digest():
            raise StudyExists(f"the name {name!r} is taken by a study with another spec; choose another name")
        else:
            created = False
        study = rows.study(connection, row)
    if created:
        database.wake("result", study.id)
    return study, created


def _require_bundle(connection: Connection, project: str, sha256: str) -> None:
    """InvalidSpec unless the bundle is there; then it stays there until the transaction ends."""
    query = (
        select(bundles).where(bundles.c.project == project, bundles.c.sha256 == sha256).with_for_update(key_share=True, read=True)
    )
    if connection.execute(query).one_or_none() is None:
        msg = f"no bundle {sha256[:12]}... has been uploaded to this project; `tuner study submit FILE --context DIR` uploads one"
        raise InvalidSpec(errors=[FieldError("trial.bundle", msg)])


def update_study(database: Database, project: str, study: str | int, patch: StudyPatch, updated_by: str | None = None) -> Study:
    """Change limits, the search space (`tuner.space_edits`), tags or notes, put a study away or take it out again.

    Limits already exceeded end the study, and a space that was edited is searched, at the search's next look.
    """
    with database.begin() as connection:
        row = find(connection, project, study, lock=True)
        values: dict[str, Any] = {}
        if patch.limits is not None:
            values["limits"] = _patched_limits(row, patch.limits)
            timeout = values["limits"].get("timeout")
            if timeout != row.limits.get("timeout"):
                values["deadline"] = (
                    None if timeout is None else studies.c.created_at + text(f"interval '{float(timeout)} seconds'")
                )
        if patch.space is not None:
            values |= space_edits.edit(connection, row, patch.space, expected=patch.space_version, edited_by=updated_by)
        if patch.tags is not None:
            values["tags"] = patch.tags
        if patch.notes is not None:
            values["notes"] = patch.notes
        if patch.archived is not None:
            values["archived"] = patch.archived
        if values:
            row = connection.execute(update(studies).where(studies.c.id == row.id).values(**values).returning(studies)).one()
            if "limits" in values:
                events.record(connection, project, row.id, "limits_changed", limits=patch.limits)
        result = rows.study(connection, row)
    database.wake("result", row.id)
    return result


def _patched_limits(row: Row[Any], patch: dict[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(patch) - set(Limits.model_fields))
    if unknown:
        allowed = ", ".join(Limits.model_fields)
        raise InvalidSpec(errors=[FieldError(f"limits.{name}", f"no such limit; there are {allowed}") for name in unknown])
    if patch.get("target") is not None and len(row.objectives) != 1:
        raise InvalidSpec(errors=[FieldError("limits.target", "a study of several objectives has no target")])
    return Limits.parse(row.limits | patch).to_json()


def pause(database: Database, project: str, study: str | int) -> Study:
    """No new leases; running trials are told to save and hand back, so that their workers are free."""
    with database.begin() as connection:
        row = find(connection, project, study, lock=True)
        if row.state != StudyState.PAUSED:
            _require(row, StudyState.RUNNING, verb="paused")
            row = _set_state(connection, row, StudyState.PAUSED, "paused", paused_at=func.clock_timestamp())
            _lock_unfinished(connection, row.id)
            _set_verdicts(connection, row.id, "continue", "pause")
        result = rows.study(connection, row)
    database.wake("trials", row.id)
    return result


def resume(database: Database, project: str, study: str | int) -> Study:
    """Go on with a paused study, or with a stopped or complete one whose limits leave room for more trials."""
    with database.begin() as connection:
        row = find(connection, project, study, lock=True)
        if row.state == StudyState.RUNNING:
            return rows.study(connection, row)
        if row.state != StudyState.PAUSED:
            max_trials = row.limits.get("max_trials")
            if max_trials is not None and row.next_number >= max_trials:
                raise StudyNotRunning(
                    f"study {row.name!r} has made all of its {max_trials} trials; raise limits.max_trials, then resume"
                )
            if row.spec is None:
                raise StudyNotRunning(f"study {row.name!r} was made through Optuna, which runs it; it cannot be resumed here")
            if _has_whole_population(connection, row):
                raise StudyNotRunning(
                    f"study {row.name!r} has made its population, whose members have ended with it; submit another study"
                )
        row = _set_state(
            connection,
            row,
            StudyState.RUNNING,
            "resumed",
            reason=None,
            finished_at=None,
            paused_at=None,
            deadline=studies.c.deadline
            + (func.clock_timestamp() - func.coalesce(row.paused_at or row.finished_at, func.clock_timestamp())),
        )
        _lock_unfinished(connection, row.id)
        _set_verdicts(connection, row.id, "pause", "continue")
        reached = _limit_reached(connection, connection.execute(_DONE, {"study": row.id}).one())
        if reached is not None:
            raise StudyNotRunning(f"study {row.name!r} has reached its {reached}; change limits.{reached}, then resume")
        result = rows.study(connection, row)
    database.wake("result", row.id)
    database.wake("trials", row.id)
    return result


def _has_whole_population(connection: Connection, row: Row[Any]) -> bool:
    """Whether an ended study is a population that lacks no first member: there is nobody left to train."""
    pruner = json.loads(row.spec)["pruner"]
    if pruner["name"] != "population":
        return False
    made = connection.execute(
        text("SELECT count(*) FROM trials WHERE study_id = :study AND origin <> 'population'"), {"study": row.id}
    ).scalar_one()
    return bool(made >= pruner.get("size", populations.SIZE))


def stop(database: Database, project: str, study: str | int) -> Study:
    """No new trials; those that run, or ran and wait to go on, may end. Then the study is STOPPED."""
    with database.begin() as connection:
        row = find(connection, project, study, lock=True)
        if row.state != StudyState.STOPPING:
            _require(row, StudyState.RUNNING, StudyState.PAUSED, verb="stopped")
            row = _begin_stopping(connection, row, "stopped")
            finish_if_done(connection, row.id)
            row = find(connection, project, row.id)
        result = rows.study(connection, row)
    database.wake("result", row.id)
    database.wake("trials", row.id)
    return result


def cancel(database: Database, project: str, study: str | int) -> Study:
    """End the study now: waiting trials FAIL as cancelled, running ones are told to stop."""
    with database.begin() as connection:
        row = find(connection, project, study, lock=True)
        if not (row.state == StudyState.STOPPED and row.reason == "cancelled"):
            _require(row, StudyState.RUNNING, StudyState.PAUSED, StudyState.STOPPING, verb="cancelled")
            finish(connection, row.id, StudyState.STOPPED, "cancelled")
            row = find(connection, project, row.id)
        result = rows.study(connection, row)
    database.wake("result", row.id)
    database.wake("trials", row.id)
    return result


def delete(database: Database, project: str, study: str | int) -> None:
    """Remove a study and all that belongs to it; whoever holds a lease of it finds the lease lost."""
    with database.begin() as connection:
        row = find(connection, project, study, lock=True)
        connection.execute(studies.delete().where(studies.c.id == row.id))
    database.wake("trials", row.id)


def finish(connection: Connection, study_id: int, state: StudyState, reason: str) -> None:
    """End a study: what waits is cancelled, what runs is told to stop. Does nothing to a study that has ended."""
    row = connection.execute(select(studies).where(studies.c.id == study_id).with_for_update(key_share=True)).one_or_none()
    if row is None or row.state in _FINAL:
        return
    _set_state(connection, row, state, "finished", reason=reason, finished_at=func.clock_timestamp(), paused_at=None)
    _lock_unfinished(connection, study_id)
    _cancel_waiting(connection, study_id, started_too=True)
    connection.execute(
        text(
            "UPDATE trials SET verdict = 'stop', reason = 'cancelled' WHERE study_id = :study AND state = 'RUNNING' AND verdict <> 'stop'"
        ),
        {"study": study_id},
    )


def finish_if_done(connection: Connection, study_id: int) -> StudyState | None:
    """Hold a study against its limits, ending or stopping it where one is reached; the state it is in now.

    The one place that decides the end of a study; called by the search when something changed and by maintenance on a timer. Studies
    made through Optuna's storage have no spec and are never ended here.
    """
    row = connection.execute(_DONE, {"study": study_id}).one_or_none()
    if row is None:
        return None
    state = StudyState(row.state)
    if state in _FINAL or row.spec is None:
        return state
    limits = row.limits
    if state == StudyState.RUNNING:
        if limits.get("max_failed_trials") is not None and row.num_failed > limits["max_failed_trials"]:
            finish(connection, study_id, StudyState.FAIL, "max_failed_trials")
            return StudyState.FAIL
        reason = _limit_reached(connection, row)
        if reason is not None:
            locked = connection.execute(select(studies).where(studies.c.id == study_id).with_for_update(key_share=True)).one()
            if locked.state == StudyState.RUNNING:
                _begin_stopping(connection, locked, reason)
            row = connection.execute(_DONE, {"study": study_id}).one()
            state = StudyState(row.state)
    if row.busy or state == StudyState.PAUSED:
        return state
    if state == StudyState.STOPPING:
        final = StudyState.STOPPED if row.reason == "stopped" else StudyState.COMPLETE
        finish(connection, study_id, final, row.reason)
        return final
    if limits.get("max_trials") is not None and row.next_number >= limits["max_trials"]:
        finish(connection, study_id, StudyState.COMPLETE, "max_trials")
        return StudyState.COMPLETE
    return state


_DONE = text(
    """
    SELECT s.id, s.state, s.reason, s.spec, s.limits, s.next_number, s.objectives,
        s.deadline <= clock_timestamp() AS late,
        EXISTS (SELECT FROM trials t WHERE t.study_id = s.id AND t.state IN ('WAITING', 'RUNNING')) AS busy,
        CASE WHEN s.limits->>'max_failed_trials' IS NULL THEN 0 ELSE
            (SELECT count(*) FROM trials t WHERE t.study_id = s.id AND t.state = 'FAIL' AND t.reason IS DISTINCT FROM 'cancelled') END AS num_failed,
        CASE WHEN s.limits->>'max_gpu_seconds' IS NULL THEN 0 ELSE
            (SELECT coalesce(sum(t.gpu_seconds), 0) FROM trials t WHERE t.study_id = s.id) END AS gpu_seconds,
        CASE WHEN s.limits->>'target' IS NULL THEN NULL
            WHEN s.objectives->0->>'direction' = 'maximize'
            THEN (SELECT max(t.value) FROM trials t WHERE t.study_id = s.id AND t.state = 'COMPLETE')
            ELSE (SELECT min(t.value) FROM trials t WHERE t.study_id = s.id AND t.state = 'COMPLETE') END AS best
    FROM studies s WHERE s.id = :study
    """
)


def _limit_reached(connection: Connection, row: Row[Any]) -> str | None:
    """The limit for which no further trial may start, except max_trials, which needs no stopping."""
    limits = row.limits
    if row.late:
        return "timeout"
    if limits.get("max_gpu_seconds") is not None and row.gpu_seconds >= limits["max_gpu_seconds"]:
        return "max_gpu_seconds"
    target = limits.get("target")
    if target is not None and row.best is not None:
        maximize = row.objectives[0]["direction"] == "maximize"
        if (row.best >= target if maximize else row.best <= target) and repeats.confirm(connection, row, target):
            return "target"
    return None


def _begin_stopping(connection: Connection, row: Row[Any], reason: str) -> Row[Any]:
    row = _set_state(connection, row, StudyState.STOPPING, "stopping", reason=reason, paused_at=None)
    _lock_unfinished(connection, row.id)
    _cancel_waiting(connection, row.id, started_too=False)
    _set_verdicts(connection, row.id, "pause", "continue")
    return row


def _set_state(connection: Connection, row: Row[Any], state: StudyState, event: str, **values: Any) -> Row[Any]:
    changed = connection.execute(
        update(studies).where(studies.c.id == row.id).values(state=state, **values).returning(studies)
    ).one()
    events.record(connection, row.project, row.id, event, reason=changed.reason)
    return changed


def _lock_unfinished(connection: Connection, study_id: int) -> None:
    """Lock the trials that wait or run, in one order for all, and see what whoever held one of them has made of it."""
    connection.execute(
        text("SELECT FROM trials WHERE study_id = :study AND state IN ('WAITING', 'RUNNING') ORDER BY id FOR NO KEY UPDATE"),
        {"study": study_id},
    )


def _set_verdicts(connection: Connection, study_id: int, old: str, new: str) -> None:
    connection.execute(
        text(
            "UPDATE trials SET verdict = :new WHERE study_id = :study AND state = 'RUNNING' AND verdict = :old"
            " AND reason IS DISTINCT FROM 'paused_at_rung'"
        ),
        {"study": study_id, "old": old, "new": new},
    )


def _cancel_waiting(connection: Connection, study_id: int, *, started_too: bool) -> None:
    connection.execute(
        text(
            "UPDATE trials SET state = 'FAIL', reason = 'cancelled', finished_at = clock_timestamp()"
            " WHERE study_id = :study AND state = 'WAITING' AND (:started_too OR epoch = 0)"
        ),
        {"study": study_id, "started_too": started_too},
    )


def _require(row: Row[Any], *states: StudyState, verb: str) -> None:
    if row.state not in states:
        because = f" ({row.reason})" if row.reason else ""
        raise StudyNotRunning(f"study {row.name!r} is {row.state}{because} and cannot be {verb}")
