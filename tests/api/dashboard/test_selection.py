"""Trials that are ticked in Chromium: all that are shown, ranges, kept from tab to tab; and what is done with many of them."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, Route, expect

from tests.api.conftest import Server
from tests.api.dashboard.conftest import Bench, Visitor

pytestmark = pytest.mark.browser


@pytest.fixture
def study(bench: Bench) -> int:
    """Thirty trials of which every third failed."""
    found = bench.study()
    for number in range(30):
        failed = number % 3 == 2
        bench.add(found, None if failed else {"accuracy": number / 30}, "FAIL" if failed else "COMPLETE", number)
    return found


def ticked(page: Page) -> int:
    return page.locator(".grid .row .tick input:checked").count()


def holding(page: Page, pattern: str, refused: Callable[[str], bool]) -> list[Route]:
    """Requests that the page sends from now on, which a test lets go on one by one; some are refused at once."""
    held: list[Route] = []

    def handle(route: Route) -> None:
        if refused(route.request.url):
            route.fulfill(status=409, json={"detail": "somebody else was quicker"})
        else:
            held.append(route)

    page.route(re.compile(pattern), handle)
    return held


def wait_for(page: Page, condition: Callable[[], bool]) -> None:
    for _ in range(300):
        if condition():
            return
        page.wait_for_timeout(10)
    raise AssertionError("it did not come to that within 3 seconds")


def test_all_shown_a_range_and_other_tabs(visitor: Visitor, study: int) -> None:
    visitor.log_in(f"/studies/{study}?tab=trials&sort=number")
    page = visitor.page
    page.get_by_role("button", name=re.compile("^Failed")).click()
    every = page.get_by_label("Select all 10 shown")
    every.click()
    expect(every).to_be_checked()
    expect(page.get_by_text("10 selected")).to_be_visible()
    assert ticked(page) == 10
    page.get_by_role("button", name=re.compile("^Failed")).click()
    expect(page.get_by_text("30 shown")).to_be_visible()
    assert page.get_by_label("Select all 30 shown").evaluate("box => [box.checked, box.indeterminate]") == [False, True]
    page.get_by_label("Select trial 3", exact=True).click()
    page.get_by_label("Select trial 10", exact=True).click(modifiers=["Shift"])
    expect(page.get_by_text("16 selected")).to_be_visible()  # 3 to 10, of which 5 and 8 were
    page.get_by_role("button", name=re.compile("^Complete")).click()
    expect(page.get_by_text("10 of them not shown")).to_be_visible()
    page.get_by_role("button", name=re.compile("^Complete")).click()

    page.get_by_role("tab", name="Explore").click()
    page.get_by_role("tab", name="Trials").click()
    expect(page.get_by_text("16 selected")).to_be_visible()
    page.locator("#row-4 a").click()
    expect(page.get_by_role("heading", name="Trial 4")).to_be_visible()
    page.go_back()
    expect(page.get_by_text("16 selected")).to_be_visible()

    page.get_by_label("Select trial 10", exact=True).click()
    page.get_by_label("Select trial 3", exact=True).click(modifiers=["Shift"])  # unticked with those between
    expect(page.get_by_text("8 selected")).to_be_visible()
    grid = page.get_by_role("grid", name="Trials")
    grid.focus()
    for key in ("Home", "x", "j", "Shift+X"):
        page.keyboard.press(key)
    expect(page.get_by_text("10 selected")).to_be_visible()
    assert [page.get_by_label(f"Select trial {number}", exact=True).is_checked() for number in range(4)] == [
        True,
        True,
        True,
        False,
    ]
    page.get_by_label("Select all 30 shown").click()
    expect(page.get_by_text("30 selected")).to_be_visible()
    page.get_by_label("Select all 30 shown").click()
    expect(page.get_by_role("group", name="Selected trials")).to_have_count(0)


def test_many_at_a_time_with_progress_and_reasons(visitor: Visitor, server: Server, study: int) -> None:
    visitor.log_in(f"/studies/{study}?tab=trials&sort=number&state=FAIL")
    page = visitor.page
    with server.http() as http:
        ids = [http.get(f"/v1/studies/{study}/trials/{number}").json()["id"] for number in (5, 11)]
    held = holding(page, "/retry$", lambda url: any(url.endswith(f"/{trial}/retry") for trial in ids))
    visitor.allowed = ("status of 409",)
    page.get_by_label("Select all 10 shown").click()
    page.get_by_role("button", name="Run again 10").click()
    page.get_by_role("dialog", name=re.compile("10 trials of digits")).get_by_role("button", name="Run again").click()
    wait_for(page, lambda: len(held) == 6)
    page.wait_for_timeout(100)
    assert len(held) == 6, "no more than six at a time"
    expect(page.get_by_role("progressbar", name="Run again")).to_have_attribute("value", "2")
    expect(page.get_by_text("2 of 10")).to_be_visible()
    while held:
        held.pop().continue_()
        page.wait_for_timeout(30)
    failure = page.get_by_role("alert")
    expect(failure).to_contain_text("2 of 10 could not be changed and stay selected: trials 5, 11: somebody else was quicker.")
    expect(page.get_by_text("2 selected")).to_be_visible()
    assert [page.get_by_label(f"Select trial {number}", exact=True).is_checked() for number in (2, 5, 8, 11)] == [
        False,
        True,
        False,
        True,
    ]
    with server.http() as http:
        assert http.get(f"/v1/studies/{study}").json()["counts"]["waiting"] == 8


def test_it_is_stopped(visitor: Visitor, server: Server, study: int) -> None:
    visitor.log_in(f"/studies/{study}?tab=trials&sort=number&state=FAIL")
    page = visitor.page
    held = holding(page, "/retry$", lambda url: False)
    page.get_by_label("Select all 10 shown").click()
    page.get_by_role("button", name="Run again 10").click()
    page.get_by_role("dialog").get_by_role("button", name="Run again").click()
    wait_for(page, lambda: len(held) == 6)
    page.get_by_role("button", name="Stop", exact=True).last.click()
    while held:
        held.pop().continue_()
    expect(page.get_by_role("progressbar")).to_have_count(0)
    expect(page.get_by_text("4 selected")).to_be_visible()
    with server.http() as http:
        assert http.get(f"/v1/studies/{study}").json()["counts"]["waiting"] == 6


def test_a_server_that_is_away_is_asked_no_further(visitor: Visitor, study: int) -> None:
    visitor.log_in(f"/studies/{study}?tab=trials&sort=number&state=FAIL")
    page = visitor.page
    asked: list[str] = []

    def fail(route: Route) -> None:
        asked.append(route.request.url)
        route.abort()

    page.route(re.compile("/retry$"), fail)
    visitor.allowed = ("ERR_FAILED",)
    page.get_by_label("Select all 10 shown").click()
    page.get_by_role("button", name="Run again 10").click()
    page.get_by_role("dialog").get_by_role("button", name="Run again").click()
    expect(page.get_by_role("alert")).to_contain_text("the server does not answer")
    expect(page.get_by_text("10 selected")).to_be_visible()
    assert len(asked) <= 6
