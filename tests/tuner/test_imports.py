"""Import of Optuna studies: everything comes over, again changes nothing, and what is wrong is said in one sentence."""

from __future__ import annotations

import math
import sqlite3
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from tests.tuner.specs import external
from tests.tuner.test_optuna_storage import comparable, objective
from tuner import studies, views
from tuner.db.postgres import Database
from tuner.errors import InvalidValue, StudyExists, StudyNotFound
from tuner.imports import import_optuna
from tuner.optuna_storage import PostgresStorage


@pytest.fixture
def source(tmp_path: Path) -> str:
    """A database with two studies, "one" with trials in each state."""
    url = f"sqlite:///{tmp_path}/optuna.db"
    study = optuna.create_study(study_name="one", storage=url, sampler=optuna.samplers.RandomSampler(seed=1))
    study.set_user_attr("nan", math.nan)
    study.set_metric_names(["loss"])
    study.optimize(objective, n_trials=8)
    study.tell(study.ask(), state=optuna.trial.TrialState.FAIL)
    study.add_trial(optuna.create_trial(value=math.inf, intermediate_values={3: math.nan, 1: -math.inf}))
    study.ask().report(1.0, 0)
    study.enqueue_trial({"x": 1.0})
    optuna.create_study(study_name="two", storage=url, directions=["minimize", "maximize"]).add_trial(
        optuna.create_trial(values=[1.0, 2.0])
    )
    return url


pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


def assert_equal(database: Database, url: str, name: str) -> None:
    original = optuna.load_study(study_name=name, storage=url)
    copied = optuna.load_study(study_name=name, storage=PostgresStorage(database))
    assert [str(comparable(trial)) for trial in copied.trials] == [str(comparable(trial)) for trial in original.trials]
    assert str(copied.user_attrs) == str(original.user_attrs)
    assert copied.directions == original.directions
    assert copied.metric_names == original.metric_names


def test_everything_comes_over(database: Database, source: str) -> None:
    imported = import_optuna(database, "default", source)
    assert [study.name for study in imported] == ["one", "two"]
    assert imported[0].counts.model_dump() == {
        "waiting": 1,
        "running": 1,
        "complete": 9 - imported[0].counts.pruned,
        "pruned": imported[0].counts.pruned,
        "fail": 1,
        "infeasible": 0,
    }
    for name in ("one", "two"):
        assert_equal(database, source, name)
    page = views.list_trials(database, "default", "one")
    assert page.items[9].values == {"loss": math.inf}
    assert views.list_reports(database, "default", page.items[9].id)[0].values["loss"] == -math.inf


def test_again_changes_nothing_and_later_adds_what_is_new(database: Database, source: str) -> None:
    first = import_optuna(database, "default", source, ["one"])
    assert import_optuna(database, "default", source, ["one"]) == first
    study = optuna.load_study(study_name="one", storage=source)
    running = next(trial for trial in study.trials if trial.state == optuna.trial.TrialState.RUNNING)
    study.tell(running.number, 0.5)
    study.optimize(objective, n_trials=3)
    (again,) = import_optuna(database, "default", source, ["one"])
    assert again.id == first[0].id
    assert_equal(database, source, "one")
    copied = optuna.load_study(study_name="one", storage=PostgresStorage(database))
    assert copied.ask().number == len(study.trials)


def test_feasibility_comes_over(database: Database, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'constrained.db'}"
    study = optuna.create_study(study_name="constrained", storage=url)
    for value, violation in ((0.1, 2.0), (0.2, -1.0), (0.3, 0.0)):
        trial = study.ask()
        trial.set_user_attr("before", 1)
        trial.set_constraint("c", violation)
        study.tell(trial, value)
    first = import_optuna(database, "default", url)
    assert import_optuna(database, "default", url) == first
    assert (first[0].counts.infeasible, first[0].best_trial) == (1, 1)
    listed = views.list_trials(database, "default", "constrained").items
    assert [(trial.feasible, trial.constraints) for trial in listed] == [
        (False, {"c": 2.0}),
        (True, {"c": -1.0}),
        (True, {"c": 0.0}),
    ]
    copied = optuna.load_study(study_name="constrained", storage=PostgresStorage(database))
    assert [trial.system_attrs for trial in copied.trials] == [trial.system_attrs for trial in study.trials]


def test_a_file_of_either_kind(database: Database, source: str, tmp_path: Path) -> None:
    journal = str(tmp_path / "journal.log")
    storage = JournalStorage(JournalFileBackend(journal))
    optuna.copy_study(from_study_name="one", from_storage=source, to_storage=storage, to_study_name="three")
    assert import_optuna(database, "default", journal)[0].counts.total == 12
    assert len(import_optuna(database, "default", source.removeprefix("sqlite:///"))) == 2


def test_into_another_project(database: Database, source: str) -> None:
    import_optuna(database, "lab", source, ["two"])
    assert [study.study_name for study in PostgresStorage(database, "lab").get_all_studies()] == ["two"]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("nonsense", "'nonsense' is no URL and no file; give the URL of an Optuna database"),
        ("sqlite:////nowhere/a.db", "there is no file /nowhere/a.db"),
        ("oracle+nothing://a", "cannot be opened"),
        ("postgresql://user:secret@127.0.0.1:9/x", r"user:\*\*\*@127.0.0.1:9/x cannot be opened"),
        ("redis://localhost", "cannot be opened"),
    ],
)
def test_a_wrong_url_is_one_sentence(database: Database, url: str, message: str) -> None:
    with pytest.raises(InvalidValue, match=message) as raised:
        import_optuna(database, "default", url)
    assert "\n" not in raised.value.message
    assert "secret" not in raised.value.message


def test_a_file_that_is_not_optunas_is_left_as_it_is(database: Database, tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("hello\n")
    other = tmp_path / "other.db"
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE studies (id INTEGER)")
    connection.close()
    for path, message in ((text, "neither an SQLite database nor a journal"), (other, "is not an Optuna database")):
        before = path.read_bytes()
        with pytest.raises(InvalidValue, match=message):
            import_optuna(database, "default", str(path))
        assert path.read_bytes() == before


def test_the_database_of_the_service_itself_is_refused(database: Database) -> None:
    with pytest.raises(InvalidValue, match="is not an Optuna database"):
        import_optuna(database, "default", database.conninfo)


def test_a_name_that_is_not_there(database: Database, source: str, tmp_path: Path) -> None:
    with pytest.raises(StudyNotFound, match="has no study 'three'; it has one, two"):
        import_optuna(database, "default", source, ["one", "three"])
    assert PostgresStorage(database).get_all_studies() == []
    empty = f"sqlite:///{tmp_path}/empty.db"
    optuna.delete_study(study_name=optuna.create_study(storage=empty).study_name, storage=empty)
    with pytest.raises(StudyNotFound, match="holds no study"):
        import_optuna(database, "default", empty)


def test_a_name_that_another_study_has(database: Database, source: str) -> None:
    studies.create(database, "default", external("two"))
    with pytest.raises(StudyExists, match="'two' is taken by another study"):
        import_optuna(database, "default", source)
    assert len(PostgresStorage(database).get_all_studies()) == 1
    other = optuna.create_study(study_name="one", storage=PostgresStorage(database))
    other.set_user_attr("mine", 1)
    other.add_trial(optuna.create_trial(value=5.0))
    with pytest.raises(StudyExists, match="trial 0 is another one"):
        import_optuna(database, "default", source, ["one"])
    assert len(other.trials) == 1
