"""`tuner study export`: a study as a file, as an MLflow experiment, or as TensorBoard's event files."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from tuner.cli.options import Key, Server, StudyArgument, connect
from tuner.cli.output import say
from tuner.client import Client
from tuner.errors import InvalidValue

FILES = ("csv", "json", "jsonl", "parquet")
TOOLS = ("mlflow", "tensorboard")
FORMATS = (*FILES, *TOOLS)


def export(
    study: StudyArgument,
    format_: Annotated[str, typer.Option("--format", help=f"One of {', '.join(FORMATS)}.")] = "csv",
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            "--output",
            "-o",
            metavar="PLACE",
            help="File to write, else standard output; mlflow: folder or tracking URI; tensorboard: folder.",
        ),
    ] = None,
    server: Server = None,
    key: Key = None,
) -> None:
    """Write all trials of a study as csv, json, jsonl or parquet, as an MLflow experiment, or for TensorBoard."""
    if format_ not in FORMATS:
        raise InvalidValue(f"--format: {format_!r} is not allowed; give one of {', '.join(FORMATS)}")
    if format_ in TOOLS and to is None:
        raise InvalidValue(f"--to: say where {format_} is to find it: a folder" + (" or a tracking URI" * (format_ == "mlflow")))
    with connect(server, key) as client:
        if to is None:
            client.export(study, format_, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        elif format_ in FILES:
            _write_file(client, study, format_, Path(to))
        else:
            _write_tool(client, study, format_, to)


def _write_file(client: Client, study: str, format_: str, output: Path) -> None:
    partial = output.with_name(output.name + ".part")
    try:
        with partial.open("wb") as stream:
            client.export(study, format_, stream)
        partial.replace(output)
    except OSError as error:
        raise InvalidValue(f"--output: cannot write {output}: {error.strerror}") from None
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def _write_tool(client: Client, study: str, format_: str, target: str) -> None:
    from tuner.exports import mlflow, tensorboard

    write = mlflow.export if format_ == "mlflow" else tensorboard.export
    say(write(client, client.get_study(study), target))
