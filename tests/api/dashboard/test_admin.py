"""Keys are made and revoked in the browser, the secret is shown once, and the log tells who did what; only admins get there."""

from __future__ import annotations

import re

import httpx
import pytest
from playwright.sync_api import expect

from tests.api.dashboard.conftest import HOSTILE, Bench, Visitor
from tuner.wire import Scope

pytestmark = pytest.mark.browser


def test_keys_are_made_shown_once_and_revoked(visitor: Visitor) -> None:
    visitor.log_in("/admin")
    page = visitor.page
    page.get_by_label("Name").fill(HOSTILE)
    page.get_by_label("Scope").select_option("viewer")
    page.get_by_role("button", name="Make key").click()
    shown = page.get_by_role("status").filter(has_text="shown this once").locator("code")
    expect(shown).to_have_text(re.compile("^tnr_"))
    secret = shown.text_content()
    with visitor.server.http(secret) as http:
        assert http.get("/v1/me").json() | {"key_id": ""} == {
            "key_id": "",
            "name": HOSTILE,
            "scope": "viewer",
            "project": "default",
        }
    page.reload()
    row = page.get_by_role("region", name="Keys").get_by_role("row").filter(has_text=HOSTILE)
    expect(row).to_contain_text("valid")
    assert secret not in page.content()
    row.get_by_role("button", name=f"Revoke {HOSTILE}").click()
    revoke = page.get_by_role("dialog").get_by_role("button", name="Revoke the key")
    expect(revoke).to_be_disabled()
    page.get_by_role("dialog").get_by_label("To confirm").fill(HOSTILE)
    revoke.click()
    expect(row).to_contain_text("revoked")
    page.reload()
    log = page.get_by_role("region", name="Log")
    expect(log.get_by_role("listitem").first).to_contain_text("Key revoked")
    expect(log.get_by_role("listitem").nth(1)).to_contain_text(f"{HOSTILE} (viewer)")
    assert page.evaluate("window.pwned.length") == 0


def test_only_admins(visitor: Visitor) -> None:
    visitor.log_in("/admin", Scope.SUBMITTER)
    expect(visitor.page.get_by_role("heading", name="For admins")).to_be_visible()
    expect(visitor.page.get_by_role("navigation", name="Sections").get_by_role("link", name="Admin")).to_have_count(0)


def test_log_is_newest_first_and_pages(http: httpx.Client, bench: Bench) -> None:
    first = bench.study("first")
    bench.study("second")
    http.post(f"/v1/studies/{first}/pause").raise_for_status()
    whole = http.get("/v1/log").json()["items"]
    assert [(event["kind"], event["study_id"]) for event in whole[:3]] == [
        ("paused", first),
        ("created", first + 1),
        ("created", first),
    ]
    assert http.get("/v1/log", params={"limit": 1, "before": whole[0]["id"]}).json()["items"] == whole[1:2]
    assert {event["study_id"] for event in http.get("/v1/log", params={"study": "first"}).json()["items"]} == {first}
    assert http.get("/v1/log", params={"study": "third"}).status_code == 404
