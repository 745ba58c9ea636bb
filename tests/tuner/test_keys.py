"""Keys open what they should until they are revoked or expire; codes open one session; no secret is stored."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from tuner import keys
from tuner.db.postgres import Database
from tuner.errors import KeyNotFound, Unauthenticated
from tuner.wire import CreatedKey, KeyCreate, Scope


@pytest.fixture
def key(database: Database) -> CreatedKey:
    keys._cache.clear()
    return keys.create(database, KeyCreate(name="me", scope=Scope.ADMIN))


def test_a_key_says_who_calls(database: Database, key: CreatedKey) -> None:
    caller = keys.authenticate(database, key.key)
    assert (caller.key_id, caller.name, caller.scope, caller.project) == (key.id, "me", Scope.ADMIN, "default")
    assert keys.list_(database)[0].last_used_at is not None


def test_the_secret_is_not_stored(database: Database, key: CreatedKey) -> None:
    with database.read() as connection:
        stored = str(connection.execute(text("SELECT api_keys::text FROM api_keys")).scalars().all())
    assert key.key.rpartition("_")[2] not in stored


@pytest.mark.parametrize(
    "mangle", ["", "x", "tnr_{id}_" + "A" * 43, "tnr_" + "A" * 12 + "_{secret}", "{key}x", " {key}", "\x00", "ключ"]
)
def test_wrong_keys_are_refused(database: Database, key: CreatedKey, mangle: str) -> None:
    with pytest.raises(Unauthenticated):
        keys.authenticate(database, mangle.format(id=key.id, secret=key.key[17:], key=key.key))


def test_revoked_and_expired_keys_are_refused(database: Database, key: CreatedKey) -> None:
    keys.authenticate(database, key.key)
    keys.revoke(database, key.id)
    with pytest.raises(Unauthenticated, match="revoked"):
        keys.authenticate(database, key.key)
    with pytest.raises(KeyNotFound):
        keys.revoke(database, "unknown")
    brief = keys.create(database, KeyCreate(name="brief", scope=Scope.VIEWER, expires_in=60))
    with database.begin() as connection:
        connection.execute(text("UPDATE api_keys SET expires_at = clock_timestamp() - interval '1 second'"))
    with pytest.raises(Unauthenticated, match="expired"):
        keys.authenticate(database, brief.key)
    assert keys.count_valid(database) == 0


def test_a_code_opens_one_session(database: Database, key: CreatedKey) -> None:
    code = keys.create_login_code(database, key.id)
    token = keys.open_session(database, code)
    assert keys.authenticate_session(database, token).key_id == key.id
    with pytest.raises(Unauthenticated):
        keys.open_session(database, code)
    with pytest.raises(Unauthenticated):  # a code is no session, a session no code
        keys.authenticate_session(database, code)
    keys.close_session(database, token)
    with pytest.raises(Unauthenticated):
        keys.authenticate_session(database, token)


def test_sessions_die_with_their_key(database: Database, key: CreatedKey) -> None:
    token = keys.open_session_with_key(database, key.key)
    keys.authenticate_session(database, token)
    keys.revoke(database, key.id)
    with pytest.raises(Unauthenticated):
        keys.authenticate_session(database, token)


def test_old_codes_are_refused(database: Database, key: CreatedKey) -> None:
    code = keys.create_login_code(database, key.id)
    with database.begin() as connection:
        connection.execute(text("UPDATE sessions SET expires_at = clock_timestamp() - interval '1 second'"))
    with pytest.raises(Unauthenticated):
        keys.open_session(database, code)
