"""One selection for the whole page: the filter in the address is what table, charts and exports show; panels of the explore view write it."""

from __future__ import annotations

import csv
import io
import json
import math
import re

import pytest
from playwright.sync_api import expect
from pyarrow import parquet

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


def test_every_format_exports_the_same_numbers(visitor: Visitor, bench: Bench, study: int) -> None:
    bench.add(study, None, "FAIL", 3)
    visitor.log_in(f"/studies/{study}?tab=trials&filter=optimizer%3Dadam&state=COMPLETE")
    page = visitor.page
    expect(page.get_by_text("20 shown")).to_be_visible()
    page.locator("summary", has_text="Export").click()
    files = {}
    for name in ("CSV", "JSON", "PARQUET"):
        with page.expect_download() as download:
            page.get_by_role("link", name=f"The trials shown as {name}").click()
        files[name] = download.value.path().read_bytes()
    csv_rows = list(csv.DictReader(io.StringIO(files["CSV"].decode())))
    json_rows = json.loads(files["JSON"])["trials"]
    parquet_rows = parquet.read_table(io.BytesIO(files["PARQUET"])).to_pylist()
    assert len(csv_rows) == len(json_rows) == len(parquet_rows) == 20
    for row, read, other in zip(csv_rows, json_rows, parquet_rows, strict=True):
        number = int(row["number"])
        assert number == read["number"] == other["number"]
        assert row["state"] == read["state"] == other["state"] == "COMPLETE"
        assert row["params.optimizer"] == read["params"]["optimizer"] == json.loads(other["params.optimizer"]) == "adam"
        for group, name in (("params", "lr"), ("values", "accuracy")):
            assert float(row[f"{group}.{name}"]) == read[group][name] == other[f"{group}.{name}"]
        assert read["values"]["accuracy"] == math.sin(number) / 2


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


def test_viewer_may_only_copy_what_is_selected(visitor: Visitor, study: int) -> None:
    visitor.context.grant_permissions(["clipboard-read", "clipboard-write"])
    visitor.log_in(f"/studies/{study}?tab=trials", Scope.VIEWER)
    page = visitor.page
    page.get_by_label("Select trial 39").check()
    bulk = page.get_by_role("group", name="Selected trials")
    expect(bulk.get_by_role("button")).to_have_text(["Copy as YAML", "Copy as JSON", "Clear"])
    bulk.get_by_role("button", name="Copy as YAML").click()
    expect(bulk.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == "lr: 1e-4\noptimizer: adam\n"


def test_states_are_chosen_for_every_tab(visitor: Visitor, bench: Bench, study: int) -> None:
    bench.add(study, None, "FAIL", 3)
    visitor.log_in(f"/studies/{study}?tab=trials&filter=optimizer%3Dadam")
    page = visitor.page
    grid = page.get_by_role("grid", name="Trials")
    expect(page.get_by_role("button", name=re.compile("^Complete"))).to_contain_text("20")
    page.get_by_role("button", name=re.compile("^Failed")).click()
    expect(grid).to_have_attribute("aria-rowcount", "2")
    page.get_by_role("tab", name="Overview").click()
    expect(page.locator("figure", has_text="Optimization history")).to_contain_text("Every trial that has ended failed: 1")
    page.get_by_role("button", name=re.compile("^Complete")).click()
    expect(page.locator("figure", has_text="Optimization history").locator("figcaption")).to_contain_text("20 complete")
    assert "state=FAIL%2CCOMPLETE" in page.url


@pytest.mark.parametrize("changes", [False, True], ids=["at rest", "while the study changes"])
def test_dragging_along_an_axis_filters(visitor: Visitor, bench: Bench, study: int, changes: bool) -> None:
    visitor.log_in(f"/studies/{study}?tab=explore&axes=lr")
    page = visitor.page
    figure = page.locator("figure", has_text="Parallel coordinates")
    canvas = figure.locator("canvas").first
    canvas.wait_for()
    box = canvas.bounding_box()
    assert box is not None
    # One parameter and the objective: the first axis stands 50 pixels from the left, from 34 pixels below the top.
    x, top = box["x"] + 50, box["y"] + 34
    page.mouse.move(x, top + 10)
    page.mouse.down()
    page.mouse.move(x, top + 60, steps=4)
    if changes:
        bench.add(study, {"accuracy": 0.3}, number=40)
        expect(figure.locator("figcaption")).to_contain_text("41 complete trials")
    page.mouse.move(x, top + 150, steps=4)
    page.mouse.up()
    expect(page.get_by_label("Filter of trials")).to_have_value(re.compile(r"^lr>=\S+ lr<=\S+$"))
    expect(page.get_by_text(re.compile(r"^(8|16|24) of 4[01] trials$"))).to_be_visible()


def test_axes_are_arranged_in_the_address(visitor: Visitor, study: int) -> None:
    visitor.log_in(f"/studies/{study}?tab=explore")
    page = visitor.page
    figure = page.locator("figure", has_text="Parallel coordinates")
    figure.locator("summary", has_text="Settings").click()
    axes = figure.get_by_role("list", name="Axes")
    expect(axes.get_by_role("listitem")).to_have_count(3)
    figure.get_by_role("button", name="lr: further right").click()
    figure.get_by_role("button", name="lr: upside down").click()
    figure.get_by_role("button", name="lr: logarithmic").click()
    figure.get_by_role("button", name="momentum: leave out").click()
    figure.get_by_label("Colour").select_option("time it took")
    expect(figure.locator("figcaption")).to_contain_text("2 of 3 parameters; coloured by duration")
    page.reload()
    figure.locator("summary", has_text="Settings").click()
    expect(axes.locator("li > span")).to_have_text(["optimizer", "lr"])
    expect(figure.get_by_role("button", name="lr: logarithmic")).to_have_attribute("aria-pressed", "false")
    assert has_drawn(page, "Parallel coordinates")
    figure.get_by_role("button", name="As at first").click()
    expect(axes.get_by_role("listitem")).to_have_count(3)
    assert "axes=" not in page.url


def test_planes_and_correlations(visitor: Visitor, study: int) -> None:
    visitor.log_in(f"/studies/{study}?tab=explore")
    page = visitor.page
    plane = page.locator("figure", has_text="Two parameters")
    plane.get_by_role("button", name="Ranks").click()
    expect(plane.locator("figcaption")).to_contain_text("coloured by its rank")
    plane.get_by_label("Horizontal parameter").select_option("optimizer")
    expect(plane.locator("figcaption")).to_contain_text("Best: optimizer")
    assert "plane=ranks" in page.url
    assert "plane-x=optimizer" in page.url
    correlation = page.locator("figure", has_text="Correlation")
    expect(correlation.locator("figcaption")).to_contain_text("over 40 complete trials; strongest with accuracy")
    correlation.get_by_role("button", name="Table").click()
    expect(correlation.get_by_role("row")).to_have_count(3)  # head, accuracy, lr; momentum and the time are always the same


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


def test_contours_join_places_of_equal_value(visitor: Visitor, bench: Bench) -> None:
    space = {name: {"type": "float", "low": 0.0, "high": 1.0} for name in ("x", "y")} | {
        "c": {"type": "categorical", "choices": ["a", "b"]}
    }
    made = bench.study(space=space)
    for number in range(30):
        x, y = (number * 7 % 30) / 30, (number * 11 % 30) / 30
        body = {
            "params": {"x": x, "y": y, "c": "ab"[number % 2]},
            "state": "COMPLETE",
            "values": {"accuracy": 1 - (x - 0.3) ** 2 - (y - 0.7) ** 2},
        }
        bench.http.post(f"/v1/studies/{made}/trials", json=body).raise_for_status()
    visitor.log_in(f"/studies/{made}?tab=explore&plane-x=x&plane-y=y")
    page = visitor.page
    plane = page.locator("figure", has_text="Two parameters")
    plane.locator("canvas").first.wait_for()
    cells = plane.locator("canvas").first.evaluate("canvas => canvas.toDataURL()")
    plane.get_by_role("button", name="Contours").click()
    expect(plane.locator("figcaption")).to_contain_text(
        re.compile(r"equal accuracy, estimated from the trials near them: 0\.\d+, ")
    )
    page.wait_for_function(
        "before => [...document.querySelectorAll('figure')].find((f) => f.textContent.includes('Two parameters')).querySelector('canvas').toDataURL() !== before",
        arg=cells,
    )
    plane.get_by_label("Vertical parameter").select_option("c")  # no lines between choices
    expect(plane.get_by_role("button", name="Contours")).to_have_count(0)
    expect(plane.locator("figcaption")).to_contain_text("best value in it")
