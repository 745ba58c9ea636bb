"""`tuner search`: the process that suggests, judges and ends, in this process."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from tuner.cli.signals import on_signals
from tuner.settings import Settings


def search(
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DIR", help="Data folder; else TUNER_DATA, else tuner-data.")
    ] = None,
) -> None:
    """Suggest parameters and judge trials until stopped. Several may run: they share the studies out."""
    from tuner.search import engine

    stop = threading.Event()
    on_signals((signal.SIGTERM, signal.SIGINT), stop.set)
    engine.run(Settings.from_environment(data=data), stop)
