"""What a worker says of its machine."""

from __future__ import annotations

from tuner.wire import GpuUsage
from workers import usage


def test_gpus_are_read_from_the_driver_s_table() -> None:
    found = usage.read_gpus("75, 40960, 81559, 62\n[N/A], 100, 200, [N/A]\n")
    assert found == [
        GpuUsage(utilization=0.75, memory=40960 << 20, memory_total=81559 << 20, temperature=62),
        GpuUsage(memory=100 << 20, memory_total=200 << 20),
    ]


def test_what_is_no_table_gives_no_gpus() -> None:
    assert usage.read_gpus("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n") == []


def test_a_machine_is_measured() -> None:
    usage.measure(gpus=False)
    measured = usage.measure(gpus=True)
    assert measured.cpu is not None
    assert 0 <= measured.cpu <= 1
    assert measured.memory is not None
    assert measured.memory > 0
