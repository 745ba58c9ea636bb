"""`tuner trial checkpoint`: what a trial has saved, as a folder on this machine, whole or not at all."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from tuner.cli.options import AsJson, Key, Server, TrialArgument, connect, find_trial
from tuner.cli.output import print_json, say
from tuner.errors import InvalidValue


def checkpoint(
    trial: TrialArgument,
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="New folder for it.")],
    step: Annotated[int | None, typer.Option("--step", min=0, help="The one of this step; else the newest.")] = None,
    best: Annotated[
        bool, typer.Option("--best", help="The one at whose step the best value of the first objective was reported.")
    ] = False,
    as_json: AsJson = False,
    server: Server = None,
    key: Key = None,
) -> None:
    """Download a checkpoint of a trial and unpack it."""
    from workers import archive

    if step is not None and best:
        raise InvalidValue("--step and --best: give one of them")
    if to.exists() and not (to.is_dir() and not any(to.iterdir())):
        raise InvalidValue(f"--to: {to} is there already; name a new folder")
    which = "best" if best else "latest" if step is None else str(step)
    with connect(server, key) as client:
        found = find_trial(client, trial)
        try:
            to.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=f".{to.name}-", dir=to.parent) as scratch:
                with tempfile.TemporaryFile(dir=scratch) as packed:
                    saved = client.download_checkpoint(f"/v1/trials/{found.id}/checkpoints/{which}", packed)
                    packed.seek(0)
                    unpacked = Path(scratch, "checkpoint")
                    archive.unpack(packed, unpacked)
                unpacked.rename(to)
        except OSError as error:
            raise InvalidValue(f"--to: cannot write {to} ({error.strerror})") from None
    files = sorted(path.relative_to(to).as_posix() for path in to.rglob("*") if path.is_file())
    if as_json:
        print_json({"trial": found.id, "step": saved, "folder": str(to), "files": files})
    else:
        say(f"checkpoint of step {saved} of trial {found.number} of study {found.study} in {to}: {', '.join(files)}")
