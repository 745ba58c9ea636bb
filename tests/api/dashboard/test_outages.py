"""Requests that fail once or for a while: what was there stays, the header tells, and nobody has to load the page anew.

Failures are made by the browser's side, one address each; `test_reconnect.py` kills the server.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.api.dashboard.conftest import Bench, Visitor, wait_for_live

pytestmark = pytest.mark.browser
FAILURES = ("status of 503",)
RETRIED = 5_000  # milliseconds


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
