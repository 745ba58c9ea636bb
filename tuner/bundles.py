"""Bundles, the code that comes with studies: files in the store, named by their hash; rows in the database.

A project uploads a bundle once; its studies name it, workers fetch it. One that no study names any more goes a day after it last came.
The bytes are opaque here: made by `tuner.packing`, looked into by workers alone, who trust them no more than they trust the server.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress

from sqlalchemy import Connection, func, select, text
from sqlalchemy.dialects.postgresql import insert

from tuner.db.postgres import Database
from tuner.db.tables import bundles
from tuner.errors import BundleNotFound, FieldError, InvalidValue, Unavailable
from tuner.settings import Settings
from tuner.stores import Readable, Store, hash_rest
from tuner.wire import Bundle

UNUSED = 86_400.0
"""Seconds that a bundle stays which no study names: from its upload to the study's submission, and from one study to the next."""


class BundleStore:
    """A deployment's bundles, in `files`."""

    def __init__(self, files: Store, settings: Settings) -> None:
        self._files = files
        self._max_bytes = settings.max_bundle_bytes

    def receive(self, database: Database, project: str, sha256: str, chunks: Iterator[bytes]) -> Bundle:
        """Store a bundle; the same again is the same bundle. InvalidValue when it is not what its name says, or too large."""
        if not _SHA256.fullmatch(sha256):
            raise InvalidValue(errors=[FieldError("sha256", "must be the SHA-256 of the body, 64 lower-case hex digits")])
        name = _name(project, sha256)
        size = self._files.write(name, chunks, sha256, self._max_bytes)
        values = {"project": project, "sha256": sha256, "size": size}
        with database.begin() as connection:
            _lock(connection, name)
            row = connection.execute(
                insert(bundles)
                .values(**values)
                .on_conflict_do_update(index_elements=["project", "sha256"], set_={"created_at": func.clock_timestamp()})
                .returning(bundles)
            ).one()
            with suppress(FileNotFoundError):
                self._files.get_time(name)
                return Bundle.model_validate(dict(row._mapping))
            raise Unavailable("the bundle was removed in the moment it came; send it again")

    def open(self, database: Database, project: str, sha256: str) -> tuple[Bundle, Readable]:
        """A bundle and its file, which is whole. BundleNotFound."""
        row = None
        if _SHA256.fullmatch(sha256):
            with database.read() as connection:
                query = select(bundles).where(bundles.c.project == project, bundles.c.sha256 == sha256)
                row = connection.execute(query).one_or_none()
        if row is None:
            raise BundleNotFound(f"no bundle {sha256[:64]!r} in project {project!r}")
        with suppress(FileNotFoundError), ExitStack() as opened:
            file = opened.enter_context(closing(self._files.open(_name(project, sha256))))
            if hash_rest(file) == sha256:
                file.seek(0)
                opened.pop_all()
                return Bundle.model_validate(dict(row._mapping)), file
        raise BundleNotFound(f"the file of the bundle {sha256} is missing or damaged; submit its study again with --context")

    def expire(self, database: Database, min_age: float = UNUSED) -> int:
        """Remove bundles that no study names, and files that no bundle has, once older than `min_age` seconds; how many."""
        with database.read() as connection:
            unused = connection.execute(_UNUSED, {"age": min_age}).all()
        removed = sum(self._remove(database, row.project, row.sha256, min_age) for row in unused)
        for name, sha256 in [(name, match[1]) for name in self._files.list() if (match := _NAME.match(name))]:
            removed += self._sweep(database, name, sha256, min_age)
        return removed

    def _remove(self, database: Database, project: str, sha256: str, min_age: float) -> bool:
        parameters = {"project": project, "sha256": sha256, "age": min_age}
        with database.begin() as connection:
            _lock(connection, _name(project, sha256))
            # A study that is being made with it holds the row. One that was made meanwhile is seen by the next statement.
            connection.execute(_HOLD, parameters)
            if connection.execute(_DELETE, parameters).rowcount == 0:
                return False
            self._files.delete([_name(project, sha256)])
            return True

    def _sweep(self, database: Database, name: str, sha256: str, min_age: float) -> bool:
        """Remove what an upload has left that was cut off."""
        with database.begin() as connection:
            _lock(connection, name)
            now = float(connection.execute(text("SELECT extract(epoch FROM clock_timestamp())::float")).scalar_one())
            projects = connection.execute(select(bundles.c.project).where(bundles.c.sha256 == sha256)).scalars()
            if any(name == _name(project, sha256) for project in projects):
                return False
            with suppress(FileNotFoundError):
                if now - self._files.get_time(name) > min_age:
                    self._files.delete([name])
                    return True
            return False


def _name(project: str, sha256: str) -> str:
    """Projects do not share files, so that one cannot find out what another has."""
    return f"bundles/{hashlib.sha256(project.encode()).hexdigest()[:16]}/{sha256}.tar.gz"


def _lock(connection: Connection, name: str) -> None:
    """A file and its row come and go together."""
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": name})


_SHA256 = re.compile("[0-9a-f]{64}")
_NAME = re.compile(r"bundles/[0-9a-f]{16}/([0-9a-f]{64})\.tar\.gz")
_IS_UNUSED = """
    b.created_at < clock_timestamp() - :age * interval '1 second'
    AND NOT EXISTS (SELECT FROM studies s WHERE s.project = b.project AND s.bundle = b.sha256)
"""
_UNUSED = text("SELECT b.project, b.sha256 FROM bundles b WHERE " + _IS_UNUSED)
_HOLD = text("SELECT FROM bundles WHERE project = :project AND sha256 = :sha256 FOR UPDATE")
_DELETE = text("DELETE FROM bundles b WHERE b.project = :project AND b.sha256 = :sha256 AND " + _IS_UNUSED)
