"""Executors in a real trial process: what a worker refuses, the command protocol, placeholders."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.workers.conftest import MODULE, Heard, entrypoint
from tuner.errors import InvalidValue
from workers.engines.local import LocalPlace
from workers.executors import allows_command, allows_entrypoint, offered
from workers.executors.command import fill

Run = Callable[..., Heard]
PROGRAM = str(Path(__file__).with_name("command_trial.py"))


def command(*arguments: str) -> dict[str, Any]:
    return {"executor": "command", "command": [sys.executable, PROGRAM, *arguments]}


@pytest.fixture
def run_command(run: Run) -> Run:
    def start(*arguments: str, **changes: Any) -> Heard:
        return run(command(*arguments), allow=(f"command:{sys.executable}",), **changes)

    return start


@pytest.mark.parametrize(
    ("config", "allow", "words"),
    [
        (
            entrypoint("square"),
            (),
            f"may not run the entrypoint '{MODULE}:square'; its operator can allow it with --allow '{MODULE}:*'",
        ),
        (entrypoint("square"), ("tests.other:*", "command:*"), "--allow"),
        (entrypoint("square"), (f"{MODULE}:squar",), "--allow"),
        ({"executor": "entrypoint", "entrypoint": "os.system"}, ("*",), "is not of the form 'package.module:function'"),
        ({"executor": "entrypoint", "entrypoint": f"{MODULE}:square()"}, ("*",), "is not of the form"),
        ({"executor": "entrypoint"}, ("*",), "is not of the form"),
        ({"executor": "command", "command": ["sh", "-c", "true"]}, ("*", f"{MODULE}:*"), "--allow 'command:sh'"),
        ({"executor": "command", "command": ["/bin/sh"]}, ("command:sh",), "--allow 'command:/bin/sh'"),
        ({"executor": "command", "command": []}, ("command:*",), "a list of texts is needed"),
        ({"executor": "shell"}, ("*",), "knows no executor 'shell'"),
    ],
)
def test_what_the_operator_has_not_allowed_is_refused(
    run: Run, config: dict[str, Any], allow: tuple[str, ...], words: str
) -> None:
    tell = run(config, allow=allow).tell()
    assert (tell.state, tell.reason) == ("FAIL", "refused")
    assert words in (tell.error or "")
    assert "Traceback" not in (tell.error or "")


def test_a_refused_module_is_not_even_imported(run: Run, place: LocalPlace, tmp_path: Path) -> None:
    (tmp_path / "canary_module.py").write_text(f"open({str(tmp_path / 'imported')!r}, 'w')")
    tell = run({"executor": "entrypoint", "entrypoint": "canary_module:run"}, allow=("canary:*",)).tell()
    assert tell.reason == "refused"
    assert not (tmp_path / "imported").exists()


def test_a_worker_offers_what_its_patterns_allow() -> None:
    assert offered(()) == ["trainer"]
    assert offered(("package.module:*",)) == ["trainer", "entrypoint"]
    assert offered(("command:python",)) == ["trainer", "command"]
    assert allows_entrypoint("a.b:c", ["a.*:c"])
    assert not allows_entrypoint("xa.b:c", ["a.*:c"])
    assert not allows_entrypoint("command:sh", ["command:*"])
    assert allows_command("sh", ["command:*"])
    assert not allows_command("sh", ["*", "sh"])


def test_a_command_reports_and_completes(run_command: Run) -> None:
    heard = run_command("complete", "--x={x}", start_step=1)
    tell = heard.tell()
    assert (tell.state, tell.values) == ("COMPLETE", {"loss": 3.0})
    assert [(m["step"], m["values"]) for m in heard.of("report")] == [(1, {"loss": 2.0}), (2, {"loss": 1.0})]
    assert [m["text"] for m in heard.of("log")] == ["argv --x=3.0"]


@pytest.mark.parametrize(
    ("what", "reason", "words"),
    [
        ("fail", "exception", "exited with code 4.\ncannot open the data"),
        ("silent", "exception", "exited with code 0 but wrote no"),
        ("garbage", "exception", "loss = 3"),
        ("{y}", "exception", "{y} is no parameter of this trial; it has number, seed, x"),
    ],
)
def test_a_command_that_fails_says_why(run_command: Run, what: str, reason: str, words: str) -> None:
    tell = run_command(what).tell()
    assert (tell.state, tell.reason) == ("FAIL", reason)
    assert words in (tell.error or "")


def test_a_missing_program_is_a_failure_of_the_trial(run: Run) -> None:
    tell = run({"executor": "command", "command": ["no-such-program"]}, allow=("command:*",)).tell()
    assert tell.reason == "exception"
    assert "no-such-program: No such file or directory" in (tell.error or "")


@pytest.mark.parametrize(("said", "state", "heard_as"), [("prune", "PRUNED", "prune"), ("preempt", "WAITING", "pause")])
def test_a_command_reads_its_verdict(run_command: Run, place: LocalPlace, said: str, state: str, heard_as: str) -> None:
    heard = run_command("heeds")
    heard.wait("report")
    place.send({"kind": "verdict", "lease": "lease-1", "verdict": said})
    assert heard.tell().state == state
    assert [m["text"] for m in heard.of("log")][-1] == f"told {heard_as}"


def test_a_commands_checkpoint_is_copied(run_command: Run) -> None:
    heard = run_command("checkpoint")
    assert heard.tell().state == "COMPLETE"
    (message,) = heard.of("checkpoint")
    assert message["step"] == 2
    assert (Path(message["folder"]) / "weights.bin").read_bytes() == b"abc"


def test_placeholders() -> None:
    assert fill("--lr={lr} {{x}} {name}", {"lr": 1e-3, "name": "adam"}) == "--lr=0.001 {x} adam"
    assert fill("{deep}", {"deep": True}) == "true"
    with pytest.raises(InvalidValue, match=r"\{rate\} is no parameter of this trial; it has lr"):
        fill("--lr={rate}", {"lr": 1.0})


# --- code that comes with a study ---------------------------------------------------------------------------------------------


@pytest.fixture
def bundle(tmp_path: Path) -> Callable[..., Path]:
    """An unpacked bundle of modules by name, as the agent has it."""

    def make(**modules: str) -> Path:
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        for name, source in modules.items():
            (folder / f"{name}.py").write_text(source)
        return folder

    return make


def shipped(module: str = "shipped_train", function: str = "run") -> dict[str, Any]:
    return {"executor": "entrypoint", "entrypoint": f"{module}:{function}", "bundle": "a" * 64}


def returns(value: float) -> str:
    return f"import os\nfrom shipped_part import PART\ndef run(trial):\n    return {value} + PART + 0 * len(os.listdir('.'))\n"


def test_bundles_with_the_same_modules_do_not_mix(run: Run, bundle: Callable[..., Path], place: LocalPlace) -> None:
    """Two studies on one worker, each with its own train.py: what one has imported the other never sees."""
    first = bundle(shipped_train=returns(1.0), shipped_part="PART = 0.25")
    second = bundle(shipped_train=returns(2.0), shipped_part="PART = 0.5")
    allowed: dict[str, Any] = {"allow": ("shipped_*", f"{MODULE}:*")}
    pids = []
    for folder, expected in ((first, 1.25), (second, 2.5), (second, 2.5), (first, 1.25)):
        assert run(shipped(), bundle=folder, **allowed).tell().values == {"loss": expected}
        pids.append(place.pid)
    assert pids[0] != pids[1] == pids[2] != pids[3], "one process a bundle, as long as it is the same"
    own = run(entrypoint("environment")).tell()
    assert own.user_attrs["pid"] not in pids, "nor does what is installed here meet what came"
    absent = run(shipped("shipped_part", "PART"), **allowed | {"bundle": None}).tell()
    assert "--allow-bundles" in (absent.error or "")


def test_a_command_starts_in_its_bundle(run: Run, bundle: Callable[..., Path], place: LocalPlace) -> None:
    folder = bundle(train="import json, os\nimport part\nassert os.environ['TUNER_BUNDLE'] == os.getcwd()\npart.tell()\n",
                    part="import json, os\ndef tell(): open(os.environ['TUNER_REPORT_FILE'], 'w').write(json.dumps({'tell': 3}))")  # fmt: skip
    config = {"executor": "command", "command": ["python", "train.py"], "bundle": "a" * 64}
    run(entrypoint("square")).tell()
    before = place.pid
    tell = run(config, bundle=folder, allow=("command:python",)).tell()
    assert tell.values == {"loss": 3.0}, tell.error
    assert sorted(path.name for path in folder.iterdir()) == ["part.py", "train.py"], "no bytecode is left in it"
    assert place.pid == before, "a program is a process of its own anyway"


@pytest.mark.parametrize("module", ["json", "workers", "tuner", "tests", "no_such_module", "__main__", "sys"])
def test_what_is_not_in_the_bundle_is_not_run(run: Run, bundle: Callable[..., Path], module: str) -> None:
    """With --allow '*' a study could else call any function that is installed here."""
    tell = run(shipped(module, "run"), bundle=bundle(train=""), allow=("*",)).tell()
    assert (tell.state, tell.reason) == ("FAIL", "refused")
    assert f"the study's bundle has no module '{module}'" in (tell.error or "")


@pytest.mark.parametrize("config", [shipped(), {"executor": "command", "command": ["sh", "-c", "true"], "bundle": "a" * 64}])
def test_without_the_switch_no_bundle_is_run(run: Run, config: dict[str, Any]) -> None:
    tell = run(config, allow=("*", "command:*")).tell()
    assert (tell.state, tell.reason) == ("FAIL", "refused")
    assert tell.error == (
        "This worker runs no code that comes with a study; its operator can switch that on with --allow-bundles."
    )


def test_a_bundle_needs_its_pattern_as_well(run: Run, bundle: Callable[..., Path]) -> None:
    tell = run(shipped(), bundle=bundle(shipped_train=returns(1.0)), allow=("other:*",)).tell()
    assert (tell.reason, "--allow 'shipped_train:*'" in (tell.error or "")) == ("refused", True)
