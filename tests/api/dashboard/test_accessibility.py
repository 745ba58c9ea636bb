"""axe finds nothing to object to (WCAG 2.2 AA) in any view, light and dark, wide and narrow."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.api.dashboard.conftest import Bench, Visitor

pytestmark = [pytest.mark.browser, pytest.mark.slow]

OPTIONS = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
VISITORS = [{}, {"color_scheme": "dark"}, {"viewport": {"width": 390, "height": 844}}]


def objections(page: Page) -> list[str]:
    """One line a violation and element, short enough to read."""
    found = Axe().run(page, options=OPTIONS).response["violations"]
    return [f"{item['id']}: {node['target']} {node['failureSummary'][:300]}" for item in found for node in item["nodes"][:3]]


@pytest.mark.parametrize("visitor", VISITORS, indirect=True, ids=["light", "dark", "narrow"])
def test_no_view_has_objections(visitor: Visitor, bench: Bench) -> None:
    study = bench.study(tags=["vision"], notes="a note")
    for number in range(14):
        bench.add(study, {"accuracy": 0.5 + number / 50}, number=number)
    bench.add(study, None, "FAIL", 3)
    lease = bench.lease(study, worker="node-1")
    bench.report(lease, 0, 0.25)
    bench.http.post("/v1/workers", json={"name": "node-1", "slots": 2, "gpus": ["H100"]}).raise_for_status()
    several = bench.study("several", objectives=[{"name": n, "direction": "maximize"} for n in ("accuracy", "speed")])
    for number in range(4):
        bench.add(several, {"accuracy": 0.5, "speed": number}, number=number)
    empty = bench.study("empty")
    views = {
        "/studies": "Studies",
        f"/studies/{study}": "digits",
        f"/studies/{study}?tab=trials": "digits",
        f"/studies/{study}?tab=explore": "digits",
        f"/studies/{study}?tab=compare": "digits",
        f"/studies/{study}?tab=configuration": "digits",
        f"/studies/{study}/trials/3": "Trial 3",
        f"/studies/{study}/trials/15": "Trial 15",
        f"/studies/{several}": "several",
        f"/studies/{empty}": "empty",
        f"/compare?studies={study},{empty}": "Compare studies",
        "/workers": "Fleet",
        "/new": "New study",
        "/admin": "Admin",
    }
    visitor.allowed = ("409", "422")
    visitor.log_in()
    wrong = []
    for path, heading in views.items():
        visitor.open(path)
        page = visitor.page
        expect(page.get_by_role("heading", name=heading, level=1)).to_be_visible()
        page.wait_for_load_state("networkidle") if path == "/new" else page.wait_for_timeout(
            600
        )  # a chart may come a moment later
        expect(page.locator(".skeleton")).to_have_count(0, timeout=30_000)
        wrong += [f"{path} {line}" for line in objections(page)]
    visitor.context.clear_cookies()
    visitor.allowed += ("401",)
    visitor.open("/login")
    wrong += [f"/login {line}" for line in objections(visitor.page)]
    assert not wrong, "\n".join(wrong)
