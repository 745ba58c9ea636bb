"""The study at a glance: what the header says, curves as one wants them, a trial added by hand, charts as files, one trial pointed at."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect
from sqlalchemy import text

from tests.api.conftest import Server
from tests.api.dashboard.conftest import Bench, Visitor, has_drawn, stat, wait_for_live
from tests.api.dashboard.test_views import RULES, misplaced, objections
from tuner.wire import Scope

pytestmark = pytest.mark.browser


@pytest.fixture
def study(bench: Bench) -> int:
    """Two complete trials with curves, the second better, and one that runs on one GPU."""
    made = bench.study(
        limits={"max_trials": 10, "max_gpu_seconds": 7200}, trial={"executor": "external", "resources": {"gpus": 1}}
    )
    for number, best in enumerate((0.5, 0.75)):
        lease = bench.lease(made, number)
        for step in range(4):
            bench.report(lease, step, best * (step + 1) / 4)
        bench.tell(lease, best)
    lease = bench.lease(made, 2)
    bench.report(lease, 0, 0.25)
    return made


def curves(page: Page) -> Locator:
    return page.locator("figure", has_text="Learning curves")


def test_header_says_gain_cost_and_end(visitor: Visitor, server: Server, study: int) -> None:
    with server.database.begin() as connection:
        connection.execute(text("UPDATE trials SET gpu_seconds = 1800 WHERE number < 2"))
    visitor.log_in(f"/studies/{study}")
    best = stat(visitor.page, "Best accuracy")
    expect(best).to_contain_text("trial 1, +0.25 over trial 0")
    gpus = stat(visitor.page, "GPU time")
    expect(gpus).to_contain_text("1 h / 2 h")
    expect(gpus).to_contain_text("1 GPU at work")
    expect(stat(visitor.page, "Speed")).to_contain_text("to go")  # the GPU time left, at one GPU


def test_header_says_mean_interval_and_seeds(visitor: Visitor, server: Server, bench: Bench) -> None:
    study = bench.study(repeat={"max": 3})
    for value in (0.5, 0.9, 0.95, 0.92, 0.88):
        bench.add(study, {"accuracy": value})
    with server.database.begin() as connection:
        connection.execute(text("UPDATE trials SET origin = 'repeat', parent = 1 WHERE number IN (3, 4)"))
    visitor.log_in(f"/studies/{study}")
    best = stat(visitor.page, "Best accuracy")
    expect(best).to_contain_text("0.9 ± 0.05")
    expect(best).to_contain_text("over 3 seeds, trial 1")
    visitor.open(f"/studies/{study}/trials/4")
    expect(stat(visitor.page, "Origin")).to_contain_text("repeatof trial 1")
    seeds = visitor.page.get_by_role("region", name="Seeds", exact=True)
    expect(seeds).to_contain_text("mean 0.9 over 3 seeds")
    expect(seeds.get_by_role("row").nth(3)).to_contain_text("4")
    seeds.get_by_role("link", name="3", exact=True).click()
    expect(visitor.page.get_by_role("heading", name="Trial 3", level=1)).to_be_visible()
    visitor.open("/studies")
    expect(visitor.page.locator("td.best")).to_contain_text("0.9 ± 0.05")


def test_line_of_descent_says_what_changed(visitor: Visitor, server: Server, bench: Bench) -> None:
    study = bench.study()
    for number in (0, 2, 4, 2):  # all with optimizer sgd and its momentum
        bench.add(study, {"accuracy": 0.5 + number / 10}, number=number)
    with server.database.begin() as connection:
        connection.execute(text("UPDATE trials SET origin = 'population', parent = number - 1 WHERE number > 0"))
    visitor.log_in(f"/studies/{study}/trials/2")
    line = visitor.page.get_by_role("region", name="Line of descent", exact=True)
    expect(line.get_by_role("row")).to_have_count(4)
    expect(line.get_by_role("row").nth(1)).to_contain_text("the first of the line")
    expect(line.get_by_role("row").nth(2)).to_contain_text("lr 1 → 0.01")
    expect(line.get_by_role("row").nth(3)).to_contain_text("lr 0.01 → 1e-4")
    children = visitor.page.get_by_role("region", name="Children", exact=True)
    expect(children.get_by_role("row").nth(1)).to_contain_text("lr 1e-4 → 0.01")
    visitor.page.set_viewport_size({"width": 320, "height": 800})
    assert misplaced(visitor.page) == []
    assert objections(visitor.page, RULES, exclude=[]) == []
    children.get_by_role("link", name="3", exact=True).click()
    expect(line.get_by_role("row")).to_have_count(5)
    expect(children).to_have_count(0)


def test_no_gpu_no_gpu_time(visitor: Visitor, bench: Bench) -> None:
    made = bench.study()
    bench.add(made, {"accuracy": 0.5})
    visitor.log_in(f"/studies/{made}")
    expect(stat(visitor.page, "Best accuracy")).to_contain_text("0.5")
    expect(visitor.page.get_by_text("GPU time")).to_have_count(0)


def test_latest_is_live(visitor: Visitor, bench: Bench, study: int) -> None:
    visitor.log_in(f"/studies/{study}")
    latest = visitor.page.get_by_role("region", name="Latest")
    expect(latest.get_by_role("listitem").first).to_contain_text("2Running0.25 at step 0")
    expect(latest).to_contain_text("Study created")
    wait_for_live(visitor.page)
    bench.add(study, {"accuracy": 0.125}, number=3)
    expect(latest.get_by_role("listitem").first).to_contain_text("3Complete0.125")


def test_curves_are_set_in_the_address(visitor: Visitor, study: int) -> None:
    visitor.log_in(f"/studies/{study}")
    page = visitor.page
    expect(curves(page).locator("figcaption")).to_contain_text("accuracy by step: 2 best trials, 1 running")
    curves(page).get_by_label("Horizontal axis of the curves").select_option("by GPU time")
    curves(page).locator("summary", has_text="Settings").click()
    curves(page).get_by_label("In colour").select_option("the best")
    curves(page).get_by_label("Smoothing").select_option("medium")
    curves(page).get_by_label("Value axis").select_option("Logarithmic")
    caption = curves(page).locator("figcaption")
    expect(caption).to_contain_text("accuracy by GPU time: 1 best trial, 1 running, 1 other in grey; smoothed")
    for setting in ("x=busy", "top=1", "smooth=0.8", "curve-y=log"):
        assert setting in page.url
    page.reload()
    expect(caption).to_contain_text("accuracy by GPU time: 1 best trial, 1 running, 1 other in grey; smoothed")
    assert has_drawn(page, "Learning curves")


def test_trial_is_added_by_form(visitor: Visitor, bench: Bench, study: int) -> None:
    visitor.log_in(f"/studies/{study}")
    page = visitor.page
    visitor.allowed = ("422",)
    page.get_by_role("button", name="Add trial").click()
    dialog = page.get_by_role("dialog", name="Add a trial")
    expect(dialog.get_by_label("lr")).to_have_value("0.1")  # as the best trial
    dialog.get_by_label("lr").fill("17")
    dialog.get_by_role("button", name="Add the trial").click()
    expect(dialog.get_by_role("alert")).to_contain_text("see the fields")
    expect(dialog.get_by_label("lr")).to_have_attribute("aria-invalid", "true")
    dialog.get_by_label("lr").fill("0.02")
    dialog.get_by_label("optimizer").select_option("sgd")
    dialog.get_by_label("momentum").fill("0.5")
    dialog.get_by_role("button", name="Add the trial").click()
    expect(dialog.get_by_role("status")).to_contain_text("Trial 3 waits for a worker")
    dialog.get_by_role("button", name="Done").click()
    expect(page.get_by_role("button", name=re.compile("^Waiting"))).to_contain_text("1")
    trial = bench.http.get(f"/v1/studies/{study}/trials/3").json()
    assert trial["params"] == {"lr": 0.02, "optimizer": "sgd", "momentum": 0.5}
    assert trial["origin"] == "enqueued"


def test_viewer_adds_nothing(visitor: Visitor, study: int) -> None:
    visitor.log_in(f"/studies/{study}", Scope.VIEWER)
    expect(stat(visitor.page, "Best accuracy")).to_contain_text("0.75")
    expect(visitor.page.get_by_role("button", name="Add trial")).to_have_count(0)


@pytest.mark.parametrize(
    ("choice", "name", "starts"),
    [
        ("Picture (PNG)", "optimization-history.png", b"\x89PNG"),
        ("Drawing (SVG)", "optimization-history.svg", b"<svg"),
        ("Data (CSV)", "optimization-history.csv", b"Trial,State,accuracy\r\n0,COMPLETE,0.5\r\n"),
    ],
)
def test_chart_is_saved(visitor: Visitor, study: int, choice: str, name: str, starts: bytes) -> None:
    visitor.log_in(f"/studies/{study}")
    figure = visitor.page.locator("figure", has_text="Optimization history")
    figure.locator("canvas").first.wait_for()
    figure.locator("summary", has_text="Save").click()
    with visitor.page.expect_download() as download:
        figure.get_by_role("button", name=choice).click()
    assert download.value.suggested_filename == name
    content = Path(download.value.path()).read_bytes()
    assert content.startswith(starts)
    if name.endswith("csv"):
        assert len(list(csv.reader(content.decode().splitlines()))) == 3


def test_saved_data_are_exact_and_shown_ones_readable(visitor: Visitor, bench: Bench) -> None:
    made = bench.study()
    for number, value in enumerate((12345.678, "-Infinity", 0.123456789)):
        bench.add(made, {"accuracy": value}, number=number)
    visitor.log_in(f"/studies/{made}")
    figure = visitor.page.locator("figure", has_text="Optimization history")
    figure.get_by_role("button", name="Table").click()
    expect(figure.get_by_role("row")).to_have_text(
        ["TrialStateaccuracy", "0COMPLETE12,345.7", "1COMPLETE−∞", "2COMPLETE0.123457"]
    )
    figure.locator("summary", has_text="Save").click()
    with visitor.page.expect_download() as download:
        figure.get_by_role("button", name="Data (CSV)").click()
    rows = Path(download.value.path()).read_text().splitlines()
    assert rows == ["Trial,State,accuracy", "0,COMPLETE,12345.678", "1,COMPLETE,-Infinity", "2,COMPLETE,0.123456789"]


def test_pointing_at_a_row_lights_the_trial_up(visitor: Visitor, study: int) -> None:
    visitor.log_in(f"/studies/{study}")
    page = visitor.page
    row = page.get_by_role("region", name="Leading trials").get_by_role("row").nth(1)
    canvas = page.locator("figure", has_text="Optimization history").locator("canvas").first
    canvas.wait_for()
    assert has_drawn(page, "Optimization history")
    before = canvas.evaluate("canvas => canvas.toDataURL()")
    row.hover()
    page.wait_for_function(
        "before => [...document.querySelectorAll('figure')].find((f) => f.textContent.includes('Optimization history'))"
        ".querySelector('canvas').toDataURL() !== before",
        arg=before,
    )
