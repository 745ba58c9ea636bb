"""Checkpoints of a population: those that others may copy stay as long as they are needed, and no longer."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic, sleep

from sqlalchemy import text

from tests.tuner.search.crew import Crew
from tuner import leases, lineage, studies, trials, views
from tuner.db.postgres import Database
from tuner.search.engine import Engine
from tuner.trials import Suggestion
from tuner.wire import AskRequest, Tell


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
