"""PostgresStorage: Optuna's storage contract on our tables, so that Optuna's own tools work on our studies.

`optuna.load_study`, `study.optimize`, `optuna.copy_study`, the gRPC proxy and optuna-dashboard read and write what the service does. A
trial is one row, so a call is mostly one statement; finished trials never change and are kept in memory. What is copied in from other
Optuna databases is `tuner.imports`. Only here are our errors translated: KeyError, DuplicatedStudyError, UpdateFinishedTrialError.

On a study of the service its rules hold: no trial beyond max_trials, none while it is not RUNNING, and no result for a trial that a worker
holds a lease on (`Conflict`). Weaknesses: a trial that Optuna runs has no lease, so nobody notices when its process dies (there is no Optuna
heartbeat); Optuna's times are naive local ones, ambiguous in the hour a clock is set back.
"""

from __future__ import annotations

import copy
import json
import threading
import weakref
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from optuna.distributions import (
    BaseDistribution,
    check_distribution_compatibility,
    distribution_to_json,
)
from optuna.exceptions import DuplicatedStudyError, UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.storages._base import DEFAULT_STUDY_NAME_PREFIX
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Row, Select, Table, case, func, literal, select, text, update
from sqlalchemy.dialects.postgresql import insert

from tuner import events, studies, trials
from tuner.db.postgres import Database
from tuner.db.tables import projects
from tuner.db.tables import studies as study_table
from tuner.db.tables import trials as trial_table
from tuner.errors import Conflict, InvalidValue, StudyNotFound, StudyNotRunning
from tuner.optuna_feasibility import Feasibility
from tuner.optuna_trials import (
    CHANGED,
    CREATE_TRIAL,
    TRIAL_COLUMNS,
    objectives,
    parse,
    parse_directions,
    parse_distributions,
    sortable_value,
    to_trial,
    trial_columns,
)
from tuner.settings import Settings
from tuner.space import SearchSpace
from tuner.violations import UNJUDGED
from tuner.wire import encode_number

_FIXED_PARAMS = "fixed_params"
"""System attribute in which Optuna keeps the parameters of an enqueued trial until it is run."""


@dataclass(kw_only=True)
class _Known:
    """What this process knows of a study; guarded by the storage's lock."""

    directions: list[StudyDirection] | None = None
    finished: dict[int, FrozenTrial] = field(default_factory=dict)
    since: int = 0
    """Finished trials with a lower revision are all in `finished`."""
    distributions: dict[str, BaseDistribution] = field(default_factory=dict)


class PostgresStorage(BaseStorage):
    """Studies of one project. `database` is a PostgreSQL URL, or an open Database, which stays the caller's to close.

    May be shared by threads; pickled, it connects anew. DatabaseUnavailable when nothing answers or the tables are not there.
    """

    def __init__(self, database: str | Database, project: str = "default") -> None:
        if isinstance(database, str):
            database = Database.open(Settings(database_url=database))
            weakref.finalize(self, database.close)
        self._database = database
        self._project = project
        self._forget()

    def __getstate__(self) -> dict[str, Any]:
        return {"_database": self._database, "_project": self._project}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        weakref.finalize(self, self._database.close)
        self._forget()

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[int, _Known] = {}
        self._study_of: dict[int, tuple[int, int]] = {}  # trial id -> study id, number
        self._feasibility = Feasibility(self._database, self._project)

    # Studies.

    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        name = DEFAULT_STUDY_NAME_PREFIX + str(uuid4()) if study_name is None else study_name
        values = {"project": self._project, "name": name, "objectives": objectives(directions)}
        with self._database.begin() as connection:
            connection.execute(insert(projects).values(name=self._project).on_conflict_do_nothing())
            query = insert(study_table).values(**values).on_conflict_do_nothing(index_elements=["project", "name"])
            study_id = connection.execute(query.returning(study_table.c.id)).scalar_one_or_none()
            if study_id is None:
                raise DuplicatedStudyError(f"the name {name!r} is taken by another study; choose another, or load_if_exists=True")
            events.record(connection, self._project, study_id, "created", by="optuna")
        self._database.wake("result", study_id)
        return int(study_id)

    def delete_study(self, study_id: int) -> None:
        try:
            studies.delete(self._database, self._project, study_id)
        except StudyNotFound as error:
            raise KeyError(error.message) from error
        with self._lock:
            self._known.pop(study_id, None)

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        self._set_attribute(study_table, "user_attrs", study_id, key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self._set_attribute(study_table, "system_attrs", study_id, key, value)

    def get_study_id_from_name(self, study_name: str) -> int:
        with self._database.read() as connection:
            study_id = connection.execute(
                select(study_table.c.id).where(study_table.c.project == self._project, study_table.c.name == study_name)
            ).scalar_one_or_none()
        if study_id is None:
            raise KeyError(f"no study is named {study_name!r}")
        return int(study_id)

    def get_study_name_from_id(self, study_id: int) -> str:
        return str(self._study(study_id).name)

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        with self._lock:
            known = self._known.get(study_id)
            if known is not None and known.directions is not None:
                return list(known.directions)
        directions = parse_directions(self._study(study_id).objectives)
        with self._lock:
            self._known.setdefault(study_id, _Known()).directions = directions
        return list(directions)

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        return parse(self._study(study_id).user_attrs)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return parse(self._study(study_id).system_attrs)

    def get_all_studies(self) -> list[FrozenStudy]:
        with self._database.read() as connection:
            found = connection.execute(_STUDY.where(study_table.c.project == self._project).order_by(study_table.c.id)).all()
        return [
            FrozenStudy(
                study_name=row.name,
                direction=None,
                directions=parse_directions(row.objectives),
                user_attrs=parse(row.user_attrs),
                system_attrs=parse(row.system_attrs),
                study_id=row.id,
            )
            for row in found
        ]

    def _study(self, study_id: int) -> Row[Any]:
        with self._database.read() as connection:
            query = _STUDY.where(study_table.c.id == study_id, study_table.c.project == self._project)
            row = connection.execute(query).one_or_none()
        if row is None:
            raise KeyError(f"no study has the id {study_id}")
        return row

    # Trials, written.

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Add a trial. On a study of the service: StudyNotRunning when it has ended, Conflict when max_trials are made."""
        parameters = {
            "study": study_id,
            "project": self._project,
            "running": template_trial is None,
            "origin": "suggested",
            "priority": 0,
            "steps": [],
            "metrics": [],
            **trial_columns(template_trial or _BLANK),
        }
        if template_trial is not None:
            parameters["steps"] = list(template_trial.intermediate_values)
            parameters["metrics"] = [
                json.dumps(encode_number(float(value))) for value in template_trial.intermediate_values.values()
            ]
            if template_trial.state.is_finished():
                parameters |= {"origin": "added"} | self._feasibility.columns(study_id, template_trial)
            elif template_trial.state == TrialState.WAITING:
                parameters |= {"origin": "enqueued", "priority": 1} | self._enqueued_params(study_id, template_trial)
        with self._database.read() as connection:
            row = connection.execute(CREATE_TRIAL, parameters | {"final": parameters["origin"] == "added"}).one_or_none()
        if row is None:
            raise self._no_room(study_id)
        with self._lock:
            self._study_of[row.id] = study_id, row.number
        self._database.wake("result", study_id)
        if parameters["origin"] == "enqueued":
            self._database.wake("trials", study_id)
        return int(row.id)

    def _enqueued_params(self, study_id: int, template: FrozenTrial) -> dict[str, str]:
        """Columns of an enqueued trial of the service: its workers read params, not Optuna's attribute. ValueError as for any bad params."""
        fixed = template.system_attrs.get(_FIXED_PARAMS)
        if fixed is None or template.params:
            return {}
        with self._database.read() as connection:
            spec = connection.execute(select(study_table.c.spec).where(study_table.c.id == study_id)).scalar_one_or_none()
        if spec is None:
            return {}
        try:
            stored = json.loads(spec)
            space = SearchSpace.parse(stored["space"], stored.get("constraints", ()))
            params = space.check(fixed)
        except InvalidValue as error:
            raise ValueError(error.message) from error
        return {"params": json.dumps(params), "distributions": json.dumps(trials.distributions(space, params))}

    def _no_room(self, study_id: int) -> Exception:
        row = self._study(study_id)
        max_trials = row.limits.get("max_trials")
        if max_trials is not None and row.next_number >= max_trials:
            return Conflict(f"study {row.name!r} has made all of its {max_trials} trials; raise limits.max_trials first")
        return StudyNotRunning(f"study {row.name!r} is {row.state}: trials can be made while it is RUNNING")

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        earlier = self._distribution(trial_id, param_name)
        if earlier is not None:
            try:
                check_distribution_compatibility(earlier, distribution)
            except ValueError:
                if not self.get_trial(trial_id).state.is_finished():
                    raise
                raise self._refusal(trial_id) from None
        name = json.dumps(param_name)
        value = json.dumps(distribution.to_external_repr(param_value_internal))
        columns = trial_table.c
        query = (
            update(trial_table)
            .where(columns.id == trial_id, columns.project == self._project, columns.state.in_(_UNFINISHED), _NOT_LEASED)
            .values(
                params=_appended(columns.params, f"{name}: {value}"),
                distributions=_appended(columns.distributions, f"{name}: {distribution_to_json(distribution)}"),
            )
            .returning(columns.study_id)
        )
        with self._database.read() as connection:
            study_id = connection.execute(query).scalar_one_or_none()
        if study_id is None:
            raise self._refusal(trial_id)
        if earlier is None:
            with self._lock:
                self._known.setdefault(study_id, _Known()).distributions.setdefault(param_name, distribution)

    def _distribution(self, trial_id: int, name: str) -> BaseDistribution | None:
        """The distribution that a trial of the same study had for this parameter before."""
        with self._lock:
            study_id = self._study_of.get(trial_id, (None, 0))[0]
            if study_id is not None:
                found = self._known.setdefault(study_id, _Known()).distributions.get(name)
                if found is not None:
                    return found
        parameters = {"trial": trial_id, "project": self._project, "token": f'{json.dumps(name)}: {{"name": '}
        with self._database.read() as connection:
            row = connection.execute(_EARLIER, parameters).one_or_none()
        if row is None:
            raise KeyError(f"no trial has the id {trial_id}")
        found = None if row.distributions is None else parse_distributions(row.distributions).get(name)
        with self._lock:
            self._study_of[trial_id] = row.study_id, row.number
            if found is not None:
                self._known.setdefault(row.study_id, _Known()).distributions[name] = found
        return found

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        told = None if values is None else [float(value) for value in values]
        parameters = {
            "trial": trial_id,
            "project": self._project,
            "state": state.name,
            "final": state.is_finished(),
            "values": None if told is None else json.dumps(told),
            "value": sortable_value(state, told),
            **UNJUDGED,
        }
        if state.is_finished():
            of_study = self._study_id_of(trial_id)
            if self._feasibility.is_asked(of_study, trial_id):
                parameters |= self._feasibility.columns(of_study, self.get_trial(trial_id), state, told)
        with self._database.read() as connection:
            study_id = connection.execute(_SET_STATE, parameters).scalar_one_or_none()
        if study_id is None:
            if state == TrialState.RUNNING and self.get_trial(trial_id).state == TrialState.RUNNING:
                return False
            raise self._refusal(trial_id)
        if state.is_finished():
            self._feasibility.forget(trial_id)
        self._database.wake("result", study_id)
        if state == TrialState.WAITING:
            self._database.wake("trials", study_id)
        return True

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        value = json.dumps(encode_number(float(intermediate_value)))
        parameters = {"trial": trial_id, "project": self._project, "step": int(step), "value": value}
        with self._database.read() as connection:
            study_id = connection.execute(_REPORT, parameters).scalar_one_or_none()
        if study_id is None:
            raise self._refusal(trial_id)
        self._database.wake("result", study_id)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._set_attribute(trial_table, "user_attrs", trial_id, key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        self._set_attribute(trial_table, "system_attrs", trial_id, key, value)
        self._feasibility.note(trial_id, key)

    def _set_attribute(self, table: Table, column: str, row_id: int, key: str, value: Any) -> None:
        """A key that is not there yet is appended by one statement; one that is, replaced under the row's lock."""
        token, stored = f"{json.dumps(key)}: ", table.c[column]
        query = update(table).where(table.c.id == row_id, table.c.project == self._project)
        if table is trial_table:
            query = query.where(table.c.state.in_(_UNFINISHED))
        append = query.where(func.strpos(stored, token) == 0).values({column: _appended(stored, token + json.dumps(value))})
        with self._database.read() as connection:
            if connection.execute(append.returning(table.c.id)).one_or_none() is not None:
                return
        with self._database.begin() as connection:
            state = table.c.state if table is trial_table else literal("WAITING")
            where = (table.c.id == row_id, table.c.project == self._project)
            row = connection.execute(
                select(stored.label("attributes"), state.label("state")).where(*where).with_for_update(key_share=True)
            ).one_or_none()
            if row is None:
                raise KeyError(f"no {table.name} have the id {row_id}")
            if row.state not in _UNFINISHED:
                raise UpdateFinishedTrialError(f"the trial with the id {row_id} is {row.state} and cannot be changed")
            connection.execute(update(table).where(*where).values({column: json.dumps(parse(row.attributes) | {key: value})}))

    def _refusal(self, trial_id: int) -> Exception:
        """Why a trial could not be changed."""
        trial = self.get_trial(trial_id)
        if trial.state.is_finished():
            return UpdateFinishedTrialError(f"trial {trial.number} is {trial.state.name} and cannot be changed")
        return Conflict(f"trial {trial.number} is leased to a worker: only the holder of the lease may write to it")

    # Trials, read.

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        query = select(trial_table.c.id).where(
            trial_table.c.study_id == study_id, trial_table.c.number == trial_number, trial_table.c.project == self._project
        )
        with self._database.read() as connection:
            trial_id = connection.execute(query).scalar_one_or_none()
        if trial_id is None:
            raise KeyError(f"no trial has the number {trial_number} in the study with the id {study_id}")
        return int(trial_id)

    def _study_id_of(self, trial_id: int) -> int:
        with self._lock:
            known = self._study_of.get(trial_id)
        if known is None:
            self.get_trial(trial_id)
            return self._study_of[trial_id][0]
        return known[0]

    def get_trial(self, trial_id: int) -> FrozenTrial:
        with self._lock:
            study_id, number = self._study_of.get(trial_id, (-1, -1))
            known = self._known.get(study_id)
            if known is not None and number in known.finished:
                return known.finished[number]
        with self._database.read() as connection:
            row = connection.execute(_ONE_TRIAL, {"trial": trial_id, "project": self._project}).one_or_none()
        if row is None:
            raise KeyError(f"no trial has the id {trial_id}")
        with self._lock:
            self._study_of[trial_id] = row.study_id, row.number
        return to_trial(row)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """All trials by number. Reads what is unfinished and what has finished since the last call."""
        with self._lock:
            since = self._known.get(study_id, _Known()).since
        with self._database.read() as connection:
            found = connection.execute(CHANGED, {"study": study_id, "project": self._project, "since": since}).all()
        if not found:
            with self._lock:
                self._known.pop(study_id, None)
            raise KeyError(f"no study has the id {study_id}")
        fresh = [to_trial(row) for row in found if row.id is not None]
        with self._lock:
            known = self._known.setdefault(study_id, _Known())
            for trial in fresh:
                self._study_of[trial._trial_id] = study_id, trial.number
                if trial.state.is_finished():
                    known.finished[trial.number] = trial
            known.since = max(known.since, found[0].horizon)
            # The search for a WAITING trial before each ask need not look through all that has finished.
            by_number = dict(known.finished) if states is None or any(state in states for state in _FINISHED) else {}
        by_number |= {trial.number: trial for trial in fresh if trial.number not in by_number}
        result = [by_number[number] for number in sorted(by_number)]
        if states is not None:
            result = [trial for trial in result if trial.state in states]
        return copy.deepcopy(result) if deepcopy else result

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        directions = self.get_study_directions(study_id)
        if len(directions) > 1:
            raise RuntimeError("a study with several objectives has no single best trial; use study.best_trials")
        value = trial_table.c.value
        order = value.desc() if directions[0] == StudyDirection.MAXIMIZE else value.asc()
        query = select(trial_table.c.id).where(
            trial_table.c.study_id == study_id, trial_table.c.state == TrialState.COMPLETE.name, value.is_not(None)
        )
        with self._database.read() as connection:
            trial_id = connection.execute(query.order_by(order, trial_table.c.number).limit(1)).scalar_one_or_none()
        if trial_id is None:
            raise ValueError("No trials are completed yet.")
        return self.get_trial(trial_id)


def _appended(column: Any, item: str) -> Any:
    """SQL: the JSON object in a text column with one more `"key": value`, which wins over an earlier one of the same key."""
    return case((column == "{}", "{" + item + "}"), else_=func.left(column, -1).concat(", " + item + "}"))


_BLANK = FrozenTrial(
    number=0,
    state=TrialState.RUNNING,
    value=None,
    datetime_start=None,
    datetime_complete=None,
    params={},
    distributions={},
    user_attrs={},
    system_attrs={},
    intermediate_values={},
    trial_id=0,
)
_FINISHED = tuple(state for state in TrialState if state.is_finished())
_UNFINISHED = (TrialState.WAITING.name, TrialState.RUNNING.name)
_NOT_LEASED = text("NOT EXISTS (SELECT FROM attempts a WHERE a.trial_id = trials.id AND a.ended_at IS NULL)")

_STUDY: Select[Any] = select(
    study_table.c.id,
    study_table.c.name,
    study_table.c.state,
    study_table.c.objectives,
    study_table.c.limits,
    study_table.c.next_number,
    study_table.c.user_attrs,
    study_table.c.system_attrs,
)

_EARLIER = text(
    """
    SELECT t.study_id, t.number, (
        SELECT o.distributions FROM trials o WHERE o.study_id = t.study_id AND strpos(o.distributions, :token) > 0
        ORDER BY o.number LIMIT 1
    ) AS distributions
    FROM trials t WHERE t.id = :trial AND t.project = :project
    """
)

# Of several that set a WAITING trial RUNNING one finds it WAITING; the rest wait for its row, look again and change nothing.
_SET_STATE = text(
    """
    UPDATE trials SET state = CAST(:state AS text), objective_values = coalesce(CAST(:values AS text), objective_values),
        value = CAST(:value AS float), constraint_values = CAST(:constraint_values AS text), violation = CAST(:violation AS float),
        reason = coalesce(CAST(:reason AS text), reason), error = coalesce(CAST(:error AS text), error),
        verdict = 'continue', not_before = NULL,
        started_at = CASE WHEN :state = 'RUNNING' AND (epoch = 0 OR started_at IS NULL) THEN clock_timestamp() ELSE started_at END,
        finished_at = CASE WHEN :final THEN clock_timestamp() END
    WHERE id = :trial AND project = :project AND state IN ('WAITING', 'RUNNING') AND (:state <> 'RUNNING' OR state = 'WAITING')
        AND NOT EXISTS (SELECT FROM attempts a WHERE a.trial_id = trials.id AND a.ended_at IS NULL)
    RETURNING study_id
    """
)

# The share lock keeps the trial unfinished until the report is stored: a finished trial has all of its reports.
_REPORT = text(
    """
    WITH t AS (
        SELECT id, study_id, epoch FROM trials
        WHERE id = :trial AND project = :project AND state IN ('WAITING', 'RUNNING')
            AND NOT EXISTS (SELECT FROM attempts a WHERE a.trial_id = trials.id AND a.ended_at IS NULL)
        FOR SHARE
    )
    INSERT INTO reports (trial_id, study_id, epoch, step, metrics)
    SELECT t.id, t.study_id, t.epoch, :step, jsonb_build_object(s.objectives->0->>'name', CAST(:value AS jsonb))
    FROM t JOIN studies s ON s.id = t.study_id
    ON CONFLICT (trial_id, step) DO UPDATE SET epoch = excluded.epoch, metrics = reports.metrics || excluded.metrics
    RETURNING study_id
    """
)

_ONE_TRIAL = text(
    f"SELECT {TRIAL_COLUMNS} FROM trials t JOIN studies s ON s.id = t.study_id WHERE t.id = :trial AND t.project = :project"
)
