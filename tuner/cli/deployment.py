"""A whole tuner on one machine: embedded PostgreSQL, server, search and a worker, as one thing that starts and stops.

`tuner up` and `tuner demo` are what uses it. State is in the data folder; a second deployment on the same folder is refused by a lock
that ends with this process. Its weakness: whoever may read the data folder may do everything, as with any local database.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import httpx

from tuner.cli.parts import Part
from tuner.errors import InvalidValue, TunerError, Unauthenticated, Unavailable
from tuner.settings import Settings
from tuner.wire import KeyCreate, Scope

READY_TIMEOUT = 60.0
PORT_PATIENCE = 3.0
"""Seconds to wait for a port: the server of a deployment that was killed a moment ago still ends."""
WATCH_INTERVAL = 0.5
DATABASE_INTERVAL = 5.0
DRAIN_TIMEOUT = 5.0
STOP_TIMEOUT = 3.0
MAX_EARLY_ENDS = 3


class Deployment:
    """Start, then stop, from one thread; parts are watched by another."""

    def __init__(
        self,
        settings: Settings,
        *,
        slots: int | None,
        allow: tuple[str, ...] = (),
        allow_bundles: bool = False,
        data_roots: tuple[Path, ...] = (),
        say: Callable[[str], None],
    ) -> None:
        """`slots`: trials at once on this machine, 0 for no worker, None for what fits it; the rest as for `tuner worker`."""
        self._data = settings.data.expanduser().absolute()
        self.settings = settings.model_copy(update={"data": self._data})
        self.hurried = threading.Event()
        self._slots = slots
        self._allow = allow
        self._allow_bundles = allow_bundles
        self._data_roots = data_roots
        self._say = say
        self._lock: IO[str] | None = None
        self._database_url: str | None = None
        self._parts: list[Part] = []
        self._watching = threading.Event()
        self._watcher: threading.Thread | None = None

    @property
    def address(self) -> str:
        host = self.settings.host
        if host in ("0.0.0.0", "::", ""):  # noqa: S104 (compared, not bound)
            host = "127.0.0.1"
        return f"http://{f'[{host}]' if ':' in host else host}:{self.settings.port}"

    @property
    def logs(self) -> Path:
        return self._data / "logs"

    def start(self, stop: threading.Event) -> bool:
        """Start everything and return once the server is ready; False when `stop` was set meanwhile.

        InvalidValue for a folder or port that cannot be used, before anything has been started; likewise ArtifactsUnavailable.
        """
        from tuner.stores import open_store

        self._take_folder()
        self._take_port()
        open_store(self.settings.artifacts_location).check()
        self._start_database()
        if stop.is_set():
            return False
        self._ensure_key(self.settings.credentials_path, "admin of tuner up", Scope.ADMIN)
        worker = self._ensure_key(self._data / "worker.json", "worker of tuner up", Scope.WORKER)
        self._make_parts(worker)
        for part in self._parts:
            part.start()
        if not self._wait_ready(stop):
            return False
        self._watcher = threading.Thread(target=self._watch, name="tuner-watcher", daemon=True)
        self._watcher.start()
        return True

    def read_key(self) -> str:
        """The admin key."""
        return _read_key(self.settings.credentials_path)

    def make_login_address(self) -> str:
        """An address that opens the dashboard in a browser once, without a key being typed."""
        from tuner import keys
        from tuner.db.postgres import Database

        database = Database(self._require_database())
        try:
            key_id = self.read_key().split("_")[1]
            return f"{self.address}/login#code={keys.create_login_code(database, key_id)}"
        finally:
            database.close()

    def stop(self) -> None:
        """End everything, the worker first, so that it can hand its trials back, and the database last."""
        self._watching.set()
        if self._watcher is not None:
            self._watcher.join()
        workers = [part for part in self._parts if part.name == "worker"]
        others = [part for part in self._parts if part.name != "worker"]
        self._end(workers, DRAIN_TIMEOUT + 1.0)
        self._end(others, STOP_TIMEOUT)
        self._parts.clear()
        if self._database_url is not None and self.settings.database_url is None:
            from tuner.db import postgres

            postgres.stop_embedded(self._data)
        self._database_url = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _end(self, parts: list[Part], patience: float) -> None:
        for part in parts:
            part.signal(signal.SIGTERM)
        deadline = time.monotonic() + patience
        while any(part.is_running for part in parts) and time.monotonic() < deadline:
            if self.hurried.wait(0.05):
                break
        for part in parts:
            part.forget()

    def _take_folder(self) -> None:
        try:
            self._data.mkdir(parents=True, exist_ok=True)
            self.logs.mkdir(mode=0o700, exist_ok=True)
            lock = (self._data / "up.lock").open("a+")
        except OSError as error:
            raise InvalidValue(f"--data: cannot write the folder {self._data} ({error.strerror}); choose another") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            holder = lock.read().strip()
            lock.close()
            raise InvalidValue(
                f"--data: `tuner up` already runs on {self._data}"
                + (f" (process {holder})" if holder else "")
                + "; stop it or choose another folder"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock

    def _take_port(self) -> None:
        """Find out before anything is started whether the port is free, and which one it is when any will do."""
        host, port = self.settings.host, self.settings.port
        deadline = time.monotonic() + PORT_PATIENCE
        while True:
            try:
                family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
                with socket.socket(family, socket.SOCK_STREAM) as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind((host, port))
                    self.settings = self.settings.model_copy(update={"port": probe.getsockname()[1]})
                    return
            except socket.gaierror:
                raise InvalidValue(f"TUNER_HOST: {host!r} is no address of this machine") from None
            except OSError as error:
                if time.monotonic() > deadline:
                    raise InvalidValue(
                        f"--port: {port} on {host} cannot be used ({error.strerror}); choose another, such as --port {port + 1}"
                    ) from None
                time.sleep(0.1)

    def _start_database(self) -> None:
        from tuner.db import postgres

        if self.settings.database_url is None:
            self._database_url = postgres.start_embedded(self._data)
        else:
            self._database_url = postgres.normalize_url(self.settings.database_url)
        postgres.migrate(self._database_url)

    def _require_database(self) -> str:
        if self._database_url is None:
            raise Unavailable("the database is not started")
        return self._database_url

    def _ensure_key(self, path: Path, name: str, scope: Scope) -> str:
        """The key noted in `path`, if it is good; else a new one, noted there with this server's address for the owner alone."""
        from tuner import keys
        from tuner.db.postgres import Database

        database = Database(self._require_database())
        try:
            key = _read_key(path)
            try:
                keys.authenticate(database, key)
            except Unauthenticated:
                key = keys.create(database, KeyCreate(name=name, scope=scope)).key
        finally:
            database.close()
        _write_private(path, json.dumps({"server": self.address, "key": key}) + "\n")
        return key

    def _make_parts(self, worker_key: str) -> None:
        environment = {name: value for name, value in os.environ.items() if name not in ("TUNER_KEY", "TUNER_SERVER")}
        # The database is started and migrated here, once: the parts find it by its URL.
        environment |= {"TUNER_DATABASE_URL": self._require_database(), "TUNER_DATA": str(self._data), "PYTHONUNBUFFERED": "1"}
        address = ["--host", self.settings.host, "--port", str(self.settings.port)]
        self._parts = [
            Part("server", ["server", *address], environment=environment, log=self.logs / "server.log"),
            Part("search", ["search"], environment=environment, log=self.logs / "search.log"),
        ]
        if self._slots != 0:
            environment = {name: value for name, value in environment.items() if name != "TUNER_DATABASE_URL"}
            arguments = ["worker", "--server", self.address, "--drain-timeout", str(DRAIN_TIMEOUT)]
            slots = count_slots() if self._slots is None else self._slots
            arguments += [] if slots is None else ["--slots", str(slots)]
            for pattern in self._allow:
                arguments += ["--allow", pattern]
            arguments += ["--allow-bundles"] if self._allow_bundles else []
            for folder in self._data_roots:
                arguments += ["--data-root", str(folder)]
            self._parts.append(
                Part("worker", arguments, environment=environment | {"TUNER_KEY": worker_key}, log=self.logs / "worker.log")
            )

    def _wait_ready(self, stop: threading.Event) -> bool:
        deadline = time.monotonic() + READY_TIMEOUT
        server = self._parts[0]
        ends = 0
        with httpx.Client(base_url=self.address, trust_env=False, timeout=5.0) as http:
            while time.monotonic() < deadline:
                if stop.is_set():
                    return False
                with contextlib.suppress(httpx.HTTPError):
                    if http.get("/readyz").status_code == 200 and server.is_running:
                        return True
                for part in self._parts:
                    if (said := part.check()) is not None and part is server:
                        ends += 1
                        if ends == MAX_EARLY_ENDS:
                            raise Unavailable(f"{said}; see {server.log}")
                stop.wait(0.05)
        raise Unavailable(f"the server was not ready after {READY_TIMEOUT:.0f} seconds; see {server.log}")

    def _watch(self) -> None:
        checked = time.monotonic()
        while not self._watching.wait(WATCH_INTERVAL):
            for part in self._parts:
                if (said := part.check()) is not None:
                    self._say(said)
            if time.monotonic() - checked > DATABASE_INTERVAL:
                try:
                    self._check_database()
                except TunerError as error:
                    self._say(str(error))
                checked = time.monotonic()

    def _check_database(self) -> None:
        """Start the embedded server again if it died; its address stays the same."""
        import psycopg

        from tuner.db import postgres

        try:
            psycopg.connect(self._require_database().replace("+psycopg", "", 1), connect_timeout=5).close()
        except psycopg.OperationalError:
            if self.settings.database_url is None:
                self._say("the embedded PostgreSQL does not answer and is started again")
                with contextlib.suppress(psycopg.OperationalError):
                    postgres.start_embedded(self._data)


def count_slots() -> int | None:
    """Slots of a machine without GPUs: all CPUs but one, for the server and the search. None where there may be GPUs: one slot each."""
    from workers.slots import GPU_DEVICES, count_cpus

    return None if any(Path(device).exists() for device in GPU_DEVICES) else max(1, count_cpus() - 1)


def _read_key(path: Path) -> str:
    """The key noted in a file; empty, which is no key, when there is none."""
    try:
        return str(json.loads(path.read_text())["key"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _write_private(path: Path, text: str) -> None:
    """Replace a file with one that its owner alone may read."""
    partial = path.with_name(path.name + ".part")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    partial.replace(path)
