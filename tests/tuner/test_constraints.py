"""Constraints between parameters: how they are read, what they mean, and what is refused, in words."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from tests.tuner.specs import external
from tuner import auto, feasibility, studies, trials
from tuner.constraints import MAX_LENGTH, read
from tuner.db.postgres import Database
from tuner.errors import InvalidSpec, InvalidValue
from tuner.search.portfolio import translate
from tuner.space import SearchSpace
from tuner.wire import TrialCreate

SPACE = {
    "model.hidden_a": {"type": "int", "low": 1, "high": 100},
    "model.hidden_b": {"type": "int", "low": 1, "high": 100},
    "optimizer.lr": {"type": "float", "low": 1e-5, "high": 1.0, "log": True},
    "batch_size": {"type": "categorical", "choices": [16, 32, 64]},
    "optimizer.name": {"type": "categorical", "choices": ["sgd", "adam", None]},
    "optimizer.momentum": {"type": "float", "low": 0.0, "high": 0.9, "when": {"optimizer.name": ["sgd"]}},
    "flag": {"type": "categorical", "choices": [True, False]},
    "learning-rate": {"type": "float", "low": 0.0, "high": 1.0},
    "lambda": {"type": "float", "low": 0.0, "high": 1.0},
}
PARAMETERS = SearchSpace.parse(SPACE).parameters
PARAMS: dict[str, Any] = {
    "model.hidden_a": 3,
    "model.hidden_b": 7,
    "optimizer.lr": 0.5,
    "batch_size": 16,
    "optimizer.name": "adam",
    "flag": True,
    "learning-rate": 0.25,
    "lambda": 0.0,
}
PAIR = {"a": {"type": "int", "low": 1, "high": 4}, "b": {"type": "int", "low": 1, "high": 4}}


@pytest.mark.parametrize(
    "text, holds",
    [
        ("model.hidden_a < model.hidden_b", True),
        ("model.hidden_a >= model.hidden_b", False),
        ("optimizer.lr * batch_size <= 1.0", False),
        ("optimizer.lr * batch_size == 8", True),
        ("1 < model.hidden_a < 3", False),
        ("model.hidden_b % 2 == 1 and model.hidden_b // 2 == 3", True),
        ("model.hidden_a ** 2 - 9 == 0", True),
        ("min(model.hidden_a, model.hidden_b, 5) == 3", True),
        ("log10(batch_size) > 2 or log2(batch_size) == 4", True),
        ("optimizer.name == 'adam' and not flag", False),
        ("flag == true and flag != False", True),
        ("optimizer.name in ['sgd', null]", False),
        ("optimizer.name not in ['sgd', None]", True),
        ("batch_size in [16, -1]", True),
        ("`learning-rate` < 0.5", True),
        ("`optimizer.lr` < `learning-rate`", False),
        ("optimizer.name != \"sgd\" or `lambda` > 1", True),
        # Absent by its condition: the constraint does not apply.
        ("optimizer.momentum > 5", True),
        ("optimizer.momentum > 5 and model.hidden_a > 50", True),
        # No result, no configuration.
        ("1 / `lambda` > 0", False),
        ("log(`lambda`) < 0", False),
        ("exp(model.hidden_a * 1000) > 0", False),
        ("sqrt(`lambda` - 1) != 3", False),
    ],
)  # fmt: skip
def test_what_an_expression_means(text: str, holds: bool) -> None:
    assert read(text, PARAMETERS).holds(PARAMS) is holds


@pytest.mark.parametrize(
    "text, said",
    [
        ("9**9**9 < optimizer.lr", "no value that a double can hold"),
        ("1 / 0 < optimizer.lr", "no value that a double can hold"),
        ("optimizer.lr < 1e999", "too large for a double"),
        ("optimizer.lr < " + "9" * 400, "too large for a double"),
        ("model.hidden_a.__class__ == 1", "no parameter of the space"),
        ("().__class__ == 1", "has no attributes here"),
        ("'a'.join == 1", "has no attributes here"),
        ("`flag`.x", "has no attributes here"),
        ("__import__('os') == 1", "calls __import__"),
        ("open('x') == 1", "the functions are abs"),
        ("'a' * 99999999 == 'b'", "arithmetic needs a number"),
        ("[x for x in [1]] == 1", "comprehension"),
        ("(lambda: 1) == 1", "a lambda"),
        ("(flag := True)", "an assignment"),
        ("f'{flag}' == 'a'", "a formatted text"),
        ("flag if flag else flag", "an if"),
        ("batch_size[0] < 1", "an index"),
        ("batch_size << 2 < 1", "an operator"),
        ("max(*[1, 2]) < batch_size", "max takes"),
        ("log(batch_size, 2) < 1", "log takes one number"),
        ("log < 1", "without arguments"),
        ("batch_size < 1j", "1j"),
        ("batch_size is 1", "write =="),
        ("flag & flag", "write and, or"),
        ("optimizr.lr < 1", "did you mean optimizer.lr"),
        ("hidden_a < 3", "no parameter of the space"),
        ("optimizer.lr", "is a value, not a condition"),
        ("1 < 2", "mentions no parameter"),
        ("optimizer.lr = 3", "cannot be read"),
        ("lambda < 1", "backticks"),
        ("batch_size < 1; 2", "cannot be read"),
        ("optimizer.name < 1", "optimizer.name is one of 'sgd', 'adam', null"),
        ("optimizer.name == 'adm'", "is never 'adm'; did you mean adam?"),
        ("optimizer.name in ['adam', 'adm']", "is never 'adm'"),
        ("optimizer.name == optimizer.lr", "which are never equal"),
        ("optimizer.lr == null", "which are never equal"),
        ("flag == 1", "which are never equal"),
        ("flag and optimizer.lr", "optimizer.lr is a number"),
        ("optimizer.name in 'sgd'", "in needs a list"),
        ("optimizer.name in ['sgd', optimizer.lr]", "values only"),
        ("-" * 200 + "optimizer.lr < 1", "parts; at most"),
        ("(" * 249 + "1" + ")" * 249, "cannot be read"),
        ("a" * (MAX_LENGTH + 1), "characters long"),
        ("\x00 < 1", "cannot be read"),
        ("   ", "must be an expression"),
        (5, "must be an expression"),
    ],
)
def test_what_is_refused(text: object, said: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        read(text, PARAMETERS)
    assert said in str(refused.value)


def test_each_problem_of_a_spec_has_its_place() -> None:
    with pytest.raises(InvalidSpec) as refused:
        external(constraints=["x < 2", "y < 1", "x"])
    assert [error.loc for error in refused.value.errors] == ["constraints.1", "constraints.2"]
    for wrong in ("x < 1", [1], {"x": 1}, ["x < 1"] * 51):
        with pytest.raises(InvalidSpec) as refused:
            external(constraints=wrong)
        assert refused.value.errors[0].loc.startswith("constraints")


def test_a_spec_without_constraints_is_what_it_was() -> None:
    assert "constraints" not in external().to_json()
    with_them = external(constraints=["x < 0.5"])
    assert with_them.to_json()["constraints"] == ["x < 0.5"]
    assert with_them.digest() != external().digest()
    assert with_them.space.to_json() == external().space.to_json()


def test_check_names_the_constraint_and_the_values() -> None:
    space = SearchSpace.parse(PAIR, ["a < b"])
    assert space.check({"a": 1, "b": 2}) == {"a": 1, "b": 2}
    with pytest.raises(InvalidValue, match="break the constraint a < b with a 3, b 2") as refused:
        space.check({"a": 3, "b": 2})
    assert refused.value.errors[0].loc == "params"


def test_cells_are_the_allowed_ones() -> None:
    space = SearchSpace.parse(PAIR, ["a < b"])
    assert [tuple(cell.values()) for cell in space.cells()] == [(1, 2), (1, 3), (1, 4), (2, 3), (2, 4), (3, 4)]


def test_auto_counts_allowed_configurations() -> None:
    body = {"space": PAIR, "sampler": {"name": "auto"}, "limits": {"max_trials": 6}}
    decision = auto.decide(external(constraints=["a < b"], **body))
    assert decision.sampler.name == "grid"
    assert "6 configurations" in decision.reasons[0]
    assert auto.decide(external(**body)).sampler.name == "tpe"
    assert auto.decide(external(constraints=["a <= b"], **body)).sampler.name == "tpe"


def test_a_lent_configuration_that_is_not_allowed_is_left_out() -> None:
    space = SearchSpace.parse(PAIR, ["a < b"])
    assert translate(space, {"a": 1, "b": 9}) == {"a": 1, "b": 4}
    assert translate(space, {"a": 4, "b": 9}) is None


@pytest.mark.parametrize("sampler", ["random", "auto", "tpe", "nsga2"])
def test_a_space_with_next_to_nothing_allowed_is_refused(database: Database, sampler: str) -> None:
    for constraint, said in (("x > 2", "none of 10000"), ("x > 0.9999", "random configurations satisfy them")):
        with pytest.raises(InvalidSpec, match=said):
            studies.create(database, "default", external(constraints=[constraint], sampler={"name": sampler}))
    studies.create(database, "default", external(constraints=["x > 0.99"], sampler={"name": sampler}))


@pytest.mark.parametrize("sampler", ["grid", "brute_force", "auto"])
def test_a_grid_with_nothing_allowed_is_refused(database: Database, sampler: str) -> None:
    with pytest.raises(InvalidSpec, match="none of the 16 configurations"):
        studies.create(database, "default", external(space=PAIR, constraints=["a + b > 8"], sampler={"name": sampler}))


def test_a_grid_too_large_to_look_through_is_refused(database: Database) -> None:
    space = {name: {"type": "int", "low": 1, "high": 100} for name in "abc"}
    with pytest.raises(InvalidSpec, match="there are 1000000; choose another sampler"):
        studies.create(database, "default", external(space=space, constraints=["a < b"], sampler={"name": "grid"}))


def test_a_level_with_nothing_allowed_is_refused(database: Database) -> None:
    space = {**PAIR, "c": {"type": "categorical", "choices": ["x", "y"]}}
    with pytest.raises(InvalidSpec, match="where c is 'y'"):
        studies.create(database, "default", external(space=space, compare={"by": "c"}, constraints=["c == 'x' or a > 4"]))


def test_enqueued_and_added_trials_are_held_to_them(database: Database) -> None:
    study, _ = studies.create(database, "default", external(constraints=["x < 0.5"]))
    trials.create(database, "default", study.id, TrialCreate(params={"x": 0.25}))
    finished = TrialCreate.model_validate({"params": {"x": 0.75}, "state": "COMPLETE", "values": {"score": 1.0}})
    for body in (TrialCreate(params={"x": 0.5}), finished):
        with pytest.raises(InvalidValue, match=r"break the constraint x < 0\.5 with x"):
            trials.create(database, "default", study.id, body)


def test_draws_are_of_the_space_and_the_same_again() -> None:
    space = SearchSpace.parse(SPACE, ["model.hidden_a < model.hidden_b", "optimizer.lr * batch_size <= 1"])
    found = [feasibility.draw(space, Random(seed), {"flag": False}) for seed in range(200)]
    for params in found:
        assert params is not None
        assert space.check(params) == params
        assert params["flag"] is False
    assert found == [feasibility.draw(space, Random(seed), {"flag": False}) for seed in range(200)]
    assert feasibility.draw(SearchSpace.parse(PAIR, ["a + b > 8"]), Random(0), {}, 100) is None
