"""The local engine: one persistent trial process a slot, in its own process group, watched from outside.

A process that dies (segfault, os._exit, killed for memory) ends the trial it was running and nothing else; the next trial gets a
new one, and so does a trial whose modules come from another bundle than those the process has imported. Output is read line by line
while the process runs and handed on before the trial's end is, so no line is missing.
Weakness: trials run as the agent's user, so code the operator has allowed can find a key that lies in a file of this user.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping
from pathlib import Path

from workers.pipe import MAX_MESSAGE_BYTES, Assignment, LineBuffer, Link, Message, Receive
from workers.slots import Slot

MAX_LOG_LINE = 8_000
STDERR_TAIL = 40
POLL_INTERVAL = 0.5

log = logging.getLogger("tuner.worker")


class LocalPlace:
    """One slot's trial process, started when needed and again after a crash."""

    def __init__(self, slot: Slot, *, environment: Mapping[str, str] | None = None) -> None:
        self._environment = trial_environment(slot, os.environ if environment is None else environment)
        self._lock = threading.Lock()
        self._process: _Process | None = None
        self._imports_from: Path | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def warm(self) -> None:
        self._alive(None).send({"kind": "warm"})

    def assign(self, assignment: Assignment, receive: Receive) -> None:
        """As in `Place`. A process that turns out to have died before the trial began is replaced once, unnoticed."""

        def receive_or_replace(message: Message) -> None:
            if message["kind"] == "exit" and not message["began"]:
                self._alive(assignment.imports_from).assign(assignment, receive)
            else:
                receive(message)

        self._alive(assignment.imports_from).assign(assignment, receive_or_replace)

    def send(self, message: Message) -> None:
        if self._process is not None:
            self._process.send(message)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()

    def _alive(self, imports_from: Path | None) -> _Process:
        """A process that has imported nothing from another folder than this one; None: from no bundle."""
        with self._lock:
            if self._process is not None and (not self._process.is_alive or self._imports_from != imports_from):
                self._process.kill()
                self._process.join()
                self._process = None
            if self._process is None:
                self._process = _Process(self._environment)
                self._imports_from = imports_from
            return self._process


class _Process:
    """One life of a trial process and the thread that reads all it says."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        ours, theirs = socket.socketpair()
        lifeline, self._lifeline = os.pipe()
        with theirs, os.fdopen(lifeline, "rb"):
            try:
                self._popen = subprocess.Popen(
                    [sys.executable, "-m", "workers.process", str(theirs.fileno()), str(lifeline)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    pass_fds=(theirs.fileno(), lifeline),
                    env=dict(environment),
                    start_new_session=True,
                )
            except OSError:
                ours.close()
                os.close(self._lifeline)
                raise
        self.pid = self._popen.pid
        self._link = Link(ours)
        self._lock = threading.Lock()
        self._receive: Receive | None = None
        self._dead = False
        self._began = False
        self._oom_kills = 0
        self._stderr: deque[str] = deque(maxlen=STDERR_TAIL)
        self._reader = threading.Thread(target=self._read, name=f"process-{self.pid}", daemon=True)
        self._reader.start()

    @property
    def is_alive(self) -> bool:
        return not self._dead

    def assign(self, assignment: Assignment, receive: Receive) -> None:
        self._stderr.clear()
        self._began = False
        self._oom_kills = count_oom_kills()
        with self._lock:
            dead = self._dead
            if not dead:
                self._receive = receive
        if dead:
            receive(self._exit_message())
            return
        self.send({"kind": "assign", "assignment": assignment.model_dump(mode="json")})

    def send(self, message: Message) -> None:
        with contextlib.suppress(OSError):  # dead: the reader thread says so
            self._link.send(message)

    def kill(self) -> None:
        """Kill the whole group. Safe against pid reuse: the process is only reaped in the reader, which then marks it dead."""
        with self._lock:
            if not self._dead:
                self._began = True  # an end we wanted is never answered with a new process
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.pid, signal.SIGKILL)

    def join(self) -> None:
        if threading.current_thread() is self._reader:
            return
        self._reader.join(timeout=10)

    def _read(self) -> None:
        assert self._popen.stdout is not None
        assert self._popen.stderr is not None
        streams = {"stdout": self._popen.stdout.fileno(), "stderr": self._popen.stderr.fileno()}
        buffers = {name: LineBuffer(MAX_LOG_LINE) for name in streams}
        messages = LineBuffer(MAX_MESSAGE_BYTES, strict=True)
        selector = selectors.DefaultSelector()
        for name, descriptor in streams.items():
            os.set_blocking(descriptor, False)
            selector.register(descriptor, selectors.EVENT_READ, name)
        selector.register(self._link.connection, selectors.EVENT_READ, "pipe")
        exited = os.pidfd_open(self.pid) if sys.platform == "linux" else None
        if exited is not None:
            selector.register(exited, selectors.EVENT_READ, "exited")
        running = True
        while running:
            ready = {str(key.data) for key, _ in selector.select(None if exited is not None else POLL_INTERVAL)}
            for name, descriptor in streams.items():
                if name in ready and not self._read_output(name, descriptor, buffers[name]):
                    selector.unregister(descriptor)
            if "pipe" in ready:
                running = self._read_messages(messages, streams, buffers)
            if "exited" in ready or (exited is None and self._popen.poll() is not None):
                running = False
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)  # what the trial left behind, and itself if it only closed the pipe
        while self._read_messages(messages, streams, buffers):
            pass
        self._drain_output(streams, buffers)
        with self._lock:
            self._popen.wait()
            self._dead = True
            receive, self._receive = self._receive, None
        selector.close()
        if exited is not None:
            os.close(exited)
        self._link.close()
        os.close(self._lifeline)
        self._popen.stdout.close()
        self._popen.stderr.close()
        if receive is not None:
            receive(self._exit_message())

    def _exit_message(self) -> Message:
        return {
            "kind": "exit",
            "code": self._popen.returncode,
            "began": self._began,
            "oom": self._popen.returncode == -signal.SIGKILL and count_oom_kills() > self._oom_kills,
            "stderr": list(self._stderr),
        }

    def _read_messages(self, buffer: LineBuffer, streams: Mapping[str, int], buffers: Mapping[str, LineBuffer]) -> bool:
        """Hand on what the pipe holds; False once it is closed or holds nonsense."""
        try:
            data = self._link.connection.recv(65536, socket.MSG_DONTWAIT)
            for line in buffer.feed(data):
                message = json.loads(line)
                if message["kind"] == "end":
                    self._drain_output(streams, buffers)
                self._hand_on(message)
        except (OSError, ValueError, KeyError, TypeError):
            return False
        return bool(data)

    def _drain_output(self, streams: Mapping[str, int], buffers: Mapping[str, LineBuffer]) -> None:
        for name, descriptor in streams.items():
            while self._read_output(name, descriptor, buffers[name]) is True:
                pass
            for line in buffers[name].flush():
                self._hand_on_line(name, line)

    def _read_output(self, name: str, descriptor: int, buffer: LineBuffer) -> bool | None:
        """True: read something. None: nothing there now. False: closed."""
        try:
            data = os.read(descriptor, 65536)
        except BlockingIOError:
            return None
        for line in buffer.feed(data):
            self._hand_on_line(name, line)
        return bool(data)

    def _hand_on_line(self, stream: str, line: bytes) -> None:
        text = line.decode("utf-8", "replace").replace("\x00", "�").rstrip("\r")
        if stream == "stderr":
            self._stderr.append(text)
        self._hand_on({"kind": "log", "stream": stream, "text": text})

    def _hand_on(self, message: Message) -> None:
        receive = self._receive
        if message["kind"] == "begin":
            self._began = True
        elif message["kind"] == "end":
            with self._lock:
                self._receive = None
        if receive is not None:
            receive(message)
        elif message["kind"] == "log":
            log.info("trial process %s between trials: %s", self.pid, message["text"])


def trial_environment(slot: Slot, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a trial process: without TUNER_* (the key!), with the slot's GPU and thread count."""
    kept = {name: value for name, value in environment.items() if not name.startswith("TUNER_")}
    threads = str(max(1, int(slot.cpus)))
    visible = "" if slot.gpu is None else _visible_gpu(slot.gpu, environment.get("CUDA_VISIBLE_DEVICES"))
    return kept | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "CUDA_VISIBLE_DEVICES": visible}


def _visible_gpu(gpu: str, inherited: str | None) -> str:
    """The agent's n-th GPU is the n-th of those it was shown itself."""
    if not inherited:
        return gpu
    return [item.strip() for item in inherited.split(",")][int(gpu)]


def count_oom_kills() -> int:
    """How often the kernel has killed a process for memory, on this host or in this control group."""
    count = 0
    for path, key in (("/proc/vmstat", "oom_kill "), ("/sys/fs/cgroup/memory.events", "oom_kill ")):
        with contextlib.suppress(OSError, ValueError):
            for line in Path(path).read_text().splitlines():
                if line.startswith(key):
                    count += int(line.split()[1])
    return count
