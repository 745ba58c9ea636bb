"""What an attempt records of itself: code as it was imported, data and weights as they were computed with, and what users add."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch

import tuner
from tests.workers.conftest import MODULE, Heard, assignment, entrypoint
from tests.workers.test_trainer_executor import CONFIG
from tuner.errors import InvalidValue
from tuner.wire import MAX_RECORD_CHARACTERS
from workers import record
from workers.report import Trial
from workers.training import datasets
from workers.training.config import Component
from workers.training.datasets import Dataset
from workers.training.record import digest_data, digest_tensors

Run = Callable[..., Heard]
CPU = torch.device("cpu")


def digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to import from; what was imported from it is forgotten afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def test_modules_of_the_folder_and_no_others(folder: Path) -> None:
    write(folder, one_record="import two_record, json\n", two_record="x = 1\n", three_record="x = 1\n")
    module = importlib.import_module("one_record")
    found = record.digest_modules(module)
    assert found == {"one_record.py": digest("import two_record, json\n"), "two_record.py": digest("x = 1\n")}
    importlib.import_module("three_record")
    assert set(record.digest_modules(module)) == {"one_record.py", "two_record.py", "three_record.py"}


def test_a_module_in_a_package(folder: Path) -> None:
    (folder / "pack_record").mkdir()
    (folder / "pack_record" / "__init__.py").touch()
    write(folder, pack_record__one="import beside_record\n", beside_record="")
    found = record.digest_modules(importlib.import_module("pack_record.one"))
    assert set(found) == {"pack_record/__init__.py", "pack_record/one.py", "beside_record.py"}
    assert set(record.digest_modules(sys.modules["pack_record"])) == set(found)


def test_of_installed_code_only_its_own_package(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = folder / "site-packages"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    write(site, installed_record="import other_record\n", other_record="")
    assert set(record.digest_modules(importlib.import_module("installed_record"))) == {"installed_record.py"}
    write(folder, mine_record="import other_record\n")
    assert set(record.digest_modules(importlib.import_module("mine_record"))) == {"mine_record.py"}


def test_code_as_it_was_imported(folder: Path) -> None:
    write(folder, edited_record="x = 1\n")
    module = importlib.import_module("edited_record")
    before = record.digest_modules(module)
    write(folder, edited_record="x = 2\n")
    assert record.digest_modules(module) == before


def test_files_of_a_command(tmp_path: Path) -> None:
    program = tmp_path / "train.sh"
    program.write_text("exit 0\n")
    found = record.digest_files(["sh", str(program), "--lr={lr}", "x" * 5000, "\0", str(tmp_path)])
    shell = Path(shutil.which("sh") or "").read_bytes()
    assert found == {"sh": sha256(shell).hexdigest(), str(program): digest("exit 0\n")}
    program.write_text("exit 1 \n")
    os.utime(program, ns=(1, 1))
    assert record.digest_files(["none", str(program)]) == {str(program): digest("exit 1 \n")}
    assert record.digest_files([]) == {}


def test_bundles_and_commands_are_known_by_their_bytes(tmp_path: Path) -> None:
    bundled = entrypoint("square") | {"bundle": "b" * 64}
    assert record.begin(assignment(tmp_path, bundled))["code"] == {"bundle": "b" * 64}
    begun = record.begin(assignment(tmp_path, {"executor": "command", "command": ["sh", "-c", "exit"]}))
    assert begun["config"] == {"command": ["sh", "-c", "exit"]}
    assert set(begun["code"]) == {"sh"}


# --- what a trial records -------------------------------------------------------------------------------------------------------


def make(tmp_path: Path, **changes: Any) -> Trial:
    return Trial(assignment(tmp_path, entrypoint("square"), **changes), lambda message: None)


def test_the_record_of_an_entrypoint(run: Run) -> None:
    found = run(entrypoint("square", shift=1.0), params={"x": float("inf")}).tell().record
    assert found is not None
    assert found["config"] == {"entrypoint": f"{MODULE}:square", "args": {"shift": 1.0}}
    assert (found["params"], found["seed"], found["attempt"], found["threads"]) == ({"x": "Infinity"}, 5, 1, 1)
    assert found["versions"]["tuner"] == tuner.__version__
    assert found["versions"]["python"].startswith("3.")
    assert found["device"]["kind"] == "cpu"
    assert found["code"]["tests/workers/entrypoints.py"] == digest(Path(__file__).with_name("entrypoints.py").read_text())
    assert "resumed_from" not in found
    assert "torch" not in found["versions"], "an entrypoint that needs no torch is not made to load it"


def test_a_resumed_attempt_says_from_where(tmp_path: Path) -> None:
    found = make(tmp_path, attempt=2, resume_path=tmp_path, start_step=8).recorded()
    assert (found["attempt"], found["resumed_from"]) == (2, 7)


def test_users_add_their_own(tmp_path: Path) -> None:
    trial = make(tmp_path)
    trial.record["data"] = "v3"
    trial.record["versions"] = {"mine": "1.2"}
    tell = trial.conclude({"loss": 1.0})
    assert tell.record is not None
    assert tell.record["data"] == "v3"
    assert tell.record["versions"]["mine"] == "1.2"
    assert tell.record["versions"]["tuner"] == tuner.__version__


@pytest.mark.parametrize(
    "name, value, words",
    [
        ("data", object(), "record: only JSON values can be recorded"),
        ("data", "x" * MAX_RECORD_CHARACTERS, "at most 100,000 are kept"),
        ("seed", 7, "record: .*'seed' is recorded anyway; choose another name"),
    ],
)
def test_what_cannot_be_recorded_fails_the_trial_in_one_sentence(tmp_path: Path, name: str, value: object, words: str) -> None:
    trial = make(tmp_path)
    trial.record[name] = value
    with pytest.raises(InvalidValue, match=words) as caught:
        trial.conclude({"loss": 1.0})
    tell = trial.conclude_failed(caught.value)
    assert tell.state == "FAIL"
    assert tell.record is not None
    assert tell.record["seed"] == 5


def test_huge_parameters_are_left_to_the_trial(tmp_path: Path) -> None:
    found = make(tmp_path, params={"x": "y" * MAX_RECORD_CHARACTERS}).recorded()
    assert "params" not in found
    assert found["seed"] == 5


def test_the_last_step_of_a_repetition(tmp_path: Path) -> None:
    trial = make(tmp_path, until=2)
    assert [trial.report(step, 1.0) for step in range(3)] == ["continue", "continue", "prune"]
    assert trial.conclude(None).state == "PRUNED"


# --- the built-in trainer --------------------------------------------------------------------------------------------------------


def test_the_record_of_a_training(run: Run) -> None:
    tell = run(CONFIG, objectives=["val_accuracy"], params={"optimizer.lr": 0.05}).tell()
    found = tell.record
    assert found is not None, tell
    assert found["config"]["optimizer"]["lr"] == 0.05
    assert found["config"]["optimizer"]["beta1"] == 0.9, "defaults too"
    assert found["config"]["epochs"] == 3
    assert found["weights"]["step"] == 2
    assert all(len(text) == 64 for text in (found["data"], found["weights"]["sha256"], found["code"]["workers.training"]))
    assert (found["deterministic"], found["precision"], found["threads"]) == (True, "float32", 1)
    assert found["versions"]["torch"] == torch.__version__
    assert found["device"]["capability"] == torch.backends.cpu.get_cpu_capability()
    again = run(CONFIG, objectives=["val_accuracy"], params={"optimizer.lr": 0.05}).tell().record
    assert again == found
    other = run(CONFIG, objectives=["val_accuracy"], params={"optimizer.lr": 0.06}).tell().record
    assert other is not None
    assert other["weights"] != found["weights"]
    assert other["data"] == found["data"]


def csv(path: Path, last: str = "3.0") -> Dataset:
    rows = "\n".join(f"{x}.0,{x % 2}" for x in range(20))
    path.write_text(f"a,b\n{rows}\n{last},1\n")
    given = {"path": str(path), "target": "b", "task": "classification", "validation": 0.2, "test": 0.2, "split_seed": 0}
    return datasets.load(Component(name="csv", hyperparameters=given), CPU, torch.float32)


def test_data_is_known_by_its_numbers(tmp_path: Path) -> None:
    data = csv(tmp_path / "one.csv")
    assert digest_data(data) == digest_data(csv(tmp_path / "two.csv"))
    assert digest_data(data) != digest_data(csv(tmp_path / "two.csv", last="3.00001"))


def test_data_is_digested_once(tmp_path: Path) -> None:
    data = csv(tmp_path / "one.csv")
    first = digest_data(data)
    data.train.inputs.add_(1.0)
    assert digest_data(data) == first


def test_weights_are_known_by_names_types_shapes_and_bytes() -> None:
    tensors = {"b": torch.zeros(2, 3), "a": torch.tensor(1.0)}
    known = digest_tensors(tensors.items())
    assert known == digest_tensors(sorted(tensors.items()))
    for other in (
        {"b": torch.zeros(3, 2), "a": torch.tensor(1.0)},
        {"b": torch.zeros(2, 3, dtype=torch.bfloat16), "a": torch.tensor(1.0)},
        {"c": torch.zeros(2, 3), "a": torch.tensor(1.0)},
        {"b": torch.zeros(2, 3), "a": torch.tensor(1.0).nextafter(torch.tensor(2.0))},
    ):
        assert digest_tensors(other.items()) != known
    assert digest_tensors([("b", torch.ones(3, 2).T), ("a", torch.ones(()))]) == digest_tensors(
        [("b", torch.ones(2, 3)), ("a", torch.ones(()))]
    )


def test_metrics_under_constraints_go_with_the_outcome(tmp_path: Path) -> None:
    """What else is returned does not; a NaN is told, for the server to judge."""
    trial = make(tmp_path, constrained=["latency", "size"])
    tell = trial.conclude({"loss": 1.0, "latency": float("nan"), "note": "fast", "other": 3.0})
    assert tell.state == "COMPLETE"
    assert tell.values is not None
    assert set(tell.values) == {"loss", "latency"}
    assert make(tmp_path, constrained=["latency"]).conclude(2).values == {"loss": 2.0}
