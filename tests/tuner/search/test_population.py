"""Populations: who is copied and how, that a search which takes over decides the same, and how such a study ends."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from random import Random
from time import monotonic, sleep
from typing import Any

import pytest
from sqlalchemy import text

from tests.tuner.search.desk import Desk
from tuner import leases, lineage, reports, studies, trials, views
from tuner.artifacts import ArtifactStore
from tuner.db.postgres import Database
from tuner.errors import StudyNotRunning
from tuner.search.engine import Engine
from tuner.search.population import draw, explore, perturb
from tuner.settings import Settings
from tuner.space import CategoricalParameter, FloatParameter, IntParameter, SearchSpace
from tuner.trials import Suggestion
from tuner.wire import AskRequest, Lease, Report, StudyPatch, Tell, TrialCreate

SPACE = {"x": {"type": "float", "low": 0.01, "high": 10.0, "log": True}, "kind": {"type": "categorical", "choices": ["a", "b"]}}
POPULATION = {"name": "population", "size": 4, "interval": 2, "max_resource": 8}


# --- exploring -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parameter, value, up, down",
    [
        (FloatParameter(0.0, 1.0), 0.5, 0.6, 0.4),
        (FloatParameter(1e-5, 0.1, log=True), 0.01, 0.012, 0.008),
        (FloatParameter(0.0, 1.0), 0.9, 1.0, 0.72),
        (FloatParameter(0.0, 1.0), 0.0, 0.0, 0.0),
        (FloatParameter(0.0, 0.6, step=0.1), 0.2, 0.3, 0.1),
        (FloatParameter(0.0, 0.6, step=0.1), 0.0, 0.1, 0.0),
        (IntParameter(1, 1000), 100, 120, 80),
        (IntParameter(1, 10), 2, 3, 1),
        (IntParameter(8, 64, step=8), 8, 16, 8),
        (CategoricalParameter((64, 16, 32)), 32, 64, 16),
        (CategoricalParameter((64, 16, 32)), 64, 64, 32),
        (CategoricalParameter(("relu", "tanh")), "relu", "relu", "relu"),
        (CategoricalParameter((True, False)), True, True, True),
    ],
)
def test_perturbing(parameter: Any, value: Any, up: Any, down: Any) -> None:
    assert (perturb(parameter, value, 1, 0.2), perturb(parameter, value, -1, 0.2)) == (pytest.approx(up), pytest.approx(down))


@pytest.mark.parametrize(
    "parameter",
    [
        FloatParameter(1e-4, 1.0, log=True),
        FloatParameter(0.0, 0.6, step=0.1),
        IntParameter(4, 256, log=True),
        IntParameter(3, 21, step=6),
        CategoricalParameter(("a", None, 3)),
    ],
)
def test_drawing_stays_on_the_parameter_and_covers_it(parameter: Any) -> None:
    rng = Random(1)
    drawn = [draw(parameter, rng) for _ in range(300)]
    assert [parameter.check(value) for value in drawn] == drawn
    half = [value for value in drawn if not isinstance(parameter, CategoricalParameter) and value < parameter.high / 10]
    if getattr(parameter, "log", False):
        assert len(half) > 100
    elif isinstance(parameter, CategoricalParameter):
        assert set(drawn) == set(parameter.choices)


SPACE_OF_ALL = SearchSpace.parse(
    {
        "opt": {"type": "categorical", "choices": ["sgd", "adam"]},
        "lr": {"type": "float", "low": 1e-4, "high": 1.0, "log": True},
        "momentum": {"type": "float", "low": 0.1, "high": 0.9, "when": {"opt": ["sgd"]}},
        "width": {"type": "int", "low": 8, "high": 64},
    },
    ["lr * width <= 8"],
)


def test_exploring_changes_what_is_free_within_the_space_and_its_constraints() -> None:
    parent = {"opt": "sgd", "lr": 0.1, "momentum": 0.5, "width": 64}
    found = [explore(SPACE_OF_ALL, parent, {"lr", "momentum"}, Random(seed)) for seed in range(200)]
    for params in found:
        assert params is not None
        assert (params["opt"], params["width"]) == ("sgd", 64)
        assert params == SPACE_OF_ALL.check(params)
        assert params != parent
    moved = Counter(round(params["momentum"], 6) for params in found if params is not None)
    assert moved[0.6] + moved[0.4] == pytest.approx(150, abs=25)  # the others are drawn anew, with probability 0.25
    assert moved[0.6] == pytest.approx(75, abs=25)


def test_exploring_follows_conditions() -> None:
    parent = {"opt": "sgd", "lr": 0.01, "momentum": 0.5, "width": 8}
    found = [explore(SPACE_OF_ALL, parent, {"opt"}, Random(seed), resample=1.0) for seed in range(20)]
    assert {"opt": "adam", "lr": 0.01, "width": 8} in found
    assert parent not in found  # another draw, where nothing has changed
    back = explore(SPACE_OF_ALL, {"opt": "adam", "lr": 0.01, "width": 8}, {"opt"}, Random(1), resample=1.0)
    assert back is not None
    assert back["opt"] == "sgd"
    assert 0.1 <= back["momentum"] <= 0.9


def test_nothing_is_found_where_the_space_has_moved_away_from_the_parent() -> None:
    assert explore(SPACE_OF_ALL, {"opt": "adam", "lr": 0.01, "width": 100}, {"lr"}, Random(1)) is None


# --- over the tables -----------------------------------------------------------------------------------------------------


@pytest.fixture
def engines(engines: list[Engine], database: Database) -> list[Engine]:
    """With one to begin with."""
    engines.append(Engine(database))
    return engines


class Crew:
    """Workers of one study: train from where the lease says to where it says, and save a checkpoint there."""

    def __init__(self, database: Database, folder: Path, engines: list[Engine], **spec: Any) -> None:
        self.desk = Desk(
            database, spec.pop("space", SPACE), **{"sampler": {"name": "random", "seed": 3}, "pruner": POPULATION} | spec
        )
        self.store = ArtifactStore(Settings(data=folder))
        self.engines = engines
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


def test_the_worst_ends_and_a_child_goes_on_from_the_best(database: Database, tmp_path: Path, engines: list[Engine]) -> None:
    crew = Crew(database, tmp_path, engines)
    losses = [0.4, 0.1, 0.9, 0.3]
    for lease, loss in zip(crew.ask(4), losses, strict=True):
        assert (lease.trial.pause_at, lease.trial.resume) == (1, None)
        crew.train(lease, loss)
    held = {lease.trial.number: lease for lease in crew.ask(4)}
    assert sorted(held) == [0, 1, 3, 4]
    rows = crew.rows()
    assert (rows[2].state, rows[2].reason) == ("PRUNED", "pruned")
    child = held[4]
    assert (rows[4].origin, rows[4].parent) == ("population", 1)
    assert child.trial.resume is not None
    assert (child.trial.resume.step, child.trial.resume.inherited) == (1, True)
    assert child.trial.resume.checkpoint == f"/v1/trials/{rows[1].id}/checkpoints/1"
    assert child.trial.pause_at == 3
    assert child.trial.params != held[1].trial.params
    own = held[0].trial.resume
    assert own is not None
    assert (own.step, own.inherited, own.checkpoint) == (1, False, f"/v1/trials/{rows[0].id}/checkpoints/latest")
    crew.train(child, 0.2)
    (again,) = [lease for lease in crew.ask(1) if lease.trial.number == 4]
    assert again.trial.resume is not None
    assert (again.trial.resume.step, again.trial.resume.inherited) == (3, False)


def test_one_worker_trains_all_members_in_turn_to_the_end(database: Database, tmp_path: Path, engines: list[Engine]) -> None:
    crew = Crew(database, tmp_path, engines)
    crew.run()
    rows = crew.rows()
    children = [row for row in rows if row.origin == "population"]
    assert children
    assert len(rows) == 4 + len(children)
    assert Counter(row.state for row in rows) == {"COMPLETE": 4, "PRUNED": len(children)}
    assert crew.desk.state() == ("COMPLETE", "population_trained")
    for row in rows:
        steps = crew.trained[row.number]
        first = 0 if row.parent is None else steps[0]
        assert first % 2 == 0
        assert steps == list(range(first, first + len(steps)))  # nothing twice, nothing left out
        assert (steps[-1] == 7) == (row.state == "COMPLETE")
        if row.parent is not None:
            assert first - 1 in crew.trained[row.parent]
    best = min(abs(json.loads(row.params)["x"] - 1) for row in rows if row.state == "COMPLETE")
    assert best <= min(abs(json.loads(row.params)["x"] - 1) for row in rows[:4])


@pytest.mark.parametrize("num_workers", [1, 3, 4, 9])
def test_a_search_that_takes_over_decides_the_same(
    database: Database, tmp_path: Path, engines: list[Engine], num_workers: int
) -> None:
    found = []
    for name, kill in (("whole", False), ("killed", True)):
        crew = Crew(database, tmp_path / name, engines, name=name)
        crew.run(num_workers, kill)
        found.append([(row.state, row.origin, row.parent, row.params) for row in crew.rows()])
        assert crew.desk.state()[0] == "COMPLETE"
    assert found[0] == found[1]


def test_nobody_is_replaced_before_enough_have_come(database: Database, tmp_path: Path, engines: list[Engine]) -> None:
    crew = Crew(database, tmp_path, engines)
    first = crew.ask(4)
    for lease, loss in zip(first[:3], (0.5, 0.9, 0.1), strict=True):
        crew.train(lease, loss)
    assert [lease.trial.number for lease in crew.ask(3)] == [0, 1, 2]
    crew.train(first[3], 0.95)
    assert crew.ask(1)[0].trial.number == 4


def test_equals_are_left_alone_and_nan_is_worst(database: Database, tmp_path: Path, engines: list[Engine]) -> None:
    crew = Crew(database, tmp_path, engines)
    for lease in crew.ask(4):
        crew.train(lease, 0.5)
    assert [lease.trial.number for lease in crew.ask(4)] == [0, 1, 2, 3]
    other = Crew(database, tmp_path, engines, name="nan")
    for lease, loss in zip(other.ask(4), (0.5, float("nan"), 0.6, 0.7), strict=True):
        other.train(lease, loss)
    other.ask(4)
    assert [row.state for row in other.rows()] == ["RUNNING", "PRUNED", "RUNNING", "RUNNING", "RUNNING"]


def test_who_breaks_an_outcome_constraint_is_the_worst(database: Database, tmp_path: Path, engines: list[Engine]) -> None:
    crew = Crew(database, tmp_path, engines, outcome_constraints=["latency <= 50"])
    for lease, loss, latency in zip(crew.ask(4), (0.1, 0.9, 0.6, 0.7), (60.0, 10.0, 20.0, 30.0), strict=True):
        crew.train(lease, loss, latency=latency)
    crew.ask(4)
    rows = crew.rows()
    assert [row.state for row in rows] == ["PRUNED", "RUNNING", "RUNNING", "RUNNING", "RUNNING"]
    assert rows[4].parent == 2
    assert views.get_trial(database, "default", rows[0].id).feasible is False


def test_max_trials_counts_children_and_then_all_go_on(database: Database, tmp_path: Path, engines: list[Engine]) -> None:
    crew = Crew(database, tmp_path, engines, limits={"max_trials": 5})
    crew.run()
    rows = crew.rows()
    assert Counter(row.state for row in rows) == {"COMPLETE": 4, "PRUNED": 1}
    assert crew.desk.state() == ("COMPLETE", "max_trials")


def test_who_fails_is_replaced(database: Database, tmp_path: Path, engines: list[Engine]) -> None:
    """Before the first boundary by a new member, after it by a child of the best, where there is one."""
    crew = Crew(database, tmp_path, engines)
    first = crew.ask(4)
    crew.desk.fail(first[0], "nan")
    for lease, loss in zip(first[1:], (0.2, 0.3, 0.4), strict=True):
        crew.train(lease, loss)
    (new,) = crew.ask(1)
    assert (new.trial.number, new.trial.resume) == (4, None)
    crew.train(new, 0.1)
    held = {lease.trial.number: lease for lease in crew.ask(4)}
    assert sorted(held) == [1, 2, 4, 5]  # 3 was the worst of four
    crew.desk.fail(held[2], "nan")
    (child,) = crew.ask(1)
    assert child.trial.number == 6
    assert crew.rows()[6].parent == 4
    assert child.trial.resume is not None
    assert child.trial.resume.step == 1
    crew.engines[-1].step()
    assert crew.ask(1) == []
    trials.cancel(database, "default", child.trial.id)
    leases.tell(database, "default", child.id, Tell(state="FAIL", reason="cancelled"))
    assert crew.ask(1) == []  # whoever cancels a trial wants no other in its place


def test_without_a_checkpoint_nobody_is_copied_and_the_interval_is_repeated_once(
    database: Database, tmp_path: Path, engines: list[Engine]
) -> None:
    crew = Crew(database, tmp_path, engines)
    for lease in crew.ask(4):
        crew.train(lease, saves=False)
    second = crew.ask(4)
    assert [(lease.trial.number, lease.trial.resume, lease.trial.pause_at) for lease in second] == [
        (number, None, 1) for number in range(4)
    ]
    for lease in second[:3]:
        crew.train(lease, 0.5, saves=False)
    crew.train(second[3], 0.5)
    (third,) = crew.ask(1)
    assert (third.trial.number, third.trial.pause_at) == (3, 3)
    rows = crew.rows()
    assert [row.state for row in rows[:4]] == ["FAIL", "FAIL", "FAIL", "RUNNING"]
    assert "without a checkpoint, twice" in rows[0].error


def test_the_checkpoint_of_the_parent_stays_while_the_child_has_none(
    database: Database, tmp_path: Path, engines: list[Engine]
) -> None:
    crew = Crew(database, tmp_path, engines, trial={"executor": "external", "checkpoints": {"keep": 1, "keep_trials": 1}})
    for lease, loss in zip(crew.ask(4), (0.1, 0.2, 0.3, 0.9), strict=True):
        crew.train(lease, loss)
    held = {lease.trial.number: lease for lease in crew.ask(4)}
    parent, child = held[0], held[4]
    assert _steps(crew, 0) == [1]
    for step in (2, 3):
        crew.save(parent, step)
    crew.store.retain(database)
    assert _steps(crew, 0) == [1, 3]
    expire = "UPDATE attempts SET expires_at = clock_timestamp() - interval '1 second' WHERE id = :id"
    with database.begin() as connection:
        connection.execute(text(expire), {"id": child.id})
    leases.reap(database, backoff=0)
    (again,) = crew.desk.take()
    assert (again.trial.number, again.trial.resume) == (4, child.trial.resume)
    assert again.trial.pause_at == 3
    crew.train(again, 0.5)
    crew.train(held[1], 0.5)
    crew.train(held[2], 0.5)
    leases.tell(database, "default", parent.id, Tell(state="COMPLETE", values={"loss": 0.0}))
    (leased,) = crew.ask(1)
    crew.save(leased, 4)
    for number, kept in ((0, [1, 3]), (leased.trial.number, [3, 4])):  # others have the boundary before them
        assert _steps(crew, number) == kept
    studies.cancel(database, "default", crew.desk.study.id)
    for row in crew.rows():
        if row.state == "RUNNING":
            trial = views.get_trial(database, "default", row.id)
            assert trial.number == leased.trial.number
            leases.tell(database, "default", leased.id, Tell(state="FAIL", reason="cancelled"))
    crew.store.retain(database)
    assert sum(len(_steps(crew, row.number)) for row in crew.rows()) == 1  # of the best


def test_boundary_checkpoints_stay_for_those_who_are_behind(database: Database, tmp_path: Path, engines: list[Engine]) -> None:
    crew = Crew(database, tmp_path, engines, trial={"executor": "external", "checkpoints": {"keep": 1}})
    first = crew.ask(4)
    for lease, loss in zip(first[:3], (0.1, 0.2, 0.3), strict=True):
        crew.train(lease, loss)
    for lease in crew.ask(3):
        crew.train(lease, 0.1 * lease.trial.number)
    assert [_steps(crew, number) for number in range(3)] == [[1, 3]] * 3
    crew.train(first[3], 0.9)
    (child,) = crew.ask(1)
    assert (child.trial.number, crew.rows()[4].parent) == (4, 0)
    assert child.trial.resume is not None
    assert child.trial.resume.step == 1  # where the replaced one stood, although its parent is further
    crew.train(child, 0.9)
    crew.store.retain(database)
    assert [_steps(crew, number) for number in range(3)] == [[1, 3]] * 3  # theirs go with their next one
    (lease,) = crew.ask(1)
    crew.train(lease, 0.0)
    assert _steps(crew, lease.trial.number) == [3, 5]


def test_members_of_a_population_that_ended_long_ago_are_not_looked_at_each_time(
    database: Database, tmp_path: Path, engines: list[Engine]
) -> None:
    crew = Crew(database, tmp_path, engines, trial={"executor": "external", "checkpoints": {"keep": 1}})
    first = crew.ask(4)
    for lease in first[:3]:
        crew.train(lease, 0.1)
    for lease in crew.ask(3):
        crew.train(lease, 0.1)
    studies.cancel(database, "default", crew.desk.study.id)
    leases.tell(database, "default", first[3].id, Tell(state="FAIL", reason="cancelled"))
    for ago, kept in (("2 days", [1, 3]), ("1 hour", [3])):
        with database.begin() as connection:
            connection.execute(text(f"UPDATE studies SET finished_at = clock_timestamp() - interval '{ago}'"))
        crew.store.retain(database)
        assert [_steps(crew, number) for number in range(3)] == [kept] * 3


def test_a_lease_asked_for_twice_names_the_same_checkpoint(database: Database, tmp_path: Path, engines: list[Engine]) -> None:
    crew = Crew(database, tmp_path, engines)
    for lease, loss in zip(crew.ask(4), (0.1, 0.2, 0.3, 0.9), strict=True):
        crew.train(lease, loss)
    crew.desk.demand(4)
    engines[-1].step()
    leased = [
        leases.take(database, "default", AskRequest(count=4), study=crew.desk.study.name, request_key="k") for _ in range(2)
    ]
    assert leased[0] == leased[1]
    assert [lease.trial.resume and lease.trial.resume.inherited for lease in leased[0]] == [False, False, False, True]


def test_a_checkpoint_is_not_dropped_while_it_is_being_copied(database: Database, tmp_path: Path, engines: list[Engine]) -> None:
    """Whoever drops waits for whoever copies, and then sees the copy."""
    crew = Crew(database, tmp_path, engines, trial={"executor": "external", "checkpoints": {"keep": 1}})
    for lease in crew.ask(4):
        crew.train(lease, 0.5)
    held = crew.ask(4)
    assert [lease.trial.number for lease in held] == [0, 1, 2, 3]
    for lease in held[1:3]:
        crew.train(lease, 0.5)
    crew.desk.fail(held[3])
    waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()")
    with ThreadPoolExecutor(1) as pool:
        with database.begin() as connection:
            (source,) = lineage.list_sources(connection, crew.desk.study.id, [0], 1, 3)
            child = Suggestion(
                number=4, params={"x": 1.0, "kind": "a"}, distributions={}, origin="population", parent=0, source=source.id
            )
            assert lineage.copy(connection, crew.desk.study.id, child, None, 1)
            dropping = pool.submit(crew.save, held[0], 2)
            deadline = monotonic() + 20
            with database.read() as watching:
                while not watching.execute(waiting).scalar_one():
                    assert monotonic() < deadline
                    sleep(0.01)
        dropping.result(20)
    assert _steps(crew, 0) == [1, 2]
    trials.cancel(database, "default", crew.rows()[4].id)
    crew.save(held[0], 3)
    assert _steps(crew, 0) == [3]


def _steps(crew: Crew, number: int) -> list[int]:
    with crew.database.read() as connection:
        query = "SELECT step FROM checkpoints p JOIN trials t ON t.id = p.trial_id WHERE t.study_id = :id AND t.number = :number ORDER BY step"
        return list(connection.execute(text(query), {"id": crew.desk.study.id, "number": number}).scalars())


def test_children_are_of_the_space_as_it_is_now(database: Database, tmp_path: Path, engines: list[Engine]) -> None:
    crew = Crew(database, tmp_path, engines)
    for lease, loss in zip(crew.ask(4), (0.1, 0.2, 0.3, 0.9), strict=True):
        crew.train(lease, loss)
    edit = StudyPatch(space={"x": {"freeze": 5.0}})
    studies.update_study(database, "default", crew.desk.study.id, edit, updated_by="ann")
    crew.ask(4)
    assert json.loads(crew.rows()[4].params)["x"] == 5.0


def test_enqueued_trials_are_members(database: Database, tmp_path: Path, engines: list[Engine]) -> None:
    crew = Crew(database, tmp_path, engines)
    trials.create(database, "default", crew.desk.study.name, TrialCreate(params={"x": 1.0, "kind": "a"}))
    assert [lease.trial.number for lease in crew.ask(5)] == [0, 1, 2, 3]


def test_a_study_that_stops_ends_its_paused_members(database: Database, tmp_path: Path, engines: list[Engine]) -> None:
    crew = Crew(database, tmp_path, engines)
    for lease in crew.ask(4):
        crew.train(lease)
    studies.stop(database, "default", crew.desk.study.id)
    engines[-1].step()
    assert {row.state for row in crew.rows()} == {"PRUNED"}
    assert crew.desk.state()[0] == "STOPPED"
    with pytest.raises(StudyNotRunning, match="has made its population, whose members have ended"):
        studies.resume(database, "default", crew.desk.study.id)
    assert crew.desk.state()[0] == "STOPPED"


def test_a_population_stopped_before_all_members_were_made_goes_on(
    database: Database, tmp_path: Path, engines: list[Engine]
) -> None:
    crew = Crew(database, tmp_path, engines)
    (lease,) = crew.ask(1)
    crew.train(lease)
    studies.stop(database, "default", crew.desk.study.id)
    engines[-1].step()
    studies.resume(database, "default", crew.desk.study.id)
    crew.run()
    assert crew.desk.state() == ("COMPLETE", "population_trained")
    assert [row.state for row in crew.rows()].count("COMPLETE") == 3


def test_a_verdict_pauses_those_whose_code_does_not_know_the_boundary(
    database: Database, tmp_path: Path, engines: list[Engine]
) -> None:
    crew = Crew(database, tmp_path, engines)
    (lease,) = crew.ask(1)
    for step, verdict in ((0, "continue"), (1, "pause")):
        crew.desk.report(lease, step, 0.5)
        engines[-1].step()
        assert str(leases.renew(database, "default", lease.id).verdict) == verdict
    leases.tell(database, "default", lease.id, Tell(state="WAITING", reason="paused"))
    assert crew.desk.take() == []  # until the search lets it go on
