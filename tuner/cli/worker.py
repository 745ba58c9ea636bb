"""`tuner worker`: lease, run and report trials on this machine until stopped."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Annotated

import typer

from tuner.cli.options import AllowBundles, DataRoot, Key, Server, check_folders, connect
from tuner.connection import find_server
from tuner.errors import InvalidValue
from tuner.settings import Settings


def worker(
    server: Server = None,
    key: Key = None,
    gpus: Annotated[str, typer.Option("--gpus", metavar="all|0,1|none", help="GPUs to use.")] = "all",
    slots: Annotated[
        int | None, typer.Option("--slots", min=1, help="Trials at once; else one a GPU, or one without GPUs.")
    ] = None,
    cpus: Annotated[float | None, typer.Option("--cpus", min=0.1, help="CPUs to use; else all.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name shown in the fleet; else the host's.")] = None,
    project: Annotated[
        str | None, typer.Option("--project", help="Refuse to start unless the key belongs to this project.")
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            "--allow", metavar="PATTERN", help="Entrypoints ('package.module:*') and commands ('command:python') it may run."
        ),
    ] = None,
    allow_bundles: AllowBundles = False,
    data_root: DataRoot = None,
    scratch: Annotated[
        Path | None, typer.Option("--scratch", metavar="DIR", help="Folder for trials' files; else a temporary one.")
    ] = None,
    drain_on: Annotated[
        str, typer.Option("--drain-on", metavar="SIGNAL", help="Signal that makes it drain, beside SIGINT and SIGTERM.")
    ] = "SIGTERM",
    drain_timeout: Annotated[float | None, typer.Option("--drain-timeout", min=0, help="Seconds that draining may take.")] = None,
) -> None:
    """Run trials until a signal, then drain: running trials are checkpointed and handed back."""
    from workers.agent import DRAIN_TIMEOUT, AgentOptions, run

    _drain_on(drain_on)
    server, key = find_server(server, key)
    if project is not None:
        with connect(server, key) as client:
            owner = client.whoami()["project"]
        if owner != project:
            raise InvalidValue(f"--project: the key belongs to project {owner!r}, not {project!r}; give a key of that project")
    check_folders(data_root or ())
    options = AgentOptions(
        server=server,
        key=key,
        name=name,
        gpus=gpus,
        slots=slots,
        cpus=cpus,
        allow=tuple(allow or ()),
        allow_bundles=allow_bundles,
        data_roots=tuple(data_root or ()),
        # Keys lie in the data folder of a deployment: what is below it is no data set.
        closed_folders=(Settings.from_environment().data,),
        scratch=scratch,
        drain_timeout=DRAIN_TIMEOUT if drain_timeout is None else drain_timeout,
    )
    raise typer.Exit(run(options))


def _drain_on(name: str) -> None:
    """Have another signal do what SIGTERM does: schedulers announce the end of a job with one of their own choosing."""
    number = getattr(signal, name if name.startswith("SIG") else f"SIG{name}", None)
    if not isinstance(number, signal.Signals) or number in (signal.SIGKILL, signal.SIGSTOP):
        raise InvalidValue(f"--drain-on: {name!r} is no signal that a process can receive; give one such as SIGTERM or SIGUSR1")
    if number not in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
