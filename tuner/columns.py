"""A study's trials as parallel arrays, which charts and tables read: from the database, and kept for whoever asks for all of them again.

A kept study is brought up to date by its revision, like everything that follows changes: what has changed since is read and put in place, and
only then written as JSON anew. Each process keeps its own, at most MAX_CELLS of them, of the studies last asked for. Weakness: the first
who asks for 100,000 trials waits a second, and a study with more than MAX_CELLS cells is read anew each time.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlalchemy import Connection, Row, select, text

from tuner.db.postgres import Database
from tuner.db.tables import studies
from tuner.events import horizon
from tuner.studies import find
from tuner.wire import encode_numbers

MAX_CELLS = 4_000_000
"""One takes about 30 bytes."""
_FACTS = ("ids", "numbers", "state", "reason", "feasible", "started_at", "finished_at")


@dataclass(kw_only=True)
class Columns:
    """Trials in the order of their numbers. Times are seconds since 1970; None where a trial has none; NaN and infinities are texts.

    A parameter may have the choice null, which looks like one that is absent: `nulls` has the numbers of the trials that were given it.
    """

    revision: int
    total: int
    revisions: list[int]
    facts: dict[str, list[Any]]
    values: dict[str, list[Any]]
    params: dict[str, list[Any]]
    nulls: dict[str, list[int]]

    def to_json(self) -> dict[str, Any]:
        """{revision, total, ids, numbers, state, reason, feasible, started_at, finished_at, values: {objective: []}, params: {name: []},
        nulls: {name of a parameter: numbers}}."""
        columns = {**self.facts, "values": self.values, "params": self.params, "nulls": self.nulls}
        return {"revision": self.revision, "total": self.total, **columns}

    @property
    def num_cells(self) -> int:
        return len(self.revisions) * (1 + len(self.facts) + len(self.values) + len(self.params))

    def merge(self, changed: Columns) -> bool | None:
        """Put in place what has changed since `revision`: whether anything had. None: a trial has to go in between, read all anew."""
        numbers = self.facts["numbers"]
        places = {number: place for place, number in enumerate(numbers)} if changed.revisions else {}
        news = [
            (places.get(number), row)
            for row, number in enumerate(changed.facts["numbers"])
            if number not in places or self.revisions[places[number]] != changed.revisions[row]
        ]
        last = numbers[-1] if numbers else -1
        if any(place is None and changed.facts["numbers"][row] < last for place, row in news):
            return None
        for name in changed.params:
            self.params.setdefault(name, [None] * len(numbers))
        for place, row in news:
            _put(self.revisions, place, changed.revisions[row])
            for own, given in ((self.facts, changed.facts), (self.values, changed.values), (self.params, changed.params)):
                for name, column in own.items():
                    _put(column, place, given[name][row] if name in given else None)
        self._merge_nulls(changed)
        is_changed = bool(news) or self.total != changed.total
        self.revision, self.total = changed.revision, changed.total
        return is_changed

    def _merge_nulls(self, changed: Columns) -> None:
        for name in {*self.nulls, *changed.nulls}:
            kept = set(self.nulls.get(name, ())).difference(changed.facts["numbers"])
            self.nulls[name] = sorted(kept.union(changed.nulls.get(name, ())))
        self.nulls = {name: numbers for name, numbers in self.nulls.items() if numbers}


def _put(column: list[Any], place: int | None, cell: Any) -> None:
    if place is None:
        column.append(cell)
    else:
        column[place] = cell


def read(database: Database, project: str, study: str | int, since: int = 0) -> Columns:
    """Trials changed since a revision. Ask again with `since=revision` for what changed then; rows may come twice."""
    with database.begin() as connection:
        return _read(connection, find(connection, project, study), since)


def _read(connection: Connection, study: Row[Any], since: int) -> Columns:
    names = [objective["name"] for objective in study.objectives]
    revision = horizon(connection)
    found = connection.execute(_COLUMNS, {"study": study.id, "since": since}).all()
    total = connection.execute(select(studies.c.next_number).where(studies.c.id == study.id)).scalar_one()
    revisions, ids, numbers, states, reasons, feasible, params, values, started, finished = (
        map(list, zip(*found, strict=True)) if found else ([] for _ in range(10))
    )
    parsed = [_parse(text) for text in params]
    told = [() if text is None else _parse(text) for text in values]
    # A dict as an ordered set: parameters in the order in which trials first had them.
    known = dict.fromkeys(name for given in parsed for name in given)
    return Columns(
        revision=revision,
        total=total,
        revisions=revisions,
        facts=dict(zip(_FACTS, (ids, numbers, states, reasons, feasible, started, finished), strict=True)),
        values={name: [row[index] if index < len(row) else None for row in told] for index, name in enumerate(names)},
        params={name: [given.get(name) for given in parsed] for name in known},
        nulls=_nulls(numbers, parsed),
    )


def _nulls(numbers: list[int], parsed: list[dict[str, Any]]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for number, given in zip(numbers, parsed, strict=True):
        if None in given.values():
            for name, value in given.items():
                if value is None:
                    found.setdefault(name, []).append(number)
    return found


def _parse(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:  # a bare NaN or Infinity, or a whole number of more than 64 bits
        return encode_numbers(json.loads(text))


_COLUMNS = text(
    """
    SELECT revision, id, number, state, reason, violation <= 0 AS feasible, params, objective_values,
        extract(epoch FROM started_at)::float AS started, extract(epoch FROM finished_at)::float AS finished
    FROM trials WHERE study_id = :study AND revision >= :since ORDER BY number
    """
)


@dataclass(frozen=True, kw_only=True)
class Written:
    """All columns of a study as JSON, written by `write`; `tag` is another for another content."""

    content: bytes
    tag: str


@dataclass(kw_only=True)
class _Kept:
    lock: threading.Lock = field(default_factory=threading.Lock)
    columns: Columns | None = None
    objectives: Sequence[Mapping[str, Any]] = ()
    written: Written | None = None


class ColumnCache:
    """Columns of the studies last asked for. Threads may share it; of those that ask for one study the first reads, and the others wait."""

    def __init__(self, write: Callable[[bytes], bytes], max_cells: int = MAX_CELLS) -> None:
        """`write` makes of JSON what is kept and given out: compresses it."""
        self._write = write
        self._max_cells = max_cells
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, _Kept] = OrderedDict()

    def get(self, database: Database, project: str, study: str | int) -> Written:
        """All trials as they are now."""
        with database.read() as connection:
            study_id = int(find(connection, project, study).id)
        with self._lock:
            kept = self._kept.setdefault(study_id, _Kept())
            self._kept.move_to_end(study_id)
        with kept.lock, database.begin() as connection:
            written = self._follow(kept, connection, find(connection, project, study_id))
        self._shrink()
        return written

    def _follow(self, kept: _Kept, connection: Connection, study: Row[Any]) -> Written:
        changed: bool | None = None
        if kept.columns is not None and kept.objectives == study.objectives:
            changed = kept.columns.merge(_read(connection, study, kept.columns.revision))
        if changed is None:
            kept.columns, kept.objectives, changed = _read(connection, study, 0), study.objectives, True
        if changed or kept.written is None:
            content = orjson.dumps(kept.columns.to_json())  # type: ignore[union-attr]
            tag = hashlib.blake2b(content, digest_size=16).hexdigest()
            kept.written = Written(content=self._write(content), tag=tag)
        return kept.written

    def _shrink(self) -> None:
        with self._lock:
            total = 0
            for study_id, kept in reversed(list(self._kept.items())):
                total += 0 if kept.columns is None else kept.columns.num_cells
                if total > self._max_cells:
                    del self._kept[study_id]
