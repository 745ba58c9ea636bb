"""A held trial on a clock the test moves: self-fencing, limits, verdicts, bounded queues."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.workers.conftest import eventually
from tuner.wire import Lease, LeasedTrial, Verdict
from workers.holding import MAX_PENDING_LINES, MAX_PENDING_REPORTS, HeldTrial, fence_after, renewal_delay
from workers.pipe import Assignment, Message, Receive


class NotedPlace:
    """A place that runs nothing and notes what it is asked."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.kills = 0

    def warm(self) -> None:
        raise AssertionError

    def assign(self, assignment: Assignment, receive: Receive) -> None:
        raise AssertionError

    def send(self, message: Message) -> None:
        self.sent.append(message["verdict"])

    def kill(self) -> None:
        self.kills += 1

    def close(self) -> None:
        raise AssertionError


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def make(ttl: float = 60.0, **config: Any) -> tuple[HeldTrial, NotedPlace, Clock]:
    trial = LeasedTrial(
        id=1, number=0, study="s", study_id=1, params={}, seed=1, executor="trainer", config=config, objectives=["loss"]
    )
    lease = Lease(id="lease-1", expires_at=datetime.now(UTC), ttl=ttl, attempt=1, trial=trial)
    place, clock = NotedPlace(), Clock()
    return HeldTrial(lease, place, granted_at=clock(), renew_at=clock(), clock=clock), place, clock


def crash(code: int = -9, oom: bool = False) -> Message:
    return {"kind": "exit", "code": code, "oom": oom, "began": True, "stderr": ["last words"]}


@pytest.mark.parametrize(("ttl", "seconds"), [(60.0, 45.0), (300.0, 285.0), (20.0, 15.0), (2.0, 1.5)])
def test_a_host_cut_off_stops_before_its_lease_ends(ttl: float, seconds: float) -> None:
    assert fence_after(ttl) == seconds
    held, place, clock = make(ttl)
    clock.now += seconds
    held.watch()
    assert not held.is_lost
    clock.now += 0.001
    held.watch()
    assert held.is_lost
    assert place.sent == ["stop"]
    assert place.kills == 0
    clock.now = 1_000.0 + ttl - 1e-6
    held.watch()
    assert place.kills == 1, "it must be dead before the lease can have ended"
    held.receive(crash())
    assert held.outcome is None, "of a lost lease nothing is told"


def test_the_fence_counts_from_the_sending_of_what_was_acknowledged() -> None:
    held, _, clock = make(60.0)
    clock.now += 40
    held.acknowledge(clock.now - 30, Verdict.CONTINUE)
    clock.now += 14
    held.watch()
    assert not held.is_lost
    clock.now += 2
    held.watch()
    assert held.is_lost


def test_an_older_acknowledgement_does_not_take_time_back() -> None:
    held, _, clock = make(60.0)
    held.acknowledge(1_030.0, Verdict.CONTINUE)
    held.acknowledge(1_010.0, Verdict.CONTINUE)
    clock.now = 1_074.0
    held.watch()
    assert not held.is_lost


def test_renewals_come_well_within_the_lease_and_out_of_step() -> None:
    delays = {renewal_delay(60.0) for _ in range(200)}
    assert min(delays) >= 9.6
    assert max(delays) <= 14.4
    assert len(delays) > 100


def test_a_trial_over_its_time_is_killed_as_timeout() -> None:
    held, place, clock = make(timeout=10)
    held.receive({"kind": "begin", "record": {"seed": 5}})
    clock.now += 9.9
    held.watch()
    assert place.kills == 0
    clock.now += 0.2
    held.watch()
    assert place.kills == 1
    held.receive(crash())
    assert held.outcome is not None
    assert (held.outcome.state, held.outcome.reason) == ("FAIL", "timeout")
    assert "10 seconds" in (held.outcome.error or "")
    assert held.outcome.record == {"seed": 5}, "what its process could still say"


def test_preemption_waits_for_the_checkpoint_only_so_long() -> None:
    held, place, clock = make()
    held.preempt(clock.now + 30)
    assert place.sent == ["preempt"]
    clock.now += 30
    held.watch()
    assert place.kills == 1
    held.receive(crash())
    assert held.outcome is not None
    assert (held.outcome.state, held.outcome.reason) == ("WAITING", "preempted")


def test_a_verdict_that_came_before_the_trial_began_is_repeated() -> None:
    held, place, _ = make()
    held.preempt(2_000.0)
    held.receive({"kind": "begin", "record": {"seed": 5}})
    assert place.sent == ["preempt", "preempt"]


def test_a_cancelled_trial_that_does_not_listen_is_killed() -> None:
    held, place, clock = make()
    held.acknowledge(clock.now, Verdict.STOP)
    held.acknowledge(clock.now, Verdict.STOP)
    assert place.sent == ["stop"]
    clock.now += 16
    held.acknowledge(clock.now, Verdict.STOP)
    held.watch()
    assert place.kills == 1
    held.receive(crash())
    assert held.outcome is not None
    assert held.outcome.reason == "cancelled"


@pytest.mark.parametrize(
    ("message", "reason", "words"),
    [
        (crash(-11), "crash", "ended by SIGSEGV.\nlast words"),
        (crash(-9), "crash", "ended by SIGKILL"),
        (crash(-9, oom=True), "oom_host", "ran out of memory"),
        (crash(7), "crash", "exited with code 7"),
    ],
)
def test_a_crash_is_told_with_its_cause(message: Message, reason: str, words: str) -> None:
    held, _, _ = make()
    held.receive(message)
    assert held.outcome is not None
    assert (held.outcome.state, held.outcome.reason) == ("FAIL", reason)
    assert words in (held.outcome.error or "")


def test_what_comes_meanwhile_is_collected_together() -> None:
    held, _, _ = make()
    for step in range(5):
        held.receive({"kind": "report", "step": step, "values": {"loss": float("nan")}})
    batch = held.collect(0)
    assert [report.step for report in batch.reports] == [0, 1, 2, 3, 4]
    assert not batch.over
    assert held.collect(0).reports == []


def test_only_the_newest_checkpoint_is_kept(tmp_path: Path) -> None:
    held, _, _ = make()
    for step in (1, 2):
        (tmp_path / str(step)).mkdir()
        held.receive({"kind": "checkpoint", "step": step, "folder": str(tmp_path / str(step))})
    checkpoint = held.collect(0).checkpoint
    assert checkpoint is not None
    assert checkpoint.step == 2
    assert [path.name for path in tmp_path.iterdir()] == ["2"]


def test_too_many_log_lines_are_dropped_with_a_note() -> None:
    held, _, _ = make()
    for number in range(MAX_PENDING_LINES + 7):
        held.receive({"kind": "log", "stream": "stdout", "text": str(number)})
    lines = held.take_lines()
    assert len(lines) == MAX_PENDING_LINES + 1
    assert (lines[-1].stream, lines[-1].text.split()[0]) == ("tuner", "7")
    assert held.take_lines() == []


def test_a_flood_of_reports_waits_and_a_lost_lease_frees_it() -> None:
    held, _, _ = make()

    def flood() -> None:
        for step in range(MAX_PENDING_REPORTS + 10):
            held.receive({"kind": "report", "step": step, "values": {"loss": 0.0}})

    thread = threading.Thread(target=flood)
    thread.start()
    thread.join(timeout=0.01)
    eventually(lambda: len(held._reports) == MAX_PENDING_REPORTS)
    assert thread.is_alive()
    held.lose("handed on")
    thread.join(timeout=10)
    assert not thread.is_alive()
