"""`tuner up` as a person has it: started, used, stopped, killed and started again, over a durable database of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
import yaml

from tests.tuner.specs import external
from tests.tuner.test_cli import check_refused, run
from tuner.client import Client
from tuner.errors import StudyNotFound
from tuner.wire import Report

EXAMPLES = Path(__file__).parents[2] / "examples"
READY, STOPPED = 60.0, 20.0
"""Seconds allowed on a machine that is busy with other tests; alone it is under 10 for both."""


def wait_until(condition: Callable[[], object], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} took more than {seconds} s"
        time.sleep(0.05)


class Up:
    """One `tuner up` process and all that it started."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TUNER_")}
        self.out = folder / "out"
        with self.out.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tuner.cli.main", "up", "--port", "0", *arguments],
                cwd=folder,
                env=environment,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        wait_until(lambda: "tuner is up" in self.said or self.process.poll() is not None, READY, "starting")
        assert self.process.poll() is None, self.said
        match = re.search(r"http://127\.0\.0\.1:\d+", self.said)
        assert match is not None
        self.address = match[0]

    @property
    def said(self) -> str:
        return self.out.read_text()

    def parts(self) -> dict[str, psutil.Process]:
        """Its child processes by the name of their command."""
        found = {}
        for child in psutil.Process(self.process.pid).children():
            command = child.cmdline()
            if "tuner.cli.main" in command:
                found[command[command.index("tuner.cli.main") + 1]] = child
        return found

    def stop(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=STOPPED)


def is_ready(address: str) -> bool:
    try:
        return httpx.get(f"{address}/readyz", timeout=5, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def is_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def postgres_of(folder: Path) -> list[psutil.Process]:
    """The PostgreSQL server processes of a data folder."""
    found = []
    for process in psutil.process_iter(["name", "cmdline"]):
        if process.info["name"] == "postgres" and str(folder / "tuner-data") in " ".join(process.info["cmdline"] or ()):
            found.append(process)
    return found


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not one of pytest's: it closes those to other users at every start, and for root PostgreSQL runs as another user."""
    path = Path(tempfile.mkdtemp(prefix="tuner-up-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[..., Up]]:
    started: list[Up] = []

    def start_up(*arguments: str) -> Up:
        started.append(Up(folder, *arguments))
        return started[-1]

    yield start_up
    for up in started:
        if up.process.poll() is None:
            up.process.send_signal(signal.SIGINT)
            up.process.wait(timeout=STOPPED)
    for process in postgres_of(folder):
        process.kill()


def client_in(folder: Path) -> Client:
    noted = json.loads((folder / "tuner-data" / "credentials.json").read_text())
    return Client(noted["server"], noted["key"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_stop_all_of_it(number: signal.Signals, start: Callable[..., Up], folder: Path) -> None:
    up = start("--workers", "1" if number is signal.SIGTERM else "0")
    parts = up.parts()
    assert set(parts) == {"server", "search", *(["worker"] if number is signal.SIGTERM else [])}
    assert postgres_of(folder)
    assert up.stop(number) == 0
    assert up.said.endswith("stopping\nstopped\n")
    assert all(is_gone(part) for part in parts.values())
    assert not postgres_of(folder)


@pytest.mark.slow
def test_started_again_it_goes_on(start: Callable[..., Up], folder: Path) -> None:
    credentials = folder / "tuner-data" / "credentials.json"
    first = start("--workers", "0")
    assert json.loads(credentials.read_text())["server"] == first.address
    assert credentials.stat().st_mode & 0o777 == 0o600
    check_refused(run("up", "--port", "0", cwd=folder), 2, "--data", "already runs", str(first.process.pid))
    with client_in(folder) as client:
        study = client.create_study(external(limits={"max_trials": 4}))
        for trial in client.asks(study, count=2):
            trial.tell(trial.params["x"])
    key = json.loads(credentials.read_text())["key"]
    assert first.stop(signal.SIGTERM) == 0

    second = start("--workers", "0")
    assert json.loads(credentials.read_text()) == {"server": second.address, "key": key}
    listed = json.loads(run("study", "list", "--json", cwd=folder).stdout)
    assert [(item["name"], item["counts"]["complete"]) for item in listed] == [("s", 2)]
    with client_in(folder) as client:
        for trial in client.asks("s"):
            trial.tell(trial.params["x"])
        assert client.study("s").wait(timeout=READY).counts.complete == 4


def test_login_address_opens_a_session_once(start: Callable[..., Up]) -> None:
    up = start("--workers", "0")
    match = re.search(r"/login#code=(\S+)", up.said)
    assert match is not None
    with httpx.Client(base_url=up.address, trust_env=False) as http:
        assert http.get("/v1/studies").status_code == 401
        assert http.post("/v1/sessions", json={"code": match[1]}, headers={"Origin": up.address}).status_code == 204
        assert http.get("/v1/studies").status_code == 200
    with httpx.Client(base_url=up.address, trust_env=False) as http:
        assert http.post("/v1/sessions", json={"code": match[1]}, headers={"Origin": up.address}).status_code == 401


def test_killed_it_leaves_nothing_and_comes_back(start: Callable[..., Up], folder: Path) -> None:
    first = start("--workers", "1")
    with client_in(folder) as client:
        client.create_study(external(limits={"max_trials": 3}))
        asked = client.ask("s")
        assert client.report(asked.lease.id, [Report(step=0, values={"score": 0.5})]).verdict == "continue"
        parts = list(first.parts().values())
        assert len(parts) == 3
        first.process.kill()
        first.process.wait()
        wait_until(lambda: all(is_gone(part) for part in parts), STOPPED, "the end of the parts")

    second = start("--workers", "0")
    with client_in(folder) as client:
        # The lease outlived the deployment; what had been acknowledged is there.
        (trial,) = [trial for trial in client.study("s").trials() if trial.state == "RUNNING"]
        assert [report.values for report in client.list_reports(trial.id)] == [{"score": 0.5}]
        for other in client.asks("s", count=2):
            other.tell(0.5)
    assert second.stop(signal.SIGINT) == 0
    assert not postgres_of(folder)


def test_a_part_that_dies_is_started_again(start: Callable[..., Up], folder: Path) -> None:
    up = start("--workers", "0")
    parts = up.parts()
    for name, part in parts.items():
        part.kill()
        wait_until(lambda name=name: f"the {name} ended (by SIGKILL) and starts again" in up.said, READY, "noticing")  # type: ignore[misc]
    wait_until(lambda: set(up.parts()) == set(parts) and is_ready(up.address), READY, "restarting")
    (postmaster,) = [process for process in postgres_of(folder) if process.ppid() not in {p.pid for p in postgres_of(folder)}]
    postmaster.kill()
    with client_in(folder) as client:
        wait_until(lambda: "PostgreSQL does not answer and is started again" in up.said, READY, "noticing")
        wait_until(lambda: is_ready(up.address), READY, "finding the database again")
        patient = client.with_patience(READY)
        with pytest.raises(StudyNotFound):
            patient.study("nothing")
        study = patient.create_study(external(limits={"max_trials": 1}))
        for trial in patient.asks(study):
            trial.tell(0.5)


@pytest.mark.slow
def test_code_and_data_reach_the_worker(start: Callable[..., Up], folder: Path) -> None:
    """Two studies each with a train.py of its own, a shell script, a table of the folder one works in, and one outside of it."""
    head = {"objectives": [{"name": "loss", "direction": "minimize"}], "sampler": {"name": "random", "seed": 1}}
    space = {"lr": {"type": "float", "low": 0.1, "high": 0.4}}
    trainer = {"model": {"name": "mlp", "hidden": [2]}, "epochs": 1}
    table = "a,b,y\n" + "".join(f"{row % 7},{row % 5},{row % 2}\n" for row in range(40))
    outside = folder.with_name(folder.name + ".csv")
    outside.write_text(table)
    (folder / "table.csv").write_text(table)
    studies: dict[str, dict[str, object]] = {}
    contexts: dict[str, str] = {}
    for name, value in (("one", 1.0), ("two", 2.0)):
        (folder / name).mkdir()
        (folder / name / "train.py").write_text(f"import part\ndef run(trial): return {value} + part.PART\n")
        (folder / name / "part.py").write_text(f"PART = {value / 10}\n")
        studies[name] = head | {"space": space, "trial": {"executor": "entrypoint", "entrypoint": "train:run"}}
        contexts[name] = name
    for name, path in (("table", "table.csv"), ("secret", "tuner-data/credentials.json"), ("outside", str(outside))):
        dataset = {"name": "csv", "path": path, "target": "y"}
        trial = {"executor": "trainer", "trainer": trainer | {"dataset": dataset}}
        objectives = [{"name": "val_loss", "direction": "minimize"}]
        studies[name] = head | {"space": {"optimizer.lr": space["lr"]}, "trial": trial, "objectives": objectives}
    shutil.copytree(EXAMPLES, folder / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    studies["shell"] = yaml.safe_load((EXAMPLES / "command-sh.yaml").read_text())
    contexts["shell"] = "examples"

    up = start("--workers", "1", "--allow", "train:*", "--allow", "command:sh", "--allow-bundles")
    try:
        for name, study in studies.items():
            study |= {"name": name, "limits": {"max_trials": 2 if name in contexts else 1}}
            (folder / f"{name}.yaml").write_text(yaml.safe_dump(study))
            shipped = ["--context", contexts[name]] if name in contexts else []
            done = run("study", "submit", f"{name}.yaml", *shipped, cwd=folder)
            assert done.returncode == 0, done.stderr
        with client_in(folder) as client:
            for name in studies:
                client.study(name).wait(timeout=READY)
            ended = {name: list(client.study(name).trials()) for name in studies}
    finally:
        outside.unlink()
    values = {name: [trial.values and next(iter(trial.values.values())) for trial in trials] for name, trials in ended.items()}
    assert (values["one"], values["two"]) == ([1.1, 1.1], [2.2, 2.2])
    assert all(trial.state == "COMPLETE" for name in ("shell", "table") for trial in ended[name]), ended
    for name in ("secret", "outside"):
        assert [(trial.state, trial.reason) for trial in ended[name]] == [("FAIL", "refused")]
        assert "--data-root" in (ended[name][0].error or "")
    assert up.stop(signal.SIGTERM) == 0


def test_a_second_signal_does_not_wait(start: Callable[..., Up]) -> None:
    up = start("--workers", "0")
    for part in up.parts().values():
        part.suspend()
    up.process.send_signal(signal.SIGINT)
    wait_until(lambda: "stopping" in up.said, STOPPED, "hearing the first signal")
    begin = time.monotonic()
    assert up.stop(signal.SIGINT) == 0
    assert time.monotonic() - begin < STOPPED / 2
