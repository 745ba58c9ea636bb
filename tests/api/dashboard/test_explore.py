"""One selection for the whole page: the filter in the address is what table, charts and exports show; panels of the explore view write it."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect
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


def test_planes_and_correlations(visitor: Visitor, bench: Bench, study: int) -> None:
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
    # Once it stands there, nothing but the states has the correlations computed anew.
    expect(page.locator("figure", has_text="Importance for").get_by_role("row").first).to_be_visible(timeout=30_000)
    bench.add(study, None, "FAIL", 3)
    page.get_by_role("button", name=re.compile("^Failed")).click()
    expect(correlation).to_contain_text("Needs 5 complete trials")


def test_levels_are_told_apart_by_all_their_digits(visitor: Visitor, bench: Bench) -> None:
    seeds = [1234567, 1234568, None]
    made = bench.study(space={"seed": {"type": "categorical", "choices": seeds}})
    for number in range(9):
        body = {"params": {"seed": seeds[number % 3]}, "state": "COMPLETE", "values": {"accuracy": number / 10}}
        bench.http.post(f"/v1/studies/{made}/trials", json=body).raise_for_status()
    visitor.log_in(f"/studies/{made}?tab=explore&levels=seed")
    figure = visitor.page.locator("figure", has_text="Distribution of values")
    figure.get_by_role("button", name="Table").click()
    expect(figure.get_by_role("row")).to_have_count(1 + 9)
    for level in ("1,234,567", "1,234,568", "null"):
        expect(figure.get_by_role("row").filter(has_text=level)).to_have_count(3)


def test_a_trial_with_the_choice_null_runs_again(visitor: Visitor, bench: Bench) -> None:
    made = bench.study(space={"warm": {"type": "categorical", "choices": [None, True]}})
    body = {"params": {"warm": None}, "state": "COMPLETE", "values": {"accuracy": 0.5}}
    bench.http.post(f"/v1/studies/{made}/trials", json=body).raise_for_status()
    visitor.log_in(f"/studies/{made}/trials/0")
    page = visitor.page
    expect(page.get_by_role("region", name="Table: parameters").get_by_role("row").nth(1)).to_have_text("warmnull")
    visitor.open(f"/studies/{made}?tab=trials")
    page.get_by_label("Select trial 0").check()
    page.get_by_role("button", name="Run again 1").click()
    page.get_by_role("dialog").get_by_role("button", name="Run again").click()
    expect(page.get_by_role("button", name=re.compile("^Waiting"))).to_contain_text("1")
    assert bench.http.get(f"/v1/studies/{made}/trials/1").json()["params"] == {"warm": None}


def test_contours_that_did_not_load_are_tried_again(visitor: Visitor, bench: Bench) -> None:
    visitor.allowed = ("d3-contour", "ERR_FAILED")
    made = bench.study(space={name: {"type": "float", "low": 0.0, "high": 1.0} for name in ("x", "y")})

    def add(number: int) -> None:
        body = {
            "params": {"x": number * 7 % 30 / 30, "y": number * 11 % 30 / 30},
            "state": "COMPLETE",
            "values": {"accuracy": number / 30},
        }
        bench.http.post(f"/v1/studies/{made}/trials", json=body).raise_for_status()

    for number in range(20):
        add(number)
    page = visitor.page
    page.route("**/d3-contour.js", lambda route: route.abort())
    visitor.log_in(f"/studies/{made}?tab=explore&plane=contours")
    caption = page.locator("figure", has_text="Two parameters").locator("figcaption")
    expect(caption).to_contain_text("did not load from the server; it is tried again with the next change")
    page.unroute("**/d3-contour.js")
    add(20)
    expect(caption).to_contain_text("estimated from the trials near them: 0.")


def test_red_is_for_failures_and_no_line_has_only_a_colour(visitor: Visitor, bench: Bench, study: int) -> None:
    for number in range(2):
        lease = bench.lease(study, number)
        for step in range(3):
            bench.report(lease, step, step / 4)
        bench.tell(lease, 1.0)
    page = visitor.page
    drawn = {}
    for tab, name in (("overview", "Learning curves"), ("explore", "Two parameters")):
        visitor.log_in(f"/studies/{study}?tab={tab}")
        figure = page.locator("figure", has_text=name)
        figure.locator("canvas").first.wait_for()
        figure.locator("summary", has_text="Save").click()
        with page.expect_download() as download:
            figure.get_by_role("button", name="Drawing (SVG)").click()
        drawn[name] = download.value.path().read_text()
    assert "stroke-dasharray" in drawn["Learning curves"]
    failed = page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--failed').trim()")
    assert failed not in drawn["Two parameters"]


def test_importance_is_saved_as_a_picture(visitor: Visitor, study: int) -> None:
    visitor.log_in(f"/studies/{study}?tab=explore")
    figure = visitor.page.locator("figure", has_text="Importance for accuracy")
    expect(figure.get_by_role("row").filter(has_text="lr")).to_be_visible(timeout=30_000)
    figure.locator("summary", has_text="Save").click()
    with visitor.page.expect_download() as download:
        figure.get_by_role("button", name="Drawing (SVG)").click()
    drawn = download.value.path().read_text()
    assert drawn.startswith("<svg")
    for name in ("lr", "optimizer"):
        assert f">{name}</text>" in drawn


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


def drag(page: Page, canvas: Locator, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Along a canvas between two places, in pixels from its corner."""
    canvas.scroll_into_view_if_needed()
    canvas.wait_for()
    box = canvas.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + start[0], box["y"] + start[1])
    page.mouse.down()
    page.mouse.move(box["x"] + (start[0] + end[0]) / 2, box["y"] + (start[1] + end[1]) / 2, steps=5)
    page.mouse.move(box["x"] + end[0], box["y"] + end[1], steps=5)
    page.mouse.up()


@pytest.fixture
def odd_study(bench: Bench) -> int:
    """21 trials; an objective with a blank in its name; few integers, and choices that are long numbers."""
    seeds = [1234567, 2345678, 3456789]
    made = bench.study(
        objectives=[{"name": "val loss", "direction": "minimize"}],
        space={
            "num_layers": {"type": "int", "low": 1, "high": 7},
            "seed": {"type": "categorical", "choices": seeds},
        },
    )
    for number in range(21):
        params = {"num_layers": 1 + number % 7, "seed": seeds[number % 3]}
        body = {"params": params, "state": "COMPLETE", "values": {"val loss": number / 10}}
        bench.http.post(f"/v1/studies/{made}/trials", json=body).raise_for_status()
    return made


@pytest.mark.parametrize(
    "name, start, end, wanted, count",
    [("num_layers", 1.2, 4.8, "num_layers>=2 num_layers<=6", 15), ("seed", 0.8, 2.2, "seed=2345678,3456789", 14)],
)
def test_dragging_over_places_means_all_of_them(
    visitor: Visitor, odd_study: int, name: str, start: float, end: float, wanted: str, count: int
) -> None:
    visitor.log_in(f"/studies/{odd_study}?tab=explore")
    page = visitor.page
    page.get_by_role("heading", name="Slices").scroll_into_view_if_needed()
    figure = page.locator("section[aria-label=Slices] figure", has=page.get_by_role("heading", name=name, exact=True))
    canvas = figure.locator("canvas").first
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    # The axis goes from 52 pixels to 12 before the end.
    places = {"num_layers": 7, "seed": 3}[name]
    first, last = (52 + (box["width"] - 64) * (place + 0.5) / places for place in (start, end))
    drag(page, canvas, (first, 80), (last, 80))
    expect(page.get_by_label("Filter of trials")).to_have_value(wanted)
    expect(page.get_by_text(f"{count} of 21 trials")).to_be_visible()


def test_dragging_along_the_axis_of_an_objective_with_a_blank_filters(visitor: Visitor, odd_study: int) -> None:
    visitor.log_in(f"/studies/{odd_study}?tab=explore&axes=seed")
    page = visitor.page
    canvas = page.locator("figure", has_text="Parallel coordinates").locator("canvas").first
    canvas.wait_for()
    box = canvas.bounding_box()
    assert box is not None
    x = box["width"] - 70
    drag(page, canvas, (x, 60), (x, 200))
    expect(page.get_by_label("Filter of trials")).to_have_value(re.compile(r'^"val loss">=\S+ "val loss"<=\S+$'))
    expect(page.get_by_text(re.compile(r"^1?\d of 21 trials$"))).to_be_visible()


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


@pytest.mark.parametrize(
    "trial, command",
    [
        ({"executor": "command", "command": ["train"]}, "tuner worker --server {server}"),
        ({"executor": "external"}, 'for trial in tuner.client.Client("{server}").asks("without trials"):'),
    ],
)
def test_nothing_to_explore_names_the_next_command(visitor: Visitor, bench: Bench, trial: dict[str, Any], command: str) -> None:
    visitor.log_in(f"/studies/{bench.study('without trials', trial=trial)}?tab=explore")
    expect(visitor.page.get_by_role("heading", name="Nothing to explore yet")).to_be_visible()
    expect(visitor.page.locator(".command code")).to_have_text(command.format(server=visitor.server.url))
