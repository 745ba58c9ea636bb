"""Options that many commands share, and the client made from them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from pydantic import BaseModel, ValidationError

from tuner.client import Client
from tuner.errors import FieldError, InvalidValue
from tuner.wire import Trial

Model = TypeVar("Model", bound=BaseModel)

PATIENCE = 10.0
"""Seconds for which a command goes on trying a server that has answered before."""

Server = Annotated[
    str | None,
    typer.Option("--server", metavar="URL", help="Address of the server; else TUNER_SERVER, else what `tuner up` noted."),
]
Key = Annotated[str | None, typer.Option("--key", metavar="KEY", help="API key; else TUNER_KEY, else what `tuner up` noted.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
StudyArgument = Annotated[str, typer.Argument(metavar="STUDY", help="Name or id of the study.")]
TrialArgument = Annotated[str, typer.Argument(metavar="TRIAL", help="Id of the trial, or STUDY/NUMBER.")]
AllowBundles = Annotated[
    bool,
    typer.Option(
        "--allow-bundles", help="Also run code that comes with a study (`study submit --context`), where --allow fits it."
    ),
]
DataRoot = Annotated[
    list[Path] | None,
    typer.Option("--data-root", metavar="DIR", help="Folder below which files of data sets may be read; may be repeated."),
]


def find_trial(client: Client, reference: str) -> Trial:
    """The trial of an id, or of STUDY/NUMBER; no study's name has a slash in it."""
    study, slash, number = reference.rpartition("/")
    if not number.isdecimal() or not number.isascii() or (slash and not study):
        raise InvalidValue(f"TRIAL: {reference!r} is not allowed; give a trial's id, or STUDY/NUMBER")
    return client.get_trial_by_number(study, int(number)) if slash else client.get_trial(int(number))


def parse_pair(word: str, option: str, form: str = "NAME=VALUE") -> tuple[str, Any]:
    """("lr", 0.1) from `lr=0.1`: the value is read as JSON where it is JSON, as text otherwise."""
    name, equals, value = word.partition("=")
    if not equals or not name:
        raise InvalidValue(f"{option}: {word!r} is not of the form {form}")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def connect(server: str | None, key: str | None) -> Client:
    return Client(server, key, patience=PATIENCE)


def check_folders(data_roots: Iterable[Path]) -> None:
    """InvalidValue for a data root that is no folder: every trial would be refused its files."""
    for folder in data_roots:
        if not folder.is_dir():
            raise InvalidValue(f"--data-root: there is no folder {folder}")


def make_body(model: type[Model], **values: Any) -> Model:
    """A request's body from what was typed; InvalidValue names what is wrong with it."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
        # What follows a parameter's name in a location are the types that were tried.
        raise InvalidValue(
            errors=[FieldError(".".join(map(str, problem["loc"][:2])), problem["msg"]) for problem in problems[:1]]
        ) from None
