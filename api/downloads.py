"""Files of the store as answers: streamed in pieces, never whole in memory, and never anything a browser would show or run.

What is wrong with a file has to be known before it comes here; a store that fails half way breaks the connection, which the stated length
gives away. Of a request's ranges one is served; several at once get the whole file.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from api.errors import HttpProblem
from tuner.stores import CHUNK, Readable

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


class Download(StreamingResponse):
    """`file`, which stands at its beginning and is `size` bytes long; closed however this ends."""

    def __init__(
        self,
        request: Request,
        file: Readable,
        *,
        filename: str,
        size: int,
        sha256: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        try:
            start, stop = _find_range(request.headers.get("range", ""), size) or (0, size)
        except HttpProblem:
            file.close()
            raise
        is_part = stop - start < size
        stated = {
            "Accept-Ranges": "bytes",
            "Content-Length": str(stop - start),
            "Content-Disposition": f'attachment; filename="{filename}"',
            "Content-Security-Policy": "sandbox",
            "X-Content-SHA256": sha256,
            "Cache-Control": "no-store",
        }
        if is_part:
            stated["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        super().__init__(
            _read(file, start, start if request.method == "HEAD" else stop),
            status_code=206 if is_part else 200,
            headers=stated | dict(headers or {}),
            media_type="application/octet-stream",
        )
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._file.close()


async def _read(file: Readable, start: int, stop: int) -> AsyncIterator[bytes]:
    if start:
        await anyio.to_thread.run_sync(file.seek, start)
    while start < stop and (chunk := await anyio.to_thread.run_sync(file.read, min(CHUNK, stop - start))):
        start += len(chunk)
        yield chunk


def _find_range(header: str, size: int) -> tuple[int, int] | None:
    """Start and end of the range asked for; None for none, and for what is not understood. HttpProblem where the file has no such bytes."""
    match = _RANGE.fullmatch(header)
    if match is None or match.group() == "bytes=-":
        return None
    first, last = match.groups()
    start = int(first) if first else max(0, size - int(last))
    stop = min(size, int(last) + 1) if first and last else size
    if start >= stop:
        raise HttpProblem(416, "range_not_satisfiable", f"the file has {size} bytes", {"Content-Range": f"bytes */{size}"})
    return start, stop
