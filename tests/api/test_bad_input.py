"""What is wrong is told apart from what is broken: each bad request gets a 4xx problem naming the place, and changes nothing."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text

from tests.api.conftest import Server
from tests.api.test_contract import STUDY


@pytest.fixture
def lease(http: httpx.Client) -> str:
    """A lease of a study `s` with one trial, and a worker-less rest."""
    http.post("/v1/studies", json=STUDY)
    http.post("/v1/studies/s/trials", json={"params": {"x": 0.5}})
    return str(http.post("/v1/studies/s/ask", json={"wait": 0}).json()["leases"][0]["id"])


def study(**changes: Any) -> bytes:
    return json.dumps({**STUDY, "name": "bad", **changes}).encode()


def deep(levels: int) -> bytes:
    return b'{"params": ' + b'{"a":' * levels + b"1" + b"}" * levels + b"}"


FLOAT = {"type": "float", "low": 0.0, "high": 1.0}
REPORT = "/v1/leases/{lease}/reports"
TELL = "/v1/leases/{lease}/tell"

# (method, path, body, status, a place that must be named; None: any or none)
CASES: list[tuple[str, str, bytes | None, int, str | None]] = [
    # bodies that are not what JSON and PostgreSQL can hold
    ("POST", "/v1/studies", b"", 422, "objectives"),
    ("POST", "/v1/studies", b"{", 422, "body"),
    ("POST", "/v1/studies", b"[]", 422, "body"),
    ("POST", "/v1/studies", b"null", 422, "body"),
    ("POST", "/v1/studies", b'"x"', 422, "body"),
    ("POST", "/v1/studies", b"{} {}", 422, "body"),
    ("POST", "/v1/studies", b"\xff\xfe{}", 422, "body"),
    ("POST", "/v1/studies", b"name: yaml", 422, "body"),
    ("POST", "/v1/studies", b"[" * 100_000, 422, "body"),
    ("POST", "/v1/studies", b"{" + b'"a":{' * 200_000, 413, None),
    ("POST", "/v1/studies", b'{"name": "' + b"x" * 1_100_000 + b'"}', 413, None),
    ("POST", "/v1/studies/s/trials", deep(20), 422, "body"),
    ("POST", "/v1/studies/s/trials", deep(500), 422, "body"),
    ("POST", "/v1/studies/s/trials", deep(5_000), 422, "body"),
    ("POST", "/v1/studies/s/trials", b'{"params": {"x": NaN}}', 422, "body"),
    ("POST", "/v1/studies/s/trials", b'{"params": {"x": -Infinity}}', 422, "body"),
    ("POST", "/v1/studies/s/trials", b'{"params": {"x": 1e999}}', 422, "body"),
    ("POST", "/v1/studies/s/trials", b'{"params": {"x": ' + b"9" * 50_000 + b"}}", 422, "body"),
    ("POST", "/v1/studies/s/trials", b'{"params": {"x": 9223372036854775808}}', 422, "body"),
    ("POST", "/v1/studies/s/trials", b'{"params": {"x": 0.1, "x": 0.2}}', 422, "body"),
    ("POST", "/v1/studies/s/trials", b'{"params": {"x\\u0000": 1}}', 422, "body"),
    ("POST", "/v1/studies/s/trials", b'{"params": {"x": "\\ud800"}}', 422, "body"),
    ("POST", "/v1/studies/s/trials", b'{"params": {"x": 0.5}, "user_attrs": {"a": "\\u0000"}}', 422, "body"),
    # study specs
    ("POST", "/v1/studies", study(colour="red"), 422, "colour"),
    ("POST", "/v1/studies", study(name="n" * 300), 422, "name"),
    ("POST", "/v1/studies", study(name=""), 422, "name"),
    ("POST", "/v1/studies", study(name="12345"), 422, "name"),
    ("POST", "/v1/studies", study(name=7), 422, "name"),
    ("POST", "/v1/studies", study(objectives=[]), 422, "objectives"),
    ("POST", "/v1/studies", study(objectives=[{"name": "a", "direction": "upwards"}]), 422, None),
    ("POST", "/v1/studies", study(space={}), 422, "space"),
    ("POST", "/v1/studies", study(space=[]), 422, "space"),
    ("POST", "/v1/studies", study(space={"x": {"type": "complex"}}), 422, None),
    ("POST", "/v1/studies", study(space={"x": {**FLOAT, "low": 2.0}}), 422, None),
    ("POST", "/v1/studies", study(space={"x": {**FLOAT, "log": True}}), 422, None),
    ("POST", "/v1/studies", study(space={"x": {"type": "categorical", "choices": []}}), 422, None),
    ("POST", "/v1/studies", study(space={"x": {**FLOAT, "when": {"y": [1]}}}), 422, None),
    ("POST", "/v1/studies", study(sampler={"name": "oracle"}), 422, None),
    ("POST", "/v1/studies", study(sampler={"name": "grid"}), 422, None),
    ("POST", "/v1/studies", study(pruner={"name": "shears"}), 422, None),
    ("POST", "/v1/studies", study(trial={"executor": "shell"}), 422, None),
    ("POST", "/v1/studies", study(limits={"max_trials": 0}), 422, "limits.max_trials"),
    ("POST", "/v1/studies", study(limits={"max_trials": "many"}), 422, "limits.max_trials"),
    ("POST", "/v1/studies", study(limits={"max_apples": 1}), 422, None),
    ("POST", "/v1/studies", study(tags="one"), 422, "tags"),
    ("PATCH", "/v1/studies/s", b'{"state": "COMPLETE"}', 422, "state"),
    ("PATCH", "/v1/studies/s", b'{"limits": {"max_apples": 1}}', 422, "limits.max_apples"),
    ("PATCH", "/v1/studies/s", b'{"limits": {"max_trials": -1}}', 422, "limits.max_trials"),
    ("PATCH", "/v1/studies/s", b'{"space": []}', 422, "space"),
    ("PATCH", "/v1/studies/s", b'{"space": {"x": 1}}', 422, "space.x"),
    ("PATCH", "/v1/studies/s", b'{"space": {"x": {"high": "9"}}}', 422, "space.x.high"),
    ("PATCH", "/v1/studies/s", b'{"space": {"x": {"high": 1e999}}}', 422, "body"),
    ("PATCH", "/v1/studies/s", b'{"space": {"x": {"freeze": [[[]]]}}}', 422, "space.x.freeze"),
    ("PATCH", "/v1/studies/s", b'{"space": {"x": {"\\ud800": 1}}}', 422, None),
    ("PATCH", "/v1/studies/s", b'{"space": {"\\u0000": {"high": 1}}}', 422, None),
    ("PATCH", "/v1/studies/s", b'{"space": {"x": {"high": 2}}, "space_version": "1"}', 422, "space_version"),
    ("PATCH", "/v1/studies/s", b'{"space": {"x": {"high": 2}}, "space_version": 0}', 422, "space_version"),
    ("PATCH", "/v1/studies/s", b'{"space": {"x": {"high": 2}}, "space_version": 7}', 409, None),
    ("PATCH", "/v1/studies/s", b'{"notes": "' + b"n" * 30_000 + b'"}', 422, "notes"),
    # trials
    ("POST", "/v1/studies/s/trials", b"{}", 422, "params"),
    ("POST", "/v1/studies/s/trials", b'{"params": []}', 422, "params"),
    ("POST", "/v1/studies/s/trials", b'{"params": {"x": [1]}}', 422, "params.x"),
    ("POST", "/v1/studies/s/trials", b'{"params": {"x": 7}}', 422, None),
    ("POST", "/v1/studies/s/trials", b'{"params": {"y": 0.5}}', 422, None),
    ("POST", "/v1/studies/s/trials", b'{"params": {"x": 0.5}, "state": "DONE"}', 422, "state"),
    ("POST", "/v1/studies/s/trials", b'{"params": {"x": 0.5}, "state": "RUNNING"}', 422, "state"),
    ("POST", "/v1/studies/s/trials", b'{"params": {"x": 0.5}, "values": {"score": 1}}', 422, "values"),
    ("POST", "/v1/studies/s/trials", b'{"params": {"x": 0.5}, "state": "COMPLETE"}', 422, "values"),
    ("POST", "/v1/studies/s/trials", b'{"params": {"x": 0.5}, "state": "COMPLETE", "values": {"score": "NaN"}}', 422, "values.score"),
    ("POST", "/v1/studies/s/trials", b'{"params": {"x": 0.5}, "state": "COMPLETE", "values": {"score": "best"}}', 422, "values.score"),
    # leases
    ("POST", "/v1/studies/s/ask", b'{"count": 0}', 422, "count"),
    ("POST", "/v1/studies/s/ask", b'{"count": 1000000}', 422, "count"),
    ("POST", "/v1/studies/s/ask", b'{"wait": -1}', 422, "wait"),
    ("POST", "/v1/studies/s/ask", b'{"wait": "Infinity"}', 422, "wait"),
    ("POST", "/v1/studies/s/ask", b'{"ttl": 0}', 422, "ttl"),
    ("POST", "/v1/studies/s/ask", b'{"worker": "\\u0000"}', 422, "body"),
    ("POST", "/v1/leases", b'{"resources": {"gpus": -1}}', 422, "resources.gpus"),
    ("POST", "/v1/leases", b'{"executors": ["shell"]}', 422, None),
    ("POST", "/v1/leases", b'{"studies": 7}', 422, "studies"),
    ("POST", REPORT, b"{}", 422, "reports"),
    ("POST", REPORT, b'{"reports": []}', 422, "reports"),
    ("POST", REPORT, b'{"reports": [{"step": -1, "values": {"a": 1}}]}', 422, "reports.0.step"),
    ("POST", REPORT, b'{"reports": [{"step": 1.5, "values": {"a": 1}}]}', 422, "reports.0.step"),
    ("POST", REPORT, b'{"reports": [{"step": 0, "values": {}}]}', 422, "reports.0.values"),
    ("POST", REPORT, b'{"reports": [{"step": 0, "values": {"a": true}}]}', 422, "reports.0.values.a"),
    ("POST", REPORT, b'{"reports": [{"step": 0, "values": {"a": "high"}}]}', 422, "reports.0.values.a"),
    ("POST", REPORT, b'{"reports": [{"step": 0, "values": {"a": NaN}}]}', 422, "body"),
    ("POST", REPORT, b'{"reports": [{"step": 0, "values": {"": 1}}]}', 422, None),
    ("POST", REPORT, b'{"reports": [{"step": 0, "values": {"a": 1}}], "wait": 1e9}', 422, "wait"),
    ("POST", TELL, b"{}", 422, "state"),
    ("POST", TELL, b'{"state": "RUNNING"}', 422, "state"),
    ("POST", TELL, b'{"state": "FAIL", "reason": "No Such Thing!"}', 422, "reason"),
    ("POST", TELL, b'{"state": "COMPLETE", "values": {"score": NaN}}', 422, "body"),
    ("POST", TELL, b'{"state": "COMPLETE", "values": [1]}', 422, "values"),
    ("POST", "/v1/leases/{lease}/logs", b'{"lines": []}', 422, "lines"),
    ("POST", "/v1/leases/{lease}/logs", b'{"lines": [{"stream": "stdlog", "text": "x"}]}', 422, "lines.0.stream"),
    ("PUT", "/v1/leases/{lease}/checkpoints/0", b"bytes", 422, "X-Content-SHA256"),
    ("PUT", "/v1/leases/{lease}/checkpoints/first", b"bytes", 422, "step"),
    ("POST", "/v1/leases/nonsense/renew", b"", 409, None),
    ("POST", f"/v1/leases/{uuid4()}/renew", b"", 409, None),
    ("POST", f"/v1/leases/{uuid4()}/tell", b'{"state": "FAIL"}', 409, None),
    # queries and paths
    ("GET", "/v1/studies?state=asleep", None, 422, "state"),
    ("GET", "/v1/studies?limit=0", None, 422, "query.limit"),
    ("GET", "/v1/studies?limit=ten", None, 422, "query.limit"),
    ("GET", "/v1/studies?limit=1&limit=2", None, 422, "query.limit"),
    ("GET", "/v1/studies?colour=red", None, 422, "query.colour"),
    ("GET", "/v1/studies?cursor=!!!", None, 422, "cursor"),
    ("GET", "/v1/studies?cursor=WzFd", None, 200, None),
    ("GET", "/v1/studies?cursor=WyJ4Il0", None, 422, "cursor"),
    ("GET", "/v1/trials/1/logs?tail=0", None, 422, "query.tail"),
    ("GET", "/v1/trials/1/logs?tail=all", None, 422, "query.tail"),
    ("GET", "/v1/trials/1/logs?tail=2001", None, 422, "query.tail"),
    ("GET", "/v1/trials/1/logs?tail=5&limit=5", None, 422, "query.tail"),
    ("GET", "/v1/trials/1/logs?tail=5&cursor=WzFd", None, 422, "query.tail"),
    ("GET", "/v1/studies?q=%00", None, 422, "query"),
    ("GET", "/v1/studies/s/trials?sort=params", None, 422, "sort"),
    ("GET", "/v1/studies/s/trials?sort=number;drop", None, 422, "sort"),
    ("GET", "/v1/studies/s/trials?filter=nothing", None, 422, "filter"),
    ("GET", "/v1/studies/s/trials?filter=x%3C%27;drop", None, 422, "filter"),
    ("GET", "/v1/studies/s/export?filter=nosuch%3D1", None, 422, "filter"),
    ("GET", "/v1/studies/s/trials?filter=x%3D%27%29;drop", None, 200, None),
    ("GET", "/v1/studies/s/trials?cursor=WzFd", None, 422, "cursor"),
    ("GET", "/v1/studies/s/trials?cursor=WyJ4IiwgMV0&sort=started_at", None, 422, None),
    ("GET", "/v1/studies/s/trials?cursor=WyJ4IiwgMV0", None, 422, None),
    ("GET", "/v1/studies/s/columns?since=-1", None, 422, "query.since"),
    ("GET", "/v1/studies/s/columns?since=99999999999999999999", None, 422, "query.since"),
    ("GET", "/v1/studies/s/curves?numbers=1,x", None, 422, "query.numbers"),
    ("GET", "/v1/studies/s/curves?numbers=9999999999", None, 422, "query.numbers"),
    ("GET", "/v1/studies/s/curves?numbers=999999999", None, 200, None),
    ("GET", "/v1/studies/s/curves?points=9", None, 422, "query.points"),
    ("GET", "/v1/studies/s/export?format=xls", None, 422, "query.format"),
    ("GET", "/v1/studies/s/export?state=asleep", None, 422, "state"),
    ("GET", "/v1/studies/none", None, 404, None),
    ("GET", "/v1/studies/99999999999999999999999", None, 404, None),
    ("GET", "/v1/studies/%00", None, 404, None),
    ("GET", "/v1/studies/%ff%fe", None, 404, None),
    ("GET", "/v1/trials/first", None, 422, "trial"),
    ("GET", "/v1/trials/99999999999999999999999", None, 422, "trial"),
    ("GET", "/v1/trials/999999999999999999", None, 404, None),
    ("GET", "/v1/trials/0", None, 404, None),
    ("GET", "/v1/trials/999999/checkpoints/latest", None, 404, None),
    ("GET", "/v1/studies/s/trials/999999999999", None, 404, None),
    ("GET", "/v1/workers/x", None, 422, "worker"),
    ("GET", "/v1/workers/77", None, 404, None),
    ("GET", "/v1/nothing", None, 404, None),
    ("PUT", "/v1/studies", b"{}", 405, None),
    ("GET", "/v1/events?study=none", None, 404, None),
    ("GET", "/v1/events?since=x", None, 422, "query.since"),
    # keys and sessions
    ("POST", "/v1/keys", b'{"name": "k"}', 422, "scope"),
    ("POST", "/v1/keys", b'{"name": "k", "scope": "root"}', 422, "scope"),
    ("POST", "/v1/keys", b'{"name": "k", "scope": "viewer", "project": "../x"}', 422, "project"),
    ("POST", "/v1/keys", b'{"name": "k", "scope": "viewer", "expires_in": 0}', 422, "expires_in"),
    ("POST", "/v1/keys", b'{"name": "k", "scope": "viewer", "expires_in": 1e300}', 422, "expires_in"),
    ("DELETE", "/v1/keys/none", None, 404, None),
    ("POST", "/v1/sessions", b"{}", 422, None),
    ("POST", "/v1/sessions", b'{"code": "a", "key": "b"}', 422, None),
    ("POST", "/v1/sessions", b'{"code": "guess"}', 401, None),
    ("POST", "/v1/workers", b'{"name": ""}', 422, "name"),
    ("POST", "/v1/workers", b'{"name": "w", "memory": 9223372036854775807}', 200, None),
    ("POST", "/v1/workers", b'{"name": "w", "slots": 5000}', 422, "slots"),
]  # fmt: skip


@pytest.fixture
def counted(server: Server) -> Iterator[None]:
    """That nothing half-done is left: the tables after are those before."""
    query = text("SELECT (SELECT count(*) FROM studies), (SELECT count(*) FROM trials), (SELECT count(*) FROM reports)")
    with server.database.read() as connection:
        before = connection.execute(query).one()
    yield
    with server.database.read() as connection:
        assert connection.execute(query).one() == before


def test_each_gets_a_problem_that_names_the_place(http: httpx.Client, lease: str, counted: None) -> None:
    wrong = []
    for method, path, body, status, place in CASES:
        case = f"{method} {path} {(body or b'')[:80]!r}"
        response = http.request(method, path.format(lease=lease), content=body)
        if response.status_code != status:
            wrong.append(f"{case}: {response.status_code} {response.text[:200]}, not {status}")
            continue
        if status < 400:
            continue
        problem = response.json()
        if response.headers["content-type"] != "application/problem+json" or problem["status"] != status or not problem["code"]:
            wrong.append(f"{case}: {response.text[:200]}")
        places = [item["loc"] for item in problem.get("errors", ())]
        if place is not None and place not in places:
            wrong.append(f"{case}: names {places}, not {place}: {problem['detail'][:200]}")
        if status == 422 and (not places or not all(item["msg"] for item in problem["errors"])):
            wrong.append(f"{case}: names no place: {response.text[:200]}")
        if len(problem["detail"]) > 1500:
            wrong.append(f"{case}: {len(problem['detail'])} characters of detail")
    assert not wrong, "\n".join(wrong)
    assert len(CASES) > 100


@pytest.mark.parametrize(
    "headers, status, code",
    [
        ({"Content-Encoding": "gzip"}, 415, "content_encoding"),
        ({"Content-Encoding": "br"}, 415, "content_encoding"),
        ({"Idempotency-Key": "x" * 300}, 422, "invalid_value"),
        ({"Idempotency-Key": "a b"}, 422, "invalid_value"),
        ({"Host": "evil.example"}, 421, "unknown_host"),
        ({"Host": "127.0.0.1.evil.example"}, 421, "unknown_host"),
        ({"Host": "localhost:8000@evil.example"}, 421, "unknown_host"),
        ({"Host": "10.0.0.1"}, 421, "unknown_host"),
        ({"Host": ""}, 421, "unknown_host"),
        ({"Authorization": "Basic dXNlcjpwYXNz"}, 401, "unauthenticated"),
        ({"Authorization": "Bearer"}, 401, "unauthenticated"),
        ({"Authorization": "Bearer tnr_x"}, 401, "unauthenticated"),
    ],
)
def test_headers(http: httpx.Client, headers: dict[str, str], status: int, code: str) -> None:
    response = http.post("/v1/studies", content=b"{}", headers=headers)
    assert (response.status_code, response.json()["code"]) == (status, code), response.text


def test_known_hosts_are_answered(http: httpx.Client) -> None:
    for host in ("localhost", "LOCALHOST:1234", "127.0.0.1", "[::1]:80", "[::1]"):
        assert http.get("/healthz", headers={"Host": host}).status_code == 200, host


def test_input_is_never_repeated(http: httpx.Client) -> None:
    secret = "hunter2-canary"
    for body in (f'{{"name": {{"{secret}": 1}}}}', f'{{"name": "x", "scope": "{secret}"}}', secret):
        for path in ("/v1/keys", "/v1/workers"):
            answer = http.post(path, content=body.encode())
            assert answer.status_code == 422
            assert secret not in answer.text


def raw(server: Server, request: bytes) -> bytes:
    """The head of the answer to these bytes; empty when the server just closes."""
    with socket.create_connection(("127.0.0.1", server.settings.port), timeout=10) as connection:
        connection.sendall(request)
        return connection.recv(65536)


def test_broken_http_is_refused(server: Server) -> None:
    authorization = f"Authorization: Bearer {server.key}\r\n".encode()
    for request in (
        b"POST /v1/studies HTTP/1.1\r\nHost: localhost\r\n" + authorization + b"Content-Length: -1\r\n\r\n",
        b"POST /v1/studies HTTP/1.1\r\nHost: localhost\r\n" + authorization + b"Content-Length: x\r\n\r\n",
        b"POST /v1/studies HTTP/1.1\r\nHost: localhost\r\n" + authorization + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x00\x01\x02\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
    ):
        answer = raw(server, request)
        assert answer == b"" or answer.split(b" ")[1][:1] == b"4", (request[:100], answer[:100])
    assert raw(server, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").startswith(b"HTTP/1.1 200")


def test_a_large_body_is_refused_before_it_is_read(server: Server) -> None:
    head = f"POST /v1/studies HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {server.key}\r\nContent-Length: 99999999999\r\n\r\n"
    assert raw(server, head.encode()).startswith(b"HTTP/1.1 413")


def test_a_body_of_unknown_length_is_cut_off(http: httpx.Client) -> None:
    answer = http.post("/v1/studies", content=(b'{"name": "' + b"x" * 100_000 for _ in range(15)))
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


def test_without_a_key_the_body_is_not_read(server: Server) -> None:
    answer = raw(server, b"POST /v1/studies HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 401")


@pytest.mark.parametrize(
    "method, path, body, message",
    [
        ("PATCH", "/v1/studies/s", b'{"archive": true}', "archive: unknown key; did you mean archived?"),
        ("PATCH", "/v1/studies/s", b'{"repeat": {"max": 3}}', "repeat: unknown key; there are "),
        ("GET", "/v1/studies/s/best?topp=3", b"", "query.topp: unknown key; did you mean top?"),
        ("POST", "/v1/leases", b'{"resources": {"tpus": 1}}', "resources.tpus: unknown key"),
    ],
)
def test_unknown_keys_are_told_what_there_is(http: httpx.Client, method: str, path: str, body: bytes, message: str) -> None:
    assert http.post("/v1/studies", json=STUDY).status_code == 201
    answer = http.request(method, path, content=body)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(message)
