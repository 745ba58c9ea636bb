"""The dashboard on large studies: time until the table can be used, what one waits for after a click, a filter, a brush, heap and document.

Chromium is driven with real input events; a time is that from the event to the painted result (`benchmarks.browser`), and the page's CPU beside it, for machines that are busy. Studies have conditional
parameters, a name of 128 characters, NaN and infinities; one of each size has two objectives.

    python -m benchmarks.dashboard [--trials 10k 100k] [--repetitions 5]
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import httpx
from playwright.sync_api import Browser

from benchmarks import large_studies
from benchmarks.browser import Felt, Visit, chromium, visit
from benchmarks.machine import Service, describe, running_service
from tuner.db.postgres import Database

OBJECTIVE = "val_loss"
ROWS = "document.querySelector('.grid .row [role=gridcell] a') !== null && document.querySelector('.grid').getAttribute('aria-rowcount') === '{rows}'"
SORTS = (
    "number",
    "state",
    f"value:{OBJECTIVE}",
    "duration",
    "param:optimizer.lr",
    "param:optimizer.momentum",
    "param:optimizer.name",
)
FILTERS = (
    "optimizer.name=adam",
    "optimizer.lr<0.01",
    f"{OBJECTIVE}<0.4",
    "state:complete layers>=4",
    "optimizer.momentum>0.5 dropout<0.3",
)
STATES = ("Complete", "Pruned", "Failed")
CALLS = (
    "columns",
    f"cells?kind=metric&name={OBJECTIVE}",
    "numbers?filter=optimizer.lr<0.01",
    "pareto",
    "advice",
    "export?format=csv",
)


@dataclass
class Figures:
    """What was measured of one study; times in milliseconds."""

    usable: list[float] = field(default_factory=list)
    felt: dict[str, list[Felt]] = field(default_factory=dict)
    settled: dict[str, list[float]] = field(default_factory=dict)
    heap: dict[str, int] = field(default_factory=dict)
    nodes: dict[str, int] = field(default_factory=dict)
    received: dict[str, int] = field(default_factory=dict)
    calls: dict[str, tuple[float, int]] = field(default_factory=dict)

    def add(self, kind: str, felt: Felt, settled: float | None = None) -> None:
        self.felt.setdefault(kind, []).append(felt)
        if settled is not None:
            self.settled.setdefault(kind, []).append(settled)


class Desk:
    """A study in a browser and over HTTP."""

    def __init__(self, visiting: Visit, http: httpx.Client, study: int, figures: Figures) -> None:
        self.visiting = visiting
        self.page = visiting.page
        self.http = http
        self.study = study
        self.figures = figures
        columns = http.get(f"/v1/studies/{study}/columns").raise_for_status().json()
        self.total = len(columns["numbers"])
        self.num_parameters = len(columns["params"])

    def count(self, filter: str) -> int:
        return len(
            self.http.get(f"/v1/studies/{self.study}/numbers", params={"filter": filter}).raise_for_status().json()["numbers"]
        )

    def open_table(self) -> float:
        return self.visiting.open(f"/studies/{self.study}?tab=trials", ROWS.format(rows=self.total + 1))

    def sort(self, key: str) -> None:
        """By a click on the head of a column; the result is there when the column says so and its rows have been painted."""
        heads = self.page.locator(".grid-head [role=columnheader]")
        place = self.page.evaluate(
            "(key) => [...document.querySelectorAll('.grid-head [role=columnheader]')].findIndex((head) => head.dataset.key === key)",
            key,
        )
        before = heads.nth(place).get_attribute("aria-sort")
        order = f"document.querySelectorAll('.grid-head [role=columnheader]')[{place}].getAttribute('aria-sort')"
        self.figures.add(
            "sort",
            self.visiting.felt(heads.nth(place).locator("button").click, f"{order} !== null && {order} !== {json.dumps(before)}"),
        )

    def filter(self, text: str) -> None:
        """Typed into the field; measured from the last letter."""
        expected = f"{self.count(text):,} of {self.total:,} trials"
        field = self.page.get_by_label("Filter of trials")
        field.fill(text[:-1])
        self.page.wait_for_timeout(400)
        shown = expected.partition(" ")[0] + " shown"
        condition = (
            f"document.querySelector('#filter-answer').textContent === {json.dumps(expected)}"
            f" && document.querySelector('.table-bar .muted').textContent.startsWith({json.dumps(shown)})"
        )
        self.figures.add("filter", self.visiting.felt(lambda: field.press_sequentially(text[-1]), condition))
        self.clear()

    def chip(self, word: str) -> None:
        button = self.page.locator(".chips button", has_text=word)
        for pressed in ("true", "false"):
            condition = (
                f"[...document.querySelectorAll('.chips button')].find((chip) => chip.textContent.includes('{word}'))"
                f".getAttribute('aria-pressed') === '{pressed}'"
            )
            self.figures.add("state", self.visiting.felt(button.click, condition))

    def scroll(self) -> None:
        """To the end and back, by keys."""
        self.page.evaluate("document.querySelector('.grid').focus()")
        for key, row in (("End", self.total - 1), ("Home", 0)):
            self.figures.add(
                "scroll",
                self.visiting.felt(
                    lambda key=key: self.page.keyboard.press(key), f"document.querySelector('#row-{row}.active') !== null"
                ),
            )

    def brush(self, title: str, low: float, high: float) -> None:
        """Drag over a stretch of a chart of one parameter; measured from the release until the chart has been drawn with what is left."""
        figure = self.page.locator("figure.chart", has=self.page.locator(f'h2[title="{title}"]'))
        self.page.locator(".slices").evaluate("(slices) => slices.scrollIntoView()")  # which draws them
        figure.scroll_into_view_if_needed()
        self.visiting.settled()
        box = figure.locator("canvas").first.bounding_box()
        assert box is not None
        top, left, width = box["y"] + box["height"] / 2, box["x"] + 52, box["width"] - 64
        self.page.mouse.move(left + low * width, top)
        self.page.mouse.down()
        self.page.mouse.move(left + high * width, top, steps=5)
        felt = self.visiting.felt(
            self.page.mouse.up, "/ of .* trials/.test(document.querySelector('#filter-answer').textContent)", chart=title
        )
        self.figures.add("brush", felt, self.visiting.settled())
        self.clear()

    def brush_axis(self, place: int) -> None:
        """The same along an axis of the parallel coordinates."""
        title = "Parallel coordinates"
        figure = self.page.locator("figure.chart", has=self.page.locator(f'h2[title="{title}"]'))
        figure.scroll_into_view_if_needed()
        self.visiting.settled()
        box = figure.locator("canvas").first.bounding_box()
        assert box is not None
        left = box["x"] + 50 + place * (box["width"] - 120) / min(10, self.num_parameters)
        self.page.mouse.move(left, box["y"] + 80)
        self.page.mouse.down()
        self.page.mouse.move(left, box["y"] + 180, steps=5)
        felt = self.visiting.felt(
            self.page.mouse.up, "/ of .* trials/.test(document.querySelector('#filter-answer').textContent)", chart=title
        )
        self.figures.add("brush of an axis", felt, self.visiting.settled())
        self.clear()

    def clear(self) -> None:
        self.page.get_by_label("Filter of trials").fill("")
        self.visiting.painted("document.querySelector('#filter-answer').textContent === ''")
        self.visiting.settled()

    def note(self, name: str) -> None:
        self.figures.heap[name] = self.visiting.heap()
        self.figures.nodes[name] = self.visiting.nodes()


def measure_calls(http: httpx.Client, study: int, figures: Figures) -> None:
    """Wall milliseconds of one answer, the second asked for, and its length."""
    for call in CALLS:
        path = f"/v1/studies/{study}/{call}"
        http.get(path).raise_for_status()
        started = time.perf_counter()
        answer = http.get(path).raise_for_status()
        figures.calls[call.partition("?")[0]] = (1000 * (time.perf_counter() - started), len(answer.content))


def measure(browser: Browser, service: Service, study: int, repetitions: int) -> Figures:
    figures = Figures()
    with httpx.Client(
        base_url=service.server, headers={"Authorization": f"Bearer {service.key}"}, trust_env=False, timeout=120
    ) as http:
        measure_calls(http, study, figures)
        for _ in range(repetitions):
            visiting = visit(browser, service.server, service.key)
            figures.usable.append(Desk(visiting, http, study, figures).open_table())
            figures.received = dict(visiting.received)
            visiting.page.context.close()
        visiting = visit(browser, service.server, service.key)
        desk = Desk(visiting, http, study, figures)
        desk.open_table()
        desk.note("table")
        for _ in range(repetitions):
            for key in SORTS:
                desk.sort(key)
            for text in FILTERS:
                desk.filter(text)
            for word in STATES:
                desk.chip(word)
            desk.scroll()
        desk.note("table, used")
        visiting.open(
            f"/studies/{study}?tab=explore", "chart('Parallel coordinates') !== undefined", chart="Parallel coordinates"
        )
        visiting.settled()
        desk.note("explore")
        for repetition in range(2 * repetitions):
            for title in ("dropout", "optimizer.lr"):
                desk.brush(title, 0.2 + 0.04 * repetition, 0.7)
            for place in (1, 2):
                desk.brush_axis(place)
        visiting.open(f"/studies/{study}", "chart('Learning curves') !== undefined", chart="Learning curves")
        visiting.settled()
        desk.note("overview")
        if visiting.complaints:
            raise SystemExit(f"the page complained: {visiting.complaints[:3]}")
        visiting.page.context.close()
    return figures


def p95(values: Sequence[float]) -> float:
    return sorted(values)[max(0, math.ceil(0.95 * len(values)) - 1)]


def lines(name: str, figures: Figures) -> Iterator[str]:
    kilobytes = sum(figures.received.get(kind, 0) for kind in ("Script", "Stylesheet")) / 1000
    data = figures.received.get("Fetch", 0) / 1000
    yield f"| {name} | table usable, worst of {len(figures.usable)} | {max(figures.usable):,.0f} ms |"
    for kind, felt in figures.felt.items():
        wall, cpu = ([getattr(one, part) for one in felt] for part in ("wall", "cpu"))
        extra = f"; all charts {p95(figures.settled[kind]):,.0f} ms" if kind in figures.settled else ""
        measured = f"{statistics.median(wall):,.0f}, {p95(wall):,.0f} ms; of CPU {statistics.median(cpu):,.0f}, {p95(cpu):,.0f} ms{extra}"
        yield f"| {name} | {kind}: median, p95 of {len(felt)} | {measured} |"
    yield f"| {name} | heap {', '.join(figures.heap)} | {', '.join(f'{heap / 1e6:.0f}' for heap in figures.heap.values())} MB |"
    yield f"| {name} | elements {', '.join(figures.nodes)} | {', '.join(f'{nodes:,}' for nodes in figures.nodes.values())} |"
    yield f"| {name} | received: JS + CSS, data | {kilobytes:,.0f}, {data:,.0f} KB |"
    calls = ", ".join(f"{call} {wall:,.0f} ms ({size / 1e6:.1f} MB)" for call, (wall, size) in figures.calls.items())
    yield f"| {name} | calls | {calls} |"


def wait_until_quiet(service: Service) -> None:
    """The search has read the new studies, and nothing else is going on."""
    for _ in range(120):
        before = sum(service.cpu_seconds().values())
        time.sleep(1)
        if sum(service.cpu_seconds().values()) - before < 0.1:
            return


def main(arguments: list[str] | None = None) -> str:
    """Run the benchmark and return its table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", nargs="+", default=["10k", "10k objectives", "100k", "100k objectives"])
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args(arguments)
    table = [f"Chromium without a GPU, {describe()}", "", "| study | what | measured |", "|---|---|---|"]
    with running_service() as service, chromium() as browser:
        database = Database(service.database_url, pool_size=1)
        made = {name: large_studies.make(database, name, large_studies.SHAPES[name]) for name in options.trials}
        database.close()
        wait_until_quiet(service)
        for name, study in made.items():
            found = list(lines(name, measure(browser, service, study, options.repetitions)))
            print("\n".join(found), flush=True)
            table += found
    return "\n".join(table)


if __name__ == "__main__":
    print(main())
