"""The agent against a live server: trials end to end, crashes, takeover, drain, lost leases, a network that goes away.

Trials are enqueued, so no search is needed. Agents run as processes of their own, as users run them.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.api.conftest import Server
from tests.workers.conftest import MODULE, eventually
from tests.workers.proxy import Proxy
from tuner.client import Client
from tuner.db.postgres import Database
from tuner.errors import InvalidValue, Unauthenticated
from tuner.settings import Settings
from tuner.trials import judge
from tuner.wire import LeaseRequest, Tell, Trial, TrialCreate, TrialState, Verdict
from workers.agent import Agent, AgentOptions

START = "import sys; from pathlib import Path; from workers.agent import AgentOptions, run; sys.exit(run(AgentOptions(**{options!r})))"


class AgentProcess:
    def __init__(self, **options: Any) -> None:
        options = {"gpus": "none", "warm": False, "allow": (f"{MODULE}:*",), "name": "host-1", **options}
        self.popen = subprocess.Popen([sys.executable, "-c", START.format(options=options)], start_new_session=True)
        self.pid = self.popen.pid

    def children(self) -> list[psutil.Process]:
        return list(psutil.Process(self.pid).children(recursive=True))

    def drain(self, seconds: float = 20.0) -> int:
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(seconds)

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait()


StartAgent = Callable[..., AgentProcess]


@pytest.fixture
def live(database: Database, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Address and key of a server with a quick reaper."""
    settings = Settings(database_url=database.url, data=tmp_path, port=0, reap_interval=0.2, retry_backoff=0.1)
    server = Server(database, settings)
    yield server.url, server.key
    server.stop()


@pytest.fixture
def client(live: tuple[str, str]) -> Iterator[Client]:
    with Client(*live) as client:
        yield client


@pytest.fixture
def start_agent(live: tuple[str, str]) -> Iterator[StartAgent]:
    started: list[AgentProcess] = []

    def start(**options: Any) -> AgentProcess:
        agent = AgentProcess(**{"server": live[0], "key": live[1], **options})
        started.append(agent)
        return agent

    yield start
    for agent in started:
        agent.kill()


@pytest.fixture
def proxy(live: tuple[str, str]) -> Iterator[Proxy]:
    host, _, port = live[0].removeprefix("http://").partition(":")
    proxy = Proxy((host, int(port)))
    yield proxy
    proxy.close()


class Enqueue:
    """Makes a study of one entrypoint and enqueues trials in it."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._num_studies = 0

    def __call__(self, function: str, *, count: int = 1, limits: dict[str, Any] | None = None, **args: Any) -> list[int]:
        self._num_studies += 1
        name = f"{function}-{self._num_studies}"
        self._client.create_study(
            {
                "name": name,
                "objectives": [{"name": "loss", "direction": "minimize"}],
                "space": {"x": {"type": "float", "low": -10, "high": 10}},
                "sampler": {"name": "random", "seed": 1},
                "pruner": {"name": "none"},
                "trial": {"executor": "entrypoint", "entrypoint": f"{MODULE}:{function}", "args": args},
                "limits": {"max_trials": 50, **(limits or {})},
            }
        )
        return [self._client.create_trial(name, TrialCreate(params={"x": float(number)})).id for number in range(count)]


@pytest.fixture
def enqueue(client: Client) -> Enqueue:
    return Enqueue(client)


@pytest.fixture
def finished(client: Client) -> Callable[..., Trial]:
    def wait(trial: int, seconds: float = 40.0) -> Trial:
        def ended() -> Trial | None:
            now = client.get_trial(trial)
            return now if now.state.is_finished else None

        found: Trial = eventually(ended, seconds)
        return found

    return wait


@pytest.fixture
def running(client: Client) -> Callable[..., Trial]:
    """Wait until the trial has reported up to a step."""

    def wait(trial: int, step: int) -> Trial:
        def far() -> Trial | None:
            now = client.get_trial(trial)
            assert not now.state.is_finished, now
            return now if now.state == TrialState.RUNNING and now.last_step is not None and now.last_step >= step else None

        found: Trial = eventually(far)
        return found

    return wait


Finished = Callable[..., Trial]


def test_trials_end_to_end(start_agent: StartAgent, enqueue: Enqueue, finished: Finished, client: Client) -> None:
    trials = enqueue("square", count=6, shift=1.0)
    agent = start_agent(slots=2)
    ended = [finished(trial) for trial in trials]
    assert [trial.values for trial in ended] == [{"loss": (float(x) - 1.0) ** 2} for x in range(6)]
    assert {trial.state for trial in ended} == {TrialState.COMPLETE}
    assert {(trial.worker, trial.attempt) for trial in ended} == {("host-1", 1)}
    assert [report.step for report in client.list_reports(trials[0])] == [0, 1, 2]
    assert [line.text for line in client.list_logs(trials[0]).items] == ["square of 0.0"]
    (worker,) = client.list_workers()
    assert (worker.name, worker.slots) == ("host-1", 2)
    assert agent.drain() == 0


def test_thousands_of_reports_arrive_whole_and_of_the_lines_what_there_was_room_for(
    start_agent: StartAgent, enqueue: Enqueue, finished: Finished, client: Client
) -> None:
    start_agent()
    (trial,) = enqueue("floods", steps=5_000)
    assert finished(trial).state == TrialState.COMPLETE
    assert [report.values["loss"] for report in client.list_reports(trial)] == [float(step) for step in range(5_000)]
    lines, cursor = [], None
    while True:
        page = client.list_logs(trial, cursor=cursor)
        lines += page.items
        cursor = page.next_cursor
        if cursor is None or not page.items:
            break
    kept = [int(line.text) for line in lines if line.stream == "stdout"]
    dropped = [int(line.text.split()[0]) for line in lines if line.stream == "tuner"]
    assert kept == sorted(kept)
    assert len(kept) + sum(dropped) == 5_000


def test_a_crash_kills_neither_agent_nor_neighbours(
    start_agent: StartAgent, enqueue: Enqueue, finished: Finished, running: Finished
) -> None:
    (neighbour,) = enqueue("counts_in_checkpoints", epochs=40, beat=0.05)
    agent = start_agent(slots=2)
    running(neighbour, step=1)
    crashed = finished(enqueue("segfault")[0])
    assert (crashed.state, crashed.reason) == (TrialState.FAIL, "crash")
    assert "SIGSEGV" in (crashed.error or "")
    assert "about to crash" in (crashed.error or "")
    assert finished(enqueue("vanish")[0]).reason == "crash"
    assert finished(enqueue("square")[0]).state == TrialState.COMPLETE
    assert finished(neighbour).values == {"loss": 40.0}
    assert agent.popen.poll() is None


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        ("fails", "exception"),
        ("nan", "nan"),
        ("missing", "missing_objective"),
        ("out_of_memory", "oom_host"),
        ("bad_attrs", "exception"),
    ],
)
def test_a_models_failure_is_told_once(
    start_agent: StartAgent, enqueue: Enqueue, finished: Finished, function: str, reason: str
) -> None:
    start_agent()
    trial = finished(enqueue(function)[0])
    assert (trial.state, trial.reason, trial.attempt) == (TrialState.FAIL, reason, 1)
    assert trial.error


def test_an_entrypoint_beyond_the_patterns_is_refused(start_agent: StartAgent, enqueue: Enqueue, finished: Finished) -> None:
    start_agent(allow=("package.module:*",))
    trial = finished(enqueue("square")[0])
    assert (trial.state, trial.reason) == (TrialState.FAIL, "refused")
    assert "--allow" in (trial.error or "")


def test_a_trial_over_its_time_limit_is_ended(start_agent: StartAgent, enqueue: Enqueue, finished: Finished) -> None:
    start_agent()
    started = time.monotonic()
    trial = finished(enqueue("long_step", limits={"trial_timeout": 1})[0])
    assert (trial.state, trial.reason) == (TrialState.FAIL, "timeout")
    assert time.monotonic() - started < 15
    assert finished(enqueue("square")[0]).state == TrialState.COMPLETE


def test_a_step_longer_than_the_lease_does_not_lose_it(start_agent: StartAgent, enqueue: Enqueue, finished: Finished) -> None:
    start_agent(ttl=2.0)
    trial = finished(enqueue("long_step", seconds=6.0)[0])
    assert (trial.state, trial.attempt, trial.values) == (TrialState.COMPLETE, 1, {"loss": 2.0})


def test_kill_9_of_an_agent_loses_only_work_since_the_checkpoint(
    start_agent: StartAgent, enqueue: Enqueue, finished: Finished, running: Finished, client: Client
) -> None:
    (trial,) = enqueue("counts_in_checkpoints", epochs=80, beat=0.03)
    first = start_agent(ttl=2.0, name="host-1")
    running(trial, step=20)
    orphans = first.children()
    assert orphans
    first.kill()
    eventually(lambda: not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in orphans))
    start_agent(name="host-2")
    ended = finished(trial)
    assert (ended.state, ended.attempt, ended.worker) == (TrialState.COMPLETE, 2, "host-2")
    assert ended.values == {"loss": 80.0}, "each step counted once: it resumed from exactly the state it had saved"
    assert 5 < ended.user_attrs["started_at_2"] < 80
    assert [report.step for report in client.list_reports(trial)] == list(range(80)), "no report is missing"
    assert [attempt.reason for attempt in client.list_attempts(trial)] == ["lost", "complete"]


def test_drain_hands_trials_back_with_their_checkpoint(
    start_agent: StartAgent, enqueue: Enqueue, finished: Finished, running: Finished, client: Client
) -> None:
    trials = enqueue("counts_in_checkpoints", count=2, epochs=200, beat=0.03)
    first = start_agent(slots=2)
    for trial in trials:
        running(trial, step=5)
    assert first.drain() == 0
    for trial in trials:
        waiting = client.get_trial(trial)
        assert (waiting.state, waiting.reason) == (TrialState.WAITING, "preempted")
        (newest, *_) = sorted(client.list_checkpoints(trial), key=lambda checkpoint: -checkpoint.step)
        assert newest.step == waiting.last_step
    start_agent(slots=2, name="host-2")
    for trial in trials:
        assert finished(trial).values == {"loss": 200.0}


def test_drain_does_not_wait_for_a_trial_that_does_not_listen(
    start_agent: StartAgent, enqueue: Enqueue, running: Finished, client: Client
) -> None:
    (trial,) = enqueue("long_step", seconds=60.0)
    agent = start_agent(drain_timeout=1.0)
    running(trial, step=0)
    assert agent.drain(seconds=10) == 0
    assert (client.get_trial(trial).state, client.get_trial(trial).reason) == (TrialState.WAITING, "preempted")


def test_a_second_signal_leaves_at_once(start_agent: StartAgent, enqueue: Enqueue, running: Finished, client: Client) -> None:
    (trial,) = enqueue("long_step", seconds=60.0)
    agent = start_agent(drain_timeout=60.0)
    running(trial, step=0)
    agent.popen.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        agent.popen.wait(0.5)
    assert agent.drain(seconds=8) == 0
    assert client.get_trial(trial).state == TrialState.WAITING


def test_an_idle_agent_leaves_at_once_and_is_small(start_agent: StartAgent, client: Client) -> None:
    agent = start_agent(slots=2)
    eventually(client.list_workers)
    assert psutil.Process(agent.pid).memory_info().rss < 60_000_000
    assert agent.drain(seconds=5) == 0


def test_a_cancelled_trial_stops(
    start_agent: StartAgent, enqueue: Enqueue, finished: Finished, running: Finished, client: Client
) -> None:
    start_agent(ttl=3.0)
    (trial,) = enqueue("until_told")
    running(trial, step=3)
    client.cancel_trial(trial)
    assert finished(trial, 10).reason == "cancelled"
    assert finished(enqueue("square")[0]).state == TrialState.COMPLETE


@pytest.mark.parametrize(("verdict", "reason"), [(Verdict.PRUNE, "pruned"), (Verdict.PAUSE, "paused_at_rung")])
def test_a_judgement_of_the_search_reaches_the_trial(
    start_agent: StartAgent,
    enqueue: Enqueue,
    running: Finished,
    client: Client,
    database: Database,
    verdict: Verdict,
    reason: str,
) -> None:
    start_agent()
    (trial,) = enqueue("until_told")
    now = running(trial, step=3)
    with database.begin() as connection:
        judge(connection, now.study_id, {trial: (3, verdict)})
    eventually(lambda: client.list_attempts(trial)[0].reason == reason)


def test_a_checkpoint_that_is_of_no_use_means_a_fresh_start(
    start_agent: StartAgent, enqueue: Enqueue, finished: Finished, client: Client
) -> None:
    (trial,) = enqueue("counts_in_checkpoints", epochs=5)
    (lease,) = client.lease(LeaseRequest())
    client.upload_checkpoint(lease.id, 3, BytesIO(b"not an archive"))
    client.tell(lease.id, Tell(state="WAITING", reason="preempted"))
    start_agent()
    ended = finished(trial)
    assert (ended.values, ended.user_attrs) == ({"loss": 5.0}, {"started_at_2": 0})


def test_a_lost_lease_ends_the_training(
    start_agent: StartAgent, enqueue: Enqueue, finished: Finished, running: Finished, client: Client, tmp_path: Path
) -> None:
    """A stopped agent misses its renewals; when it goes on, its trial has failed as lost, and the slot serves the next one."""
    agent = start_agent(ttl=1.0)
    (trial,) = enqueue("long_step", seconds=60.0, limits={"max_attempts": 1})
    running(trial, step=0)
    os.kill(agent.pid, signal.SIGSTOP)
    lost = finished(trial)
    assert (lost.state, lost.reason) == (TrialState.FAIL, "lost")
    os.kill(agent.pid, signal.SIGCONT)
    assert finished(enqueue("square")[0]).state == TrialState.COMPLETE
    assert client.get_trial(trial) == lost


def test_a_network_that_goes_away_and_comes_back_costs_nothing(
    start_agent: StartAgent, enqueue: Enqueue, finished: Finished, running: Finished, client: Client, proxy: Proxy
) -> None:
    start_agent(server=proxy.address)
    (trial,) = enqueue("counts_in_checkpoints", epochs=100, beat=0.02)
    running(trial, step=10)
    for _ in range(3):
        proxy.cut()
        time.sleep(0.4)  # the outage itself
        proxy.heal()
        time.sleep(0.2)
    ended = finished(trial)
    assert (ended.state, ended.attempt, ended.values) == (TrialState.COMPLETE, 1, {"loss": 100.0})
    assert [report.step for report in client.list_reports(trial)] == list(range(100))


def test_an_end_during_an_outage_is_told_afterwards(
    start_agent: StartAgent, enqueue: Enqueue, finished: Finished, running: Finished, proxy: Proxy, client: Client
) -> None:
    agent = start_agent(server=proxy.address)
    (trial,) = enqueue("deaf", steps=30)
    running(trial, step=2)
    proxy.cut()
    time.sleep(1.5)  # the trial ends meanwhile
    assert client.get_trial(trial).state == TrialState.RUNNING
    proxy.heal()
    assert finished(trial).values == {"loss": 7.0}
    assert agent.drain() == 0


def test_a_host_cut_off_stops_training_before_its_lease_ends(
    start_agent: StartAgent, enqueue: Enqueue, running: Finished, proxy: Proxy
) -> None:
    ttl = 4.0
    agent = start_agent(server=proxy.address, ttl=ttl)
    (trial,) = enqueue("long_step", seconds=60.0)
    running(trial, step=0)
    (process,) = agent.children()
    proxy.cut()
    cut_at = time.monotonic()
    eventually(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)
    assert time.monotonic() - cut_at < ttl
    assert agent.popen.poll() is None


def test_an_agent_waits_for_its_server(
    live: tuple[str, str], enqueue: Enqueue, start_agent: StartAgent, finished: Finished, proxy: Proxy
) -> None:
    proxy.cut()
    agent = start_agent(server=proxy.address)
    (trial,) = enqueue("square")
    with pytest.raises(subprocess.TimeoutExpired):
        agent.popen.wait(1.5)
    proxy.heal()
    assert finished(trial).state == TrialState.COMPLETE


def test_code_that_comes_with_a_study(client: Client, start_agent: StartAgent, finished: Finished, tmp_path: Path) -> None:
    """Run where that is switched on; a crafted archive and a lost one end their own trials alone; other hosts do not even get them."""
    context = tmp_path / "context"
    context.mkdir()
    (context / "shipped.py").write_text("def run(trial): return trial.params['x'] + 0.5\n")
    spec = {
        "objectives": [{"name": "loss", "direction": "minimize"}],
        "space": {"x": {"type": "float", "low": -10, "high": 10}},
        "trial": {"executor": "entrypoint", "entrypoint": "shipped:run"},
    }
    crafted = BytesIO()
    with tarfile.open(fileobj=crafted, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("../../canary"))
    digest = hashlib.sha256(crafted.getvalue()).hexdigest()
    client.upload_bundle(digest, BytesIO(crafted.getvalue()))
    of_crafted = {"executor": "entrypoint", "entrypoint": "shipped:run", "bundle": digest}
    (context / "lost.py").write_text("")
    studies = [client.create_study({"name": "lost", **spec}, context=context).id]
    lost = client.get_study(studies[0]).spec["trial"]["bundle"]
    next(tmp_path.glob(f"artifacts/bundles/*/{lost}.tar.gz")).unlink()
    (context / "lost.py").unlink()
    studies.append(client.create_study({"name": "crafted", **spec, "trial": of_crafted}).id)
    studies.append(client.create_study({"name": "whole", **spec}, context=context).id)
    trials = [client.create_trial(study, TrialCreate(params={"x": 1.5})).id for study in studies]

    assert client.lease(LeaseRequest(wait=0)) == []
    agent = start_agent(allow=("shipped:*",), allow_bundles=True)
    ended = [finished(trial) for trial in trials]
    assert [trial.state for trial in ended] == ["FAIL", "FAIL", "COMPLETE"]
    assert ended[2].values == {"loss": 2.0}
    assert [trial.reason for trial in ended[:2]] == ["refused", "refused"]
    assert "missing or damaged" in (ended[0].error or "")
    assert "the path '../../canary' leaves the bundle's folder" in (ended[1].error or "")
    assert all(len((trial.error or "").splitlines()) == 1 for trial in ended[:2])
    (folder,) = Path(tempfile.gettempdir()).glob(f"tuner-worker-*/bundles/{client.get_study(studies[2]).spec['trial']['bundle']}")
    assert not list(folder.parent.parent.parent.glob("canary"))
    assert agent.drain() == 0
    assert not folder.parent.parent.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
def test_an_agents_memory_is_closed_to_its_trials() -> None:
    """The kernel gives /proc/PID/environ and mem of a process that is not dumpable to root alone; what it starts is dumpable again."""
    source = (
        "import ctypes, subprocess, sys; from workers.agent import hide_memory; hide_memory(); look = 'import ctypes;"
        " print(ctypes.CDLL(None).prctl(3))'; exec(look); sys.stdout.flush(); subprocess.run([sys.executable, '-c', look])"
    )
    assert subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True).stdout.split() == ["0", "1"]


def test_what_waiting_cannot_mend_ends_the_agent(live: tuple[str, str]) -> None:
    with pytest.raises(Unauthenticated):
        Agent(AgentOptions(server=live[0], key="tnr_0123456789ab_wrong", gpus="none")).run()
    with pytest.raises(InvalidValue, match="--slots"):
        Agent(AgentOptions(server=live[0], key=live[1], gpus="none", slots=0))
