"""Options that many commands share, and the client made from them."""

from __future__ import annotations

from typing import Annotated

import typer

from tuner.client import Client

PATIENCE = 10.0
"""Seconds for which a command goes on trying a server that has answered before."""

Server = Annotated[
    str | None,
    typer.Option("--server", metavar="URL", help="Address of the server; else TUNER_SERVER, else what `tuner up` noted."),
]
Key = Annotated[str | None, typer.Option("--key", metavar="KEY", help="API key; else TUNER_KEY, else what `tuner up` noted.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
StudyArgument = Annotated[str, typer.Argument(metavar="STUDY", help="Name or id of the study.")]
TrialArgument = Annotated[int, typer.Argument(metavar="TRIAL", help="Id of the trial, as `tuner trial list` shows it.", min=0)]


def connect(server: str | None, key: str | None) -> Client:
    return Client(server, key, patience=PATIENCE)
