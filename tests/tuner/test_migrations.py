"""The chain of migrations makes exactly the declared tables, and wrong databases are refused in one sentence."""

from __future__ import annotations

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from tuner.db import postgres
from tuner.db.postgres import Database
from tuner.db.tables import metadata
from tuner.errors import DatabaseUnavailable, InvalidValue
from tuner.settings import Settings


@pytest.fixture
def empty_url(postgres_url: str) -> str:
    """URL of a database without tables."""
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS empty WITH (FORCE)")
        connection.execute("CREATE DATABASE empty")
    return postgres_url.replace("/tuner?", "/empty?")


def test_chain_equals_tables(empty_url: str) -> None:
    postgres.migrate(empty_url)
    database = Database(empty_url)
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
        unlogged = (
            connection.execute(text("SELECT relname FROM pg_class WHERE relpersistence = 'u' AND relkind = 'r'")).scalars().all()
        )
        assert unlogged == ["demands"]
    database.close()


def test_unmigrated_database_is_refused(empty_url: str) -> None:
    with pytest.raises(DatabaseUnavailable, match="run `tuner migrate`"):
        Database.open(Settings(database_url=empty_url))


def test_newer_schema_is_refused(empty_url: str) -> None:
    postgres.migrate(empty_url)
    with psycopg.connect(empty_url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(DatabaseUnavailable, match="newer"):
        Database.open(Settings(database_url=empty_url))
    with pytest.raises(DatabaseUnavailable, match="newer"):
        postgres.migrate(empty_url)


def test_url_without_server_is_one_sentence() -> None:
    with pytest.raises(DatabaseUnavailable) as caught:
        Database.open(Settings(database_url="postgresql://nobody@127.0.0.1:1/none"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("url", ["sqlite:///x.db", "not a url", "mysql://h/d"])
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(InvalidValue, match="TUNER_DATABASE_URL"):
        Database.open(Settings(database_url=url))


def test_unsafe_database_is_refused(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TUNER_ALLOW_UNSAFE_DATABASE")
    with pytest.raises(DatabaseUnavailable, match="fsync=off"):
        Database.open(Settings(database_url=database_url))
