"""Checkpoints: bytes in a folder, rows in the database. A checkpoint is whole or invisible.

Received to a temporary file, hashed, flushed, renamed, its folder flushed, and only then entered in the database under the fence of the
lease that sent it. Names are made here; nothing a client sends becomes part of a path. The bytes are opaque: never unpacked, never
unpickled. The admitted weakness: a folder must be shared by all replicas of the server.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

from sqlalchemy import insert, select, text

from tuner import leases, trials
from tuner.db.postgres import Database
from tuner.db.tables import checkpoints
from tuner.errors import CheckpointNotFound, FieldError, InvalidValue, StorageFull
from tuner.settings import Settings
from tuner.wire import Checkpoint

KEPT = 2
"""Checkpoints kept of one trial: the newest, and the one before it in case the newest cannot be read."""


class ArtifactStore:
    """The folder of a deployment's checkpoints."""

    def __init__(self, settings: Settings) -> None:
        self._folder = settings.artifacts
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
        path = self._path(checkpoint_id)
        try:
            size = self._write(path, sha256, chunks)
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
            path.unlink(missing_ok=True)
            raise
        # Now, not at the next sweep: an hour of a large model's checkpoints fills a disk. A crash before this leaves them to the sweep.
        for old in dropped:
            self._path(old).unlink(missing_ok=True)
        return Checkpoint.model_validate(dict(stored._mapping))

    def open_latest(self, database: Database, project: str, trial_id: int) -> tuple[Checkpoint, Path]:
        """The newest checkpoint whose file is whole; an older one where the newest is damaged."""
        with database.read() as connection:
            trials.find(connection, project, trial_id)
            query = select(checkpoints).where(checkpoints.c.trial_id == trial_id)
            found = connection.execute(query.order_by(checkpoints.c.epoch.desc(), checkpoints.c.step.desc())).all()
        for row in found:
            path = self._path(row.id)
            if path.is_file() and _hash_file(path) == row.sha256:
                return Checkpoint.model_validate(dict(row._mapping)), path
        if found:
            raise CheckpointNotFound(f"trial {trial_id} has {len(found)} checkpoints, but their files are missing or damaged")
        raise CheckpointNotFound(f"trial {trial_id} has no checkpoint")

    def sweep(self, database: Database, min_age: float = 3600.0) -> int:
        """Remove files that no row names, once older than `min_age` seconds; how many."""
        if not self._folder.is_dir():
            return 0
        with database.read() as connection:
            now = float(connection.execute(text("SELECT extract(epoch FROM clock_timestamp())::float")).scalar_one())
            known = {str(row) for row in connection.execute(select(checkpoints.c.id)).scalars()}
        removed = 0
        for path in self._folder.glob("*/*"):
            if path.stem not in known and now - path.stat().st_mtime > min_age:
                path.unlink(missing_ok=True)
                removed += 1
        return removed

    def _path(self, checkpoint_id: UUID) -> Path:
        name = str(checkpoint_id)
        return self._folder / name[:2] / f"{name}.tar"

    def _write(self, path: Path, sha256: str, chunks: Iterator[bytes]) -> int:
        partial = path.with_suffix(".part")
        digest, size = hashlib.sha256(), 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as stream:
                for chunk in chunks:
                    size += len(chunk)
                    if size > self._max_bytes:
                        raise InvalidValue(f"the checkpoint is larger than the {self._max_bytes} bytes this server accepts")
                    digest.update(chunk)
                    stream.write(chunk)
                stream.flush()
                os.fsync(stream.fileno())
            if digest.hexdigest() != sha256:
                raise InvalidValue(
                    f"the body's SHA-256 is {digest.hexdigest()}, not {sha256} as X-Content-SHA256 says; nothing was kept"
                )
            partial.rename(path)
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StorageFull("the artifact folder's disk is full; nothing of this checkpoint was kept") from error
            raise
        finally:
            partial.unlink(missing_ok=True)
        return size


def _hash_file(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


_RETAIN = text(
    """
    DELETE FROM checkpoints WHERE id IN (
        SELECT id FROM checkpoints WHERE trial_id = :trial ORDER BY epoch DESC, step DESC OFFSET :kept
    ) RETURNING id
    """
)
