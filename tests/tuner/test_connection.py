"""The way to a server: where it is looked for, what is retried, which errors come back. The server here is a script of answers."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tuner import wire
from tuner.client import Client
from tuner.connection import DEFAULT_SERVER, find_server
from tuner.errors import (
    Forbidden,
    InvalidSpec,
    InvalidValue,
    LeaseLost,
    ServerUnreachable,
    TunerError,
    Unauthenticated,
    Unavailable,
    error_classes,
)

Answer = tuple[int, dict[str, str], bytes]
DROP: Answer = (0, {}, b"")
"""Close the connection without an answer."""
VERDICT = (
    200,
    {},
    wire.VerdictAnswer(verdict=wire.Verdict.CONTINUE, expires_at="2026-01-01T00:00:00Z").model_dump_json().encode(),
)


def problem(status: int, code: str, detail: str = "it is so", **more: object) -> Answer:
    body = {"type": "about:blank", "title": "T", "status": status, "detail": detail, "code": code, **more}
    return status, {"Content-Type": "application/problem+json"}, json.dumps(body).encode()


class Script(ThreadingHTTPServer):
    """Gives its answers one after another, the last one for ever, and notes what it was asked."""

    def __init__(self) -> None:
        self.answers: list[Answer] = [VERDICT]
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Script

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.server.lock:
            self.server.asked.append(
                (self.command, self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            )
            status, headers, content = self.server.answers[0]
            if len(self.server.answers) > 1:
                del self.server.answers[0]
        if status == 0:
            self.close_connection = True
            return
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _answer

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def script() -> Iterator[Script]:
    server = Script()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def make(script: Script) -> Iterator[Callable[..., Client]]:
    clients: list[Client] = []

    def make_client(**options: float) -> Client:
        clients.append(Client(script.address, "tnr_a_b", **options))
        return clients[-1]

    yield make_client
    for client in clients:
        client.close()


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder without credentials, and no variables."""
    for name in ("TUNER_SERVER", "TUNER_KEY", "TUNER_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def note(folder: Path, server: str, key: str = "tnr_noted") -> None:
    (folder / "tuner-data").mkdir(exist_ok=True)
    (folder / "tuner-data" / "credentials.json").write_text(json.dumps({"server": server, "key": key}))


def test_default_address() -> None:
    assert find_server() == (DEFAULT_SERVER, None)


def test_arguments_then_environment_then_file(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note(elsewhere, "http://127.0.0.1:8123")
    assert find_server() == ("http://127.0.0.1:8123", "tnr_noted")
    monkeypatch.setenv("TUNER_KEY", "tnr_variable")
    assert find_server() == ("http://127.0.0.1:8123", "tnr_variable")
    monkeypatch.setenv("TUNER_SERVER", "https://variable.example/")
    assert find_server() == ("https://variable.example", "tnr_variable")
    assert find_server("http://argument", "tnr_argument") == ("http://argument", "tnr_argument")


def test_noted_key_goes_to_no_other_server(elsewhere: Path) -> None:
    note(elsewhere, "http://127.0.0.1:8123")
    assert find_server("http://elsewhere.example") == ("http://elsewhere.example", None)
    assert find_server("http://127.0.0.1:8123/") == ("http://127.0.0.1:8123", "tnr_noted")


@pytest.mark.parametrize(
    "server", ["example.com", "ftp://example.com", "http://", "http://u:p@example.com", "http://[::", "http://a?b=c"]
)
def test_wrong_address(server: str) -> None:
    with pytest.raises(InvalidValue, match="server: give an address such as"):
        find_server(server)


@pytest.mark.parametrize("key", ["tnr_a b", "tnr_ä", "tnr\n"])
def test_wrong_key(key: str) -> None:
    with pytest.raises(InvalidValue, match="key: "):
        find_server(None, key)


def test_damaged_credentials_file(elsewhere: Path) -> None:
    note(elsewhere, "x")
    (elsewhere / "tuner-data" / "credentials.json").write_text("{")
    with pytest.raises(InvalidValue, match="is not a credentials file"):
        find_server()


@pytest.mark.parametrize("code", sorted(set(error_classes()) - {"tuner_error"}))
def test_every_error_comes_back_as_its_class(code: str, script: Script, make: Callable[..., Client]) -> None:
    script.answers = [problem(418, code, errors=[{"loc": "a.b", "msg": "is wrong"}])]
    with pytest.raises(TunerError, match="it is so") as caught:
        make().renew("l")
    assert type(caught.value) is error_classes()[code]
    assert [str(error) for error in caught.value.errors] == ["a.b: is wrong"]


@pytest.mark.parametrize(
    "answer, error",
    [
        ((404, {}, b"<html>"), "answered 404"),
        ((301, {"Location": "https://other.example/"}, b""), "redirecting to https://other.example/"),
        ((500, {}, b"[]"), "answered 500"),
        ((422, {}, b'{"detail": "x"}'), "answered 422"),
    ],
)
def test_answers_of_something_else(answer: Answer, error: str, script: Script, make: Callable[..., Client]) -> None:
    script.answers = [answer]
    with pytest.raises(TunerError, match=error):
        make().get_study("s")


def test_unknown_code_of_a_newer_server(script: Script, make: Callable[..., Client]) -> None:
    script.answers = [problem(403, "quota_exceeded", "no more today")]
    with pytest.raises(Forbidden, match="no more today"):
        make().get_study("s")


def test_401_without_a_key_says_what_to_do(script: Script) -> None:
    script.answers = [problem(401, "unauthenticated")]
    with Client(script.address) as client, pytest.raises(Unauthenticated, match="give --key, set TUNER_KEY"):
        client.get_study("s")


def test_retries_keep_their_idempotency_key(script: Script, make: Callable[..., Client]) -> None:
    script.answers = [problem(503, "database_unavailable"), DROP, problem(409, "idempotency_conflict"), VERDICT]
    make().renew("l")
    keys = {headers["idempotency-key"] for _, _, headers, _ in script.asked}
    assert len(script.asked) == 4
    assert len(keys) == 1
    make().renew("l")
    assert script.asked[-1][2]["idempotency-key"] not in keys


def test_conflicts_are_not_retried(script: Script, make: Callable[..., Client]) -> None:
    script.answers = [problem(409, "lease_lost")]
    with pytest.raises(LeaseLost):
        make().renew("l")
    script.answers = [problem(422, "invalid_spec")]
    with pytest.raises(InvalidSpec):
        make().submit_study({"name": "x"})
    assert len(script.asked) == 2


def test_retry_after_is_heeded(script: Script, make: Callable[..., Client]) -> None:
    status, headers, body = problem(503, "database_unavailable")
    script.answers = [(status, headers | {"Retry-After": "1"}, body), VERDICT]
    start = time.monotonic()
    make().renew("l")
    assert time.monotonic() - start >= 1.0


def test_patience_ends(script: Script, make: Callable[..., Client]) -> None:
    script.answers = [problem(503, "database_unavailable", "the database does not answer")]
    with pytest.raises(Unavailable, match="the database does not answer"):
        make(patience=0.5).renew("l")
    assert len(script.asked) > 1
    tries = len(script.asked)
    with pytest.raises(Unavailable):
        make().with_patience(0).renew("l")
    assert len(script.asked) == tries + 1


def test_nobody_there() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{held.getsockname()[1]}"
        with Client(address, patience=0.2) as client, pytest.raises(ServerUnreachable) as caught:
            client.get_study("s")
    assert (
        str(caught.value)
        == f"the server at {address} is not reachable: start it with `tuner up`, or name another with --server or TUNER_SERVER"
    )


def test_a_name_is_one_path_segment(script: Script, make: Callable[..., Client]) -> None:
    script.answers = [problem(404, "study_not_found")]
    with pytest.raises(TunerError):
        make().get_study("a b/../c?d#ü")
    assert script.asked[0][1] == "/v1/studies/a%20b%2F..%2Fc%3Fd%23%C3%BC"


def test_no_proxy_for_this_machine(script: Script, make: Callable[..., Client], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    make(patience=0).renew("l")


def test_non_finite_numbers_travel_as_text(script: Script, make: Callable[..., Client]) -> None:
    make().report("l", [wire.Report(step=1, values={"a": float("nan"), "b": float("-inf"), "c": 0.5})])
    assert json.loads(script.asked[0][3], parse_constant=pytest.fail) == {
        "reports": [{"step": 1, "values": {"a": "NaN", "b": "-Infinity", "c": 0.5}}]
    }


def test_upload_is_repeated_from_its_start(script: Script, make: Callable[..., Client], tmp_path: Path) -> None:
    checkpoint = wire.Checkpoint(step=3, epoch=1, size=6, sha256="x", created_at="2026-01-01T00:00:00Z")
    script.answers = [DROP, (200, {}, checkpoint.model_dump_json().encode())]
    path = tmp_path / "file"
    path.write_bytes(b"--middle")
    with path.open("rb") as stream:
        stream.seek(2)
        make().upload_checkpoint("l", 3, stream)
    assert [body for _, _, _, body in script.asked] == [b"middle", b"middle"]
    assert script.asked[1][2]["x-content-sha256"] == hashlib.sha256(b"middle").hexdigest()
    assert script.asked[1][2]["content-length"] == "6"


def test_damaged_download_is_refused(script: Script, make: Callable[..., Client], tmp_path: Path) -> None:
    script.answers = [(200, {"X-Content-SHA256": "0" * 64, "X-Checkpoint-Step": "3"}, b"content")]
    with (tmp_path / "file").open("wb") as target, pytest.raises(InvalidValue, match="arrived damaged"):
        make().download_checkpoint("/v1/trials/1/checkpoints/latest", target)


def test_one_client_in_many_threads(script: Script, make: Callable[..., Client]) -> None:
    client = make()
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(10):
                client.renew("l")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(script.asked) == 80
