"""One server process: the database opened, the address bound, uvicorn run until a signal ends it."""

from __future__ import annotations

import errno
import signal
import socket
from collections.abc import Callable

import uvicorn

from api.app import create_app
from api.waiting import Board
from tuner import keys
from tuner.db.postgres import Database
from tuner.errors import InvalidValue
from tuner.settings import Settings
from tuner.stores import open_store

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
GRACE = 3


class Server(uvicorn.Server):
    """uvicorn that first lets waiting requests and event streams go: they would keep it for a minute, or forever."""

    def __init__(self, config: uvicorn.Config, board: Board) -> None:
        super().__init__(config)
        self._board = board

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._board.close()
        await super().shutdown(sockets)


def serve(settings: Settings, on_bound: Callable[[str], None] | None = None) -> None:
    """Serve until SIGINT or SIGTERM. InvalidValue for an address that cannot be bound or may not be, and for artifacts' settings that
    cannot work; DatabaseUnavailable, ArtifactsUnavailable.

    `on_bound` gets the address, once it is bound: with port 0 it is known only then.
    """
    database = Database.open(settings)
    try:
        _check_exposure(database, settings)
        open_store(settings.artifacts_location).check()
        bound = bind(settings)
        try:
            host, port = bound.getsockname()[:2]
            server = make_server(database, settings)
            if on_bound is not None:
                on_bound(f"http://{f'[{host}]' if ':' in host else host}:{port}")
            # uvicorn raises the signal again once it has ended, for handlers that were there before: ours have nothing left to do.
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda *_: None)
            server.run(sockets=[bound])
        finally:
            bound.close()
    finally:
        database.close()


def make_server(database: Database, settings: Settings) -> Server:
    """A server that is not running yet; `run(sockets=[...])` it."""
    app = create_app(database, settings)
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=GRACE,
        timeout_keep_alive=75,
        ws="none",
        h11_max_incomplete_event_size=32768,
    )
    return Server(config, app.state.services.board)


def bind(settings: Settings) -> socket.socket:
    """A listening socket at the settings' address; InvalidValue says why there can be none."""
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
    except (OSError, UnicodeError):
        raise InvalidValue(
            f"host: {settings.host!r} is not an address of this machine; give an address such as 127.0.0.1"
        ) from None
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(1024)
        bound.setblocking(False)
    except OSError as error:
        bound.close()
        reason = {
            errno.EADDRINUSE: f"port {settings.port} of {settings.host} is in use; stop what uses it or choose another with --port",
            errno.EACCES: f"port {settings.port} may not be bound by this user; choose one above 1023 with --port",
            errno.EADDRNOTAVAIL: f"host: {settings.host!r} is not an address of this machine; give an address such as 127.0.0.1",
        }.get(error.errno or 0, f"cannot listen on {settings.host}:{settings.port}: {error.strerror}")
        raise InvalidValue(reason) from None
    return bound


def _check_exposure(database: Database, settings: Settings) -> None:
    if settings.host not in _LOOPBACK and keys.count_valid(database) == 0:
        raise InvalidValue(
            f"host: {settings.host} is reachable from other machines, and no API key exists yet; make one first (tuner key create), or bind 127.0.0.1"
        )
