"""Code that comes with studies: up once, down to every worker that runs one of their trials."""

from __future__ import annotations

from collections.abc import Iterator

import anyio.to_thread
from starlette.responses import Response

from api.auth import HOLD, SUBMIT
from api.downloads import Download
from api.routing import Call, Routes
from tuner import wire

routes = Routes("bundles")


@routes.route("PUT", "/v1/bundles/{sha256}", SUBMIT, answer=wire.Bundle)
def put_bundle(call: Call, sha256: str, chunks: Iterator[bytes]) -> wire.Bundle:
    """Store a bundle, a gzipped tar whose SHA-256 the path names, for studies to name in `trial.bundle`. The same again is the same."""
    return call.services.bundles.receive(call.database, call.project, sha256, chunks)


@routes.route("GET", "/v1/bundles/{sha256}", HOLD, answer=bytes, media_type="application/octet-stream")
async def get_bundle(call: Call, sha256: str) -> Response:
    """A bundle as it was stored. Ask with HEAD whether it has to be uploaded."""
    services = call.services
    bundle, file = await anyio.to_thread.run_sync(
        services.bundles.open, call.database, call.project, sha256, limiter=services.transfers
    )
    return Download(call.request, file, filename=f"{sha256}.tar.gz", size=bundle.size, sha256=sha256)
