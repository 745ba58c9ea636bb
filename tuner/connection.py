"""The way to a server: its address and key, one keep-alive HTTP client, bounded retries, and the error classes rebuilt from answers.

What is asked over it stands in `tuner.client`. A request is repeated only when repeating is safe: every POST carries an Idempotency-Key
that it keeps over its retries. Its weakness: a read that times out is asked again in full, so a server that is merely slow gets more work.
"""

from __future__ import annotations

import json
import os
import random
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import httpx

from tuner.errors import (
    Conflict,
    FieldError,
    Forbidden,
    IdempotencyConflict,
    Invalid,
    InvalidValue,
    NotFound,
    ServerUnreachable,
    TunerError,
    Unauthenticated,
    Unavailable,
    error_classes,
)
from tuner.settings import DEFAULT_PORT, Settings

DEFAULT_SERVER = f"http://127.0.0.1:{DEFAULT_PORT}"
FIRST_PATIENCE = 3.0
"""Seconds to go on trying a server that has never answered: its address is more likely wrong than its process restarting."""
CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 20.0
_BACKOFF_BASE = 0.1
_BACKOFF_CAP = 5.0
_RETRIED = frozenset({429, 502, 503, 504})
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_BY_STATUS: dict[int, type[TunerError]] = {
    400: Invalid, 401: Unauthenticated, 403: Forbidden, 404: NotFound, 409: Conflict, 413: Invalid, 415: Invalid, 422: Invalid,
}  # fmt: skip
_CODES = error_classes()


def find_server(server: str | None = None, key: str | None = None, *, data: Path | None = None) -> tuple[str, str | None]:
    """Address and key: the arguments, else TUNER_SERVER and TUNER_KEY, else the credentials file, else the default address.

    The key of the credentials file is given only to the server that the file names. InvalidValue for a file that cannot be used.
    """
    server = server or os.environ.get("TUNER_SERVER") or None
    key = key or os.environ.get("TUNER_KEY") or None
    if server is None or key is None:
        noted = _read_credentials(data)
        if noted is not None:
            if server is None:
                server = noted["server"]
            if key is None and server.rstrip("/") == noted["server"].rstrip("/"):
                key = noted["key"]
    return _check_server(server or DEFAULT_SERVER), _check_key(key)


def _read_credentials(data: Path | None) -> dict[str, str] | None:
    folder = data if data is not None else os.environ.get("TUNER_DATA")
    path = (Settings(data=Path(folder)) if folder else Settings()).credentials_path
    try:
        text = path.read_text()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise InvalidValue(
            f"cannot read {path}: {error.strerror}; give --server and --key, or TUNER_SERVER and TUNER_KEY"
        ) from None
    try:
        noted = json.loads(text)
        return {"server": str(noted["server"]), "key": str(noted["key"])}
    except (ValueError, KeyError, TypeError):
        raise InvalidValue(f"{path} is not a credentials file of `tuner up`; remove it and start `tuner up` again") from None


def _check_server(server: str) -> str:
    try:
        url = httpx.URL(server)
        usable = url.scheme in ("http", "https") and bool(url.host) and not url.query and not url.userinfo
    except httpx.InvalidURL:
        usable = False
    if not usable:
        raise InvalidValue(f"server: give an address such as {DEFAULT_SERVER}, not {server!r}")
    return server.rstrip("/")


def _check_key(key: str | None) -> str | None:
    if key is not None and not (key.isascii() and key.isprintable() and " " not in key):
        raise InvalidValue("key: an API key has the form tnr_<id>_<secret>, without blanks")
    return key


class Connection:
    """One HTTP client for all threads of a process."""

    def __init__(self, server: str, key: str | None) -> None:
        self.server = server
        self.key = key
        headers = {"User-Agent": "tuner"}
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        self._http = httpx.Client(
            base_url=server,
            headers=headers,
            timeout=httpx.Timeout(READ_TIMEOUT, connect=CONNECT_TIMEOUT),
            limits=httpx.Limits(max_connections=256, max_keepalive_connections=256, keepalive_expiry=30.0),
            # A proxy from the environment is never the way to this very machine.
            trust_env=httpx.URL(server).host not in _LOOPBACK,
        )
        self._reached = False

    def request(
        self,
        method: str,
        path: str,
        *,
        patience: float,
        content: bytes | Callable[[], Iterable[bytes]] | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
        wait: float = 0.0,
        request_key: str | None = None,
        receive: Callable[[httpx.Response], None] | None = None,
    ) -> httpx.Response:
        """Send and, for at most `patience` seconds, send again on lost connections and 502-504. Raises the error class of an answer.

        `content` may be a function that gives the body's chunks anew at each try. `wait` is what the server may take before it answers.
        `receive` consumes a streamed answer; what it raises is not retried.
        """
        sent = dict(headers or ())
        if method == "POST":
            sent["Idempotency-Key"] = request_key or uuid.uuid4().hex
        if isinstance(content, bytes) and "Content-Type" not in sent:
            sent["Content-Type"] = "application/json"
        timeout = httpx.Timeout(READ_TIMEOUT + wait, connect=CONNECT_TIMEOUT)
        start = time.monotonic()
        tries = 0
        while True:
            least = 0.0
            request = self._http.build_request(
                method,
                path,
                content=content() if callable(content) else content,
                headers=sent,
                params=_given(params),
                timeout=timeout,
            )
            try:
                response = self._http.send(request, stream=receive is not None)
            except httpx.TransportError as error:
                failure: TunerError = self._unreachable(error)
            else:
                self._reached = True
                if response.is_success:
                    if receive is not None:
                        with closing(response):
                            self._consume(response, receive)
                    return response
                with closing(response):
                    failure = self._rebuild(response)
                if response.status_code not in _RETRIED and not (tries and isinstance(failure, IdempotencyConflict)):
                    raise failure
                with suppress(ValueError):
                    least = float(response.headers.get("Retry-After", 0))
            delay = max(least, random.uniform(0, min(_BACKOFF_CAP, _BACKOFF_BASE * 2**tries)))
            allowed = patience if self._reached else min(patience, FIRST_PATIENCE)
            if time.monotonic() + delay > start + allowed:
                raise failure
            time.sleep(delay)
            tries += 1

    def close(self) -> None:
        self._http.close()

    def _consume(self, response: httpx.Response, receive: Callable[[httpx.Response], None]) -> None:
        try:
            receive(response)
        except httpx.TransportError as error:
            raise self._unreachable(error) from None

    def _unreachable(self, error: httpx.TransportError) -> ServerUnreachable:
        if isinstance(error, httpx.TimeoutException):
            cause = "did not answer in time"
        elif "CERTIFICATE" in str(error).upper():
            cause = f"could not prove its identity ({error})"
        else:
            cause = "is not reachable" if isinstance(error, httpx.ConnectError) else "closed the connection"
        return ServerUnreachable(
            f"the server at {self.server} {cause}: start it with `tuner up`, or name another with --server or TUNER_SERVER"
        )

    def _rebuild(self, response: httpx.Response) -> TunerError:
        """The error that the server raised, from its problem+json."""
        with suppress(httpx.TransportError):
            response.read()
        status = response.status_code
        default = _BY_STATUS.get(status, Unavailable if status in _RETRIED else TunerError)
        try:
            problem = json.loads(response.content)
            code, detail = problem["code"], str(problem.get("detail") or problem.get("title") or "")
            errors = tuple(FieldError(str(item["loc"]), str(item["msg"])) for item in problem.get("errors") or ())
        except (ValueError, KeyError, TypeError, AttributeError, httpx.ResponseNotRead):
            location = response.headers.get("Location")
            what = f"{status}, redirecting to {location}" if location else f"{status} {response.reason_phrase}".rstrip()
            return default(f"{self.server} answered {what}; is this the address of a tuner server?")
        if status == 401 and self.key is None:
            return Unauthenticated(
                "no API key: give --key, set TUNER_KEY, or run where tuner-data/credentials.json of `tuner up` lies"
            )
        return _CODES.get(code, default)(detail, errors=errors)


def _given(params: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if params is None:
        return None
    return {name: value for name, value in params.items() if value is not None}
