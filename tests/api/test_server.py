"""How a server starts, refuses to start, and ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from time import monotonic

import httpx
import psycopg
import pytest

from api.gate import allowed_hosts
from api.server import bind, serve
from tests.api.conftest import Server
from tests.api.test_waiting import wait_until
from tuner import keys
from tuner.db.postgres import Database
from tuner.errors import InvalidValue
from tuner.settings import Settings
from tuner.wire import KeyCreate, Scope


def test_a_port_in_use_is_one_sentence(database: Database) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(InvalidValue, match=f"port {port} of 127.0.0.1 is in use"):
            serve(Settings(database_url=database.url, port=port))


@pytest.mark.parametrize("host", ["256.0.0.1", "no.such.host.invalid", "192.0.2.1", "a" * 300])
def test_an_address_of_another_machine(host: str) -> None:
    with pytest.raises(InvalidValue, match="is not an address of this machine"):
        bind(Settings(host=host, port=0))


def test_without_keys_only_loopback_is_served(database: Database) -> None:
    for host in ("0.0.0.0", "::"):
        with pytest.raises(InvalidValue, match="no API key exists"):
            serve(Settings(database_url=database.url, host=host, port=0))
    expired = keys.create(database, KeyCreate(name="gone", scope=Scope.ADMIN))
    keys.revoke(database, expired.id)
    with pytest.raises(InvalidValue, match="no API key exists"):
        serve(Settings(database_url=database.url, host="0.0.0.0", port=0))


def test_hosts_that_are_answered() -> None:
    assert {"localhost", "127.0.0.1", "[::1]"} <= allowed_hosts(Settings())
    assert "a.example" in allowed_hosts(Settings(allowed_hosts="A.example , b.example"))
    assert "evil.example" not in allowed_hosts(Settings(host="0.0.0.0"))
    assert "10.1.2.3" in allowed_hosts(Settings(host="10.1.2.3"))


def test_sigterm_ends_it_cleanly(database: Database, tmp_path: Path) -> None:
    """A process of its own, with an event stream open: exit code 0 within three seconds."""
    key = keys.create(database, KeyCreate(name="admin", scope=Scope.ADMIN)).key
    program = "import sys; from api.server import serve; from tuner.settings import Settings; serve(Settings.from_environment(), on_bound=lambda url: print(url, flush=True))"
    environment = {**os.environ, "TUNER_DATABASE_URL": database.url, "TUNER_PORT": "0", "TUNER_DATA": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            wait_until(lambda: answers(url))
            with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, trust_env=False) as http:
                assert http.get("/readyz").status_code == 200
                with http.stream("GET", "/v1/events") as stream:
                    assert stream.status_code == 200
                    started = monotonic()
                    process.send_signal(signal.SIGTERM)
                    assert process.wait(timeout=10) == 0
                    assert monotonic() - started < 3
        finally:
            process.kill()


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def test_a_database_that_does_not_answer_is_503(server: Server) -> None:
    """Every connection ended, and no new one let in: problems with Retry-After, then all is well again by itself."""
    name = server.database.engine.url.database
    control = server.database.engine.url.set(database="postgres").render_as_string(hide_password=False)
    with psycopg.connect(control.replace("+psycopg", ""), autocommit=True) as connection, server.http() as http:
        assert http.get("/v1/studies").status_code == 200
        connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        try:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
            answer = http.get("/v1/studies")
            assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
            assert answer.headers["retry-after"] == "1"
            assert http.get("/readyz").status_code == 503
            assert http.get("/healthz").status_code == 200
        finally:
            connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
        assert http.get("/readyz").status_code == 200
        assert http.get("/v1/studies").status_code == 200
