"""Checkpoints up and down: streams of bytes that nobody here looks into."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import anyio.to_thread
from starlette.responses import Response

from api.auth import ANY, HOLD
from api.downloads import Download
from api.routing import Call, Routes
from tuner import wire
from tuner.errors import FieldError, InvalidValue
from tuner.stores import Readable

routes = Routes("checkpoints")


@routes.route("PUT", "/v1/leases/{lease}/checkpoints/{step}", HOLD, answer=wire.Checkpoint)
def put_checkpoint(call: Call, lease: str, step: int, chunks: Iterator[bytes]) -> wire.Checkpoint:
    """Store a checkpoint: the body as it is, its SHA-256 in the header X-Content-SHA256. The same again replaces it."""
    digest = call.request.headers.get("x-content-sha256")
    if digest is None:
        raise InvalidValue(errors=[FieldError("X-Content-SHA256", "is missing: send the SHA-256 of the body as hex digits")])
    return call.services.store.receive(call.database, call.project, lease, step, digest.lower(), chunks)


@routes.route("GET", "/v1/trials/{trial}/checkpoints/latest", ANY, answer=bytes, media_type="application/octet-stream")
async def get_latest_checkpoint(call: Call, trial: int) -> Response:
    """The newest checkpoint that is whole."""
    return await _download(call, call.services.store.open_latest, trial)


@routes.route("GET", "/v1/trials/{trial}/checkpoints/best", ANY, answer=bytes, media_type="application/octet-stream")
async def get_best_checkpoint(call: Call, trial: int) -> Response:
    """The checkpoint at whose step the trial reported its best value of the first objective, of those that are kept."""
    return await _download(call, call.services.store.open_best, trial)


@routes.route("GET", "/v1/trials/{trial}/checkpoints/{step}", ANY, answer=bytes, media_type="application/octet-stream")
async def get_checkpoint(call: Call, trial: int, step: int) -> Response:
    """The checkpoint of a step."""
    return await _download(call, call.services.store.open_step, trial, step)


async def _download(call: Call, opened: Callable[..., tuple[wire.Checkpoint, Readable]], *which: int) -> Response:
    """Not in the threads of other requests: reading a checkpoint through takes time."""
    checkpoint, file = await anyio.to_thread.run_sync(
        opened, call.database, call.project, *which, limiter=call.services.transfers
    )
    return Download(
        call.request,
        file,
        filename=f"trial-{which[0]}-step-{checkpoint.step}.tar",
        size=checkpoint.size,
        sha256=checkpoint.sha256,
        headers={"X-Checkpoint-Step": str(checkpoint.step)},
    )
