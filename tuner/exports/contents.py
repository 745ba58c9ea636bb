"""What an export holds of each trial, whatever the tool: its parameters, intermediate and final values, times and facts.

Read page by page, one trial's reports at a time, so that a study of any size fits. A trial that changes meanwhile is exported as it was
when it was read. Weakness: the service does not say when a report came, so all of a trial's stand at the time at which it started.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime

from tuner.client import Client
from tuner.errors import InvalidValue
from tuner.handles import StudyHandle
from tuner.wire import ReportItem, Scalar, Study, Trial, encode_numbers

FINAL = "final/"
"""In front of an objective's name for its final value: the intermediate values of the same name stay as they were reported."""
EXTRAS = {"mlflow": "mlflow-skinny", "tensorboard": "tensorboard"}


def iterate(client: Client, study: Study) -> Iterator[tuple[Trial, list[ReportItem]]]:
    """Every trial of the study with its reports, in the order of their numbers."""
    for trial in StudyHandle(client, study).trials(sort="number"):
        yield trial, [] if trial.last_step is None else client.list_reports(trial.id)


def missing(name: str) -> InvalidValue:
    """The error for an export whose package is not installed here."""
    return InvalidValue(f"--format: {name} needs the package {EXTRAS[name]} on this machine: pip install 'tuner[{name}]'")


def objectives(study: Study) -> list[str]:
    return [str(objective["name"]) for objective in study.spec.get("objectives") or ()]


def started(trial: Trial) -> datetime:
    """When it started; when it was made, for one that never did."""
    return trial.started_at or trial.created_at


def last_step(trial: Trial) -> int:
    return trial.last_step or 0


def as_text(value: Scalar) -> str:
    """A parameter's value as text: texts as they are, all else as JSON."""
    return value if isinstance(value, str) else json.dumps(encode_numbers(value))


def facts(trial: Trial) -> dict[str, str]:
    """What else is known of a trial, as texts; what is not known is left out."""
    known = {
        "study": trial.study,
        "number": str(trial.number),
        "trial_id": str(trial.id),
        "state": trial.state.value,
        "reason": trial.reason,
        "error": trial.error,
        "origin": trial.origin,
        "attempt": str(trial.attempt),
        "worker": trial.worker,
    }
    attrs = {f"user_attrs.{name}": json.dumps(encode_numbers(value)) for name, value in trial.user_attrs.items()}
    return {name: value for name, value in (known | attrs).items() if value}
