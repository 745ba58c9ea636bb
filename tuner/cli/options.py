"""Options that many commands share, and the client made from them."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import typer
from pydantic import BaseModel, ValidationError

from tuner.client import Client
from tuner.errors import FieldError, InvalidValue

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


def connect(server: str | None, key: str | None) -> Client:
    return Client(server, key, patience=PATIENCE)


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
