"""`tuner demo`: start everything, search nine optimizers on a small data set, and show what was found."""

from __future__ import annotations

import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from tuner.cli.deployment import Deployment
from tuner.cli.output import say
from tuner.cli.study import describe_failure, print_leaderboard
from tuner.cli.up import Workers, parse_slots, stop_on_signals
from tuner.client import Client
from tuner.errors import InvalidValue
from tuner.handles import StudyHandle
from tuner.progress import show
from tuner.settings import Settings
from tuner.wire import Study, StudyState, Trial

STUDY = "optimizers-on-digits.yaml"
LEADERS = 10


def demo(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help=f"Study to run; else examples/{STUDY}.")] = None,
    data: Annotated[Path | None, typer.Option("--data", metavar="DIR", help="Folder to keep; else a temporary one.")] = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port to serve on; 0: any free one.")] = 0,
    workers: Workers = "auto",
    keep: Annotated[
        bool | None, typer.Option("--keep/--no-keep", envvar="KEEP", help="Go on serving when done; else only on a terminal.")
    ] = None,
) -> None:
    """Start everything, run an example study with a progress bar, print the leaderboard."""
    from tuner.spec import StudySpec

    spec = StudySpec.from_file(file or _find_example())
    folder = data or Path(tempfile.mkdtemp(prefix="tuner-demo-"))
    settings = Settings.from_environment({}, data=folder, port=port)
    deployment = Deployment(settings, slots=parse_slots(workers), say=say)
    stop = stop_on_signals(deployment)
    try:
        say("starting PostgreSQL, server, search and a worker")
        if not deployment.start(stop):
            raise typer.Exit(130)
        say(f"tuner is up at {deployment.address}")
        with Client(deployment.address, deployment.read_key()) as client:
            study = client.create_study(spec)
            last = show(_until(study, stop), stream=sys.stderr)
            if stop.is_set():
                raise typer.Exit(130)
            if last.state is not StudyState.COMPLETE or not last.counts.complete:
                say(describe_failure(client, last))
                raise typer.Exit(1)
            _print_results(study)
        dashboard = f"{deployment.address}/studies/{study.id}"
        if keep if keep is not None else sys.stdout.isatty():
            sys.stdout.write(f"\ndashboard: {deployment.make_login_address()}  (opens once), then {dashboard}\n")
            sys.stdout.write("serving until Ctrl-C\n")
            sys.stdout.flush()
            stop.wait()
        else:
            sys.stdout.write(f"\ndashboard: {dashboard} (served while tuner is up: `tuner up`, or `make demo` on a terminal)\n")
    finally:
        deployment.stop()
        if data is None:
            shutil.rmtree(folder, ignore_errors=True)


def _until(study: StudyHandle, stop: threading.Event) -> Iterator[Study]:
    for now in study.follow():
        yield now
        if stop.is_set():
            return


def _find_example() -> Path:
    """The example in the folder at hand, else beside the packages (a clone)."""
    for folder in (Path.cwd(), Path(__file__).resolve().parents[2]):
        if (path := folder / "examples" / STUDY).is_file():
            return path
    raise InvalidValue(f"examples/{STUDY} is not here; run this in a clone, or give a study file")


def _print_results(study: StudyHandle) -> None:
    """The leaders, and the best trial of each choice of the first categorical parameter."""
    spec = study.now.spec
    first = spec["objectives"][0]
    sign = -1.0 if first["direction"] == "maximize" else 1.0

    def rank(trial: Trial) -> float:
        return sign * (trial.values or {})[first["name"]]

    complete = (trial for trial in study.trials(state="COMPLETE") if trial.feasible is not False)
    trials = sorted((trial for trial in complete if trial.values), key=rank)
    if not trials:
        return
    print_leaderboard(trials[:LEADERS], title=f"The {min(LEADERS, len(trials))} best of {len(trials)} complete trials")
    choice = next((name for name, parameter in spec["space"].items() if parameter["type"] == "categorical"), None)
    if choice is not None:
        best: dict[object, Trial] = {}
        for trial in trials:
            best.setdefault(trial.params.get(choice), trial)
        print_leaderboard(list(best.values()), title=f"The best of each {choice}")
