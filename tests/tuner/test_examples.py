"""The examples are what a newcomer runs first: each is read as the service reads it, and each program of theirs is run."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
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


def run_program(lr: float, verdict: bytes = b"") -> list[dict[str, Any]]:
    spec = StudySpec.from_file(EXAMPLES / "command.yaml").to_json()
    arguments = [item.format(lr=lr, kind="quadratic") for item in spec["trial"]["command"]]
    assert arguments[0] == "python3"
    reading, writing = os.pipe()
    heard, saying = os.pipe()
    os.write(saying, verdict)
    environment = os.environ | {"TUNER_REPORT_FD": str(writing), "TUNER_VERDICT_FD": str(heard)}
    subprocess.run(
        [sys.executable, *arguments[1:]], cwd=EXAMPLES.parent, env=environment, pass_fds=(writing, heard), check=True, timeout=60
    )
    os.close(writing)
    with os.fdopen(reading) as stream:
        lines = [json.loads(line) for line in stream]
    os.close(heard)
    os.close(saying)
    return lines


def test_program_reports_and_tells() -> None:
    lines = run_program(0.3)
    assert [line["report"]["step"] for line in lines[:-1]] == list(range(20))
    assert lines[-1]["tell"]["loss"] < lines[0]["report"]["values"]["loss"]


def test_program_ends_early_when_told() -> None:
    lines = run_program(0.3, b"prune\n")
    assert len(lines) == 1
    assert "report" in lines[0]


def test_sdk_example_has_a_valid_study() -> None:
    assert StudySpec.parse(importlib.import_module("examples.sdk").SPEC).trial.executor == "external"
