"""`tuner search`: the process that suggests, judges and ends, in this process."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from tuner.settings import Settings


def search(
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DIR", help="Data folder; else TUNER_DATA, else tuner-data.")
    ] = None,
) -> None:
    """Suggest parameters and judge trials until stopped. Several may run: they share the studies out."""
    from tuner.search import engine

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    engine.run(Settings.from_environment(data=data), stop)
