"""`tuner key`: API keys. A key's secret is printed once, by `create`, and stored nowhere."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from tuner.cli.options import AsJson, Key, Server, connect, make_body
from tuner.cli.output import print_json, print_table, say
from tuner.errors import InvalidValue
from tuner.wire import CreatedKey, KeyCreate, Scope

app = typer.Typer(help="API keys: create, list, revoke.", no_args_is_help=True)


@app.command("create")
def create(
    name: Annotated[str, typer.Option("--name", help="What the key is for, for people.")],
    scope: Annotated[Scope, typer.Option("--scope", help="What it may do.")] = Scope.SUBMITTER,
    project: Annotated[str, typer.Option("--project", help="Project it belongs to; made when new.")] = "default",
    expires_in: Annotated[
        float | None, typer.Option("--expires-in", metavar="DAYS", min=0.001, help="Days it is valid; else for good.")
    ] = None,
    in_database: Annotated[
        bool,
        typer.Option(
            "--in-database", help="Make it in the database that TUNER_DATABASE_URL names, without a server: the first key."
        ),
    ] = False,
    as_json: AsJson = False,
    server: Server = None,
    key: Key = None,
) -> None:
    """Create a key and print its secret, alone on standard output."""
    body = make_body(
        KeyCreate, name=name, scope=scope, project=project, expires_in=None if expires_in is None else expires_in * 86400
    )
    if in_database:
        created = _create_in_database(body)
    else:
        with connect(server, key) as client:
            created = client.create_key(body)
    if as_json:
        print_json(created)
        return
    say(f"key {created.id} ({created.scope.value}, project {created.project}); the secret is shown this once:")
    sys.stdout.write(created.key + "\n")


@app.command("list")
def list_(as_json: AsJson = False, server: Server = None, key: Key = None) -> None:
    """List keys, without their secrets."""
    with connect(server, key) as client:
        keys = client.list_keys()
    if as_json:
        print_json(keys)
        return
    print_table(
        ("id", "name", "scope", "project", "created", "last used", "expires", "revoked"),
        [(k.id, k.name, k.scope.value, k.project, k.created_at, k.last_used_at, k.expires_at, k.revoked_at) for k in keys],
    )


@app.command("revoke")
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the key, as `tuner key list` shows it.")],
    server: Server = None,
    key: Key = None,
) -> None:
    """Make a key worthless at once."""
    with connect(server, key) as client:
        client.revoke_key(key_id)
    say(f"key {key_id} is revoked")


def _create_in_database(body: KeyCreate) -> CreatedKey:
    from tuner import keys
    from tuner.db.postgres import Database
    from tuner.settings import Settings

    settings = Settings.from_environment()
    if settings.database_url is None:
        raise InvalidValue("TUNER_DATABASE_URL: set it to the database of the deployment; `tuner up` makes its own first key")
    database = Database.open(settings)
    try:
        return keys.create(database, body)
    finally:
        database.close()
