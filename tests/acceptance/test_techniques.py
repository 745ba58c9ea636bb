"""The mission's checklist, kept: every technique is in the catalogue; all optimizers train through the real service; XOR is solved."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import Machine
from tuner import catalog
from tuner.client import Client
from tuner.handles import StudyHandle
from tuner.wire import Trial

REASONS = {"nan", "exception", "oom_host"}
"""How a training may truthfully fail; lost and timeout would be the service's fault."""


@dataclass(frozen=True)
class Service:
    client: Client
    data: Path


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """Server, search and a worker with two slots, which may read files below its folder `data`."""
    with tempfile.TemporaryDirectory(prefix="tuner-acceptance-") as name:
        Path(name).chmod(0o755)
        machine = Machine(Path(name))
        machine.start("server")
        machine.start("search")
        (machine.folder / "data").mkdir()
        machine.start("worker", "--gpus", "none", "--slots", "2", "--data-root", str(machine.folder / "data"))
        with Client(machine.server, machine.key) as client:
            yield Service(client, machine.folder / "data")
        machine.stop()


def submit(client: Client, name: str, trainer: dict[str, Any], space: dict[str, Any], **more: Any) -> StudyHandle:
    return client.create_study(
        {
            "name": name,
            "objectives": [{"name": "val_accuracy", "direction": "maximize"}],
            "space": space,
            "sampler": {"name": "brute_force", "seed": 0},
            "pruner": {"name": "none"},
            "trial": {"executor": "trainer", "trainer": trainer},
            "limits": {"max_trials": 200},
            **more,
        }
    )


def categorical(*choices: Any, **more: Any) -> dict[str, Any]:
    return {"type": "categorical", "choices": list(choices), **more}


def is_sentence(text: str | None) -> bool:
    return bool(text) and "Traceback" not in str(text) and "\n" not in str(text)


@pytest.mark.slow
def test_every_optimizer_trains_or_says_why_not(service: Service) -> None:
    names = catalog.names("optimizers")
    study = submit(
        service.client,
        "all-optimizers",
        {
            "dataset": {"name": "digits"},
            "model": {"name": "mlp", "hidden": [8]},
            "optimizer": {"name": "adam"},
            "epochs": 3,
            "batch_size": 128,
            "seed": 0,
        },
        {"optimizer.name": categorical(*names)},
    )
    study.wait(timeout=240)
    trials = {trial.params["optimizer.name"]: trial for trial in study.trials()}
    assert sorted(trials) == sorted(names)
    orders = {entry.facts.order for entry in catalog.entries("optimizers")}
    assert orders == {1, 2}
    assert {name: (trial.state, trial.error) for name, trial in trials.items() if not is_truthful(trial)} == {}
    # With their defaults on this easy task none has a reason to fail.
    assert {name for name, trial in trials.items() if trial.state != "COMPLETE"} == set()
    above_chance = {name for name, trial in trials.items() if trial.values and trial.values["val_accuracy"] > 0.12}
    assert len(above_chance) > 0.9 * len(names), sorted(set(names) - above_chance)


def is_truthful(trial: Trial) -> bool:
    return trial.state == "COMPLETE" or (trial.state == "FAIL" and trial.reason in REASONS and is_sentence(trial.error))


@pytest.mark.slow
def test_failures_end_one_trial_in_one_sentence(service: Service) -> None:
    """A rate that diverges, a file that is missing: the others train on."""
    missing = service.data / "missing.npz"
    study = submit(
        service.client,
        "failing",
        {
            "dataset": {"name": "digits"},
            "model": {"name": "mlp", "hidden": [8], "norm": "none"},
            "optimizer": {"name": "sgd"},
            "epochs": 3,
            "batch_size": 128,
            "seed": 0,
        },
        {
            "dataset.name": categorical("digits", "npz"),
            "dataset.path": categorical(str(missing), when={"dataset.name": ["npz"]}),
            "optimizer.lr": categorical(0.1, 1e30, when={"dataset.name": ["digits"]}),
        },
    )
    study.wait(timeout=120)
    ends = {trial.params.get("optimizer.lr"): trial for trial in study.trials()}
    assert set(ends) == {0.1, 1e30, None}
    assert ends[0.1].state == "COMPLETE"
    assert (ends[1e30].state, ends[1e30].reason) == ("FAIL", "nan")
    assert (ends[None].state, ends[None].reason) == ("FAIL", "exception")
    assert f"there is no file {missing}" in str(ends[None].error)
    assert all(is_sentence(ends[lr].error) for lr in (1e30, None))


@pytest.mark.slow
def test_an_mlp_solves_xor_with_sigmoid_and_with_tanh(service: Service) -> None:
    study = submit(
        service.client,
        "xor",
        {
            "dataset": {"name": "xor"},
            "model": {"name": "mlp", "hidden": [8]},
            "optimizer": {"name": "adam", "lr": 0.05},
            "initializer": {"name": "xavier_uniform"},
            "epochs": 150,
            "batch_size": 16,
        },
        {"model.activation": categorical("sigmoid", "tanh"), "seed": categorical(0, 1, 2, 3)},
    )
    study.wait(timeout=120)
    trials = list(study.trials())
    assert len(trials) == 8
    assert {trial.state for trial in trials} == {"COMPLETE"}
    assert {trial.values["val_accuracy"] for trial in trials if trial.values} == {1.0}


# The rows of the mission's checklist, by where the catalogue holds them.
CHECKLIST: dict[str, tuple[str, ...]] = {
    "optimizers": (
        "gd", "sgd", "minibatch", "momentum", "nesterov", "adagrad", "adadelta", "rmsprop", "adam",
        "adamw", "nadam", "radam", "adamax", "adafactor", "muon", "lion", "sophia", "shampoo", "soap", "schedule_free_adamw",
        "prodigy", "lamb",
        "newton", "newton_cg", "bfgs", "lbfgs", "adahessian",
    ),
    "schedules": (
        "constant", "step", "exponential", "plateau", "multistep", "cosine", "cosine_restarts", "linear", "polynomial",
        "one_cycle", "cyclic",
    ),
    "initializers": ("xavier_uniform", "xavier_normal", "he_uniform", "he_normal", "orthogonal", "trunc_normal", "zeros"),
    "regularizers": ("l2", "l1", "elastic_net"),
    "models": (
        "neuron", "mlp", "cnn", "lenet", "vgg", "resnet", "rnn", "lstm", "gru", "transformer_lm", "vit", "vit_moe",
        "encoder_decoder", "grid_detector",
    ),
    "losses": ("mse", "mae", "huber", "cross_entropy", "bce", "focal"),
    "metrics": ("val_accuracy", "val_top5_accuracy", "val_r2", "val_perplexity", "val_bleu", "val_map"),
    "augmentations": ("flip", "shift"),
    "datasets": (
        "digits", "iris", "wine", "breast_cancer", "diabetes", "xor", "adding", "cycles", "reversal", "csv", "parquet", "npz",
        "image_folder", "mnist", "cifar10", "text", "parallel_text", "coco",
    ),
}  # fmt: skip
# And its rows that are hyperparameters of another entry: kind, entry, hyperparameter, a choice it must offer.
HYPERPARAMETERS: tuple[tuple[str, str, str, Any], ...] = (
    ("optimizers", "rmsprop", "eps_inside", None),
    ("optimizers", "adamw", "weight_decay", None),
    *(("schedules", name, "warmup", None) for name in CHECKLIST["schedules"]),
    ("models", "mlp", "dropout", None),
    ("models", "mlp", "norm", "batch"),
    ("models", "mlp", "norm", "layer"),
    ("models", "cnn", "norm", "group"),
    ("losses", "cross_entropy", "label_smoothing", None),
    *(("trainer", "trainer", field, None) for field in ("early_stopping", "clip_norm", "clip_value", "layer_gradients")),
    *(("models", "vgg", "depth", depth) for depth in (11, 13, 16, 19)),
    ("models", "vgg", "width", None),
    *(("models", "resnet", "depth", depth) for depth in (18, 34, 50, 20)),
    ("models", "mlp", "slope", None),
    *(("models", "mlp", "activation", name) for name in ("sigmoid", "tanh", "relu", "leaky_relu", "gelu", "silu")),
    *(("datasets", "csv", name, None) for name in ("validation", "test", "split_seed")),
)


@pytest.mark.parametrize(("kind", "names"), CHECKLIST.items())
def test_every_row_of_the_checklist_is_in_the_catalogue(kind: str, names: tuple[str, ...]) -> None:
    assert set(names) <= set(catalog.names(kind))


@pytest.mark.parametrize(("kind", "entry", "name", "choice"), HYPERPARAMETERS)
def test_what_the_checklist_asks_of_an_entry_is_there(kind: str, entry: str, name: str, choice: Any) -> None:
    found = catalog.get(kind, entry).hyperparameter(name)
    assert choice is None or found.is_allowed(choice)
