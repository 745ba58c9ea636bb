"""A study as TensorBoard event files: a folder a trial with its curves, final values and parameters (hparams), and the study's beside them.

TensorBoard keeps values in single precision, and knows of a session only success and failure: that a trial was pruned or had not ended
stands in its text. The folder appears when it is whole; one with anything in it is left alone.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from tuner.client import Client
from tuner.errors import InvalidValue
from tuner.exports import contents
from tuner.wire import ReportItem, Scalar, Study, Trial, TrialState

if TYPE_CHECKING:
    from tensorboard.compat.proto.summary_pb2 import Summary

EVENTS = "events.out.tfevents.{time}.tuner"


def export(client: Client, study: Study, target: str) -> str:
    """Write the folder and return a sentence about it. InvalidValue for a target that is not empty or cannot be written."""
    try:
        import tensorboard.compat.proto.event_pb2  # noqa: F401
    except ImportError:
        raise contents.missing("tensorboard") from None
    folder = Path(target).absolute()
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InvalidValue(f"--to: {target} is there and is not an empty folder: name another, or remove it")
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            count = _write(client, study, partial)
            os.chmod(partial, 0o777 & ~_umask())
            partial.rename(folder)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    except OSError as error:
        raise InvalidValue(f"--to: cannot write {target}: {error.strerror}") from None
    return f"{count} trials are in {target}; look at them with `tensorboard --logdir {target}`"


def _write(client: Client, study: Study, folder: Path) -> int:
    from tensorboard.plugins.hparams.summary_v2 import HParam, Metric, hparams_config_pb

    count = 0
    parameters: dict[str, None] = {}
    for trial, reports in contents.iterate(client, study):
        parameters |= dict.fromkeys(trial.params)
        _write_trial(folder / f"trial-{trial.number:05d}", trial, reports)
        count += 1
    metrics = [Metric(contents.FINAL + name, display_name=name) for name in contents.objectives(study)]
    created = study.created_at.timestamp()
    with EventFile(folder) as events:
        events.add(created, 0, hparams_config_pb([HParam(name) for name in parameters], metrics, time_created_secs=created))
    return count


def _write_trial(folder: Path, trial: Trial, reports: Sequence[ReportItem]) -> None:
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb
    from tensorboard.plugins.scalar.summary_v2 import scalar_pb
    from tensorboard.plugins.text.summary_v2 import text_pb

    began = contents.started(trial).timestamp()
    params = {name: _hyperparameter(value) for name, value in trial.params.items()}
    with EventFile(folder) as events:
        events.add(began, 0, hparams_pb(params, trial_id=f"trial {trial.number}", start_time_secs=began))
        for report in reports:
            for name, value in report.values.items():
                events.add(began, report.step, scalar_pb(name, value))
        ended = began if trial.finished_at is None else trial.finished_at.timestamp()
        for name, value in (trial.values or {}).items():
            events.add(ended, contents.last_step(trial), scalar_pb(contents.FINAL + name, value))
        events.add(ended, 0, text_pb("trial", "\n".join(f"    {name}: {text}" for name, text in contents.facts(trial).items())))
        if trial.state.is_finished:
            events.add(ended, 0, _session_end(trial.state, ended))


class EventFile:
    """A new event file in a folder; written at once, without the thread that TensorBoard's own writer starts for each."""

    def __init__(self, folder: Path) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        folder.mkdir(exist_ok=True)
        self._event = Event
        self._file: BinaryIO = (folder / EVENTS.format(time=int(time.time()))).open("wb")
        self._records = RecordWriter(self._file)
        self._records.write(Event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString())

    def add(self, at: float, step: int, summary: Summary) -> None:
        self._records.write(self._event(wall_time=at, step=step, summary=summary).SerializeToString())

    def __enter__(self) -> EventFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._records.close()


def _session_end(state: TrialState, at: float) -> Summary:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    statuses = {TrialState.COMPLETE: api_pb2.STATUS_SUCCESS, TrialState.FAIL: api_pb2.STATUS_FAILURE}
    info = plugin_data_pb2.SessionEndInfo(status=statuses.get(state, api_pb2.STATUS_UNKNOWN), end_time_secs=at)
    data = plugin_data_pb2.HParamsPluginData(session_end_info=info)
    summary = Summary()
    summary.value.add(
        tag=metadata.SESSION_END_INFO_TAG, metadata=metadata.create_summary_metadata(data), tensor=metadata.NULL_TENSOR
    )
    return summary


def _hyperparameter(value: Scalar) -> bool | float | str:
    return value if isinstance(value, bool | int | float) else contents.as_text(value)


def _umask() -> int:
    """The mask of new files, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
