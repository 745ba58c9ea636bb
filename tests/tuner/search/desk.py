"""What the tests of the search do around it: submit a study, play worker, read what is stored."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import select, text

from tuner import leases, reports, studies
from tuner.db.postgres import Database
from tuner.db.tables import trials
from tuner.search.engine import Engine
from tuner.spec import StudySpec
from tuner.wire import AskRequest, Lease, Report, Study, Tell

MIXED = {
    "lr": {"type": "float", "low": 1e-5, "high": 1.0, "log": True},
    "drop": {"type": "float", "low": 0.0, "high": 0.6, "step": 0.1},
    "depth": {"type": "int", "low": 1, "high": 4},
    "width": {"type": "int", "low": 16, "high": 512, "log": True},
    "opt": {"type": "categorical", "choices": ["sgd", "momentum", "adam"]},
}
CONDITIONAL = {
    **MIXED,
    "momentum": {"type": "float", "low": 0.0, "high": 0.99, "when": {"opt": ["momentum"]}},
    "beta": {"type": "float", "low": 0.5, "high": 0.999, "when": {"opt": ["adam"]}},
}
FINITE = {"opt": {"type": "categorical", "choices": ["a", "b", "c"]}, "depth": {"type": "int", "low": 1, "high": 4}}


class Desk:
    """One study, and everything a worker and a user do to it."""

    def __init__(self, database: Database, space: Mapping[str, Any], *, max_trials: int | None = 1000, **spec: Any) -> None:
        self.database = database
        body = {"space": space, "objectives": [{"name": "loss", "direction": "minimize"}], "limits": {"max_trials": max_trials}}
        limits = body["limits"] | spec.pop("limits", {})
        self.spec = StudySpec.parse(body | spec | {"limits": limits})
        self.study: Study
        self.study, _ = studies.create(database, "default", self.spec)
        self._objectives = [objective.name for objective in self.spec.objectives]

    def engine(self) -> Engine:
        return Engine(self.database)

    def demand(self, count: int = 1) -> None:
        assert leases.register_demand(self.database, "default", AskRequest(count=count), study=self.study.id)

    def take(self, count: int = 1) -> list[Lease]:
        return leases.take(self.database, "default", AskRequest(count=count), study=self.study.id)

    def ask(self, engine: Engine, count: int = 1) -> list[Lease]:
        """As the server does: take what waits, else ask the search and take again."""
        found = self.take(count)
        if len(found) < count:
            self.demand(count - len(found))
            engine.step()
            found += self.take(count - len(found))
        return found

    def tell(self, lease: Lease, *values: float) -> None:
        named = dict(zip(self._objectives, values, strict=True))
        leases.tell(self.database, "default", lease.id, Tell(state="COMPLETE", values=named))

    def fail(self, lease: Lease, reason: str = "exception") -> None:
        leases.tell(self.database, "default", lease.id, Tell(state="FAIL", reason=reason))

    def report(self, lease: Lease, step: int, value: float) -> str:
        answer = reports.append(self.database, "default", lease.id, [Report(step=step, values={"loss": value})])
        return str(answer.answer.verdict)

    def params(self) -> list[dict[str, Any]]:
        with self.database.read() as connection:
            rows = connection.execute(select(trials.c.params).where(trials.c.study_id == self.study.id).order_by(trials.c.number))
            return [json.loads(row.params) for row in rows]

    def states(self) -> list[str]:
        with self.database.read() as connection:
            rows = connection.execute(select(trials.c.state).where(trials.c.study_id == self.study.id).order_by(trials.c.number))
            return [row.state for row in rows]

    def state(self) -> tuple[str, str | None]:
        with self.database.read() as connection:
            row = connection.execute(text("SELECT state, reason FROM studies WHERE id = :id"), {"id": self.study.id}).one()
        return row.state, row.reason

    def run(self, engine: Callable[[], Engine], count: int, value: Callable[[Mapping[str, Any]], tuple[float, ...]]) -> None:
        """Ask for and finish `count` trials, one after the other."""
        for _ in range(count):
            (lease,) = self.ask(engine())
            self.tell(lease, *value(lease.trial.params))


def loss(params: Mapping[str, Any]) -> float:
    """Some function of all parameters there may be."""
    total = 0.0
    for name, value in sorted(params.items()):
        number = float(value) if isinstance(value, int | float) else float(len(value))
        total += (number - 0.3 * len(name)) ** 2 / (1.0 + number**2)
    return total
