"""The two sides under test on one machine: the service's processes, Optuna's RDBStorage, one embedded PostgreSQL, and their CPU time.

Both databases live in the same server with durable settings as users have them (fsync on, synchronous_commit on).
"""

from __future__ import annotations

import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psutil
import psycopg

from tuner import keys
from tuner.db import postgres
from tuner.wire import KeyCreate, Scope


@dataclass
class Service:
    """A running deployment: embedded PostgreSQL, server, search."""

    folder: Path
    server: str
    key: str
    processes: list[subprocess.Popen[bytes]]
    database_url: str
    optuna_url: str
    postmaster: psutil.Process
    _seen: dict[int, float] = field(default_factory=dict)

    def cpu_seconds(self) -> dict[str, float]:
        """CPU time so far of each part, PostgreSQL's ended backends included."""
        server, search = (_tree_seconds(psutil.Process(process.pid)) for process in self.processes)
        return {"server": server, "search": search, "postgres": _tree_seconds(self.postmaster)}


def _tree_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    total = times.user + times.system + times.children_user + times.children_system
    for child in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            child_times = child.cpu_times()
            total += child_times.user + child_times.system
    return total


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running_service() -> Iterator[Service]:
    """Start the service and a database for Optuna beside it, in a temporary folder; stop both."""
    with tempfile.TemporaryDirectory(prefix="tuner-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        url = postgres.start_embedded(folder)
        postgres.migrate(url)
        plain = url.replace("postgresql+psycopg://", "postgresql://")
        with psycopg.connect(plain, autocommit=True) as connection:
            connection.execute("CREATE DATABASE optuna")
            row = connection.execute("SELECT pg_backend_pid()").fetchone()
            assert row is not None
            parent = psutil.Process(int(row[0])).parent()
            assert parent is not None
        port = free_port()
        environment = {**os.environ, "TUNER_DATABASE_URL": url, "TUNER_DATA": str(folder), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "tuner.cli.main"]
        database = postgres.Database(url, pool_size=1)
        key = keys.create(database, KeyCreate(name="bench", scope=Scope.ADMIN)).key
        database.close()
        processes = [
            subprocess.Popen([*command, "server", "--port", str(port)], env=environment, stdout=subprocess.DEVNULL),
            subprocess.Popen([*command, "search"], env=environment, stdout=subprocess.DEVNULL),
        ]
        try:
            server = f"http://127.0.0.1:{port}"
            wait_ready(server)
            yield Service(folder, server, key, processes, url, url.replace("/tuner?", "/optuna?"), parent)
        finally:
            for process in processes:
                process.send_signal(signal.SIGTERM)
            for process in processes:
                try:
                    process.wait(15)
                except subprocess.TimeoutExpired:
                    process.kill()
            postgres.stop_embedded(folder)


def wait_ready(server: str, deadline: float = 30.0) -> float:
    """Seconds until /readyz answers."""
    start = time.monotonic()
    while time.monotonic() - start < deadline:
        with suppress(OSError), urllib.request.urlopen(f"{server}/readyz", timeout=2) as answer:
            if answer.status == 200:
                return time.monotonic() - start
        time.sleep(0.02)
    raise TimeoutError(f"{server} is not ready after {deadline} s")


def describe() -> str:
    """Date and machine, for the head of a table of results."""
    model = platform.processor() or platform.machine()
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    memory = psutil.virtual_memory().total / 2**30
    return f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} x {model}, {memory:.0f} GiB, Python {platform.python_version()}"
