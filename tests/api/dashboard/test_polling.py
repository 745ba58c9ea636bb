"""Where a proxy holds streams back, the page asks for the same events every few seconds, and goes on showing what happens."""

from __future__ import annotations

import pytest
from playwright.sync_api import Route, expect

from tests.api.dashboard.conftest import Bench, Visitor, stat

pytestmark = pytest.mark.browser


@pytest.mark.slow
def test_changes_come_without_a_stream(visitor: Visitor, bench: Bench) -> None:
    study = bench.study()
    bench.add(study, {"accuracy": 0.5})
    asked: list[str] = []

    def hold_back(route: Route) -> None:
        """A stream's answer never ends, so whoever waits for its end passes nothing on."""
        asked.append(route.request.url)
        if "once=true" in route.request.url:
            route.continue_()

    visitor.page.route("**/v1/events?*", hold_back)
    visitor.log_in(f"/studies/{study}")
    connection = visitor.page.locator(".connection")
    expect(connection).to_have_attribute("data-state", "polling", timeout=30_000)
    bench.add(study, {"accuracy": 0.75})
    expect(stat(visitor.page, "Best accuracy")).to_contain_text("0.75", timeout=30_000)
    bench.add(study, {"accuracy": 0.9375})
    expect(stat(visitor.page, "Best accuracy")).to_contain_text("0.9375", timeout=30_000)
    streams = [url for url in asked if "once" not in url]
    assert len(streams) == 2, "a stream is tried twice and then left for a while"
