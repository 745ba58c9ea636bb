"""The application: routes put together, guarded, described; the listener and maintenance that live as long as it does.

Whatever is routed without a stated rule makes `create_app` fail: see `check_guarded`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager

import orjson
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from api import errors, openapi
from api.dashboard import pages
from api.gate import Gate
from api.routes import artifacts, bundles, events, health, keys, leases, results, specs, studies, trials, workers
from api.routing import Endpoint, EndpointApp, Routes, Services
from tuner import __version__
from tuner.db.postgres import Database
from tuner.events import Listener
from tuner.maintenance import Maintenance
from tuner.settings import Settings

# The hot path first: paths are tried in order.
NOUNS: tuple[Routes, ...] = (
    leases.routes,
    studies.routes,
    results.routes,
    trials.routes,
    artifacts.routes,
    bundles.routes,
    workers.routes,
    events.routes,
    keys.routes,
    specs.routes,
    health.routes,
)
PUBLIC_PATHS = frozenset({"/openapi.json", "/docs", "/docs.css"})


def create_app(database: Database, settings: Settings) -> FastAPI:
    """The ASGI application over an open database."""
    services = Services(database, settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        services.board.open(asyncio.get_running_loop())
        listener = Listener(database, services.board.notify)
        maintenance = Maintenance(database, settings)
        listener.start()
        maintenance.start()
        try:
            yield
        finally:
            services.board.close()
            await asyncio.to_thread(_stop, listener, maintenance)

    app = FastAPI(title="Tuner", version=__version__, lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None)
    app.state.services = services
    app.add_middleware(Gate, settings=settings)
    app.add_exception_handler(HTTPException, errors.on_http_exception)
    app.add_exception_handler(errors.HttpProblem, errors.on_exception)
    for endpoint in list_endpoints():
        app.router.routes.append(Route(endpoint.path, EndpointApp(endpoint, services), methods=[endpoint.method]))
    for path, content, media_type in _documents():
        app.router.routes.append(Route(path, _serve(content, media_type), methods=["GET"]))
    check_guarded(app.router.routes)
    # The dashboard's pages are public and hold no data; their router is the only other thing that is routed.
    app.include_router(pages.router)
    return app


def list_endpoints() -> Iterator[Endpoint]:
    for noun in NOUNS:
        yield from noun.endpoints


def check_guarded(routes: Iterable[BaseRoute]) -> None:
    """Fail unless every route is an `Endpoint`, which states who may call it, or one of PUBLIC_PATHS."""
    for route in routes:
        path = getattr(route, "path", repr(route))
        if not (isinstance(route, Route) and (isinstance(route.endpoint, EndpointApp) or path in PUBLIC_PATHS)):
            raise RuntimeError(f"the route {path} states no scope: declare it with api.routing.Routes")


def _documents() -> Iterator[tuple[str, bytes, str]]:
    document = openapi.describe([(noun.tag, noun.endpoints) for noun in NOUNS])
    yield "/openapi.json", orjson.dumps(document), "application/json"
    yield "/docs", openapi.render(document), "text/html"
    yield "/docs.css", openapi.STYLE, "text/css"


def _serve(content: bytes, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    async def serve(_: Request) -> Response:
        return Response(content, media_type=media_type, headers={"Cache-Control": "max-age=300"})

    return serve


def _stop(listener: Listener, maintenance: Maintenance) -> None:
    listener.stop()
    maintenance.stop()
