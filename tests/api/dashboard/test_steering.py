"""What ends or removes something asks for a word to be typed first, and what may still be changed of a study: its limits."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, expect

from tests.api.dashboard.conftest import Bench, Visitor
from tuner.wire import Scope

pytestmark = pytest.mark.browser


def confirm(dialog: Locator, action: str, wrong: str, word: str) -> None:
    """Nothing but the word itself lets the action through."""
    button = dialog.get_by_role("button", name=action)
    for text in ("", wrong):
        dialog.get_by_label("To confirm").fill(text)
        expect(button).to_be_disabled()
        dialog.get_by_label("To confirm").press("Enter")
        expect(dialog).to_be_visible()
    dialog.get_by_label("To confirm").fill(word)
    button.click()


def test_a_study_is_cancelled_by_its_name(visitor: Visitor, bench: Bench) -> None:
    study = bench.study("to be  cancelled")  # with two blanks, of which a page shows one
    visitor.log_in(f"/studies/{study}")
    page = visitor.page
    page.get_by_role("button", name="Cancel").click()
    confirm(page.get_by_role("dialog"), "Cancel the study", "another", "to be cancelled")
    expect(page.locator(".page-head .state")).to_contain_text("cancelled")
    assert bench.http.get(f"/v1/studies/{study}").json()["reason"] == "cancelled"


def test_many_trials_are_cancelled_by_their_number(visitor: Visitor, bench: Bench) -> None:
    study = bench.study()
    for number in range(21):
        bench.http.post(f"/v1/studies/{study}/trials", json={"params": bench.params(number)}).raise_for_status()
    visitor.log_in(f"/studies/{study}?tab=trials")
    page = visitor.page
    for number in range(20):
        page.get_by_label(f"Select trial {number}", exact=True).check()
    page.get_by_role("button", name="Cancel 20").click()
    expect(page.get_by_role("dialog").get_by_label("To confirm")).to_have_count(0)
    page.get_by_role("dialog").get_by_role("button", name="Keep it").click()
    page.get_by_label("Select trial 20", exact=True).check()
    page.get_by_role("button", name="Cancel 21").click()
    dialog = page.get_by_role("dialog", name="Cancel: 21 trials of digits?")
    confirm(dialog, "Cancel 21 trials", "20", "21")
    expect(page.get_by_role("button", name=re.compile("^Failed"))).to_contain_text("21")


def test_a_study_is_deleted_by_its_name(visitor: Visitor, bench: Bench) -> None:
    study = bench.study("to be deleted")
    bench.study("to be kept")
    bench.add(study, {"accuracy": 0.5})
    bench.lease(study, 1)
    visitor.log_in(f"/studies/{study}?tab=configuration")
    page = visitor.page
    page.get_by_role("button", name="Delete study").click()
    dialog = page.get_by_role("dialog", name="Delete this study?")
    expect(dialog).to_contain_text("2 trials go with it, with their logs and checkpoints; 1 of them runs and will be ended.")
    confirm(dialog, "Delete the study", "to be kept", "to be deleted")
    expect(page.get_by_role("heading", level=1)).to_have_text("Studies")
    expect(page.get_by_role("link", name="to be kept")).to_be_visible()
    expect(page.get_by_role("link", name="to be deleted")).to_have_count(0)
    assert bench.http.get(f"/v1/studies/{study}").status_code == 404


def test_a_viewer_deletes_nothing(visitor: Visitor, bench: Bench) -> None:
    visitor.log_in(f"/studies/{bench.study()}?tab=configuration", Scope.VIEWER)
    expect(visitor.page.get_by_role("region", name="About")).to_contain_text("Trials: 500")
    expect(visitor.page.get_by_role("button", name="Delete study")).to_have_count(0)


def test_every_limit_is_changed_and_refusals_stand_at_their_field(visitor: Visitor, bench: Bench) -> None:
    study = bench.study(limits={"max_trials": 20, "timeout": 7200, "target": 0.9})
    visitor.allowed = ("422",)
    visitor.log_in(f"/studies/{study}?tab=configuration")
    about = visitor.page.get_by_role("region", name="About")
    expect(about).to_contain_text("Time since creation: 2h 0m")
    about.get_by_role("button", name="Edit").click()
    wanted = {
        "max_trials": ("Trials", "30", 30),
        "max_concurrent_trials": ("At once, at most", "4", 4),
        "max_failed_trials": ("Failures, at most", "5", 5),
        "max_attempts": ("Attempts of each, at most", "2", 2),
        "timeout": ("Time since creation, in seconds", "86400", 86400),
        "trial_timeout": ("Time of each, in seconds", "600", 600),
        "max_gpu_seconds": ("GPU time of all, in seconds", "-1", 36000),
        "target": ("Value at which it ends", "", None),
    }
    for label, text, _ in wanted.values():
        about.get_by_label(label, exact=True).fill(text)
    about.get_by_role("button", name="Save").click()
    expect(about.get_by_role("alert")).to_contain_text("Nothing was changed: see the fields")
    gpu_time = about.get_by_label("GPU time of all, in seconds")
    expect(gpu_time).to_have_attribute("aria-invalid", "true")
    expect(gpu_time).to_have_accessible_description(re.compile("above 0"))
    expect(about.get_by_label("Trials", exact=True)).to_have_attribute("aria-invalid", "false")
    gpu_time.fill("36000")
    about.get_by_role("button", name="Save").click()
    expect(about).to_contain_text("GPU time of all: 10h 0m")
    limits = bench.http.get(f"/v1/studies/{study}").json()["spec"]["limits"]
    assert limits == {name: value for name, (_, _, value) in wanted.items()}
