"""Keys lead through the views, say what they are, and can be switched off for good."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.api.conftest import Server
from tests.api.dashboard.conftest import Bench, Visitor, has_drawn

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


def test_keys_to_tabs_keep_the_selection(visitor: Visitor, bench: Bench) -> None:
    study = bench.study()
    bench.add(study, {"accuracy": 0.5})
    visitor.log_in(f"/studies/{study}?filter=lr%3E0&state=COMPLETE")
    page = visitor.page
    expect(page.get_by_role("searchbox")).to_have_value("lr>0")
    for keys, tab in (("gt", "trials"), ("ge", "explore"), ("go", None)):
        page.keyboard.type(keys)
        expect(page.get_by_role("tab", name=(tab or "overview").capitalize())).to_have_attribute("aria-selected", "true")
        assert page.evaluate("Object.fromEntries(new URLSearchParams(location.search))") == {
            "filter": "lr>0",
            "state": "COMPLETE",
            **({"tab": tab} if tab else {}),
        }
    page.goto(f"{visitor.server.url}/studies/{study}/trials/0")
    expect(page.get_by_role("heading", name="Trial 0")).to_be_visible()
    page.keyboard.type("gt")
    expect(page).to_have_url(re.compile(rf"/studies/{study}\?tab=trials$"))


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


def test_the_focus_returns_after_a_dialog(visitor: Visitor, bench: Bench) -> None:
    study = bench.study()
    bench.add(study, {"accuracy": 0.5})
    visitor.log_in(f"/studies/{study}?tab=trials")
    page = visitor.page
    page.get_by_label("Select trial 0").check()
    for name, answer in (("Add trial", "Escape"), ("Stop", "Keep it"), ("Run again 1", "Keep it"), ("Keys", "Close")):
        button = page.get_by_role("button", name=name, exact=name != "Keys")
        button.focus()
        page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog")
        expect(dialog).to_be_visible()
        assert dialog.evaluate("dialog => dialog.contains(document.activeElement)"), name
        if answer == "Escape":
            page.keyboard.press("Escape")
        else:
            dialog.get_by_role("button", name=answer).click()
        expect(dialog).to_have_count(0)
        expect(button).to_be_focused()


def test_the_skip_link_leads_to_what_the_page_is_about(visitor: Visitor, bench: Bench) -> None:
    bench.study()
    visitor.log_in("/studies")
    page = visitor.page
    expect(page.get_by_role("link", name="digits")).to_be_visible()
    skip = page.get_by_role("link", name="Skip to content")
    page.keyboard.press("Tab")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    expect(page.get_by_role("link", name="digits")).to_be_visible()
    page.keyboard.press("Tab")
    assert page.evaluate("document.querySelector('main').contains(document.activeElement)")


def tab_to(page: Page, target: Locator, most: int = 60) -> None:
    """Press Tab until the focus is on it."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if target.evaluate("element => element === document.activeElement"):
            return
    raise AssertionError(f"{most} times Tab do not lead to {target}")


def test_a_study_is_worked_with_keys_alone(visitor: Visitor, bench: Bench, server: Server) -> None:
    """From the login to the comparison and back, without a pointer."""
    study = bench.study()
    for number in range(12):
        bench.add(study, {"accuracy": 0.5 + ((number * 5) % 12) / 40}, number=number)
    page = visitor.page
    visitor.allowed = ("401", "422")  # before the login; a filter that is half typed
    visitor.open("/studies")
    page.wait_for_url("**/login?next=*")
    expect(page.get_by_label("API key")).to_be_visible()
    if not page.get_by_label("API key").evaluate("element => element === document.activeElement"):
        tab_to(page, page.get_by_label("API key"))
    page.keyboard.type(server.key)
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="digits")).to_be_visible()

    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="digits", level=1)).to_be_visible()
    tab_to(page, page.get_by_role("tab", name="Overview"))
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name=re.compile("Trials"))).to_be_focused()
    grid = page.get_by_role("grid", name="Trials")
    expect(grid).to_have_attribute("aria-rowcount", "13")

    page.keyboard.press("/")
    page.keyboard.type("optimizer=adam")
    expect(grid).to_have_attribute("aria-rowcount", "7")
    sort = grid.get_by_role("columnheader", name="accuracy").get_by_role("button")
    tab_to(page, sort)
    page.keyboard.press("Enter")
    expect(grid.get_by_role("columnheader", name="accuracy")).to_have_attribute("aria-sort", "descending")
    page.keyboard.press("Shift+Tab")
    while not grid.evaluate("element => element === document.activeElement"):
        page.keyboard.press("Shift+Tab")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    best = bench.http.get(f"/v1/studies/{study}/trials?sort=-value&filter=optimizer%3Dadam&limit=1").json()["items"][0]["number"]
    expect(page.get_by_role("heading", name=f"Trial {best}", level=1)).to_be_visible()
    page.keyboard.press("]")
    expect(page.get_by_role("heading", name=f"Trial {best + 1}", level=1)).to_be_visible()
    page.keyboard.press("[")
    expect(page.get_by_role("heading", name=f"Trial {best}", level=1)).to_be_visible()

    page.keyboard.type("gc")
    expect(page.get_by_role("region", name="Levels").get_by_role("row")).to_have_count(3)
    page.go_back()  # a headless window has no key of its own for it
    expect(page.get_by_role("heading", name=f"Trial {best}", level=1)).to_be_visible()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Keys")).to_have_count(0)
    page.keyboard.type("gs")
    expect(page.get_by_role("link", name="digits")).to_be_visible()


def chart(page: Page, title: str) -> Locator:
    return page.locator("figure", has_text=title).get_by_role("application")


def test_points_of_charts_are_read_with_arrows(visitor: Visitor, bench: Bench) -> None:
    study = bench.study()
    for number, best in enumerate((0.5, 0.75, 0.625)):
        lease = bench.lease(study, number)
        for step in range(3):
            bench.report(lease, step, best * (step + 1) / 4)
        bench.tell(lease, best)
    visitor.log_in(f"/studies/{study}")
    page = visitor.page
    history = chart(page, "Optimization history")
    assert has_drawn(page, "Optimization history")
    history.focus()
    said = history.get_by_role("status")
    for key, text in (
        ("ArrowRight", "Trial 0, complete: accuracy 0.5."),
        ("ArrowRight", "Trial 1, complete: accuracy 0.75, the best."),
        ("End", "Trial 2, complete: accuracy 0.625."),
        ("ArrowRight", "Trial 2, complete: accuracy 0.625."),
        ("Home", "Trial 0, complete: accuracy 0.5."),
    ):
        page.keyboard.press(key)
        expect(said).to_have_text(text)
    expect(history.locator(".chart-ring")).to_be_visible()
    page.keyboard.press("Escape")
    expect(said).to_have_text("")
    expect(history.locator(".chart-ring")).to_be_hidden()

    curves = chart(page, "Learning curves")
    curves.focus()
    said = curves.get_by_role("status")
    page.keyboard.press("ArrowRight")
    expect(said).to_have_text("Trial 1, rank 1: accuracy 0.1875 at step 0.")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    expect(said).to_have_text("Trial 2, rank 2: accuracy 0.3125 at step 1.")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Trial 2", level=1)).to_be_visible()
    reports = chart(page, "accuracy")
    reports.focus()
    page.keyboard.press("End")
    expect(reports.get_by_role("status")).to_have_text("accuracy 0.46875 at step 2.")


@pytest.mark.parametrize(
    ("title", "key", "text"),
    [
        ("Distribution of values", "Home", "20 % at least as good as 0.9."),
        ("Correlation", "ArrowRight", "lr and accuracy: −1.00."),
        ("Parallel coordinates", "ArrowRight", "Trial 4, rank 1: accuracy 0.9, lr 1e-4, optimizer sgd, momentum 0.5."),
    ],
)
def test_further_charts_are_read(visitor: Visitor, bench: Bench, title: str, key: str, text: str) -> None:
    study = bench.study()
    for number in range(5):
        bench.add(study, {"accuracy": 0.5 + number / 10}, number=number)
    visitor.log_in(f"/studies/{study}?tab=explore")
    found = chart(visitor.page, title)
    found.focus()
    visitor.page.keyboard.press(key)
    expect(found.get_by_role("status")).to_have_text(text)


def test_the_plane_is_read_from_the_best_on(visitor: Visitor, bench: Bench) -> None:
    study = bench.study()
    for number in range(4):
        bench.add(study, {"accuracy": 0.5 + number / 10}, number=number)
    visitor.log_in(f"/studies/{study}?tab=explore&plane-x=lr&plane-y=optimizer")
    plane = chart(visitor.page, "Two parameters")
    plane.focus()
    visitor.page.keyboard.press("ArrowRight")
    expect(plane.get_by_role("status")).to_have_text("Trial 3, rank 1 of 4: lr 0.001, optimizer adam, accuracy 0.8.")
    visitor.page.keyboard.press("ArrowRight")
    expect(plane.get_by_role("status")).to_contain_text("Trial 2, rank 2 of 4")
