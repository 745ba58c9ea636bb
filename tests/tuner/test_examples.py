"""The examples are what a newcomer runs first: each is read as the service reads it. Their programs: tests/workers/test_command.py."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from tuner.spec import StudySpec

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = sorted(EXAMPLES.glob("*.yaml"))


class Recorder:
    """Stands where a worker's trial would: parameters in, reports out."""

    def __init__(self, params: dict[str, float], stop_at: int | None = None) -> None:
        self.params = params
        self.start_step = 0
        self.stop_at = stop_at
        self.reports: list[tuple[int, dict[str, float]]] = []

    def report(self, step: int, values: dict[str, float]) -> str:
        self.reports.append((step, values))
        return "prune" if step == self.stop_at else "continue"


def test_there_are_examples() -> None:
    assert len(FILES) >= 4


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_study_file_is_valid(path: Path) -> None:
    spec = StudySpec.from_file(path)
    assert StudySpec.parse(spec.to_json()) == spec


def test_demo_study_is_the_contracts() -> None:
    spec = StudySpec.from_file(EXAMPLES / "optimizers-on-digits.yaml").to_json()
    assert spec["space"]["optimizer.name"]["choices"] == [
        "sgd", "momentum", "nesterov", "adagrad", "adadelta", "rmsprop", "adam", "adamw", "lbfgs",
    ]  # fmt: skip
    assert spec["limits"]["max_trials"] == 60
    assert spec["sampler"]["name"] == "auto"
    assert spec["sampler"]["seed"] == 7


def test_entrypoint_is_there_and_runs() -> None:
    spec = StudySpec.from_file(EXAMPLES / "entrypoint.yaml").to_json()
    module, _, function = spec["trial"]["entrypoint"].partition(":")
    objective: Any = getattr(importlib.import_module(module), function)
    whole = Recorder({"lr": 0.5, "momentum": 0.9})
    assert set(objective(whole, **spec["trial"]["args"])) == {spec["objectives"][0]["name"]}
    assert len(whole.reports) == spec["trial"]["args"]["steps"]
    pruned = Recorder({"lr": 0.5, "momentum": 0.9}, stop_at=3)
    assert objective(pruned, **spec["trial"]["args"]) is None
    assert len(pruned.reports) == 4


def test_sdk_example_has_a_valid_study() -> None:
    assert StudySpec.parse(importlib.import_module("examples.sdk").SPEC).trial.executor == "external"
