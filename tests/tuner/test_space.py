"""Search spaces: what is refused, which parameters are active, and that cells, counts and checks agree with each other and with Optuna."""

from __future__ import annotations

import itertools
import json
import operator
import warnings
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.samplers._brute_force import _enumerate_candidates

from tuner.errors import InvalidSpace, InvalidSpec, InvalidValue
from tuner.space import CategoricalParameter, Condition, FloatParameter, IntParameter, SearchSpace

FLOAT = {"type": "float", "low": 0.0, "high": 1.0}
INT = {"type": "int", "low": 1, "high": 4}
OPTIMIZERS = {
    "optimizer.name": {"type": "categorical", "choices": ["sgd", "momentum", "adam"]},
    "optimizer.momentum": {"type": "float", "low": 0.0, "high": 0.9, "step": 0.1, "when": {"optimizer.name": ["momentum"]}},
    "depth": INT,
    "width.2": {"type": "int", "low": 8, "high": 32, "step": 8, "when": {"depth": {"ge": 2}}},
    "width.3": {"type": "int", "low": 8, "high": 32, "step": 8, "when": {"depth": {"ge": 3}, "width.2": {"gt": 8}}},
}


def problems(raw: Any) -> dict[str, str]:
    with pytest.raises(InvalidSpace) as caught:
        SearchSpace.parse(raw)
    assert all(error.msg and "\n" not in error.msg for error in caught.value.errors)
    return {error.loc: error.msg for error in caught.value.errors}


def value_problems(space: SearchSpace, params: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(InvalidValue) as caught:
        space.check(params)
    return {error.loc: error.msg for error in caught.value.errors}


# --- reading --------------------------------------------------------------------------------------------------------------


def test_reads_every_kind_of_parameter() -> None:
    space = SearchSpace.parse(
        {
            "lr": {"type": "float", "low": 1e-5, "high": 1, "log": True},
            "depth": {"type": "int", "low": 1.0, "high": 9, "step": 3},
            "name": {"type": "categorical", "choices": ["a", None, True, 2, 0.5]},
        }
    )
    assert space.parameters == {
        "lr": FloatParameter(1e-5, 1.0, log=True),
        "depth": IntParameter(1, 7, step=3),
        "name": CategoricalParameter(("a", None, True, 2, 0.5)),
    }
    assert [parameter.type for parameter in space.parameters.values()] == ["float", "int", "categorical"]
    assert not space.is_conditional
    assert space.roots == space.parameters


@pytest.mark.parametrize(
    ("raw", "loc", "says"),
    [
        ({}, "space", "at least one parameter"),
        ([], "space", "mapping"),
        (None, "space", "mapping"),
        ({"x": 3}, "space.x", "mapping"),
        ({"x": {}}, "space.x.type", "float, int or categorical"),
        ({"x": {"type": "flot"}}, "space.x.type", "float, int or categorical"),
        ({"x": {"type": ["float"]}}, "space.x.type", "float, int or categorical"),
        ({"x": {**FLOAT, "lo": 1}}, "space.x.lo", "did you mean low"),
        ({"x": {"type": "categorical", "choices": [1], "low": 1}}, "space.x.low", "unknown key"),
        ({"x": {"type": "float", "high": 1}}, "space.x.low", "is missing: a number"),
        ({"x": {"type": "int", "low": 1}}, "space.x.high", "is missing: an integer"),
        ({"x": {**FLOAT, "low": 2}}, "space.x.low", "at most high"),
        ({"x": {**FLOAT, "low": True}}, "space.x.low", "must be a number, not true"),
        ({"x": {**FLOAT, "low": "1e-5"}}, "space.x.low", "without quotes"),
        ({"x": {**FLOAT, "low": None}}, "space.x.low", "not null"),
        ({"x": {**FLOAT, "high": float("nan")}}, "space.x.high", "must be a number"),
        ({"x": {**FLOAT, "high": float("inf")}}, "space.x.high", "must be a number"),
        ({"x": {**FLOAT, "high": 10**400}}, "space.x.high", "must be a number"),
        ({"x": {**FLOAT, "high": 10**5000}}, "space.x.high", "must be a number"),
        ({"x": {"type": "float", "low": -1.7e308, "high": 1.7e308}}, "space.x.high", "too far"),
        ({"x": {**FLOAT, "log": True}}, "space.x.low", "above 0 with log"),
        ({"x": {**FLOAT, "low": -1, "log": True}}, "space.x.low", "above 0 with log"),
        ({"x": {**INT, "low": 0, "log": True}}, "space.x.low", "at least 1 with log"),
        ({"x": {**FLOAT, "log": 1}}, "space.x.log", "true or false"),
        ({"x": {**FLOAT, "low": 0.1, "log": True, "step": 0.1}}, "space.x.step", "cannot be combined"),
        ({"x": {**INT, "log": True, "step": 2}}, "space.x.step", "cannot be combined"),
        ({"x": {**FLOAT, "step": 0}}, "space.x.step", "above 0"),
        ({"x": {**FLOAT, "step": 1e-300}}, "space.x.step", "too small"),
        ({"x": {**INT, "step": -1}}, "space.x.step", "above 0"),
        ({"x": {**INT, "step": 0.5}}, "space.x.step", "integer"),
        ({"x": {**INT, "low": 0.5}}, "space.x.low", "type: float"),
        ({"x": {**INT, "high": 2**53 + 1}}, "space.x.high", "within"),
        ({"x": {"type": "categorical"}}, "space.x.choices", "list"),
        ({"x": {"type": "categorical", "choices": []}}, "space.x.choices", "1 to 1000"),
        ({"x": {"type": "categorical", "choices": "ab"}}, "space.x.choices", "list"),
        ({"x": {"type": "categorical", "choices": list(range(1001))}}, "space.x.choices", "not 1001"),
        ({"x": {"type": "categorical", "choices": ["a", "b", "a"]}}, "space.x.choices.2", "repeats 'a'"),
        ({"x": {"type": "categorical", "choices": [1, True]}}, "space.x.choices.1", "true counts as 1"),
        ({"x": {"type": "categorical", "choices": [[1]]}}, "space.x.choices.0", "must be a text"),
        ({"x": {"type": "categorical", "choices": [float("nan")]}}, "space.x.choices.0", "finite"),
        ({"x": {"type": "categorical", "choices": [2**60]}}, "space.x.choices.0", "within"),
        ({"x": {"type": "categorical", "choices": ["a\x00"]}}, "space.x.choices.0", "NUL"),
        ({"x": {"type": "categorical", "choices": ["\ud800"]}}, "space.x.choices.0", "surrogate"),
        ({"x": {"type": "categorical", "choices": ["a" * 1001]}}, "space.x.choices.0", "1000 characters"),
        ({"a b": FLOAT}, "space.a b", "letters"),
        ({"": FLOAT}, "space.", "letters"),
        ({"x" * 129: FLOAT}, f"space.{'x' * 129}", "128"),
        ({"x\x00": FLOAT}, "space.x\x00", "letters"),
        ({"x\n": FLOAT}, "space.x\n", "letters"),
        ({3: FLOAT}, "space.3", "letters"),
        ({f"x{i}": FLOAT for i in range(501)}, "space", "at most 500"),
        ({"x": {**FLOAT, "when": {}}}, "space.x.when", "mapping"),
        ({"x": {**FLOAT, "when": "y"}}, "space.x.when", "mapping"),
        ({"yes": INT, "x": {**FLOAT, "when": {"yess": 1}}}, "space.x.when.yess", "did you mean yes"),
        ({"y": INT, "x": {**FLOAT, "when": {"y": 5}}}, "space.x.when.y", "from 1 to 4"),
        ({"y": INT, "x": {**FLOAT, "when": {"y": []}}}, "space.x.when.y", "1 to 1000"),
        ({"y": INT, "x": {**FLOAT, "when": {"y": {}}}}, "space.x.when.y", "gt, ge, lt, le"),
        ({"y": INT, "x": {**FLOAT, "when": {"y": {"min": 2}}}}, "space.x.when.y", "gt, ge, lt, le"),
        ({"y": INT, "x": {**FLOAT, "when": {"y": {"ge": "2"}}}}, "space.x.when.y", "gt, ge, lt, le"),
        ({"y": INT, "x": {**FLOAT, "when": {"y": {"gt": 4}}}}, "space.x.when", "can never be met"),
        ({"y": INT, "x": {**FLOAT, "when": {"y": {"gt": 2, "lt": 3}}}}, "space.x.when", "can never be met"),
        ({"y": FLOAT, "x": {**FLOAT, "when": {"y": {"ge": 2}}}}, "space.x.when", "can never be met"),
        ({"y": FLOAT, "x": {**FLOAT, "when": {"y": {"gt": 1}}}}, "space.x.when", "can never be met"),
        ({"y": FLOAT, "x": {**FLOAT, "when": {"y": 0.5}}}, "space.x.when.y", "gt, ge, lt or le"),
        ({"y": {"type": "categorical", "choices": ["a", "b"]}, "x": {**FLOAT, "when": {"y": "c"}}}, "space.x.when.y", "'a', 'b'"),
        ({"y": {"type": "categorical", "choices": [1, 2]}, "x": {**FLOAT, "when": {"y": True}}}, "space.x.when.y", "not true"),
        (
            {"y": {"type": "categorical", "choices": [1, 2]}, "x": {**FLOAT, "when": {"y": {"ge": 2}}}},
            "space.x.when.y",
            "list some",
        ),
        ({"x": {**INT, "when": {"x": 1}}}, "space.x.when", "x -> x"),
        (
            {"a": {**INT, "when": {"b": 1}}, "b": {**INT, "when": {"c": 1}}, "c": {**INT, "when": {"a": 1}}},
            "space.a.when",
            "a -> b -> c -> a",
        ),
    ],
)
def test_refuses(raw: Any, loc: str, says: str) -> None:
    found = problems(raw)
    assert list(found) == [loc]
    assert says in found[loc]


def test_a_contradiction_with_an_ancestor_can_never_be_met() -> None:
    found = problems(
        {
            "name": {"type": "categorical", "choices": ["a", "b"]},
            "child": {**INT, "when": {"name": "a"}},
            "grandchild": {**INT, "when": {"child": 1, "name": "b"}},
            "after": {**INT, "when": {"grandchild": 2}},
        }
    )
    assert found == {"space.grandchild.when": "can never be met: name has no value for which name is 'a' and name is 'b'"}


def test_reports_all_problems_at_once() -> None:
    found = problems(
        {
            "a": {"type": "float", "low": "x", "high": None, "hihg": 1},
            "b": {"type": "categorical", "choices": [1, 1, []]},
            "c": {**INT, "when": {"a": 1, "nobody": 2}},
            "d d": {},
        }
    )
    assert set(found) == {
        "space.a.hihg",
        "space.a.low",
        "space.a.high",
        "space.b.choices.1",
        "space.b.choices.2",
        "space.c.when.nobody",
        "space.d d",
    }


def test_an_invalid_space_is_an_invalid_spec() -> None:
    with pytest.raises(InvalidSpec, match=r"space\.x\.low: must be at most high: 2 is above 1"):
        SearchSpace.parse({"x": {"type": "int", "low": 2, "high": 1}})


@pytest.mark.parametrize("raw", [OPTIMIZERS, {"x": {**FLOAT, "when": None, "step": None}}, {"x": {**FLOAT, "step": 0.3}}])
def test_json_round_trip(raw: dict[str, Any]) -> None:
    space = SearchSpace.parse(raw)
    assert SearchSpace.parse(json.loads(json.dumps(space.to_json()))) == space


def test_order_is_parents_first_else_as_declared() -> None:
    space = SearchSpace.parse({"c": {**INT, "when": {"b": 1}}, "x": INT, "b": {**INT, "when": {"a": 1}}, "a": INT, "y": INT})
    assert space.order == ("x", "a", "b", "c", "y")
    assert list(space.parameters) == ["c", "x", "b", "a", "y"]
    assert list(space.roots) == ["x", "a", "y"]
    assert space.is_conditional


def test_the_largest_space_with_one_chain_of_conditions_is_read_quickly() -> None:
    names = [f"x{i}" for i in range(500)]
    raw: dict[str, Any] = {names[0]: INT} | {
        child: {**INT, "when": {parent: [1, 2]}} for parent, child in itertools.pairwise(names)
    }
    space = SearchSpace.parse(dict(reversed(raw.items())))
    assert space.order == tuple(names)
    expected = 4
    for _ in range(499):
        expected = 2 + 2 * expected
    assert space.num_cells() == expected
    assert space.is_active("x499", dict.fromkeys(names, 1))
    assert not space.is_active("x499", dict.fromkeys(names, 1) | {"x3": 3})


# --- activity and checks --------------------------------------------------------------------------------------------------


def test_a_parameter_is_active_where_all_its_ancestors_say_so() -> None:
    space = SearchSpace.parse(OPTIMIZERS)
    assert space.is_active("depth", {})
    assert space.is_active("optimizer.momentum", {"optimizer.name": "momentum"})
    assert not space.is_active("optimizer.momentum", {"optimizer.name": "adam"})
    assert not space.is_active("optimizer.momentum", {})
    assert space.is_active("width.3", {"depth": 3, "width.2": 16})
    assert not space.is_active("width.3", {"depth": 2, "width.2": 16})
    assert not space.is_active("width.3", {"depth": 3, "width.2": 8})


def test_a_child_of_an_inactive_parent_is_inactive_whatever_value_it_is_given() -> None:
    space = SearchSpace.parse(
        {
            "a": {"type": "categorical", "choices": [True, False]},
            "b": {**INT, "when": {"a": True}},
            "c": {**INT, "when": {"b": {"le": 4}}},
        }
    )
    assert space.is_active("c", {"a": True, "b": 1})
    assert not space.is_active("c", {"a": False, "b": 1})
    assert not space.is_active("c", {"a": 1, "b": 1})


def test_conditions_see_grid_points_through_rounding() -> None:
    space = SearchSpace.parse(
        {"x": {**FLOAT, "step": 0.1}, "at": {**INT, "when": {"x": [0.1 * 3]}}, "upto": {**INT, "when": {"x": {"le": 0.3}}}}
    )
    assert 0.1 * 3 != 0.3
    for name in ("at", "upto"):
        assert space.is_active(name, {"x": 0.1 * 3})
        assert space.is_active(name, {"x": 0.3})
        assert not space.is_active(name, {"x": 0.4})


@pytest.mark.parametrize("value", [None, "a", True, float("nan"), [], 10**400])
def test_a_value_of_another_type_meets_no_numeric_condition(value: Any) -> None:
    space = SearchSpace.parse(
        {"y": {**FLOAT, "step": 0.5}, "x": {**INT, "when": {"y": {"ge": 0}}}, "z": {**INT, "when": {"y": {"lt": 1}}}}
    )
    assert not (space.is_active("x", {"y": value}) and space.is_active("z", {"y": value}))


def test_check_gives_the_canonical_configuration_in_order() -> None:
    space = SearchSpace.parse(OPTIMIZERS | {"lr": FLOAT, "choice": {"type": "categorical", "choices": [0.5, 1.0, None]}})
    checked = space.check(
        {"choice": 1, "lr": 1, "width.2": 8.0, "depth": 2, "optimizer.momentum": 0.1 * 3, "optimizer.name": "momentum"}
    )
    assert list(checked.items()) == [
        ("optimizer.name", "momentum"),
        ("optimizer.momentum", 0.3),
        ("depth", 2),
        ("width.2", 8),
        ("lr", 1.0),
        ("choice", 1.0),
    ]
    assert [type(value) for value in checked.values()] == [str, float, int, int, float, float]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"depth": ...}, {"params.depth": "is missing"}),
        ({"depht": 2}, {"params.depht": "no such parameter; did you mean depth?"}),
        ({"depth": 5}, {"params.depth": "must be an integer from 1 to 4, not 5"}),
        ({"depth": 1.5}, {"params.depth": "must be an integer from 1 to 4, not 1.5"}),
        ({"depth": True}, {"params.depth": "must be an integer from 1 to 4, not true"}),
        ({"depth": "2"}, {"params.depth": "must be an integer from 1 to 4, not '2'"}),
        ({"optimizer.name": "rmsprop"}, {"params.optimizer.name": "must be one of 'sgd', 'momentum', 'adam', not 'rmsprop'"}),
        ({"optimizer.momentum": 0.5}, {"params.optimizer.momentum": "is only allowed where optimizer.name is 'momentum'"}),
        ({"optimizer.name": "momentum"}, {"params.optimizer.momentum": "is missing"}),
        (
            {"optimizer.name": "momentum", "optimizer.momentum": 0.25},
            {"params.optimizer.momentum": "must be 0 plus a multiple of 0.1, not 0.25"},
        ),
        (
            {"optimizer.name": "momentum", "optimizer.momentum": 1.0},
            {"params.optimizer.momentum": "must be a number from 0 to 0.9, not 1"},
        ),
        ({"width.3": 8}, {"params.width.3": "is only allowed where depth >= 3 and depth >= 2 and width.2 > 8"}),
        ({"lr": float("nan")}, {"params.lr": "must be a number from 0 to 1, not nan"}),
        ({"lr": float("inf")}, {"params.lr": "must be a number from 0 to 1, not inf"}),
        ({"lr": None}, {"params.lr": "must be a number from 0 to 1, not null"}),
        ({"lr": False}, {"params.lr": "must be a number from 0 to 1, not false"}),
        (
            {"depth": 9, "lr": 9},
            {"params.depth": "must be an integer from 1 to 4, not 9", "params.lr": "must be a number from 0 to 1, not 9"},
        ),
    ],
)
def test_check_refuses(change: dict[str, Any], expected: dict[str, str]) -> None:
    space = SearchSpace.parse(OPTIMIZERS | {"lr": FLOAT})
    params = {"optimizer.name": "adam", "depth": 1, "lr": 0.5} | change
    assert value_problems(space, {name: value for name, value in params.items() if value is not ...}) == expected


# --- cells ----------------------------------------------------------------------------------------------------------------


def test_cells_of_a_conditional_space() -> None:
    space = SearchSpace.parse({"a": {"type": "categorical", "choices": ["x", "y"]}, "b": {**INT, "high": 2, "when": {"a": "y"}}})
    assert list(space.cells()) == [{"a": "x"}, {"a": "y", "b": 1}, {"a": "y", "b": 2}]
    assert space.num_cells() == 3


def test_large_spaces_are_counted_without_enumerating() -> None:
    raw: dict[str, Any] = {f"x{i}": {"type": "int", "low": 1, "high": 2**53} for i in range(100)}
    raw |= {"half": {**INT, "when": {"x0": {"gt": 2**52}}}}
    half = 2**53 // 2
    assert SearchSpace.parse(raw).num_cells() == (half + half * 4) * 2 ** (53 * 99)


def test_a_hundred_switches_with_a_child_each_are_counted() -> None:
    switches = {f"use{i}": {"type": "categorical", "choices": [False, True]} for i in range(100)}
    children = {f"x{i}": {**INT, "when": {f"use{i}": True}} for i in range(100)}
    assert SearchSpace.parse(switches | children).num_cells() == 5**100


def test_a_continuum_has_no_cells() -> None:
    space = SearchSpace.parse({"x": FLOAT, "y": INT})
    assert space.num_cells() is None
    with pytest.raises(InvalidSpace, match=r"space\.x: has a continuum"):
        space.cells()


def test_a_single_float_is_one_cell() -> None:
    space = SearchSpace.parse({"x": {"type": "float", "low": 0.5, "high": 0.5}})
    assert list(space.cells()) == [{"x": 0.5}]
    assert space.num_cells() == 1


def test_conditions_too_entangled_to_count_are_refused_with_a_sentence() -> None:
    parents = {f"p{i}": {"type": "categorical", "choices": [False, True]} for i in range(40)}
    children = {
        f"c{i}": {**INT, "when": {f"p{i}": True, f"p{(i * 7 + 20) % 40}": True, f"p{(i * 11 + 3) % 40}": True}} for i in range(40)
    }
    space = SearchSpace.parse(parents | children)
    with pytest.raises(InvalidSpace, match="space: has conditions too entangled"):
        space.num_cells()


@st.composite
def spaces(draw: st.DrawFn) -> dict[str, Any]:
    """Small finite spaces whose conditions chain, join and compare; some cannot be met."""
    raw: dict[str, Any] = {}
    for index in range(draw(st.integers(1, 5))):
        kind = draw(st.sampled_from(["float", "int", "categorical"]))
        if kind == "categorical":
            choices = draw(st.lists(st.sampled_from(["a", "b", None, True, 7, 0.5]), min_size=1, max_size=3, unique=True))
            body: dict[str, Any] = {"type": kind, "choices": choices}
        elif kind == "int":
            low = draw(st.integers(-3, 3))
            body = {"type": kind, "low": low, "high": low + draw(st.integers(0, 5)), "step": draw(st.integers(1, 3))}
        else:
            start = draw(st.sampled_from([-0.3, 0.0, 0.1]))
            body = {
                "type": kind,
                "low": start,
                "high": start + draw(st.sampled_from([0.0, 0.25, 0.5])),
                "step": draw(st.sampled_from([0.1, 0.2])),
            }
        parents = draw(st.lists(st.sampled_from(list(raw)), max_size=2, unique=True)) if raw else []
        for parent in parents:
            values = _values(raw[parent])
            if raw[parent]["type"] == "categorical" or draw(st.booleans()):
                wanted: Any = draw(st.lists(st.sampled_from(values), min_size=1, max_size=2))
            else:
                keys = draw(st.lists(st.sampled_from(["gt", "ge", "lt", "le"]), min_size=1, max_size=2, unique=True))
                wanted = {key: draw(st.sampled_from([*values, 0.15, 1])) for key in keys}
            body.setdefault("when", {})[parent] = wanted
        raw[f"x{index}"] = body
    return raw


def _values(body: dict[str, Any]) -> list[Any]:
    if body["type"] == "categorical":
        return list(body["choices"])
    count = int((body["high"] - body["low"]) / body["step"] + 1e-6) + 1
    return [type(body["low"])(round(body["low"] + index * body["step"], 10)) for index in range(count)]


def _expected_cells(raw: dict[str, Any]) -> set[tuple[tuple[str, Any], ...]]:
    """By definition: all combinations, with each parameter left out whose condition does not hold."""
    found = set()
    for combination in itertools.product(*map(_values, (raw[name] for name in raw))):
        cell: dict[str, Any] = {}
        for (name, body), value in zip(raw.items(), combination, strict=True):  # parents are declared before their children
            if all(parent in cell and _holds(cell[parent], wanted) for parent, wanted in body.get("when", {}).items()):
                cell[name] = value
        found.add(tuple((name, repr(value)) for name, value in cell.items()))
    return found


def _holds(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, list):
        return any(value == one and type(value) is type(one) for one in wanted)
    return all(getattr(operator, key)(value, bound) for key, bound in wanted.items())


@settings(max_examples=300, deadline=None)
@given(spaces())
def test_cells_are_all_configurations_once_each_and_in_number_as_counted(raw: dict[str, Any]) -> None:
    try:
        space = SearchSpace.parse(raw)
    except InvalidSpace:
        found = problems(raw)
        unreachable = {loc.removeprefix("space.").removesuffix(".when") for loc in found}
        assert set(found.values()) == {msg for msg in found.values() if "can never be met" in msg}
        assert not any(name in unreachable for cell in _expected_cells(raw) for name, _ in cell)
        return
    cells = list(space.cells())
    seen = {tuple((name, repr(value)) for name, value in cell.items()) for cell in cells}
    assert len(seen) == len(cells) == space.num_cells()
    assert seen == _expected_cells(raw)
    assert {name for cell in cells for name in cell} == set(raw)
    for cell in cells:
        assert space.check(cell) == cell


# --- Optuna ---------------------------------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(
    low=st.floats(-1e6, 1e6).map(lambda x: round(x, 3)),
    width=st.floats(0, 20).map(lambda x: round(x, 4)),
    step=st.sampled_from([0.1, 0.25, 0.3, 0.01, 1.0, 7.5]),
)
def test_float_grids_are_those_of_optuna(low: float, width: float, step: float) -> None:
    space = SearchSpace.parse({"x": {"type": "float", "low": low, "high": low + width, "step": step}})
    parameter = space.parameters["x"]
    assert isinstance(parameter, FloatParameter)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        distribution = FloatDistribution(low, low + width, step=step)
    assert parameter.high == distribution.high
    values = [cell["x"] for cell in space.cells()]
    assert values == list(_enumerate_candidates(distribution.low, distribution.high, distribution.step))
    for index, value in enumerate(values):
        as_sampled = distribution.low + index * step  # what samplers compute
        assert parameter.canonical(as_sampled) == value
        assert parameter.check(as_sampled) == value


@given(low=st.integers(-100, 100), width=st.integers(0, 100), step=st.integers(1, 30))
def test_int_grids_are_those_of_optuna(low: int, width: int, step: int) -> None:
    parameter = IntParameter(low, low + width, step=step)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        distribution = IntDistribution(low, low + width, step=step)
    assert parameter.high == distribution.high
    values = [parameter.value_at(index) for index in range(parameter.num_values)]
    assert values == list(_enumerate_candidates(distribution.low, distribution.high, distribution.step))


def test_a_condition_in_words() -> None:
    assert str(Condition(parent="a", values=("x", None))) == "a is 'x' or null"
    assert str(Condition(parent="a", gt=1, le=2.5)) == "a > 1 and a <= 2.5"
