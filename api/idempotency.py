"""Idempotency-Key: the answer to a POST is kept for a day and given again to its repetition.

Keys belong to the API key that sent them. Another request under the same key is a conflict, and so is a repetition while the first
runs. Only answers that did something are kept: after an error the key is free again. Requests on leases do without: leases, reports and
tells repeat safely by themselves (`tuner.leases`), and two more transactions each would cost more than they do.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Any

from sqlalchemy import Row, text
from starlette.requests import Request
from starlette.responses import Response

from tuner.db.postgres import Database
from tuner.errors import FieldError, IdempotencyConflict, InvalidValue
from tuner.keys import Caller


def get_key(request: Request) -> str | None:
    """The request's Idempotency-Key; InvalidValue for one that could not be stored."""
    key = request.headers.get("idempotency-key")
    if key is not None and not re.fullmatch(r"[\x21-\x7e]{1,200}", key):
        raise InvalidValue(errors=[FieldError("Idempotency-Key", "must be 1 to 200 printable ASCII characters without blanks")])
    return key


def replay_or_run(
    database: Database, caller: Caller, request: Request, key: str, body: bytes, run: Callable[[], Response], *, keep: bool
) -> Response:
    """Run once a key. With `keep` False the answer holds a secret: a repetition is refused instead of answered."""
    digest = hashlib.sha256(b"\0".join([request.method.encode(), request.url.path.encode(), body])).digest()
    place = {"project": caller.project, "key": f"{caller.key_id} {key}"}
    with database.begin() as connection:
        begun = connection.execute(_BEGIN, place | {"digest": digest}).one_or_none() is not None
        kept = None if begun else connection.execute(_KEPT, place).one_or_none()
    if not begun:
        return _replay(kept, digest)
    try:
        response = run()
    except BaseException:
        with database.begin() as connection:
            connection.execute(_FORGET, place)
        raise
    with database.begin() as connection:
        connection.execute(_FINISH, place | {"status": response.status_code, "response": bytes(response.body) if keep else None})
    return response


def _replay(kept: Row[Any] | None, digest: bytes) -> Response:
    if kept is None or (kept.status is None and kept.body_hash == digest):
        raise IdempotencyConflict("the first request with this Idempotency-Key is still running; ask again shortly")
    if kept.body_hash != digest:
        raise IdempotencyConflict("this Idempotency-Key came before with another request; use a new one")
    if kept.response is None:
        raise IdempotencyConflict("this request has been answered before, and its answer held a secret that was not kept")
    return Response(kept.response or None, kept.status, {"Idempotent-Replay": "true"}, "application/json")


# A first request that has shown no result for a while died with its server: the repetition takes its place.
_BEGIN = text(
    """
    INSERT INTO idempotency AS i (project, key, body_hash) VALUES (:project, :key, :digest)
    ON CONFLICT (project, key) DO UPDATE SET created_at = clock_timestamp()
        WHERE i.status IS NULL AND i.body_hash = excluded.body_hash AND i.created_at < clock_timestamp() - interval '20 seconds'
    RETURNING key
    """
)
_KEPT = text("SELECT body_hash, status, response FROM idempotency WHERE project = :project AND key = :key")
_FORGET = text("DELETE FROM idempotency WHERE project = :project AND key = :key")
_FINISH = text("UPDATE idempotency SET status = :status, response = :response WHERE project = :project AND key = :key")
