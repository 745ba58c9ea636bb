"""The fleet: use of the machines, alerts; a trial's attempts in words, its notes; the health of the deployment."""

from __future__ import annotations

import re

import httpx
import pytest
from playwright.sync_api import expect
from sqlalchemy import text

from tests.api.conftest import Server
from tests.api.dashboard.conftest import HOSTILE, Bench, Visitor
from tests.api.dashboard.states import USAGE
from tuner.wire import Scope


def test_samples_of_usage_are_kept_and_bounded(http: httpx.Client) -> None:
    for number in range(63):
        body = {"name": "node-1", "usage": {"cpu": number / 100}}
        http.post("/v1/workers", json=body).raise_for_status()
    http.post("/v1/workers", json={"name": "node-1", "slots": 2}).raise_for_status()  # without a sample: none is lost
    (worker,) = http.get("/v1/workers").json()["items"]
    assert [sample["cpu"] for sample in worker["usage"]] == [number / 100 for number in range(3, 63)]
    assert worker["slots"] == 2
    for utilization in (0.25, 0.75):
        gpus = [{"utilization": utilization, "temperature": 60}, {"utilization": 0.0}, {}]
        http.post("/v1/workers", json={"name": "node-1", "usage": {"gpus": gpus}}).raise_for_status()
    (worker,) = http.get("/v1/workers").json()["items"]
    assert [sample["gpu"] for sample in worker["usage"][-3:]] == [None, 0.125, 0.375]
    assert [len(sample["gpus"]) for sample in worker["usage"][-3:]] == [0, 0, 3]


@pytest.mark.parametrize("usage", [{"cpu": 1.5}, {"cpu": "NaN"}, {"memory": -1}, {"gpus": [{"temperature": 1e9}]}, {"load": 1}])
def test_bad_usage_is_refused(http: httpx.Client, usage: dict[str, object]) -> None:
    answer = http.post("/v1/workers", json={"name": "node-1", "usage": usage})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["loc"].startswith("usage.")


def test_the_server_tells_its_versions(http: httpx.Client) -> None:
    answer = http.get("/v1/server").json()
    assert re.match(r"\d+\.\d+", answer["version"])
    assert re.match(r"\d{4}$", answer["schema_revision"])
    assert answer["searches"] == 0


def test_projects_are_listed_to_the_operator_and_ones_own_to_others(server: Server, bench: Bench) -> None:
    bench.study()
    with server.http(server.make_key(Scope.ADMIN, "vision")) as other:
        assert [project["name"] for project in other.get("/v1/projects").json()["items"]] == ["vision"]
    found = {item["name"]: item for item in bench.http.get("/v1/projects").json()["items"]}
    assert (found["default"]["studies"], found["vision"]["studies"], found["vision"]["keys"]) == (1, 0, 1)


@pytest.mark.browser
def test_machines_and_alerts(visitor: Visitor, bench: Bench) -> None:
    study = bench.study()
    for name in ("busy", "lost", "idle"):
        body = {"name": name, "slots": 2, "gpus": ["H100"], "usage": USAGE if name == "busy" else None}
        bench.http.post("/v1/workers", json=body).raise_for_status()
    bench.lease(study, worker="busy")
    bench.lease(study, 1, worker="lost")
    with visitor.server.database.begin() as connection:
        connection.execute(text("UPDATE workers SET seen_at = seen_at - interval '5 minutes' WHERE name = 'lost'"))
        connection.execute(
            text("UPDATE attempts SET ttl = 3600, expires_at = expires_at + interval '30 minutes' WHERE worker = 'lost'")
        )
    visitor.log_in("/workers")
    page = visitor.page
    row = page.get_by_role("row").filter(has_text="busy")
    expect(row.get_by_role("img", name="GPUs of busy: 75 %")).to_be_visible()
    expect(row).to_contain_text("40 GB of 80 GB · 91 °C")
    alerts = page.get_by_role("list", name="Alerts")
    expect(alerts).to_contain_text("busy is hot: 91 °C")
    expect(alerts).to_contain_text(re.compile("lost has been silent for 5m .* and holds 1 trial"))
    expect(alerts).to_contain_text("idle is idle")


@pytest.mark.browser
def test_who_took_a_trial_over_is_told(visitor: Visitor, bench: Bench) -> None:
    study = bench.study()
    lease = bench.lease(study, worker="node-1")
    with visitor.server.database.begin() as connection:
        connection.execute(text("UPDATE attempts SET expires_at = clock_timestamp() - interval '1 second'"))
    taken = bench.http.post(f"/v1/studies/{study}/ask", json={"count": 1, "wait": 20, "worker": "node-2"}).json()["leases"]
    assert taken[0]["trial"]["number"] == lease["trial"]["number"]
    visitor.log_in(f"/studies/{study}/trials/{lease['trial']['number']}")
    expect(visitor.page.get_by_role("region", name="Table: attempts")).to_contain_text(
        re.compile(r"Lease taken over from worker node-1 \(no heartbeat .*\), from the beginning")
    )


@pytest.mark.browser
def test_notes_are_written_and_drawn_without_markup(visitor: Visitor, bench: Bench) -> None:
    study = bench.study()
    trial = bench.add(study, {"accuracy": 0.5})
    visitor.log_in(f"/studies/{study}/trials/0")
    page = visitor.page
    notes = page.get_by_role("region", name="Notes")
    notes.get_by_role("button", name="Write").click()
    page.get_by_label("Notes of this trial").fill(
        f"# Why\n- **warmup** helps\n- {HOSTILE}\n\n[paper](https://example.org/a) [bad](javascript:pwned.push(2))"
    )
    notes.get_by_role("button", name="Save").click()
    expect(notes.get_by_role("heading", name="Why")).to_be_visible()
    expect(notes.locator("strong")).to_have_text("warmup")
    expect(notes.get_by_role("listitem").nth(1)).to_have_text(HOSTILE)
    assert notes.get_by_role("link").count() == 1
    assert page.evaluate("pwned") == []
    assert bench.http.get(f"/v1/trials/{trial['id']}").json()["notes"].startswith("# Why")
    with visitor.server.http(visitor.server.make_key(Scope.VIEWER)) as viewer:
        assert viewer.patch(f"/v1/trials/{trial['id']}", json={"notes": "x"}).status_code == 403
    assert bench.http.patch(f"/v1/trials/{trial['id']}", json={"notes": "a\x00"}).status_code == 422
    assert bench.http.patch(f"/v1/trials/{trial['id']}", json={"notes": "x" * 20_001}).status_code == 422
    visitor.context.clear_cookies()
    visitor.log_in(f"/studies/{study}/trials/0", Scope.VIEWER)
    expect(notes.get_by_role("heading", name="Why")).to_be_visible()
    expect(notes.get_by_role("button")).to_have_count(0)


@pytest.mark.browser
def test_admins_see_health_and_projects(visitor: Visitor) -> None:
    visitor.log_in("/admin")
    page = visitor.page
    expect(page.locator(".strip")).to_contain_text("nobody suggests")
    page.get_by_label("Name").fill("theirs")
    page.get_by_role("textbox", name="Project").fill("vision")
    page.get_by_role("button", name="Make key").click()
    expect(page.get_by_role("region", name="List of projects")).to_contain_text("vision")
    expect(page.get_by_role("contentinfo")).to_contain_text(re.compile(r"schema \d{4}"))
