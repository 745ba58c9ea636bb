"""API keys and browser sessions: who calls, and what they may do.

A key is `tnr_<id>_<secret>`; the secret has 256 random bits, so its SHA-256 is stored and no slow hash is needed. A one-time login code
opens a browser session that acts as the key it was made for, and dies with it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from datetime import timedelta
from threading import Lock
from time import monotonic
from typing import Any

from sqlalchemy import Row, func, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from tuner import events
from tuner.db.postgres import Database
from tuner.db.tables import api_keys, projects, sessions
from tuner.errors import KeyNotFound, Unauthenticated
from tuner.wire import CreatedKey, Key, KeyCreate, Project, Scope

CODE_LIFETIME = timedelta(minutes=15)
SESSION_LIFETIME = timedelta(days=7)
CACHE_SECONDS = 2.0
"""How long a key that was found valid is not looked up again: the time a revocation takes to reach every replica."""

_PROJECTS = text(
    """
    SELECT p.name, p.created_at, (SELECT count(*) FROM studies s WHERE s.project = p.name) AS studies,
        (SELECT count(*) FROM api_keys k WHERE k.project = p.name AND k.revoked_at IS NULL
            AND coalesce(k.expires_at > clock_timestamp(), true)) AS keys
    FROM projects p WHERE CAST(:project AS text) IS NULL OR p.name = :project ORDER BY p.name
    """
)

_PATTERN = re.compile(r"^tnr_([0-9A-Za-z]{12})_([0-9A-Za-z_-]{43})$")
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Whoever made a request, as its key says."""

    key_id: str
    name: str
    scope: Scope
    project: str


class _Cache:
    """Valid credentials of the last CACHE_SECONDS, at most `size` of them."""

    def __init__(self, size: int = 4096) -> None:
        self._size = size
        self._entries: OrderedDict[bytes, tuple[float, Caller]] = OrderedDict()
        self._lock = Lock()

    def get(self, digest: bytes) -> Caller | None:
        with self._lock:
            entry = self._entries.get(digest)
            return entry[1] if entry is not None and entry[0] > monotonic() else None

    def put(self, digest: bytes, caller: Caller) -> None:
        with self._lock:
            self._entries[digest] = (monotonic() + CACHE_SECONDS, caller)
            self._entries.move_to_end(digest)
            while len(self._entries) > self._size:
                self._entries.popitem(last=False)

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()


_cache = _Cache()


def create(database: Database, body: KeyCreate, by: str | None = None) -> CreatedKey:
    """Make a key, and its project where that is new. The secret is in the answer and nowhere else. `by` stands in the log."""
    key_id = "".join(secrets.choice(_ALPHABET) for _ in range(12))
    secret = secrets.token_urlsafe(32)
    expires = None if body.expires_in is None else func.clock_timestamp() + timedelta(seconds=body.expires_in)
    with database.begin() as connection:
        connection.execute(upsert(projects).values(name=body.project).on_conflict_do_nothing())
        row = connection.execute(
            insert(api_keys)
            .values(
                id=key_id, project=body.project, name=body.name, scope=body.scope, secret_hash=_hash(secret), expires_at=expires
            )
            .returning(api_keys)
        ).one()
        events.record(connection, body.project, None, "key_created", key=body.name, scope=body.scope, by=by)
    return CreatedKey(**_key(row).model_dump(), key=f"tnr_{key_id}_{secret}")


def authenticate(database: Database, presented: str) -> Caller:
    """The caller behind a key; Unauthenticated for an unknown, wrong, expired or revoked one."""
    digest = _hash(presented)
    cached = _cache.get(digest)
    if cached is not None:
        return cached
    match = _PATTERN.match(presented)
    if match is None:
        raise Unauthenticated("the API key is not of the form tnr_<id>_<secret>")
    with database.read() as connection:
        row = connection.execute(
            select(api_keys, (api_keys.c.expires_at <= func.clock_timestamp()).label("expired")).where(api_keys.c.id == match[1])
        ).one_or_none()
        if row is None or not hmac.compare_digest(row.secret_hash, _hash(match[2])):
            raise Unauthenticated("the API key is not known")
        if row.revoked_at is not None:
            raise Unauthenticated(f"the API key {row.name!r} has been revoked")
        if row.expired:
            raise Unauthenticated(f"the API key {row.name!r} has expired")
        connection.execute(
            update(api_keys)
            .where(
                api_keys.c.id == row.id,
                api_keys.c.last_used_at.is_distinct_from(func.date_trunc("minute", func.clock_timestamp())),
            )
            .values(last_used_at=func.date_trunc("minute", func.clock_timestamp()))
        )
    caller = _caller(row)
    _cache.put(digest, caller)
    return caller


def list_(database: Database, project: str | None = None) -> list[Key]:
    query = select(api_keys).order_by(api_keys.c.created_at)
    if project is not None:
        query = query.where(api_keys.c.project == project)
    with database.read() as connection:
        return [_key(row) for row in connection.execute(query)]


def list_projects(database: Database, project: str | None = None) -> list[Project]:
    """All projects by name, or the one given, with what is in each."""
    query = _PROJECTS.bindparams(project=project)
    with database.read() as connection:
        return [Project.model_validate(dict(row)) for row in connection.execute(query).mappings()]


def count_valid(database: Database) -> int:
    """How many keys would be accepted now."""
    query = select(func.count()).where(
        api_keys.c.revoked_at.is_(None), func.coalesce(api_keys.c.expires_at > func.clock_timestamp(), text("true"))
    )
    with database.read() as connection:
        return int(connection.execute(query).scalar_one())


def revoke(database: Database, key_id: str, project: str | None = None, by: str | None = None) -> Key:
    """Revoke a key and its sessions. Revoking again changes nothing."""
    query = select(api_keys).where(api_keys.c.id == key_id).with_for_update()
    if project is not None:
        query = query.where(api_keys.c.project == project)
    with database.begin() as connection:
        row = connection.execute(query).one_or_none()
        if row is None:
            raise KeyNotFound(f"no API key has the id {key_id!r}")
        if row.revoked_at is None:
            now = update(api_keys).where(api_keys.c.id == key_id).values(revoked_at=func.clock_timestamp())
            row = connection.execute(now.returning(api_keys)).one()
            connection.execute(sessions.delete().where(sessions.c.key_id == key_id))
            events.record(connection, row.project, None, "key_revoked", key=row.name, by=by)
    _cache.clear()
    return _key(row)


def create_login_code(database: Database, key_id: str) -> str:
    """A code that opens one browser session for this key within CODE_LIFETIME."""
    return _create_session(database, key_id, "code", CODE_LIFETIME)


def open_session(database: Database, code: str) -> str:
    """Trade a login code for a session token; Unauthenticated for one that is unknown, used or too old."""
    with database.begin() as connection:
        row = connection.execute(
            sessions.delete()
            .where(sessions.c.token_hash == _hash(code), sessions.c.kind == "code")
            .returning(sessions.c.key_id, (sessions.c.expires_at > func.clock_timestamp()).label("valid"))
        ).one_or_none()
    if row is None or not row.valid:
        raise Unauthenticated("the login code is not known, already used, or too old; make a new one or log in with an API key")
    return _create_session(database, row.key_id, "session", SESSION_LIFETIME)


def open_session_with_key(database: Database, presented: str) -> str:
    caller = authenticate(database, presented)
    return _create_session(database, caller.key_id, "session", SESSION_LIFETIME)


def authenticate_session(database: Database, token: str) -> Caller:
    """The caller behind a session token; Unauthenticated once the session or its key has ended."""
    digest = _hash("session:" + token)
    cached = _cache.get(digest)
    if cached is not None:
        return cached
    query = (
        select(api_keys)
        .join(sessions, sessions.c.key_id == api_keys.c.id)
        .where(
            sessions.c.token_hash == _hash(token),
            sessions.c.kind == "session",
            sessions.c.expires_at > func.clock_timestamp(),
            api_keys.c.revoked_at.is_(None),
            func.coalesce(api_keys.c.expires_at > func.clock_timestamp(), text("true")),
        )
    )
    with database.read() as connection:
        row = connection.execute(query).one_or_none()
    if row is None:
        raise Unauthenticated("the session has ended; log in again")
    caller = _caller(row)
    _cache.put(digest, caller)
    return caller


def close_session(database: Database, token: str) -> None:
    with database.begin() as connection:
        connection.execute(sessions.delete().where(sessions.c.token_hash == _hash(token)))
    _cache.clear()


def _create_session(database: Database, key_id: str, kind: str, lifetime: timedelta) -> str:
    token = secrets.token_urlsafe(32)
    with database.begin() as connection:
        connection.execute(
            insert(sessions).values(
                token_hash=_hash(token), kind=kind, key_id=key_id, expires_at=func.clock_timestamp() + lifetime
            )
        )
    return token


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _caller(row: Row[Any]) -> Caller:
    return Caller(key_id=row.id, name=row.name, scope=Scope(row.scope), project=row.project)


def _key(row: Row[Any]) -> Key:
    fields = ("id", "name", "scope", "project", "created_at", "expires_at", "revoked_at", "last_used_at")
    return Key.model_validate({name: getattr(row, name) for name in fields})
