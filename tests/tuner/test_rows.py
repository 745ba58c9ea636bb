"""Rows as clients see them, where rows have gone meanwhile."""

from __future__ import annotations

import pytest

from tests.tuner.specs import external
from tuner import rows, studies, trials, views
from tuner.db.postgres import Database
from tuner.errors import StudyNotFound
from tuner.wire import TrialCreate, TrialState


def test_study_deleted_between_two_reads(database: Database) -> None:
    kept, gone = (studies.create(database, "default", external(name))[0] for name in ("kept", "gone"))
    with database.read() as connection:
        found = [studies.find(connection, "default", study.id) for study in (kept, gone)]
        studies.delete(database, "default", gone.id)
        assert [study.id for study in rows.studies(connection, found)] == [kept.id]
        with pytest.raises(StudyNotFound, match="'gone' has been deleted"):
            rows.study(connection, found[1])


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_of_equal_trials_the_first_is_the_best_everywhere(database: Database, direction: str) -> None:
    studies.create(database, "default", external(objectives=[{"name": "score", "direction": direction}]))
    for _ in range(8):
        trials.create(database, "default", "s", TrialCreate(params={"x": 0.5}, state=TrialState.COMPLETE, values={"score": 1.0}))
    assert views.get_study(database, "default", "s").best_trial == 0
    assert [trial.number for trial in views.best(database, "default", "s")] == [0]
