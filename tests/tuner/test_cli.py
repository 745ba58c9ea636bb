"""The command line without a server: what is refused, with which exit code, in one sentence."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

COMMANDS = (
    "up", "demo", "server", "search", "worker", "migrate",
    "study submit", "study edit", "study list", "study show", "study best", "study watch", "study pause", "study resume", "study stop",
    "study cancel", "study delete", "study export", "study import",
    "trial list", "trial show", "trial logs", "trial enqueue", "trial retry", "trial cancel", "trial rerun",
    "key create", "key list", "key revoke",
)  # fmt: skip


def run(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TUNER_")}
    return subprocess.run(
        [sys.executable, "-m", "tuner.cli.main", *arguments],
        cwd=cwd,
        env=clean | environment,
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )


def check_refused(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """One line on standard error that has these words, nothing on standard output, and the exit code."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in lines[0]


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port on which nobody listens, and nobody else will."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command: str, tmp_path: Path) -> None:
    done = run(*command.split(), "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert f"Usage: tuner {command}" in done.stdout


def test_version(tmp_path: Path) -> None:
    from tuner import __version__

    assert run("--version", cwd=tmp_path).stdout == f"tuner {__version__}\n"


def test_nothing_asked_shows_help_as_wrong_usage(tmp_path: Path) -> None:
    done = run(cwd=tmp_path)
    assert done.returncode == 2
    assert "Commands:" in done.stderr


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["sutdy"], ["No such command 'sutdy'", "study"]),
        (["study", "submit"], ["Missing argument 'FILE'"]),
        (["study", "list", "--stat", "x"], ["--stat", "--state"]),
        (["study", "list", "--state", "broken"], ["--state", "running"]),
        (["study", "list", "--limit", "0"], ["--limit"]),
        (["study", "list", "--server", "ftp://example.com"], ["server: give an address such as http://127.0.0.1:8000"]),
        (["study", "list", "--server", "http://127.0.0.1:1", "--key", "a b"], ["key: ", "tnr_<id>_<secret>"]),
        (["study", "export", "x", "--format", "xml"], ["--format", "csv, json, jsonl, parquet"]),
        (["trial", "show", "first"], ["TRIAL"]),
        (["trial", "enqueue", "s", "lr"], ["'lr' is not of the form NAME=VALUE"]),
        (["trial", "enqueue", "s", "lr=[1]"], ["params.lr"]),
        (["trial", "enqueue", "s", "{lr: 1}"], ["not a JSON object"]),
        (["key", "create", "--name", "k", "--scope", "root"], ["--scope", "admin"]),
        (["key", "create", "--name", ""], ["name"]),
        (["up", "--workers", "many"], ["--workers", "auto, or a number"]),
        (["up", "--port", "70000"], ["--port"]),
        (["worker", "--drain-on", "SIGKILL"], ["--drain-on"]),
        (["worker", "--slots", "0"], ["--slots"]),
        (["worker", "--data-root", "nothing"], ["--data-root: there is no folder nothing"]),
        (["up", "--data-root", "nothing"], ["--data-root: there is no folder nothing"]),
        (["migrate"], ["TUNER_DATABASE_URL", "postgresql://"]),
    ],
)
def test_wrong_usage(arguments: list[str], words: list[str], tmp_path: Path) -> None:
    check_refused(run(*arguments, cwd=tmp_path), 2, *words)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"sampleer": {"name": "tpe"}}, ["sampleer", "sampler"]),
        ({"space": {"x": {"type": "float", "low": 2, "high": 1}}}, ["space.x"]),
        ({"space": {"x": {"type": "float", "low": 0, "high": 1, "log": True}}}, ["space.x"]),
        ({"space": {"x": {"type": "categorical", "choices": []}}}, ["space.x.choices"]),
        ({"constraints": ["y < 1"]}, ["constraints.0", "'y' is no parameter of the space"]),
        ({"name": "n" * 300}, ["name"]),
        ({"limits": {"max_trials": 0}}, ["limits.max_trials"]),
    ],
)
def test_invalid_study_file(change: dict[str, object], words: list[str], tmp_path: Path) -> None:
    study = {
        "objectives": [{"name": "score", "direction": "maximize"}],
        "space": {"x": {"type": "float", "low": 0, "high": 1}},
        "trial": {"executor": "external"},
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study | change))
    check_refused(run("study", "submit", "study.yaml", cwd=tmp_path), 2, *words)


@pytest.mark.parametrize(
    "executor, context, words",
    [
        ("external", ".", ["context: only an entrypoint or a command", "external"]),
        ("command", "nothing", ["context: nothing is no folder"]),
        ("command", ".", ["context: link is a link", "name link in .tunerignore"]),
    ],
)
def test_context_that_cannot_be_shipped(executor: str, context: str, words: list[str], tmp_path: Path) -> None:
    """Said before a server is asked."""
    trial = {"executor": executor} | ({"command": ["sh"]} if executor == "command" else {})
    study = {
        "objectives": [{"name": "score", "direction": "maximize"}],
        "space": {"x": {"type": "float", "low": 0, "high": 1}},
        "trial": trial,
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    (tmp_path / "link").symlink_to("/etc/passwd")
    check_refused(run("study", "submit", "study.yaml", "--context", context, cwd=tmp_path), 2, *words)


@pytest.mark.parametrize("content", ["a: [", "- 1\n- 2\n", "", "a: 1\na: 2\n", "\x00"])
def test_what_is_no_study_file(content: str, tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(content)
    check_refused(run("study", "submit", "study.yaml", cwd=tmp_path), 2, "study.yaml")


def test_no_such_file(tmp_path: Path) -> None:
    check_refused(run("study", "submit", "none.yaml", cwd=tmp_path), 2, "none.yaml")


def test_server_not_reachable(tmp_path: Path, closed_port: int) -> None:
    done = run("study", "list", cwd=tmp_path, TUNER_SERVER=f"http://127.0.0.1:{closed_port}")
    check_refused(done, 3, f"http://127.0.0.1:{closed_port} is not reachable", "`tuner up`")


def test_database_not_reachable(tmp_path: Path, closed_port: int) -> None:
    done = run("migrate", cwd=tmp_path, TUNER_DATABASE_URL=f"postgresql://u:p@127.0.0.1:{closed_port}/tuner")
    check_refused(done, 3, "the database does not answer")


@pytest.mark.parametrize("url, word", [("mysql://h/d", "PostgreSQL"), ("nonsense", "postgresql://")])
def test_wrong_database_url(url: str, word: str, tmp_path: Path) -> None:
    check_refused(run("migrate", cwd=tmp_path, TUNER_DATABASE_URL=url), 2, "TUNER_DATABASE_URL", word)


def test_up_needs_a_folder_it_can_write(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    check_refused(run("up", "--data", "file/data", "--port", "0", cwd=tmp_path), 2, "--data", "choose another")


def test_up_needs_a_free_port(tmp_path: Path) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = held.getsockname()[1]
        check_refused(run("up", "--data", "data", "--port", str(port), cwd=tmp_path), 2, f"--port: {port}", "choose another")
    assert not (tmp_path / "data" / "postgres").exists()


def test_reading_half_the_output_is_no_error(tmp_path: Path) -> None:
    """As `tuner ... | head` does."""
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "tuner.cli.main", "study", "--help"],
        cwd=tmp_path,
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(reading)
    os.close(writing)
    _, stderr = process.communicate(timeout=60)
    assert "Traceback" not in stderr
    assert "BrokenPipe" not in stderr
