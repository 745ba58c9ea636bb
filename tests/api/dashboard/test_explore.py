"""One selection for the whole page: the filter in the address is what table, charts and exports show; panels of the explore view write it."""

from __future__ import annotations

import csv
import io
import math
import re

import pytest
from playwright.sync_api import expect

from tests.api.dashboard.conftest import Bench, Visitor, has_drawn
from tuner.wire import Scope

pytestmark = pytest.mark.browser


@pytest.fixture
def study(bench: Bench) -> int:
    """40 trials, half of them adam; lr from 1 down to 1e-4."""
    made = bench.study()
    for number in range(40):
        bench.add(made, {"accuracy": math.sin(number) / 2}, number=number)
    return made


def test_filter_is_kept_and_drives_everything(visitor: Visitor, bench: Bench, study: int) -> None:
    visitor.allowed = ("422",)  # a filter that is half typed may be asked for on a slow machine
    visitor.log_in(f"/studies/{study}?tab=trials")
    page = visitor.page
    grid = page.get_by_role("grid", name="Trials")
    expect(grid).to_have_attribute("aria-rowcount", "41")
    page.keyboard.press("/")
    page.keyboard.type("optimizer=adam lr<0.01")
    expect(page.get_by_text("8 of 40 trials")).to_be_visible()
    expect(grid).to_have_attribute("aria-rowcount", "9")
    assert "filter=" in page.url
    page.reload()
    expect(grid).to_have_attribute("aria-rowcount", "9")
    page.get_by_role("tab", name="Overview").click()
    expect(page.locator("figure", has_text="Optimization history").locator("figcaption")).to_contain_text("8 complete")
    bench.add(study, {"accuracy": 0.9}, number=3)  # adam, lr 1e-3: it passes as soon as it is there
    expect(page.locator("figure", has_text="Optimization history").locator("figcaption")).to_contain_text("9 complete")
    page.get_by_role("tab", name=re.compile("Trials")).click()
    page.get_by_label("Filter of trials").fill("optimiser=adam")
    expect(page.get_by_text("did you mean optimizer")).to_be_visible()
    expect(grid).to_have_attribute("aria-rowcount", "10")  # what was found before stays
    page.get_by_label("Filter of trials").press("Escape")
    expect(grid).to_have_attribute("aria-rowcount", "42")


def test_shown_trials_are_exported(visitor: Visitor, study: int) -> None:
    visitor.log_in(f"/studies/{study}?tab=trials&filter=optimizer%3Dadam")
    page = visitor.page
    expect(page.get_by_text("20 of 40 trials")).to_be_visible()
    page.locator("summary", has_text="Export").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="The trials shown as CSV").click()
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text())))
    assert len(rows) == 20
    assert {row["params.optimizer"] for row in rows} == {"adam"}
    page.keyboard.press("Escape")
    expect(page.get_by_role("link", name="The trials shown as CSV")).to_be_hidden()


def test_columns_are_chosen(visitor: Visitor, study: int) -> None:
    visitor.log_in(f"/studies/{study}?tab=trials")
    page = visitor.page
    grid = page.get_by_role("grid", name="Trials")
    expect(grid.get_by_role("columnheader", name="momentum")).to_be_visible()
    page.locator("summary", has_text="Columns").click()
    page.get_by_label("momentum").uncheck()
    expect(grid.get_by_role("columnheader", name="momentum")).to_have_count(0)
    page.reload()
    expect(grid.get_by_role("columnheader", name="optimizer")).to_be_visible()
    expect(grid.get_by_role("columnheader", name="momentum")).to_have_count(0)


def test_selected_trials_run_again_and_are_cancelled(visitor: Visitor, bench: Bench, study: int) -> None:
    visitor.log_in(f"/studies/{study}?tab=trials")
    page = visitor.page
    grid = page.get_by_role("grid", name="Trials")
    page.get_by_label("Select trial 39").check()
    grid.focus()
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("x")
    expect(page.get_by_text("2 selected")).to_be_visible()
    page.get_by_role("button", name="Run again 2").click()
    page.get_by_role("dialog").get_by_role("button", name="Run again").click()
    expect(page.get_by_role("button", name=re.compile("^Waiting"))).to_contain_text("2")
    page.get_by_label("Select trial 40").check()
    page.get_by_label("Select trial 41").check()
    page.get_by_role("button", name="Cancel 2").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("button", name=re.compile("^Failed"))).to_contain_text("2")
    states = [trial["state"] for trial in bench.http.get(f"/v1/studies/{study}/trials?sort=-number&limit=2").json()["items"]]
    assert states == ["FAIL", "FAIL"]


def test_viewer_selects_nothing(visitor: Visitor, study: int) -> None:
    visitor.log_in(f"/studies/{study}?tab=trials", Scope.VIEWER)
    expect(visitor.page.get_by_role("grid", name="Trials")).to_have_attribute("aria-rowcount", "41")
    expect(visitor.page.get_by_label("Select trial 39")).to_have_count(0)


def test_explore_draws_and_a_dragged_range_filters(visitor: Visitor, study: int) -> None:
    visitor.log_in(f"/studies/{study}?tab=explore")
    page = visitor.page
    for figure in ("Two parameters", "Distribution of values", "Parallel coordinates"):
        page.locator("figure", has_text=figure).locator("canvas").first.wait_for()
        assert has_drawn(page, figure), figure
    importance = page.locator("figure", has_text="Importance for accuracy")
    expect(importance.get_by_role("row").filter(has_text="lr")).to_be_visible(timeout=30_000)
    importance.get_by_role("button", name="fANOVA").click()
    expect(importance).to_contain_text("variance", timeout=30_000)
    page.get_by_label("One line a level of").select_option("by optimizer")
    page.locator("figure", has_text="Distribution of values").get_by_role("button", name="Table").click()
    expect(page.get_by_role("region", name="Data of the chart")).to_contain_text("adam")

    slice_ = page.locator("section[aria-label=Slices] figure", has=page.get_by_role("heading", name="lr", exact=True))
    page.get_by_role("heading", name="Slices").scroll_into_view_if_needed()
    slice_.scroll_into_view_if_needed()
    canvas = slice_.locator("canvas").first
    canvas.wait_for()
    box = canvas.bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.55, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.7, middle, steps=5)
    page.mouse.move(box["x"] + box["width"] * 0.98, middle, steps=5)
    page.mouse.up()
    expect(page.get_by_label("Filter of trials")).to_have_value(re.compile(r"^lr>=\S+ lr<=\S+$"))
    expect(page.get_by_text(re.compile(r"^(16|24) of 40 trials$"))).to_be_visible()
