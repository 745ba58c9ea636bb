"""Checkpoints: files in a store, rows in the database. A checkpoint is whole or invisible.

Received by the store (`tuner.stores`), hashed on the way, and only then entered in the database under the fence of the lease that sent
it. Names are made here; nothing a client sends becomes part of one. The bytes are opaque: never unpacked, never unpickled. The admitted
weakness: what is served is read twice, to know that it is whole before its first byte leaves.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, suppress
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, Row, insert, select, text

from tuner import leases, repeats, studies, trials
from tuner.db.postgres import Database
from tuner.db.tables import checkpoints
from tuner.db.tables import trials as trial_table
from tuner.errors import CheckpointNotFound, FieldError, InvalidValue, TunerError
from tuner.settings import Settings
from tuner.spec import Checkpoints
from tuner.stores import Readable, hash_rest, open_store
from tuner.studies import StudyFacts
from tuner.wire import Checkpoint

_log = logging.getLogger(__name__)


class ArtifactStore:
    """A deployment's checkpoints, in `files`."""

    def __init__(self, settings: Settings) -> None:
        self.files = open_store(settings.artifacts_location)
        self._max_bytes = settings.max_checkpoint_bytes

    def receive(
        self, database: Database, project: str, lease_id: str, step: int, sha256: str, chunks: Iterator[bytes]
    ) -> Checkpoint:
        """Store what a lease holder sends. InvalidValue when it is not what the hash says; LeaseLost keeps nothing."""
        if not re.fullmatch(r"[0-9a-f]{64}", sha256):
            raise InvalidValue(
                errors=[FieldError("X-Content-SHA256", "must be the SHA-256 of the body, 64 lower-case hex digits")]
            )
        if not 0 <= step < 2**53:
            raise InvalidValue(errors=[FieldError("step", "must be an integer from 0 to 2^53")])
        with database.begin() as connection:
            leases.pass_fence(connection, project, lease_id)  # refuse the stale holder before its gigabytes come
        checkpoint_id = uuid4()
        name = _name(checkpoint_id)
        size = self.files.write(name, chunks, sha256, self._max_bytes)
        try:
            with database.begin() as connection:
                row = leases.pass_fence(connection, project, lease_id)
                # The same step again in the same attempt: the later one counts.
                same = (checkpoints.c.trial_id == row.trial_id, checkpoints.c.step == step, checkpoints.c.epoch == row.epoch)
                dropped = list(connection.execute(checkpoints.delete().where(*same).returning(checkpoints.c.id)).scalars())
                stored = connection.execute(
                    insert(checkpoints)
                    .values(
                        id=checkpoint_id,
                        project=project,
                        trial_id=row.trial_id,
                        step=step,
                        epoch=row.epoch,
                        size=size,
                        sha256=sha256,
                    )
                    .returning(checkpoints)
                ).one()
                dropped += _thin(connection, studies.get_facts(database, connection, row.study_id), row.trial_id)
        except BaseException:
            self._remove([name])
            raise
        # Now, not at the next sweep: an hour of a large model's checkpoints fills a disk. A crash before this leaves them to the sweep.
        self._remove(_name(old) for old in dropped)
        return Checkpoint.model_validate(dict(stored._mapping))

    def open_latest(self, database: Database, project: str, trial_id: int) -> tuple[Checkpoint, Readable]:
        """The newest checkpoint whose file is whole, and that file; an older one where the newest is damaged."""
        return self._open(database, project, trial_id, "no checkpoint", "ORDER BY epoch DESC, step DESC")

    def open_step(self, database: Database, project: str, trial_id: int, step: int) -> tuple[Checkpoint, Readable]:
        """The checkpoint of a step, of the last attempt that left one which is whole."""
        return self._open(
            database, project, trial_id, f"no checkpoint of step {step}", "WHERE step = :step ORDER BY epoch DESC", step=step
        )

    def open_best(self, database: Database, project: str, trial_id: int) -> tuple[Checkpoint, Readable]:
        """Of those that are whole the one at whose step the best value of the first objective was reported; the newer of equals."""
        missing = "no checkpoint at whose step a value of the first objective was reported"
        return self._open(
            database, project, trial_id, missing, "WHERE score IS NOT NULL ORDER BY score DESC, epoch DESC, step DESC"
        )

    def _open(
        self, database: Database, project: str, trial_id: int, missing: str, which: str, **parameters: int
    ) -> tuple[Checkpoint, Readable]:
        with database.read() as connection:
            trial = trials.find(connection, project, trial_id)
            facts = studies.get_facts(database, connection, trial.study_id)
            query = text(f"SELECT * FROM ({_SCORED}) scored {which}")
            found = connection.execute(query, {"trial": trial_id} | _scored_by(facts) | parameters).all()
        for row in found:
            if (file := self._open_whole(row)) is not None:
                return Checkpoint.model_validate({field: row._mapping[field] for field in Checkpoint.model_fields}), file
        if found:
            raise CheckpointNotFound(
                f"trial {trial_id} has {len(found)} such checkpoints, but their files are missing or damaged"
            )
        raise CheckpointNotFound(f"trial {trial_id} has {missing}")

    def _open_whole(self, row: Row[Any]) -> Readable | None:
        """A checkpoint's file, unless it is missing or damaged."""
        with suppress(OSError), ExitStack() as opened:
            file = opened.enter_context(closing(self.files.open(_name(row.id))))
            if hash_rest(file) == row.sha256:
                file.seek(0)
                opened.pop_all()
                return file
        return None

    def retain(self, database: Database) -> int:
        """Drop the checkpoints of finished trials that are not among the `keep_trials` best of their study, and those which members
        of a population kept for others that may have copied them; how many.

        Where trials are repeated, the first is that of the best configuration, though its value may not be among the best.

        Trials that wait keep theirs, also those that a pruner has paused: they go on from them.
        """
        dropped: list[UUID] = []
        with database.read() as connection:
            candidates = list(connection.execute(_LIMITED).scalars())
            members = connection.execute(_ENDED_MEMBERS).all()
        for member in members:
            with database.begin() as connection:
                dropped += _thin(connection, studies.get_facts(database, connection, member.study_id), member.id)
        for study_id in candidates:
            with database.begin() as connection:
                facts = studies.get_facts(database, connection, study_id)
                keep = _rules(facts).keep_trials
                if keep is not None:
                    if facts.interval is not None:
                        connection.execute(_LOCK_OF_STUDY, {"study": study_id})
                    raced = repeats.best(connection, studies.find(connection, facts.project, study_id))
                    best = None if raced is None else raced.trial
                    parameters = {"study": study_id, "keep": keep, "sign": _sign(facts), "best": best}
                    dropped += connection.execute(_RETAIN_OF_STUDY, parameters).scalars()
        self._remove(map(_name, dropped))
        return len(dropped)

    def delete_study(self, database: Database, project: str, study: str | int) -> None:
        """Delete a study, and the files of its checkpoints with it; one that arrives in this very moment is left to the sweep."""
        with database.read() as connection:
            row = studies.find(connection, project, study)
            query = select(checkpoints.c.id).join(trial_table).where(trial_table.c.study_id == row.id)
            names = [_name(checkpoint) for checkpoint in connection.execute(query).scalars()]
        studies.delete(database, project, row.id)
        self._remove(names)

    def sweep(self, database: Database, min_age: float = 3600.0) -> int:
        """Remove files that no row names, once older than `min_age` seconds; how many.

        Files are listed before rows are read: what comes in meanwhile has a row, or is young. Files of other kinds are left alone.
        """
        listed = {name: found[1] for name in self.files.list() if (found := _NAME.match(name))}
        with database.read() as connection:
            now = float(connection.execute(text("SELECT extract(epoch FROM clock_timestamp())::float")).scalar_one())
            known = {str(row) for row in connection.execute(select(checkpoints.c.id)).scalars()}
        orphans = [name for name, checkpoint in listed.items() if checkpoint not in known or name.endswith(".part")]
        removed = []
        for name in orphans:
            with suppress(FileNotFoundError):
                if now - self.files.get_time(name) > min_age:
                    removed.append(name)
        self.files.delete(removed)
        return len(removed)

    def _remove(self, names: Iterable[str]) -> None:
        """Without fail: what stays is for the sweep."""
        try:
            self.files.delete(names)
        except (OSError, TunerError) as error:
            _log.warning("checkpoints that are not wanted any more stay until the next sweep: %s", error)


def _thin(connection: Connection, facts: StudyFacts, trial_id: int) -> list[UUID]:
    """Drop the rows of a trial's checkpoints that its study's rules do not keep, and return their ids."""
    rules = _rules(facts)
    kept = {"trial": trial_id, "keep": rules.keep, "keep_best": rules.keep_best} | _scored_by(facts)
    if facts.interval is None:
        return list(connection.execute(_RETAIN, kept).scalars())
    # A statement of its own: the next one must see the copies that whoever held these rows has made.
    connection.execute(_LOCK, {"trial": trial_id})
    kept |= {"study": facts.id, "interval": facts.interval}
    return list(connection.execute(_RETAIN_OF_MEMBER, kept).scalars())


def _name(checkpoint: UUID) -> str:
    return f"{str(checkpoint)[:2]}/{checkpoint}.tar"


_NAME = re.compile(r"[0-9a-f]{2}/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.")


def _rules(facts: StudyFacts) -> Checkpoints:
    return Checkpoints.model_validate(facts.config.get("checkpoints") or {})


def _sign(facts: StudyFacts) -> int:
    """What turns values of the first objective into scores, of which the greatest is the best."""
    return 1 if facts.directions[:1] == ("maximize",) else -1


def _scored_by(facts: StudyFacts) -> dict[str, object]:
    return {"metric": facts.objectives[0] if facts.objectives else None, "sign": _sign(facts)}


_SCORED = """
    SELECT p.*, CASE WHEN jsonb_typeof(r.metrics->CAST(:metric AS text)) = 'number'
        THEN (r.metrics->>CAST(:metric AS text))::float * :sign END AS score
    FROM checkpoints p LEFT JOIN reports r ON r.trial_id = p.trial_id AND r.step = p.step
    WHERE p.trial_id = :trial
"""
"""A trial's checkpoints with what was reported at their step. A report may come after its checkpoint, but before the next one."""

_KEPT = f"""
    DELETE FROM checkpoints WHERE id IN (
        SELECT id FROM (
            SELECT id, step, score, row_number() OVER (ORDER BY epoch DESC, step DESC) AS age,
                row_number() OVER (ORDER BY score DESC NULLS LAST, epoch DESC, step DESC) AS place{{columns}}
            FROM ({_SCORED}) scored
        ) ranked WHERE age > :keep AND NOT (:keep_best AND place = 1 AND score IS NOT NULL){{besides}}
    ) RETURNING id
    """
_RETAIN = text(_KEPT.format(columns="", besides=""))
"""Never the newest. The attempt that sends a checkpoint needs the one it resumed from no more."""
_COPIED = """EXISTS (SELECT FROM trials c WHERE c.source = {checkpoint} AND c.state IN ('WAITING', 'RUNNING')
                AND NOT EXISTS (SELECT FROM checkpoints n WHERE n.trial_id = c.id))"""
_RETAIN_OF_MEMBER = text(
    _KEPT.format(
        columns=", (step + 1) / :interval * :interval - 1 AS boundary,"
        " row_number() OVER (PARTITION BY (step + 1) / :interval ORDER BY step, epoch DESC) AS nth",
        besides=f"""
            AND NOT {_COPIED.format(checkpoint="ranked.id")}
            AND NOT (nth = 1 AND boundary > 0 AND EXISTS (
                SELECT FROM trials o LEFT JOIN checkpoints b ON b.id = o.source
                WHERE o.study_id = :study AND o.id <> :trial AND o.state IN ('WAITING', 'RUNNING') AND coalesce(b.step, -1) < boundary
                    AND NOT EXISTS (SELECT FROM reports r WHERE r.trial_id = o.id AND r.step > boundary)))""",
    )
)
"""And none that a trial without one of its own goes on from, nor the first at or after a boundary that another member has yet to pass: it may have to copy this one."""
# In one order, for several may lock the same checkpoints: who sends one, and each replica's maintenance.
_LOCK = text("SELECT FROM checkpoints WHERE trial_id = :trial ORDER BY id FOR UPDATE")
_LOCK_OF_STUDY = text(
    "SELECT FROM checkpoints p JOIN trials t ON t.id = p.trial_id WHERE t.study_id = :study ORDER BY p.id FOR UPDATE OF p"
)
# Of studies that ended long ago nothing is left to drop; with `keep_best` a member may have more than `keep` for good.
_ENDED_MEMBERS = text(
    """
    SELECT t.id, t.study_id FROM studies s JOIN trials t ON t.study_id = s.id JOIN checkpoints p ON p.trial_id = t.id
    WHERE s.strategy->'pruner'->>'name' = 'population' AND t.state IN ('COMPLETE', 'PRUNED', 'FAIL')
        AND (s.finished_at IS NULL OR s.finished_at > clock_timestamp() - interval '1 day')
    GROUP BY t.id, s.spec HAVING count(*) > coalesce((s.spec::json->'trial'->'checkpoints'->>'keep')::int, 2)
    """
)

# Looking for the word first spares reading the specs of all the other studies.
_LIMITED = text(
    """
    SELECT s.id FROM studies s WHERE s.spec LIKE '%"keep_trials"%' AND EXISTS (
        SELECT FROM trials t JOIN checkpoints p ON p.trial_id = t.id
        WHERE t.study_id = s.id AND t.state IN ('COMPLETE', 'PRUNED', 'FAIL'))
    """
)
_RETAIN_OF_STUDY = text(
    """
    DELETE FROM checkpoints p USING trials t
    WHERE p.trial_id = t.id AND t.study_id = :study AND t.state IN ('COMPLETE', 'PRUNED', 'FAIL') AND t.id NOT IN (
        SELECT b.id FROM trials b WHERE b.study_id = :study AND b.state = 'COMPLETE' AND b.value IS NOT NULL
        ORDER BY (b.number = coalesce(CAST(:best AS int), -1)) DESC, b.value * :sign DESC, b.number LIMIT :keep)
        AND NOT """
    + _COPIED.format(checkpoint="p.id")
    + """
    RETURNING p.id
    """
)
