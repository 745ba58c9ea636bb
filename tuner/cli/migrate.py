"""`tuner migrate`: bring the database's schema to this version's."""

from __future__ import annotations

from tuner.cli.output import say
from tuner.errors import InvalidValue
from tuner.settings import Settings


def migrate() -> None:
    """Bring the database that TUNER_DATABASE_URL names to this version's schema (`tuner up` does so by itself)."""
    from tuner.db import postgres

    settings = Settings.from_environment()
    if settings.database_url is None:
        raise InvalidValue(
            "TUNER_DATABASE_URL: set it to postgresql://user:password@host/database; the embedded database migrates itself"
        )
    postgres.migrate(settings.database_url)
    say("the database has this version's schema")
