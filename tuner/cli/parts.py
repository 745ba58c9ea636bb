"""The processes that `tuner up` is made of: started, watched, restarted when they die, ended together.

A part is another `tuner` command in a process group of its own. It holds the reading end of a pipe whose writing end only its parent
has: when the parent is gone, however it went, the pipe closes and the part ends itself. What it prints goes to a log file.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO

LIFELINE = "TUNER_LIFELINE"
TRACEBACK = "TUNER_TRACEBACK"
FIRST_BACKOFF, LAST_BACKOFF = 1.0, 30.0
STEADY = 60.0
"""Seconds after which a part that dies is taken to have worked: its next restart comes soon again."""
MAX_LOG_BYTES = 20_000_000


def follow_parent() -> None:
    """In a part: end this process at once when the parent has gone. All that matters is in the database."""
    text = os.environ.pop(LIFELINE, None)
    if text is None:
        return
    lifeline = int(text)
    os.set_inheritable(lifeline, False)

    def wait() -> None:
        with contextlib.suppress(OSError):
            while os.read(lifeline, 1):
                pass
        os._exit(1)

    threading.Thread(target=wait, name="tuner-lifeline", daemon=True).start()


class Part:
    """One `tuner` command as a child process."""

    def __init__(self, name: str, arguments: list[str], *, environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        self._arguments = arguments
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._lifeline: int | None = None
        self._started = 0.0
        self._backoff = FIRST_BACKOFF
        self._restart_at: float | None = None

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        reading, writing = os.pipe()
        try:
            with self._open_log() as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "tuner.cli.main", *self._arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=self._environment | {LIFELINE: str(reading), TRACEBACK: "1"},
                    pass_fds=(reading,),
                    start_new_session=True,
                )
        except BaseException:
            os.close(writing)
            raise
        finally:
            os.close(reading)
        self._lifeline = writing
        self._started = time.monotonic()
        self._restart_at = None

    def check(self) -> str | None:
        """Restart the part if it died and its time has come; a sentence when there is something to say."""
        process = self._process
        if process is None or process.poll() is None:
            return None
        now = time.monotonic()
        if self._restart_at is None:
            self._close_lifeline()
            if now - self._started > STEADY:
                self._backoff = FIRST_BACKOFF
            self._restart_at = now + self._backoff
            said = f"the {self.name} ended ({describe_end(process.returncode)}) and starts again in {self._backoff:.0f} s"
            self._backoff = min(LAST_BACKOFF, self._backoff * 2)
            last = self.last_line() if process.returncode > 0 else ""
            return said + (f"; its last words: {last}" if last else "")
        if now >= self._restart_at:
            self.start()
        return None

    def signal(self, number: signal.Signals) -> None:
        """To the part's own process, which knows what to do about its children; SIGKILL to its whole group."""
        if self._process is None or self._process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            if number is signal.SIGKILL:
                os.killpg(self._process.pid, number)
            else:
                self._process.send_signal(number)

    def forget(self) -> None:
        """Restart it no more; its process, if any is left, is killed."""
        self.signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
        self._close_lifeline()
        self._process = None

    def last_line(self) -> str:
        with contextlib.suppress(OSError), self.log.open("rb") as stream:
            stream.seek(max(0, self.log.stat().st_size - 4096))
            lines = stream.read().decode(errors="replace").strip().splitlines()
            return lines[-1].strip()[:300] if lines else ""
        return ""

    def _open_log(self) -> IO[bytes]:
        """Append to the log, keeping one old one once it has grown large."""
        with contextlib.suppress(OSError):
            if self.log.stat().st_size > MAX_LOG_BYTES:
                self.log.replace(self.log.with_suffix(".old.log"))
        return self.log.open("ab")

    def _close_lifeline(self) -> None:
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None


def describe_end(code: int) -> str:
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"by {signal.Signals(-code).name}"
    return f"exit code {code}"
