"""Real processes over a durable embedded PostgreSQL, started and killed as an operator's bad day would."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import httpx
import pytest

from tuner import keys
from tuner.client import Client
from tuner.db import postgres
from tuner.db.postgres import Database
from tuner.wire import KeyCreate, Scope

T = TypeVar("T")
TTL = 4


def wait_for(look: Callable[[], T | None], deadline: float = 60.0, what: str = "it") -> T:
    """What `look` returns once that is true; fails after `deadline` seconds."""
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"{what} did not happen within {deadline} s")


class Machine:
    """One deployment whose parts can be started, killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database_url = postgres.start_embedded(folder)
        postgres.migrate(self.database_url)
        self.database = Database(self.database_url, pool_size=4)
        self.key = keys.create(self.database, KeyCreate(name="admin", scope=Scope.ADMIN)).key
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.server = f"http://127.0.0.1:{self.port}"
        self.parts: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a part by its command ("server", "search", "worker ..."); returns when the server answers."""
        environment = {
            **os.environ,
            "TUNER_DATABASE_URL": self.database_url,
            "TUNER_DATA": str(self.folder),
            "TUNER_SERVER": self.server,
            "TUNER_KEY": self.key,
            "TUNER_LEASE_TTL": str(TTL),
            "TUNER_REAP_INTERVAL": "0.5",
            "TUNER_RETRY_BACKOFF": "0.1",
            "OMP_NUM_THREADS": "1",
        }
        command = [sys.executable, "-m", "tuner.cli.main", name.split("-")[0], *arguments]
        if name == "server":
            command += ["--port", str(self.port)]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.parts[name] = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        if name == "server":
            wait_for(self.is_ready, what="the server's readiness")
        return self.parts[name]

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.server}/readyz", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def kill(self, name: str) -> None:
        """kill -9, and only this process: what it started must notice by itself."""
        process = self.parts.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait(10)

    def stop(self) -> None:
        for process in self.parts.values():
            process.send_signal(signal.SIGTERM)
        for name, process in self.parts.items():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                raise AssertionError(f"{name} did not end on SIGTERM") from None
        self.database.close()
        postgres.stop_embedded(self.folder)


@pytest.fixture
def machine() -> Iterator[Machine]:
    # Not pytest's own folders: they are private, and PostgreSQL runs as a user of its own when the tests run as root.
    with tempfile.TemporaryDirectory(prefix="tuner-acceptance-") as name:
        Path(name).chmod(0o755)
        running = Machine(Path(name))
        yield running
        running.stop()


@pytest.fixture
def client(machine: Machine) -> Iterator[Client]:
    with Client(machine.server, machine.key) as client:
        yield client
