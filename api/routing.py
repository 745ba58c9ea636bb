"""Routes as data: method, path, who may call, what goes in and what comes out; and the one way in which all of them are served.

A handler is a plain function of (call, path parameters, body, query) that its annotations describe; it runs in the thread pool together
with the authentication of its caller, so a request costs one hop. A handler that must wait returns a coroutine, which goes on on the
event loop. The document at /openapi.json is made from the same data (`api.openapi`). FastAPI's own dependencies are not used here:
resolving them costs more than a report does, and a route written with them may forget its guard; here it has no place to be left out.
"""

from __future__ import annotations

import gzip
import inspect
import re
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import Any, TypeVar

import anyio.from_thread
import anyio.to_thread
import orjson
from anyio import CapacityLimiter
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Send
from starlette.types import Scope as AsgiScope

from api import auth, bodies, errors, idempotency
from api.auth import Scopes
from api.metrics import Metrics
from api.waiting import Board
from tuner.artifacts import ArtifactStore
from tuner.bundles import BundleStore
from tuner.columns import ColumnCache
from tuner.db.postgres import Database
from tuner.errors import FieldError, InvalidValue
from tuner.keys import Caller
from tuner.settings import Settings
from tuner.wire import Scope

Function = TypeVar("Function", bound=Callable[..., Any])
TRANSFERS = 8
"""Checkpoints received, or read through before they are sent, at once by one process: a slow sender holds a thread."""
CHUNK_TIMEOUT = 60.0
COMPRESSED_FROM = 64_000
"""Bytes of an answer from which compressing it takes less time than sending it over most networks."""


class Services:
    """What handlers share in one process."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self.database = database
        self.settings = settings
        self.store = ArtifactStore(settings)
        self.bundles = BundleStore(self.store.files, settings)
        self.board = Board()
        self.columns = ColumnCache(compress)
        self.metrics = Metrics()
        # No more threads than connections: who waits, waits here in turn and not in the pool for a timeout.
        self.threads = CapacityLimiter(max(2, settings.pool_size - 2))
        self.transfers = CapacityLimiter(TRANSFERS)
        self.workers_seen: dict[tuple[str, str], float] = {}


@dataclass(kw_only=True, slots=True)
class Call:
    """A request, as a handler sees it."""

    services: Services
    request: Request
    caller: Caller
    key: str | None
    """The Idempotency-Key, unique among callers."""
    status: int = 200

    @property
    def database(self) -> Database:
        return self.services.database

    @property
    def board(self) -> Board:
        return self.services.board

    @property
    def project(self) -> str:
        return self.caller.project

    async def in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await anyio.to_thread.run_sync(function, *arguments, limiter=self.services.threads)


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One method of one path."""

    method: str
    path: str
    scopes: Scopes
    function: Callable[..., Any]
    status: int
    answer: Any
    """Type of the answer, for the document: a model, list[...], dict, bytes, or None for 204."""
    body_schema: type[BaseModel] | None
    media_type: str
    ledger: bool
    """Keep answers by Idempotency-Key (`api.idempotency`)."""
    secret: bool
    path_parameters: dict[str, type]
    body: type[BaseModel] | type[dict[str, Any]] | None
    query: type[BaseModel] | None
    streams: bool

    @property
    def summary(self) -> str:
        return (self.function.__doc__ or self.function.__name__.replace("_", " ").capitalize()).strip()


class Routes:
    """The routes of one noun."""

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self.endpoints: list[Endpoint] = []

    def route(
        self,
        method: str,
        path: str,
        scopes: Scopes,
        *,
        answer: Any,
        status: int = 200,
        body_schema: type[BaseModel] | None = None,
        media_type: str = "application/json",
        ledger: bool | None = None,
        secret: bool = False,
    ) -> Callable[[Function], Function]:
        def declare(function: Function) -> Function:
            parameters = inspect.signature(function, eval_str=True).parameters
            names = re.findall(r"\{(\w+)", path)
            kinds = {name: parameter.annotation for name, parameter in parameters.items()}
            self.endpoints.append(
                Endpoint(
                    method=method,
                    path=path,
                    scopes=scopes,
                    function=function,
                    status=status,
                    answer=answer,
                    body_schema=body_schema,
                    media_type=media_type,
                    ledger=(method == "POST" and scopes is not None) if ledger is None else ledger,
                    secret=secret,
                    path_parameters={name: kinds[name] for name in names},
                    body=kinds.get("body"),
                    query=kinds.get("query"),
                    streams="chunks" in kinds,
                )
            )
            return function

        return declare


class EndpointApp:
    """An endpoint as an ASGI application."""

    def __init__(self, endpoint: Endpoint, services: Services) -> None:
        self._endpoint = endpoint
        self._services = services
        self._body = endpoint.body if endpoint.body is not None and issubclass(endpoint.body, BaseModel) else None
        self._latency: dict[int, Any] = {}

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        started = perf_counter()
        request = Request(scope, receive, send)
        try:
            response = await self._serve(request)
        except Exception as error:
            response = errors.respond(error)
        latency = self._latency.get(response.status_code)
        if latency is None:
            labels = (self._endpoint.method, self._endpoint.path, str(response.status_code))
            latency = self._latency[response.status_code] = self._services.metrics.requests.labels(*labels)
        latency.observe(perf_counter() - started)
        await response(scope, receive, send)

    async def _serve(self, request: Request) -> Response:
        endpoint, services = self._endpoint, self._services
        if endpoint.scopes is not None:
            auth.check_presented(request)
        if endpoint.streams:
            return await anyio.to_thread.run_sync(self._receive, request, limiter=services.transfers)
        raw = b""
        if request.method not in ("GET", "HEAD"):
            raw = await bodies.read(request, services.settings.max_body_bytes)
        result = await anyio.to_thread.run_sync(self._work, request, raw, limiter=services.threads)
        if isinstance(result, Coroutine):
            result = await result
        assert isinstance(result, Response)
        return result

    def _work(self, request: Request, raw: bytes) -> Response | Coroutine[Any, Any, Response]:
        call = self._call(request)
        arguments = self._arguments(request)
        if self._endpoint.body is not None:
            arguments["body"] = self._parse(raw)
        if call.key is not None and self._endpoint.ledger:
            return idempotency.replay_or_run(
                call.database,
                call.caller,
                request,
                call.key,
                raw,
                lambda: self._run(call, arguments),
                keep=not self._endpoint.secret,
            )
        result = self._endpoint.function(call, **arguments)
        return self._await(call, result) if isinstance(result, Coroutine) else self._render(call, result)

    def _run(self, call: Call, arguments: dict[str, Any]) -> Response:
        return self._render(call, self._endpoint.function(call, **arguments))

    async def _await(self, call: Call, result: Coroutine[Any, Any, Any]) -> Response:
        return self._render(call, await result)

    def _receive(self, request: Request) -> Response:
        call = self._call(request)
        arguments = self._arguments(request) | {"chunks": _chunks(request)}
        return self._run(call, arguments)

    def _call(self, request: Request) -> Call:
        endpoint, services = self._endpoint, self._services
        key = None
        if endpoint.scopes is None:
            caller = _NOBODY
        else:
            caller = auth.authenticate(services.database, request)
            auth.check_scope(caller, endpoint.scopes)
            if request.method == "POST":
                key = idempotency.get_key(request)
        return Call(services=services, request=request, caller=caller, key=key, status=endpoint.status)

    def _arguments(self, request: Request) -> dict[str, Any]:
        arguments: dict[str, Any] = {}
        for name, kind in self._endpoint.path_parameters.items():
            value = request.path_params[name]
            arguments[name] = _integer(name, value) if kind is int else value
        if self._endpoint.query is not None:
            arguments["query"] = _query(request, self._endpoint.query)
        return arguments

    def _parse(self, raw: bytes) -> Any:
        value = bodies.parse(raw)
        if self._body is not None:
            try:
                return self._body.model_validate(value)
            except ValidationError as error:
                raise errors.invalid(error, self._body) from None
        if not isinstance(value, dict):
            raise InvalidValue(errors=[FieldError("body", "must be a JSON object")])
        return value

    def _render(self, call: Call, result: Any) -> Response:
        if isinstance(result, Response):
            return result
        if result is None:
            return Response(status_code=204)
        if isinstance(result, BaseModel):
            content = result.__pydantic_serializer__.to_json(result)
        else:
            content = orjson.dumps(result, default=_jsonable)
        if len(content) > COMPRESSED_FROM and "gzip" in call.request.headers.get("accept-encoding", ""):
            headers = {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
            return Response(compress(content), call.status, headers, "application/json")
        return Response(content, call.status, media_type="application/json")


def compress(content: bytes) -> bytes:
    return gzip.compress(content, 1, mtime=0)


def answer_tagged(request: Request, compressed: bytes, tag: str) -> Response:
    """JSON that is kept compressed, under a tag for its content; 304 where the browser has what the tag stands for."""
    headers = {"ETag": f'W/"{tag}"', "Cache-Control": "private, no-cache", "Vary": "Accept-Encoding, Authorization, Cookie"}
    given = {part.strip().removeprefix("W/") for part in request.headers.get("if-none-match", "").split(",")}
    if f'"{tag}"' in given:
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(compressed, headers=headers | {"Content-Encoding": "gzip"}, media_type="application/json")
    return Response(gzip.decompress(compressed), headers=headers, media_type="application/json")


_NOBODY = Caller(key_id="", name="", scope=Scope.VIEWER, project="")


def _jsonable(value: object) -> object:
    if isinstance(value, BaseModel):
        return orjson.Fragment(value.__pydantic_serializer__.to_json(value))
    raise TypeError


def _integer(name: str, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise InvalidValue(errors=[FieldError(name, "must be a whole number of at most 18 digits")])
    return int(text)


def _query(request: Request, model: type[BaseModel]) -> BaseModel:
    given: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name in given:
            raise InvalidValue(errors=[FieldError(f"query.{name[:50]}", "is given twice")])
        if "\x00" in name or "\x00" in value:
            raise InvalidValue(errors=[FieldError("query", "may not contain the NUL character")])
        given[name] = value
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise errors.invalid(error, model, "query") from None


def _chunks(request: Request) -> Iterator[bytes]:
    """The body, for a thread: each chunk is fetched from the event loop when the thread asks for it."""

    async def receive() -> Any:
        with anyio.fail_after(CHUNK_TIMEOUT):
            return await request.receive()

    while True:
        try:
            message = anyio.from_thread.run(receive)
        except TimeoutError:
            raise errors.HttpProblem(
                408, "too_slow", f"no data came for {CHUNK_TIMEOUT:g} seconds", {"Connection": "close"}
            ) from None
        if message["type"] == "http.disconnect":
            raise errors.HttpProblem(400, "disconnected", "the body ended before its time")
        if message.get("body"):
            yield message["body"]
        if not message.get("more_body", False):
            return
