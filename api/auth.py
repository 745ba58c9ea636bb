"""Who calls, and whether they may: an API key as Bearer, or the dashboard's session cookie; and which scopes reach which routes.

Each route states one of the sets below (`api.routing.Routes` has no default), so a route without a rule cannot be written down.
A cookie is sent by the browser whoever made it call: a request that changes something under one needs the X-CSRF header and this
site's own Origin. Keys are never taken from an address.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.requests import Request

from tuner import keys
from tuner.db.postgres import Database
from tuner.errors import Forbidden, Unauthenticated
from tuner.keys import Caller
from tuner.wire import Scope

Scopes = frozenset[Scope] | None
"""Scopes that may call a route; None: whoever, without a key."""

PUBLIC: Scopes = None
ANY: Scopes = frozenset(Scope)
READ: Scopes = frozenset({Scope.ADMIN, Scope.SUBMITTER, Scope.VIEWER})
SUBMIT: Scopes = frozenset({Scope.ADMIN, Scope.SUBMITTER})
LEASE: Scopes = frozenset({Scope.ADMIN, Scope.WORKER})
HOLD: Scopes = frozenset({Scope.ADMIN, Scope.SUBMITTER, Scope.WORKER})
"""Ask, and write under a lease: workers, and whoever may submit."""
ADMIN: Scopes = frozenset({Scope.ADMIN})

COOKIE = "tuner_session"
SECURE_COOKIE = "__Host-tuner_session"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def check_presented(request: Request) -> None:
    """Unauthenticated when nothing was presented at all: before a byte of the body is read."""
    if "authorization" not in request.headers and get_session_token(request) is None:
        raise Unauthenticated("no API key: send Authorization: Bearer KEY (`tuner key create` makes keys)")


def authenticate(database: Database, request: Request) -> Caller:
    header = request.headers.get("authorization")
    if header is not None:
        scheme, _, secret = header.partition(" ")
        if scheme.lower() != "bearer" or not secret.strip():
            raise Unauthenticated("the Authorization header must read: Bearer KEY")
        return keys.authenticate(database, secret.strip())
    token = get_session_token(request)
    if token is None:
        raise Unauthenticated("no API key: send Authorization: Bearer KEY (`tuner key create` makes keys)")
    if request.method not in _SAFE:
        if request.headers.get("x-csrf") != "1":
            raise Forbidden("a request under a session cookie that changes something needs the header X-CSRF: 1")
        check_origin(request.headers, required=True)
    return keys.authenticate_session(database, token)


def check_scope(caller: Caller, scopes: frozenset[Scope]) -> None:
    if caller.scope not in scopes:
        allowed = ", ".join(scope for scope in Scope if scope in scopes)
        raise Forbidden(f"a key of scope {caller.scope} may not do this; it takes {allowed}")


def check_origin(headers: Mapping[str, str], *, required: bool) -> None:
    """Forbidden unless the page that sent this is one of ours. Only host and port count: a proxy may have ended TLS."""
    origin = headers.get("origin")
    if origin is None and not required:
        return
    if origin is None or urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
        raise Forbidden("this request was not sent by a page of this server (Origin)")


def get_session_token(request: Request) -> str | None:
    return request.cookies.get(SECURE_COOKIE) or request.cookies.get(COOKIE)
