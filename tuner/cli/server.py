"""`tuner server`: the HTTP API and dashboard, in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tuner.cli.output import say
from tuner.settings import Settings


def server(
    host: Annotated[str | None, typer.Option("--host", help="Address to bind; else TUNER_HOST, else 127.0.0.1.")] = None,
    port: Annotated[
        int | None, typer.Option("--port", min=0, max=65535, help="Port to bind; else TUNER_PORT, else 8000.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DIR", help="Data folder; else TUNER_DATA, else tuner-data.")
    ] = None,
) -> None:
    """Serve the API over the database that TUNER_DATABASE_URL names (else the embedded one)."""
    from api.server import serve

    serve(Settings.from_environment(host=host, port=port, data=data), on_bound=lambda address: say(f"serving at {address}"))
