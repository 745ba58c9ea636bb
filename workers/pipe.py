"""What an agent and its trial processes say to each other: JSON lines over a socket pair, never pickles.

Agent to process: {"kind": "warm"}, {"kind": "assign", ...Assignment}, {"kind": "verdict", "lease", "verdict"}.
Process to agent: {"kind": "begin", "record"}, {"kind": "report", "step", "values"}, {"kind": "checkpoint", "step", "folder"}, {"kind": "end", "tell"}.
The engine adds what it sees from outside: {"kind": "log", "stream", "text"} and {"kind": "exit", "code", "oom", "stderr"}.
Both ends are of one version and one host, so nothing here is negotiated.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from tuner.wire import LeasedTrial
from workers.roots import DataRoots

Message = dict[str, Any]
Receive = Callable[[Message], None]

MAX_MESSAGE_BYTES = 32_000_000
PREEMPT = "preempt"
"""The agent's own verdict beside those of `tuner.wire.Verdict`: checkpoint and hand the trial back, this host is leaving."""


class Assignment(BaseModel):
    """One trial as its process receives it. `scratch` is the trial's own folder, removed by the agent afterwards.

    `bundle` is the folder in which the code that came with the study lies unpacked; None without one, or where that is not allowed.
    `data` says what the built-in trainer may read.
    """

    model_config = ConfigDict(frozen=True)

    lease: str
    trial: LeasedTrial
    attempt: int = 1
    device: str = "cpu"
    scratch: Path
    allow: tuple[str, ...] = ()
    resume_path: Path | None = None
    start_step: int = 0
    until: int | None = None
    """Last step of a repetition: its report, or that of a later step, is answered with prune."""
    bundle: Path | None = None
    data: DataRoots = DataRoots()

    @property
    def imports_from(self) -> Path | None:
        """The folder whose modules the trial's process will have imported; None for what is installed on this host."""
        return self.bundle if self.trial.executor == "entrypoint" else None


class LineBuffer:
    """Cuts a byte stream into lines. Beyond `limit` a line is handed out in pieces, or refused when `strict`."""

    def __init__(self, limit: int, *, strict: bool = False) -> None:
        self._limit = limit
        self._strict = strict
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if self._strict:
            if len(self._rest) > self._limit:
                raise ValueError(f"a message of more than {self._limit} bytes")
            return lines
        pieces = [line[at : at + self._limit] for line in lines for at in range(0, max(len(line), 1), self._limit)]
        while len(self._rest) > self._limit:
            pieces.append(self._rest[: self._limit])
            self._rest = self._rest[self._limit :]
        return pieces

    def flush(self) -> list[bytes]:
        """The last line, when it did not end with a newline."""
        rest, self._rest = self._rest, b""
        return [rest] if rest else []


class Link:
    """One end of the socket pair; sending is safe from several threads."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._sending = threading.Lock()

    def send(self, message: Message) -> None:
        """Raises OSError once the other end is gone."""
        data = json.dumps(message).encode() + b"\n"
        with self._sending:
            self.connection.sendall(data)

    def messages(self) -> Iterator[Message]:
        """Messages until the other end closes."""
        buffer = LineBuffer(MAX_MESSAGE_BYTES, strict=True)
        while data := self._receive():
            for line in buffer.feed(data):
                yield json.loads(line)

    def _receive(self) -> bytes:
        try:
            return self.connection.recv(65536)
        except OSError:
            return b""

    def close(self) -> None:
        self.connection.close()
