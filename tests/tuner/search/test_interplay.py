"""Promotion, repeats, outcome constraints and edits of the space in one study: they hold together, whoever searches, and it ends."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from sqlalchemy import text

from tests.tuner.search.desk import Desk
from tuner import leases, repeats, reports, studies, views
from tuner.db.postgres import Database
from tuner.search.engine import Engine
from tuner.wire import Lease, Report, StudyPatch, Tell, Verdict

SPACE = {
    "x": {"type": "float", "low": 0.0, "high": 1.0},
    "width": {"type": "int", "low": 1, "high": 8},
    "opt": {"type": "categorical", "choices": ["a", "b"]},
}
LAST = 8
EDITS: dict[int, dict[str, Any]] = {12: {"x": {"high": 2.0}, "opt": {"append": ["c"]}}, 25: {"width": {"freeze": 3}}}
"""By the number of trials that have been made."""


class Shop:
    """Workers that train step by step, a random one of them each time; some trainings fail, diverge or measure nothing."""

    def __init__(self, desk: Desk, engine: Callable[[], Engine], num_workers: int) -> None:
        self.desk = desk
        self.engine = engine
        self.num_workers = num_workers
        self.rng = Random(3)
        self.running: list[Lease] = []
        self.trained: dict[int, int] = {}
        self.edits = dict(EDITS)

    def run(self) -> None:
        while self.desk.state()[0] in ("RUNNING", "STOPPING"):
            missing = self.num_workers - len(self.running)
            if missing and self.desk.state()[0] == "RUNNING":
                self.running += self.desk.ask(self.engine(), missing)
            elif missing:
                self.running += self.desk.take(missing)
            if not self.running:
                self.engine().step()
                assert self.desk.state()[0] not in ("RUNNING", "STOPPING"), "nobody has work, and the study goes on"
                return
            self.train(self.running.pop(self.rng.randrange(len(self.running))))
            self.engine().step()
            self.edit()

    def train(self, lease: Lease) -> None:
        """One step; what becomes of a trial hangs on its number alone."""
        trial = lease.trial
        chance, step = Random(trial.number), self.trained.get(trial.number, 0)
        noise, fails, diverges, is_silent = (
            chance.gauss(0.0, 0.1),
            chance.random() < 0.1,
            chance.random() < 0.1,
            chance.random() < 0.1,
        )
        loss = (trial.params["x"] - 0.4) ** 2 + 0.05 * trial.params["width"] + noise + 1.0 / (1 + step)
        metrics = {"loss": loss} | ({} if is_silent else {"ms": 10.0 * trial.params["width"] * (1.0 + abs(noise))})
        self.trained[trial.number] = step + 1
        reports.append(self.desk.database, "default", lease.id, [Report(step=step, values=metrics)])
        self.engine().step()
        verdict = leases.renew(self.desk.database, "default", lease.id).verdict
        if verdict == Verdict.PAUSE:
            self.tell(lease, Tell(state="WAITING", reason="paused"))
        elif verdict != Verdict.CONTINUE:
            self.tell(lease, Tell(state="FAIL" if verdict == Verdict.STOP else "PRUNED"))
        elif fails and step == 4:
            self.tell(lease, Tell(state="FAIL", reason="exception"))
        elif step == LAST:
            self.tell(lease, Tell(state="COMPLETE", values={"loss": math.nan if diverges else loss}))
        else:
            self.running.append(lease)

    def tell(self, lease: Lease, body: Tell) -> None:
        leases.tell(self.desk.database, "default", lease.id, body)

    def edit(self) -> None:
        made = len(self.desk.states())
        for at in [at for at in self.edits if at <= made]:
            studies.update_study(self.desk.database, "default", self.desk.study.id, StudyPatch(space=self.edits.pop(at)))

    def rows(self) -> list[tuple[Any, ...]]:
        query = "SELECT number, state, reason, origin, parent, params, objective_values, violation FROM trials WHERE study_id = :id ORDER BY number"
        with self.desk.database.read() as connection:
            return [tuple(row) for row in connection.execute(text(query), {"id": self.desk.study.id})]


@pytest.mark.parametrize("num_workers", [1, 4])
def test_all_together(database: Database, engines: list[Engine], monkeypatch: pytest.MonkeyPatch, num_workers: int) -> None:
    monkeypatch.setattr("tuner.search.study_search.SLOW", math.inf)  # how many trials are made at once hangs on the machine else
    found = []
    for restarts in (False, True):
        desk = Desk(
            database,
            SPACE,
            name=f"restarts {restarts}",
            max_trials=60,
            sampler={"name": "tpe", "seed": 5},
            pruner={"name": "promotion", "max_resource": LAST + 1, "min_resource": 1},
            outcome_constraints=["ms <= 60"],
            repeat={"max": 4},
        )
        engines.append(desk.engine())
        asked = [0]

        def engine(restarts: bool = restarts, desk: Desk = desk, asked: list[int] = asked) -> Engine:
            asked[0] += 1
            if restarts and asked[0] % 5 == 0:
                engines.pop().close()
                engines.append(desk.engine())
            return engines[-1]

        shop = Shop(desk, engine, num_workers)
        shop.run()
        engines.pop().close()
        found.append(shop.rows())
        assert not shop.edits
        assert desk.state() == ("COMPLETE", "max_trials")
        _check(database, desk, shop.rows())
    assert found[0] == found[1]


def _check(database: Database, desk: Desk, rows: list[tuple[Any, ...]]) -> None:
    assert len(rows) == 60
    states = {number: state for number, state, *_ in rows}
    params = {row[0]: json.loads(row[5]) for row in rows}
    made = [(number, parent) for number, _, _, origin, parent, *_ in rows if origin == "repeat"]
    assert len(made) >= 3
    for number, parent in made:
        assert params[number] == params[parent]
        assert states[parent] == "COMPLETE"
        assert states[number] in ("COMPLETE", "FAIL")  # nobody judges it
    assert any(each["x"] > 1.0 for each in params.values())
    assert all(each["width"] == 3 for number, each in params.items() if number > 45 and number not in dict(made))
    (best,) = views.best(database, "default", desk.study.id)
    assert best.feasible
    assert best.constraints is not None
    assert best.repeats is not None
    with database.read() as connection:
        raced = repeats.best(connection, studies.find(connection, "default", desk.study.id))
    assert raced is not None
    assert (raced.trial, raced.repeated) == (best.number, best.repeats)
    losses = [
        json.loads(values)[0]
        for number, state, _, _, parent, _, values, violation in rows
        if state == "COMPLETE" and best.number in (number, parent) and violation == 0
    ]
    assert best.repeats.mean == pytest.approx(sum(losses) / len(losses))
