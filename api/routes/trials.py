"""Trials: listed, enqueued, looked into, cancelled, retried."""

from __future__ import annotations

from pydantic import Field

from api.auth import READ, SUBMIT
from api.routing import Call, Routes
from tuner import trials, views, wire
from tuner.errors import FieldError, InvalidValue, TrialNotFound

routes = Routes("trials")


class TrialQuery(wire.Body):
    state: str | None = Field(default=None, max_length=200, description="one state, or several with commas between")
    filter: str | None = Field(default=None, max_length=2000, description="such as state:complete lr<1e-3 optimizer=adam")
    sort: str | None = Field(default=None, max_length=200, description="a name of the filter, with - in front for descending")
    cursor: str | None = Field(default=None, max_length=2000, description="next_cursor of the page before")
    limit: int = Field(default=100, ge=1, le=1000)


class ReportQuery(wire.Body):
    since_step: int = Field(default=-1, ge=-1, le=2**53, description="only reports after this step")


class LogQuery(wire.Body):
    cursor: str | None = Field(default=None, max_length=2000, description="next_cursor of the answer before: ask on from there")
    limit: int = Field(default=1000, ge=1, le=1000)
    tail: int | None = Field(default=None, ge=1, le=2000, description="instead: that many lines, the last there are")


class ReportList(wire.Answer):
    items: list[wire.ReportItem]


class AttemptList(wire.Answer):
    items: list[wire.Attempt]


class CheckpointList(wire.Answer):
    items: list[wire.Checkpoint]


@routes.route("GET", "/v1/studies/{study}/trials", READ, answer=wire.TrialPage)
def list_trials(call: Call, study: str, query: TrialQuery) -> wire.TrialPage:
    """Trials of a study, by number unless sorted otherwise."""
    return views.list_trials(call.database, call.project, study, query.state, query.sort, query.cursor, query.limit, query.filter)


@routes.route("POST", "/v1/studies/{study}/trials", SUBMIT, answer=wire.Trial, status=201)
def create_trial(call: Call, study: str, body: wire.TrialCreate) -> wire.Trial:
    """Enqueue parameters, or add a trial that was finished elsewhere."""
    return trials.create(call.database, call.project, study, body, _request_key(call))


@routes.route("GET", "/v1/studies/{study}/trials/{number}", READ, answer=wire.Trial)
def get_trial_by_number(call: Call, study: str, number: int) -> wire.Trial:
    """One trial by its number in the study."""
    if number >= 2**31:
        raise TrialNotFound(f"study {study[:200]!r} has no trial {number}")
    return views.get_trial_by_number(call.database, call.project, study, number)


@routes.route("GET", "/v1/trials/{trial}", READ, answer=wire.Trial)
def get_trial(call: Call, trial: int) -> wire.Trial:
    """One trial by its id."""
    return views.get_trial(call.database, call.project, trial)


@routes.route("PATCH", "/v1/trials/{trial}", SUBMIT, answer=wire.Trial)
def update_trial(call: Call, trial: int, body: wire.TrialPatch) -> wire.Trial:
    """Change a trial's notes, whatever its state."""
    return trials.update_trial(call.database, call.project, trial, body)


@routes.route("GET", "/v1/trials/{trial}/reports", READ, answer=ReportList)
def list_reports(call: Call, trial: int, query: ReportQuery) -> ReportList:
    """Its intermediate values, by step."""
    return ReportList.model_construct(items=views.list_reports(call.database, call.project, trial, query.since_step))


@routes.route("GET", "/v1/trials/{trial}/attempts", READ, answer=AttemptList)
def list_attempts(call: Call, trial: int) -> AttemptList:
    """Its leases: who held each, and how it ended."""
    return AttemptList.model_construct(items=views.list_attempts(call.database, call.project, trial))


@routes.route("GET", "/v1/trials/{trial}/logs", READ, answer=wire.LogPage)
def list_logs(call: Call, trial: int, query: LogQuery) -> wire.LogPage:
    """Its log lines in the order they came."""
    if query.tail is not None and {"cursor", "limit"} & query.model_fields_set:
        raise InvalidValue(errors=[FieldError("query.tail", "stands alone: without cursor and limit")])
    return views.list_logs(call.database, call.project, trial, query.cursor, query.limit, query.tail)


@routes.route("GET", "/v1/trials/{trial}/checkpoints", READ, answer=CheckpointList)
def list_checkpoints(call: Call, trial: int) -> CheckpointList:
    """Its checkpoints, by step."""
    return CheckpointList.model_construct(items=views.list_checkpoints(call.database, call.project, trial))


@routes.route("POST", "/v1/trials/{trial}/cancel", SUBMIT, answer=wire.Trial)
def cancel_trial(call: Call, trial: int) -> wire.Trial:
    """End a trial: at once when it waits, else at its worker's next report."""
    return trials.cancel(call.database, call.project, trial)


@routes.route("POST", "/v1/trials/{trial}/retry", SUBMIT, answer=wire.Trial, status=201)
def retry_trial(call: Call, trial: int) -> wire.Trial:
    """Enqueue the parameters of a failed or pruned trial as a new trial."""
    return trials.retry(call.database, call.project, trial, _request_key(call))


def _request_key(call: Call) -> str | None:
    return None if call.key is None else f"{call.caller.key_id} {call.key}"
