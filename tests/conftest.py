"""The database of the tests: one embedded PostgreSQL a machine, a migrated template, one database a test process, emptied between tests.

The server runs with fsync off, so nothing here says anything about durability; the acceptance tests use a server as users have it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from sqlalchemy import text

from tuner.db import postgres
from tuner.db.postgres import Database
from tuner.db.tables import metadata
from tuner.settings import Settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.buckets import Bucket, Endpoint

os.environ["TUNER_ALLOW_UNSAFE_DATABASE"] = "1"
# Optuna's gRPC proxy sends params as a protobuf map, in which the C implementation mixes the order up, differently in each process and
# whatever the storage behind it; the one in Python keeps it, as Optuna's storage suite demands. Here, since protobuf reads it once, when
# it is first imported, and any test module may be the first.
os.environ["PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"] = "python"


CHROMIUM = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a server's maintenance database; the server lives as long as the session."""
    data = Path(tempfile.mkdtemp(prefix="tuner-tests-"))
    data.chmod(0o755)
    os.environ.setdefault("XDG_RUNTIME_DIR", str(data))
    folder = data / "postgres"
    folder.mkdir()
    url = postgres.start_embedded(data)
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        for setting in ("fsync = off", "full_page_writes = off", "synchronous_commit = off"):
            connection.execute(f"ALTER SYSTEM SET {setting}")
        connection.execute("SELECT pg_reload_conf()")
    yield url
    postgres.stop_embedded(data)
    shutil.rmtree(data, ignore_errors=True)


@pytest.fixture(scope="session")
def database_url(postgres_url: str) -> str:
    """URL of a migrated database of this test process."""
    postgres.migrate(postgres_url)
    return postgres_url


@pytest.fixture(scope="session")
def _database(database_url: str) -> Iterator[Database]:
    database = Database.open(Settings(database_url=database_url, pool_size=80))
    yield database
    database.close()


def emptied(database: Database) -> Database:
    """The database with nothing but the project "default"."""
    with database.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())
        connection.execute(text("INSERT INTO projects (name) VALUES ('default')"))
    return database


@pytest.fixture
def database(_database: Database) -> Database:
    """An empty database with the project "default"."""
    return emptied(_database)


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[Endpoint]:
    from tests.buckets import Endpoint  # its libraries take a second, which most tests need not wait for

    endpoint = Endpoint()
    yield endpoint
    endpoint.stop()


@pytest.fixture
def bucket(s3_endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """An empty bucket, and an environment in which drivers find it."""
    from tests.buckets import ENVIRONMENT, Bucket

    for name, value in (ENVIRONMENT | {"AWS_ENDPOINT_URL": s3_endpoint.url}).items():
        monkeypatch.setenv(name, value)
    yield Bucket(s3_endpoint)
    s3_endpoint.start()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The system's Chromium, one a test process: Playwright starts only once in a thread."""
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    from playwright.sync_api import sync_playwright  # takes a while, which most tests need not wait for

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=executable, args=CHROMIUM)
        yield launched
        launched.close()
