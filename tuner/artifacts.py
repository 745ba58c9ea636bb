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

from sqlalchemy import Row, insert, select, text

from tuner import leases, trials
from tuner.db.postgres import Database
from tuner.db.tables import checkpoints
from tuner.errors import CheckpointNotFound, FieldError, InvalidValue, TunerError
from tuner.settings import Settings
from tuner.stores import Readable, hash_rest, open_store
from tuner.wire import Checkpoint

_log = logging.getLogger(__name__)
KEPT = 2
"""Checkpoints kept of one trial: the newest, and the one before it in case the newest cannot be read."""


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
                dropped += connection.execute(_RETAIN, {"trial": row.trial_id, "kept": KEPT}).scalars()
        except BaseException:
            self._remove([name])
            raise
        # Now, not at the next sweep: an hour of a large model's checkpoints fills a disk. A crash before this leaves them to the sweep.
        self._remove(_name(old) for old in dropped)
        return Checkpoint.model_validate(dict(stored._mapping))

    def open_latest(self, database: Database, project: str, trial_id: int) -> tuple[Checkpoint, Readable]:
        """The newest checkpoint whose file is whole, and that file; an older one where the newest is damaged."""
        with database.read() as connection:
            trials.find(connection, project, trial_id)
            query = select(checkpoints).where(checkpoints.c.trial_id == trial_id)
            found = connection.execute(query.order_by(checkpoints.c.epoch.desc(), checkpoints.c.step.desc())).all()
        for row in found:
            if (file := self._open_whole(row)) is not None:
                return Checkpoint.model_validate(dict(row._mapping)), file
        if found:
            raise CheckpointNotFound(f"trial {trial_id} has {len(found)} checkpoints, but their files are missing or damaged")
        raise CheckpointNotFound(f"trial {trial_id} has no checkpoint")

    def _open_whole(self, row: Row[Any]) -> Readable | None:
        """A checkpoint's file, unless it is missing or damaged."""
        with suppress(OSError), ExitStack() as opened:
            file = opened.enter_context(closing(self.files.open(_name(row.id))))
            if hash_rest(file) == row.sha256:
                file.seek(0)
                opened.pop_all()
                return file
        return None

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


def _name(checkpoint: UUID) -> str:
    return f"{str(checkpoint)[:2]}/{checkpoint}.tar"


_NAME = re.compile(r"[0-9a-f]{2}/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.")
_RETAIN = text(
    """
    DELETE FROM checkpoints WHERE id IN (
        SELECT id FROM checkpoints WHERE trial_id = :trial ORDER BY epoch DESC, step DESC OFFSET :kept
    ) RETURNING id
    """
)
