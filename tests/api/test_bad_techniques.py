"""Values of techniques that no worker could train: refused with the study, in one sentence that names the place and the remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.api.conftest import Server
from tests.tuner.test_cli import run

Mapping = dict[str, Any]
LR = {"type": "float", "low": 1e-4, "high": 1e-1, "log": True}


def choices(*values: Any, **more: Any) -> Mapping:
    return {"type": "categorical", "choices": list(values), **more}


# What is wrong: changes of the base, changes of the space, where, and what the sentence says.
CASES: dict[str, tuple[Mapping, Mapping, str, str]] = {
    "negative lr": (
        {"optimizer": {"name": "adam", "lr": -0.1}}, {},
        "trial.trainer.optimizer.lr", "must be a number above 0, not -0.1",
    ),
    "negative lr as a choice": ({}, {"optimizer.lr": choices(0.1, -0.1)}, "space.optimizer.lr.choices", "adam takes a number above 0, not -0.1"),
    "lr from zero": ({}, {"optimizer.lr": {"type": "float", "low": 0.0, "high": 1.0}}, "space.optimizer.lr.low", "above 0, not 0"),
    "unknown model": ({"model": {"name": "resnett"}}, {}, "trial.trainer.model.name", "did you mean resnet"),
    "unknown optimizer": ({"optimizer": {"name": "adamm"}}, {}, "trial.trainer.optimizer.name", "did you mean adam"),
    "unknown optimizer as a choice": (
        {}, {"optimizer.name": choices("adam", "rmsporp")}, "space.optimizer.name.choices", "did you mean rmsprop",
    ),
    "dropout 1.5": ({"model": {"name": "mlp", "dropout": 1.5}}, {}, "trial.trainer.model.dropout", "below 1, not 1.5"),
    "dropout up to 1.5": (
        {}, {"model.dropout": {"type": "float", "low": 0.0, "high": 1.5}}, "space.model.dropout.high", "below 1, not 1.5",
    ),
    "vgg on 8x8 images": ({"model": {"name": "vgg"}}, {}, "trial.trainer.model.name", "vgg needs images of at least 32 pixels a side, not 8x8"),
    "vgg as a choice": ({}, {"model.name": choices("mlp", "vgg")}, "space.model.name.choices", "vgg needs images of at least 32"),
    "newton on a million parameters": (
        {"optimizer": {"name": "newton"}, "model": {"name": "mlp", "hidden": [1000, 1000]}}, {},
        "trial.trainer.optimizer.name", "newton takes at most 5,000 parameters and this model has 1,076,010; use lbfgs or newton_cg",
    ),
    "newton on a large convolution": (
        {"optimizer": {"name": "newton"}, "model": {"name": "resnet"}}, {},
        "trial.trainer.optimizer.name", "this model has 11,172,810",
    ),
    "newton on a table of unknown width": (
        {"optimizer": {"name": "newton"}, "model": {"name": "mlp", "hidden": [1000, 1000]}, "dataset": {"name": "csv", "path": "a", "target": "b"}},
        {}, "trial.trainer.optimizer.name", "this model has at least 1,004,001",
    ),
    "bfgs above its limit": (
        {"optimizer": {"name": "bfgs"}, "model": {"name": "mlp", "hidden": [200]}}, {},
        "trial.trainer.optimizer.name", "bfgs takes at most 10,000 parameters and this model has 15,010",
    ),
    "bfgs above its limit as a choice": (
        {"optimizer": {"name": "bfgs"}}, {"model.hidden": choices(16, 200)},
        "space.model.hidden.choices", "with model.hidden 200: bfgs takes at most 10,000 parameters",
    ),
    "momentum for adam": (
        {"optimizer": {"name": "adam", "momentum": 0.9}}, {},
        "trial.trainer.optimizer.momentum", "adam has no hyperparameter 'momentum'; there are lr, beta1",
    ),
    "momentum for adam in the space": (
        {}, {"optimizer.name": choices("adam", "momentum"), "optimizer.momentum": {"type": "float", "low": 0.5, "high": 0.9}},
        "space.optimizer.momentum", "add when: {optimizer.name: [momentum]}",
    ),
    "a loss for another task": ({"loss": {"name": "mse"}}, {}, "trial.trainer.loss.name", "mse is not a loss for classification; there are"),
    "a loss for two classes": ({"loss": {"name": "bce"}}, {}, "trial.trainer.loss.name", "bce takes 2 classes, digits has 10"),
    "a loss for another task as a choice": (
        {}, {"loss.name": choices("focal", "huber")}, "space.loss.name.choices", "huber is not a loss for classification",
    ),
    "an augmentation of images on a table": (
        {"dataset": {"name": "wine"}, "augmentation": {"name": "flip"}}, {},
        "trial.trainer.augmentation.name", "flip changes image samples, wine has vector ones",
    ),
    "an augmentation of images as a choice": (
        {"dataset": {"name": "wine"}}, {"augmentation.name": choices("noise", "shift")},
        "space.augmentation.name.choices", "shift changes image samples, wine has vector ones",
    ),
    "a data set and a model that never meet": (
        {}, {"dataset.name": choices("digits", "wine"), "model.name": choices("mlp", "lenet")},
        "space.model.name", "with dataset.name wine and model.name lenet: lenet takes image samples, wine has vector ones",
    ),
    "a depth that halves images away": ({"model": {"name": "cnn", "depth": 4}}, {}, "trial.trainer.model.depth", "must be at most 3 for images of 8x8"),
    "heads that do not divide": ({"model": {"name": "vit", "dim": 30}}, {}, "trial.trainer.model.dim", "must be a multiple of model.heads, 4, not 30"),
    "a slope that the activation has not": (
        {"model": {"name": "mlp", "activation": "relu", "slope": 2.0}}, {},
        "trial.trainer.model.slope", "only the sigmoid has a slope, relu has none",
    ),
    "a slope for activations some of which have none": (
        {}, {"model.activation": choices("sigmoid", "tanh"), "model.slope": {"type": "float", "low": 0.5, "high": 2.0}},
        "space.model.activation.choices", "with model.activation tanh: model.slope: only the sigmoid has a slope, tanh has none",
    ),
    "both directions of tokens": (
        {"dataset": {"name": "cycles"}, "model": {"name": "lstm", "bidirectional": True}}, {},
        "trial.trainer.model.bidirectional", "must be false for tokens, which would see their successors",
    ),
    "no epochs": ({"epochs": 0}, {}, "trial.trainer.epochs", "must be an integer from 1"),
    "an unknown field": ({"epoch": 3}, {}, "trial.trainer.epoch", "did you mean epochs"),
    "a data set without its file": ({"dataset": {"name": "npz"}}, {}, "trial.trainer.dataset.path", "npz needs it"),
}  # fmt: skip


def study(case: str) -> Mapping:
    base, space, _, _ = CASES[case]
    return {
        "name": "bad",
        "objectives": [{"name": "val_loss", "direction": "minimize"}],
        "space": space or {"batch_size": choices(16, 32)},
        "trial": {"executor": "trainer", "trainer": {"dataset": {"name": "digits"}, "model": {"name": "mlp"}, **base}},
    }


def test_the_server_names_the_place_and_what_is_allowed(http: httpx.Client) -> None:
    wrong = []
    for case, (_, _, loc, words) in CASES.items():
        response = http.post("/v1/studies", json=study(case))
        problems = response.json().get("errors", ())
        told = [(problem["loc"], words in problem["msg"], "\n" in problem["msg"]) for problem in problems]
        if response.status_code != 422 or told != [(loc, True, False)]:
            wrong.append(f"{case}: {response.status_code} {response.text[:500]}")
    assert not wrong, "\n".join(wrong)
    assert http.get("/v1/studies").json()["items"] == []


@pytest.mark.parametrize("case", ["negative lr as a choice", "a data set and a model that never meet"])
def test_the_command_says_the_same(server: Server, tmp_path: Path, case: str) -> None:
    _, _, loc, words = CASES[case]
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study(case)))
    result = run("study", "submit", "study.yaml", "--server", server.url, "--key", server.key, cwd=tmp_path)
    assert result.returncode == 2
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert loc in result.stderr
    assert words in " ".join(result.stderr.split())
