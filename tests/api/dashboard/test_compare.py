"""Levels and studies held against each other, what may still be changed of a study, and what the log and the advice say of it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import expect
from sqlalchemy import text

from tests.api.conftest import Server
from tests.api.dashboard.conftest import Bench, Visitor, has_drawn
from tuner.wire import Scope

pytestmark = pytest.mark.browser
SLOW = 30_000  # the first comparison of a process imports scipy


def fill(bench: Bench, study: int, offset: float = 0.0) -> None:
    """24 trials; adam, the odd ones, is better by far."""
    for number in range(24):
        bench.add(study, {"accuracy": (0.8 if number % 2 else 0.4) + offset + number / 1000}, number=number)


def run_sql(server: Server, statement: str, **values: Any) -> None:
    with server.database.begin() as connection:
        connection.execute(text(statement), values)


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


def test_curves_over_trials_time_and_gpu_hours(visitor: Visitor, bench: Bench, server: Server) -> None:
    """Trials of adam are better, and take three times as long; no GPU is on record until some are."""
    study = bench.study()
    fill(bench, study)
    timed = "UPDATE trials SET started_at = finished_at - make_interval(secs => 20 + 40 * (number % 2)) WHERE study_id = :study"
    run_sql(server, timed, study=study)
    visitor.log_in(f"/studies/{study}?tab=compare")
    page = visitor.page
    chart = page.locator("figure", has_text="after 1 to 12 trials")
    expect(chart.get_by_role("heading", name="Expected best after k trials")).to_be_visible(timeout=SLOW)
    axes = page.get_by_role("group", name="Horizontal axis")
    expect(axes.get_by_role("button")).to_have_text(["Trials", "Time"])
    axes.get_by_role("button", name="Time").click()
    chart = page.locator("figure", has_text="Expected best by training time")
    expect(chart).to_contain_text("for up to 12m 0s of training, k trials taken for k times the mean")
    assert "best-x=time" in page.url
    chart.get_by_role("button", name="Table").click()
    rows = chart.get_by_role("row")
    expect(rows.nth(1)).to_contain_text(re.compile("^adam1600.8"))  # one trial, 60 seconds
    expect(rows.nth(13)).to_contain_text(re.compile("^sgd1200.4"))
    run_sql(server, "UPDATE trials SET gpu_seconds = 1800 WHERE study_id = :study", study=study)
    page.reload()
    axes.get_by_role("button", name="GPU-hours").click()
    chart = page.locator("figure", has_text="Expected best by GPU-hours")
    expect(chart).to_contain_text("for up to 6 GPU-hours, k trials")
    page.get_by_role("group", name="Curve").get_by_role("button", name="As it ran").click()
    chart = page.locator("figure", has_text="Best so far by GPU-hours")
    chart.locator("canvas").first.wait_for()
    assert has_drawn(page, "Best so far by GPU-hours")
    chart.get_by_role("button", name="Table").click()
    expect(chart.get_by_role("row").nth(2)).to_have_text("adam210.803")
    page.reload()
    expect(page.get_by_role("heading", name="Best so far by GPU-hours")).to_be_visible()


def test_bests_at_equal_budget_and_time(visitor: Visitor, bench: Bench, server: Server) -> None:
    study = bench.study()
    fill(bench, study)
    bench.add(study, {"accuracy": 0.987654321}, number=1)
    timed = "UPDATE trials SET started_at = finished_at - make_interval(secs => 20 + 40 * (number % 2)) WHERE study_id = :study"
    run_sql(server, timed, study=study)
    visitor.log_in(f"/studies/{study}?tab=compare")
    table = visitor.page.get_by_role("region", name="Levels")
    heads = table.get_by_role("columnheader")
    expect(heads.filter(has_text="Best of first 12")).to_be_visible(timeout=SLOW)
    expect(heads.filter(has_text="Best in first 4m 0s")).to_be_visible()
    adam = table.get_by_role("row").filter(has_text="adam").get_by_role("cell")
    expect(adam.nth(3)).to_have_text("0.823")
    expect(adam.nth(4)).to_have_text("0.807")  # four trials of a minute
    expect(adam.nth(2)).to_contain_text("0.9877 trial 24")
    expect(adam.nth(2).locator("span")).to_have_attribute("title", "0.987654321")


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


def test_spaces_that_differ_are_shown(visitor: Visitor, bench: Bench) -> None:
    space = {
        "lr": {"type": "float", "low": 1e-5, "high": 0.123456, "log": True},
        "optimizer": {"type": "categorical", "choices": ["sgd", "adam"]},
        "momentum": {"type": "float", "low": 0.0, "high": 1.0, "when": {"optimizer": ["adam"]}},
        "depth": {"type": "int", "low": 1, "high": 4},
    }
    fill(bench, bench.study("first"))
    second = bench.study("second", space=space)
    for number in range(12):
        body = {
            "params": {"lr": 1e-3, "optimizer": "sgd", "depth": 1 + number % 4},
            "state": "COMPLETE",
            "values": {"accuracy": number / 12},
        }
        bench.http.post(f"/v1/studies/{second}/trials", json=body).raise_for_status()
    visitor.log_in("/compare?studies=first,second")
    spaces = visitor.page.get_by_role("region", name="Search spaces")
    rows = spaces.get_by_role("row")
    expect(rows).to_have_count(4, timeout=SLOW)
    expect(rows.nth(0)).to_have_text("Parameterfirstsecond")
    expect(rows.nth(1)).to_have_text("lrfloat: 0.00001 to 1, logfloat: 0.00001 to 0.123456, log")
    expect(rows.nth(2)).to_have_text("momentumfloat: 0 to 1only when optimizer is sgdfloat: 0 to 1only when optimizer is adam")
    expect(rows.nth(3)).to_have_text("depthabsentint: 1 to 4")
    expect(spaces).to_contain_text("1 parameter is the same in all of them.")


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
