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
    for what in ("Memory of busy: 8.0 GB in use", "GPU memory of busy: 40 GB of 80 GB", "Temperature of busy: 91 °C"):
        expect(row.get_by_role("img", name=what, exact=True)).to_be_visible()
    expect(row.locator(".bad")).to_have_text("91 °C")
    expect(page.get_by_role("row").filter(has_text="idle").locator(".spark")).to_have_count(0)
    alerts = page.get_by_role("list", name="Alerts")
    expect(alerts).to_contain_text("busy is hot: 91 °C")
    expect(alerts).to_contain_text(re.compile("lost has been silent for 5m .* and holds 1 trial"))
    expect(alerts).to_contain_text("idle is idle")


@pytest.mark.browser
def test_each_gpu_has_a_lane_where_that_is_known(visitor: Visitor, bench: Bench) -> None:
    study = bench.study()
    bench.worker("node-1", gpus=["H100"] * 3)
    bench.worker("node-2", gpus=["H100"])
    bench.lease(study, 0, worker="node-1", devices=[2])
    bench.tell(bench.lease(study, 1, worker="node-1", devices=[0]), 0.5)
    bench.lease(study, 2, worker="node-1")
    bench.lease(study, 3, worker="node-2")
    visitor.log_in("/workers")
    page = visitor.page
    groups = page.get_by_role("list", name="").locator(".lane-group")
    first = groups.filter(has_text="node-1")
    told = "GPU 0: 1 attempt: 1 complete; GPU 1: nothing; GPU 2: 1 attempt: 1 running; other: 1 attempt: 1 running"
    expect(first.get_by_role("img", name=told, exact=True)).to_be_visible()
    expect(first.locator(".lane-label")).to_have_text(["GPU 0", "GPU 1", "GPU 2", "other"])
    assert [row.locator(".bar").count() for row in first.locator(".lane-row").all()] == [1, 0, 1, 1]
    second = groups.filter(has_text="node-2")
    expect(second.get_by_role("img", name="1 attempt: 1 running", exact=True)).to_be_visible()
    expect(second.locator(".lane-label")).to_have_text([""])
    left = "(row) => Math.round(row.getBoundingClientRect().left)"
    assert first.locator(".lane-row").first.evaluate(left) == second.locator(".lane-row").evaluate(left), "one scale for all"


def past_attempts(visitor: Visitor, study: int, count: int) -> None:
    """Attempts of a hundredth of a second within the last hour, one after another; every tenth was lost."""
    with visitor.server.database.begin() as connection:
        connection.execute(
            text(
                """
                WITH t AS (
                    INSERT INTO trials (project, study_id, number, state, params)
                    SELECT 'default', :study, i, 'COMPLETE', '{}' FROM generate_series(0, :count - 1) i RETURNING id, number
                )
                INSERT INTO attempts (id, project, study_id, trial_id, epoch, worker, ttl, expires_at, started_at, ended_at, reason)
                SELECT gen_random_uuid(), 'default', :study, id, 1, 'node-1', 60, clock_timestamp(), began, began + interval '0.01 s',
                    CASE WHEN number % 10 = 0 THEN 'lost' ELSE 'complete' END
                FROM t, LATERAL (SELECT clock_timestamp() - interval '50 min' + number * interval '0.5 s' AS began) b
                """
            ),
            {"study": study, "count": count},
        )


@pytest.mark.browser
def test_bars_too_thin_to_tell_apart_are_one(visitor: Visitor, bench: Bench) -> None:
    past_attempts(visitor, bench.study(), 4_000)
    bench.worker("node-1")
    visitor.log_in("/workers")
    page = visitor.page
    timeline = page.get_by_role("region", name="What ran when")
    expect(timeline.get_by_role("img", name="4,000 attempts: 400 lost, 3,600 complete")).to_be_visible()
    bars = timeline.locator(".bar")
    assert 100 < bars.count() < 600
    titles = bars.evaluate_all("bars => bars.map((bar) => bar.title)")
    assert (
        sum(int(found[1]) for title in titles if (found := re.match(r"(\d+) attempts?: ", title)))
        + sum("trial" in title for title in titles)
        == 4_000
    )
    assert bars.first.get_attribute("data-tone") == "complete", "what happened most"
    bars.first.click()
    assert page.url.endswith("/workers")


@pytest.mark.browser
def test_lanes_are_drawn_when_there_is_news(visitor: Visitor, bench: Bench) -> None:
    bench.worker("node-1")
    bench.lease(bench.study(), worker="node-1")
    visitor.log_in("/workers")
    page = visitor.page
    expect(page.locator(".lane-row .bar")).to_be_visible()
    changes = page.evaluate(
        """async () => {
            let changes = 0;
            const observer = new MutationObserver((found) => { changes += found.length; });
            observer.observe(document.querySelector(".lanes"), { subtree: true, childList: true, attributes: true, characterData: true });
            while (!changes) await new Promise((resolve) => setTimeout(resolve, 20));
            await new Promise((resolve) => setTimeout(resolve, 200));
            changes = 0;
            await new Promise((resolve) => setTimeout(resolve, 3_500));
            return changes;
        }"""
    )
    assert changes == 0


def lanes_of_every_end(visitor: Visitor, bench: Bench) -> int:
    """A study with an attempt of each colour; its id."""
    study = bench.study(trial={"executor": "command", "command": ["train"]})
    bench.worker("node-1", slots=5)
    for number, told in enumerate(
        ({"state": "COMPLETE"}, {"state": "PRUNED"}, {"state": "WAITING", "reason": "preempted"}, {"state": "FAIL"})
    ):
        lease = bench.lease(study, number, worker="node-1")
        bench.tell(lease, 0.5 if told["state"] == "COMPLETE" else None, **told)
        with visitor.server.database.begin() as connection:
            connection.execute(
                text(
                    "UPDATE attempts SET started_at = started_at - :back * interval '1 min', ended_at = ended_at - (:back - 4) * interval '1 min' WHERE id = :id"
                ),
                {"id": lease["id"], "back": 10 + 10 * number},
            )
    bench.ask(study, "node-1")
    return study


LOOKS = """(selector) => Object.fromEntries([...document.querySelectorAll(selector)].map((element) => {
    const { backgroundImage, backgroundColor } = getComputedStyle(element);
    return [element.dataset.tone, backgroundImage === "none" ? backgroundColor : backgroundImage.replace(/(rgb|color)[^)]*\\)/g, "")];
}))"""


@pytest.mark.browser
def test_ends_of_attempts_differ_by_more_than_their_colour(visitor: Visitor, bench: Bench) -> None:
    lanes_of_every_end(visitor, bench)
    visitor.log_in("/workers")
    page = visitor.page
    expect(page.locator(".lane-row .bar")).to_have_count(5)
    for selector in (".lane-row .bar", ".legend i"):
        looks = page.evaluate(LOOKS, selector)
        assert set(looks) == {"complete", "pruned", "waiting", "failed", "running"}
        assert len(set(looks.values())) == 5, looks
        assert sum("gradient" in look for look in looks.values()) == 4, looks


@pytest.mark.browser
def test_nothing_vanishes_in_forced_colours(visitor: Visitor, bench: Bench) -> None:
    study = lanes_of_every_end(visitor, bench)
    visitor.log_in("/workers")
    page = visitor.page
    page.emulate_media(forced_colors="active", reduced_motion="reduce")
    expect(page.locator(".lane-row .bar")).to_have_count(5)
    for selector in (".lane-row .bar", ".legend i"):
        assert len(set(page.evaluate(LOOKS, selector).values())) == 5, selector
    ground = "element => getComputedStyle(element).backgroundColor"
    page_ground = page.locator("body").evaluate(ground)
    assert page.locator(".connection i").evaluate(ground) != page_ground
    pressed, other = page.get_by_role("button", name="1 h"), page.get_by_role("button", name="6 h")
    assert pressed.evaluate(ground) not in (other.evaluate(ground), page_ground)
    compact = page.get_by_role("button", name="Table")
    before = compact.evaluate(ground)
    compact.click()
    assert compact.evaluate(ground) != before
    visitor.open(f"/studies/{study}?tab=trials")
    chip = page.get_by_role("button", name=re.compile("^Failed"))
    expect(chip).to_be_enabled()
    before = chip.evaluate(ground)
    chip.click()
    expect(chip).to_have_attribute("aria-pressed", "true")
    page.mouse.move(0, 0)
    assert chip.evaluate(ground) != before
    assert page.get_by_role("tab", name="Trials").evaluate(ground) != page.get_by_role("tab", name="Overview").evaluate(ground)


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
