"""Executors in a real trial process: what a worker refuses, the command protocol, placeholders."""

from __future__ import annotations

import sys
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
