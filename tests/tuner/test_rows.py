"""Rows as clients see them, where rows have gone meanwhile."""

from __future__ import annotations

import pytest

from tests.tuner.specs import external
from tuner import rows, studies
from tuner.db.postgres import Database
from tuner.errors import StudyNotFound


def test_study_deleted_between_two_reads(database: Database) -> None:
    kept, gone = (studies.create(database, "default", external(name))[0] for name in ("kept", "gone"))
    with database.read() as connection:
        found = [studies.find(connection, "default", study.id) for study in (kept, gone)]
        studies.delete(database, "default", gone.id)
        assert [study.id for study in rows.studies(connection, found)] == [kept.id]
        with pytest.raises(StudyNotFound, match="'gone' has been deleted"):
            rows.study(connection, found[1])
