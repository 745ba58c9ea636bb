"""Import of Optuna studies: any storage that Optuna opens by a URL or a file, copied into our tables with all that Optuna keeps.

Numbers, states, values, parameters, distributions, attributes, intermediate values and times come over; ids are ours. Importing again
adds what the source has gained and changes nothing else. Weakness: a study comes in one transaction and through memory.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial
from sqlalchemy import Connection, create_engine, delete, insert, inspect, make_url, select, update
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from tuner import events, views
from tuner.db.postgres import Database
from tuner.db.tables import projects, reports, trials
from tuner.db.tables import studies as study_table
from tuner.errors import InvalidValue, StudyExists, StudyNotFound
from tuner.optuna_trials import objectives, read_trials, trial_columns
from tuner.wire import Study, check_json, encode_number

_METRIC_NAMES = "study:metric_names"
_SQLITE_HEADER = b"SQLite format 3\x00"
_ALLOWED = (
    "give the URL of an Optuna database such as sqlite:///optuna.db or postgresql://user@host/name, or the file of a journal"
)


def import_optuna(database: Database, project: str, url: str, study_names: Sequence[str] | None = None) -> list[Study]:
    """Copy studies, all of them unless named, and return them as they are here now.

    InvalidValue for a URL that is none of an Optuna storage, StudyNotFound for a name that is not in it, StudyExists for one that another
    study has here; then nothing of any study is imported.
    """
    source = _open(url)
    shown = _shown(url)
    try:
        found = {study.study_name: study for study in source.get_all_studies()}
        if not found:
            raise StudyNotFound(f"{shown} holds no study")
        names = list(dict.fromkeys(study_names)) if study_names else list(found)
        missing = [name for name in names if name not in found]
        if missing:
            raise StudyNotFound(f"{shown} has no study {missing[0]!r}; it has {', '.join(sorted(found)[:20])}")
        with database.begin() as connection:
            ids = [
                _import(connection, project, found[name], source.get_all_trials(found[name]._study_id, deepcopy=False))
                for name in names
            ]
    except StorageInternalError as error:
        raise InvalidValue(f"{shown} cannot be read: {error}") from error
    finally:
        if isinstance(source, RDBStorage):
            source.remove_session()
            source.engine.dispose()
    for study_id in ids:
        database.wake("result", study_id)
    return [views.get_study(database, project, study_id) for study_id in ids]


def _import(connection: Connection, project: str, study: FrozenStudy, found: Sequence[FrozenTrial]) -> int:
    """Bring one study over and return its id."""
    row = connection.execute(
        select(study_table)
        .where(study_table.c.project == project, study_table.c.name == study.study_name)
        .with_for_update(key_share=True)
    ).one_or_none()
    if row is None:
        study_id, present = _create(connection, project, study), []
        metric = _metric_names(study)[0]
    else:
        study_id, present, metric = row.id, read_trials(connection, project, row.id), row.objectives[0]["name"]
        directions = [item["direction"] for item in row.objectives]
        if row.spec is not None or directions != [direction.name.lower() for direction in study.directions]:
            raise StudyExists(f"the name {study.study_name!r} is taken by another study; rename or delete that one first")
    added = _to_add(connection, study.study_name, present, found)
    if added:
        _insert(connection, project, study_id, metric, added)
        next_number = max(trial.number for trial in [*present, *added]) + 1
        connection.execute(update(study_table).where(study_table.c.id == study_id).values(next_number=next_number))
        events.record(connection, project, study_id, "imported", trials=len(added))
    return study_id


def _create(connection: Connection, project: str, study: FrozenStudy) -> int:
    try:
        check_json([study.study_name, *_metric_names(study)])
    except ValueError as error:
        raise InvalidValue(f"the study {study.study_name!r} cannot be stored: {error}") from None
    if connection.execute(select(projects).where(projects.c.name == project)).one_or_none() is None:
        connection.execute(insert(projects).values(name=project))
    values = {
        "project": project,
        "name": study.study_name,
        "objectives": objectives(study.directions, _metric_names(study)),
        "user_attrs": json.dumps(study.user_attrs),
        "system_attrs": json.dumps(study.system_attrs),
        "created_by": "import",
    }
    return int(connection.execute(insert(study_table).values(**values).returning(study_table.c.id)).scalar_one())


def _to_add(connection: Connection, name: str, present: Sequence[FrozenTrial], found: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Trials of the source that are not here yet; those that were unfinished at the last import are taken out to come again."""
    here = {trial.number: trial for trial in present}
    added: list[FrozenTrial] = []
    outdated: list[int] = []
    for trial in found:
        copied = here.get(trial.number)
        if copied is None:
            added.append(trial)
        elif not _same(copied, trial):
            if copied.state.is_finished() or copied.datetime_start not in (None, trial.datetime_start):
                raise StudyExists(
                    f"the name {name!r} is taken by a study whose trial {trial.number} is another one; rename or delete that study first"
                )
            added.append(trial)
            outdated.append(copied._trial_id)
    if outdated:
        connection.execute(delete(trials).where(trials.c.id.in_(outdated)))
    return added


def _same(one: FrozenTrial, other: FrozenTrial) -> bool:
    """Whether trials agree in all that is copied; compared as text, in which NaN equals NaN."""
    columns = [(trial_columns(trial), str(sorted(trial.intermediate_values.items()))) for trial in (one, other)]
    return columns[0] == columns[1]


def _insert(connection: Connection, project: str, study_id: int, metric: str, added: Sequence[FrozenTrial]) -> None:
    ids: dict[int, int] = dict(
        connection.execute(
            insert(trials).returning(trials.c.number, trials.c.id),
            [
                {"project": project, "study_id": study_id, "number": trial.number, "origin": "added", **trial_columns(trial)}
                for trial in added
            ],
        ).all()
    )
    reported = [
        {
            "trial_id": ids[trial.number],
            "study_id": study_id,
            "epoch": 0,
            "step": step,
            "metrics": {metric: encode_number(float(value))},
        }
        for trial in added
        for step, value in trial.intermediate_values.items()
    ]
    if reported:
        connection.execute(insert(reports), reported)


def _metric_names(study: FrozenStudy) -> list[str]:
    given = study.system_attrs.get(_METRIC_NAMES)
    default = [item["name"] for item in objectives(study.directions)]
    return list(given) if isinstance(given, list) and len(given) == len(default) else default


def _open(url: str) -> BaseStorage:
    """The storage behind a URL; InvalidValue, and nothing created there, when it is none of Optuna's."""
    path = Path(url)
    if "://" not in url and path.is_file():
        with path.open("rb") as stream:
            first = stream.readline(1_000_000)
        if first.startswith(_SQLITE_HEADER):
            return _open_database(URL.create("sqlite", database=str(path)))
        try:
            if "op_code" in json.loads(first):
                return JournalStorage(JournalFileBackend(str(path)))
        except (ValueError, KeyError, TypeError):
            pass
        raise InvalidValue(f"{url} is neither an SQLite database nor a journal of Optuna; {_ALLOWED}")
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise InvalidValue(f"{url!r} is no URL and no file; {_ALLOWED}") from None
    if parsed.drivername in ("postgres", "postgresql"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    return _open_database(parsed)


def _open_database(url: URL) -> RDBStorage:
    shown = url.render_as_string(hide_password=True)
    if url.drivername.startswith("sqlite") and not Path(url.database or "").is_file():
        raise InvalidValue(f"{shown}: there is no file {url.database}; {_ALLOWED}")
    try:
        engine = create_engine(url)
        try:
            tables = set(inspect(engine).get_table_names())
        finally:
            engine.dispose()
        if not {"version_info", "studies", "trials"} <= tables:
            raise InvalidValue(f"{shown} is not an Optuna database: it has no Optuna tables; {_ALLOWED}")
        return RDBStorage(url.render_as_string(hide_password=False), skip_table_creation=True)
    except (SQLAlchemyError, StorageInternalError, ImportError) as error:
        raise InvalidValue(f"{shown} cannot be opened: {str(error).splitlines()[0]}; {_ALLOWED}") from error
    except RuntimeError as error:
        # A schema of an older or newer Optuna; its message says which and what to do.
        raise InvalidValue(f"{shown} cannot be read: {error}") from error


def _shown(url: str) -> str:
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return url
