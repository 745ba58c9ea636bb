"""Page shell and static files of the dashboard: public, without data; what they show comes from `/v1` under the caller's session.

Every page is the same shell; `static/app.js` looks at the address. Static files have addresses with the digest of the whole folder in
them, so that browsers keep them forever and modules may import each other by relative path; a changed byte anywhere is a new address for
all of them (320 KB compressed, most of it ECharts: the price of having no build step). Nothing outside the folder can be named: files are
looked up in a mapping made at start, never on the disk. The Content-Security-Policy and its like are set by `api.gate` on every answer.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Request, Response

FOLDER = Path(__file__).parent / "static"
SUFFIXES = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".json": "application/json",
    ".txt": "text/plain",
}
PRELOADED = ("app.js", "vendor/htm-preact.js", "api.js", "stream.js", "feed.js", "trials.js", "format.js")
SHELL = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Tuner</title>
<link rel="icon" href="{base}/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="{base}/app.css">
<script src="{base}/theme.js"></script>
{preloads}
<script type="module" src="{base}/app.js"></script>
</head>
<body>
<div id="app"><noscript>The dashboard needs JavaScript. The same data is at /v1 and in the tuner command.</noscript></div>
</body>
</html>
"""


@dataclass(frozen=True, kw_only=True)
class StaticFile:
    media_type: str
    content: bytes
    compressed: bytes


@dataclass(frozen=True, kw_only=True)
class StaticFiles:
    digest: str
    files: dict[str, StaticFile]

    @property
    def base(self) -> str:
        return f"/static/{self.digest}"


@cache
def static_files() -> StaticFiles:
    """All files of FOLDER, compressed once, and the digest that stands in their addresses."""
    files: dict[str, StaticFile] = {}
    digest = hashlib.sha256()
    for path in sorted(FOLDER.rglob("*")):
        if not path.is_file() or path.suffix not in SUFFIXES:
            continue
        name = path.relative_to(FOLDER).as_posix()
        content = path.read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
        files[name] = StaticFile(
            media_type=f"{SUFFIXES[path.suffix]}; charset=utf-8", content=content, compressed=gzip.compress(content, 9, mtime=0)
        )
    return StaticFiles(digest=digest.hexdigest()[:16], files=files)


@cache
def shell() -> bytes:
    base = static_files().base
    preloads = "\n".join(f'<link rel="modulepreload" href="{base}/{name}">' for name in PRELOADED)
    return SHELL.format(base=base, preloads=preloads).encode()


router = APIRouter(include_in_schema=False)


@router.get("/")
@router.get("/login")
@router.get("/admin")
@router.get("/compare")
@router.get("/new")
@router.get("/workers")
@router.get("/studies")
@router.get("/studies/{study}")
@router.get("/studies/{study}/trials/{number}")
async def page() -> Response:
    return Response(shell(), media_type="text/html", headers={"Cache-Control": "no-cache"})


@router.get("/static/{digest}/{name:path}")
async def static_file(digest: str, name: str, request: Request) -> Response:
    """A file of this version. Another digest is another version: 404, and the page that asked reloads itself."""
    current = static_files()
    file = current.files.get(name)
    if file is None or digest != current.digest:
        return Response("not found", status_code=404, media_type="text/plain", headers={"Cache-Control": "no-store"})
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(file.compressed, media_type=file.media_type, headers=headers | {"Content-Encoding": "gzip"})
    return Response(file.content, media_type=file.media_type, headers=headers)
