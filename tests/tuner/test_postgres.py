"""Failures of the way to the database are one sentence, whoever notices them."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.pool import QueuePool

from tuner.db.postgres import Database
from tuner.errors import DatabaseUnavailable


def test_no_free_connection_is_a_busy_database(database: Database) -> None:
    small = Database(database.url, pool_size=1)
    assert isinstance(small.engine.pool, QueuePool)
    small.engine.pool._timeout = 0.05
    try:
        with small.begin() as connection:
            connection.execute(text("SELECT 1"))
            with pytest.raises(DatabaseUnavailable, match="busy: no free connection"), small.read():
                pass
    finally:
        small.close()
