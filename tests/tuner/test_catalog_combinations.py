"""Search spaces whose parts are legal and whose combinations are not: which are refused, in which words, and that no other is."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuner import catalog
from tuner.catalog import combinations
from tuner.errors import InvalidValue
from tuner.space import SearchSpace

DIGITS: dict[str, Any] = {"dataset": {"name": "digits"}, "model": {"name": "mlp"}}
Space = dict[str, dict[str, Any]]


def categorical(*choices: Any, **when: Any) -> dict[str, Any]:
    """Keywords are conditions, with __ for the dot."""
    conditions = {parent.replace("__", "."): wanted for parent, wanted in when.items()}
    return {"type": "categorical", "choices": list(choices)} | ({"when": conditions} if when else {})


def integer(low: int, high: int, **more: Any) -> dict[str, Any]:
    return {"type": "int", "low": low, "high": high, **more}


def problems(space: Space, **base: Any) -> list[str]:
    return [str(error) for error in catalog.check_trainer(DIGITS | base, SearchSpace.parse(space))]


NEWTON = "newton takes at most 5,000 parameters and this model has"

REFUSED: list[tuple[str, Space, dict[str, Any], list[str]]] = [
    (
        "data set and model",
        {"dataset.name": categorical("digits", "iris"), "model.name": categorical("mlp", "cnn")},
        {},
        [
            "space.model.name: with dataset.name iris and model.name cnn: cnn takes image samples, iris has vector ones; "
            "there are neuron, mlp; add when: {dataset.name: [digits]} to model.name, or leave one of them out"
        ],
    ),
    (
        "a choice that suits nothing",
        {"dataset.name": categorical("digits", "iris"), "model.name": categorical("mlp", "vit_moe", "transformer_lm")},
        {},
        [
            "space.model.name.choices: transformer_lm takes tokens samples, digits has image ones; there are neuron",
            "space.model.name: with dataset.name iris and model.name vit_moe: vit_moe takes image samples, iris",
        ],
    ),
    (
        "vgg on small images",
        {"model.name": categorical("vgg", "resnet")},
        {},
        ["space.model.name.choices: vgg needs images of at least 32 pixels a side, not 8x8"],
    ),
    (
        "data set and loss",
        {"dataset.name": categorical("digits", "diabetes"), "loss.name": categorical("cross_entropy", "mse")},
        {},
        [
            "space.loss.name: with dataset.name digits and loss.name mse (and 1 more such combination): mse is not a loss for "
            "classification; there are cross_entropy, bce, focal; leave one of them out"
        ],
    ),
    (
        "the loss of the base",
        {"dataset.name": categorical("digits", "breast_cancer")},
        {"loss": {"name": "bce"}},
        ["space.dataset.name.choices: with dataset.name digits: bce takes 2 classes, digits has 10"],
    ),
    (
        "data set and augmentation",
        {"augmentation.name": categorical("none", "flip"), "dataset.name": categorical("digits", "wine")},
        {},
        [
            "space.augmentation.name: with augmentation.name flip and dataset.name wine: flip changes image samples, wine has "
            "vector ones; add when: {dataset.name: [digits]} to augmentation.name, or leave one of them out"
        ],
    ),
    (
        "a size for which Newton's method is too dear",
        {"optimizer.name": categorical("newton", "adam"), "model.hidden": categorical(16, 64, 4096)},
        {},
        [
            f"space.model.hidden: with optimizer.name newton and model.hidden 4096: {NEWTON} 307,210; use lbfgs or newton_cg, or a "
            "smaller model; add when: {optimizer.name: [adam]} to model.hidden, or leave one of them out"
        ],
    ),
    (
        "sizes that are all too large",
        {"optimizer.name": categorical("newton", "adam"), "model.hidden": categorical(512, 4096)},
        {},
        [f"space.optimizer.name.choices: {NEWTON} 38,410"],
    ),
    (
        "the end of a range of sizes",
        {"model.hidden": integer(8, 512, log=True)},
        {"optimizer": {"name": "newton"}},
        [f"space.model.hidden: with model.hidden 512: {NEWTON} 38,410"],
    ),
    (
        "models of a million weights",
        {"optimizer.name": categorical("bfgs", "adam"), "model.name": categorical("mlp", "resnet")},
        {},
        ["space.optimizer.name: with optimizer.name bfgs and model.name resnet: bfgs takes at most 10,000 parameters and this"],
    ),
    (
        "a depth for one of two models",
        {"model.name": categorical("mlp", "cnn"), "model.depth": integer(1, 4)},
        {},
        [
            "space.model.depth: with model.name cnn and model.depth 4: model.depth: must be at most 3 for images of 8x8, which each "
            "layer halves, not 4; add when: {model.name: [mlp]} to model.depth, or leave one of them out"
        ],
    ),
    (
        "two hyperparameters of one model",
        {"model.dim": categorical(16, 20), "model.heads": categorical(2, 4, 5), "model.patch": categorical(2, 3)},
        {"model": {"name": "vit"}},
        [
            "space.model.patch.choices: must divide the sides of images of 8x8, not 3",
            "space.model.heads: with model.dim 16 and model.heads 5: model.dim: must be a multiple of model.heads, 5, not 16; leave",
        ],
    ),
    (
        "more experts chosen than there are",
        {"model.experts": integer(2, 4), "model.chosen": integer(1, 3)},
        {"model": {"name": "vit_moe"}},
        ["space.model.chosen: with model.experts 2 and model.chosen 3: model.chosen: must be at most model.experts, 2, not 3"],
    ),
    (
        "a split that leaves nothing",
        {
            "dataset.validation": {"type": "float", "low": 0.1, "high": 0.6},
            "dataset.test": {"type": "float", "low": 0.1, "high": 0.6},
        },
        {},
        ["space.dataset.test: with dataset.validation 0.6 and dataset.test 0.6: dataset.validation: validation and test leave"],
    ),
    (
        "a file that is not named",
        {"dataset.name": categorical("digits", "npz")},
        {},
        ["space.dataset.name.choices: with dataset.name npz: dataset.path: npz needs it: a text"],
    ),
    (
        "a condition on a continuum",
        {
            "optimizer.lr": {"type": "float", "low": 0.001, "high": 1.0},
            "model.name": categorical("mlp", "vgg", optimizer__lr={"gt": 0.5}),
        },
        {},
        ["space.model.name.choices: vgg needs images of at least 32 pixels a side, not 8x8"],
    ),
    (
        "an unvaried part that nothing repairs",
        {"model.activation": categorical("relu", "tanh")},
        {"optimizer": {"name": "newton"}, "model": {"name": "mlp", "hidden": [1000, 1000]}},
        [f"trial.trainer.optimizer.name: {NEWTON} 1,076,010"],
    ),
    (
        "optimizer and a field of the trainer",
        {"optimizer.name": categorical("adam", "sgd", "newton_cg"), "accumulate": integer(1, 4)},
        {},
        [
            "space.accumulate: with optimizer.name newton_cg and accumulate 2 (and 2 more such combinations): accumulate: must be 1 "
            "with newton_cg, which differentiates the loss of its whole batch by itself; add when: {optimizer.name: [adam, sgd]}"
        ],
    ),
    (
        "a field of the trainer and one optimizer",
        {"accumulate": integer(1, 4)},
        {"optimizer": {"name": "newton_cg"}},
        ["space.accumulate: must be 1 with newton_cg"],
    ),
    (
        "the base by itself",
        {"optimizer.lr": {"type": "float", "low": 0.1, "high": 1.0}},
        {"optimizer": {"name": "newton_cg"}, "accumulate": 2},
        ["trial.trainer.accumulate: must be 1 with newton_cg"],
    ),
]


@pytest.mark.parametrize(("space", "base", "messages"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_an_impossible_combination_is_refused_by_name(space: Space, base: dict[str, Any], messages: list[str]) -> None:
    found = problems(space, **base)
    assert len(found) == len(messages), found
    assert all(text.startswith(message) for text, message in zip(found, messages, strict=True)), found


ACCEPTED: list[tuple[str, Space, dict[str, Any]]] = [
    ("as advised", {"dataset.name": categorical("digits", "iris"), "model.name": categorical("mlp", "cnn", dataset__name="digits")}, {}),
    (
        "losses of one of two tasks",
        {
            "dataset.name": categorical("digits", "diabetes"),
            "loss.name": categorical("cross_entropy", "focal", dataset__name="digits"),
        },
        {},
    ),
    (
        "a file for one of two data sets",
        {
            "dataset.name": categorical("digits", "csv"),
            "dataset.path": categorical("a.csv", dataset__name="csv"),
            "dataset.target": categorical("y", dataset__name="csv"),
        },
        {},
    ),
    ("a base that no trial has", {"model.hidden": categorical(8, 16)}, {"optimizer": {"name": "newton"}, "model": {"name": "mlp", "hidden": [4096]}}),
    ("sizes of other optimizers", {"optimizer.name": categorical("newton", "adam"), "model.hidden": categorical(16, 4096, optimizer__name="adam")}, {"model": {"name": "mlp", "hidden": [8]}}),
    ("what the chosen one lacks is dropped", {"schedule.name": categorical("cosine", "step")}, {"schedule": {"name": "step", "gamma": 0.5}}),
]  # fmt: skip


@pytest.mark.parametrize(("space", "base"), [case[1:] for case in ACCEPTED], ids=[case[0] for case in ACCEPTED])
def test_what_conditions_keep_apart_is_accepted(space: Space, base: dict[str, Any]) -> None:
    assert problems(space, **base) == []


LARGE: Space = {
    "model.hidden": categorical(*range(1, 41)),
    "model.norm": categorical("none", "batch", "layer"),
    "model.activation": categorical("relu", "gelu", "silu", "tanh"),
    "model.depth": integer(1, 3),
}


def test_of_large_spaces_the_ends_are_tried() -> None:
    assert (SearchSpace.parse(LARGE).num_cells() or 0) > combinations.MAX_COMBINATIONS
    assert problems(LARGE, model={"name": "mlp", "hidden": [5000]}, optimizer={"name": "bfgs"}) == []
    (found,) = problems(LARGE, optimizer={"name": "newton"})
    assert found.startswith("space.model.depth: with model.hidden 40 and model.depth 3: newton takes")
    beside = {"dataset.name": categorical("digits", "iris"), "augmentation.name": categorical("none", "flip")}
    (found,) = problems(LARGE | beside)
    assert found.startswith("space.augmentation.name: with dataset.name iris and augmentation.name flip")


def test_what_the_space_supplies_hides_no_problem_of_the_base() -> None:
    base = {"dataset": {"name": "digits"}, "loss": {"name": "mse"}}
    space = SearchSpace.parse({"model.name": categorical("mlp", "cnn")})
    (found,) = catalog.check_trainer(base, space)
    assert str(found).startswith("trial.trainer.loss.name: mse is not a loss for classification")
    files: Space = {"dataset.path": categorical("a.npz", "b.npz")}
    rest = {"optimizer": {"name": "newton"}, "accumulate": 2}
    (found,) = catalog.check_trainer({"dataset": {"name": "npz"}, "model": {"name": "mlp"}} | rest, SearchSpace.parse(files))
    assert str(found).startswith("trial.trainer.accumulate: must be 1 with newton")


def test_every_name_of_the_catalogue_at_once_is_checked_quickly() -> None:
    everything = {f"{section}.name": categorical(*catalog.names(kind)) for section, kind in catalog.SECTIONS.items()}
    start = time.process_time()
    assert problems(everything)
    assert time.process_time() - start < 3


CHOICES: dict[str, list[Any]] = {
    "dataset.name": ["digits", "iris", "diabetes", "cycles", "shapes"],
    "model.name": ["mlp", "cnn", "vgg", "lstm", "vit"],
    "model.depth": [1, 2, 4],
    "model.hidden": [8, 600],
    "loss.name": ["cross_entropy", "bce", "mse"],
    "augmentation.name": ["none", "flip", "noise"],
    "optimizer.name": ["adam", "newton", "lbfgs"],
    "accumulate": [1, 2],
    "precision": ["float32", "fp16"],
}


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    space: Space = {}
    for path in draw(st.lists(st.sampled_from(list(CHOICES)), min_size=1, max_size=4, unique=True)):
        space[path] = categorical(*draw(st.lists(st.sampled_from(CHOICES[path]), min_size=1, max_size=3, unique=True)))
        parents = [other for other in space if other != path]
        if parents and draw(st.booleans()):
            parent = draw(st.sampled_from(parents))
            wanted = st.lists(st.sampled_from(space[parent]["choices"]), min_size=1, unique=True)
            space[path]["when"] = {parent: draw(wanted)}
    return space


@settings(max_examples=200, deadline=None)
@given(spaces(), st.sampled_from([{}, {"loss": {"name": "cross_entropy"}}, {"optimizer": {"name": "newton"}}, {"accumulate": 2}]))
def test_refused_exactly_when_some_trial_would_be(raw: Space, base: dict[str, Any]) -> None:
    try:
        space = SearchSpace.parse(raw)
    except InvalidValue:
        return

    def is_refused(params: dict[str, Any]) -> bool:
        try:
            catalog.merge(DIGITS | base, params)
        except InvalidValue:
            return True
        return False

    assert bool(catalog.check_trainer(DIGITS | base, space)) == any(is_refused(dict(cell)) for cell in space.cells())
