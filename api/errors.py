"""From exceptions to RFC 9457 problem+json: one table of statuses, and answers that never repeat what the caller sent.

Echoing input is how a NaN in a body becomes a 500 and a secret a log line; so only places and our own sentences go out.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from pydantic import BaseModel, ValidationError
from sqlalchemy.exc import DataError
from starlette.requests import Request
from starlette.responses import Response

from tuner import errors
from tuner.errors import FieldError, InvalidValue, TunerError
from tuner.parameters import near

STATUSES: dict[type[TunerError], int] = {
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.Invalid: 422,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.Denied: 403,
    errors.StorageFull: 507,
    errors.Unavailable: 503,
}
MAX_FIELD_ERRORS = 20
_UNION_TAGS = frozenset({"none", "bool", "int", "float", "str", "LeaseRequest", "AskRequest", "constrained-str"})
_log = logging.getLogger(__name__)


class HttpProblem(Exception):
    """What only HTTP knows: a body too large, a foreign Host, a method that a path has not."""

    def __init__(self, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})


def get_status(error: TunerError) -> int:
    for cls in type(error).__mro__:
        if cls in STATUSES:
            return STATUSES[cls]
    return 500


def problem(
    status: int, code: str, detail: str, fields: Sequence[FieldError] = (), headers: Mapping[str, str] | None = None
) -> Response:
    body: dict[str, Any] = {"type": "about:blank", "title": _title(status), "status": status, "detail": detail, "code": code}
    if fields:
        body["errors"] = [{"loc": field.loc, "msg": field.msg} for field in fields[:MAX_FIELD_ERRORS]]
    return Response(_dump(body), status, headers, "application/problem+json")


def respond(error: Exception) -> Response:
    """The answer to any exception. One that nobody foresaw is logged, and its text stays here."""
    if isinstance(error, TunerError):
        status = get_status(error)
        headers = {}
        if status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        if status == 503:
            headers["Retry-After"] = "1"
        return problem(status, error.code, error.message, error.errors, headers)
    if isinstance(error, HttpProblem):
        return problem(error.status, error.code, error.detail, headers=error.headers)
    if isinstance(error, DataError):
        # A number that passed our checks and no column holds.
        _log.warning("refused by the database: %s", error.orig)
        return problem(422, "invalid_value", "a value lies outside of what can be stored", [FieldError("", "is out of range")])
    _log.error("unforeseen error", exc_info=error)
    return problem(500, "internal_error", "the server met an error of its own; its log says more")


def invalid(error: ValidationError, model: type[BaseModel], prefix: str = "") -> InvalidValue:
    """Pydantic's findings on a body or a query of this model as ours: place and sentence, one a place."""
    found: dict[str, list[str]] = {}
    for item in error.errors(include_url=False, include_context=False, include_input=False):
        place = [str(part) for part in item["loc"]]
        tagged = False
        while len(place) > 1 and (place[-1] in _UNION_TAGS or "[" in place[-1]):
            place.pop()
            tagged = True
        sentence = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            sentence = f"unknown key; {near(place[0][:200], model.model_fields)}" if len(place) == 1 else "unknown key"
        own = item["type"] == "value_error"
        found.setdefault(".".join(filter(None, [prefix, *place])), []).append(sentence if own or not tagged else "")
    return InvalidValue(errors=[FieldError(place, _sentence(sentences)) for place, sentences in found.items()])


def _sentence(sentences: Iterable[str]) -> str:
    own = [sentence for sentence in sentences if sentence]
    return own[0][:1].lower() + own[0][1:] if own else "is of a type that is not allowed here"


async def on_http_exception(_: Request, error: Exception) -> Response:
    """Starlette's own: no such path, no such method."""
    status = int(getattr(error, "status_code", 500))
    code = {404: "not_found", 405: "method_not_allowed"}.get(status, "http_error")
    detail = {404: "there is nothing at this path", 405: "this path does not have this method"}.get(status, _title(status))
    return problem(status, code, detail, headers=getattr(error, "headers", None))


async def on_exception(_: Request, error: Exception) -> Response:
    return respond(error)


def _title(status: int) -> str:
    return HTTPStatus(status).phrase


def _dump(body: object) -> bytes:
    # A path or name may hold lone surrogates, which orjson refuses: replace them.
    try:
        return orjson.dumps(body)
    except TypeError:
        return orjson.dumps(_cleaned(body))


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_cleaned(key): _cleaned(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    return value
