"""The command line against the live server: what each command prints, as text and as JSON, and with which exit code it ends."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from sqlalchemy import text

from tests.api.conftest import Server, server  # noqa: F401 (a fixture)
from tests.tuner.specs import external
from tests.tuner.test_cli import check_refused, run
from tuner.client import Client
from tuner.db.postgres import Database
from tuner.wire import LogText

UNSAFE = {"TUNER_ALLOW_UNSAFE_DATABASE": "1"}  # the tests' database runs without fsync
Tuner = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def tuner(server: Server, tmp_path: Path) -> Tuner:  # noqa: F811
    """Runs a command that finds the server as `tuner up` leaves it: through a credentials file."""
    (tmp_path / "tuner-data").mkdir()
    (tmp_path / "tuner-data" / "credentials.json").write_text(json.dumps({"server": server.url, "key": server.key}))
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(external("first", limits={"max_trials": 3}, tags=["t"]).to_json()))

    def call(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return run(*arguments, cwd=tmp_path, **environment)

    return call


@pytest.fixture
def client(server: Server) -> Iterator[Client]:  # noqa: F811
    with Client(server.url, server.key) as client:
        yield client


def done(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 0, result.stderr
    return result.stdout


def finish(client: Client, count: int = 3) -> None:
    study = client.study("first")
    for index in range(count):
        study.enqueue({"x": (index + 1) / 4})
    for trial in client.asks(study, count=count):
        trial.report(0, trial.params["x"])
        trial.tell(trial.params["x"])


def test_edit(tuner: Tuner, client: Client, tmp_path: Path) -> None:
    done(tuner("study", "submit", "study.yaml"))
    client.study("first").enqueue({"x": 0.5})
    result = tuner("study", "edit", "first", "--set", "x.high=2.5", "--set", "x.low=-1", "--freeze", "x=2")
    assert done(result) == ""
    assert result.stderr == "space version 2, from trial 1 on: x low 0 -> -1, x high 1 -> 2.5, x freeze 2\n"
    assert "at version 2" in tuner("study", "edit", "first", "--freeze", "x=2").stderr
    (tmp_path / "edit.yaml").write_text("x: {high: 1e1, unfreeze: true}\n")
    answer = json.loads(done(tuner("study", "edit", "first", "--file", "edit.yaml", "--if-version", "2", "--json")))
    assert answer["space_version"] == 3
    assert answer["spec"]["space"]["x"] == {"type": "float", "low": -1.0, "high": 10.0, "log": False, "step": None}
    shown = done(tuner("study", "show", "first"))
    assert "x high 2.5 -> 10, x unfreeze" in shown
    assert "space version" in shown
    check_refused(tuner("study", "edit", "first", "--set", "x.high=1", "--if-version", "3"), 2, "space.x.high", "at least 10")
    check_refused(tuner("study", "edit", "first", "--set", "x.high=11", "--if-version", "1"), 1, "is at version 3, not 1")
    check_refused(tuner("study", "edit", "first", "--append", "x=3"), 2, "space.x.append", "{low: ...}")
    check_refused(tuner("study", "edit", "first", "--set", "x=3"), 2, "--set", "NAME.low=VALUE or NAME.high=VALUE")
    check_refused(tuner("study", "edit", "first", "--freeze", "x"), 2, "--freeze", "NAME=VALUE")
    check_refused(tuner("study", "edit", "first"), 2, "nothing to edit")
    check_refused(tuner("study", "edit", "first", "--file", "none.yaml"), 2, "there is no such file")
    (tmp_path / "edit.yaml").write_text("x: 3\n")
    check_refused(tuner("study", "edit", "first", "--file", "edit.yaml", "--unfreeze", "x"), 2, "x must be a mapping")


def test_best_with_its_interval(tuner: Tuner, client: Client, database: Database, tmp_path: Path) -> None:
    spec = external("first", limits={"max_trials": 6}, repeat={"max": 3}).to_json()
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(spec))
    done(tuner("study", "submit", "study.yaml"))
    finish(client, 4)
    assert "0.75 over 1 seed (trial 2)" not in done(tuner("study", "show", "first"))
    assert "1 over 1 seed (trial 3)" in done(tuner("study", "show", "first"))
    with database.begin() as connection:
        connection.execute(text("UPDATE trials SET origin = 'repeat', parent = 1 WHERE number = 2"))
    assert "0.625 ± 1.6 over 2 seeds (trial 1)" in done(tuner("study", "show", "first"))
    best = done(tuner("study", "best", "first"))
    assert "all seeds" in best
    assert "0.625 ± 1.6 over 2 seeds" in best
    (trial,) = json.loads(done(tuner("study", "best", "first", "--json")))
    assert (trial["number"], trial["repeats"]["num_seeds"]) == (1, 2)
    listed = json.loads(done(tuner("study", "best", "first", "--top", "3", "--json")))
    assert [(trial["number"], trial["repeats"]["mean"]) for trial in listed] == [(1, 0.625), (3, 1.0), (0, 0.25)]
    assert "repeat of trial 1" in done(tuner("trial", "show", "first/2"))
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(spec | {"repeat": {"max": 1}}))
    check_refused(tuner("study", "submit", "wrong.yaml"), 2, "repeat.max", "an integer from 2 to 100")


def test_of_several_objectives_the_best_says_of_which(tuner: Tuner, client: Client) -> None:
    both = [{"name": "score", "direction": "maximize"}, {"name": "cost", "direction": "minimize"}]
    study = client.create_study(external("both", objectives=both, limits={"max_trials": 2}))
    values = iter(({"score": 1.0, "cost": 9.0}, {"score": 0.5, "cost": 1.0}))
    for x in (0.1, 0.2):
        study.enqueue({"x": x})
    for trial in client.asks(study, count=2):
        trial.tell(next(values))
    assert "best score 1 (trial 0)" in " ".join(done(tuner("study", "show", "both")).split())
    assert "best score 1 (trial 0)" in tuner("study", "watch", "both").stderr
    assert [trial["number"] for trial in json.loads(done(tuner("study", "best", "both", "--top", "1", "--json")))] == [0, 1]


def test_submit_show_list(tuner: Tuner) -> None:
    assert "study first (id " in tuner("study", "submit", "study.yaml").stderr
    again = tuner("study", "submit", "study.yaml", "--json")
    study = json.loads(done(again))
    assert (study["name"], study["state"]) == ("first", "RUNNING")
    assert json.loads(done(tuner("study", "show", "first", "--json")))["id"] == study["id"]
    shown = done(tuner("study", "show", str(study["id"])))
    for word in ("first", "RUNNING", "score (maximize)", "max_trials=3", "random", "low=0"):
        assert word in shown
    done(tuner("study", "submit", "study.yaml", "--name", "second"))
    listed = done(tuner("study", "list"))
    assert listed.index("second") < listed.index("first")
    assert "0/3" in listed
    assert [item["name"] for item in json.loads(done(tuner("study", "list", "--json", "--q", "sec")))] == ["second"]
    assert json.loads(done(tuner("study", "list", "--json", "--state", "complete"))) == []
    assert len(json.loads(done(tuner("study", "list", "--json", "--limit", "1")))) == 1


def test_another_study_under_a_taken_name(tuner: Tuner, tmp_path: Path) -> None:
    done(tuner("study", "submit", "study.yaml"))
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(external("first", limits={"max_trials": 4}).to_json()))
    check_refused(tuner("study", "submit", "other.yaml"), 1, "first")


@pytest.mark.parametrize(
    "arguments",
    [["study", "show"], ["study", "best"], ["study", "pause"], ["study", "watch"], ["study", "export"], ["trial", "list"]],
)
def test_no_such_study(arguments: list[str], tuner: Tuner) -> None:
    check_refused(tuner(*arguments, "nothing"), 1, "'nothing'")


def test_wrong_key(tuner: Tuner) -> None:
    check_refused(tuner("study", "list", TUNER_KEY="tnr_000000000000_" + "A" * 43), 1, "key")
    check_refused(tuner("study", "list", "--key", "nonsense"), 1, "key")


def test_best_and_export(tuner: Tuner, client: Client, tmp_path: Path) -> None:
    done(tuner("study", "submit", "study.yaml"))
    assert "no trial is complete yet" in tuner("study", "best", "first").stderr
    finish(client)
    (best,) = json.loads(done(tuner("study", "best", "first", "--json")))
    assert best["values"] == {"score": 0.75}
    assert [trial["number"] for trial in json.loads(done(tuner("study", "best", "first", "--top", "2", "--json")))] == [2, 1]
    assert "0.75" in done(tuner("study", "best", "first"))
    rows = list(csv.DictReader(io.StringIO(done(tuner("study", "export", "first")))))
    assert [row["number"] for row in rows] == ["0", "1", "2"]
    done(tuner("study", "export", "first", "--format", "jsonl", "--output", "out.jsonl"))
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 3
    check_refused(tuner("study", "export", "first", "--output", "none/out.csv"), 2, "--output")
    assert not list(tmp_path.glob("*.part"))


def test_watch_ends_with_the_study(tuner: Tuner, client: Client) -> None:
    done(tuner("study", "submit", "study.yaml"))
    finish(client)
    watched = tuner("study", "watch", "first")
    assert "0.75" in done(watched)
    assert "first: 3/3 trials" in watched.stderr
    assert json.loads(done(tuner("study", "submit", "study.yaml", "--watch", "--json")))["state"] == "COMPLETE"


def test_watching_a_study_without_results_fails(tuner: Tuner) -> None:
    done(tuner("study", "submit", "study.yaml"))
    done(tuner("study", "cancel", "first"))
    watched = tuner("study", "watch", "first")
    assert watched.returncode == 1
    assert "0 complete trials" in watched.stderr


def test_the_life_of_a_study(tuner: Tuner) -> None:
    done(tuner("study", "submit", "study.yaml"))
    for command, state in (("pause", "PAUSED"), ("resume", "RUNNING"), ("stop", "STOP")):
        result = tuner("study", command, "first")
        assert result.returncode == 0
        assert f"is {state}" in result.stderr
    check_refused(tuner("study", "delete", "first"), 2, "--yes")
    done(tuner("study", "delete", "first", "--yes"))
    check_refused(tuner("study", "show", "first"), 1, "first")


def test_trials(tuner: Tuner, client: Client) -> None:
    done(tuner("study", "submit", "study.yaml"))
    check_refused(tuner("trial", "enqueue", "first", "x=2"), 2, "params.x")
    check_refused(tuner("trial", "enqueue", "first", "y=0.5"), 2, "params.y")
    first = json.loads(done(tuner("trial", "enqueue", "first", "x=0.5", "--json")))
    assert first["params"] == {"x": 0.5}
    assert "is enqueued" in tuner("trial", "enqueue", "first", '{"x": 0.25}').stderr
    trial = client.ask("first")
    client.append_logs(trial.lease.id, [LogText(text="step 1"), LogText(stream="stderr", text="a \x1b[31mred\x1b[0m line")])
    trial.report(1, 0.1)
    trial.tell_failed("nan", error="it was not a number")
    listed = done(tuner("trial", "list", "first"))
    assert "FAIL (nan)" in listed
    assert "WAITING" in listed
    assert [item["number"] for item in json.loads(done(tuner("trial", "list", "first", "--state", "fail", "--json")))] == [0]
    for reference in (str(first["id"]), "first/0"):
        shown = done(tuner("trial", "show", reference))
        assert "it was not a number" in shown
        assert "score=0.1" in shown
    assert len(json.loads(done(tuner("trial", "show", "first/0", "--json")))["attempts"]) == 1
    assert done(tuner("trial", "logs", "first/0")) == "step 1\na \\x1b[31mred\\x1b[0m line\n"
    assert done(tuner("trial", "logs", "first/0", "--follow")).startswith("step 1\n")
    again = json.loads(done(tuner("trial", "retry", "first/0", "--json")))
    assert (again["number"], again["params"]) == (2, {"x": 0.5})
    assert "trial 1" in tuner("trial", "cancel", "first/1").stderr
    check_refused(tuner("trial", "cancel", "first/1"), 1, "1")
    check_refused(tuner("trial", "show", "first/7"), 1, "7")


def test_keys(tuner: Tuner) -> None:
    created = tuner("key", "create", "--name", "laptop", "--scope", "viewer", "--expires-in", "1")
    secret = done(created).strip()
    assert secret.startswith("tnr_")
    assert secret not in created.stderr
    assert json.loads(done(tuner("study", "list", "--json", TUNER_KEY=secret))) == []
    check_refused(tuner("study", "submit", "study.yaml", TUNER_KEY=secret), 1, "viewer")
    (key,) = [key for key in json.loads(done(tuner("key", "list", "--json"))) if key["name"] == "laptop"]
    assert secret not in done(tuner("key", "list"))
    done(tuner("key", "revoke", key["id"]))
    assert json.loads(done(tuner("key", "list", "--json")))[-1]["revoked_at"] is not None
    check_refused(tuner("key", "revoke", "unknown"), 1, "unknown")


def test_the_first_key_is_made_in_the_database(tuner: Tuner, database: Database) -> None:
    created = tuner(
        "key", "create", "--name", "first", "--scope", "admin", "--in-database", TUNER_DATABASE_URL=database.url, **UNSAFE
    )
    assert json.loads(done(tuner("key", "list", "--json", TUNER_KEY=done(created).strip())))[-1]["name"] == "first"
    check_refused(tuner("key", "create", "--name", "first", "--in-database"), 2, "TUNER_DATABASE_URL")


def test_feasibility(tuner: Tuner, client: Client) -> None:
    study = client.create_study(external("fast", outcome_constraints=["latency_ms <= 50"]))
    for x in (0.1, 0.2, 0.3):
        study.enqueue({"x": x})
    values = iter(({"score": 9.0, "latency_ms": 62.5}, {"score": 8.0}, {"score": 1.0, "latency_ms": 10.0}))
    for trial in client.asks(study, count=2):
        trial.tell(next(values))
    assert done(tuner("study", "best", "fast")) == ""
    assert "no complete trial is feasible yet" in tuner("study", "best", "fast").stderr
    for trial in client.asks(study, count=1):
        trial.tell(next(values))
    shown = done(tuner("trial", "show", "fast/0"))
    assert "feasible    no: latency_ms <= 50 is broken by 12.5" in shown
    assert "COMPLETE (infeasible)" in shown
    shown = done(tuner("trial", "show", "fast/1"))
    assert "no: latency_ms <= 50 is broken: there is no number for it" in shown
    assert "there is no value of latency_ms; report it, or tell it with the outcome" in shown
    assert "feasible    yes" in done(tuner("trial", "show", "fast/2"))
    assert "latency_ms <= 50; 2 of 3 complete trials break one" in done(tuner("study", "show", "fast"))
    for top in ("1", "3"):
        found = json.loads(done(tuner("study", "best", "fast", "--top", top, "--json")))
        assert [trial["number"] for trial in found] == [2]
    listed = json.loads(done(tuner("trial", "list", "fast", "--filter", "feasible:false", "--json")))
    assert [trial["number"] for trial in listed] == [0, 1]


def test_an_outcome_constraint_that_cannot_be_read(tuner: Tuner, tmp_path: Path) -> None:
    body = external("fast").to_json() | {"outcome_constraints": ["latency_ms"]}
    (tmp_path / "fast.yaml").write_text(yaml.safe_dump(body))
    refused = tuner("study", "submit", "fast.yaml")
    assert refused.returncode == 2
    assert "outcome_constraints.0" in refused.stderr
    assert "write a metric's name, <=, <, >= or >, and a number" in refused.stderr
