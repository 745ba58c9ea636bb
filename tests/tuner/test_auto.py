"""What `auto` decides, for which studies, and that it says why."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import text

from tests.tuner.specs import external
from tuner import auto, studies
from tuner.db.postgres import Database
from tuner.errors import InvalidSpec
from tuner.spec import StudySpec
from tuner.strategies import rung_resources

NUMBERS = {"x": {"type": "float", "low": 0.0, "high": 1.0}, "y": {"type": "int", "low": 1, "high": 9}}
TINY = {"c": {"type": "categorical", "choices": ["a", "b"]}, "y": {"type": "int", "low": 1, "high": 9}}
TREE = {**NUMBERS, "c": TINY["c"], "z": {"type": "float", "low": 0.0, "high": 1.0, "when": {"c": ["a"]}}}
TRAINER = {
    "objectives": [{"name": "val_loss", "direction": "minimize"}],
    "space": {"optimizer.lr": {"type": "float", "low": 1e-4, "high": 0.1, "log": True}},
    "trial": {"executor": "trainer", "trainer": {"dataset": {"name": "digits"}, "model": {"name": "mlp"}, "epochs": 40}},
}
TWO = [{"name": "a", "direction": "minimize"}, {"name": "b", "direction": "maximize"}]


def _decided(**spec: Any) -> dict[str, Any]:
    body = {"objectives": [{"name": "loss", "direction": "minimize"}], "space": NUMBERS, **spec}
    return auto.decide(StudySpec.parse(body)).to_json()


@pytest.mark.parametrize(
    "spec, sampler, pruner",
    [
        ({}, {"name": "tpe"}, "none"),
        ({"space": TREE}, {"name": "tpe", "group": True}, "none"),
        ({"space": TINY}, {"name": "grid"}, "none"),
        ({"space": TINY, "limits": {"max_trials": 17}}, {"name": "tpe"}, "none"),
        ({"space": TINY, "limits": {"max_trials": 35}, "repeat": {"max": 3}}, {"name": "tpe"}, "none"),
        ({"space": TINY, "limits": {"max_trials": 36}, "repeat": {"max": 3}}, {"name": "grid"}, "none"),
        ({"space": TINY, "limits": {"max_trials": 18}}, {"name": "grid"}, "none"),
        ({"space": TINY, "limits": {"max_trials": None}}, {"name": "grid"}, "none"),
        ({"space": TINY, "sampler": {"name": "tpe"}}, {"name": "tpe"}, "none"),
        ({"limits": {"max_concurrent_trials": 4}}, {"name": "gp"}, "none"),
        ({"limits": {"max_concurrent_trials": 5}}, {"name": "tpe"}, "none"),
        ({"limits": {"max_concurrent_trials": 2, "max_trials": 101}}, {"name": "tpe"}, "none"),
        ({"limits": {"max_concurrent_trials": 2}, "space": TREE}, {"name": "tpe", "group": True}, "none"),
        ({"objectives": TWO}, {"name": "tpe"}, "none"),
        ({"objectives": TWO, "pruner": {"name": "auto", "max_resource": 20}}, {"name": "tpe"}, "none"),
        ({"pruner": {"name": "auto", "max_resource": 20}}, {"name": "tpe"}, "promotion"),
        ({"pruner": {"name": "auto", "max_resource": 2}}, {"name": "tpe"}, "none"),
        ({"pruner": {"name": "median"}}, {"name": "tpe"}, "median"),
        ({"pruner": {"name": "population", "max_resource": 20}}, {"name": "random"}, "population"),
        (TRAINER, {"name": "tpe"}, "promotion"),
        ({**TRAINER, "limits": {"max_trials": 2}}, {"name": "tpe"}, "none"),
        ({**TRAINER, "pruner": {"name": "none"}}, {"name": "tpe"}, "none"),
    ],
)
def test_what_is_decided(spec: dict[str, Any], sampler: dict[str, Any], pruner: str) -> None:
    decision = _decided(**spec)
    assert {key: decision["sampler"][key] for key in sampler} == sampler
    assert decision["pruner"]["name"] == pruner
    assert [reason.split()[0] for reason in decision["reasons"][:2]] == ["Sampler", "Pruner"]
    assert all(reason.endswith(".") for reason in decision["reasons"])


@pytest.mark.parametrize(
    "spec, fits",
    [
        ({"pruner": {"name": "median"}}, True),
        ({"pruner": {"name": "median"}, "sampler": {"name": "tpe"}}, False),
        ({"pruner": {"name": "wilcoxon"}}, False),
        ({"pruner": {"name": "hyperband"}, "space": TREE}, True),
        ({"pruner": {"name": "hyperband"}, "space": TREE, "compare": {"by": "c"}}, False),
        ({"pruner": {"name": "median"}, "space": TINY}, False),
        ({}, False),
    ],
)
def test_beside_a_pruner_that_stops_the_model_goes_by_rungs(spec: dict[str, Any], fits: bool) -> None:
    assert _decided(**spec)["fits_rungs"] is fits


def test_promotion_of_the_trainer_resumes_and_of_other_code_stops_unless_said() -> None:
    assert _decided(**TRAINER)["pruner"] == {"name": "promotion", "eta": 3, "min_resource": 2, "max_resource": 40, "resume": True}
    assert _decided(pruner={"name": "auto", "max_resource": 20})["pruner"]["resume"] is False
    assert _decided(pruner={"name": "auto", "max_resource": 20, "resume": True})["pruner"]["resume"] is True


@pytest.mark.parametrize("name", ["auto", "promotion", "population"])
def test_no_trainer_reports_beyond_its_epochs(name: str) -> None:
    base: dict[str, Any] = {**TRAINER, "limits": {"max_trials": 40}}
    auto.decide_searchable(StudySpec.parse({**base, "pruner": {"name": name, "max_resource": 40}}))
    with pytest.raises(InvalidSpec) as caught:
        auto.decide_searchable(StudySpec.parse({**base, "pruner": {"name": name, "max_resource": 41}}))
    (error,) = caught.value.errors
    assert error.loc == "pruner.max_resource"
    assert "at most 40, the trainer's epochs" in error.msg
    epochs = {"epochs": {"type": "int", "low": 10, "high": 60}}
    longer = {**base, "space": {**base["space"], **epochs}, "pruner": {"name": name, "max_resource": 41}}
    auto.decide_searchable(StudySpec.parse(longer))


def test_repeats_are_told_of() -> None:
    assert "on up to 3 seeds" in _decided(repeat={"max": 3})["reasons"][-1]
    assert not any("seeds" in reason for reason in _decided()["reasons"])


def test_a_population_begins_at_random_and_pauses_ten_times() -> None:
    decision = _decided(**TRAINER, pruner={"name": "population", "size": 8})
    assert decision["pruner"] == {"name": "population", "size": 8, "interval": 4, "max_resource": 40}
    assert (decision["warm_start"], decision["fits_rungs"]) == (False, False)
    named = _decided(**TRAINER, pruner={"name": "population"}, sampler={"name": "qmc"}, warm_start=True)
    assert (named["sampler"]["name"], named["warm_start"]) == ("qmc", True)


def test_comparing_levels_neither_prunes_nor_borrows_nor_learns() -> None:
    space = {**TRAINER["space"], "optimizer.name": {"type": "categorical", "choices": ["adam", "sgd"]}}  # type: ignore[dict-item]
    decision = _decided(**{**TRAINER, "space": space, "compare": {"by": "optimizer.name"}})
    assert (decision["pruner"]["name"], decision["warm_start"]) == ("none", False)
    assert decision["sampler"]["name"] == "random"


@pytest.mark.parametrize(
    "max_trials, resources",
    [(None, [5, 15, 45, 100]), (27, [5, 15, 45, 100]), (26, [12, 36, 100]), (8, [34, 100]), (3, [34, 100]), (2, [100])],
)
def test_few_trials_are_halved_less_often(max_trials: int | None, resources: list[int]) -> None:
    assert rung_resources(None, 100, 3, max_trials) == resources


@pytest.mark.parametrize(
    "spec, asked",
    [
        ({}, True),
        ({"warm_start": False}, False),
        ({"warm_start": True, "sampler": {"name": "random"}}, True),
        ({"warm_start": {"studies": ["one", "two"]}}, ["one", "two"]),
        ({"sampler": {"name": "random"}}, False),
        ({"space": TINY}, False),
        ({"objectives": TWO}, False),
    ],
)
def test_warm_start_is_on_under_auto_and_off_with_one_word(spec: dict[str, Any], asked: Any) -> None:
    decision = _decided(**spec)
    assert decision["warm_start"] == asked
    assert decision["portfolio"] == (None if asked else [])


@pytest.mark.parametrize("asked", [3, "yes", {"studies": []}, {"studies": [1]}, {"names": ["a"]}, {"studies": ["a"] * 51}])
def test_wrong_warm_starts_say_what_is_allowed(asked: Any) -> None:
    with pytest.raises(InvalidSpec, match="warm_start: must be true, false, or a mapping such as"):
        external(warm_start=asked)
    with pytest.raises(InvalidSpec, match="warm_start: needs a single objective"):
        external(warm_start=True, objectives=TWO)
    with pytest.raises(InvalidSpec, match="warm_start: would favour some choices of c"):
        external(warm_start=True, space=TREE, sampler={"name": "tpe"}, compare={"by": "c"})


def test_specs_from_before_keep_their_digest() -> None:
    assert "warm_start" not in external().to_json()
    assert external(warm_start=False).digest() != external().digest()


def test_the_decision_is_stored_and_shown(database: Database) -> None:
    spec = StudySpec.parse({"name": "s", **TRAINER})
    study, _ = studies.create(database, "default", spec)
    assert study.strategy is not None
    assert (study.strategy.sampler["name"], study.strategy.pruner["name"], study.strategy.portfolio) == ("tpe", "promotion", None)
    assert len(study.strategy.reasons) == 3
    with database.read() as connection:
        row = connection.execute(text("SELECT strategy, pruned_by_search, spec FROM studies")).one()
    assert row.pruned_by_search == 1
    assert json.loads(row.spec)["pruner"] == {"name": "auto"}  # as submitted
    decided = auto.decided(spec, row.strategy)
    assert (decided.sampler.name, decided.pruner.options["max_resource"], decided.max_resource) == ("tpe", 40, 40)


def test_studies_from_before_keep_what_auto_was() -> None:
    assert auto.undecided(StudySpec.parse(TRAINER))["pruner"] == {"name": "none"}
