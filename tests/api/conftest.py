"""A server as users have it: uvicorn on a free port, in a thread of this process, over the test database."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

import httpx
import pytest

from api.server import Server, bind, make_server
from tuner import keys
from tuner.db.postgres import Database
from tuner.settings import Settings
from tuner.wire import KeyCreate, Scope


@dataclass(kw_only=True)
class LiveServer:
    base_url: str
    key: str
    database: Database
    settings: Settings
    uvicorn: Server
    thread: threading.Thread

    def stop(self) -> None:
        self.uvicorn.should_exit = True
        self.thread.join(timeout=10)
        assert not self.thread.is_alive()

    def make_key(self, scope: Scope, project: str = "default", expires_in: float | None = None) -> str:
        return keys.create(self.database, KeyCreate(name=f"{scope} of {project}", scope=scope, project=project, expires_in=expires_in)).key

    def http(self, key: str | None = None) -> httpx.Client:
        """A client; `key` "" for none, None for the admin's."""
        presented = self.key if key is None else key
        headers = {"Authorization": f"Bearer {presented}"} if presented else {}
        return httpx.Client(base_url=self.base_url, headers=headers, timeout=30, trust_env=False)


def start_server(database: Database, settings: Settings) -> LiveServer:
    bound = bind(settings)
    port = bound.getsockname()[1]
    settings = settings.model_copy(update={"port": port})
    server = make_server(database, settings)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, name="server", daemon=True)
    thread.start()
    deadline = monotonic() + 10
    while not server.started:
        assert monotonic() < deadline, "the server has not started"
        assert thread.is_alive()
        sleep(0.005)
    key = keys.create(database, KeyCreate(name="admin", scope=Scope.ADMIN)).key
    return LiveServer(base_url=f"http://127.0.0.1:{port}", key=key, database=database, settings=settings, uvicorn=server, thread=thread)


@pytest.fixture
def settings(database: Database, tmp_path: Path) -> Settings:
    return Settings(database_url=database.url, data=tmp_path, port=0, reap_interval=0.2, retry_backoff=0)


@pytest.fixture
def server(database: Database, settings: Settings) -> Iterator[LiveServer]:
    """`.base_url`, `.key` (an admin's), `.make_key(scope, project)`, `.http(key)`, `.stop()`."""
    live = start_server(database, settings)
    try:
        yield live
    finally:
        if live.thread.is_alive():
            live.stop()


@pytest.fixture
def http(server: LiveServer) -> Iterator[httpx.Client]:
    """A client with the admin's key."""
    with server.http() as client:
        yield client
