"""Columns beyond the usual ones: summaries of reports, attributes, facts; and the GPUs a study has used."""

from __future__ import annotations

import math

import pytest

from tests.tuner.specs import external
from tuner import cells, leases, reports, studies, trials
from tuner.db.postgres import Database
from tuner.errors import InvalidValue, StudyNotFound
from tuner.wire import AskRequest, Report, Tell, TrialCreate, TrialState


@pytest.fixture
def study(database: Database) -> str:
    """Trial 0 reports and tells an attribute, trial 1 was added without either."""
    studies.create(database, "default", external())
    trials.create(database, "default", "s", TrialCreate(params={"x": 0.5}))
    (lease,) = leases.take(database, "default", AskRequest(wait=0, worker="node-1"), study="s")
    for step, value in enumerate((3.0, math.nan, 1.0, 2.0)):
        reports.append(database, "default", lease.id, [Report(step=step, values={"loss": value, "a b": 1.0})])
    attributes = {"flags": ["vanishing"], "memory": math.inf, "note": "plain"}
    leases.tell(database, "default", lease.id, Tell(state=TrialState.COMPLETE, values={"score": 1.0}, user_attrs=attributes))
    added = TrialCreate(params={"x": 0.25}, state=TrialState.COMPLETE, values={"score": 0.5})
    trials.create(database, "default", "s", added)
    return "s"


def test_names(database: Database, study: str) -> None:
    found = cells.names(database, "default", study)
    assert found.metrics == ["a b", "loss"]
    assert found.attributes == ["flags", "memory", "note"]
    assert "worker" in found.facts


def test_summaries_leave_nan_out_of_extremes(database: Database, study: str) -> None:
    found = cells.cells(database, "default", study, "metric", "loss")
    assert found.numbers == [0]
    assert found.columns == {"last": [2.0], "min": [1.0], "max": [3.0]}
    assert cells.cells(database, "default", study, "metric", "absent").numbers == []


@pytest.mark.parametrize(("name", "cell"), [("flags", '["vanishing"]'), ("memory", "Infinity"), ("note", "plain")])
def test_attributes(database: Database, study: str, name: str, cell: str) -> None:
    found = cells.cells(database, "default", study, "attribute", name)
    assert (found.numbers, found.columns) == ([0], {"value": [cell]})


def test_facts(database: Database, study: str) -> None:
    assert cells.cells(database, "default", study, "fact", "worker").columns == {"value": ["node-1"]}
    assert cells.cells(database, "default", study, "fact", "origin").columns == {"value": ["enqueued", "added"]}
    assert cells.cells(database, "default", study, "fact", "parent").numbers == []


@pytest.mark.parametrize(("kind", "name"), [("column", "x"), ("fact", "params"), ("", "")])
def test_unknown_columns_are_named(database: Database, study: str, kind: str, name: str) -> None:
    with pytest.raises(InvalidValue, match="is not of"):
        cells.cells(database, "default", study, kind, name)


def test_usage(database: Database, study: str) -> None:
    assert cells.usage(database, "default", study).gpu_seconds == 0
    with pytest.raises(StudyNotFound):
        cells.usage(database, "default", "absent")
