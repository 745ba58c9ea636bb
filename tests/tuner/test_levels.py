from __future__ import annotations

from typing import Any

import pytest

from tests.tuner.specs import external
from tuner import levels
from tuner.errors import InvalidSpec
from tuner.spec import StudySpec

SPACE = {
    "opt": {"type": "categorical", "choices": ["adam", "sgd", "lbfgs"]},
    "one": {"type": "categorical", "choices": ["only"]},
    "kind": {"type": "categorical", "choices": ["a", "b"], "when": {"opt": "adam"}},
    "lr": {"type": "float", "low": 0.0, "high": 1.0},
}


@pytest.mark.parametrize(
    "compare, changes, said",
    [
        ({"by": "opd"}, {}, r"compare\.by: 'opd' is no parameter of the space; did you mean opt"),
        ({"by": "lr"}, {}, r"compare\.by: must be a categorical parameter, lr is of type float"),
        ({"by": "kind"}, {}, r"compare\.by: must be a parameter that every trial has, kind has a condition"),
        ({"by": "one"}, {}, r"compare\.by: must have at least two choices, one has one"),
        (
            {"by": "opt"},
            {"limits": {"max_trials": 2}},
            r"limits\.max_trials: must be at least 3, one trial for each choice of opt",
        ),
        ({"by": "opt", "seeds": 0}, {}, r"compare\.seeds: must be an integer from 1"),
        ({"by": 3}, {}, r"compare\.by: must be the name of a categorical parameter"),
        ({}, {}, r"compare\.by: is missing"),
        ({"by": "opt", "seed": 1}, {}, r"compare\.seed: unknown key; did you mean seeds"),
        ("opt", {}, "compare: must be a mapping such as {by: optimizer.name}"),
    ],
)
def test_what_cannot_be_compared(compare: Any, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidSpec, match=said) as caught:
        external(space=SPACE, compare=compare, **changes)
    assert len(caught.value.errors) <= 2


@pytest.mark.parametrize("sampler", ["grid", "brute_force"])
def test_samplers_that_run_everything_give_no_equal_budgets(sampler: str) -> None:
    space = {"opt": SPACE["opt"], "depth": {"type": "int", "low": 1, "high": 3}}
    with pytest.raises(InvalidSpec, match=rf"sampler\.name: {sampler} runs every configuration") as caught:
        external(space=space, compare={"by": "opt"}, sampler={"name": sampler})
    assert len(caught.value.errors) == 1


def test_what_can_be_compared() -> None:
    spec = external(space=SPACE, compare={"by": "opt"}, limits={"max_trials": None})
    assert spec.to_json()["compare"] == {"by": "opt", "seeds": None}
    assert StudySpec.parse(spec.to_json()) == spec
    # Studies that compare nothing keep the digest they had.
    assert "compare" not in external(space=SPACE).to_json()
    assert external(space=SPACE, compare=None).digest() == external(space=SPACE).digest() != spec.digest()


def test_blocks_and_seeds() -> None:
    assert [levels.block_of(number, 3) for number in range(7)] == [0, 0, 0, 1, 1, 1, 2]
    assert [levels.seed_place(number, 3, None) for number in range(7)] == [0, 0, 0, 1, 1, 1, 2]
    assert [levels.seed_place(number, 2, 2) for number in range(8)] == [0, 0, 1, 1, 0, 0, 1, 1]
    assert [levels.seed_place(number, 1, None) for number in range(3)] == [0, 1, 2]
