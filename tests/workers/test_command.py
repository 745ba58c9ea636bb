"""The command protocol as docs/command.md describes it, spoken by programs as users write them, and the examples as they are shipped."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.workers.conftest import Heard, assignment, eventually
from tests.workers.test_executors import command
from tuner.spec import StudySpec
from tuner.wire import Tell
from workers import executors
from workers.engines.local import LocalPlace
from workers.executors import command as module
from workers.pipe import Message
from workers.report import Trial
from workers.slots import Slot

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs" / "command.md").read_text()


def run_here(scratch: Path, config: dict[str, Any], verdict: str | None = None, **changes: Any) -> tuple[Tell, list[Message]]:
    """A trial in this very process, so that a verdict can stand before the program starts."""
    messages: list[Message] = []
    assigned = assignment(scratch, config, allow=("command:*",), **changes)
    trial = Trial(assigned, messages.append)
    if verdict is not None:
        trial.deliver(verdict)
    try:
        return trial.conclude(executors.execute(assigned, trial)), messages
    except module.CommandFailed as error:
        return trial.conclude_failed(error), messages


def escaped(argument: str) -> str:
    return argument.replace("{", "{{").replace("}", "}}")


def of(messages: list[Message], kind: str) -> list[Message]:
    return [message for message in messages if message["kind"] == kind]


# --- what a program may say ---------------------------------------------------------------------------------------------------


def test_attributes_and_bare_numbers(tmp_path: Path) -> None:
    tell, messages = run_here(tmp_path, command("attrs"))
    assert (tell.state, tell.values, tell.user_attrs) == ("COMPLETE", {"loss": 0.25}, {"epochs": 3, "note": "b"})
    assert [message["values"] for message in of(messages, "report")] == [{"loss": 0.5}]
    assert (tell.record or {})["data"] == "v3"


@pytest.mark.parametrize(
    ("said", "reason", "error"),
    [
        ({"reason": "nan", "error": "the loss is not finite"}, "nan", "the loss is not finite"),
        ({"reason": "oom_cuda"}, "oom_cuda", "The command said that it failed."),
        ({"error": "no data"}, "exception", "no data"),
        ({"reason": "lost"}, "exception", "fail: the reason 'lost' is not one of exception, nan, oom_cuda, oom_host."),
    ],
)
def test_a_program_says_why_it_fails(tmp_path: Path, said: Mapping[str, str], reason: str, error: str) -> None:
    tell, _ = run_here(tmp_path, command("fails with", escaped(json.dumps(said))))
    assert (tell.state, tell.reason, tell.error) == ("FAIL", reason, error)


@pytest.mark.parametrize(
    "line",
    [
        "loss: 3", "3", "[]", "null", "{}", '{"loss": 3}', '{"tell": {}, "report": {}}', '{"report": 3}', '{"report": {"step": 1}}',
        '{"report": {"step": "one", "values": {"loss": 1}}}', '{"report": {"step": -1, "values": {"loss": 1}}}', '{"tell": "good"}',
        '{"tell": {"loss": null}}', '{"user_attrs": 3}', '{"fail": 3}', '{"checkpoint": {"path": "x"}}', "{" * 50_000,
    ],
)  # fmt: skip
def test_a_line_that_is_no_message_ends_the_trial_in_one_sentence(tmp_path: Path, line: str) -> None:
    tell, _ = run_here(tmp_path, command("says", escaped(line) + "\n"))
    assert (tell.state, tell.reason) == ("FAIL", "exception")
    assert len((tell.error or "").splitlines()) == 1
    assert "Traceback" not in (tell.error or "")


def test_a_line_without_end_is_not_kept_in_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "MAX_LINE", 10_000)
    tell, _ = run_here(tmp_path, command("says", "x" * 100_000))
    assert (tell.state, tell.error) == ("FAIL", "The command wrote a message of more than 10000 bytes to TUNER_REPORT_FD.")


def test_a_child_that_inherits_nothing_reports_by_name(tmp_path: Path) -> None:
    assert run_here(tmp_path, command("children"))[0].values == {"loss": 5.0}


def test_a_trial_ends_with_its_program_whatever_that_leaves_running(tmp_path: Path) -> None:
    tell, _ = run_here(tmp_path, command("leaves"))
    assert (tell.state, tell.values) == ("COMPLETE", {"loss": 1.0})
    os.kill(tell.user_attrs["child"], signal.SIGKILL)


@pytest.mark.parametrize("where", ["scratch", "elsewhere"])
@pytest.mark.parametrize("kind", ["folder", "file"])
def test_a_checkpoint_is_a_folder_or_a_file(tmp_path: Path, where: str, kind: str) -> None:
    """Taken from the scratch folder, copied from anywhere else; a relative path is the program's."""
    scratch, elsewhere = tmp_path / "scratch", tmp_path / "elsewhere"
    scratch.mkdir()
    saved = (scratch if where == "scratch" else elsewhere) / "saved"
    file = saved / "weights" if kind == "folder" else saved
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("abc")
    tell, messages = run_here(scratch, command("checkpoint of", os.path.relpath(saved)))
    assert tell.state == "COMPLETE", tell.error
    (message,) = of(messages, "checkpoint")
    assert [path.read_text() for path in Path(message["folder"]).rglob("*")] == ["abc"]
    assert (Path(message["folder"]) / file.name).is_file()
    assert saved.exists() == (where == "elsewhere")


@pytest.mark.parametrize("path", [".", "..", "/", "nothing", "/dev/null/x"])
def test_what_is_no_checkpoint(tmp_path: Path, path: str) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    tell, messages = run_here(scratch, command("checkpoint of", str(scratch / path)))
    assert (tell.state, tell.reason) == ("FAIL", "exception")
    assert (tell.error or "").startswith("checkpoint: ")
    assert of(messages, "checkpoint") == []


# --- what a program is told ---------------------------------------------------------------------------------------------------


def test_the_environment_is_the_documented_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TUNER_ALLOW_UNSAFE_DATABASE")  # a trial's process has none of these, and this is not one
    asked: dict[str, Any] = {
        "params": {"a.b": "x", "on": True, "lr": 0.5},
        "resume_path": tmp_path,
        "start_step": 4,
        "attempt": 2,
    }
    told, _ = run_here(tmp_path, command("environment"), **asked)
    environment = told.user_attrs
    fixed = {
        "TUNER_PARAMS": '{"a.b": "x", "on": true, "lr": 0.5}', "TUNER_PARAM_A_B": "x", "TUNER_PARAM_ON": "true", "TUNER_PARAM_LR": "0.5",
        "TUNER_STUDY": "s", "TUNER_TRIAL": "0", "TUNER_ATTEMPT": "2", "TUNER_SEED": "5", "TUNER_DEVICE": "cpu", "TUNER_START_STEP": "4",
        "TUNER_SCRATCH": str(tmp_path), "TUNER_RESUME_PATH": str(tmp_path), "TUNER_INHERITS": "0",
    }  # fmt: skip
    assert environment.items() >= fixed.items()
    assert environment["python"] == str(Path(sys.executable).with_name("python"))
    names = {name for name in environment if name.startswith("TUNER_") and not name.startswith("TUNER_PARAM_")}
    assert names | {"TUNER_BUNDLE"} == set(re.findall(r"^\| `(TUNER_\w+)` \|", DOCS, re.MULTILINE))


def test_a_program_has_no_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TUNER_KEY", "tnr_1_secret")
    monkeypatch.setenv("TUNER_DATABASE_URL", "postgresql://u:secret@h/d")
    place, heard = LocalPlace(Slot(index=0)), Heard()
    try:
        place.assign(assignment(tmp_path, command("environment"), allow=("command:*",)), heard)
        assert "secret" not in json.dumps(heard.tell().user_attrs)
    finally:
        place.close()


def test_every_message_stands_in_the_documentation() -> None:
    messages = [json.loads(line) for line in re.findall(r"^(\{.*\})$", DOCS, re.MULTILINE)]
    assert {next(iter(message)) for message in messages} == {"report", "checkpoint", "user_attrs", "record", "tell", "fail"}


@pytest.mark.parametrize("what", ["ignores", "traps"])
def test_a_program_that_does_not_heed_is_ended_with_its_children(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, what: str
) -> None:
    monkeypatch.setattr(module, "GRACE", 0.3)
    tell, messages = run_here(tmp_path, command(what), verdict="prune")
    assert (tell.state, tell.reason) == ("PRUNED", "pruned")
    (report,) = of(messages, "report") or [{"step": 0}]
    if what == "ignores":
        eventually(
            lambda: not psutil.pid_exists(report["step"]) or psutil.Process(report["step"]).status() == psutil.STATUS_ZOMBIE
        )


@pytest.mark.parametrize("language", ["sh", "python"])
def test_the_documented_programs_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, language: str) -> None:
    (source,) = re.findall(rf"^```{language}\n(.*?)^```$", DOCS, re.MULTILINE | re.DOTALL)
    if language == "python":
        source = "import json, os, sys\nparams = json.loads(os.environ['TUNER_PARAMS'])\ndef one_step(lr): return lr\n" + source
    (tmp_path / "program").write_text(source)
    (tmp_path / "one-step").write_text('#!/bin/sh\n[ "$1" = --lr ] && echo "$2"\n')
    (tmp_path / "one-step").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    config = {"executor": "command", "command": [language, "program"]}
    tell, messages = run_here(tmp_path, config, params={"lr": 0.5})
    assert (tell.state, tell.values) == ("COMPLETE", {"loss": 0.5}), tell.error
    assert len(of(messages, "report")) == 20
    tell, messages = run_here(tmp_path, config, verdict="prune", params={"lr": 0.5})
    assert (tell.state, len(of(messages, "report"))) == ("PRUNED", 1)


# --- the examples -------------------------------------------------------------------------------------------------------------

EXAMPLES = {"command.yaml": ROOT, "command-sh.yaml": ROOT / "examples"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_reports_is_stopped_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(EXAMPLES[name])
    config = StudySpec.from_file(ROOT / "examples" / name).to_json()["trial"]
    asked: dict[str, Any] = {"params": {"lr": 0.1, "kind": "quadratic"}}

    def scratch() -> Path:
        return Path(tempfile.mkdtemp(dir=tmp_path))

    whole, messages = run_here(scratch(), config, **asked)
    assert whole.state == "COMPLETE", whole.error
    assert [message["step"] for message in of(messages, "report")] == list(range(20))
    losses = [message["values"]["loss"] for message in of(messages, "report")]
    assert losses[-1] < losses[0]
    assert whole.user_attrs

    stopped, messages = run_here(scratch(), config, verdict="pause", **asked)
    assert (stopped.state, stopped.reason) == ("WAITING", "paused")
    assert [message["step"] for message in of(messages, "report")] == [0]
    (saved,) = of(messages, "checkpoint")
    resumed, messages = run_here(scratch(), config, resume_path=Path(saved["folder"]), start_step=saved["step"] + 1, **asked)
    assert resumed.values == whole.values
    assert [message["values"]["loss"] for message in of(messages, "report")] == losses[1:]
