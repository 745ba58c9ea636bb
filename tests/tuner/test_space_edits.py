"""What an edit of a search space may change, what is refused and in which words, and what is kept of it."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from tuner import events, space_edits, studies, views
from tuner.db.postgres import Database
from tuner.errors import Conflict, InvalidSpec
from tuner.spec import StudySpec
from tuner.wire import StudyPatch, StudyState

BODY: dict[str, Any] = {
    "name": "s",
    "objectives": [{"name": "loss", "direction": "minimize"}],
    "space": {
        "lr": {"type": "float", "low": 0.001, "high": 0.1, "log": True},
        "drop": {"type": "float", "low": 0.3, "high": 0.75, "step": 0.1},
        "width": {"type": "int", "low": 16, "high": 64, "step": 16},
        "opt.name": {"type": "categorical", "choices": ["sgd", "adam"]},
        "flag": {"type": "categorical", "choices": [None, True]},
        "beta": {"type": "float", "low": 0.5, "high": 0.999, "when": {"opt.name": ["adam"]}},
    },
}


def edited(edits: dict[str, Any], **changes: Any) -> StudySpec:
    """BODY with other top-level keys, its space edited."""
    return space_edits.apply(StudySpec.parse({**BODY, **changes}), edits)


def refused(edits: dict[str, Any], **changes: Any) -> dict[str, str]:
    with pytest.raises(InvalidSpec) as caught:
        edited(edits, **changes)
    return {error.loc: error.msg for error in caught.value.errors}


def test_what_may_change() -> None:
    found = edited(
        {
            "lr": {"low": 1e-5, "high": 1},
            "drop": {"low": 0.0},
            "width": {"high": 130, "freeze": 128},
            "opt.name": {"append": ["lion", "sgd"], "freeze": "lion"},
            "flag": {"append": "maybe", "freeze": None},
        }
    ).space
    assert found.to_json() == {
        "lr": {"type": "float", "low": 1e-5, "high": 1.0, "log": True, "step": None},
        "drop": {"type": "float", "low": 0.0, "high": 0.7, "log": False, "step": 0.1},
        "width": {"type": "int", "low": 16, "high": 128, "log": False, "step": 16, "freeze": 128},
        "opt.name": {"type": "categorical", "choices": ["sgd", "adam", "lion"], "freeze": "lion"},
        "flag": {"type": "categorical", "choices": [None, True, "maybe"], "freeze": None},
        "beta": {"type": "float", "low": 0.5, "high": 0.999, "log": False, "step": None, "when": {"opt.name": ["adam"]}},
    }
    assert found.check({"lr": 1, "drop": 0.2, "width": 128, "opt.name": "lion", "flag": None})
    thawed = edited({"width": {"unfreeze": True}}, space={**BODY["space"], "width": {**BODY["space"]["width"], "freeze": 32}})
    assert thawed == StudySpec.parse(BODY)


@pytest.mark.parametrize(
    "space, loc, words",
    [
        (
            {"lr": {"low": 0.01}},
            "space.lr.low",
            "must be at most 0.001, as it is now: a narrower range would leave trials outside",
        ),
        ({"lr": {"high": 0.01}}, "space.lr.high", "must be at least 0.1, as it is now"),
        ({"lr": {"low": 0}}, "space.lr.low", "must be above 0 with log: true, not 0"),
        ({"lr": {"high": "1"}}, "space.lr.high", "must be a number, not '1'"),
        ({"lr": {"high": float("nan")}}, "space.lr.high", "must be a number, not nan"),
        ({"lr": {"high": 10**400}}, "space.lr.high", "must be a number"),
        ({"lr": {"high": True}}, "space.lr.high", "must be a number, not true"),
        ({"width": {"high": 64.5}}, "space.width.high", "must be an integer, not 64.5"),
        ({"width": {"low": 8}}, "space.width.low", "must be 16, as it is now, less a multiple of the step 16, not 8"),
        ({"drop": {"low": 0.15}}, "space.drop.low", "must be 0.3, as it is now, less a multiple of the step 0.1, not 0.15"),
        ({"lr": {"log": False}}, "space.lr.log", "cannot change, since earlier trials would mean something else; there are {low"),
        ({"lr": {"type": "int"}}, "space.lr.type", "cannot change"),
        ({"lr": {"step": 0.1}}, "space.lr.step", "cannot change"),
        ({"beta": {"when": {}}}, "space.beta.when", "cannot change"),
        ({"opt.name": {"choices": ["sgd"]}}, "space.opt.name.choices", "cannot change"),
        ({"opt.name": {"low": 1}}, "space.opt.name.low", "is nothing that can be edited; there are {append"),
        ({"lr": {"append": 1}}, "space.lr.append", "is nothing that can be edited; there are {low"),
        ({"lr": {"hihg": 1}}, "space.lr.hihg", "is nothing that can be edited"),
        ({"opt.name": {"append": [["a"]]}}, "space.opt.name.choices.2", "must be a text, a finite number"),
        ({"opt.name": {"append": float("inf")}}, "space.opt.name.choices.2", "must be a finite number, not inf"),
        ({"flag": {"append": 1}}, "space.flag.choices.2", "1 counts as true"),
        ({"opt.name": {"freeze": "lion"}}, "space.opt.name.freeze", "must be one of 'sgd', 'adam', not 'lion'"),
        ({"lr": {"freeze": 0.5}}, "space.lr.freeze", "must be a number from 0.001 to 0.1, not 0.5"),
        ({"lr": {"freeze": None}}, "space.lr.freeze", "must be a number from 0.001 to 0.1, not null"),
        ({"width": {"freeze": 17}}, "space.width.freeze", "must be 16 plus a multiple of 16, not 17"),
        ({"lr": {"freeze": {"a": 1}}}, "space.lr.freeze", "must be a number"),
        ({"lr": {"freeze": 0.01, "unfreeze": True}}, "space.lr.unfreeze", "contradicts freeze"),
        ({"lr": {"unfreeze": False}}, "space.lr.unfreeze", "must be true, not false"),
        ({"widht": {"high": 1}}, "space.widht", "no such parameter; did you mean width?"),
        ({"lr": {}}, "space.lr", "must be a mapping of what is to change; float parameters take {low"),
        ({"lr": 0.1}, "space.lr", "must be a mapping"),
        ({"lr": None}, "space.lr", "must be a mapping"),
    ],
)
def test_what_may_not(space: dict[str, Any], loc: str, words: str) -> None:
    found = refused(space)
    assert set(found) == {loc}
    assert words in found[loc]


def test_every_problem_is_told_at_once() -> None:
    assert set(refused({"lr": {"low": 1, "log": False}, "x": {}})) == {"space.lr.low", "space.lr.log", "space.x"}


def test_the_whole_study_has_to_be_right_with_it() -> None:
    assert "so it cannot be edited" in refused({"opt.name": {"append": "lion"}}, compare={"by": "opt.name"})["space.opt.name"]
    edited({"lr": {"freeze": 0.01}}, compare={"by": "opt.name"})
    only = {name: BODY["space"][name] for name in ("lr", "opt.name")}
    assert "cmaes needs a float" in refused({"lr": {"freeze": 0.01}}, space=only, sampler={"name": "cmaes"})["sampler.name"]
    trainer = {
        "objectives": [{"name": "val_loss", "direction": "minimize"}],
        "trial": {"executor": "trainer", "trainer": {"dataset": {"name": "digits"}, "model": {"name": "mlp"}, "epochs": 3}},
        "space": {"optimizer.name": {"type": "categorical", "choices": ["sgd", "adam"]}},
    }
    assert edited({"optimizer.name": {"append": "lion"}}, **trainer)
    assert any("optimizr" in msg for msg in refused({"optimizer.name": {"append": "optimizr"}}, **trainer).values())


def test_frozen_parameters_in_a_study_file() -> None:
    space = {**BODY["space"], "opt.name": {**BODY["space"]["opt.name"], "freeze": "adam"}}
    found = StudySpec.parse({**BODY, "space": space})
    assert found.space.frozen == {"opt.name": "adam"}
    assert found.digest() != StudySpec.parse(BODY).digest()
    cells = {"a": {"type": "int", "low": 1, "high": 3}, "b": {"type": "float", "low": 0, "high": 1, "freeze": 0.5}}
    finite = StudySpec.parse({**BODY, "space": cells}).space
    assert finite.num_cells() == 3
    assert list(finite.cells()) == [{"a": a, "b": 0.5} for a in (1, 2, 3)]
    bad = {**BODY, "space": {**space, "opt.name": {**space["opt.name"], "freeze": "lion"}}}
    with pytest.raises(InvalidSpec, match=r"space\.opt\.name\.freeze: must be one of"):
        StudySpec.parse(bad)
    with pytest.raises(InvalidSpec, match=r"space\.opt\.name\.freeze: would leave one choice"):
        StudySpec.parse({**BODY, "space": space, "compare": {"by": "opt.name"}})


# --- over the tables -----------------------------------------------------------------------------------------------------


def patch(database: Database, space: dict[str, Any], **more: Any) -> Any:
    return studies.update_study(database, "default", "s", StudyPatch(space=space, **more), updated_by="ann")


def test_each_edit_is_a_version_and_the_submitted_spec_the_same_study(database: Database) -> None:
    spec = StudySpec.parse(BODY)
    first, _ = studies.create(database, "default", spec)
    assert (first.space_version, first.space_edits) == (1, [])
    patch(database, {"lr": {"high": 1.0}, "opt.name": {"append": ["lion"]}})
    second = patch(database, {"width": {"freeze": 32}}, notes="narrowed down")
    third = patch(database, {"width": {"freeze": 48}, "lr": {"high": 1.0}})
    assert (second.space_version, second.notes, third.space_version) == (3, "narrowed down", 4)
    assert [(each.version, each.by, each.first_number, each.changes, each.was) for each in third.space_edits] == [
        (2, "ann", 0, {"lr": {"high": 1.0}, "opt.name": {"append": ["lion"]}}, {"lr": {"high": 0.1}, "opt.name": {}}),
        (3, "ann", 0, {"width": {"freeze": 32}}, {"width": {}}),
        (4, "ann", 0, {"width": {"freeze": 48}}, {"width": {"freeze": 32}}),
    ]
    assert third.space_edits[0].at <= third.space_edits[1].at
    assert patch(database, {"width": {"freeze": 48}, "opt.name": {"append": "sgd"}}) == third  # so already
    again, created = studies.create(database, "default", spec)
    assert (again.id, again.digest, created) == (first.id, first.digest, False)
    assert again.spec["space"]["lr"]["high"] == 1.0
    with pytest.raises(Conflict, match="taken by a study with another spec"):
        studies.create(database, "default", StudySpec.parse(again.spec))
    kinds = [
        (event.data["version"], event.data["by"]) for event in events.list_(database, "default") if event.kind == "space_edited"
    ]
    assert kinds == [(2, "ann"), (3, "ann"), (4, "ann")]


def test_somebody_else_was_first(database: Database) -> None:
    studies.create(database, "default", StudySpec.parse(BODY))
    patch(database, {"lr": {"high": 1.0}}, space_version=1)
    with pytest.raises(Conflict, match="the space of study 's' is at version 2, not 1: look at it, then edit again"):
        patch(database, {"lr": {"high": 2.0}}, space_version=1)
    assert patch(database, {"lr": {"high": 1.0}}, space_version=1).space_version == 2  # a repeated request finds it done
    assert patch(database, {"lr": {"high": 2.0}}, space_version=2).space_version == 3


def test_a_refused_edit_changes_nothing_at_all(database: Database) -> None:
    studies.create(database, "default", StudySpec.parse(BODY))
    with pytest.raises(InvalidSpec):
        patch(database, {"lr": {"high": 1.0}, "drop": {"high": 0.1}}, notes="never")
    found = views.get_study(database, "default", "s")
    assert (found.notes, found.space_version, found.spec["space"]["lr"]["high"]) == ("", 1, 0.1)


def test_constraints_have_to_leave_enough_of_the_edited_space(database: Database) -> None:
    studies.create(database, "default", StudySpec.parse({**BODY, "constraints": ["lr > 0.01"]}))
    with pytest.raises(InvalidSpec, match="constraints: leave next to nothing to search"):
        patch(database, {"lr": {"freeze": 0.001}})
    assert patch(database, {"lr": {"freeze": 0.05}}).space_version == 2


def test_a_study_made_through_optuna_has_no_space_to_edit(database: Database) -> None:
    with database.begin() as connection:
        connection.execute(text("INSERT INTO studies (project, name) VALUES ('default', 's')"))
    with pytest.raises(Conflict, match="made through Optuna"):
        patch(database, {"lr": {"high": 1.0}})


def test_edits_have_an_end(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(space_edits, "MAX_EDITS", 2)
    studies.create(database, "default", StudySpec.parse(BODY))
    patch(database, {"lr": {"high": 1.0}})
    patch(database, {"lr": {"high": 2.0}})
    with pytest.raises(Conflict, match="has been edited 2 times, which is all"):
        patch(database, {"lr": {"high": 3.0}})


def test_ended_studies_can_be_edited_and_resumed(database: Database) -> None:
    studies.create(database, "default", StudySpec.parse(BODY))
    studies.cancel(database, "default", "s")
    assert patch(database, {"lr": {"high": 1.0}}).space_version == 2
    assert studies.resume(database, "default", "s").state == StudyState.RUNNING
