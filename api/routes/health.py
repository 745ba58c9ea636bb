"""Liveness, readiness, metrics, the catalogue, and the API's own description."""

from __future__ import annotations

from functools import cache
from typing import Any

import orjson
from pydantic import Field
from starlette.responses import Response

from api.auth import ANY, PUBLIC
from api.routing import Call, Routes
from tuner import __version__, catalog, views, wire
from tuner.search import ownership

routes = Routes("server")


class Health(wire.Answer):
    status: str
    version: str


class Deployment(wire.Answer):
    version: str = Field(description="of the server")
    schema_revision: str = Field(description="of the tables")
    database: str = Field(description="version of PostgreSQL")
    searches: int = Field(description="search processes that are connected; 0: nobody suggests or judges")


@routes.route("GET", "/healthz", PUBLIC, answer=Health)
def get_health(call: Call) -> Health:
    """The process answers."""
    return Health(status="ok", version=__version__)


@routes.route("GET", "/readyz", PUBLIC, answer=Health)
def get_readiness(call: Call) -> Health:
    """The database answers and has this version's schema; 503 else."""
    call.database.check()
    return Health(status="ready", version=__version__)


@routes.route("GET", "/v1/server", ANY, answer=Deployment)
def get_deployment(call: Call) -> Deployment:
    """Versions, and whether a search works: what people ask first when something is wrong."""
    state = call.database.describe()
    return Deployment(
        version=__version__,
        schema_revision=state.revision,
        database=state.version,
        searches=ownership.count_searches(call.database),
    )


@routes.route("GET", "/metrics", PUBLIC, answer=bytes, media_type="text/plain")
def get_metrics(call: Call) -> Response:
    """Prometheus' text form."""
    counts = views.count_live_trials(call.database)
    content = call.services.metrics.render(counts, call.board.num_waiting)
    return Response(content, media_type="text/plain; version=0.0.4; charset=utf-8")


@routes.route("GET", "/v1/catalog", ANY, answer=dict[str, Any])
def get_catalog(call: Call) -> Response:
    """Optimizers, models, schedules and all else a trainer configuration can name, with hyperparameters, ranges and defaults."""
    return Response(_catalog(), media_type="application/json", headers={"Cache-Control": "private, max-age=300"})


@cache
def _catalog() -> bytes:
    return orjson.dumps(wire.encode_numbers(catalog.to_json()))
