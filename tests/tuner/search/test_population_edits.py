"""Populations whose space is edited: what copies are then made of, what may not be frozen, and who is counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.tuner.search.crew import POPULATION, Crew
from tuner import space_edits, studies, views
from tuner.db.postgres import Database
from tuner.errors import InvalidSpec
from tuner.search.engine import Engine
from tuner.spec import StudySpec
from tuner.wire import StudyPatch


def edit(crew: Crew, space: dict[str, Any]) -> None:
    studies.update_study(crew.database, "default", crew.desk.study.id, StudyPatch(space=space), updated_by="ann")


def test_children_are_of_the_space_as_it_is_now(database: Database, tmp_path: Path, engines: list[Engine]) -> None:
    crew = Crew(database, tmp_path, engines)
    for lease, loss in zip(crew.ask(4), (0.1, 0.2, 0.3, 0.9), strict=True):
        crew.train(lease, loss)
    edit(crew, {"x": {"freeze": 5.0}})
    crew.ask(4)
    assert json.loads(crew.rows()[4].params)["x"] == 5.0


def test_members_dropped_by_an_edit_are_made_anew(database: Database, tmp_path: Path, engines: list[Engine]) -> None:
    crew = Crew(database, tmp_path, engines)
    crew.desk.demand(3)
    engines[-1].step()
    assert crew.desk.states() == ["WAITING"] * 3
    edit(crew, {"x": {"freeze": 5.0}})
    assert crew.desk.states() == ["FAIL"] * 3
    assert [lease.trial.number for lease in crew.ask(5)] == [3, 4, 5, 6]
    assert {row["x"] for row in crew.desk.params()[3:]} == {5.0}


def test_what_copies_keep_cannot_be_frozen(database: Database, tmp_path: Path, engines: list[Engine]) -> None:
    """A member of another kind could not be replaced: its copies have its weights."""
    crew = Crew(database, tmp_path, engines, pruner=POPULATION | {"keep": ["kind"]})
    with pytest.raises(InvalidSpec, match=r"space\.kind\.freeze: a population leaves it as it is in copies"):
        edit(crew, {"kind": {"freeze": "a"}})
    edit(crew, {"x": {"freeze": 5.0}, "kind": {"append": ["c"]}})
    assert views.get_study(database, "default", crew.desk.study.id).space_version == 2


def test_what_the_trainer_keeps_cannot_be_frozen_but_where_it_is() -> None:
    spec = yaml.safe_load(Path("examples/population.yaml").read_text())
    spec["space"]["optimizer.name"] = {"type": "categorical", "choices": ["momentum", "nesterov"]}
    spec["trial"]["trainer"]["optimizer"] = {}
    with pytest.raises(InvalidSpec, match=r"space\.optimizer\.name\.freeze: a population leaves it"):
        space_edits.apply(StudySpec.parse(spec), {"optimizer.name": {"freeze": "momentum"}})
    assert space_edits.apply(StudySpec.parse(spec), {"optimizer.lr": {"freeze": 0.1}}).space.frozen == {"optimizer.lr": 0.1}
    spec["space"]["optimizer.name"]["freeze"] = "momentum"
    frozen = StudySpec.parse(spec)
    assert space_edits.apply(frozen, {"optimizer.name": {"freeze": "momentum"}}).space == frozen.space
    promotion = StudySpec.parse(spec | {"pruner": {"name": "promotion"}})
    assert space_edits.apply(promotion, {"optimizer.name": {"freeze": "nesterov"}}).space.frozen == {"optimizer.name": "nesterov"}
