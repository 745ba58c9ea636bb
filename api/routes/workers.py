"""The fleet: workers register here and are looked at here."""

from __future__ import annotations

from pydantic import Field

from api.auth import LEASE, READ
from api.routing import Call, Routes
from tuner import wire, workers

routes = Routes("workers")


class WorkerList(wire.Answer):
    items: list[wire.Worker]


class LaneQuery(wire.Body):
    seconds: float = Field(default=3600, gt=0, le=86_400, description="how far back")


class LaneList(wire.Answer):
    items: list[wire.LaneAttempt]


@routes.route("POST", "/v1/workers", LEASE, answer=wire.Worker)
def register_worker(call: Call, body: wire.WorkerRegistration) -> wire.Worker:
    """Announce a worker, or renew what is known of the one with this name."""
    return workers.register(call.database, call.project, body)


@routes.route("GET", "/v1/workers", READ, answer=WorkerList)
def list_workers(call: Call) -> WorkerList:
    """Workers heard of within a week, the latest first."""
    return WorkerList.model_construct(items=workers.list_(call.database, call.project))


@routes.route("GET", "/v1/workers/lanes", READ, answer=LaneList)
def list_lanes(call: Call, query: LaneQuery) -> LaneList:
    """What ran on the workers lately: the attempts of the last minutes, running ones included."""
    return LaneList.model_construct(items=workers.list_lanes(call.database, call.project, query.seconds))


@routes.route("GET", "/v1/workers/{worker}", READ, answer=wire.Worker)
def get_worker(call: Call, worker: int) -> wire.Worker:
    """One worker."""
    return workers.get(call.database, call.project, worker)
