"""The persistent trial process: `python -m workers.process FD`, one a slot, running one trial after the other.

It stays warm (imports, CUDA context, data sets), which saves seconds a trial. The main thread runs trials; a reader thread takes
verdicts, so that a verdict arrives while training computes. When the agent dies the whole process group dies with it. Weakness: trials of one slot share this process, so a trial that leaves global state behind can disturb the next one.
"""

from __future__ import annotations

import faulthandler
import fcntl
import os
import queue
import resource
import select
import signal
import socket
import sys
import threading
from contextlib import suppress

from tuner.wire import Tell
from workers import executors
from workers.pipe import Assignment, Link
from workers.report import Trial


class TrialProcess:
    """The inside of one trial process."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._lock = threading.Lock()
        self._assignment: Assignment | None = None
        self._trial: Trial | None = None
        self._inbox: queue.SimpleQueue[Assignment | None] = queue.SimpleQueue()

    def run(self) -> None:
        threading.Thread(target=self._read, name="pipe", daemon=True).start()
        while True:
            assignment = self._inbox.get()
            if assignment is None:
                executors.warm_up()
                continue
            tell = self._run_trial(assignment)
            sys.stdout.flush()
            sys.stderr.flush()
            self._link.send({"kind": "end", "lease": assignment.lease, "tell": tell.model_dump_json()})

    def _run_trial(self, assignment: Assignment) -> Tell:
        trial = Trial(assignment, self._link.send)
        with self._lock:
            self._assignment, self._trial = assignment, trial
        self._link.send({"kind": "begin", "lease": assignment.lease, "record": trial.recorded()})
        try:
            return trial.conclude(executors.execute(assignment, trial))
        except BaseException as error:  # SystemExit and KeyboardInterrupt too: a trial may not end its process's loop
            return trial.conclude_failed(error)
        finally:
            with self._lock:
                self._assignment = self._trial = None

    def _read(self) -> None:
        for message in self._link.messages():
            if message["kind"] == "assign":
                self._inbox.put(Assignment.model_validate(message["assignment"]))
            elif message["kind"] == "warm":
                self._inbox.put(None)
            elif message["kind"] == "verdict":
                self._deliver(message["lease"], message["verdict"])
        # The agent is gone. Children of the trial are in this group, so they go as well.
        os.killpg(0, signal.SIGKILL)

    def _deliver(self, lease: str, verdict: str) -> None:
        """Drops a verdict for another trial: the agent repeats the one that stands when a trial begins."""
        with self._lock:
            trial = self._trial if self._assignment is not None and self._assignment.lease == lease else None
        if trial is not None:
            trial.deliver(verdict)


def die_with_agent(lifeline: int) -> None:
    """Linux: have the kernel kill this whole process group when the agent, which holds the other end of a pipe, is gone.

    The pipe's only event ever is its closing, and its signal is SIGKILL to the group. So it works while a trial is deep in C code, and
    reaches the trial's children, which PR_SET_PDEATHSIG would not. Elsewhere the reader thread alone sees to it.
    """
    os.set_inheritable(lifeline, False)
    if sys.platform == "linux":
        with suppress(OSError):
            fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
            fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
            fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([lifeline], [], [], 0)[0]:
        sys.exit("the agent has died while this process was starting")


def main() -> None:
    descriptor, lifeline = int(sys.argv[1]), int(sys.argv[2])
    os.set_inheritable(descriptor, False)
    die_with_agent(lifeline)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.enable(all_threads=False)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    TrialProcess(Link(socket.socket(fileno=descriptor))).run()


if __name__ == "__main__":
    main()
