"""`tuner trial`: look at single trials, add some, try one again."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Annotated, Any

import typer

from tuner import outcome_constraints
from tuner.calls import iterate
from tuner.cli import checkpoint, rerun
from tuner.cli.options import AsJson, Key, Server, StudyArgument, TrialArgument, connect, find_trial, make_body, parse_pair
from tuner.cli.output import make_visible, print_facts, print_json, print_table, say, show_duration
from tuner.client import Client
from tuner.errors import InvalidValue
from tuner.wire import Answer, LogLine, Trial, TrialCreate, TrialState

app = typer.Typer(help="Trials: list, show, logs, enqueue, retry, cancel, checkpoint, rerun.", no_args_is_help=True)
app.command("checkpoint")(checkpoint.checkpoint)
app.command("rerun")(rerun.rerun)
POLL = 1.0


@app.command("list")
def list_(
    study: StudyArgument,
    state: Annotated[TrialState | None, typer.Option("--state", case_sensitive=False, help="Only trials in this state.")] = None,
    filter: Annotated[
        str | None, typer.Option("--filter", metavar="TERMS", help="Such as 'state:complete optimizer=adam lr<1e-3'.")
    ] = None,
    sort: Annotated[
        str | None, typer.Option("--sort", help="value, duration, started_at, a parameter, ...; -value for descending.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many.")] = 50,
    as_json: AsJson = False,
    server: Server = None,
    key: Key = None,
) -> None:
    """List the trials of a study."""
    with connect(server, key) as client:
        pages = iterate(
            lambda cursor: client.list_trials(study, state=state, filter=filter, sort=sort, cursor=cursor, limit=min(200, limit))
        )
        trials = list(islice(pages, limit))
    if as_json:
        print_json(trials)
        return
    if not trials:
        say("no such trials")
        return
    print_table(
        ("id", "trial", "state", "values", "step", "time", "origin", "worker", "params"),
        [
            (
                trial.id,
                trial.number,
                _state(trial),
                trial.values,
                trial.last_step,
                show_duration(trial.duration),
                _origin(trial),
                trial.worker,
                trial.params,
            )
            for trial in trials
        ],
    )


@app.command("show")
def show_(trial: TrialArgument, as_json: AsJson = False, server: Server = None, key: Key = None) -> None:
    """Show one trial with its attempts, reports and checkpoints."""
    with connect(server, key) as client:
        found = find_trial(client, trial)
        attempts, reports = client.list_attempts(found.id), client.list_reports(found.id)
        checkpoints = client.list_checkpoints(found.id)
    if as_json:
        parts: dict[str, Sequence[Answer]] = {"attempts": attempts, "reports": reports, "checkpoints": checkpoints}
        print_json(
            found.model_dump(mode="json")
            | {name: [item.model_dump(mode="json") for item in items] for name, items in parts.items()}
        )
        return
    record = next((attempt.record for attempt in reversed(attempts) if attempt.record is not None), {})
    print_facts(
        {
            "trial": f"{found.number} of study {found.study} (id {found.id})",
            "state": _state(found),
            "error": _last_line(found.error),
            "values": found.values,
            "feasible": _feasibility(found),
            "params": found.params,
            "origin": _origin(found),
            "attributes": found.user_attrs,
            "created": found.created_at,
            "started": found.started_at,
            "finished": found.finished_at,
            "time": show_duration(found.duration),
            "record": _summarize(record),
            "rerun": f"tuner trial rerun {shlex.quote(f'{found.study}/{found.number}')} --verify" if "seed" in record else None,
        }
    )
    if attempts:
        print_table(
            ("attempt", "worker", "started", "ended", "reason", "resumed from step", "error"),
            [(a.epoch, a.worker, a.started_at, a.ended_at, a.reason, a.resumed_from, _last_line(a.error)) for a in attempts],
        )
    if reports:
        print_table(("step", "attempt", "values"), [(report.step, report.epoch, report.values) for report in reports])
    if checkpoints:
        print_table(
            ("step", "attempt", "bytes", "sha256"),
            [(c.step, c.epoch, c.size, c.sha256[:16]) for c in checkpoints],
            title="checkpoints",
        )
    if found.error and len(lines := found.error.strip().splitlines()) > 1:
        sys.stdout.write("".join(make_visible(line) + "\n" for line in lines))


@app.command("logs")
def logs(
    trial: TrialArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Stay until the trial has ended.")] = False,
    as_json: AsJson = False,
    server: Server = None,
    key: Key = None,
) -> None:
    """Print what a trial wrote."""
    with connect(server, key) as client:
        trial_id = find_trial(client, trial).id
        cursor: str | None = None
        while True:
            ended = client.get_trial(trial_id).state.is_finished
            cursor = _print_logs(client, trial_id, cursor, as_json)
            if ended or not follow:
                return
            time.sleep(POLL)


@app.command("enqueue")
def enqueue(
    study: StudyArgument,
    params: Annotated[list[str], typer.Argument(metavar="NAME=VALUE...", help="One value a parameter; or one JSON object.")],
    as_json: AsJson = False,
    server: Server = None,
    key: Key = None,
) -> None:
    """Have these parameters tried before anything else."""
    given = _parse_params(params)
    for name, value in given.items():
        if isinstance(value, dict | list):
            raise InvalidValue(f"params.{name}: give a number, a text, true, false or null")
    trial = make_body(TrialCreate, params=given)
    with connect(server, key) as client:
        _print_one(client.create_trial(study, trial), "is enqueued", as_json)


@app.command("retry")
def retry(trial: TrialArgument, as_json: AsJson = False, server: Server = None, key: Key = None) -> None:
    """Try the parameters of a finished trial again, as a new trial."""
    with connect(server, key) as client:
        _print_one(client.retry_trial(find_trial(client, trial).id), "is enqueued", as_json)


@app.command("cancel")
def cancel(trial: TrialArgument, as_json: AsJson = False, server: Server = None, key: Key = None) -> None:
    """End a waiting or running trial."""
    with connect(server, key) as client:
        _print_one(client.cancel_trial(find_trial(client, trial).id), "is told to stop", as_json)


def _summarize(record: Mapping[str, Any]) -> dict[str, object] | None:
    """Of a record, what a person looks at first; all of it is in the JSON."""
    versions, device, weights = (
        value if isinstance(value := record.get(name), dict) else {} for name in ("versions", "device", "weights")
    )
    facts = {
        "tuner": versions.get("tuner"),
        "torch": versions.get("torch"),
        "device": device.get("name") or device.get("kind"),
        "threads": record.get("threads"),
        "data": record.get("data"),
        "weights": weights.get("sha256"),
    }
    return {name: str(value)[:12] if name in ("data", "weights") else value for name, value in facts.items() if value} or None


def _last_line(error: str | None) -> str | None:
    """Of a traceback, the line that says what happened; the whole is printed below."""
    lines = (error or "").strip().splitlines()
    return lines[-1] if lines else None


def _print_logs(client: Client, trial: int, cursor: str | None, as_json: bool) -> str | None:
    """Print what came after `cursor`; the cursor to go on from."""
    while True:
        page = client.list_logs(trial, cursor=cursor)
        for line in page.items:
            _print_line(line, as_json)
        sys.stdout.flush()
        cursor = page.next_cursor
        if not page.items:
            return cursor


def _print_line(line: LogLine, as_json: bool) -> None:
    sys.stdout.write((json.dumps(line.model_dump(mode="json")) if as_json else make_visible(line.text.rstrip("\r\n"))) + "\n")


def _parse_params(words: list[str]) -> dict[str, object]:
    """{"lr": 0.1} from `lr=0.1`; values are read as JSON where they are JSON, as text otherwise."""
    if len(words) == 1 and words[0].lstrip().startswith("{"):
        try:
            given = json.loads(words[0])
        except ValueError as error:
            raise InvalidValue(f"params: not a JSON object ({error}); give NAME=VALUE ... or one JSON object") from None
        return dict(given)
    return dict(parse_pair(word, "params") for word in words)


def _print_one(trial: Trial, what: str, as_json: bool) -> None:
    if as_json:
        print_json(trial)
    else:
        say(f"trial {trial.number} of study {trial.study} (id {trial.id}) {what}: {_state(trial)}")


def _origin(trial: Trial) -> str:
    return trial.origin if trial.parent is None else f"{trial.origin} of trial {trial.parent}"


def _feasibility(trial: Trial) -> str | None:
    """Whether the trial meets the outcome constraints of its study; which it breaks and by how much."""
    if trial.feasible is None:
        return None
    return "yes" if trial.feasible else f"no: {outcome_constraints.describe(trial.constraints or {})}"


def _state(trial: Trial) -> str:
    return trial.state.value + (f" ({trial.reason})" if trial.reason else "")
