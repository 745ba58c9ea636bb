"""Who may call what: every route against every kind of caller, from a table that lists all routes."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

import httpx
import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from api import app as app_module
from api.routing import Routes
from tests.api.conftest import Server
from tests.api.test_contract import STUDY
from tuner import keys
from tuner.db.postgres import Database
from tuner.settings import Settings
from tuner.wire import Scope

A, S, W, V = Scope.ADMIN, Scope.SUBMITTER, Scope.WORKER, Scope.VIEWER
READ, SUBMIT, LEASE, HOLD = {A, S, V}, {A, S}, {A, W}, {A, S, W}

# Every route and who may call it; None: anybody. Written out here rather than read from the code it checks.
TABLE: dict[str, set[Scope] | None] = {
    "GET /v1/strategies": {A, S, W, V},
    "POST /v1/specs/check": SUBMIT,
    "POST /v1/studies": SUBMIT,
    "GET /v1/studies": READ,
    "GET /v1/progress": READ,
    "GET /v1/studies/{study}": READ,
    "PATCH /v1/studies/{study}": SUBMIT,
    "DELETE /v1/studies/{study}": SUBMIT,
    "POST /v1/studies/{study}/pause": SUBMIT,
    "POST /v1/studies/{study}/resume": SUBMIT,
    "POST /v1/studies/{study}/stop": SUBMIT,
    "POST /v1/studies/{study}/cancel": SUBMIT,
    "GET /v1/studies/{study}/best": READ,
    "GET /v1/studies/{study}/pareto": READ,
    "GET /v1/studies/{study}/importance": READ,
    "GET /v1/studies/{study}/compare": READ,
    "GET /v1/studies/{study}/advice": READ,
    "GET /v1/compare": READ,
    "GET /v1/studies/{study}/columns": READ,
    "GET /v1/studies/{study}/cells": READ,
    "GET /v1/studies/{study}/cells/names": READ,
    "GET /v1/studies/{study}/usage": READ,
    "GET /v1/studies/{study}/curves": READ,
    "GET /v1/studies/{study}/numbers": READ,
    "GET /v1/studies/{study}/export": READ,
    "GET /v1/studies/{study}/trials": READ,
    "POST /v1/studies/{study}/trials": SUBMIT,
    "GET /v1/studies/{study}/trials/{number}": READ,
    "POST /v1/studies/{study}/ask": HOLD,
    "GET /v1/trials/{trial}": READ,
    "PATCH /v1/trials/{trial}": SUBMIT,
    "GET /v1/trials/{trial}/reports": READ,
    "GET /v1/trials/{trial}/attempts": READ,
    "GET /v1/trials/{trial}/logs": READ,
    "GET /v1/trials/{trial}/checkpoints": READ,
    "GET /v1/trials/{trial}/checkpoints/latest": {A, S, W, V},
    "GET /v1/trials/{trial}/checkpoints/best": {A, S, W, V},
    "GET /v1/trials/{trial}/checkpoints/{step}": {A, S, W, V},
    "POST /v1/trials/{trial}/cancel": SUBMIT,
    "POST /v1/trials/{trial}/retry": SUBMIT,
    "POST /v1/leases": LEASE,
    "POST /v1/leases/{lease}/reports": HOLD,
    "POST /v1/leases/{lease}/renew": HOLD,
    "POST /v1/leases/{lease}/tell": HOLD,
    "POST /v1/leases/{lease}/logs": HOLD,
    "PUT /v1/leases/{lease}/checkpoints/{step}": HOLD,
    "PUT /v1/bundles/{sha256}": SUBMIT,
    "GET /v1/bundles/{sha256}": HOLD,
    "POST /v1/workers": LEASE,
    "GET /v1/server": {A, S, W, V},
    "GET /v1/projects": {A},
    "GET /v1/workers": READ,
    "GET /v1/workers/lanes": READ,
    "GET /v1/workers/{worker}": READ,
    "GET /v1/events": READ,
    "GET /v1/log": READ,
    "POST /v1/keys": {A},
    "GET /v1/keys": {A},
    "DELETE /v1/keys/{key_id}": {A},
    "GET /v1/me": {A, S, W, V},
    "GET /v1/catalog": {A, S, W, V},
    "POST /v1/sessions/codes": {A, S, W, V},
    "POST /v1/sessions": None,
    "DELETE /v1/sessions": {A, S, W, V},
    "GET /healthz": None,
    "GET /readyz": None,
    "GET /metrics": None,
    "GET /openapi.json": None,
    "GET /docs": None,
    "GET /docs.css": None,
    # the dashboard's shell and files: public, without data
    "GET /": None,
    "GET /login": None,
    "GET /compare": None,
    "GET /new": None,
    "GET /admin": None,
    "GET /workers": None,
    "GET /studies": None,
    "GET /studies/{study}": None,
    "GET /studies/{study}/trials/{number}": None,
    "GET /static/{digest}/{name:path}": None,
}


BUNDLE = sha256(b"code").hexdigest()


def routed(app: FastAPI) -> set[str]:
    """All that the application routes, the included routers too."""
    found = set()
    for route in [*app.router.routes, *app_module.pages.router.routes]:
        assert not isinstance(route, Mount)
        if isinstance(route, Route):
            found |= {f"{method} {route.path}" for method in (route.methods or ()) if method != "HEAD"}
    return found


@pytest.fixture
def app(database: Database, settings: Settings) -> FastAPI:
    return app_module.create_app(database, settings)


@pytest.fixture
def settings(database: Database) -> Settings:
    return Settings(database_url=database.url)


def test_the_table_lists_every_route(app: FastAPI) -> None:
    assert routed(app) == set(TABLE)


def test_an_unguarded_route_is_refused(app: FastAPI) -> None:
    async def open_door(_: Request) -> Response:
        return Response("come in")

    with pytest.raises(RuntimeError, match="/v1/open"):
        app_module.check_guarded([*app.router.routes[:5], Route("/v1/open", open_door)])
    with pytest.raises(TypeError, match="scopes"):
        Routes("doors").route("GET", "/v1/open", answer=None)  # type: ignore[call-arg]


def address(route: str, study: int, trial: int) -> tuple[str, str]:
    method, _, path = route.partition(" ")
    for name, value in {
        "study": study, "trial": trial, "number": 0, "lease": "00000000-0000-0000-0000-000000000000", "step": 0, "worker": 1,
        "key_id": "none", "digest": "x", "sha256": BUNDLE, "name:path": "app.js",
    }.items():  # fmt: skip
        path = path.replace("{" + name + "}", str(value))
    return method, path + ("?kind=fact&name=worker" if path.endswith("/cells") else "")


def status(http: httpx.Client, method: str, path: str) -> int:
    if path.startswith("/v1/events"):
        with http.stream(method, path) as response:
            return response.status_code
    return http.request(method, path, content=b"{}" if method in ("POST", "PATCH") else None).status_code


def test_every_route_with_every_caller(server: Server) -> None:
    """No key, garbage, revoked, expired: 401. A scope that may not: 403. One that may: neither. Another project: never its data."""
    with server.http() as admin:
        study = admin.post("/v1/studies", json=STUDY).json()["id"]
        trial = admin.post(f"/v1/studies/{study}/trials", json={"params": {"x": 0.5}}).json()["id"]
    revoked = server.make_key(A)
    keys.revoke(server.database, revoked.split("_")[1])
    expired = server.make_key(A, expires_in=0.001)
    strangers = {
        "none": "",
        "garbage": "garbage",
        "unknown": "tnr_" + "0" * 12 + "_" + "A" * 43,
        "revoked": revoked,
        "expired": expired,
    }
    wrong = []
    num_checked = 0

    def check(route: str, who: str, http: httpx.Client, expected: Callable[[int], bool]) -> None:
        nonlocal num_checked
        got = status(http, *address(route, study, trial))
        num_checked += 1
        if got >= 500 or not expected(got):
            wrong.append(f"{route} as {who}: {got}")

    for who, key in strangers.items():
        with server.http(key) as http:
            for route, allowed in TABLE.items():
                check(route, who, http, (lambda got: got not in (403, 405)) if allowed is None else (lambda got: got == 401))
    # What deletes and cancels comes last, so that the others find what they ask for.
    ordered = sorted(TABLE, key=lambda route: ("DELETE" in route, "cancel" in route, "stop" in route))
    for scope in (V, W, S, A):
        with server.http(server.make_key(scope)) as http:
            for route in ordered:
                allowed = TABLE[route]
                if allowed is None or (route == "DELETE /v1/studies/{study}" and scope != A):
                    continue
                check(route, scope, http, (lambda got: got not in (401, 403)) if scope in allowed else (lambda got: got == 403))
    assert not wrong, "\n".join(wrong)
    assert num_checked > 400


def test_another_project_sees_nothing(server: Server) -> None:
    with server.http() as admin:
        study = admin.post("/v1/studies", json=STUDY).json()["id"]
        trial = admin.post(f"/v1/studies/{study}/trials", json={"params": {"x": 0.5}}).json()["id"]
        lease = admin.post(f"/v1/studies/{study}/ask", json={"wait": 0}).json()["leases"][0]["id"]
        worker = admin.post("/v1/workers", json={"name": "w"}).json()["id"]
        assert admin.put(f"/v1/bundles/{BUNDLE}", content=b"code").status_code == 200
        mine = server.key.split("_")[1]
        with server.http(server.make_key(A, "other")) as other:
            for route, allowed in TABLE.items():
                method, path = address(route, study, trial)
                if allowed is None or "{" not in route or route == "PUT /v1/bundles/{sha256}":
                    continue  # the last stores what is the other's own
                path = (
                    path.replace("00000000-0000-0000-0000-000000000000", lease)
                    .replace("workers/1", f"workers/{worker}")
                    .replace("none", mine)
                )
                body = {"reports": [{"step": 0, "values": {"score": 1.0}}]} if path.endswith("reports") else {}
                body = {"state": "FAIL"} if path.endswith("tell") else body
                body = {"lines": [{"text": "x"}]} if path.endswith("logs") else body
                body = {"params": {"x": 0.1}} if route == "POST /v1/studies/{study}/trials" else body
                headers = {"X-Content-SHA256": "0" * 64}
                answer = other.request(method, path, json=body if method in ("POST", "PATCH") else None, headers=headers)
                assert answer.status_code in (404, 409), f"{route}: {answer.status_code} {answer.text}"
                assert answer.status_code == 404 or answer.json()["code"] == "lease_lost", route
            assert other.get("/v1/studies").json()["items"] == []
            assert other.get("/v1/workers").json()["items"] == []
            assert other.get("/v1/events", params={"study": "s"}).status_code == 404
            assert other.post("/v1/leases", json={"studies": [study]}).status_code == 204
            assert {key["project"] for key in other.get("/v1/keys").json()["items"]} == {"other"}
            assert other.post("/v1/keys", json={"name": "k", "scope": "admin", "project": "default"}).status_code == 403
            assert other.post("/v1/studies", json=STUDY).status_code == 201  # names are a project's own
        assert admin.get(f"/v1/trials/{trial}").json()["state"] == "RUNNING"
        assert admin.get(f"/v1/studies/{study}").json()["counts"]["running"] == 1
