"""The SDK against the live server: loops that ask, report and tell, and everything that can go wrong between."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.api.conftest import Server, server  # noqa: F401 (a fixture)
from tests.tuner.specs import external
from tuner import handles, maintenance, trials, wire
from tuner.client import Client
from tuner.db.postgres import Database
from tuner.errors import InvalidSpec, InvalidValue, LeaseLost, StudyExists, StudyNotFound, StudyNotRunning, Unauthenticated
from tuner.handles import AskedTrial, StudyHandle
from tuner.settings import Settings
from tuner.wire import AskRequest, TrialState, Verdict

DEADLINE = 20.0


@pytest.fixture(autouse=True)
def every_report_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a verdict made a moment ago is heard at once; gathering has tests of its own."""
    monkeypatch.setattr(handles, "FRESH", 0.0)


@pytest.fixture
def client(server: Server) -> Iterator[Client]:  # noqa: F811
    with Client(server.url, server.key) as client:
        yield client


def make_study(client: Client, count: int, name: str = "s") -> StudyHandle:
    """A study of exactly `count` trials, all of which wait already: no search is needed."""
    study = client.create_study(external(name, limits={"max_trials": count}))
    for index in range(count):
        study.enqueue({"x": (index + 1) / (count + 1)})
    return study


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


def judge(database: Database, trial: AskedTrial, verdict: Verdict) -> None:
    with database.begin() as connection:
        trials.judge(connection, trial.lease.trial.study_id, {trial.id: (10**6, verdict)})


def lose(database: Database) -> None:
    """All leases expire and their trials are handed on."""
    with database.begin() as connection:
        connection.execute(
            text("UPDATE attempts SET expires_at = clock_timestamp() - interval '1 second' WHERE ended_at IS NULL")
        )
    maintenance.run_once(database, Settings(retry_backoff=0))


def states(study: StudyHandle) -> list[str]:
    return [trial.state.value for trial in study.trials()]


def test_asks_until_the_study_has_ended(client: Client) -> None:
    study = make_study(client, 4)
    seen = []
    for trial in client.asks(study):
        seen.append(trial.number)
        assert trial.report(0, {"score": trial.params["x"]}) == "continue"
        trial.tell({"score": trial.params["x"]})
    assert seen == [0, 1, 2, 3]
    assert states(study) == ["COMPLETE"] * 4
    assert study.wait(timeout=DEADLINE).state == "COMPLETE"
    assert study.best_trial.number == 3
    assert study.best_trial.values == {"score": 0.8}


def test_a_tell_brings_the_next_trial(client: Client) -> None:
    study = make_study(client, 3)
    loop = client.asks(study)
    first = next(loop)
    first.tell(1.0)
    assert first.following is not None
    assert next(loop) is first.following
    loop.close()


def test_count_takes_no_more(client: Client) -> None:
    study = make_study(client, 5)
    for trial in client.asks(study, count=2):
        trial.tell(0.5)
    assert states(study) == ["COMPLETE", "COMPLETE", "WAITING", "WAITING", "WAITING"]


def test_an_exception_fails_the_trial_and_propagates(client: Client) -> None:
    study = make_study(client, 3)

    def loop() -> None:
        for trial in client.asks(study):
            if trial.number == 1:
                raise ZeroDivisionError
            trial.tell(0.5)

    with pytest.raises(ZeroDivisionError):
        loop()
    assert states(study) == ["COMPLETE", "FAIL", "WAITING"]
    assert next(iter(study.trials(state="FAIL"))).reason == "exception"


def test_a_break_hands_back_what_was_taken_ahead(client: Client) -> None:
    study = make_study(client, 3)
    for trial in client.asks(study):
        trial.tell(0.5)
        break
    assert states(study) == ["COMPLETE", "WAITING", "WAITING"]
    taken = next(iter(study.trials(state="WAITING")))
    assert taken.reason == "preempted"


def test_a_trial_that_nobody_tells(client: Client) -> None:
    study = make_study(client, 2)
    with pytest.raises(InvalidValue, match="trial 0 was never told"):
        list(client.asks(study))
    assert states(study) == ["FAIL", "WAITING"]


@pytest.mark.parametrize(
    "verdict, state, reason",
    [(Verdict.PRUNE, "PRUNED", "pruned"), (Verdict.PAUSE, "WAITING", "paused_at_rung"), (Verdict.STOP, "FAIL", "cancelled")],
)
def test_an_untold_trial_follows_its_verdict(
    client: Client, database: Database, verdict: Verdict, state: str, reason: str
) -> None:
    study = make_study(client, 1)
    for trial in client.asks(study, count=1):
        judge(database, trial, verdict)
        assert trial.report(1, 0.1) == verdict.value
    (ended,) = study.trials()
    assert ended.state == state
    assert ended.reason in (reason, None)


def test_a_member_of_a_population_pauses_at_the_boundary_its_lease_names(client: Client) -> None:
    pruner = {"name": "population", "size": 4, "interval": 2, "max_resource": 6}
    study = client.create_study(external(pruner=pruner))
    study.enqueue({"x": 0.5})
    trial = client.ask(study)
    assert [trial.report(step, 0.1) for step in range(2)] == ["continue", "pause"]
    trial.save_checkpoint(b"state", 1)
    paused = trial.tell(0.1)
    assert (paused.state, paused.reason) == (TrialState.WAITING, "paused_at_rung")
    assert client.ask_leases("s", AskRequest(wait=0)) == []  # until the search lets it go on


def test_a_member_that_is_cancelled_at_its_boundary_stops(client: Client) -> None:
    study = client.create_study(external(pruner={"name": "population", "size": 4, "interval": 2, "max_resource": 6}))
    study.enqueue({"x": 0.5})
    trial = client.ask(study)
    client.cancel_trial(trial.id)
    assert trial.report(1, 0.1) == "stop"


def test_telling_after_a_verdict_follows_it_unless_one_insists(client: Client, database: Database) -> None:
    """The contract's example tells a value also when its loop was left because of a verdict."""
    study = make_study(client, 2)
    first, second = client.ask(study), client.ask(study)
    for trial in (first, second):
        judge(database, trial, Verdict.PRUNE)
        assert trial.report(3, {"score": 0.2}) == "prune"
    assert first.tell({"score": 0.9}).state is TrialState.PRUNED
    assert second.tell({"score": 0.9}, insist=True).state is TrialState.COMPLETE


def test_a_cancelled_trial_is_told_to_stop(client: Client) -> None:
    study = make_study(client, 1)
    trial = client.ask(study)
    client.cancel_trial(trial.id)
    assert trial.report(0, 0.5) == "stop"
    trial.settle()
    assert states(study) == ["FAIL"]


def test_a_lease_is_kept_alive_without_reports(client: Client) -> None:
    study = make_study(client, 1)
    trial = client.ask(study, ttl=1)
    first = trial.lease.expires_at
    wait_until(lambda: client.list_attempts(trial.id)[0].expires_at > first)
    assert trial.tell(0.5).state is TrialState.COMPLETE
    ended = client.list_attempts(trial.id)[0]
    assert ended.ended_at is not None


def test_verdicts_are_heard_without_reports(client: Client) -> None:
    study = make_study(client, 1)
    trial = client.ask(study, ttl=1)
    client.cancel_trial(trial.id)
    wait_until(lambda: trial.verdict == "stop")


def test_a_lost_lease_stops_the_loop_and_refuses_the_tell(client: Client, database: Database) -> None:
    study = make_study(client, 1)
    trial = client.ask(study)
    lose(database)
    assert trial.report(0, 0.5) == "stop"
    with pytest.raises(LeaseLost):
        trial.tell(0.5, insist=True)
    again = client.ask(study)
    assert again.number == trial.number
    assert again.lease.attempt == 2
    assert again.tell(0.7).values == {"score": 0.7}


def test_a_loop_goes_on_after_a_lost_lease(client: Client, database: Database) -> None:
    study = make_study(client, 2)
    told = []
    for trial in client.asks(study):
        if trial.lease.attempt == 1 and trial.number == 0:
            lose(database)
        if trial.report(0, 0.5) == "continue":
            trial.tell(0.5)
            told.append(trial.number)
    assert sorted(told) == [0, 1]
    assert states(study) == ["COMPLETE", "COMPLETE"]


def test_tell_is_repeated_safely(client: Client) -> None:
    study = make_study(client, 1)
    trial = client.ask(study)
    tell = wire.Tell(state="COMPLETE", values={"score": 0.5})
    first = client.tell(trial.lease.id, tell)
    assert client.tell(trial.lease.id, tell).trial == first.trial


def test_failures_are_data(client: Client) -> None:
    study = make_study(client, 2)
    first, second = client.ask(study), client.ask(study)
    failed = first.tell_failed("oom_cuda", error="out of memory")
    assert (failed.state, failed.reason, failed.error) == (TrialState.FAIL, "oom_cuda", "out of memory")
    missed = second.tell({"score": float("nan")})
    assert (missed.state, missed.reason) == (TrialState.FAIL, "nan")


def test_a_trial_as_a_context(client: Client) -> None:
    study = make_study(client, 3)
    with pytest.raises(ValueError, match="bad luck"), client.ask(study):
        raise ValueError("bad luck")
    with pytest.raises(KeyboardInterrupt), client.ask(study):
        raise KeyboardInterrupt
    with client.ask(study) as trial:
        trial.tell(0.5)
    failed, *_ = study.trials()
    assert "ValueError: bad luck" in str(failed.error)
    assert states(study) == ["FAIL", "COMPLETE", "WAITING"]


def test_checkpoints_survive_the_hand_over(client: Client, tmp_path: Path) -> None:
    study = make_study(client, 1)
    trial = client.ask(study)
    assert trial.load_checkpoint() is None
    trial.report(4, 0.1)
    trial.save_checkpoint(b"state" * 100_000, step=4)
    path = tmp_path / "state"
    path.write_bytes(b"later" * 100_000)
    saved = trial.save_checkpoint(path, step=5)
    assert saved.size == 500_000
    with pytest.raises(InvalidValue, match="must be bytes, a Path or an open binary file, not dict"):
        trial.save_checkpoint({"weights": 1}, step=6)  # type: ignore[arg-type]
    trial.hand_back()
    again = client.ask(study)
    assert again.load_checkpoint() == (5, b"later" * 100_000)
    again.tell(0.5)


def test_bare_numbers_need_one_objective(client: Client) -> None:
    objectives = [{"name": "a", "direction": "maximize"}, {"name": "b", "direction": "minimize"}]
    study = client.create_study(external("two", objectives=objectives, limits={"max_trials": 2}))
    for x in (0.1, 0.2):
        study.enqueue({"x": x})
    first, second = client.ask(study), client.ask(study)
    with pytest.raises(InvalidValue, match="a, b"):
        first.tell(0.5)
    with pytest.raises(InvalidValue, match="a value for each objective: a, b"):
        first.tell()
    first.tell({"a": 1.0, "b": 1.0})
    second.tell({"a": 2.0, "b": 2.0})
    assert {trial.number for trial in study.best_trials} == {0, 1}
    with pytest.raises(InvalidValue, match="use best_trials"):
        _ = study.best_trial


def test_ask_says_why_nothing_came(client: Client) -> None:
    study = make_study(client, 1)
    client.ask(study).tell(0.5)
    study.wait(timeout=DEADLINE)
    with pytest.raises(StudyNotRunning, match="max_trials"):
        client.ask(study)


def test_studies_are_found_and_refused(client: Client, server: Server) -> None:  # noqa: F811
    study = client.create_study(external())
    assert client.create_study(external()).id == study.id
    assert client.study("s").id == client.study(study.id).id == study.id
    with pytest.raises(StudyExists):
        client.create_study(external(notes="another"))
    with pytest.raises(StudyNotFound, match="nothing"):
        client.study("nothing")
    with pytest.raises(InvalidSpec, match=r"space\.x"):
        client.create_study({"space": {"x": {"type": "float", "low": 1, "high": 0}}})
    with Client(server.url, "tnr_000000000000_" + "A" * 43) as stranger, pytest.raises(Unauthenticated):
        stranger.study("s")


def test_the_life_of_a_study(client: Client) -> None:
    study = make_study(client, 2)
    assert study.pause().state == "PAUSED"
    with pytest.raises(TimeoutError, match="PAUSED"):
        study.wait(timeout=0, poll=0.01)
    assert study.resume().state == "RUNNING"
    trial = client.ask(study)
    study.stop()
    trial.tell(0.5)
    assert study.wait(timeout=DEADLINE).state == "STOPPED"
    study.delete()
    with pytest.raises(StudyNotFound):
        _ = study.state


def test_wait_shows_progress(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    study = make_study(client, 2)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(study.wait, progress=True, timeout=DEADLINE)
        for trial in client.asks(study):
            trial.tell(trial.params["x"])
        assert waiting.result().state == "COMPLETE"
    shown = capsys.readouterr().err
    assert "s: 2/2 trials, best 0.6667 (trial 1)" in shown


def test_dataframe(client: Client) -> None:
    study = make_study(client, 2)
    client.ask(study).tell(0.5)
    frame = study.trials_dataframe()
    assert list(frame["number"]) == [0, 1]
    assert frame["values.score"][0] == 0.5
    assert frame["params.x"][1] == pytest.approx(2 / 3)


def test_many_threads_share_a_client(client: Client) -> None:
    study = make_study(client, 40)
    told: list[int] = []
    lock = threading.Lock()

    def work() -> None:
        for trial in client.asks(study):
            trial.report(0, 0.1)
            trial.tell(0.5)
            with lock:
                told.append(trial.number)

    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(work) for _ in range(8)]:
            future.result(timeout=60)
    assert sorted(told) == list(range(40))


def test_reports_in_quick_succession_travel_with_the_tell(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handles, "FRESH", 60.0)
    trial = client.ask(make_study(client, 1))
    for step in range(5):
        assert trial.report(step, 0.1 * step) == "continue"
    trial.tell(0.5)
    assert [(item.step, item.values["score"]) for item in client.list_reports(trial.id)] == [
        (step, 0.1 * step) for step in range(5)
    ]


def test_gathered_reports_do_not_wait_for_the_tell(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handles, "FRESH", 60.0)
    trial = client.ask(make_study(client, 1))
    trial.report(0, 0.1)
    trial.report(1, 0.2)
    wait_until(lambda: [item.step for item in client.list_reports(trial.id)] == [0, 1])
    trial.tell(0.5)
