"""Trials and workers in Chromium: the table of any length, one trial's page, the fleet."""

from __future__ import annotations

import hashlib
import re

import pytest
from playwright.sync_api import expect

from tests.api.dashboard.conftest import HOSTILE, Bench, Visitor, stat, wait_for_live

pytestmark = pytest.mark.browser


def test_trials_are_sorted_filtered_and_opened(visitor: Visitor, bench: Bench) -> None:
    study = bench.study()
    for number in range(120):
        state = "FAIL" if number % 10 == 9 else "COMPLETE"
        bench.add(study, {"accuracy": (number * 37 % 101) / 101} if state == "COMPLETE" else None, state, number)
    visitor.log_in(f"/studies/{study}?tab=trials")
    page = visitor.page
    grid = page.get_by_role("grid", name="Trials")
    rows = grid.get_by_role("row")
    expect(grid).to_have_attribute("aria-rowcount", "121")
    expect(rows.nth(1)).to_contain_text("119")
    assert rows.count() < 60, "only the rows in sight are in the document"
    grid.get_by_role("button", name=re.compile("^accuracy")).click()
    best = max((number for number in range(120) if number % 10 != 9), key=lambda number: number * 37 % 101)
    expect(rows.nth(1).get_by_role("gridcell").first).to_have_text(str(best))
    page.get_by_role("button", name=re.compile("^Failed")).click()
    expect(page.get_by_text("12 shown")).to_be_visible()
    assert "state=FAIL" in page.url
    page.reload()
    expect(page.get_by_text("12 shown")).to_be_visible()
    expect(rows.nth(1)).to_contain_text("Failed")

    grid.focus()
    page.keyboard.press("j")
    page.keyboard.press("ArrowDown")
    second = rows.nth(2).get_by_role("gridcell").first.text_content()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/studies/{study}/trials/{second}")
    page.go_back()
    expect(page.get_by_text("12 shown")).to_be_visible()


def test_trial_shows_attempts_logs_and_reports(visitor: Visitor, bench: Bench) -> None:
    study = bench.study()
    bench.add(study, {"accuracy": 0.99}, number=2)
    lease = bench.lease(study, number=1, worker="node-7")
    bench.report(lease, 0, 0.25)
    lines = [{"stream": "stdout", "text": f"line {number}"} for number in range(30)] + [{"stream": "stderr", "text": HOSTILE}]
    bench.http.post(f"/v1/leases/{lease['id']}/logs", json={"lines": lines}).raise_for_status()
    visitor.log_in(f"/studies/{study}/trials/1")
    page = visitor.page
    expect(page.get_by_role("log")).to_contain_text("line 29")
    expect(page.get_by_role("log").locator("[data-stream=stderr]")).to_have_text(HOSTILE)
    attempts = page.locator("section", has=page.get_by_role("heading", name="Attempts"))
    expect(attempts.get_by_role("row").nth(1)).to_contain_text("node-7")
    expect(attempts.get_by_role("row").nth(1)).to_contain_text("running")
    expect(stat(page, "accuracy")).to_contain_text("latest 0.25 at step 0")
    parameters = page.locator("section", has=page.get_by_role("heading", name="Parameters"))
    expect(parameters.get_by_role("row").filter(has_text="optimizer")).to_contain_text("sgd")
    wait_for_live(page)
    bench.report(lease, 1, 0.5)
    expect(stat(page, "accuracy")).to_contain_text("latest 0.5 at step 1")
    bench.http.post(
        f"/v1/leases/{lease['id']}/logs", json={"lines": [{"stream": "stdout", "text": "the last line"}]}
    ).raise_for_status()
    expect(page.get_by_role("log")).to_contain_text("the last line")
    bench.tell(lease, None, reason="oom_cuda", error="CUDA out of memory")
    expect(page.get_by_role("heading", name="Why it failed")).to_be_visible()
    expect(page.locator(".page-head .state")).to_contain_text("oom cuda")
    expect(attempts.get_by_role("row").nth(1)).to_contain_text("oom cuda")
    page.get_by_role("button", name="Run again").click()
    page.wait_for_url(f"**/studies/{study}/trials/2")
    expect(page.locator(".page-head .state")).to_contain_text("Waiting")
    page.keyboard.press("[")
    page.wait_for_url(f"**/studies/{study}/trials/1")
    expect(page.get_by_role("heading", name="Trial 1")).to_be_visible()
    page.keyboard.press("]")
    page.wait_for_url(f"**/studies/{study}/trials/2")
    page.get_by_role("button", name="Cancel trial").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel the trial").click()
    expect(page.locator(".page-head .state")).to_contain_text("Failed")


def test_checkpoints_are_listed_and_come_whole(visitor: Visitor, bench: Bench) -> None:
    study = bench.study()
    lease = bench.lease(study)
    contents = {3: bytes(range(256)) * 400, 7: b"the later one" * 1_000}
    for step, content in contents.items():
        digest = hashlib.sha256(content).hexdigest()
        path = f"/v1/leases/{lease['id']}/checkpoints/{step}"
        bench.http.put(path, content=content, headers={"X-Content-SHA256": digest}).raise_for_status()
    visitor.log_in(f"/studies/{study}/trials/0")
    page = visitor.page
    rows = page.get_by_role("region", name="Table: checkpoints").get_by_role("row")
    expect(rows).to_have_count(3)
    earlier = rows.filter(has=page.get_by_role("link", name="Download the checkpoint of step 3"))
    expect(earlier).to_contain_text("102 KB")
    expect(earlier).to_contain_text(hashlib.sha256(contents[3]).hexdigest()[:12])
    for name, step in (
        ("Download the checkpoint of step 3", 3),
        ("Download the checkpoint of step 7", 7),
        ("Download the latest", 7),
    ):
        with page.expect_download() as download:
            page.get_by_role("link", name=name).click()
        assert download.value.path().read_bytes() == contents[step], name


def test_trial_shows_what_its_gradients_did(visitor: Visitor, bench: Bench) -> None:
    study = bench.study()
    bench.tell(bench.lease(study), 0.5, user_attrs={"flags": ["vanishing", "exploding", "unknown"]})
    bench.tell(bench.lease(study, 1), 0.5, user_attrs={"flags": "vanishing"})
    visitor.log_in(f"/studies/{study}/trials/0")
    head = visitor.page.locator(".page-head")
    expect(head.locator(".state")).to_have_text(["Complete", "vanishing gradients", "exploding gradients"])
    assert all(head.locator(".state[title]").evaluate_all("marks => marks.map((mark) => mark.title)"))
    visitor.open(f"/studies/{study}/trials/1")
    expect(visitor.page.get_by_role("heading", name="Trial 1")).to_be_visible()
    expect(head.locator(".state")).to_have_text(["Complete"])


def test_trial_shows_how_to_repeat_it(visitor: Visitor, bench: Bench) -> None:
    study = bench.study("mine", trial={"executor": "command", "command": ["true"]})
    lease = bench.lease(study, worker="node-1")
    record = {
        "seed": 7,
        "device": {"kind": "cpu", "name": "a CPU"},
        "versions": {"torch": "2.13.0"},
        "weights": {"step": 3, "sha256": "ab" * 32},
    }
    bench.tell(lease, 0.5, record=record, user_attrs={"flags": ["vanishing"], "peak_memory": 123456789})
    visitor.log_in(f"/studies/{study}/trials/0")
    repeat = visitor.page.get_by_role("region", name="Repeat it")
    expect(repeat.locator("code")).to_have_text("tuner trial rerun mine/0 --verify")
    for text_ in ("a CPU", "torch 2.13.0", "abababababababab… after step 3"):
        expect(repeat).to_contain_text(text_)
    expect(visitor.page.get_by_role("region", name="Attributes")).to_contain_text('["vanishing"]')


def test_workers(visitor: Visitor, bench: Bench) -> None:
    visitor.log_in("/workers")
    page = visitor.page
    expect(page.get_by_text("tuner worker --server")).to_be_visible()
    body = {"name": "node-1", "host": "rack", "slots": 4, "gpus": ["H100", "H100"], "cpus": 8, "memory": 64_000_000_000}
    bench.http.post("/v1/workers", json=body).raise_for_status()
    row = page.get_by_role("row").filter(has_text="node-1")
    expect(row).to_contain_text("2 × H100")
    expect(row).to_contain_text("Idle")
    lease = bench.lease(bench.study(), worker="node-1")
    expect(row).to_contain_text("1 / 4")
    expect(row).to_contain_text("Working")
    timeline = page.get_by_role("region", name="What ran when")
    expect(timeline.get_by_role("img", name="1 attempt: 1 running")).to_be_visible(timeout=10_000)
    bench.tell(lease, 0.5)
    expect(row).to_contain_text("0 / 4")
    expect(timeline.get_by_role("img", name="1 attempt: 1 complete")).to_be_visible(timeout=10_000)
    timeline.get_by_role("button", name="15 min").click()
    page.wait_for_url("**/workers?window=900")
    timeline.locator(".bar").click()
    expect(page.get_by_role("heading", name="Trial 0")).to_be_visible()
    page.go_back()
    timeline.get_by_role("button", name="Table").click()
    attempts = timeline.get_by_role("region", name="Attempts").get_by_role("row")
    expect(attempts.nth(1)).to_contain_text("node-1digits, trial 0")
    attempts.nth(1).get_by_role("link").click()
    expect(page.get_by_role("heading", name="Trial 0")).to_be_visible()


def test_several_sorts_metrics_and_a_jump(visitor: Visitor, bench: Bench) -> None:
    study = bench.study()
    for number, values in enumerate(((0.5, 0.1), (0.9, 0.2), (0.1, 0.7))):
        lease = bench.lease(study, number, worker=f"node-{number % 2}")
        for step, value in enumerate(values):
            bench.report(lease, step, value)
        bench.tell(lease, values[-1], user_attrs={"note": f"n{number}"})
    visitor.log_in(f"/studies/{study}?tab=trials")
    page = visitor.page
    grid = page.get_by_role("grid", name="Trials")
    rows = grid.get_by_role("row")
    page.locator("summary", has_text="Columns").click()
    for label in ("max accuracy", "note", "Worker"):
        page.get_by_label(label, exact=True).check()
    page.keyboard.press("Escape")
    expect(rows.nth(1)).to_contain_text("0.7")
    grid.get_by_role("button", name=re.compile("^Worker")).click()
    grid.get_by_role("button", name=re.compile("^max accuracy")).click(modifiers=["Shift"])
    expect(page.get_by_text("sorted by 2 columns")).to_be_visible()
    expect(rows.locator(".cell:first-child a")).to_have_text(["0", "2", "1"])
    grid.get_by_role("button", name=re.compile("^max accuracy")).click(modifiers=["Shift"])
    expect(rows.locator(".cell:first-child a")).to_have_text(["2", "0", "1"])
    page.get_by_role("button", name="Compact").click()
    page.reload()
    expect(rows.locator(".cell:first-child a")).to_have_text(["2", "0", "1"])
    expect(rows.nth(1)).to_contain_text("n2")
    box = rows.nth(1).bounding_box()
    assert box is not None
    assert box["height"] == 26

    page.get_by_label("Go to trial").fill("1")
    page.get_by_label("Go to trial").press("Enter")
    expect(grid.locator(".row.active a")).to_have_text("1")
    page.get_by_label("Go to trial").fill("7")
    page.get_by_label("Go to trial").press("Enter")
    expect(page.get_by_text("Trial 7 is not among those shown.")).to_be_visible()


def test_feasibility(visitor: Visitor, bench: Bench) -> None:
    study = bench.study(outcome_constraints=["latency_ms <= 50", "memory < 2"])
    for number, (accuracy, latency) in enumerate(((0.9, 62.5), (0.7, 40.0), (0.8, 10.0))):
        bench.add(study, {"accuracy": accuracy, "latency_ms": latency, "memory": 1.0}, number=number)
    lease = bench.lease(study)
    bench.tell(lease, 0.95)
    visitor.log_in(f"/studies/{study}")
    page = visitor.page
    expect(stat(page, "Best accuracy")).to_contain_text("0.8")
    expect(stat(page, "Best accuracy")).to_contain_text("+0.1 over trial 1")
    expect(stat(page, "Trials")).to_contain_text("4 complete · 2 infeasible")
    expect(page.get_by_role("tab", name="Trials")).to_have_text(re.compile(r"^Trials\s*4$"))  # infeasible ones are complete ones
    expect(page.get_by_text("Best 0.8 at trial 2; 4 complete, 2 of them infeasible")).to_be_visible()
    leading = page.get_by_role("region", name="Leading trials").get_by_role("row")
    expect(leading).to_have_count(3)
    page.goto(f"{visitor.server.url}/studies/{study}?tab=trials")
    expect(page.get_by_role("grid", name="Trials").get_by_role("row").filter(has_text="infeasible")).to_have_count(2)
    page.goto(f"{visitor.server.url}/studies/{study}/trials/0")
    constraints = page.get_by_role("region", name="Outcome constraints")
    expect(constraints).to_contain_text("latency_ms <= 50broken by 12.5")
    expect(constraints).to_contain_text("memory < 2met")
    expect(page.locator(".page-head .state")).to_contain_text("infeasible")
    page.goto(f"{visitor.server.url}/studies/{study}/trials/3")
    expect(constraints).to_contain_text("latency_ms <= 50no number")
    expect(page.get_by_role("heading", name="What it lacks")).to_be_visible()


def test_front_of_feasible_trials(visitor: Visitor, bench: Bench) -> None:
    objectives = [{"name": "accuracy", "direction": "maximize"}, {"name": "latency", "direction": "minimize"}]
    study = bench.study(objectives=objectives, outcome_constraints=["latency <= 50"])
    for number, (accuracy, latency) in enumerate(((0.9, 60.0), (0.7, 40.0), (0.6, 45.0), (0.5, 10.0))):
        bench.add(study, {"accuracy": accuracy, "latency": latency}, number=number)
    visitor.log_in(f"/studies/{study}")
    expect(visitor.page.get_by_text("2 of 4 complete trials are on the front")).to_be_visible()
    expect(visitor.page.get_by_text("; 1 infeasible.")).to_be_visible()
    expect(stat(visitor.page, "Pareto front")).to_contain_text("2")


def test_all_reports_of_a_trial_are_on_its_page(visitor: Visitor, bench: Bench) -> None:
    study = bench.study()
    lease = bench.lease(study)
    for start in range(0, 1200, 300):
        reports = [{"step": step, "values": {"accuracy": step / 1200}} for step in range(start, start + 300)]
        bench.http.post(f"/v1/leases/{lease['id']}/reports", json={"reports": reports}).raise_for_status()
    bench.tell(lease, 0.99)
    visitor.log_in(f"/studies/{study}")
    page = visitor.page
    curves = page.locator("figure", has_text="Learning curves")
    expect(curves.locator("figcaption")).to_contain_text("thinned")
    page.get_by_role("region", name="Leading trials").get_by_role("link", name="0", exact=True).click()
    own = page.locator("figure", has_text="accuracy")
    expect(own.locator("figcaption")).to_have_text("accuracy 0.9992 at step 1199.")
    own.get_by_role("button", name="Table").click()
    expect(own).to_contain_text("The first 500 of 1200 rows.")


def test_attributes_are_in_full_in_their_titles(visitor: Visitor, bench: Bench) -> None:
    study = bench.study()
    bench.tell(bench.lease(study), 0.5, user_attrs={"peak_memory": 123456789, "host": "node-1"})
    visitor.log_in(f"/studies/{study}/trials/0")
    attributes = visitor.page.get_by_role("region", name="Attributes")
    expect(attributes.get_by_text("1.235e8")).to_have_attribute("title", "123456789")
