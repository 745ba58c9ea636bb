"""Cutting a host into slots, and what a slot tells of itself."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from tuner.errors import InvalidValue
from tuner.wire import LeaseRequest
from workers.holding import Holdings
from workers.roots import DataRoots
from workers.runner import RunnerOptions, SlotRunner
from workers.slots import Host, Slot, find_host, make_slots

TWO = Host(gpu_names=("H200", "H200"), cpus=8, memory=1)
NONE = Host(gpu_names=(), cpus=8, memory=1)


def test_one_slot_a_gpu() -> None:
    slots = make_slots(TWO)
    assert [(slot.gpu, slot.gpu_share, slot.cpus, slot.device) for slot in slots] == [
        ("0", 1.0, 4.0, "cuda:0"),
        ("1", 1.0, 4.0, "cuda:0"),
    ]


def test_slots_share_gpus_evenly() -> None:
    assert [(slot.gpu, slot.gpu_share) for slot in make_slots(TWO, slots=3)] == [("0", 0.5), ("1", 1.0), ("0", 0.5)]
    assert [slot.devices for slot in make_slots(TWO, gpus="1", slots=2)] == [[1], [1]]


def test_without_gpus_there_are_cpu_slots() -> None:
    assert [(slot.devices, slot.cpus, slot.device) for slot in make_slots(NONE)] == [(None, 8.0, "cpu")]
    assert [slot.cpus for slot in make_slots(TWO, gpus="none", slots=4)] == [2.0] * 4
    assert [slot.cpus for slot in make_slots(NONE, slots=2, cpus=3)] == [1.5] * 2


@pytest.mark.parametrize(
    ("host", "gpus", "slots", "words"),
    [
        (TWO, "2", None, "GPU 2 is not on this host; there: 0 to 1"),
        (NONE, "0", None, "GPU 0 is not on this host; there: none"),
        (TWO, "first", None, "give all, none, or indices such as 0,1"),
        (TWO, "", None, "give all, none, or indices"),
        (TWO, "0,0", None, "names a GPU twice"),
        (TWO, "all", 0, "--slots: 0 is not allowed; give 1 or more"),
    ],
)
def test_impossible_wishes_are_named(host: Host, gpus: str, slots: int | None, words: str) -> None:
    with pytest.raises(InvalidValue, match=words):
        make_slots(host, gpus=gpus, slots=slots)


def test_this_host_is_found() -> None:
    host = find_host("none")
    assert host.gpu_names == ()
    assert host.cpus >= 1
    assert host.memory > 100_000_000


class Asked:
    """A server that has no trial, and notes what it is asked for; then the worker leaves."""

    def __init__(self, draining: threading.Event) -> None:
        self.requests: list[LeaseRequest] = []
        self._draining = draining

    def with_patience(self, seconds: float) -> Asked:
        return self

    def lease(self, request: LeaseRequest, *, request_key: str) -> list[Any]:
        self.requests.append(request)
        self._draining.set()
        return []


@pytest.mark.parametrize(("gpu", "devices"), [("1", [1]), (None, None)])
def test_a_worker_tells_on_which_gpu_its_slot_is(tmp_path: Path, gpu: str | None, devices: list[int] | None) -> None:
    draining = threading.Event()
    server: Any = Asked(draining)
    options = RunnerOptions(
        worker="w", allow=(), bundles=None, data=DataRoots(folders=()), scratch=tmp_path, ttl=None, warm=False
    )
    place: Any = None
    SlotRunner(
        Slot(index=0, gpu=gpu), place, server, Holdings(lambda: None), options,
        draining=draining, giving_up=threading.Event(), on_idle=lambda: None,
    ).run()  # fmt: skip
    assert [request.devices for request in server.requests] == [devices]
