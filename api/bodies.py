"""Bodies of requests: read within a limit, parsed strictly.

Strictly: UTF-8, one JSON value, no NaN or Infinity tokens, no number beyond a double or 64 bits, no key twice, no NUL, no lone surrogates,
no nesting beyond `tuner.wire.MAX_DEPTH`. What passes can be stored by PostgreSQL and sent again as JSON.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from starlette.requests import ClientDisconnect, Request

from api.errors import HttpProblem
from tuner.errors import FieldError, InvalidValue
from tuner.wire import check_json


async def read(request: Request, limit: int) -> bytes:
    """The whole body; 413 as soon as it is known to be longer than `limit` bytes."""
    declared = request.headers.get("content-length")
    if declared is not None and declared.isdigit() and int(declared[:18]) > limit:
        raise _too_large(limit)
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                raise _too_large(limit)
            chunks.append(chunk)
    except ClientDisconnect:
        raise HttpProblem(400, "disconnected", "the body ended before its time") from None
    return b"".join(chunks)


def parse(raw: bytes) -> Any:
    """The JSON value of a body, an empty one counting as {}. InvalidValue names what is wrong, never what was sent."""
    if not raw.strip():
        return {}
    try:
        value = _DECODER.decode(raw.decode())
        # Nothing can be deeper than it has brackets, and NUL and surrogates come as escapes only: most bodies need no walk.
        if raw.count(b"{") + raw.count(b"[") > 16 or b"\\u" in raw:
            check_json(value)
    except UnicodeDecodeError:
        raise _invalid("is not UTF-8") from None
    except RecursionError:
        raise _invalid("is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise _invalid(f"is not JSON: {error.msg.lower()} at line {error.lineno} column {error.colno}") from None
    except ValueError as error:
        raise _invalid(str(error)) from None
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("has a key twice in one object")
    return found


def _refuse_constant(token: str) -> NoReturn:
    raise ValueError(f'holds the bare token {token}; write it as the string "{token}"')


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError("holds a number too large for a double")
    return number


def _integer(text: str) -> int:
    # Longer than any 64-bit integer: converting it could take minutes.
    number = int(text) if len(text) <= 20 else 2**63
    if not -(2**63) <= number < 2**63:
        raise ValueError("holds an integer beyond 64 bits")
    return number


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_float=_finite, parse_int=_integer)


def _too_large(limit: int) -> HttpProblem:
    # The rest is not read: the connection cannot be used again.
    return HttpProblem(413, "body_too_large", f"the body is larger than the {limit} bytes accepted here", {"Connection": "close"})


def _invalid(sentence: str) -> InvalidValue:
    return InvalidValue(errors=[FieldError("body", sentence)])
