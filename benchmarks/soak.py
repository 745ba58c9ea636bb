"""Two people look at a study while workers change it fifty times a second: what it takes of the browser and of the server, and whether the page
keeps up.

A change is a trial leased, reported on, or told: workers of a thread each go through trials by the SDK. One visitor has the overview open, the
other the table with a filter. Shares are CPU time over wall time, in percent of one core; the browser's is of each page's main thread.

    python -m benchmarks.soak [--seconds 300] [--rate 50] [--trials 10k]
"""

from __future__ import annotations

import argparse
import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from playwright.sync_api import Browser

from benchmarks import large_studies
from benchmarks.browser import Visit, chromium, visit
from benchmarks.machine import describe, running_service
from tuner.client import Client
from tuner.db.postgres import Database

STEPS = 3
CHANGES = STEPS + 2
"""Of a trial: leased, reported on STEPS times, told."""
WARM_UP = 10.0
"""Seconds before the first measurement: code is compiled, caches fill."""
VIEWS = ("", "?tab=trials&filter=state:complete")


@dataclass
class Soaked:
    """What one page took: percent of a core, bytes of heap at the start and now and then until the end, number of the last trial shown."""

    share: float
    heaps: list[int]
    requests: list[str]
    complaints: list[str]

    @property
    def growth(self) -> int:
        """Bytes by which the heap has grown, beyond what it held after the warm-up."""
        return self.heaps[-1] - self.heaps[0]


class Pace:
    """Lets through `rate` times a second, whoever comes."""

    def __init__(self, rate: float, stop: threading.Event) -> None:
        self._interval = 1 / rate
        self._stop = stop
        self._lock = threading.Lock()
        self._next = time.monotonic()

    def wait(self) -> None:
        with self._lock:
            now = time.monotonic()
            turn = max(self._next, now - self._interval)
            self._next = turn + self._interval
        self._stop.wait(max(0.0, turn - now))


class Changes:
    """Workers that change a study `rate` times a second until stopped; `told` counts the trials they have finished."""

    def __init__(self, server: str, key: str, study: int, rate: float, num_workers: int = 16) -> None:
        self.told = 0
        self.failures: list[BaseException] = []
        self._stop = threading.Event()
        self._pace = Pace(rate, self._stop)
        self._arguments = (server, key, study)
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(num_workers)]

    @contextmanager
    def going(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join(30)
        if self.failures:
            raise self.failures[0]

    def _run(self, seed: int) -> None:
        server, key, study = self._arguments
        rng = random.Random(seed)
        try:
            with Client(server, key) as client:
                handle = client.study(study)
                while not self._stop.is_set():
                    trial = client.ask(handle)
                    assert trial is not None
                    for step in range(STEPS):
                        self._pace.wait()
                        trial.report(step, {"val_loss": rng.lognormvariate(0.0, 0.5)})
                    self._pace.wait()
                    trial.tell({"val_loss": rng.lognormvariate(0.0, 0.5)})
                    self.told += 1
                    self._pace.wait()
        except BaseException as error:
            self.failures.append(error)
            self._stop.set()


def watch(visits: Sequence[Visit], seconds: float, every: float) -> list[Soaked]:
    """Let the pages be for so long, and look at them now and then."""
    began, before = time.monotonic(), [visiting.busy() for visiting in visits]
    asked = [len(visiting.requests) for visiting in visits]
    heaps = [[visiting.heap()] for visiting in visits]
    while (left := began + seconds - time.monotonic()) > 0:
        visits[0].page.wait_for_timeout(1000 * min(every, left))  # Playwright handles events only while it waits
        for visiting, found in zip(visits, heaps, strict=True):
            found.append(visiting.heap())
    wall = time.monotonic() - began
    return [
        Soaked(100 * (visiting.busy() - busy) / wall, found, visiting.requests[first:], visiting.complaints)
        for visiting, busy, found, first in zip(visits, before, heaps, asked, strict=True)
    ]


def open_views(browser: Browser, server: str, key: str, study: int) -> list[Visit]:
    visits = [visit(browser, server, key) for _ in VIEWS]
    for visiting, view in zip(visits, VIEWS, strict=True):
        visiting.open(f"/studies/{study}{view}", "document.querySelector('.connection')?.dataset.state === 'live'")
    return visits


def main(arguments: list[str] | None = None) -> str:
    """Run the benchmark and return its table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--rate", type=float, default=50.0)
    parser.add_argument("--trials", default="10k")
    options = parser.parse_args(arguments)
    with running_service() as service, chromium() as browser:
        database = Database(service.database_url, pool_size=1)
        study = large_studies.make(database, "soak", large_studies.SHAPES[options.trials])
        database.close()
        changes = Changes(service.server, service.key, study, options.rate)
        with changes.going():
            visits = open_views(browser, service.server, service.key, study)
            visits[0].page.wait_for_timeout(1000 * WARM_UP)
            told, began, before = changes.told, time.monotonic(), service.cpu_seconds()
            soaked = watch(visits, options.seconds, options.seconds / 10)
            wall, after, told = time.monotonic() - began, service.cpu_seconds(), changes.told - told
    parts = ", ".join(f"{part} {100 * (after[part] - before[part]) / wall:.0f} %" for part in after)
    table = [
        f"{options.trials} trials at the start, {CHANGES * told / wall:.0f} changes a second for {wall:.0f} s, {describe()}",
        "",
        "| page | CPU of its main thread | heap at the start, largest, at the end | requests |",
        "|---|---|---|---|",
    ]
    for view, found in zip(("overview", "table, filtered"), soaked, strict=True):
        sizes = ", ".join(f"{size / 1e6:.1f}" for size in (found.heaps[0], max(found.heaps), found.heaps[-1]))
        table.append(f"| {view} | {found.share:.0f} % of a core | {sizes} MB | {len(found.requests)} |")
        if found.complaints:
            raise SystemExit(f"the page complained: {found.complaints[:3]}")
    return "\n".join([*table, "", f"CPU of one core: {parts} (workers and both pages included in the load)"])


if __name__ == "__main__":
    print(main())
