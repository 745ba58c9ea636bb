"""Trials of a study as a file: csv, json, jsonl, and parquet where pyarrow is installed. Streamed page by page, except parquet.

A cell that a spreadsheet would take for a formula gets a ' in front; numbers are left as they are.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from typing import Any

import orjson
from starlette.responses import Response, StreamingResponse

from tuner import views, wire
from tuner.db.postgres import Database
from tuner.errors import FieldError, InvalidValue

FORMATS = ("csv", "json", "jsonl", "parquet")
_FACTS = (
    "number",
    "id",
    "state",
    "reason",
    "feasible",
    "origin",
    "attempt",
    "worker",
    "created_at",
    "started_at",
    "finished_at",
    "duration",
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def respond(database: Database, project: str, study: str, format: str, state: str | None, filter: str | None) -> Response:
    """The file as an answer. InvalidValue for a format that is not there."""
    summary = views.get_study(database, project, study)
    write = _WRITERS.get(format)
    if write is None:
        raise InvalidValue(errors=[FieldError("query.format", f"must be one of {', '.join(FORMATS)}")])
    # Looked at here, so that a wrong state or filter is a 422 and not a broken file.
    views.list_trials(database, project, summary.id, state=state, limit=1, filter=filter)
    content, media_type = write(summary, lambda: views.iterate_trials(database, project, summary.id, state=state, filter=filter))
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", summary.name).strip("-.")[:80] or "study"
    headers = {"Content-Disposition": f'attachment; filename="{name}.{format}"', "Cache-Control": "no-store"}
    return StreamingResponse(content, headers=headers, media_type=media_type)


_Trials = Callable[[], Iterator[wire.Trial]]


def _write_csv(study: wire.Study, trials: _Trials) -> tuple[Iterator[bytes], str]:
    return _csv_lines(study, trials), "text/csv"


def _csv_lines(study: wire.Study, trials: _Trials) -> Iterator[bytes]:
    objectives = [objective["name"] for objective in study.spec["objectives"]]
    # The columns stand before the first row: a study's space names them; one made through Optuna's storage is read through once.
    parameters = list(study.spec.get("space") or dict.fromkeys(name for trial in trials() for name in trial.params))
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(
        [
            _cell(name)
            for name in (*_FACTS, *(f"values.{name}" for name in objectives), *(f"params.{name}" for name in parameters))
        ]
    )
    for trial in trials():
        facts = trial.model_dump(mode="json", include=set(_FACTS))
        values, params = wire.encode_numbers(trial.values or {}), wire.encode_numbers(trial.params)
        row = [
            *(facts[name] for name in _FACTS),
            *(values.get(name) for name in objectives),
            *(params.get(name) for name in parameters),
        ]
        writer.writerow([_cell(item) for item in row])
        if buffer.tell() > 1 << 16:
            yield _drain(buffer)
    yield _drain(buffer)


def _write_json(study: wire.Study, trials: _Trials) -> tuple[Iterator[bytes], str]:
    def pieces() -> Iterator[bytes]:
        yield b'{"study":' + study.model_dump_json().encode() + b',"trials":['
        for index, trial in enumerate(trials()):
            yield (b",\n" if index else b"\n") + trial.model_dump_json().encode()
        yield b"\n]}\n"

    return pieces(), "application/json"


def _write_jsonl(study: wire.Study, trials: _Trials) -> tuple[Iterator[bytes], str]:
    return (trial.model_dump_json().encode() + b"\n" for trial in trials()), "application/jsonl"


def _write_parquet(study: wire.Study, trials: _Trials) -> tuple[Iterator[bytes], str]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise InvalidValue(
            errors=[
                FieldError(
                    "query.format", "parquet needs pyarrow on the server (pip install pyarrow); csv, json and jsonl are there"
                )
            ]
        ) from None
    table = pyarrow.Table.from_pylist([_flat(trial) for trial in trials()])
    stream = io.BytesIO()
    pyarrow.parquet.write_table(table, stream)
    return iter([stream.getvalue()]), "application/vnd.apache.parquet"


def _flat(trial: wire.Trial) -> dict[str, Any]:
    """One row of a table: a choice may be of any type, so parameters that are not numbers become text."""
    row = trial.model_dump(include=set(_FACTS)) | {"state": str(trial.state)}
    row |= {f"values.{name}": value for name, value in (trial.values or {}).items()}
    for name, value in trial.params.items():
        row[f"params.{name}"] = (
            float(value) if isinstance(value, int | float) and not isinstance(value, bool) else orjson.dumps(value).decode()
        )
    return row


_WRITERS: dict[str, Callable[[wire.Study, _Trials], tuple[Iterator[bytes], str]]] = {
    "csv": _write_csv,
    "json": _write_json,
    "jsonl": _write_jsonl,
    "parquet": _write_parquet,
}


def _cell(value: object) -> object:
    if isinstance(value, str) and value.startswith(_FORMULA) and value not in wire.NON_FINITE:
        return "'" + value
    return value


def _drain(buffer: io.StringIO) -> bytes:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text.encode()
