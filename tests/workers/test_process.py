"""The trial process and the local engine, driven through their pipe: ends, crashes, verdicts, logs, environment, orphans."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.workers.conftest import Heard, assignment, entrypoint, eventually
from workers.engines.local import LocalPlace, trial_environment
from workers.slots import Slot

Run = Callable[..., Heard]


def verdict(place: LocalPlace, name: str, lease: str = "lease-1") -> None:
    place.send({"kind": "verdict", "lease": lease, "verdict": name})


def is_alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def test_a_trial_reports_and_completes(run: Run) -> None:
    heard = run(entrypoint("square", shift=1.0))
    tell = heard.tell()
    assert (tell.state, tell.values) == ("COMPLETE", {"loss": 4.0})
    assert [(m["step"], m["values"]) for m in heard.of("report")] == [(0, {"loss": 6.0}), (1, {"loss": 5.0}), (2, {"loss": 4.0})]
    assert [m["text"] for m in heard.of("log")] == ["square of 3.0"]


def test_the_process_stays_warm_between_trials(run: Run) -> None:
    pids = {run(entrypoint("environment")).tell().user_attrs["pid"] for _ in range(3)}
    assert len(pids) == 1


@pytest.mark.parametrize(
    ("name", "reason", "words"),
    [
        ("missing", "missing_objective", "No value for the objective 'loss'; the trial returned: accuracy."),
        ("nothing", "missing_objective", "return a dict with 'loss'"),
        ("nan", "nan", "'loss' is NaN"),
        ("fails", "exception", "ValueError: the data set is empty"),
        ("exits", "exception", "SystemExit: 3"),
        ("fails_with_reason", "nan", "the loss is not finite"),
        ("out_of_memory", "oom_host", "MemoryError"),
        ("bad_report", "exception", "report: step: Input should be greater than or equal to 0"),
        ("absent", "exception", "has no attribute 'absent'"),
        ("bad_attrs", "exception", "user_attrs"),
    ],
)
def test_failures_carry_their_reason(run: Run, name: str, reason: str, words: str) -> None:
    tell = run(entrypoint(name)).tell()
    assert (tell.state, tell.reason) == ("FAIL", reason)
    assert words in (tell.error or "")


def test_an_error_shows_the_users_frames_and_none_of_ours(run: Run) -> None:
    error = run(entrypoint("fails")).tell().error or ""
    assert error.startswith("Traceback (most recent call last):\n  File")
    assert "entrypoints.py" in error
    assert "process.py" not in error
    assert "importlib" not in error


def test_a_bare_number_is_the_only_objective(run: Run) -> None:
    assert run(entrypoint("bare_number")).tell().values == {"loss": 0.5}
    tell = run(entrypoint("bare_number"), objectives=["loss", "size"]).tell()
    assert tell.reason == "exception"
    assert "ambiguous with several objectives" in (tell.error or "")


def test_a_segfault_ends_the_process_and_the_next_trial_gets_another(run: Run, place: LocalPlace) -> None:
    heard = run(entrypoint("segfault"))
    message = heard.wait("exit")
    assert message["code"] == -signal.SIGSEGV
    assert not message["oom"]
    assert "about to crash" in message["stderr"]
    before = place.pid
    assert run(entrypoint("square")).tell().state == "COMPLETE"
    assert place.pid != before


def test_os_exit_is_a_crash(run: Run) -> None:
    assert run(entrypoint("vanish")).wait("exit")["code"] == 7


def test_a_process_that_died_between_trials_is_replaced_unnoticed(run: Run, place: LocalPlace) -> None:
    assert run(entrypoint("square")).tell().state == "COMPLETE"
    assert place.pid is not None
    os.kill(place.pid, signal.SIGKILL)
    assert run(entrypoint("square")).tell().state == "COMPLETE"


@pytest.mark.parametrize("pause_at", [0, 4])
def test_at_a_boundary_a_trial_pauses_by_itself(run: Run, pause_at: int) -> None:
    heard = run(entrypoint("until_told"), pause_at=pause_at)
    tell = heard.tell()
    assert (tell.state, tell.reason) == ("WAITING", "paused_at_rung")
    assert [message["step"] for message in heard.of("report")] == list(range(pause_at + 1))


def test_paused_elsewhere_it_is_not_at_its_boundary(run: Run, place: LocalPlace) -> None:
    heard = run(entrypoint("until_told"), pause_at=10**9)
    heard.wait("report")
    verdict(place, "pause")
    assert heard.tell().reason == "paused"


def test_kill_takes_the_trials_children_along(run: Run, place: LocalPlace, tmp_path: Path) -> None:
    mark = tmp_path / "pids"
    heard = run(entrypoint("leaves_children", mark=str(mark)))
    pids = [int(pid) for pid in eventually(lambda: mark.exists() and mark.read_text().split())]
    place.kill()
    assert heard.wait("exit")["code"] == -signal.SIGKILL
    eventually(lambda: not any(is_alive(pid) for pid in pids))


@pytest.mark.parametrize(
    ("said", "state", "reason"),
    [
        ("prune", "PRUNED", "pruned"),
        ("pause", "WAITING", "paused"),
        ("stop", "FAIL", "cancelled"),
        ("preempt", "WAITING", "preempted"),
    ],
)
def test_a_verdict_reaches_running_code_and_governs(run: Run, place: LocalPlace, said: str, state: str, reason: str) -> None:
    heard = run(entrypoint("until_told"))
    heard.wait("report")
    verdict(place, said)
    tell = heard.tell()
    assert (tell.state, tell.reason) == (state, reason)


def test_code_that_goes_on_after_a_verdict_has_declined_it(run: Run, place: LocalPlace) -> None:
    heard = run(entrypoint("deaf"))
    heard.wait("report")
    verdict(place, "prune")
    assert heard.tell().values == {"loss": 7.0}


def test_a_verdict_for_another_lease_is_not_taken(run: Run, place: LocalPlace) -> None:
    heard = run(entrypoint("deaf", steps=30))
    heard.wait("report")
    verdict(place, "stop", lease="lease-0")
    assert heard.tell().state == "COMPLETE"


def test_output_comes_line_by_line_and_before_the_end(run: Run) -> None:
    heard = run(entrypoint("chatter"))
    heard.tell()
    lines = [(m["stream"], m["text"]) for m in heard.messages if m["kind"] == "log"]
    assert heard.messages[-1]["kind"] == "end"
    assert [text for stream, text in lines if stream == "stdout"] == ["first", "no newline at the end�"]
    stderr = [text for stream, text in lines if stream == "stderr"]
    assert stderr[0] == "second"
    assert [len(text) for text in stderr[1:]] == [8_000, 8_000, 4_000]


def test_the_environment_has_no_key_and_the_slots_threads(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TUNER_KEY", "tnr_1_secret")
    place = LocalPlace(Slot(index=0, cpus=2.5))
    try:
        heard = Heard()
        place.assign(assignment(tmp_path, entrypoint("environment")), heard)
        attrs = heard.tell().user_attrs
    finally:
        place.close()
    assert not [name for name in attrs["names"] if name.startswith("TUNER_")]
    assert (attrs["threads"], attrs["gpus"]) == ("2", "")


def test_a_slots_gpu_is_the_nth_of_those_the_agent_was_shown() -> None:
    slot = Slot(index=0, gpu="1", gpu_share=1.0)
    assert trial_environment(slot, {})["CUDA_VISIBLE_DEVICES"] == "1"
    assert trial_environment(slot, {"CUDA_VISIBLE_DEVICES": "4,6"})["CUDA_VISIBLE_DEVICES"] == "6"


PARENT = """
import sys, time
from pathlib import Path
from tests.workers.conftest import assignment, entrypoint
from workers.engines.local import LocalPlace
from workers.slots import Slot
place = LocalPlace(Slot(index=0))
place.assign(assignment(Path(sys.argv[1]), {config}), print)
time.sleep(300)
"""


@pytest.mark.parametrize("kind", ["entrypoint", "stopped", "command"])
def test_trial_processes_and_their_children_die_with_their_agent(tmp_path: Path, kind: str) -> None:
    mark = tmp_path / "pids"
    config: dict[str, Any]
    if kind != "command":
        config = entrypoint("leaves_children", mark=str(mark))
    else:
        config = {"executor": "command", "command": ["sh", "-c", f"sleep 300 & echo $$ $! > {mark}; wait"]}
    source = PARENT.replace("{config}", f"{config!r}, allow=('tests.*', 'command:sh')")
    parent = subprocess.Popen([sys.executable, "-c", source, str(tmp_path)])
    try:
        pids = [int(pid) for pid in eventually(lambda: mark.exists() and mark.read_text().split())]
        if kind == "stopped":  # as deaf as one that is deep in C code
            os.kill(pids[0], signal.SIGSTOP)
    finally:
        parent.kill()
        parent.wait()
    try:
        eventually(lambda: not any(is_alive(pid) for pid in pids))
    finally:
        for pid in filter(is_alive, pids):
            os.kill(pid, signal.SIGKILL)
