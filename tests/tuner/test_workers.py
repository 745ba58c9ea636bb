"""The fleet: registered once a name, seen as long as they ask or renew."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from tests.tuner.specs import external
from tuner import leases, studies, trials, workers
from tuner.db.postgres import Database
from tuner.errors import WorkerNotFound
from tuner.wire import AskRequest, GpuUsage, MachineUsage, Tell, TrialCreate, WorkerRegistration


def test_registration_renews_what_is_known(database: Database) -> None:
    first = workers.register(database, "default", WorkerRegistration(name="w", slots=1))
    again = workers.register(database, "default", WorkerRegistration(name="w", slots=2, gpus=["H200"]))
    assert (again.id, again.slots, again.gpus) == (first.id, 2, ["H200"])
    assert workers.list_(database, "default") == [workers.get(database, "default", first.id)]
    assert workers.list_(database, "other") == []
    with pytest.raises(WorkerNotFound):
        workers.get(database, "other", first.id)


def test_a_worker_that_only_renews_is_seen(database: Database) -> None:
    worker = workers.register(database, "default", WorkerRegistration(name="w"))
    studies.create(database, "default", external())
    trials.create(database, "default", "s", TrialCreate(params={"x": 0.5}))
    (lease,) = leases.take(database, "default", AskRequest(worker="w", wait=0), study="s")
    with database.begin() as connection:
        connection.execute(text("UPDATE workers SET seen_at = seen_at - interval '1 hour'"))
    leases.renew(database, "default", lease.id)
    seen = workers.get(database, "default", worker.id)
    assert seen.running == 1
    assert seen.seen_at >= worker.seen_at


def test_lanes_are_the_attempts_of_the_window(database: Database) -> None:
    studies.create(database, "default", external())
    for number in range(4):
        trials.create(database, "default", "s", TrialCreate(params={"x": number / 4}))
    held = leases.take(database, "default", AskRequest(worker="w", wait=0, count=3), study="s")
    leases.take(database, "default", AskRequest(wait=0), study="s")  # by a client without a name: no lane
    for lease in held[:2]:
        leases.tell(database, "default", lease.id, Tell(state="FAIL", reason="nan"))
    with database.begin() as connection:  # the first one began and ended long ago
        connection.execute(
            text(
                "UPDATE attempts SET started_at = started_at - interval '3 hours', ended_at = ended_at - interval '2 hours' WHERE id = :id"
            ),
            {"id": held[0].id},
        )
    found = workers.list_lanes(database, "default", 3600)
    assert [(lane.worker, lane.number, lane.reason, lane.ended_at is None) for lane in found] == [
        ("w", 1, "nan", False),
        ("w", 2, None, True),
    ]
    assert {lane.devices for lane in found} == {None}, "nobody told on which GPUs"
    assert len(workers.list_lanes(database, "default", 4 * 3600)) == 3
    assert workers.list_lanes(database, "other", 3600) == []


@pytest.mark.parametrize("at_once", [True, False])
def test_an_attempt_keeps_on_which_gpus_it_ran(database: Database, at_once: bool) -> None:
    study, _ = studies.create(database, "default", external())
    trials.create(database, "default", "s", TrialCreate(params={"x": 0.5}))
    (lease,) = leases.take(
        database, "default", AskRequest(worker="w", wait=0, devices=[3, 1]), study=study.id if at_once else "s"
    )
    leases.tell(database, "default", lease.id, Tell(state="FAIL", reason="nan"))
    (lane,) = workers.list_lanes(database, "default", 60)
    assert lane.devices == [3, 1]


def test_samples_tell_of_all_gpus_together(database: Database) -> None:
    gpus = [GpuUsage(memory=10, temperature=50.0), GpuUsage(memory=32, temperature=71.5), GpuUsage(utilization=0.5)]
    for usage in (MachineUsage(gpus=gpus), MachineUsage(memory=7)):
        worker = workers.register(database, "default", WorkerRegistration(name="w", usage=usage))
    first, second = worker.usage
    assert (first.gpus, first.gpu_memory, first.temperature) == ([], 42, 71.5)
    assert (second.memory, second.gpu_memory, second.temperature) == (7, None, None)
