"""The list of studies: the curve of the best so far, speed, order, what is archived; what the server says for it in one answer."""

from __future__ import annotations

import httpx
import pytest
from playwright.sync_api import expect

from tests.api.conftest import Server
from tests.api.dashboard.conftest import Bench, Visitor
from tuner.wire import Scope

# Types a text and presses a key, in one go: pauses of the page's have no time to end.
TYPE_AND = """(field, [text, key]) => {
    field.focus();
    field.value = text;
    field.dispatchEvent(new InputEvent("input", { bubbles: true }));
    if (key) field.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
}"""


def test_progress_is_the_best_so_far_of_each(bench: Bench, http: httpx.Client) -> None:
    up, none = bench.study("up"), bench.study("none")
    down = bench.study("down", objectives=[{"name": "loss", "direction": "minimize"}])
    for number, value in enumerate([0.5, 0.3, 0.9, 0.7]):
        bench.add(up, {"accuracy": value}, number=number)
        bench.add(down, {"loss": value}, number=number)
    bench.add(up, None, "FAIL")
    items = http.get(f"/v1/progress?ids={up},{down},{none},{2**40 % 10**9}").raise_for_status().json()["items"]
    by_id = {item["study_id"]: item for item in items}
    assert [value for _, value in by_id[up]["best"]] == [0.5, 0.5, 0.9, 0.9]
    assert [value for _, value in by_id[down]["best"]] == [0.5, 0.3, 0.3, 0.3]
    assert by_id[none] == {"study_id": none, "best": [], "trials_per_hour": None}
    assert by_id[up]["trials_per_hour"] > 0


def test_speed_is_that_of_the_trials_that_ended_last(bench: Bench, http: httpx.Client) -> None:
    """Trials that wait, and one that ended before and is annotated now, change after those that ended last."""
    study = bench.study()
    first = bench.add(study, {"accuracy": 0.5})
    for number in range(1, 40):
        bench.add(study, {"accuracy": 0.5}, number=number)
    (before,) = http.get(f"/v1/progress?ids={study}").json()["items"]
    http.patch(f"/v1/trials/{first['id']}", json={"notes": "seen"}).raise_for_status()
    for number in range(40):
        http.post(f"/v1/studies/{study}/trials", json={"params": bench.params(number)}).raise_for_status()
    (after,) = http.get(f"/v1/progress?ids={study}").json()["items"]
    assert after["trials_per_hour"] == before["trials_per_hour"] > 0


def test_progress_stays_small(bench: Bench, http: httpx.Client) -> None:
    study = bench.study()
    for number in range(120):
        bench.add(study, {"accuracy": number / 120}, number=number)
    (item,) = http.get(f"/v1/progress?ids={study}").json()["items"]
    assert len(item["best"]) == 40
    assert item["best"][-1] == [119, 119 / 120]


@pytest.mark.parametrize("ids", ["", "x", "1,,2", "-1", ",".join(map(str, range(1, 52)))])
def test_progress_refuses_bad_ids(http: httpx.Client, ids: str) -> None:
    answer = http.get("/v1/progress", params={"ids": ids})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"] == "query.ids"


def test_progress_shows_nothing_of_another_project(bench: Bench, server: Server) -> None:
    study = bench.study()
    bench.add(study, {"accuracy": 0.5})
    with server.http(server.make_key(Scope.VIEWER, "other")) as other:
        assert other.get(f"/v1/progress?ids={study}").json() == {"items": []}


@pytest.mark.browser
def test_a_study_is_put_away_and_taken_out(visitor: Visitor, bench: Bench) -> None:
    kept, old = bench.study("kept"), bench.study("old")
    for number in range(3):
        bench.add(kept, {"accuracy": number / 10}, number=number)
    visitor.log_in("/studies")
    page = visitor.page
    row = page.get_by_role("row").filter(has_text="kept")
    expect(row.get_by_role("img", name="Best so far of kept: 0 to 0.2")).to_be_visible()
    expect(row).to_contain_text("admin of default")
    page.get_by_label("Select study old").check()
    page.get_by_role("button", name="Archive 1").click()
    expect(page.get_by_role("link", name="old")).to_have_count(0)
    bench.add(old, {"accuracy": 0.5})  # a change of what is put away does not bring it back
    bench.add(kept, {"accuracy": 0.9}, number=3)
    expect(row).to_contain_text("0.9")
    expect(page.get_by_role("link", name="old")).to_have_count(0)
    page.get_by_label("Archive", exact=True).select_option("Archived")
    expect(page.get_by_role("link", name="old")).to_be_visible()
    expect(page.get_by_role("link", name="kept")).to_have_count(0)
    page.get_by_label("Select study old").check()
    page.get_by_role("button", name="Take out 1").click()
    expect(page.get_by_role("heading", name="No study matches")).to_be_visible()
    page.get_by_label("Archive", exact=True).select_option("Current")
    expect(page.get_by_role("link", name="old")).to_be_visible()
    page.get_by_label("Order").select_option("By name")
    expect(page.get_by_role("row").nth(1)).to_contain_text("kept")


@pytest.mark.browser
def test_a_viewer_cannot_put_away(visitor: Visitor, bench: Bench) -> None:
    bench.study()
    visitor.log_in("/studies", Scope.VIEWER)
    visitor.page.get_by_label("Select study digits").check()
    expect(visitor.page.get_by_role("button", name="Compare 1 study")).to_be_visible()
    expect(visitor.page.get_by_role("button", name="Archive")).to_have_count(0)


@pytest.mark.browser
def test_a_search_ends_with_its_view_and_with_escape(visitor: Visitor, bench: Bench) -> None:
    study, other = bench.study("digits"), bench.study("letters")
    bench.add(study, {"accuracy": 0.5})
    visitor.log_in("/studies")
    page = visitor.page
    search = page.get_by_label("Search names and tags")
    search.fill("letters")
    expect(page.get_by_role("link", name="digits")).to_have_count(0)
    search.evaluate(TYPE_AND, ["digits", "Escape"])
    page.wait_for_timeout(500)
    expect(page).to_have_url(visitor.server.url + "/studies")
    expect(search).to_have_value("")
    search.evaluate(TYPE_AND, ["l", None])
    page.get_by_role("link", name="letters").click()
    page.wait_for_timeout(500)
    expect(page).to_have_url(f"{visitor.server.url}/studies/{other}")

    page.goto(f"{visitor.server.url}/studies/{study}?filter=worker%3Da")
    filters = page.get_by_label("Filter of trials")
    filters.evaluate(TYPE_AND, ["worker=ab", "Escape"])
    page.wait_for_timeout(500)
    expect(page).to_have_url(f"{visitor.server.url}/studies/{study}")
    expect(filters).to_have_value("")
    filters.evaluate(TYPE_AND, ["worker=abc", None])
    page.get_by_role("link", name="Fleet").click()
    page.wait_for_timeout(500)
    expect(page).to_have_url(f"{visitor.server.url}/workers")


@pytest.mark.browser
def test_what_is_being_typed_stays_while_the_list_changes(visitor: Visitor, bench: Bench) -> None:
    study = bench.study()
    visitor.log_in("/studies")
    page = visitor.page
    search = page.get_by_label("Search names and tags")
    expect(page.get_by_role("link", name="digits")).to_be_visible()
    page.evaluate("setInterval(() => document.querySelector('input[type=checkbox]')?.click(), 40)")  # draws the page anew
    search.focus()
    page.keyboard.type("digits", delay=100)
    expect(page).to_have_url(f"{visitor.server.url}/studies?q=digits")
    assert study
