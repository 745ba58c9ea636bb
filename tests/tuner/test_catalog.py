"""The catalogue as data: what it refuses at submission, in which words, and how a trial's configuration is made of it."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuner import catalog
from tuner.errors import InvalidValue
from tuner.space import CategoricalParameter, Condition, FloatParameter, IntParameter, Parameter, SearchSpace

BASE: dict[str, Any] = {
    "dataset": {"name": "digits"},
    "model": {"name": "mlp", "hidden": [64], "activation": "relu", "dropout": 0.0, "depth": 2},
    "optimizer": {"name": "adam", "lr": 1.0e-3},
    "schedule": {"name": "constant"},
    "loss": {"name": "cross_entropy"},
    "epochs": 20,
    "batch_size": 32,
    "seed": 0,
}
FIRST_ORDER = ("sgd", "momentum", "nesterov", "adagrad", "adadelta", "rmsprop", "adam", "adamw", "lbfgs")


def problems(trainer: dict[str, Any] | None = None, **parameters: Parameter) -> list[str]:
    """Problems as "location: message"; a parameter's name is given with __ for its dots."""
    space = SearchSpace({name.replace("__", "."): p for name, p in parameters.items()}) if parameters else None
    return [str(error) for error in catalog.check_trainer(BASE if trainer is None else trainer, space)]


def optimizer_is(*names: str) -> tuple[Condition, ...]:
    return (Condition(parent="optimizer.name", values=names),)


def test_every_entry_is_whole() -> None:
    for kind in catalog.kinds():
        for entry in catalog.entries(kind):
            assert entry.kind == kind
            assert all([entry.name, entry.summary, entry.when_to_use, entry.source]), entry.name
            for h in entry.hyperparameters:
                assert h.required or h.is_allowed(h.default), f"{entry.name}.{h.name}"


def test_json_needs_no_encoder_of_its_own() -> None:
    body = json.loads(json.dumps(catalog.to_json(), allow_nan=False))
    assert set(body) == set(catalog.kinds())
    (lr,) = (h for e in body["optimizers"] if e["name"] == "adam" for h in e["hyperparameters"] if h["name"] == "lr")
    assert (lr["type"], lr["default"], lr["low"], lr["low_open"], lr["log"]) == ("float", 0.001, 0, True, True)


def test_the_catalogue_needs_no_torch() -> None:
    code = "import sys, tuner.catalog; sys.exit(bool({'torch', 'numpy', 'sqlalchemy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_example_of_the_contract_is_accepted() -> None:
    assert (
        problems(
            optimizer__name=CategoricalParameter(FIRST_ORDER),
            optimizer__lr=FloatParameter(1e-5, 1.0, log=True),
            optimizer__momentum=FloatParameter(0.0, 0.99, when=optimizer_is("momentum", "nesterov", "rmsprop")),
            model__dropout=FloatParameter(0.0, 0.6, step=0.1),
            batch_size=CategoricalParameter((16, 32, 64, 128)),
            model__depth=IntParameter(1, 4),
        )
        == []
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimiser": {"name": "adam"}}, "trial.trainer.optimiser: unknown field; did you mean optimizer?"),
        (
            {"optimizer": {"name": "adm"}},
            "trial.trainer.optimizer.name: unknown name 'adm'; did you mean adam or radam or nadam?",
        ),
        (
            {"optimizer": {"name": "adam", "lr": -1}},
            "trial.trainer.optimizer.lr: must be a number above 0, not -1",
        ),
        ({"optimizer": {"lr": True}}, "trial.trainer.optimizer.lr: must be a number above 0, not true"),
        ({"optimizer": {"lr": float("nan")}}, "trial.trainer.optimizer.lr: must be a number above 0, not nan"),
        ({"optimizer": "adam"}, "trial.trainer.optimizer: must be a mapping with a name, such as {name: gd}"),
        (
            {"optimizer": {"name": "adam", "momentum": 0.9}},
            "trial.trainer.optimizer.momentum: adam has no hyperparameter 'momentum'; "
            "there are lr, beta1, beta2, eps, amsgrad, weight_decay",
        ),
        (
            {"model": {"name": "mlp", "dropout": 1.5}},
            "trial.trainer.model.dropout: must be a number of at least 0 and below 1, not 1.5",
        ),
        (
            {"model": {"name": "mlp", "hidden": [64, 0]}},
            "trial.trainer.model.hidden: must be a list of integers, each from 1 to 65536, not [64, 0]",
        ),
        (
            {"model": {"name": "mlp", "activation": "rellu"}},
            "trial.trainer.model.activation: must be one of relu, leaky_relu, gelu, silu, tanh, sigmoid, identity, not 'rellu'",
        ),
        ({"epochs": 0}, "trial.trainer.epochs: must be an integer from 1 to 1000000, not 0"),
        ({"epochs": 2.5}, "trial.trainer.epochs: must be an integer from 1 to 1000000, not 2.5"),
        ({"clip_norm": 0}, "trial.trainer.clip_norm: must be a number above 0, or null, not 0"),
        ({"loss": {"name": "mse"}}, "trial.trainer.loss.name: mse is not a loss for classification; there are"),
        (
            {"dataset": {"name": "iris"}, "model": {"name": "cnn"}},
            "trial.trainer.model.name: cnn takes image samples, iris has vector ones; there are neuron, mlp",
        ),
        (
            {"optimizer": {"name": "newton"}},
            "trial.trainer.optimizer.name: newton takes at most 5,000 parameters and this model has 8,970; use lbfgs or newton_cg",
        ),
        (
            {"dataset": {"name": "iris"}, "augmentation": {"name": "flip"}},
            "trial.trainer.augmentation.name: flip changes image samples, iris has vector ones",
        ),
        (
            {"dataset": {"name": "digits", "validation": 0.5, "test": 0.5}},
            "trial.trainer.dataset.validation: validation and test leave nothing to train on: 1 of all samples",
        ),
        (
            {"dataset": {"name": "iris", "validation": 0.999}},
            "trial.trainer.dataset.validation: validation and test leave nothing to train on of 150 samples",
        ),
        (
            {"optimizer": {"name": "newton_cg"}, "accumulate": 2},
            "trial.trainer.accumulate: must be 1 with newton_cg, which differentiates the loss of its whole batch by itself",
        ),
        (
            {"optimizer": {"name": "lbfgs"}, "precision": "fp16"},
            "trial.trainer.precision: must be float32 or float64 or tf32 or bf16 with lbfgs, which takes its gradients",
        ),
        ({"optimizer": {"name": "sophia"}, "compile": True}, "trial.trainer.compile: must be false with sophia, which"),
        (
            {"optimizer": {"name": "schedule_free_adamw"}, "ema": 0.99},
            "trial.trainer.ema: must be null with schedule_free_adamw, which keeps an average of the weights itself",
        ),
        ({"ema": 1.0}, "trial.trainer.ema: must be a number of at least 0 and below 1, or null, not 1"),
        ({"accumulate": 0}, "trial.trainer.accumulate: must be an integer from 1 to 10000, not 0"),
        ({"precision": "fp8"}, "trial.trainer.precision: must be one of float32, float64, tf32, bf16, fp16, not 'fp8'"),
    ],
)
def test_a_bad_base_is_refused_in_one_sentence(change: dict[str, Any], message: str) -> None:
    found = problems(BASE | change)
    assert len(found) == 1
    assert found[0].startswith(message)


def test_all_problems_come_at_once() -> None:
    assert len(problems({"epochs": -1, "optimizer": {"lr": 0}, "modell": {}})) == 5


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"optimizer__lr": FloatParameter(0.0, 1.0)},
            "space.optimizer.lr.low: adam takes a number above 0, not 0",
        ),
        (
            {"optimizer__lr": CategoricalParameter((0.1, -0.1))},
            "space.optimizer.lr.choices: adam takes a number above 0, not -0.1",
        ),
        (
            {"optimizer__betta1": FloatParameter(0.5, 0.9)},
            "space.optimizer.betta1: adam has no hyperparameter 'betta1'; did you mean beta1 or beta2?",
        ),
        (
            {"optimizer__name": CategoricalParameter(("adam", "adagard"))},
            "space.optimizer.name.choices: unknown name 'adagard'; did you mean adagrad",
        ),
        (
            {"optimizer__name": IntParameter(1, 3)},
            "space.optimizer.name: must be categorical with choices among gd, sgd",
        ),
        ({"optimizer": CategoricalParameter(("adam",))}, "space.optimizer: set a field of optimizer, such as optimizer.name"),
        ({"learning_rate": FloatParameter(0.1, 1)}, "space.learning_rate: is no field of the trainer"),
        ({"epoch": IntParameter(1, 3)}, "space.epoch: is no field of the trainer; did you mean epochs"),
        (
            {"model__dropout": FloatParameter(0.0, 1.5)},
            "space.model.dropout.high: mlp takes a number of at least 0 and below 1, not 1.5",
        ),
        (
            {"model__depth": FloatParameter(1.0, 3.0)},
            "space.model.depth.type: mlp takes an integer from 0 to 256, or null: use type: int",
        ),
        (
            {"model__activation": IntParameter(0, 3)},
            "space.model.activation.type: mlp takes one of relu, leaky_relu",
        ),
        ({"batch_size": IntParameter(0, 64)}, "space.batch_size.low: must be an integer from 1 to 1000000, not 0"),
        (
            {
                "optimizer__name": CategoricalParameter(("adam", "sgd", "momentum")),
                "optimizer__momentum": FloatParameter(0.1, 0.9),
            },
            "space.optimizer.momentum: adam has no hyperparameter 'momentum'; add when: {optimizer.name: [sgd, momentum]}",
        ),
        (
            {
                "optimizer__name": CategoricalParameter(("adam", "sgd")),
                "optimizer__beta1": FloatParameter(0.1, 0.9, when=optimizer_is("sgd")),
            },
            "space.optimizer.beta1: sgd has no hyperparameter 'beta1'; there are lr, momentum",
        ),
        (
            {"dataset__name": CategoricalParameter(("digits", "diabetes"))},
            "space.dataset.name.choices: with dataset.name diabetes: cross_entropy is not a loss for regression; there are mse, mae",
        ),
        (
            {"loss__name": CategoricalParameter(("cross_entropy", "huber"))},
            "space.loss.name.choices: huber is not a loss for classification",
        ),
    ],
)
def test_a_bad_space_is_refused_in_one_sentence(parameters: dict[str, Parameter], message: str) -> None:
    found = problems(**parameters)
    assert len(found) == 1
    assert found[0].startswith(message)


def test_conditions_count_along_the_chain() -> None:
    """lr_decay hangs on eps, eps on the name: where it is active the optimizer is adagrad."""
    space = {
        "optimizer__name": CategoricalParameter(("adam", "adagrad")),
        "optimizer__eps": FloatParameter(1e-9, 1e-6, when=optimizer_is("adagrad")),
        "optimizer__lr_decay": FloatParameter(0.0, 0.1, when=(Condition(parent="optimizer.eps", gt=1e-8),)),
    }
    assert problems(**space) == []


def test_kept_hyperparameters_must_suit_each_choice() -> None:
    base = BASE | {"model": {"name": "mlp", "depth": 20}}
    found = problems(base, model__name=CategoricalParameter(("mlp", "cnn")))
    assert found == ["trial.trainer.model.depth: with model.name cnn: must be an integer from 1 to 8, not 20"]


def test_what_the_space_always_sets_need_not_stand_in_the_base() -> None:
    base = {"dataset": {"name": "digits"}}
    assert problems(base, model__name=CategoricalParameter(("mlp", "cnn"))) == []
    assert problems(base, epochs=IntParameter(1, 3))[0].startswith("trial.trainer.model: is required")


def test_objectives_must_be_reported() -> None:
    assert catalog.check_objectives(BASE, None, ["val_accuracy", "val_loss", "samples_per_second"]) == []
    (wrong,) = catalog.check_objectives(BASE, None, ["val_loss", "val_acuracy"])
    assert str(wrong) == (
        "objectives.1.name: the trainer does not report 'val_acuracy' for classification; did you mean val_accuracy or val_top5_accuracy?"
    )
    regression = {"dataset": {"name": "diabetes"}, "model": {"name": "mlp"}}
    assert catalog.check_objectives(regression, None, ["val_r2"]) == []
    assert len(catalog.check_objectives(regression, None, ["val_accuracy"])) == 1


def test_merge_sets_fields_and_fills_defaults() -> None:
    merged = catalog.merge(BASE, {"optimizer.lr": 0.5, "batch_size": 64, "model.depth": 3})
    assert merged["optimizer"] == {
        "name": "adam",
        "lr": 0.5,
        "beta1": 0.9,
        "beta2": 0.999,
        "eps": 1e-8,
        "amsgrad": False,
        "weight_decay": 0.0,
    }
    assert (merged["batch_size"], merged["model"]["depth"], merged["regularizer"]) == (64, 3, {"name": "none"})
    assert catalog.merge(merged, {"optimizer.lr": 0.5, "batch_size": 64, "model.depth": 3}) == merged
    assert BASE["optimizer"] == {"name": "adam", "lr": 1.0e-3}


def test_merge_drops_what_the_chosen_component_lacks() -> None:
    base = BASE | {"optimizer": {"name": "adam", "lr": 0.25, "beta1": 0.8}}
    merged = catalog.merge(base, {"optimizer.name": "sgd"})
    assert merged["optimizer"] == {"name": "sgd", "lr": 0.25, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0}
    assert catalog.merge(base, {"optimizer.name": "adamw"})["optimizer"]["beta1"] == 0.8


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"optimizer.name": "sgd", "optimizer.beta1": 0.9}, "optimizer.beta1: sgd has no hyperparameter 'beta1'"),
        ({"optimizer.name": "sdg"}, "there is no optimizer 'sdg'; did you mean sgd"),
        ({"optimizer.lr": 0.0}, "optimizer.lr: must be a number above 0, not 0"),
        ({"lr": 0.1}, "lr: unknown field"),
        ({"net.depth": 1}, "net.depth: is no field of the trainer"),
    ],
)
def test_merge_refuses_what_the_trial_may_not_set(params: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        catalog.merge(BASE, params)
    assert str(caught.value).startswith(message)


def test_get_names_the_near_ones() -> None:
    with pytest.raises(InvalidValue, match=r"there is no optimizer 'adma'; did you mean adam"):
        catalog.get("optimizers", "adma")
    with pytest.raises(InvalidValue, match=r"no kind 'optimisers'; did you mean optimizers\?"):
        catalog.names("optimisers")


scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["adam", "digits", "mlp"])
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)
fields = st.sampled_from(["name", "lr", "hidden", "depth", "validation", "test", "task", "path"]) | st.integers()
sections = values | st.dictionaries(fields, values, max_size=4)
keys = st.sampled_from([*catalog.SECTIONS, "epochs", "seed", "clip_norm"]) | st.text(max_size=5) | st.integers()


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(keys, sections, max_size=5))
def test_nothing_given_as_a_configuration_breaks_the_check(trainer: dict[Any, Any]) -> None:
    for base in (trainer, BASE | trainer):
        found = catalog.check_trainer(base, SearchSpace({"optimizer.name": CategoricalParameter(("adam", "newton"))}))
        assert all(error.loc and error.msg for error in found)
        catalog.check_objectives(base, None, ["val_loss"])


def test_numbers_too_large_for_a_float_are_refused() -> None:
    (found,) = problems(BASE | {"optimizer": {"name": "adam", "lr": 10**400}})
    assert found.startswith("trial.trainer.optimizer.lr: must be a number above 0, not 1000")


def test_the_place_of_parallelism_is_kept_open_in_every_configuration() -> None:
    completed = catalog.complete({"dataset": {"name": "digits"}, "model": {"name": "mlp"}})
    assert "parallel" in completed
    assert completed["parallel"] is None
