"""Keys lead through the views, say what they are, and can be switched off for good."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.api.dashboard.conftest import Bench, Visitor

pytestmark = pytest.mark.browser


def test_keys_lead_through_the_views(visitor: Visitor, bench: Bench) -> None:
    first, second = bench.study("first"), bench.study("second")
    bench.add(first, {"accuracy": 0.5})
    visitor.log_in("/studies")
    page = visitor.page
    expect(page.get_by_role("link", name="first")).to_be_visible()
    page.keyboard.press("j")
    expect(page.get_by_role("link", name="second")).to_be_focused()
    page.keyboard.press("x")
    page.keyboard.press("j")
    page.keyboard.press("x")
    expect(page.get_by_role("link", name="Compare 2 studies")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("link", name="Compare 2 studies")).to_have_count(0)
    expect(page.get_by_role("link", name="first")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(f"/studies/{first}$"))
    expect(page.get_by_role("heading", name="first", level=1)).to_be_visible()
    page.keyboard.type("gt")
    expect(page).to_have_url(re.compile(r"\?tab=trials$"))
    expect(page.get_by_role("grid")).to_be_visible()
    page.keyboard.type("gf")
    expect(page.get_by_role("heading", name="Fleet", level=1)).to_be_visible()
    page.keyboard.type("gs")
    expect(page.get_by_role("link", name="second")).to_be_visible()
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("gf?")
    expect(page).to_have_url(re.compile(r"q=gf"))
    assert second > first


def test_the_pages_of_trials_are_turned(visitor: Visitor, bench: Bench) -> None:
    study = bench.study()
    for number in range(3):
        bench.add(study, {"accuracy": number / 10}, number=number)
    visitor.log_in(f"/studies/{study}/trials/1")
    page = visitor.page
    expect(page.get_by_role("heading", name="Trial 1")).to_be_visible()
    page.keyboard.press("]")
    expect(page.get_by_role("heading", name="Trial 2")).to_be_visible()
    page.keyboard.press("]")
    page.keyboard.press("[")
    expect(page.get_by_role("heading", name="Trial 1")).to_be_visible()


def test_keys_can_be_switched_off_and_stay_off(visitor: Visitor, bench: Bench) -> None:
    bench.study()
    visitor.log_in("/studies")
    page = visitor.page
    expect(page.get_by_role("link", name="digits")).to_be_visible()
    page.keyboard.press("?")
    dialog = page.get_by_role("dialog", name="Keys")
    expect(dialog).to_contain_text("Compare the selected")
    dialog.get_by_label("Keys are on").uncheck()
    dialog.get_by_role("button", name="Close").click()
    page.reload()
    expect(page.get_by_role("link", name="digits")).to_be_visible()
    page.keyboard.type("gf?/")
    page.get_by_role("button", name="Keys").click()
    expect(page).to_have_url(re.compile("/studies$"))
    dialog.get_by_label("Keys are on").check()
    dialog.get_by_role("button", name="Close").click()
    page.keyboard.type("gf")
    expect(page).to_have_url(re.compile("/workers$"))
