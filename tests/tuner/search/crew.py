"""Workers of a population: train members from boundary to boundary, save their checkpoints, read what is stored."""

from __future__ import annotations

import json
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from sqlalchemy import text

from tests.tuner.search.desk import Desk
from tuner import leases, reports
from tuner.artifacts import ArtifactStore
from tuner.db.postgres import Database
from tuner.errors import StudyNotRunning
from tuner.search.engine import Engine
from tuner.settings import Settings
from tuner.wire import Lease, Report, Tell

SPACE = {"x": {"type": "float", "low": 0.01, "high": 10.0, "log": True}, "kind": {"type": "categorical", "choices": ["a", "b"]}}
POPULATION = {"name": "population", "size": 4, "interval": 2, "max_resource": 8}


class Crew:
    """Workers of one study, and a search: train from where the lease says to where it says, and save a checkpoint there."""

    def __init__(self, database: Database, folder: Path, engines: list[Engine], **spec: Any) -> None:
        self.desk = Desk(
            database, spec.pop("space", SPACE), **{"sampler": {"name": "random", "seed": 3}, "pruner": POPULATION} | spec
        )
        self.store = ArtifactStore(Settings(data=folder))
        self.engines = engines
        if not engines:
            engines.append(self.desk.engine())
        self.trained: dict[int, list[int]] = {}

    @property
    def database(self) -> Database:
        return self.desk.database

    def ask(self, count: int = 1) -> list[Lease]:
        return self.desk.ask(self.engines[-1], count)

    def save(self, lease: Lease, step: int) -> None:
        content = json.dumps({"trial": lease.trial.number, "step": step}).encode()
        self.store.receive(self.database, "default", lease.id, step, sha256(content).hexdigest(), iter([content]))

    def train(self, lease: Lease, value: float | None = None, *, saves: bool = True, **metrics: float) -> None:
        """To the boundary or the end. The loss is the distance of x from 1, unless told."""
        first = 0 if lease.trial.resume is None else lease.trial.resume.step + 1
        last = 7 if lease.trial.pause_at is None else lease.trial.pause_at
        loss = abs(float(lease.trial.params["x"]) - 1) if value is None else value
        for step in range(first, last + 1):
            self.trained.setdefault(lease.trial.number, []).append(step)
            report = Report(step=step, values={"loss": loss, **metrics})
            reports.append(self.database, "default", lease.id, [report])
        if saves:
            self.save(lease, last)
        tell = (
            Tell(state="COMPLETE", values={"loss": loss})
            if lease.trial.pause_at is None
            else Tell(state="WAITING", reason="paused_at_rung")
        )
        leases.tell(self.database, "default", lease.id, tell)

    def run(self, num_workers: int = 1, kill: bool = False) -> None:
        """Until there is nothing to do any more."""
        with suppress(StudyNotRunning):
            while held := self.ask(num_workers):
                for lease in held:
                    self.train(lease)
                    if kill:
                        self.engines.pop().close()
                        self.engines.append(self.desk.engine())

    def rows(self) -> list[Any]:
        with self.database.read() as connection:
            query = "SELECT number, id, state, reason, error, origin, parent, source, params FROM trials WHERE study_id = :id ORDER BY number"
            return list(connection.execute(text(query), {"id": self.desk.study.id}).all())
