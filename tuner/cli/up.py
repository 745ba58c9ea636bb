"""`tuner up`: everything on this machine with one command, until Ctrl-C."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

from tuner.cli.deployment import Deployment
from tuner.cli.options import AllowBundles, DataRoot, check_folders
from tuner.cli.output import say
from tuner.cli.signals import on_signals
from tuner.errors import InvalidValue
from tuner.settings import Settings

Workers = Annotated[str, typer.Option("--workers", metavar="auto|N", help="Trials at once on this machine; 0: no worker.")]
Allow = Annotated[
    list[str] | None,
    typer.Option(
        "--allow", metavar="PATTERN", help="Entrypoints ('package.module:*') and commands ('command:python') the worker may run."
    ),
]


def up(
    port: Annotated[int | None, typer.Option("--port", min=0, max=65535, help="Port to serve on; 0: any free one.")] = None,
    workers: Workers = "auto",
    data: Annotated[Path | None, typer.Option("--data", metavar="DIR", help="Folder of database, checkpoints and logs.")] = None,
    host: Annotated[str | None, typer.Option("--host", help="Address to bind; else TUNER_HOST, else 127.0.0.1.")] = None,
    allow: Allow = None,
    allow_bundles: AllowBundles = False,
    data_root: DataRoot = None,
) -> None:
    """Start the database, the server, the search and a worker for this machine; Ctrl-C or SIGTERM stops all."""
    settings = Settings.from_environment(port=port, data=data, host=host)
    check_folders(data_root or ())
    deployment = Deployment(
        settings,
        slots=parse_slots(workers),
        allow=tuple(allow or ()),
        allow_bundles=allow_bundles,
        data_roots=tuple(data_root or find_data_roots(Path.cwd())),
        say=say,
    )
    stop = stop_on_signals(deployment)
    try:
        if deployment.start(stop):
            _welcome(deployment)
            stop.wait()
        say("stopping")
    finally:
        deployment.stop()
    say("stopped")


def find_data_roots(folder: Path) -> list[Path]:
    """Where a machine of one's own reads data sets when it is not told: where one works, unless that is everywhere."""
    return [] if folder == Path(folder.anchor) else [folder]


def parse_slots(workers: str) -> int | None:
    """None for auto."""
    if workers == "auto":
        return None
    if not workers.isdecimal() or int(workers) > 1024:
        raise InvalidValue(f"--workers: {workers!r} is not allowed; give auto, or a number from 0 to 1024")
    return int(workers)


def stop_on_signals(deployment: Deployment) -> threading.Event:
    """An event that the first signal to end sets; the second makes the deployment end its parts without waiting for them."""
    stop = threading.Event()
    on_signals((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), stop.set, deployment.hurried.set)
    return stop


def _welcome(deployment: Deployment) -> None:
    lines = [
        f"tuner is up at {deployment.address}",
        f"  dashboard   {deployment.make_login_address()}  (opens once)",
        f"  data        {deployment.settings.data}  (key in credentials.json, logs in logs/)",
        "  submit      tuner study submit FILE --watch",
        "  stop        Ctrl-C",
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
