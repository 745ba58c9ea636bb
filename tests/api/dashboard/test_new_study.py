"""The form for a new study: its answers make a valid file, the file can be written by hand, and problems are told where they stand."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.api.dashboard.conftest import Visitor
from tuner.wire import Scope

pytestmark = pytest.mark.browser


def test_form_makes_a_study(visitor: Visitor) -> None:
    visitor.log_in()
    page = visitor.page
    page.get_by_role("link", name="New study").click()
    expect(page.get_by_text("Valid: 4 parameters, 60 trials.")).to_be_visible()
    page.get_by_label("Name").fill("from the form")
    page.get_by_label("lbfgs").check()
    page.get_by_label("Trials", exact=True).fill("none")
    expect(page.get_by_role("status").filter(has_text="limits.max_trials")).to_be_visible()
    expect(page.get_by_role("button", name="Create study")).to_be_disabled()
    page.get_by_label("Trials", exact=True).fill("12")
    expect(page.get_by_text("Valid: 4 parameters, 12 trials.")).to_be_visible()
    page.get_by_role("button", name="Create study").click()
    expect(page.get_by_role("heading", name="from the form")).to_be_visible()
    with visitor.server.http() as http:
        (study,) = http.get("/v1/studies").json()["items"]
    assert study["spec"]["space"]["optimizer.name"]["choices"] == ["sgd", "momentum", "adam", "adamw", "lbfgs"]
    assert study["spec"]["limits"]["max_trials"] == 12


def test_form_knows_pruners_repeats_and_constraints(visitor: Visitor) -> None:
    visitor.log_in("/new")
    page = visitor.page
    file = page.get_by_label("Study file")
    pruner = page.get_by_role("combobox", name="Pruner")
    pruner.select_option("percentile")
    expect(page.get_by_role("status", name="Problems")).to_contain_text(
        "pruner.percentile"
    )  # its field is open, for it must be filled in
    page.get_by_label("percentile", exact=True).fill("25")
    expect(page.get_by_text(re.compile("^Valid: "))).to_be_visible()
    expect(file).to_have_value(re.compile(r"pruner: {name: percentile, percentile: 25}"))
    pruner.select_option("population")
    page.get_by_text("Options of the pruner population").click()
    page.get_by_label("size", exact=True).fill("8")
    page.get_by_label("interval", exact=True).fill("2")
    expect(file).to_have_value(re.compile(r"pruner: {name: population, size: 8, interval: 2}"))
    pruner.select_option("none")
    page.get_by_label("Repeat on seeds").fill("3")
    page.get_by_label("Outcome constraints").fill("samples_per_second >= 100")
    expect(file).to_have_value(re.compile(r"pruner: {name: none}\nrepeat: {max: 3}"))
    page.get_by_role("button", name="Create study").click()
    expect(page.get_by_role("heading", level=1)).not_to_have_text("New study")
    with visitor.server.http() as http:
        (study,) = http.get("/v1/studies").json()["items"]
    assert study["spec"]["repeat"] == {"max": 3}
    assert study["spec"]["outcome_constraints"] == ["samples_per_second >= 100"]


def test_every_kind_of_the_form_is_valid(visitor: Visitor) -> None:
    visitor.log_in("/new")
    page = visitor.page
    for kind in ("Python function", "Command", "My own loop", "Built-in trainer"):
        page.get_by_role("button", name=kind).click()
        expect(page.get_by_text(re.compile("^Valid: "))).to_be_visible()
    for dataset in ("iris", "cycles", "reversal", "shapes", "diabetes", "xor"):
        page.get_by_label("Data set").select_option(dataset)
        expect(page.get_by_text(re.compile("^Valid: "))).to_be_visible()
    page.get_by_label("Data set").select_option("csv")
    expect(page.get_by_label("Study file")).to_have_value(re.compile("TO BE FILLED IN: path"))


def test_written_by_hand(visitor: Visitor) -> None:
    visitor.log_in("/new")
    page = visitor.page
    file = page.get_by_role("textbox", name="Study file")
    file.fill("objectives: [{name: score, direction: up}]\nspace:\n  x: {type: float, low: 1, high: 0}\n")
    problems = page.get_by_role("status", name="Problems")
    expect(problems).to_contain_text("objectives.0.direction")
    problems.get_by_role("listitem").filter(has_text="space.x.low").get_by_role("button", name="line 3").click()
    selected = file.evaluate("area => area.value.slice(area.selectionStart, area.selectionEnd)")
    assert selected == "  x: {type: float, low: 1, high: 0}"
    file.fill("objectives: [{name: score, direction: maximize}]\nname: by-hand\nspace:\n  x: {type: float, low: 0, high: 1}\n")
    expect(page.get_by_text("Valid: 1 parameter, 100 trials.")).to_be_visible()
    page.get_by_role("button", name="Create study").click()
    expect(page.get_by_role("heading", name="by-hand")).to_be_visible()


def test_edits_are_dropped_only_when_confirmed(visitor: Visitor) -> None:
    visitor.log_in("/new")
    page = visitor.page
    file = page.get_by_role("textbox", name="Study file")
    file.fill("name: by-hand\n")
    page.get_by_role("button", name="Back to the form").click()
    page.get_by_role("dialog", name="Drop the edits?").get_by_role("button", name="Keep it").click()
    expect(file).to_have_value("name: by-hand\n")
    page.get_by_role("button", name="Back to the form").click()
    page.get_by_role("dialog").get_by_role("button", name="Drop the edits").click()
    expect(page.get_by_role("region", name="Form")).to_be_visible()
    expect(file).to_have_value(re.compile("^objectives:"))


def test_a_taken_name_is_told(visitor: Visitor) -> None:
    visitor.allowed = ("409",)
    visitor.log_in("/new")
    page = visitor.page
    for trials in ("5", "6"):
        visitor.open("/new")
        page.get_by_label("Name").fill("taken")
        page.get_by_label("Trials", exact=True).fill(trials)
        expect(page.get_by_text(f"{trials} trials.")).to_be_visible()
        page.get_by_role("button", name="Create study").click()
        expect(page.get_by_role("heading", name="taken").or_(page.get_by_role("alert"))).to_be_visible()
    expect(page.get_by_role("alert")).to_contain_text("was not created")


def test_viewer_gets_no_form(visitor: Visitor) -> None:
    visitor.log_in("/new", Scope.VIEWER)
    expect(visitor.page.get_by_role("alert")).to_contain_text("may look")
    visitor.open("/studies")
    expect(visitor.page.get_by_role("link", name="New study")).to_have_count(0)
