"""Large studies in Chromium: the right rows after a sort and a filter, and what they take of memory, document and wire. How fast it is, is
measured by `benchmarks.dashboard`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from benchmarks import browser as watched
from benchmarks import large_studies
from tests.api.conftest import Server
from tests.api.dashboard.conftest import Visitor

pytestmark = pytest.mark.browser


@pytest.fixture
def visit(browser: Browser, server: Server) -> Iterator[watched.Visit]:
    """A visitor whose bytes and requests are counted."""
    visiting = watched.visit(browser, server.url, server.key)
    yield visiting
    visiting.page.context.close()
    assert visiting.complaints == []


def listed(server: Server, study: int, **query: Any) -> list[int]:
    with server.http() as http:
        answer = http.get(f"/v1/studies/{study}/trials", params={"limit": 15, **query}).raise_for_status()
    return [trial["number"] for trial in answer.json()["items"]]


def expect_rows(page: Page, numbers: list[int]) -> None:
    for index, number in enumerate(numbers):
        expect(page.locator(f"#row-{index} [role=gridcell]").first).to_have_text(str(number))


def sort(page: Page, key: str, order: str) -> None:
    head = page.locator(f'.grid-head [data-key="{key}"]')
    head.get_by_role("button").click()
    if head.get_attribute("aria-sort") != order:
        head.get_by_role("button").click()
    expect(head).to_have_attribute("aria-sort", order)


def check_rows(server: Server, page: Page, study: int) -> None:
    """The first rows are those that the server's own sort and filter give: numbers, texts, conditional parameters, NaN."""
    for key, name in (
        ("value:val_loss", "val_loss"),
        ("param:optimizer.momentum", "optimizer.momentum"),
        ("param:schedule", "schedule"),
    ):
        for order, sign in (("descending", "-"), ("ascending", "")):
            sort(page, key, order)
            numbers = listed(server, study, sort=sign + name)
            # The listing has equals by number in both directions, the table leaves them as they were.
            expect_rows(page, numbers)
            page.locator('.grid-head [data-key="number"] button').click()
            sort(page, "number", "ascending")
    for text in (
        "optimizer.momentum>0.5 state:complete",
        "optimizer=adam,sgd dropout<=0.25",
        "val_loss<0.4 layers!=3",
        "worker=node-3",
    ):
        page.get_by_label("Filter of trials").fill(text)
        with server.http() as http:
            passing = http.get(f"/v1/studies/{study}/numbers", params={"filter": text}).raise_for_status().json()["numbers"]
        expect(page.get_by_text(f"{len(passing):,} shown")).to_be_visible()
        expect_rows(page, passing[:15])


def test_ten_thousand_trials(visit: watched.Visit, server: Server) -> None:
    study = large_studies.make(server.database, "10k", large_studies.SHAPES["10k"])
    page = visit.page
    page.goto("about:blank")
    visit.requests.clear()
    visit.open(f"/studies/{study}?tab=trials", "document.querySelector('.grid .row') !== null")
    expect(page.get_by_role("grid")).to_have_attribute("aria-rowcount", "10001")
    page.wait_for_timeout(1_000)  # for what it may ask for by itself
    asked = [path for path in visit.requests if path.startswith("/v1/")]
    assert len(asked) == len(set(asked)) <= 9, asked
    assert visit.received["Script"] + visit.received["Stylesheet"] < 450_000
    assert visit.received["Fetch"] < 1_000_000, "columns travel compressed"
    check_rows(server, page, study)
    assert visit.nodes() < 3_000
    assert visit.heap() < 150e6
    for tab in ("overview", "explore"):
        page.get_by_role("tab", name=re.compile(tab, re.IGNORECASE)).click()
        visit.settled()
        assert visit.nodes() < 3_000
        assert visit.heap() < 150e6
    expect(page.get_by_text("Being estimated")).to_have_count(0, timeout=60_000)
    for _ in range(5):  # what was asked for may take a busy machine its time
        visit.requests.clear()
        page.wait_for_timeout(3_000)
        asked = [path for path in visit.requests if path.startswith("/v1/")]
        if len(asked) <= 1:
            break
    assert len(asked) <= 1, f"nothing changes, and yet it asks for {asked}"


def test_a_reload_asks_for_nothing_it_has(visit: watched.Visit, server: Server) -> None:
    study = large_studies.make(server.database, "s", large_studies.Shape(trials=3_000))
    rows = "document.querySelector('.grid .row') !== null"
    visit.open(f"/studies/{study}?tab=trials", rows)
    first = visit.received["Fetch"]
    visit.open(f"/studies/{study}?tab=trials&rows=compact", rows)
    assert visit.received["Fetch"] - first < first / 4, "columns and files come from the browser's cache"


def test_only_the_columns_in_sight_are_in_the_document(visitor: Visitor, server: Server) -> None:
    study = large_studies.make(
        server.database, "wide", replace(large_studies.SHAPES["60 parameters"], trials=1_200, objectives=("val_loss",))
    )
    visitor.log_in(f"/studies/{study}?tab=trials&sort=number")
    page = visitor.page
    grid = page.get_by_role("grid", name="Trials")
    heads, row = grid.get_by_role("columnheader"), page.locator("#row-0")
    elements = "document.querySelectorAll('*').length"
    expect(row).to_be_visible()
    assert page.evaluate(elements) < 3_000
    expect(grid).to_have_attribute("aria-colcount", "65")
    assert heads.count() < 25
    grid.focus()
    page.keyboard.press("Shift+End")
    last = grid.get_by_role("columnheader", name="group5.parameter_59")
    expect(last).to_be_in_viewport(ratio=1)
    expect(last).to_have_attribute("aria-colindex", "65")
    expect(grid.get_by_role("columnheader", name="group0.parameter_0", exact=True)).to_have_count(0)
    expect(heads.first).to_be_in_viewport(ratio=1)
    assert page.evaluate(elements) < 3_000
    places = """() => [".grid-head", "#row-0"].map((row) => [...document.querySelector(row).children].map((cell) =>
        [cell.getAttribute("aria-colindex"), Math.round(cell.getBoundingClientRect().left)]))"""
    head_places, row_places = page.evaluate(places)
    assert head_places == row_places, "heads stand above their cells"
    with server.http() as http:
        first = http.get(f"/v1/studies/{study}/trials/0").json()["params"]
    expect(row.get_by_role("gridcell").last).to_have_text(str(first["group5.parameter_59"]))
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(grid.get_by_role("columnheader", name="group2.parameter_50")).to_be_in_viewport()
    page.keyboard.press("End")
    expect(page.locator("#row-1199.active")).to_be_visible()
    expect(page.locator("#row-1199 [role=gridcell]").first).to_have_text("1199")
    last.get_by_role("button").click()
    expect(last).to_have_attribute("aria-sort", "ascending")
    for _ in range(70):
        page.keyboard.press("Shift+Tab")
        page.evaluate("new Promise(requestAnimationFrame)")  # as slow as the quickest hand
        if heads.first.locator(":focus").count():
            break
    expect(heads.first.get_by_role("button")).to_be_focused()
    expect(grid.get_by_role("columnheader", name="group0.parameter_0", exact=True)).to_have_count(1)


@pytest.mark.slow
def test_a_hundred_thousand_trials(visit: watched.Visit, server: Server) -> None:
    study = large_studies.make(server.database, "100k", large_studies.SHAPES["100k"])
    visit.open(f"/studies/{study}?tab=trials", "document.querySelector('.grid .row') !== null")
    expect(visit.page.get_by_role("grid")).to_have_attribute("aria-rowcount", "100001")
    check_rows(server, visit.page, study)
    assert visit.nodes() < 3_000
    assert visit.heap() < 300e6
    visit.page.get_by_role("tab", name=re.compile("Overview")).click()
    expect(visit.page.locator("figcaption").first).to_contain_text("complete")
    visit.settled()
    assert visit.nodes() < 3_000


@pytest.mark.parametrize("shape", ["odd values", "conditions", "objectives", "long names", "outcome constraints"])
def test_the_page_filters_as_the_server_does(visitor: Visitor, server: Server, shape: str) -> None:
    """Whatever the page decides by itself is what the server decides, and it leaves to the server only what it must."""
    study = large_studies.make(server.database, "s", large_studies.SHAPES[shape])
    objective = large_studies.SHAPES[shape].objectives[0]
    parameters = list(large_studies.SHAPES[shape].space)
    visitor.log_in(f"/studies/{study}?tab=trials")
    page = visitor.page
    expect(page.locator(".grid .row").first).to_be_visible()
    terms = [
        "state:complete", "state!=fail,pruned", "state:*e*", "reason=exception", "reason!=exception", "reason:exc*", "number>=40 number<=90", "number=3,4,5",
        f"{objective}<0.5", f"{objective}>=0.5", f"{objective}=Infinity", f"{objective}=null", f"{objective}!=null", f"values.{objective}>-inf", f'"{objective}">=0.5', f'"values.{objective}"<1', "value<0.5", "value>=0",
        "feasible:true", "feasible=false", "feasible!=true", "feasible=true,false", "feasible=maybe", "feasible:t*", "feasible<1",
        *(f"{name}>1" for name in parameters), *(f"{name}=1,adam,x" for name in parameters), *(f"{name}!=m1,3" for name in parameters),
        *(f'"{name}"!=m1,3' for name in parameters), '"state":complete', *(f"{name}=null" for name in parameters), *(f"params.{name}:*a*" for name in parameters), "worker=node-1", "state:nonsense", "unknown=1", "lr<", "lr=1e-3",
    ]  # fmt: skip
    base = page.evaluate("document.querySelector('script[type=module]').src.replace(/app.js$/, '')")
    script = """async ([base, study, terms]) => {
        const { passing } = await import(`${base}filter_terms.js`);
        const { Trials } = await import(`${base}trials.js`);
        const trials = new Trials();
        trials.mergeColumns(await (await fetch(`/v1/studies/${study}/columns`)).json());
        const answer = await (await fetch(`/v1/studies/${study}`)).json();
        return terms.map((text) => passing(text, { trials, study: answer, objectives: answer.spec.objectives }));
    }"""
    found = page.evaluate(script, [base, study, terms])
    left = []
    with server.http() as http:
        for text, numbers in zip(terms, found, strict=True):
            if numbers is None:
                left.append(text)
                continue
            answer = http.get(f"/v1/studies/{study}/numbers", params={"filter": text})
            assert answer.status_code == 200, text
            assert answer.json()["numbers"] == numbers, text
    unreadable = {"worker=node-1", "state:nonsense", "unknown=1", "lr<", "feasible=maybe", "feasible:t*", "feasible<1"}
    assert unreadable <= set(left)
    assert len(left) <= len(unreadable) + len(parameters) + 3, left
