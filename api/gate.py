"""What every request passes before it is routed, and every answer on its way out: Host, Content-Encoding, security headers.

Plain ASGI, because it runs for each request of the hot path. Limits on bodies are in `api.bodies`, where they are read.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.errors import problem
from tuner.settings import Settings

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
HEADERS = (
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
MAX_HEADER_BYTES = 32_768
_OWN = frozenset(name for name, _ in HEADERS)
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
_ANY_ADDRESS = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, not bound


def allowed_hosts(settings: Settings) -> frozenset[str]:
    """Host names (without port) this server answers to."""
    named = {name.strip().lower() for name in settings.allowed_hosts.split(",") if name.strip()}
    own = {socket.gethostname().lower()} if settings.host in _ANY_ADDRESS else {_bracketed(settings.host.lower())}
    return _LOOPBACK | own | named


class Gate:
    """A page in another site can make a browser resolve a name of its own to this server: only known Host names are answered.

    Bound to all addresses the server does not know its own; then any address is good as a Host, for an address cannot be made to
    resolve elsewhere, but names must be listed.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._hosts = allowed_hosts(settings)
        self._any_address = settings.host in _ANY_ADDRESS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message.get("headers", ())
                message = {**message, "headers": [*headers, *_missing(headers)]}
            await send(message)

        host = encoding = None
        size = 0
        for name, value in scope["headers"]:
            size += len(name) + len(value)
            if name == b"host":
                host = value if host is None else b""
            elif name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
                encoding = value
        if size > MAX_HEADER_BYTES:
            response = problem(431, "headers_too_large", f"the headers are larger than {MAX_HEADER_BYTES} bytes")
            await response(scope, receive, send_with_headers)
        elif not self._knows(host):
            response = problem(
                421,
                "unknown_host",
                "this server does not answer to that Host; add the name to TUNER_ALLOWED_HOSTS to have it accepted",
            )
            await response(scope, receive, send_with_headers)
        elif encoding is not None:
            response = problem(415, "content_encoding", "send the body as it is: Content-Encoding is not accepted")
            await response(scope, receive, send_with_headers)
        else:
            await self._app(scope, receive, send_with_headers)

    def _knows(self, header: bytes | None) -> bool:
        host = (header or b"").decode("latin-1").lower()
        name, colon, port = host.rpartition(":")
        if not colon or "]" in port:
            name = host
        elif not port.isdigit():
            return False
        return name in self._hosts or (self._any_address and _is_address(name))


def _missing(headers: Collection[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers that the answer has not set for itself."""
    present = {name for name, _ in headers} & _OWN
    return [header for header in HEADERS if header[0] not in present]


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
