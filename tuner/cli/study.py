"""`tuner study`: submit studies, look at them, move them through their life."""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from tuner.calls import iterate
from tuner.cli.advice import print_advice
from tuner.cli.compare import compare
from tuner.cli.edit import describe_changes, edit
from tuner.cli.export import export
from tuner.cli.options import AsJson, Key, Server, StudyArgument, connect
from tuner.cli.output import make_visible, print_facts, print_json, print_table, say, show_age, show_duration
from tuner.client import Client
from tuner.errors import InvalidValue
from tuner.handles import StudyHandle
from tuner.progress import show_best
from tuner.wire import Study, StudyState, Trial

app = typer.Typer(help="Studies: submit, list, watch, end.", no_args_is_help=True)


@app.command("submit")
def submit(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Study file, YAML or JSON; - reads standard input.")],
    watch: Annotated[bool, typer.Option("--watch", help="Stay and show its progress.")] = False,
    name: Annotated[str | None, typer.Option("--name", help="Name to use instead of the file's.")] = None,
    context: Annotated[
        Path | None, typer.Option("--context", metavar="DIR", help="Folder of code to ship to the workers with the study.")
    ] = None,
    as_json: AsJson = False,
    server: Server = None,
    key: Key = None,
) -> None:
    """Submit a study. The same file again is the same study."""
    from tuner.spec import StudySpec

    spec = StudySpec.from_file(Path("/dev/stdin") if str(file) == "-" else file)
    if name is not None:
        spec = StudySpec.parse(spec.to_json() | {"name": name})
    with connect(server, key) as client:
        spec = spec if context is None else client.ship(spec, context)
        study, created = client.submit_study(spec)
        if as_json and not watch:
            print_json(study)
            return
        say(f"study {study.name} (id {study.id}) {'is submitted' if created else f'was there already: {study.state.value}'}")
        if spec.trial.bundle is not None:
            say(
                f"its code is the bundle {spec.trial.bundle[:12]}, for workers started with --allow-bundles and an --allow that fits"
            )
        if watch:
            _watch(client, study, as_json)
        else:
            say(f"watch it with `tuner study watch {study.name}`, or in a browser at {client.server}")


@app.command("list")
def list_(
    state: Annotated[StudyState | None, typer.Option("--state", case_sensitive=False, help="Only studies in this state.")] = None,
    q: Annotated[str | None, typer.Option("--q", help="Only studies whose name contains this.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many.")] = 50,
    as_json: AsJson = False,
    server: Server = None,
    key: Key = None,
) -> None:
    """List studies, the newest first."""
    with connect(server, key) as client:
        pages = iterate(lambda cursor: client.list_studies(state=state, q=q, cursor=cursor, limit=min(200, limit)))
        studies = list(islice(pages, limit))
    if as_json:
        print_json(studies)
        return
    if not studies:
        say("no studies; submit one with `tuner study submit FILE`")
        return
    print_table(
        ("id", "name", "state", "finished", "running", "failed", "best", "created"),
        [
            (
                study.id,
                study.name,
                study.state.value + (f" ({study.reason})" if study.reason else ""),
                f"{study.counts.finished}/{_limits(study).get('max_trials') or '∞'}",
                study.counts.running,
                study.counts.fail,
                study.best_value,
                show_age(study.created_at),
            )
            for study in studies
        ],
    )


@app.command("show")
def show_(study: StudyArgument, as_json: AsJson = False, server: Server = None, key: Key = None) -> None:
    """Show one study."""
    with connect(server, key) as client:
        found = client.get_study(study)
        if as_json:
            print_json(found)
        else:
            _print_study(found)
            print_advice(client, found.id)


@app.command("best")
def best(
    study: StudyArgument,
    top: Annotated[
        int,
        typer.Option(
            "--top",
            min=1,
            max=1000,
            help="So many trials, the best first (one objective); of repeated ones each configuration once.",
        ),
    ] = 1,
    as_json: AsJson = False,
    server: Server = None,
    key: Key = None,
) -> None:
    """Show the best trial; with several objectives those that no other dominates."""
    with connect(server, key) as client:
        trials = client.best(study, top=top)
        if as_json:
            print_json(trials)
        elif not trials:
            say("no complete trial is feasible yet" if client.get_study(study).counts.infeasible else "no trial is complete yet")
        else:
            print_leaderboard(trials)
            print_advice(client, study)


@app.command("watch")
def watch(study: StudyArgument, as_json: AsJson = False, server: Server = None, key: Key = None) -> None:
    """Show a study's progress until it has ended. Exit code 1 when it failed."""
    with connect(server, key) as client:
        _watch(client, client.get_study(study), as_json)


@app.command("pause")
def pause(study: StudyArgument, server: Server = None, key: Key = None) -> None:
    """Start no more trials; running ones go on."""
    with connect(server, key) as client:
        _tell_state(client.pause_study(study))


@app.command("resume")
def resume(study: StudyArgument, server: Server = None, key: Key = None) -> None:
    """Let a paused study go on."""
    with connect(server, key) as client:
        _tell_state(client.resume_study(study))


@app.command("stop")
def stop(study: StudyArgument, server: Server = None, key: Key = None) -> None:
    """Let running trials end, then end the study."""
    with connect(server, key) as client:
        _tell_state(client.stop_study(study))


@app.command("cancel")
def cancel(study: StudyArgument, server: Server = None, key: Key = None) -> None:
    """End the study and its running trials now."""
    with connect(server, key) as client:
        _tell_state(client.cancel_study(study))


@app.command("delete")
def delete(
    study: StudyArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    server: Server = None,
    key: Key = None,
) -> None:
    """Delete a study with its trials, reports and checkpoints."""
    with connect(server, key) as client:
        found = client.get_study(study)
        if not yes:
            if not sys.stdin.isatty():
                raise InvalidValue(f"deleting {found.name} cannot be undone: repeat with --yes")
            typer.confirm(f"Delete {found.name} with {found.counts.total} trials for good?", abort=True, err=True)
        client.delete_study(found.id)
    say(f"study {found.name} is deleted")


app.command("edit")(edit)
app.command("export")(export)
app.command("compare")(compare)


@app.command("import")
def import_(
    url: Annotated[str, typer.Option("--from", metavar="URL", help="An Optuna storage, such as sqlite:///study.db.")],
    study: Annotated[list[str] | None, typer.Option("--study", help="Only the study of this name; may be repeated.")] = None,
    project: Annotated[str, typer.Option("--project", help="Project to import into.")] = "default",
    data: Annotated[Path | None, typer.Option("--data", metavar="DIR", help="Data folder of the embedded database.")] = None,
    as_json: AsJson = False,
) -> None:
    """Copy studies of an Optuna database. Works on the database itself: run it where the server runs."""
    from tuner.db.postgres import Database
    from tuner.imports import import_optuna
    from tuner.settings import Settings

    database = Database.open(Settings.from_environment(data=data))
    try:
        studies = import_optuna(database, project, url, study or None)
    finally:
        database.close()
    if as_json:
        print_json(studies)
    else:
        for imported in studies:
            say(f"study {imported.name} (id {imported.id}): {imported.counts.total} trials")


def _decided(study: Study, part: str) -> str | None:
    """The name of a study's sampler or pruner; where it was left to the service also what was decided."""
    asked = (study.spec.get(part) or {}).get("name")
    decided = None if study.strategy is None else getattr(study.strategy, part)["name"]
    return asked if decided in (None, asked) else f"{decided} ({asked})"


def describe_failure(client: Client, study: Study) -> str:
    """How a study ended that found nothing, with what its last failed trial said."""
    text = f"study {study.name} ended {study.state.value} ({study.reason}) with {study.counts.complete} complete trials"
    if study.counts.infeasible:
        text += f", of which {study.counts.infeasible} are infeasible"
    failed = client.list_trials(study.id, state="FAIL", sort="-number", limit=1).items
    if not failed:
        return text
    lines = (failed[0].error or "").strip().splitlines()
    return f"{text}; trial {failed[0].number}: {failed[0].reason}" + (f", {make_visible(lines[-1])}" if lines else "")


def print_leaderboard(trials: list[Trial], *, title: str | None = None) -> None:
    objectives = list(trials[0].values or {})
    names = list(dict.fromkeys(name for trial in trials for name in trial.params))
    repeated = any(trial.repeats is not None for trial in trials)
    print_table(
        ("trial", *objectives, *(["all seeds"] if repeated else []), "time", *names),
        [
            (
                trial.number,
                *((trial.values or {}).get(name) for name in objectives),
                *([None if trial.repeats is None else trial.repeats.show()] if repeated else []),
                show_duration(trial.duration),
                *(trial.params.get(name) for name in names),
            )
            for trial in trials
        ],
        title=title,
    )


def _watch(client: Client, study: Study, as_json: bool) -> None:
    handle = StudyHandle(client, study)
    try:
        last = handle.wait(progress=True)
    except KeyboardInterrupt:
        say(f"study {study.name} goes on; watch it again with `tuner study watch {study.name}`")
        raise typer.Exit(130) from None
    trials = client.best(study.id)
    if as_json:
        print_json(last)
    elif trials:
        print_leaderboard(trials)
    if last.state is StudyState.FAIL or not trials:
        say(describe_failure(client, last))
        raise typer.Exit(1)


def _print_study(found: Study) -> None:
    counts = found.counts
    print_facts(
        {
            "name": found.name,
            "id": found.id,
            "state": found.state.value + (f" ({found.reason})" if found.reason else ""),
            "objectives": [f"{item['name']} ({item['direction']})" for item in found.spec.get("objectives") or ()],
            "sampler": _decided(found, "sampler"),
            "pruner": _decided(found, "pruner"),
            "because": None if found.strategy is None else " ".join(found.strategy.reasons),
            "limits": {name: value for name, value in _limits(found).items() if value is not None},
            "trials": f"{counts.complete} complete, {counts.pruned} pruned, {counts.fail} failed, "
            f"{counts.running} running, {counts.waiting} waiting",
            "outcome constraints": _constraints(found),
            "best": show_best(found),
            "space version": found.space_version if found.space_edits else None,
            "tags": found.tags,
            "notes": found.notes,
            "created": found.created_at,
            "finished": found.finished_at,
        }
    )
    space = found.spec.get("space") or {}
    print_table(
        ("parameter", "range"),
        [(name, {k: v for k, v in parameter.items() if v is not None}) for name, parameter in space.items()],
    )
    if found.space_edits:
        print_table(
            ("space version", "from trial", "changes", "by", "at"),
            [(each.version, each.first_number, describe_changes(each), each.by, each.at) for each in found.space_edits],
        )


def _constraints(study: Study) -> str | None:
    """The study's outcome constraints, and how many complete trials break one."""
    texts = study.spec.get("outcome_constraints") or ()
    return (
        f"{', '.join(texts)}; {study.counts.infeasible} of {study.counts.complete} complete trials break one" if texts else None
    )


def _tell_state(study: Study) -> None:
    say(f"study {study.name} is {study.state.value}" + (f" ({study.reason})" if study.reason else ""))


def _limits(study: Study) -> dict[str, object]:
    return study.spec.get("limits") or {}
