"""Study specs: what is refused and in which words, defaults, round trips, digests."""

from __future__ import annotations

import hashlib
import json
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuner.errors import InvalidSpec
from tuner.spec import Direction, Executor, Limits, StudySpec
from tuner.spec_errors import MAX_ERRORS
from tuner.strategy_spec import PrunerSpec, SamplerSpec

X = {"type": "float", "low": 0, "high": 1}
SPEC: dict[str, Any] = {"objectives": [{"name": "loss", "direction": "minimize"}], "space": {"x": X}}
TWO = [{"name": "loss", "direction": "minimize"}, {"name": "size", "direction": "minimize"}]
TRAINER: dict[str, Any] = {
    "objectives": [{"name": "val_accuracy", "direction": "maximize"}],
    "space": {
        "optimizer.name": {"type": "categorical", "choices": ["momentum", "adam"]},
        "optimizer.lr": {"type": "float", "low": 1e-5, "high": 1, "log": True},
        "optimizer.momentum": {"type": "float", "low": 0, "high": 0.99, "when": {"optimizer.name": "momentum"}},
    },
    "trial": {"executor": "trainer", "trainer": {"dataset": {"name": "digits"}, "model": {"name": "mlp"}, "epochs": 2}},
}


def problems(changes: dict[str, Any], base: dict[str, Any] = SPEC) -> dict[str, str]:
    data = {key: value for key, value in (base | changes).items() if value is not ...}
    with pytest.raises(InvalidSpec) as caught:
        StudySpec.parse(data)
    assert all(error.msg and "\n" not in error.msg for error in caught.value.errors)
    assert len(caught.value.errors) == len(set(caught.value.errors))
    return {error.loc: error.msg for error in caught.value.errors}


# --- what is right --------------------------------------------------------------------------------------------------------


def test_defaults() -> None:
    spec = StudySpec.parse(SPEC)
    assert spec.to_json() == {
        "name": None,
        "objectives": [{"name": "loss", "direction": "minimize"}],
        "space": {"x": {"type": "float", "low": 0.0, "high": 1.0, "log": False, "step": None}},
        "sampler": {"name": "auto", "seed": None},
        "pruner": {"name": "auto"},
        "trial": {"executor": "external", "resources": {"gpus": 0.0, "cpus": 1.0}},
        "limits": {
            "max_trials": 100,
            "max_concurrent_trials": None,
            "max_failed_trials": None,
            "max_attempts": 3,
            "timeout": None,
            "trial_timeout": None,
            "max_gpu_seconds": None,
            "target": None,
        },
        "tags": [],
        "notes": "",
    }
    assert spec.objectives[0].direction is Direction.MINIMIZE
    assert spec.trial.executor is Executor.EXTERNAL


FULL: list[dict[str, Any]] = [
    SPEC,
    TRAINER,
    SPEC
    | {
        "name": "a study (2)",
        "tags": ["a", "b"],
        "notes": "line\nline",
        "objectives": TWO,
        "sampler": {"name": "gp", "seed": 2**32 - 1},
    },
    SPEC | {"sampler": {"name": "tpe", "seed": 0, "n_startup_trials": 3.0, "multivariate": None, "group": True}},
    SPEC | {"pruner": {"name": "patient", "patience": 3, "wrapped": {"name": "percentile", "percentile": 25}}},
    SPEC
    | {"trial": {"executor": "entrypoint", "entrypoint": "package.module:Class.method", "resources": {"gpus": 0.5, "cpus": 0}}},
    SPEC | {"trial": {"executor": "entrypoint", "entrypoint": "f:g", "args": {"deep": [{"a": None}]}, "resources": {"gpus": 8}}},
    SPEC | {"trial": {"executor": "command", "command": ["./train", "--lr={x}", "{seed}{number}", '{{"a": 1}}']}},
    SPEC | {"limits": {"max_trials": None, "timeout": 0.5, "target": -3, "max_failed_trials": 0, "max_concurrent_trials": 500}},
    SPEC
    | {"sampler": {"name": "grid"}, "space": {"x": {**X, "step": 0.25}, "n": {"type": "int", "low": 1, "high": 9, "log": True}}},
    SPEC | {"sampler": {"name": "brute_force"}, "space": {"x": {"type": "float", "low": 1, "high": 1}}},
]


@pytest.mark.parametrize("data", FULL)
def test_round_trip(data: dict[str, Any]) -> None:
    spec = StudySpec.parse(data)
    again = StudySpec.parse(json.loads(json.dumps(spec.to_json(), allow_nan=False)))
    assert again == spec
    assert again.to_json() == spec.to_json()
    assert again.digest() == spec.digest()


def test_parts_of_other_executors_are_not_in_the_json() -> None:
    trial = StudySpec.parse(FULL[5]).to_json()["trial"]
    assert trial == {
        "executor": "entrypoint",
        "entrypoint": "package.module:Class.method",
        "args": {},
        "resources": {"gpus": 0.5, "cpus": 0.0},
    }


def test_options_stand_beside_the_name() -> None:
    sampler = SamplerSpec.model_validate({"name": "tpe", "seed": 1, "n_startup_trials": 3.0})
    assert sampler == SamplerSpec(name="tpe", seed=1, options={"n_startup_trials": 3})
    assert sampler.to_json() == {"name": "tpe", "seed": 1, "n_startup_trials": 3}
    assert type(sampler.options["n_startup_trials"]) is int
    assert PrunerSpec(name="percentile", options={"percentile": 30}).to_json() == {"name": "percentile", "percentile": 30.0}


def test_the_digest_is_of_all_but_the_name() -> None:
    digest = StudySpec.parse(SPEC).digest()
    assert len(digest) == len(hashlib.sha256().hexdigest())
    assert StudySpec.parse(SPEC | {"name": "other"}).digest() == digest
    assert StudySpec.parse(SPEC | {"limits": {"max_trials": 100}}).digest() == digest
    assert StudySpec.parse(dict(reversed(SPEC.items()))).digest() == digest
    others: list[dict[str, Any]] = [
        {"notes": "n"},
        {"sampler": {"seed": 1}},
        {"space": {"x": {**X, "log": True, "low": 0.1}}},
        {"limits": {"max_trials": 101}},
    ]
    assert len({digest, *(StudySpec.parse(SPEC | other).digest() for other in others)}) == 5


def test_the_digest_knows_the_order_of_parameters() -> None:
    assert (
        StudySpec.parse(SPEC | {"space": {"a": X, "b": X}}).digest()
        != StudySpec.parse(SPEC | {"space": {"b": X, "a": X}}).digest()
    )


def test_a_spec_cannot_be_changed() -> None:
    spec = StudySpec.parse(SPEC)
    with pytest.raises(ValueError, match="frozen"):
        spec.limits.max_trials = 3  # type: ignore[misc]


def test_json_schema_describes_every_field() -> None:
    schema = StudySpec.model_json_schema()
    for model in (schema, *schema["$defs"].values()):
        assert all("description" in field for field in model.get("properties", {}).values())


# --- what is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [None, [], 3, "objectives", True])
def test_refuses_what_is_no_mapping(data: Any) -> None:
    with pytest.raises(InvalidSpec, match="must be a mapping with at least objectives and space"):
        StudySpec.parse(data)


@pytest.mark.parametrize(
    ("changes", "loc", "says"),
    [
        ({"objectives": ...}, "objectives", "is missing"),
        ({"objectives": []}, "objectives", "1 to 32"),
        ({"objectives": {"name": "loss"}}, "objectives", "a list of"),
        ({"objectives": ["loss"]}, "objectives.0", "a mapping such as {name: val_loss"),
        ({"objectives": [{"name": "loss"}]}, "objectives.0.direction", "is missing: maximize or minimize"),
        (
            {"objectives": [{"name": "loss", "direction": "max"}]},
            "objectives.0.direction",
            "must be maximize or minimize, not 'max'",
        ),
        ({"objectives": [{"name": "", "direction": "minimize"}]}, "objectives.0.name", "1 to 128"),
        ({"objectives": [{"name": "a\nb", "direction": "minimize"}]}, "objectives.0.name", "printable"),
        ({"objectives": [{"name": 3, "direction": "minimize"}]}, "objectives.0.name", "printable"),
        ({"objectives": [{"name": "loss", "direction": "minimize", "goal": 3}]}, "objectives.0.goal", "unknown key"),
        ({"objectives": [*TWO, TWO[0]]}, "objectives.2.name", "repeats 'loss'"),
        ({"space": ...}, "space", "is missing"),
        ({"space": {}}, "space", "at least one parameter"),
        ({"space": {"x": {**X, "low": 3}}}, "space.x.low", "must be at most high: 3 is above 1"),
        ({"space": {"x": {**X, "low": float("nan")}}}, "space.x.low", "finite"),
        ({"spaec": {}}, "spaec", "did you mean space?"),
        ({"(odd": 1}, "(odd", "unknown key"),
        ({"name": "x" * 300}, "name", "1 to 128"),
        ({"name": ""}, "name", "1 to 128"),
        ({"name": "123"}, "name", "not digits only"),
        ({"name": "a/b"}, "name", "without '/'"),
        ({"name": "a\tb"}, "name", "printable"),
        ({"name": " a"}, "name", "blanks"),
        ({"name": ".."}, "name", "must be"),
        ({"name": 5}, "name", "must be"),
        ({"name": "a\x00"}, "name", "NUL"),
        ({"tags": "demo"}, "tags", "a list"),
        ({"tags": ["a", 3]}, "tags.1", "a text of 1 to 500"),
        ({"tags": ["a"] * 51}, "tags", "at most 50"),
        ({"notes": "n" * 20_001}, "notes", "20000"),
        ({"notes": "\ud800"}, "notes", "surrogate"),
        ({"sampler": "tpe"}, "sampler", "a mapping such as"),
        ({"sampler": None}, "sampler", "a mapping such as"),
        ({"sampler": {"name": "tp"}}, "sampler.name", "did you mean tpe?"),
        ({"sampler": {"name": ["tpe"]}}, "sampler.name", "one of auto"),
        ({"sampler": {"seed": -1}}, "sampler.seed", "0 to 4294967295"),
        ({"sampler": {"seed": 2**32}}, "sampler.seed", "0 to 4294967295"),
        ({"sampler": {"seed": "7"}}, "sampler.seed", "not '7'"),
        ({"sampler": {"seed": True}}, "sampler.seed", "not true"),
        (
            {"sampler": {"name": "random", "n_startup_trials": 1}},
            "sampler.n_startup_trials",
            "random has no such option; it has none",
        ),
        ({"sampler": {"name": "tpe", "n_startup_trails": 1}}, "sampler.n_startup_trails", "did you mean n_startup_trials?"),
        ({"sampler": {"name": "tpe", "options": 1}}, "sampler.options", "no such option"),
        ({"sampler": {"name": "tpe", "n_startup_trials": -1}}, "sampler.n_startup_trials", "an integer of at least 0, not -1"),
        ({"sampler": {"name": "tpe", "n_startup_trials": 2.5}}, "sampler.n_startup_trials", "an integer"),
        ({"sampler": {"name": "tpe", "multivariate": 1}}, "sampler.multivariate", "true or false or null, not 1"),
        ({"sampler": {"name": "tpe", "group": True, "multivariate": False}}, "sampler.group", "needs multivariate"),
        ({"sampler": {"name": "qmc", "qmc_type": "lattice"}}, "sampler.qmc_type", "sobol or halton"),
        ({"sampler": {"name": "cmaes", "sigma0": 0}}, "sampler.sigma0", "above 0"),
        ({"sampler": {"name": "cmaes", "lr_adapt": True, "with_margin": True}}, "sampler.with_margin", "cannot be combined"),
        ({"sampler": {"name": "nsga2", "population_size": 1}}, "sampler.population_size", "at least 2"),
        ({"sampler": {"name": "nsga3", "crossover_prob": 1.5}}, "sampler.crossover_prob", "from 0 to 1"),
        ({"sampler": {"name": "cmaes"}, "objectives": TWO}, "sampler.name", "single objective"),
        ({"sampler": {"name": "grid"}}, "space.x", "give x a step or choose another sampler"),
        ({"sampler": {"name": "brute_force"}}, "space.x", "give x a step"),
        ({"sampler": {"name": "grid"}, "space": {"x": {**X, "low": 0.1, "log": True}}}, "space.x", "list its values as choices"),
        (
            {"sampler": {"name": "cmaes"}, "space": {"c": {"type": "categorical", "choices": [1, 2]}}},
            "sampler.name",
            "float or int",
        ),
        ({"pruner": {"name": "medain"}}, "pruner.name", "did you mean median?"),
        ({"pruner": {"name": "promotion"}}, "pruner.max_resource", "is missing: promotion needs"),
        ({"pruner": {"name": "promotion", "max_resource": 9, "eta": 1}}, "pruner.eta", "at least 2"),
        ({"pruner": {"name": "promotion", "max_resource": 9, "min_resource": 10}}, "pruner.min_resource", "10 is above 9"),
        (
            {"pruner": {"name": "promotion", "max_resource": 9, "brackets": 4}},
            "pruner.brackets",
            "at most 3, the number of rungs",
        ),
        ({"pruner": {"name": "population"}}, "pruner.max_resource", "is missing: population needs"),
        ({"pruner": {"name": "population", "max_resource": 9, "size": 3}}, "pruner.size", "must be at least 4"),
        ({"pruner": {"name": "population", "max_resource": 9, "quantile": 0.6}}, "pruner.quantile", "from 0.01 to 0.5"),
        ({"pruner": {"name": "population", "max_resource": 9, "interval": 9}}, "pruner.interval", "must be below 9"),
        ({"pruner": {"name": "population", "max_resource": 9, "interval": 0}}, "pruner.interval", "at least 1"),
        ({"pruner": {"name": "population", "max_resource": 1}}, "pruner.interval", "must be below 1"),
        (
            {"pruner": {"name": "population", "max_resource": 9, "keep": ["y"]}},
            "pruner.keep.0",
            "no such parameter: 'y'; there are x",
        ),
        ({"pruner": {"name": "population", "max_resource": 9, "keep": "x"}}, "pruner.keep", "a list of at most 500 names"),
        (
            {"pruner": {"name": "population", "max_resource": 9, "keep": ["x"]}},
            "pruner.name",
            "no parameter to perturb: there is none",
        ),
        ({"pruner": {"name": "population", "max_resource": 9, "sise": 9}}, "pruner.sise", "did you mean size?"),
        ({"pruner": {"name": "population", "max_resource": 9}, "objectives": TWO}, "pruner.name", "single objective"),
        (
            {"pruner": {"name": "population", "max_resource": 9}, "limits": {"max_trials": 15}},
            "limits.max_trials",
            "at least the size of the population, 16, not 15",
        ),
        (
            {
                "pruner": {"name": "population", "max_resource": 9},
                "space": {"x": X, "c": {"type": "categorical", "choices": ["a", "b"]}},
                "compare": {"by": "c"},
            },
            "pruner.name",
            "which compare sets equal",
        ),
        (
            {
                "pruner": {"name": "population"},
                "objectives": [{"name": "val_loss", "direction": "minimize"}],
                "space": {"model.dim": {"type": "int", "low": 8, "high": 64}},
                "trial": {
                    "executor": "trainer",
                    "trainer": {"dataset": {"name": "digits"}, "model": {"name": "vit", "heads": 1}},
                },
            },
            "pruner.name",
            "the trainer keeps what decides the shape of a checkpoint",
        ),
        ({"pruner": {"name": "median", "interval_steps": 0}}, "pruner.interval_steps", "at least 1"),
        ({"pruner": {"name": "percentile"}}, "pruner.percentile", "is missing"),
        ({"pruner": {"name": "percentile", "percentile": 101}}, "pruner.percentile", "from 0 to 100"),
        ({"pruner": {"name": "successive_halving", "min_resource": 0}}, "pruner.min_resource", "auto"),
        ({"pruner": {"name": "successive_halving", "reduction_factor": 1}}, "pruner.reduction_factor", "at least 2"),
        ({"pruner": {"name": "successive_halving", "bootstrap_count": 1}}, "pruner.bootstrap_count", "needs min_resource"),
        ({"pruner": {"name": "hyperband", "bootstrap_count": 1}}, "pruner.bootstrap_count", "needs max_resource"),
        ({"pruner": {"name": "hyperband", "min_resource": 9, "max_resource": 3}}, "pruner.min_resource", "at most max_resource"),
        ({"pruner": {"name": "patient"}}, "pruner.patience", "is missing"),
        ({"pruner": {"name": "patient", "patience": 1, "wrapped": "median"}}, "pruner.wrapped", "a pruner such as"),
        ({"pruner": {"name": "patient", "patience": 1, "wrapped": {"name": "patient"}}}, "pruner.wrapped", "one of median"),
        (
            {"pruner": {"name": "patient", "patience": 1, "wrapped": {"name": "threshold"}}},
            "pruner.wrapped.lower",
            "lower, upper or both",
        ),
        ({"pruner": {"name": "median", "wrapped": {"name": "median"}}}, "pruner.wrapped", "no such option"),
        ({"pruner": {"name": "threshold"}}, "pruner.lower", "lower, upper or both"),
        ({"pruner": {"name": "threshold", "lower": 2, "upper": 1}}, "pruner.lower", "at most upper"),
        ({"pruner": {"name": "wilcoxon", "p_threshold": 2}}, "pruner.p_threshold", "from 0 to 1"),
        ({"pruner": {"name": "median"}, "objectives": TWO}, "pruner.name", "single objective"),
        ({"trial": {"executor": "shell"}}, "trial.executor", "trainer, entrypoint, command or external"),
        ({"trial": {"executor": "trainer"}}, "trial.trainer", "is missing"),
        ({"trial": {"executor": "trainer", "trainer": []}}, "trial.trainer", "a mapping"),
        ({"trial": {"executor": "entrypoint"}}, "trial.entrypoint", "is missing"),
        ({"trial": {"executor": "entrypoint", "entrypoint": "a.b"}}, "trial.entrypoint", "package.module:function"),
        ({"trial": {"executor": "entrypoint", "entrypoint": "a:b\n"}}, "trial.entrypoint", "package.module:function"),
        ({"trial": {"executor": "entrypoint", "entrypoint": "a:b; import os"}}, "trial.entrypoint", "package.module:function"),
        ({"trial": {"executor": "entrypoint", "entrypoint": "a:b", "args": [1]}}, "trial.args", "a mapping"),
        ({"trial": {"executor": "entrypoint", "entrypoint": "a:b", "args": {"a": float("inf")}}}, "trial.args.a", "finite"),
        (
            {"trial": {"executor": "entrypoint", "entrypoint": "a:b", "args": {"a": {1, 2}}}},
            "trial.args.a",
            "a list or a mapping",
        ),
        ({"trial": {"executor": "entrypoint", "entrypoint": "a:b", "args": {1: 2}}}, "trial.args.1", "in quotes"),
        ({"trial": {"executor": "command"}}, "trial.command", "is missing"),
        ({"trial": {"executor": "command", "command": "python"}}, "trial.command", "a list of texts"),
        ({"trial": {"executor": "command", "command": []}}, "trial.command", "a list of texts"),
        ({"trial": {"executor": "command", "command": ["p", 3]}}, "trial.command.1", "a text"),
        ({"trial": {"executor": "command", "command": [" "]}}, "trial.command.0", "a program"),
        ({"trial": {"executor": "command", "command": ["p", "{y}"]}}, "trial.command.1", "{y} is no parameter"),
        ({"trial": {"executor": "command", "command": ["p", '{"a": 1}']}}, "trial.command.1", "write {{ and }} for braces"),
        ({"trial": {"executor": "command", "command": ["{x}"]}}, "trial.command.0", "the program is fixed"),
        ({"trial": {"executor": "external", "command": ["p"]}}, "trial.command", "only allowed with executor: command"),
        ({"trial": {"command": ["p"]}}, "trial.command", "only allowed with executor: command"),
        ({"trial": {"executor": "external", "args": {}}}, "trial.args", "only allowed with executor: entrypoint"),
        ({"trial": {"resources": {"gpus": 1.5}}}, "trial.resources.gpus", "a fraction below 1"),
        ({"trial": {"resources": {"gpus": -1}}}, "trial.resources.gpus", "not -1"),
        ({"trial": {"resources": {"gpu": 1}}}, "trial.resources.gpu", "did you mean gpus"),
        ({"limits": 3}, "limits", "a mapping"),
        ({"limits": {"max_trails": 3}}, "limits.max_trails", "did you mean max_trials?"),
        ({"limits": {"max_trials": 0}}, "limits.max_trials", "not 0"),
        ({"limits": {"max_trials": -3}}, "limits.max_trials", "not -3"),
        ({"limits": {"max_trials": "60"}}, "limits.max_trials", "not '60'"),
        ({"limits": {"max_trials": 1.5}}, "limits.max_trials", "an integer"),
        ({"limits": {"max_trials": True}}, "limits.max_trials", "not true"),
        ({"limits": {"max_attempts": None}}, "limits.max_attempts", "not null"),
        ({"limits": {"timeout": 0}}, "limits.timeout", "above 0"),
        ({"limits": {"timeout": "1h"}}, "limits.timeout", "a number of seconds"),
        ({"limits": {"target": float("nan")}}, "limits.target", "finite"),
        ({"limits": {"target": "0.9"}}, "limits.target", "finite number"),
        ({"limits": {"target": 0.9}, "objectives": TWO}, "limits.target", "single objective"),
    ],
)
def test_refuses(changes: dict[str, Any], loc: str, says: str) -> None:
    found = problems(changes)
    assert list(found) == [loc]
    assert says in found[loc]


def test_a_command_cannot_need_a_parameter_that_some_trials_lack() -> None:
    space = {"x": {"type": "int", "low": 1, "high": 2}, "y": {**X, "when": {"x": 2}}}
    found = problems({"space": space, "trial": {"executor": "command", "command": ["p", "{x}", "{y}"]}})
    assert found == {"trial.command.2": "{y} is absent from some trials, by its condition: read it from TUNER_PARAMS instead"}


def test_reports_all_problems_at_once() -> None:
    found = problems(
        {
            "name": "1",
            "objectives": [{"name": "loss"}, 3],
            "space": {"x": {**X, "low": 2}, "y": {}},
            "sampler": {"name": "tpe", "seed": -1, "n_ei_candidates": 0},
            "pruner": {"name": "none", "x": 1},
            "trial": {"executor": "entrypoint", "resources": {"cpus": -1}},
            "limits": {"max_trials": 0, "timeout": 0},
            "color": "red",
        }
    )
    assert set(found) == {
        "name",
        "objectives.0.direction",
        "objectives.1",
        "space.x.low",
        "space.y.type",
        "sampler.seed",
        "sampler.n_ei_candidates",
        "pruner.x",
        "trial.resources.cpus",
        "limits.max_trials",
        "limits.timeout",
        "color",
    }


def test_lists_a_bounded_number_of_problems() -> None:
    with pytest.raises(InvalidSpec) as caught:
        StudySpec.parse(SPEC | {"space": {f"x{i}": {} for i in range(500)}})
    assert len(caught.value.errors) == MAX_ERRORS + 1
    assert str(caught.value.errors[-1]) == "and 400 more problems"


def test_deep_and_large_input_is_refused_before_it_costs_anything() -> None:
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    nested = {"trial": {"executor": "entrypoint", "entrypoint": "a:b", "args": {"a": deep}}}
    assert list(problems(nested).values()) == ["is nested deeper than 16 levels"]
    bomb: Any = 1
    for _ in range(10):
        bomb = [bomb] * 10
    assert problems({"notes": bomb}) == {"": "holds more than 100000 values in all"}
    circle: list[Any] = []
    circle.append(circle)
    assert list(problems({"tags": circle}).values()) == ["is nested deeper than 16 levels"]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.sampled_from(["tpe", "x", "trainer", 10**400]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3) | st.sampled_from(["name", "type", "when"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(FULL), st.randoms(use_true_random=False), JSON)
def test_whatever_stands_anywhere_is_accepted_or_refused_with_sentences(data: dict[str, Any], random: Random, value: Any) -> None:
    changed = json.loads(json.dumps(data))
    place = changed
    while True:
        key = random.choice(list(place) if isinstance(place, dict) else range(len(place)))
        if not isinstance(place[key], dict | list) or not place[key] or random.random() < 0.2:
            break
        place = place[key]
    place[key] = value
    try:
        spec = StudySpec.parse(changed)
    except InvalidSpec as error:
        sentences = [str(problem) for problem in error.errors]
        assert sentences
        assert all("\n" not in problem.msg for problem in error.errors)  # noqa: PT017
        json.dumps(sentences).encode()
    else:
        assert StudySpec.parse(json.loads(json.dumps(spec.to_json(), allow_nan=False))) == spec


def test_limits_alone() -> None:
    assert Limits.parse({"max_trials": 7}).to_json() == Limits().to_json() | {"max_trials": 7}
    with pytest.raises(InvalidSpec) as caught:
        Limits.parse({"max_trials": 0, "max_trails": 1})
    assert [error.loc for error in caught.value.errors] == ["limits.max_trials", "limits.max_trails"]


# --- the built-in trainer -------------------------------------------------------------------------------------------------


def test_the_catalogue_judges_trainer_configurations_spaces_and_objectives() -> None:
    space = {**TRAINER["space"], "optimizer.momntum": X, "optimizer.lr": {"type": "float", "low": -1, "high": 1}}
    trainer = {"dataset": {"name": "digits"}, "model": {"name": "mlp"}, "optimizer": {"name": "adm"}}
    found = problems({"objectives": [{"name": "accuracy", "direction": "maximize"}], "space": space}, TRAINER)
    assert set(found) == {"space.optimizer.momntum", "space.optimizer.lr.low", "objectives.0.name"}
    assert "val_accuracy" in found["objectives.0.name"]
    found = problems({"trial": {"executor": "trainer", "trainer": trainer}}, TRAINER)
    assert "adam" in found["trial.trainer.optimizer.name"]
