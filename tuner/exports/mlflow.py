"""A study as an MLflow experiment, one run a trial: parameters, intermediate values by step, final values, state, times, facts as tags.

The target is a tracking server's address, any other tracking URI, or a folder, which gets a SQLite database that `mlflow ui` reads. The
experiment has the study's name once it is whole; one that is there already is left alone. MLflow's own limits hold: names get `_` for the
characters it refuses, long texts are cut, and its SQL stores keep an infinite value as the largest number there is.
"""

from __future__ import annotations

import logging
import os
import posixpath
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tuner.client import Client
from tuner.errors import InvalidValue, TunerError
from tuner.exports import contents
from tuner.wire import ReportItem, Study, Trial, TrialState

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

DATABASE = "mlflow.db"
MAX_NAME = 250
MAX_PARAM = 6_000
MAX_TAG = 5_000
MAX_PARAMS, MAX_METRICS = 100, 900
"""In one request, which may hold 1,000 of both together."""

ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # what is exported is nobody else's business
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # a wrong address is said in seconds, not in minutes
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # it would print two lines a run
}
STATUS = {
    TrialState.WAITING: "SCHEDULED",
    TrialState.RUNNING: "RUNNING",
    TrialState.COMPLETE: "FINISHED",
    TrialState.PRUNED: "KILLED",
    TrialState.FAIL: "FAILED",
}

Item = TypeVar("Item")


def export(client: Client, study: Study, target: str) -> str:
    """Write the experiment and return a sentence about it. InvalidValue for a target that cannot be used or has it already."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        from mlflow.tracking import MlflowClient
    except ImportError:
        raise contents.missing("mlflow") from None
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    uri, artifacts = locate(target)
    unfinished = f"{study.name} (export under way, {uuid.uuid4().hex[:8]})"
    try:
        tracking = MlflowClient(tracking_uri=uri)
        there = tracking.get_experiment_by_name(study.name)
        experiment = "" if there else tracking.create_experiment(unfinished, artifacts, _experiment_tags(study))
    except Exception as error:  # whatever its stores raise
        raise InvalidValue(f"--to: MLflow cannot use {target}: {_first_sentence(error)}") from None
    if there is not None:
        state = "" if there.lifecycle_stage == "active" else ", as a deleted one that `mlflow gc` removes for good"
        raise InvalidValue(
            f"--to: {target} has an experiment {study.name!r} already{state}: delete it there, or export to another place"
        )
    try:
        count = _write(tracking, experiment, contents.iterate(client, study))
        tracking.rename_experiment(experiment, study.name)
    except BaseException as error:
        with suppress(Exception):
            tracking.delete_experiment(experiment)
        if isinstance(error, TunerError) or not isinstance(error, Exception):
            raise
        raise TunerError(
            f"the export to {target} ended early, and what it had written is deleted: {_first_sentence(error)}"
        ) from error
    return f"{count} trials are runs of the experiment {study.name!r} in {uri}"


def locate(target: str) -> tuple[str, str | None]:
    """The tracking URI of a target, and where its artifacts belong if that is ours to say."""
    if target == "databricks" or re.match(r"[a-z][a-z0-9+.-]+:", target):
        return target, None
    folder = Path(target).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidValue(f"--to: cannot make the folder {folder}: {error.strerror}") from None
    if not os.access(folder, os.W_OK):
        raise InvalidValue(f"--to: the folder {folder} cannot be written")
    return f"sqlite:///{folder / DATABASE}", (folder / "artifacts").as_uri()


def _write(tracking: MlflowClient, experiment: str, trials: Iterator[tuple[Trial, list[ReportItem]]]) -> int:
    names = Names()
    count = 0
    for trial, reports in trials:
        _write_run(tracking, experiment, trial, reports, names)
        count += 1
    return count


def _write_run(tracking: MlflowClient, experiment: str, trial: Trial, reports: Sequence[ReportItem], names: Names) -> None:
    from mlflow.entities import Metric, Param

    began = _milliseconds(contents.started(trial))
    tags = {f"tuner.{name}": text[:MAX_TAG] for name, text in contents.facts(trial).items()}
    run = tracking.create_run(experiment, start_time=began, tags=names.all(tags), run_name=f"trial {trial.number}")
    run_id = run.info.run_id
    params = [Param(names(name), contents.as_text(value)[:MAX_PARAM]) for name, value in trial.params.items()]
    metrics = [Metric(names(name), value, began, report.step) for report in reports for name, value in report.values.items()]
    ended = began if trial.finished_at is None else _milliseconds(trial.finished_at)
    for name, value in (trial.values or {}).items():
        metrics.append(Metric(names(contents.FINAL + name), value, ended, contents.last_step(trial)))
    for some_params, some_metrics in zip_longest(_split(params, MAX_PARAMS), _split(metrics, MAX_METRICS), fillvalue=()):
        tracking.log_batch(run_id, params=some_params, metrics=some_metrics)
    status = STATUS[trial.state]
    if trial.state.is_finished:
        tracking.set_terminated(run_id, status, end_time=ended)
    elif trial.state is TrialState.WAITING:
        tracking.update_run(run_id, status=status)


class Names:
    """Names as MLflow takes them; two that become the same are told apart by a number."""

    def __init__(self) -> None:
        self._given: dict[str, str] = {}
        self._taken: set[str] = set()

    def __call__(self, name: str) -> str:
        given = self._given.get(name)
        if given is None:
            plain = re.sub(r"[^\w.\- :/]", "_", name, flags=re.ASCII)[: MAX_NAME - 5]
            if posixpath.normpath(plain) != plain or plain.startswith(("/", ".")):
                plain = re.sub(r"[/.]", "_", plain)
            given, count = plain, 1
            while given in self._taken:
                count += 1
                given = f"{plain}-{count}"
            self._given[name] = given
            self._taken.add(given)
        return given

    def all(self, texts: Mapping[str, str]) -> dict[str, str]:
        return {self(name): text for name, text in texts.items()}


def _experiment_tags(study: Study) -> dict[str, str]:
    tags = {"tuner.study_id": str(study.id), "tuner.state": study.state.value, "tuner.tags": ", ".join(study.tags)}
    tags |= {f"tuner.objective.{item['name']}": str(item["direction"]) for item in study.spec.get("objectives") or ()}
    tags["mlflow.note.content"] = study.notes
    return Names().all({name: text[:MAX_TAG] for name, text in tags.items() if text})


def _split(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    return (items[at : at + size] for at in range(0, len(items), size))


def _milliseconds(time: datetime) -> int:
    return round(time.timestamp() * 1000)


def _first_sentence(error: BaseException) -> str:
    """What went wrong, without the advice and the inner errors that follow it."""
    first: str = re.split(r"\.\s|\n|: Max retries", str(error).strip(), maxsplit=1)[0]
    return first[:300] or type(error).__name__
