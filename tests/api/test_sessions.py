"""A browser's session: how its cookie is set, what a request under it must carry to change anything, how it ends; headers of every answer."""

from __future__ import annotations

import re

import httpx
import pytest
from sqlalchemy import text

from api import auth
from tests.api.conftest import Server
from tests.api.test_access import TABLE, address
from tests.api.test_contract import STUDY
from tuner import keys
from tuner.wire import Scope

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
"""Written out here rather than read from the code it checks."""
MUTATIONS = [route for route in TABLE if not route.startswith("GET ") and route != "POST /v1/sessions"]


def log_in(http: httpx.Client, key: str) -> None:
    assert http.post("/v1/sessions", json={"key": key}).status_code == 204


def test_a_browser_session(server: Server) -> None:
    with server.http() as admin:
        code = admin.post("/v1/sessions/codes").json()["code"]
    origin = {"Origin": server.url}
    with server.http("") as browser:
        assert browser.get("/v1/me").status_code == 401
        assert browser.post("/v1/sessions", json={"code": code}, headers={"Origin": "http://evil.example"}).status_code == 403
        opened = browser.post("/v1/sessions", json={"code": code}, headers=origin)
        assert opened.status_code == 204, opened.text
        cookie = opened.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert "secure" not in cookie
        assert browser.get("/v1/me").json()["scope"] == "admin"
        # What changes something needs both the header and the origin.
        for headers, expected in (
            ({}, 403),
            (origin, 403),
            ({"X-CSRF": "1"}, 403),
            ({"X-CSRF": "1", "Origin": "http://evil.example"}, 403),
            ({"X-CSRF": "1", "Origin": "null"}, 403),
            ({"X-CSRF": "1", "Origin": server.url + ".evil.example"}, 403),
            ({"X-CSRF": "1", **origin}, 201),
        ):
            assert browser.post("/v1/studies", json=STUDY, headers=headers).status_code == expected, headers
        for method, path in (("DELETE", "/v1/studies/s"), ("PATCH", "/v1/studies/s"), ("PUT", "/v1/leases/x/checkpoints/0")):
            assert (
                browser.request(method, path, content=b"{}", headers={"Origin": "http://evil.example", "X-CSRF": "1"}).status_code
                == 403
            )
        assert browser.delete("/v1/sessions", headers={"X-CSRF": "1", **origin}).status_code == 204
    with server.http("") as again:
        assert again.post("/v1/sessions", json={"code": code}).status_code == 401
        assert again.post("/v1/sessions", json={"key": server.key}).status_code == 204
        assert again.get("/v1/studies").status_code == 200


def test_a_revoked_key_ends_its_session(server: Server) -> None:
    key = server.make_key(Scope.VIEWER)
    with server.http("") as browser, server.http() as admin:
        assert browser.post("/v1/sessions", json={"key": key}).status_code == 204
        assert browser.get("/v1/me").status_code == 200
        assert admin.delete(f"/v1/keys/{key.split('_')[1]}").status_code == 200
        assert browser.get("/v1/me").status_code == 401
    with server.http(key) as gone:
        assert gone.get("/v1/me").status_code == 401


def test_security_headers_are_on_every_answer(server: Server) -> None:
    with server.http("") as http:
        for path in ("/", "/healthz", "/v1/studies", "/nothing", "/docs"):
            headers = http.get(path).headers
            assert {name: headers.get_list(name) for name in HEADERS} == {name: [value] for name, value in HEADERS.items()}, path
            assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("forwarded", ["http", "https"])
def test_the_cookie_is_for_this_site_and_no_script(server: Server, forwarded: str) -> None:
    with server.http("") as browser:
        answer = browser.post("/v1/sessions", json={"key": server.key}, headers={"X-Forwarded-Proto": forwarded})
    (cookie,) = answer.headers.get_list("set-cookie")
    name, *attributes = (part.strip() for part in cookie.split(";"))
    given = {attribute.partition("=")[0].lower(): attribute.partition("=")[2] for attribute in attributes}
    assert name.partition("=")[0] == (auth.SECURE_COOKIE if forwarded == "https" else auth.COOKIE)
    assert ("secure" in given) == (forwarded == "https")
    assert given["path"] == "/"
    assert given["samesite"].lower() == "strict"
    assert "httponly" in given
    assert "domain" not in given
    assert 0 < int(given["max-age"]) <= keys.SESSION_LIFETIME.total_seconds()
    assert server.key not in cookie
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("route", MUTATIONS)
def test_nothing_is_changed_from_another_site(server: Server, route: str) -> None:
    """Under a session's cookie every route that is no GET, whatever its method, needs the header and this site's Origin."""
    with server.http("") as browser:
        log_in(browser, server.key)
        method, path = address(route, 1, 1)
        own, foreign = {"Origin": server.url}, {"Origin": "http://evil.example"}
        marked = {"X-CSRF": "1"}
        override = {**own, "X-HTTP-Method-Override": "GET"}
        for headers in (
            {},
            own,
            marked,
            foreign,
            {**marked, **foreign},
            {**marked, "Origin": "null"},
            {**own, "X-CSRF": "0"},
            override,
        ):
            answer = browser.request(method, path, content=b"{}", headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), headers
        assert browser.get("/v1/me").status_code == 200  # nor was it logged out


def test_a_closed_session_is_closed_for_who_kept_the_cookie(server: Server) -> None:
    with server.http("") as browser, server.http("") as thief:
        log_in(browser, server.key)
        stolen = browser.cookies[auth.COOKIE]
        thief.cookies.set(auth.COOKIE, stolen)
        assert thief.get("/v1/me").status_code == 200
        answer = browser.delete("/v1/sessions", headers={"X-CSRF": "1", "Origin": server.url})
        assert answer.status_code == 204
        assert all(re.search(r'=""; .*Max-Age=0', cookie) for cookie in answer.headers.get_list("set-cookie"))
        assert thief.get("/v1/me").status_code == 401
        assert browser.get("/v1/me").status_code == 401


@pytest.mark.parametrize(("ended", "status"), [(None, 200), ("sessions", 401), ("api_keys", 401)])
def test_a_session_ends_with_its_time_and_with_its_keys(server: Server, ended: str | None, status: int) -> None:
    key = server.make_key(Scope.VIEWER, expires_in=3600)
    with server.http("") as browser:
        log_in(browser, key)
        if ended:
            which = "key_id = :id" if ended == "sessions" else "id = :id"
            statement = f"UPDATE {ended} SET expires_at = clock_timestamp() - interval '1 second' WHERE {which}"
            with server.database.begin() as connection:
                assert connection.execute(text(statement), {"id": key.split("_")[1]}).rowcount == 1
        assert browser.get("/v1/me").status_code == status


def test_keys_are_not_taken_from_addresses(server: Server) -> None:
    with server.http("") as http:
        for name in ("key", "api_key", "token", "access_token", "authorization", "code"):
            assert http.get("/v1/me", params={name: server.key}).status_code == 401, name
