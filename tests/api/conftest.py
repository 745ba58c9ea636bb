"""A server as users have it: uvicorn on a free port, in a thread of this process, over the test database."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import httpx
import pytest
import uvicorn

from api.server import bind, make_server
from tuner import keys
from tuner.db.postgres import Database
from tuner.settings import Settings
from tuner.wire import KeyCreate, Scope


class Server:
    """`url` and an admin's `key`; `stop()` and `start()` again at the same address, with all else as it was."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self.database = database
        self.settings = settings
        self._uvicorn: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self.start()
        self.key = self.make_key(Scope.ADMIN)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.port}"

    def start(self) -> None:
        bound = bind(self.settings)
        self.settings = self.settings.model_copy(update={"port": bound.getsockname()[1]})
        server = make_server(self.database, self.settings)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, name="server", daemon=True)
        thread.start()
        deadline = monotonic() + 10
        while not server.started:
            assert thread.is_alive(), "the server has ended"
            assert monotonic() < deadline, "the server has not started"
            sleep(0.005)
        self._uvicorn, self._thread = server, thread

    def stop(self) -> None:
        """Stop it as a signal would; returns once it has ended. Stopping again does nothing."""
        if self._uvicorn is None or self._thread is None:
            return
        self._uvicorn.should_exit = True
        self._thread.join(timeout=15)
        assert not self._thread.is_alive(), "the server does not stop"
        self._uvicorn = self._thread = None

    def make_key(self, scope: Scope, project: str = "default", expires_in: float | None = None) -> str:
        body = KeyCreate(name=f"{scope} of {project}", scope=scope, project=project, expires_in=expires_in)
        return keys.create(self.database, body).key

    def http(self, key: str | None = None) -> httpx.Client:
        """A client; `key` "" for none, None for the admin's."""
        presented = self.key if key is None else key
        headers = {"Authorization": f"Bearer {presented}"} if presented else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30, trust_env=False, verify=False)


@pytest.fixture
def server(database: Database, tmp_path: Path) -> Iterator[Server]:
    live = Server(database, Settings(database_url=database.url, data=tmp_path, port=0, reap_interval=0.2, retry_backoff=0))
    try:
        yield live
    finally:
        live.stop()


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    """A client with the admin's key."""
    with server.http() as client:
        yield client
