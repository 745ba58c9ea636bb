"""For each technique of the catalogue the small study that measures it.

Spaces are made of the catalogue's own defaults: learning rates from a 30th to ten times the default, momentum from 0.5 to 0.99. The
first trial of each study has the defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import technique_files
from benchmarks.technique_files import Sample
from tuner import catalog
from tuner.catalog import Entry

SEED = 0
MLP = {"name": "mlp", "hidden": [32]}
CNN = {"name": "cnn", "channels": 8}
SMALL = {"dim": 32, "depth": 2}
DIGITS = {"name": "digits"}
EPOCHS = 20
PICTURE_EPOCHS = 8
OTHER_TRIALS = 4
OPTIMIZER_TRIALS = 12
BUDGETS: dict[str, dict[str, int]] = {
    "gd": {"epochs": 200},  # one step an epoch
    "newton": {"epochs": 10, "trials": 4},  # an exact Hessian a step
}
"""Where an optimizer needs another budget than the rest; the page shows it in the row."""
MODELS: dict[str, dict[str, Any]] = {
    "mlp": MLP,
    "cnn": CNN,
    "vgg": {"name": "vgg", "width": 0.125},
    "resnet": {"name": "resnet", "depth": 20, "width": 0.5},
    "vit": {"name": "vit", "patch": 2, **SMALL},
    "vit_moe": {"name": "vit_moe", "patch": 2, **SMALL},
    "transformer_lm": {"name": "transformer_lm", **SMALL},
    "encoder_decoder": {"name": "encoder_decoder", **SMALL},
    "grid_detector": {"name": "grid_detector", "channels": 8},
}
"""Models at the size in which they are measured; the others at their default size."""
BY_SAMPLE = {
    "vector": "mlp",
    "image": "cnn",
    "sequence": "gru",
    "tokens": "transformer_lm",
    "pairs": "encoder_decoder",
    "scene": "grid_detector",
}
MEASURED_ON: dict[str, dict[str, Any]] = {
    "tokens": {"name": "cycles"},
    "pairs": {"name": "reversal", "samples": 500, "length": 5, "vocabulary": 6},
    "scene": {"name": "shapes", "samples": 200},
}
"""Data for models that take no images."""
METRICS = {
    "classification": "val_accuracy",
    "regression": "val_r2",
    "language": "val_accuracy",
    "translation": "val_bleu",
    "detection": "val_map50",
}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One study: `trainer` with `space` varied, the first of `trials` with the `defaults`."""

    trainer: Mapping[str, Any]
    space: Mapping[str, Any]
    defaults: Mapping[str, Any]
    trials: int
    metric: str
    note: str = ""
    """Where the setting is another than the kind's: data, epochs, an activation."""

    def spec(self, name: str) -> dict[str, Any]:
        return {
            "name": name,
            "objectives": [{"name": self.metric, "direction": "maximize"}],
            "space": dict(self.space),
            "sampler": {"name": "qmc", "seed": SEED},
            "pruner": {"name": "none"},
            "trial": {"executor": "trainer", "trainer": dict(self.trainer), "resources": {"cpus": 1}},
            "limits": {"max_trials": self.trials},
        }


@dataclass
class _Space:
    """Parameters around the defaults of the entries they belong to."""

    parameters: dict[str, Any] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)

    def rate(self, path: str, default: float, down: float = 30.0, up: float = 10.0) -> None:
        # To four digits, so that the page can be read.
        low, high = (float(f"{bound:.3g}") for bound in (default / down, default * up))
        self.parameters[path] = {"type": "float", "low": low, "high": high, "log": True}
        self.defaults[path] = default

    def share(self, path: str, default: float, low: float, high: float) -> None:
        self.parameters[path] = {"type": "float", "low": low, "high": high}
        self.defaults[path] = default


def plans(folder: Path) -> dict[tuple[str, str], Plan]:
    """By kind and name of each technique; files of data sets lie in `folder`, as `technique_files` writes them."""
    files = technique_files.samples(folder)
    makers: dict[str, Callable[[Entry[Any]], Plan]] = {
        "optimizers": _optimizer,
        "schedules": _schedule,
        "initializers": _initializer,
        "regularizers": _regularizer,
        "losses": _loss,
        "models": partial(_model, files=files),
        "augmentations": _augmentation,
        "datasets": partial(_dataset, files=files),
    }
    return {(kind, entry.name): make(entry) for kind, make in makers.items() for entry in catalog.entries(kind)}


def _optimizer(entry: Entry[Any]) -> Plan:
    space = _Space()
    for name in ("lr", "adamw_lr", "damping"):
        if name in entry.by_name:
            space.rate(f"optimizer.{name}", _default(entry, name))
    if "momentum" in entry.by_name and _default(entry, "momentum") > 0:
        space.share("optimizer.momentum", _default(entry, "momentum"), 0.5, 0.99)
    budget = BUDGETS.get(entry.name, {})
    trainer = {"dataset": DIGITS, "model": MLP, "optimizer": {"name": entry.name}, "epochs": budget.get("epochs", EPOCHS)}
    return _plan(trainer, space, trials=budget.get("trials", OPTIMIZER_TRIALS))


def _schedule(entry: Entry[Any]) -> Plan:
    return _plan({"dataset": DIGITS, "model": MLP, "schedule": {"name": entry.name}})


def _initializer(entry: Entry[Any]) -> Plan:
    activation = "relu" if "relu" in entry.facts.suits or not entry.facts.suits else "tanh"
    model = MLP | {"activation": activation}
    return _plan({"dataset": DIGITS, "model": model, "initializer": {"name": entry.name}}, note=activation)


def _regularizer(entry: Entry[Any]) -> Plan:
    space = _Space()
    for h in entry.hyperparameters:
        space.rate(f"regularizer.{h.name}", _default(entry, h.name), down=10.0, up=100.0)
    return _plan({"dataset": DIGITS, "model": MLP, "regularizer": {"name": entry.name}}, space)


def _loss(entry: Entry[Any]) -> Plan:
    if "detection" in entry.facts.tasks:
        return _plan({"dataset": MEASURED_ON["scene"], "model": MODELS["grid_detector"], "loss": {"name": entry.name}})
    dataset = {"name": "diabetes"} if "regression" in entry.facts.tasks else DIGITS
    if entry.facts.classes == 2:
        dataset = {"name": "breast_cancer"}
    return _plan({"dataset": dataset, "model": MLP, "loss": {"name": entry.name}})


def _model(entry: Entry[Any], files: Mapping[str, Sample]) -> Plan:
    model = MODELS.get(entry.name, {"name": entry.name})
    if entry.facts.min_size > 8:
        dataset = {"name": "cifar10", **files["cifar10"].dataset}
        return _plan({"dataset": dataset, "model": model, "epochs": PICTURE_EPOCHS}, note=files["cifar10"].made_of)
    if "image" in entry.facts.takes:
        return _plan({"dataset": DIGITS, "model": model})
    return _plan({"dataset": MEASURED_ON[entry.facts.takes[0]], "model": model})


def _augmentation(entry: Entry[Any]) -> Plan:
    augmentation = {"name": entry.name, **({"shift": 1} if "shift" in entry.by_name else {})}
    note = "shift 1" if "shift" in augmentation else ""
    return _plan({"dataset": DIGITS, "model": CNN, "augmentation": augmentation}, note=note)


def _dataset(entry: Entry[Any], files: Mapping[str, Sample]) -> Plan:
    name = BY_SAMPLE[entry.facts.sample or "image"]
    model = MODELS.get(name, {"name": name})
    if entry.name in files:
        dataset = {"name": entry.name, **files[entry.name].dataset}
        epochs = PICTURE_EPOCHS if entry.name in ("image_folder", "mnist", "cifar10") else EPOCHS
        return _plan({"dataset": dataset, "model": model, "epochs": epochs}, note=files[entry.name].made_of)
    dataset = next((data for data in MEASURED_ON.values() if data["name"] == entry.name), {"name": entry.name})
    return _plan({"dataset": dataset, "model": model})


def _plan(trainer: Mapping[str, Any], space: _Space | None = None, *, trials: int = OTHER_TRIALS, note: str = "") -> Plan:
    """With the learning rate of Adam varied where nothing else is said."""
    space = space or _Space()
    if "optimizer" not in trainer:
        space.rate("optimizer.lr", _default(catalog.get("optimizers", "adam"), "lr"), down=3.0, up=30.0)
    dataset = catalog.get("datasets", trainer["dataset"]["name"])
    if dataset.name != "digits":
        note = note or dataset.name
    if trainer.get("epochs", EPOCHS) != EPOCHS:
        note = ", ".join(filter(None, [note, f"{trainer['epochs']} epochs"]))
    return Plan(
        trainer={"epochs": EPOCHS, "batch_size": 32, "seed": SEED, **trainer},
        space=space.parameters,
        defaults=space.defaults,
        trials=trials,
        metric=METRICS[dataset.facts.task],
        note=note,
    )


def _default(entry: Entry[Any], name: str) -> float:
    default = entry.hyperparameter(name).default
    assert isinstance(default, int | float)
    return float(default)
