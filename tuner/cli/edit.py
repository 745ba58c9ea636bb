"""`tuner study edit`: a new version of a running study's search space, from options or from a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from tuner.cli.options import AsJson, Key, Server, StudyArgument, connect, make_body, parse_pair
from tuner.cli.output import print_json, say
from tuner.errors import InvalidValue
from tuner.parameters import show
from tuner.spec_file import read_spec_file
from tuner.wire import SpaceEdit, StudyPatch

Pairs = list[str] | None


def edit(
    study: StudyArgument,
    set_: Annotated[
        Pairs, typer.Option("--set", metavar="NAME.low|high=VALUE", help="Move an end of a range outwards; may be repeated.")
    ] = None,
    append: Annotated[Pairs, typer.Option("--append", metavar="NAME=CHOICE", help="One choice more; may be repeated.")] = None,
    freeze: Annotated[
        Pairs, typer.Option("--freeze", metavar="NAME=VALUE", help="The value of all further trials; may be repeated.")
    ] = None,
    unfreeze: Annotated[Pairs, typer.Option("--unfreeze", metavar="NAME", help="Vary it again; may be repeated.")] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", metavar="FILE", help="Edits by parameter, YAML or JSON, such as lr: {high: 1.0}."),
    ] = None,
    if_version: Annotated[
        int | None, typer.Option("--if-version", metavar="N", help="Only if the space is at this version still.")
    ] = None,
    as_json: AsJson = False,
    server: Server = None,
    key: Key = None,
) -> None:
    """Edit the search space while the study runs: append choices, widen ranges, freeze parameters. Earlier trials are kept."""
    edits: dict[str, Any] = {} if file is None else read_spec_file(file)
    for name, field, value in _given(set_ or (), append or (), freeze or (), unfreeze or ()):
        fields = edits.setdefault(name, {})
        if not isinstance(fields, dict):
            raise InvalidValue(f"{file}: {name} must be a mapping such as {{high: 1.0}}")
        if field == "append":
            fields[field] = [*_as_list(fields.get(field, [])), value]
        else:
            fields[field] = value
    if not edits:
        raise InvalidValue("nothing to edit: give --set, --append, --freeze, --unfreeze or --file")
    patch = {"space": edits} | ({} if if_version is None else {"space_version": if_version})
    with connect(server, key) as client:
        before = client.get_study(study)
        found = client.update_study(before.id, make_body(StudyPatch, **patch))
    if as_json:
        print_json(found)
    elif found.space_version == before.space_version:
        say(f"the space of study {found.name} is so already, at version {found.space_version}")
    else:
        for each in found.space_edits[before.space_version - 1 :]:
            say(f"space version {each.version}, from trial {each.first_number} on: {describe_changes(each)}")


def describe_changes(edited: SpaceEdit) -> str:
    """`lr high 0.1 -> 1, optimizer append 'lion', batch_size unfreeze`"""
    changes = [
        f"{name} unfreeze" if field == "unfreeze" else f"{name} {field} {_moved(edited.was.get(name, {}), field, value)}"
        for name, fields in edited.changes.items()
        for field, value in fields.items()
    ]
    return ", ".join(changes)


def _moved(was: dict[str, Any], field: str, value: Any) -> str:
    now = ", ".join(show(each) for each in _as_list(value))
    return f"{show(was[field])} -> {now}" if field in was else now


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list) else [value]


def _given(
    moved: Sequence[str], appended: Sequence[str], frozen: Sequence[str], unfrozen: Sequence[str]
) -> Iterator[tuple[str, str, Any]]:
    """Parameter, field and value of each option."""
    for word in moved:
        path, value = parse_pair(word, "--set", "NAME.high=VALUE")
        name, dot, field = path.rpartition(".")
        if not dot or not name or field not in ("low", "high"):
            raise InvalidValue(f"--set: {word!r} is not of the form NAME.low=VALUE or NAME.high=VALUE")
        yield name, field, value
    for word in appended:
        name, value = parse_pair(word, "--append", "NAME=CHOICE")
        yield name, "append", value
    for word in frozen:
        name, value = parse_pair(word, "--freeze")
        yield name, "freeze", value
    for name in unfrozen:
        yield name, "unfreeze", True
