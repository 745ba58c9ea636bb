"""Requests that fail once or for a while: what was there stays, the header tells, and nobody has to load the page anew.

Failures are made by the browser's side, one address each; `test_reconnect.py` kills the server.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.api.dashboard.conftest import Bench, Visitor, wait_for_live
from tests.api.dashboard.test_views import objections

pytestmark = pytest.mark.browser
FAILURES = ("status of 503",)
RETRIED = 5_000  # milliseconds
HIDE = """(hidden) => {
    Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
}"""


class Outage:
    """Answers 503 in the server's place while `on`; counts what was asked meanwhile."""

    def __init__(self, visitor: Visitor, *addresses: str) -> None:
        self.on = True
        self.refused = 0
        visitor.allowed = FAILURES
        for address in addresses:
            visitor.page.route(address, self._answer)

    def _answer(self, route: Route) -> None:
        if not self.on:
            route.fallback()
            return
        self.refused += 1
        route.fulfill(status=503, json={"detail": "away for a moment"})


def connection(page: Page) -> Any:
    return expect(page.locator(".connection"))


@pytest.mark.parametrize(
    ("path", "address", "there"),
    [
        ("/compare?studies=first,second", "**/v1/compare?*", lambda page: page.get_by_role("region", name="Levels")),
        ("/admin", "**/v1/keys", lambda page: page.get_by_role("region", name="Keys", exact=True)),
        ("/admin", "**/v1/log?*", lambda page: page.get_by_role("region", name="Log").get_by_role("listitem").first),
        ("/admin", "**/v1/projects", lambda page: page.get_by_role("region", name="List of projects")),
        ("/new", "**/v1/catalog", lambda page: page.get_by_text("Valid: 4 parameters")),
        ("/new", "**/v1/specs/check", lambda page: page.get_by_text("Valid: 4 parameters")),
    ],
)
def test_views_without_a_stream_ask_until_there_is_an_answer(
    visitor: Visitor, bench: Bench, path: str, address: str, there: Callable[[Page], Any]
) -> None:
    for name in ("first", "second"):
        study = bench.study(name)
        for number in range(12):
            bench.add(study, {"accuracy": 0.5 + number / 100}, number=number)
    outage = Outage(visitor, address)
    visitor.log_in(path)
    page = visitor.page
    if "specs" in address:
        expect(page.get_by_text("The text could not be checked")).to_be_visible()
    else:
        connection(page).to_have_attribute("data-state", "reconnecting")
    expect(there(page)).to_have_count(0)
    outage.on = False
    expect(there(page)).to_be_visible(timeout=30_000 if "compare" in path else RETRIED)
    wait_for_live(page)
    assert outage.refused < 5


def test_a_view_that_is_left_leaves_no_state_behind(visitor: Visitor, bench: Bench) -> None:
    study = bench.study()
    visitor.log_in(f"/studies/{study}")
    page = visitor.page
    wait_for_live(page)
    page.evaluate("history.pushState(null, '', '/nowhere'); dispatchEvent(new Event('tuner:address'))")
    expect(page.get_by_role("heading", name="There is no such page")).to_be_visible()
    expect(page.locator(".connection")).to_have_count(0)
    outage = Outage(visitor, "**/v1/keys", "**/v1/server")
    page.get_by_role("link", name="Admin").click()
    connection(page).to_have_attribute("data-state", "reconnecting")
    outage.on = False
    wait_for_live(page)


def test_a_comparison_goes_on_while_its_studies_run(visitor: Visitor, bench: Bench) -> None:
    studies = [bench.study(name) for name in ("first", "second")]
    for study in studies:
        for number in range(12):
            bench.add(study, {"accuracy": 0.5 + number / 100}, number=number)
    visitor.log_in("/compare?studies=first,second")
    rows = visitor.page.get_by_role("region", name="Levels").get_by_role("row")
    expect(rows.nth(1)).to_contain_text("0.61", timeout=30_000)
    bench.add(studies[1], {"accuracy": 0.9375})
    expect(rows.nth(1)).to_contain_text("0.9375", timeout=20_000)


def test_who_is_logged_in_is_asked_until_there_is_an_answer(visitor: Visitor, bench: Bench) -> None:
    study = bench.study()
    visitor.log_in("/studies")
    outage = Outage(visitor, "**/v1/me")
    visitor.open(f"/studies/{study}")
    wait_for_live(visitor.page)
    expect(visitor.page.get_by_role("button", name="Pause")).to_have_count(0)
    outage.on = False
    expect(visitor.page.get_by_role("button", name="Pause")).to_be_visible(timeout=RETRIED)
    expect(visitor.page.get_by_role("button", name="Log out")).to_be_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_what_may_be_out_of_date_is_dimmed_and_can_be_read(visitor: Visitor, bench: Bench, theme: Any) -> None:
    study = bench.study()
    for number in range(12):
        bench.add(study, {"accuracy": 0.5 + number / 100}, number=number)
    visitor.page.emulate_media(color_scheme=theme)
    visitor.log_in(f"/studies/{study}")
    page = visitor.page
    canvas = page.locator("main .canvas").first
    expect(canvas).to_have_css("opacity", "1")
    wait_for_live(page)
    title = re.compile(r"^Changes appear as they happen; heard \d+s ago$")
    connection(page).to_have_attribute("title", title)
    outage = Outage(visitor, "**/v1/**")
    page.evaluate(HIDE, True)
    page.evaluate(HIDE, False)  # the stream is asked for anew
    connection(page).to_have_attribute("data-state", "reconnecting")
    connection(page).to_have_text(re.compile(r"^\s*Reconnecting, updated \d+s ago$"))
    expect(canvas).to_have_css("opacity", "1")
    expect(page.locator("main[data-stale]")).to_have_count(1, timeout=10_000)
    expect(canvas).to_have_css("opacity", "0.7")
    assert objections(page, ["color-contrast"], exclude=[]) == []
    outage.on = False
    wait_for_live(page)
    expect(canvas).to_have_css("opacity", "1")


@pytest.mark.parametrize(
    "visitor", [{"viewport": {"width": 390, "height": 700}}, {"viewport": {"width": 320, "height": 700}}], indirect=True
)
def test_phones_say_what_the_mark_means(visitor: Visitor, bench: Bench) -> None:
    visitor.log_in(f"/studies/{bench.study()}")
    page = visitor.page
    wait_for_live(page)
    mark = page.locator(".connection")
    Outage(visitor, "**/v1/**")
    page.evaluate(HIDE, True)
    page.evaluate(HIDE, False)
    connection(page).to_have_attribute("data-state", "reconnecting")
    assert mark.evaluate("mark => mark.innerText.trim()").startswith("Reconnecting, updated ")
    box = mark.get_by_role("status").bounding_box()
    assert box is not None
    assert box["width"] > 50, "it can be seen"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_live_updates_are_held_and_catch_up(visitor: Visitor, bench: Bench) -> None:
    study = bench.study()
    bench.add(study, {"accuracy": 0.5})
    visitor.log_in(f"/studies/{study}?tab=trials")
    page = visitor.page
    wait_for_live(page)
    hold = page.get_by_role("button", name="Hold live updates")
    hold.click()
    connection(page).to_have_attribute("data-state", "paused")
    expect(hold).to_have_attribute("aria-pressed", "true")
    beside = visitor.context.new_page()
    visitor.listen(beside)
    beside.goto(page.url)
    bench.add(study, {"accuracy": 0.75}, number=1)
    expect(beside.get_by_text("2 shown")).to_be_visible()
    page.wait_for_timeout(500)
    expect(page.get_by_text("1 shown")).to_be_visible()
    page.get_by_role("link", name="Fleet").click()
    expect(page.get_by_role("heading", name="No workers yet")).to_be_visible()
    page.go_back()
    hold.click()
    expect(page.get_by_text("2 shown")).to_be_visible()
    wait_for_live(page)


def test_a_trial_that_reports_fast_is_asked_for_every_two_seconds(visitor: Visitor, bench: Bench) -> None:
    study = bench.study()
    lease = bench.lease(study, worker="node-1")
    asked: list[str] = []
    visitor.page.on("request", lambda request: asked.append(request.url) if "/checkpoints" in request.url else None)
    visitor.log_in(f"/studies/{study}/trials/0")
    page = visitor.page
    wait_for_live(page)
    expect(page.get_by_role("heading", name="Attempts")).to_be_visible()
    asked.clear()
    for step in range(12):
        bench.report(lease, step, step / 100)
        page.wait_for_timeout(250)
    assert 1 <= len(asked) <= 3, "of three seconds"
    content = b"weights"
    checksum = {"X-Content-SHA256": hashlib.sha256(content).hexdigest()}
    bench.http.put(f"/v1/leases/{lease['id']}/checkpoints/7", content=content, headers=checksum).raise_for_status()
    expect(page.get_by_role("region", name="Table: checkpoints").get_by_role("row").nth(1)).to_contain_text("7")
    asked.clear()
    bench.tell(lease, 0.9)
    expect(page.locator(".page-head .state")).to_contain_text("Complete", timeout=1_500)
    page.wait_for_timeout(3_000)
    assert len(asked) <= 2, "nothing is asked once it has ended"


def test_an_address_that_is_no_text_leads_nowhere(visitor: Visitor) -> None:
    visitor.log_in("/studies")
    visitor.allowed = ("404", "400")
    visitor.open("/studies/%E0%A4%A")
    expect(visitor.page.get_by_role("heading", name="There is no such page")).to_be_visible()
