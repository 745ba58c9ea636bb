"""Studies: submitted, listed, changed, steered, and their results."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from starlette.responses import Response

from api import export as exports
from api.auth import READ, SUBMIT
from api.routing import Call, Routes, answer_tagged
from tuner import cells, columns, studies, study_progress, views, wire
from tuner.errors import FieldError, InvalidValue
from tuner.spec import StudySpec

routes = Routes("studies")


class StudyQuery(wire.Body):
    state: str | None = Field(default=None, max_length=200, description="one state, or several with commas between")
    q: str | None = Field(default=None, max_length=200, description="looked for in names and tags")
    archived: bool | None = Field(default=None, description="true: only those put away; false: only the others")
    cursor: str | None = Field(default=None, max_length=2000, description="next_cursor of the page before")
    limit: int = Field(default=50, ge=1, le=1000)


class ProgressQuery(wire.Body):
    ids: str = Field(max_length=2000, description="ids of at most 50 studies with commas between")


class ProgressList(wire.Answer):
    items: list[wire.StudyProgress]


class BestQuery(wire.Body):
    top: int = Field(
        default=1, ge=1, le=1000, description="so many trials, the best first; of several objectives always the front"
    )


class ColumnsQuery(wire.Body):
    since: int = Field(default=0, ge=0, lt=2**63, description="revision of the last answer")


class CurvesQuery(wire.Body):
    numbers: str | None = Field(default=None, max_length=10_000, description="numbers of trials with commas between")
    top: int = Field(default=20, ge=1, le=200, description="without numbers: so many of the best, and of the running")
    metric: str | None = Field(default=None, max_length=128, description="only this metric")
    points: int | None = Field(
        default=None, ge=10, le=10_000, description="thin each curve to about so many; without: all reports"
    )


class NumbersQuery(wire.Body):
    filter: str = Field(default="", max_length=2000, description="such as state:complete lr<1e-3 optimizer=adam")


class CellsQuery(wire.Body):
    kind: str = Field(max_length=20, description="metric, attribute or fact")
    name: str = Field(max_length=256, description="one of /cells/names")


class Numbers(wire.Answer):
    numbers: list[int]


class ExportQuery(wire.Body):
    format: str = Field(default="csv", max_length=20, description="csv, json, jsonl or parquet")
    state: str | None = Field(default=None, max_length=200)
    filter: str | None = Field(default=None, max_length=2000, description="only trials that pass, as in the listing of trials")


class Curves(wire.Answer):
    items: list[wire.TrialReports]


class TrialList(wire.Answer):
    items: list[wire.Trial]


@routes.route("POST", "/v1/studies", SUBMIT, answer=wire.Study, status=201, body_schema=StudySpec)
def create_study(call: Call, body: dict[str, Any]) -> wire.Study:
    """Create a study. The same spec under the same name again: 200 and that study; another spec: 409."""
    study, created = studies.create(call.database, call.project, StudySpec.parse(body), created_by=call.caller.name)
    if created:
        # Requests that wait for any study's trials may now have something to wait for.
        call.database.wake("trials", study.id)
    else:
        call.status = 200
    return study


@routes.route("GET", "/v1/studies", READ, answer=wire.StudyPage)
def list_studies(call: Call, query: StudyQuery) -> wire.StudyPage:
    """Studies, newest first."""
    return views.list_studies(call.database, call.project, query.state, query.q, query.cursor, query.limit, query.archived)


@routes.route("GET", "/v1/progress", READ, answer=ProgressList)
def list_progress(call: Call, query: ProgressQuery) -> ProgressList:
    """How studies have come along: the best value so far along the trials, and how many trials end in an hour."""
    ids = _integers(query.ids, "query.ids", "ids of studies")
    return ProgressList.model_construct(items=study_progress.list_(call.database, call.project, ids))


@routes.route("GET", "/v1/studies/{study}", READ, answer=wire.Study)
def get_study(call: Call, study: str) -> wire.Study:
    """One study, by id or name."""
    return views.get_study(call.database, call.project, study)


@routes.route("PATCH", "/v1/studies/{study}", SUBMIT, answer=wire.Study)
def update_study(call: Call, study: str, body: wire.StudyPatch) -> wire.Study:
    """Change limits, the search space, tags or notes, put it away (archived) or take it out again.

    Each edit of the space is a version of it, from which further trials are made.
    """
    changed = studies.update_study(call.database, call.project, study, body, updated_by=call.caller.name)
    call.database.wake("trials", changed.id)
    return changed


@routes.route("DELETE", "/v1/studies/{study}", SUBMIT, answer=None)
def delete_study(call: Call, study: str) -> None:
    """Remove a study with its trials and their checkpoints. Workers that hold one of them find their lease lost."""
    call.services.store.delete_study(call.database, call.project, study)


@routes.route("POST", "/v1/studies/{study}/pause", SUBMIT, answer=wire.Study)
def pause_study(call: Call, study: str) -> wire.Study:
    """No new leases; running trials save a checkpoint and wait."""
    return studies.pause(call.database, call.project, study)


@routes.route("POST", "/v1/studies/{study}/resume", SUBMIT, answer=wire.Study)
def resume_study(call: Call, study: str) -> wire.Study:
    """Go on with a paused study, or with an ended one whose limits leave room."""
    return studies.resume(call.database, call.project, study)


@routes.route("POST", "/v1/studies/{study}/stop", SUBMIT, answer=wire.Study)
def stop_study(call: Call, study: str) -> wire.Study:
    """Let running trials end, start no more."""
    return studies.stop(call.database, call.project, study)


@routes.route("POST", "/v1/studies/{study}/cancel", SUBMIT, answer=wire.Study)
def cancel_study(call: Call, study: str) -> wire.Study:
    """End the study and its trials now."""
    return studies.cancel(call.database, call.project, study)


@routes.route("GET", "/v1/studies/{study}/best", READ, answer=TrialList)
def get_best(call: Call, study: str, query: BestQuery) -> TrialList:
    """The best trial, or some of the best; of several objectives the Pareto front.

    Where trials are repeated on new seeds each configuration stands there once, with its mean.
    """
    return TrialList.model_construct(items=views.best(call.database, call.project, study, query.top))


@routes.route("GET", "/v1/studies/{study}/pareto", READ, answer=TrialList)
def get_pareto(call: Call, study: str) -> TrialList:
    """Complete trials that no other dominates."""
    return TrialList.model_construct(items=views.pareto(call.database, call.project, study))


@routes.route("GET", "/v1/studies/{study}/columns", READ, answer=dict[str, Any])
def get_columns(call: Call, study: str, query: ColumnsQuery) -> dict[str, Any] | Response:
    """Trials as parallel arrays, those changed since a revision: {revision, total, ids, numbers, state, values, params, ...}.

    All of them, without `since`, come with an ETag: 304 to who has them already.
    """
    if query.since:
        return columns.read(call.database, call.project, study, query.since).to_json()
    written = call.services.columns.get(call.database, call.project, study)
    return answer_tagged(call.request, written.content, written.tag)


@routes.route("GET", "/v1/studies/{study}/numbers", READ, answer=Numbers)
def get_numbers(call: Call, study: str, query: NumbersQuery) -> Numbers:
    """Numbers of the trials that pass a filter: which rows of the columns to show."""
    return Numbers.model_construct(numbers=views.numbers(call.database, call.project, study, query.filter))


@routes.route("GET", "/v1/studies/{study}/cells/names", READ, answer=wire.CellNames)
def get_cell_names(call: Call, study: str) -> wire.CellNames:
    """Which columns its trials have beyond those of /columns: metrics, attributes, facts of how they were run."""
    return cells.names(call.database, call.project, study)


@routes.route("GET", "/v1/studies/{study}/cells", READ, answer=wire.Cells)
def get_cells(call: Call, study: str, query: CellsQuery) -> wire.Cells:
    """One such column: of a metric the last, least and greatest intermediate value of each trial."""
    return cells.cells(call.database, call.project, study, query.kind, query.name)


@routes.route("GET", "/v1/studies/{study}/usage", READ, answer=wire.Usage)
def get_usage(call: Call, study: str) -> wire.Usage:
    """GPU-seconds used so far."""
    return cells.usage(call.database, call.project, study)


@routes.route("GET", "/v1/studies/{study}/curves", READ, answer=Curves)
def get_curves(call: Call, study: str, query: CurvesQuery) -> Curves:
    """Intermediate values of several trials."""
    numbers = None if query.numbers is None else _integers(query.numbers, "query.numbers", "numbers of trials")
    found = views.curves(call.database, call.project, study, numbers, query.top, query.points)
    if query.metric is not None:
        found = [_only(reports, query.metric) for reports in found]
    return Curves.model_construct(items=found)


@routes.route("GET", "/v1/studies/{study}/export", READ, answer=bytes, media_type="text/csv")
def export(call: Call, study: str, query: ExportQuery) -> Response:
    """All trials, or those that pass a filter, as csv, json, jsonl or parquet."""
    return exports.respond(call.database, call.project, study, query.format, query.state, query.filter)


def _integers(text: str, location: str, what: str) -> list[int]:
    parts = text.split(",")
    if not all(part.isascii() and part.isdigit() and len(part) <= 9 for part in parts):
        raise InvalidValue(errors=[FieldError(location, f"must be {what} with commas between")])
    return [int(part) for part in parts]


def _only(reports: wire.TrialReports, metric: str) -> wire.TrialReports:
    items = [
        item.model_copy(update={"values": {metric: item.values[metric]}}) for item in reports.reports if metric in item.values
    ]
    return reports.model_copy(update={"reports": items})
