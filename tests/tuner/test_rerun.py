"""Trials that ran through the service, repeated on this machine: equal on a CPU, or different with the cause named."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from tests.api.conftest import Server, server  # noqa: F401 (a fixture)
from tests.tuner.specs import external
from tests.workers.conftest import MODULE, eventually
from tests.workers.test_agent import AgentProcess
from tuner.cli.main import run
from tuner.client import Client
from tuner.db.postgres import Database
from tuner.trials import judge
from tuner.wire import AskRequest, Reason, Tell, Trial, TrialCreate, Verdict
from workers import rerun
from workers.engines.local import LocalPlace
from workers.holding import Holdings
from workers.roots import DataRoots
from workers.runner import RunnerOptions, SlotRunner
from workers.slots import Slot
from workers.verification import Verification, Verifier

SLOT = Slot(index=0, cpus=1.0)
IRIS: dict[str, Any] = {
    "dataset": {"name": "iris"},
    "model": {"name": "mlp", "hidden": [8], "dropout": 0.2},
    "optimizer": {"name": "adam", "lr": 0.01},
    "epochs": 3,
}


@pytest.fixture(scope="module")
def place() -> Iterator[LocalPlace]:
    """One trial process for all tests here: what one of its trials leaves behind must not change the next."""
    place = LocalPlace(SLOT)
    yield place
    place.close()


@pytest.fixture
def client(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:  # noqa: F811
    monkeypatch.setenv("TUNER_SERVER", server.url)
    monkeypatch.setenv("TUNER_KEY", server.key)
    with Client(server.url, server.key) as client:
        yield client


@pytest.fixture
def working(client: Client, place: LocalPlace, tmp_path: Path) -> Callable[..., Any]:
    """A context in which a worker of this process serves the service."""

    @contextmanager
    def work() -> Iterator[None]:
        options = RunnerOptions(
            worker="here",
            allow=(f"{MODULE}:*", "command:sh"),
            bundles=None,
            data=DataRoots(folders=(tmp_path,)),
            scratch=tmp_path,
            ttl=None,
            warm=False,
        )
        draining, held = threading.Event(), Holdings(lambda: None)
        runner = SlotRunner(
            SLOT, place, client, held, options, draining=draining, giving_up=threading.Event(), on_idle=lambda: None
        )
        thread = threading.Thread(target=runner.run)
        thread.start()
        try:
            yield
        finally:
            draining.set()
            # Its request for a next trial is out, and waits: give it one.
            client.submit_study(study("last", {"executor": "entrypoint", "entrypoint": f"{MODULE}:bare_number"}))
            client.create_trial("last", TrialCreate(params={"x": 0.5}))
            thread.join(60)
        assert not thread.is_alive()

    return work


def study(name: str, trial: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "objectives": [{"name": "loss", "direction": "minimize"}],
        "space": {"x": {"type": "float", "low": 0, "high": 10}},
        "sampler": {"name": "random", "seed": 1},
        "pruner": {"name": "none"},
        "trial": trial,
        **changes,
    }


def trainer(trainer: dict[str, Any] = IRIS, space: dict[str, Any] | None = None) -> dict[str, Any]:
    return study(
        "s",
        {"executor": "trainer", "trainer": trainer},
        objectives=[{"name": "val_loss", "direction": "minimize"}],
        space=space or {"optimizer.lr": {"type": "float", "low": 0.001, "high": 0.1}},
    )


def finished(client: Client, number: int = 0, name: str = "s") -> Trial:
    def look() -> Trial | None:
        trial = client.get_trial_by_number(name, number)
        return trial if trial.state.is_finished else None

    found: Trial = eventually(look, 90)
    return found


def repeat(client: Client, place: LocalPlace, scratch: Path, number: int = 0) -> Verification:
    """What `tuner trial rerun --verify` does, but in a process that is warm."""
    trial = client.get_trial_by_number("s", number)
    reports = client.list_reports(trial.id)
    verifier = Verifier(trial, reports, client.list_attempts(trial.id))
    assignment = rerun.make_assignment(
        trial,
        client.get_study("s"),
        verifier.record or {},
        slot=SLOT,
        scratch=scratch,
        until=rerun.last_step(trial, reports),
        permissions=rerun.Permissions(data_roots=(scratch,)),
        client=client,
    )
    return verifier.verify(rerun.repeat(place, assignment, lambda step, values: None), "cpu")


def alter(database: Database, statement: str, **parameters: Any) -> None:
    with database.begin() as connection:
        connection.execute(text(statement), parameters)


def alter_record(database: Database, path: str, value: Any) -> None:
    alter(
        database,
        "UPDATE attempts SET record = jsonb_set(record::jsonb, string_to_array(:path, '/'), CAST(:value AS jsonb))::text",
        path=path,
        value=json.dumps(value),
    )


# --- equal ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_every_kind_of_optimizer_comes_out_the_same(
    client: Client, working: Callable[..., Any], place: LocalPlace, tmp_path: Path
) -> None:
    names = ["adam", "lbfgs", "muon", "sophia", "newton_cg", "schedule_free_adamw"]
    client.submit_study(trainer(space={"optimizer.name": {"type": "categorical", "choices": names}}))
    for name in names:
        client.create_trial("s", TrialCreate(params={"optimizer.name": name}))
    with working():
        for number in range(len(names)):
            finished(client, number)
    for number, name in enumerate(names):
        verification = repeat(client, place, tmp_path, number)
        assert verification.is_equal, (name, verification)
        assert (verification.num_steps, verification.weights, verification.records) == (3, "the weights are equal", ()), name


@pytest.mark.slow
def test_a_killed_and_resumed_trial_comes_out_the_same_from_its_start(
    client: Client,
    server: Server,  # noqa: F811
    working: Callable[..., Any],
    place: LocalPlace,
    tmp_path: Path,
) -> None:
    client.submit_study(trainer(IRIS | {"epochs": 100, "batch_size": 4, "checkpoint_every": 10}))
    trial = client.create_trial("s", TrialCreate(params={"optimizer.lr": 0.01}))
    agent = AgentProcess(server=server.url, key=server.key, ttl=1.0)
    try:
        eventually(lambda: client.list_checkpoints(trial.id), 90)
    finally:
        agent.kill()
    with working():
        assert finished(client).state == "COMPLETE"
    first, second = client.list_attempts(trial.id)
    assert (first.reason, first.record) == ("lost", None)
    assert second.record is not None
    assert second.record["resumed_from"] == second.resumed_from
    verification = repeat(client, place, tmp_path)
    assert verification.is_equal, verification
    assert (verification.num_steps, verification.weights) == (100, "the weights are equal")


def test_a_pruned_trial_is_repeated_as_far_as_it_went(
    client: Client, database: Database, working: Callable[..., Any], place: LocalPlace, tmp_path: Path
) -> None:
    created, _ = client.submit_study(trainer(IRIS | {"epochs": 100_000}))
    trial = client.create_trial("s", TrialCreate(params={"optimizer.lr": 0.01}))
    with working():
        eventually(lambda: len(client.list_reports(trial.id)) > 2, 90)
        with database.begin() as connection:
            judge(connection, created.id, {trial.id: (2, Verdict.PRUNE)})
        assert finished(client).state == "PRUNED"
    verification = repeat(client, place, tmp_path)
    assert verification.is_equal, verification
    assert verification.num_steps == len(client.list_reports(trial.id)) < 100_000
    assert verification.weights == "the weights are equal"


def test_a_trial_that_fails_fails_again(client: Client, working: Callable[..., Any], place: LocalPlace, tmp_path: Path) -> None:
    space = {"optimizer.lr": {"type": "float", "low": 1.0, "high": 1e30}}
    base = IRIS | {"optimizer": {"name": "sgd", "lr": 0.1}, "model": {"name": "mlp", "hidden": [8]}}
    client.submit_study(trainer(base, space))
    client.create_trial("s", TrialCreate(params={"optimizer.lr": 1e30}))
    with working():
        assert finished(client).reason == "nan"
    assert repeat(client, place, tmp_path).is_equal


# --- different -----------------------------------------------------------------------------------------------------------------


def test_the_cause_of_a_difference_is_named(
    client: Client, database: Database, working: Callable[..., Any], place: LocalPlace, tmp_path: Path
) -> None:
    """One trial, changed behind its back in one way after the other."""
    rows = [f"{x / 7:.4f},{x * x % 11},{x % 3 % 2}" for x in range(60)]
    data = tmp_path / "some.csv"
    data.write_text("\n".join(["a,b,c", *rows]))
    client.submit_study(trainer(IRIS | {"dataset": {"name": "csv", "path": str(data), "target": "c"}}))
    client.create_trial("s", TrialCreate(params={"optimizer.lr": 0.01}))
    with working():
        assert finished(client).state == "COMPLETE"
    verification = repeat(client, place, tmp_path)
    assert verification.is_equal, verification

    data.write_text("\n".join(["a,b,c", *rows[:-1], "9.0,9,1"]))
    other_data = repeat(client, place, tmp_path)
    assert other_data.differences[0].startswith("the reports differ in step 0 (")
    assert "the weights differ" in other_data.differences[-1]
    (cause,) = other_data.causes
    assert cause.startswith("other data: ")
    data.write_text("\n".join(["a,b,c", *rows]))

    alter(database, """UPDATE studies SET spec = replace(spec, '"dropout": 0.2', '"dropout": 0.3')""")
    (cause,) = repeat(client, place, tmp_path).causes
    assert cause == "another configuration (model.dropout): 0.2 then, 0.3 now"
    alter(database, """UPDATE studies SET spec = replace(spec, '"dropout": 0.3', '"dropout": 0.2')""")

    alter_record(database, "weights/sha256", "0" * 64)
    altered = repeat(client, place, tmp_path)
    (difference,) = altered.differences
    assert difference.endswith("was 000000000000…)")
    assert altered.causes == ("no difference in what is recorded",)

    alter_record(database, "versions/torch", "1.0.0")
    (cause,) = repeat(client, place, tmp_path).causes
    assert cause.startswith("another version of torch: 1.0.0 then, ")

    data.unlink()
    (difference, *_) = repeat(client, place, tmp_path).differences
    assert difference.startswith("step 0 was not reported again")


# --- the command ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def done(client: Client, working: Callable[..., Any]) -> Trial:
    """A finished trial of an entrypoint, which needs no torch."""
    client.submit_study(study("s", {"executor": "entrypoint", "entrypoint": f"{MODULE}:square", "args": {"shift": 1.0}}))
    client.create_trial("s", TrialCreate(params={"x": 3.0}))
    with working():
        return finished(client)


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = run(["trial", "rerun", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def check_usage(capsys: pytest.CaptureFixture[str], words: str, *arguments: str) -> None:
    code, out, err = call(capsys, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert words in err


def test_the_command_prints_the_curve_and_says_whether_it_is_equal(
    done: Trial, client: Client, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    allow = ("--allow", f"{MODULE}:*")
    code, out, _ = call(capsys, "s/0", *allow)
    assert (code, out.splitlines()) == (0, ["step     0  loss=6", "step     1  loss=5", "step     2  loss=4", "values  loss=4"])
    code, out, _ = call(capsys, str(done.id), "--verify", *allow)
    assert code == 0
    assert out.splitlines()[0] == "step     0  equal      loss=6"
    assert out.splitlines()[-1] == "equal: 3 steps, bit for bit; the weights are not recorded"
    alter(database, """UPDATE reports SET metrics = '{"loss": 7}' WHERE step = 1""")
    alter_record(database, "threads", 3)
    code, out, _ = call(capsys, "s/0", "--verify", *allow)
    assert code == 1
    assert out.splitlines()[1] == "step     1  different  loss=5"
    assert out.splitlines()[-2:] == [
        "different: the reports differ in step 1 (loss 5.0, was 7.0)"
        " (compared 3 steps, bit for bit; the weights are not recorded)",
        "likely cause: no difference in what is recorded",
    ]
    assert call(capsys, "s/0", "--verify", "--ignore", "lo*", *allow)[0] == 0
    code, out, _ = call(capsys, "s/0", "--verify", "--json", *allow)
    answer = json.loads(out)
    assert code == 1
    assert (answer["state"], answer["reports"][1], answer["number"]) == ("COMPLETE", {"step": 1, "values": {"loss": 5.0}}, 0)
    assert answer["verification"]["equal"] is False
    assert client.get_trial(done.id) == done, "the study does not hear of it"
    assert len(client.list_attempts(done.id)) == 1


def test_code_runs_only_with_ones_own_leave(done: Trial, capsys: pytest.CaptureFixture[str]) -> None:
    check_usage(capsys, f"give --allow '{MODULE}:*'", "s/0")
    check_usage(capsys, f"give --allow '{MODULE}:*'", "s/0", "--allow", "other:*")


def test_a_machine_without_what_the_trial_needs(
    done: Trial, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    check_usage(capsys, "'cuda:7' is not on this machine; there: cpu", "s/0", "--device", "cuda:7", "--allow", "*")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    check_usage(capsys, "pip install 'tuner[worker]'", "s/0")


def test_a_trial_that_fails_now_says_why(done: Trial, database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    alter(database, "UPDATE studies SET spec = replace(spec, 'entrypoints:square', 'entrypoints:fails')")
    alter(database, """UPDATE studies SET spec = replace(spec, '"shift": 1.0', '')""")
    code, out, err = call(capsys, "s/0", "--verify", "--allow", "*")
    assert code == 1
    assert "the repeated trial failed (exception): ValueError: the data set is empty" in err
    assert "different: step 0 was not reported again, nor 2 others; it ended FAIL (exception), the trial was COMPLETE" in out
    assert f"likely cause: another configuration (entrypoint): {MODULE}:square then, {MODULE}:fails now" in out


def test_trials_that_cannot_be_repeated(client: Client, database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    client.submit_study(external())
    client.create_trial("s", TrialCreate(params={"x": 0.5}))
    check_usage(capsys, "ran in a loop outside of workers (executor external)", "s/0")
    client.submit_study(study("t", {"executor": "entrypoint", "entrypoint": f"{MODULE}:square"}))
    client.create_trial("t", TrialCreate(params={"x": 0.5}))
    check_usage(capsys, "trial 0 of study t never ran", "t/0")
    (lease,) = client.ask_leases("t", AskRequest(wait=0))
    check_usage(capsys, "trial 0 of study t is running", "t/0")
    client.tell(lease.id, Tell(state="FAIL", reason=Reason.EXCEPTION))
    check_usage(capsys, "trial 0 of study t left no record", "t/0")
    alter(database, "UPDATE trials SET origin = 'population', parent = 3")
    check_usage(capsys, "trial 0 of study t went on from a checkpoint of trial 3", "t/0")
    check_usage(capsys, "'t' is not allowed", "t")


def test_a_missing_data_file_is_one_sentence(
    client: Client, working: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "some.csv"
    data.write_text("\n".join(["a,c", *(f"{x},{x % 2}" for x in range(40))]))
    client.submit_study(trainer(IRIS | {"dataset": {"name": "csv", "path": str(data), "target": "c"}}))
    client.create_trial("s", TrialCreate(params={"optimizer.lr": 0.01}))
    with working():
        assert finished(client).state == "COMPLETE"
    assert run(["trial", "show", "s/0"]) == 0
    shown = capsys.readouterr().out
    assert "rerun       tuner trial rerun s/0 --verify" in shown
    assert "torch=" in shown
    data.unlink()
    code, out, err = call(capsys, "s/0")
    assert (code, out) == (1, "")
    assert err.splitlines()[-1].startswith("the repeated trial failed (exception): dataset.path: there is no file")
