"""Checkpoints up and down: streams of bytes that nobody here looks into."""

from __future__ import annotations

from collections.abc import Iterator

import anyio.to_thread
from starlette.responses import Response

from api.auth import ANY, HOLD
from api.downloads import Download
from api.routing import Call, Routes
from tuner import wire
from tuner.errors import FieldError, InvalidValue

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
    services = call.services
    checkpoint, file = await anyio.to_thread.run_sync(
        services.store.open_latest, call.database, call.project, trial, limiter=services.transfers
    )
    return Download(
        call.request,
        file,
        filename=f"trial-{trial}-step-{checkpoint.step}.tar",
        size=checkpoint.size,
        sha256=checkpoint.sha256,
        headers={"X-Checkpoint-Step": str(checkpoint.step)},
    )
