"""Levels and studies held against each other, what may still be changed of a study, and what the log and the advice say of it."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.api.dashboard.conftest import Bench, Visitor, has_drawn
from tuner.wire import Scope

pytestmark = pytest.mark.browser
SLOW = 30_000  # the first comparison of a process imports scipy


def fill(bench: Bench, study: int, offset: float = 0.0) -> None:
    """24 trials; adam, the odd ones, is better by far."""
    for number in range(24):
        bench.add(study, {"accuracy": (0.8 if number % 2 else 0.4) + offset + number / 1000}, number=number)


def test_levels_are_compared(visitor: Visitor, bench: Bench) -> None:
    study = bench.study()
    fill(bench, study)
    visitor.log_in(f"/studies/{study}?tab=compare")
    page = visitor.page
    expect(page.get_by_role("status").filter(has_text="adam is better than sgd")).to_be_visible(timeout=SLOW)
    rows = page.get_by_role("region", name="Levels").get_by_role("row")
    expect(rows.nth(1)).to_contain_text("adam")
    expect(rows.nth(1)).to_contain_text("trial 23")
    expect(page.get_by_role("region", name="Pairs").get_by_role("row").nth(1)).to_contain_text("adam")
    chart = page.locator("figure", has_text="Expected best after k trials").get_by_role("application")
    chart.focus()
    page.keyboard.press("ArrowRight")
    expect(chart.get_by_role("status")).to_contain_text("adam, after 1 trial: 0.8")
    page.locator("figure", has_text="Expected best").locator("canvas").first.wait_for()
    assert has_drawn(page, "Expected best")
    page.get_by_label("Compare by").select_option("by lr")
    expect(page.get_by_role("heading", name="By lr")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="By lr")).to_be_visible()


def test_no_trials_say_so(visitor: Visitor, bench: Bench) -> None:
    study = bench.study()
    visitor.log_in(f"/studies/{study}?tab=compare")
    expect(visitor.page.get_by_role("heading", name="Nothing to compare yet")).to_be_visible()


def test_studies_are_chosen_and_compared(visitor: Visitor, bench: Bench) -> None:
    names = ("first", "second")
    for index, name in enumerate(names):
        fill(bench, bench.study(name), offset=index / 100)
    visitor.log_in("/studies")
    page = visitor.page
    page.get_by_label("Select study first").check()
    expect(page.get_by_role("button", name="Compare 1 study")).to_be_disabled()
    page.get_by_label("Select study second").check()
    page.get_by_role("link", name="Compare 2 studies").click()
    expect(page.get_by_role("status").filter(has_text="first")).to_be_visible(timeout=SLOW)
    rows = page.get_by_role("region", name="Levels").get_by_role("row")
    expect(rows.nth(1)).to_contain_text("second")
    visitor.allowed = ("404", "422")
    visitor.open("/compare?studies=first,missing")
    expect(page.get_by_role("heading", name="These cannot be compared")).to_be_visible()


def test_limits_tags_and_notes_are_changed(visitor: Visitor, bench: Bench) -> None:
    study = bench.study(limits={"max_trials": 20})
    visitor.allowed = ("422",)
    visitor.log_in(f"/studies/{study}?tab=configuration")
    page = visitor.page
    about = page.get_by_role("region", name="About")
    about.get_by_role("button", name="Edit").click()
    about.get_by_label("Trials").fill("none")
    about.get_by_label("Notes").fill("<b>twice</b> as many")
    about.get_by_role("button", name="Save").click()
    expect(about.get_by_role("alert")).to_contain_text("Nothing was changed")
    about.get_by_label("Trials").fill("40")
    about.get_by_label("Tags").fill("vision, longer")
    about.get_by_role("button", name="Save").click()
    expect(about).to_contain_text("<b>twice</b> as many")
    changed = bench.http.get(f"/v1/studies/{study}").json()
    assert (changed["spec"]["limits"]["max_trials"], changed["tags"]) == (40, ["vision", "longer"])
    page.reload()
    expect(page.get_by_role("region", name="What has happened")).to_contain_text("max_trials 40")
    expect(page.get_by_role("region", name="How it is searched")).to_contain_text("Sampler random")


def test_viewer_edits_nothing(visitor: Visitor, bench: Bench) -> None:
    visitor.log_in(f"/studies/{bench.study()}?tab=configuration", Scope.VIEWER)
    expect(visitor.page.get_by_role("region", name="About")).to_be_visible()
    expect(visitor.page.get_by_role("button", name="Edit")).to_have_count(0)


def test_advice_stands_on_the_overview(visitor: Visitor, bench: Bench) -> None:
    study = bench.study()
    fill(bench, study)
    visitor.log_in(f"/studies/{study}")
    advice = visitor.page.get_by_role("region", name="What to try next")
    expect(advice.get_by_role("listitem").first).to_be_visible(timeout=SLOW)
