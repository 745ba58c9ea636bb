"""Cutting a host into slots."""

from __future__ import annotations

import pytest

from tuner.errors import InvalidValue
from workers.slots import Host, find_host, make_slots

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
