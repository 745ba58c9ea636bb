"""The dashboard in Chromium against a live server: log in, watch studies and trials as they change, lose the server and catch up."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.api.conftest import Server
from tests.api.dashboard.conftest import HOSTILE, Bench, Visitor, has_drawn, stat, wait_for_live
from tuner.wire import Scope

pytestmark = pytest.mark.browser

DARK = {"color_scheme": "dark"}


# --- logging in ------------------------------------------------------------------------------------------------------------


def test_code_logs_in_once_and_leaves_no_trace(visitor: Visitor) -> None:
    with visitor.server.http() as http:
        code = http.post("/v1/sessions/codes").json()["code"]
    visitor.open(f"/login#code={code}")
    visitor.page.wait_for_url(visitor.server.url + "/")
    expect(visitor.page.get_by_role("heading", name="No studies yet")).to_be_visible()
    expect(visitor.page.locator(".command")).to_contain_text(f"--watch --server {visitor.server.url}")
    cookie = next(cookie for cookie in visitor.context.cookies() if "session" in str(cookie.get("name")))
    assert cookie.get("httpOnly")
    assert cookie.get("sameSite") == "Strict"
    kept = visitor.page.evaluate("JSON.stringify([localStorage, sessionStorage, history.length, location.href])")
    assert code not in kept

    visitor.context.clear_cookies()
    visitor.allowed = ("401",)
    visitor.open(f"/login#code={code}")
    expect(visitor.page.get_by_role("alert")).to_contain_text("already used")


def test_key_logs_in_and_out(visitor: Visitor, server: Server, bench: Bench) -> None:
    bench.study()
    visitor.allowed = ("401",)
    visitor.open("/studies?q=digits")
    visitor.page.wait_for_url("**/login?next=*")
    visitor.page.get_by_label("API key").fill("tnr_wrong")
    visitor.page.get_by_role("button", name="Log in").click()
    expect(visitor.page.get_by_role("alert")).to_contain_text("key")
    visitor.page.get_by_label("API key").fill(server.key)
    visitor.page.keyboard.press("Enter")
    visitor.page.wait_for_url("**/studies?q=digits")
    expect(visitor.page.get_by_role("link", name="digits")).to_be_visible()
    assert server.key not in visitor.page.evaluate("JSON.stringify([localStorage, sessionStorage, document.cookie])")
    visitor.page.get_by_role("button", name="Log out").click()
    visitor.page.wait_for_url("**/login")
    visitor.open("/studies")
    visitor.page.wait_for_url("**/login?next=*")


def test_session_that_ends_leads_to_login(visitor: Visitor, bench: Bench) -> None:
    study = bench.study()
    # The last that the page asks for by itself: asked without a session it would lead to the login before the click.
    with visitor.page.expect_response("**/usage"):
        visitor.log_in(f"/studies/{study}")
    wait_for_live(visitor.page)
    visitor.context.clear_cookies()
    visitor.allowed = ("401",)
    visitor.page.get_by_role("button", name="Pause").click()
    visitor.page.wait_for_url(f"**/login?next=%2Fstudies%2F{study}")


# --- studies ---------------------------------------------------------------------------------------------------------------


def test_studies_appear_and_change_live(visitor: Visitor, bench: Bench) -> None:
    visitor.log_in()
    page = visitor.page
    expect(page.get_by_text("tuner study submit")).to_be_visible()
    wait_for_live(page)
    study = bench.study("first", tags=["vision"])
    row = page.get_by_role("row").filter(has_text="first")
    expect(row).to_contain_text("vision")
    expect(row).to_contain_text("0 / 500")
    bench.add(study, {"accuracy": 0.912345})
    expect(row).to_contain_text("1 / 500")
    expect(row).to_contain_text("0.9123")
    bench.http.post(f"/v1/studies/{study}/pause").raise_for_status()
    expect(row).to_contain_text("Paused")
    bench.study("second")
    expect(page.get_by_role("row")).to_have_count(3)
    page.keyboard.press("/")
    page.keyboard.type("vis")
    expect(page.get_by_role("row")).to_have_count(2)
    assert page.url.endswith("?q=vis")
    page.get_by_label("State").select_option("Complete")
    expect(page.get_by_role("heading", name="No study matches")).to_be_visible()
    page.get_by_label("State").select_option("Paused")
    bench.http.delete(f"/v1/studies/{study}").raise_for_status()
    expect(page.get_by_role("heading", name="No study matches")).to_be_visible()


def test_more_studies_than_a_page(visitor: Visitor, bench: Bench) -> None:
    for number in range(53):
        bench.study(f"study {number}")
    visitor.log_in()
    expect(visitor.page.get_by_role("row")).to_have_count(51)
    visitor.page.get_by_role("button", name="Show more").click()
    expect(visitor.page.get_by_role("row")).to_have_count(54)
    expect(visitor.page.get_by_role("button", name="Show more")).to_have_count(0)


# --- one study -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("visitor", [{}, DARK], indirect=True, ids=["light", "dark"])
def test_study_is_live(visitor: Visitor, bench: Bench) -> None:
    study = bench.study(limits={"max_trials": 20})
    bench.add(study, {"accuracy": 0.5})
    visitor.log_in(f"/studies/{study}")
    page = visitor.page
    expect(stat(page, "Best accuracy")).to_contain_text("0.5")
    wait_for_live(page)

    lease = bench.lease(study, number=1, worker="node-1")
    for step in range(5):
        bench.report(lease, step, 0.1 * step)
    curves = page.locator("figure", has_text="Learning curves")
    expect(curves.locator("figcaption")).to_contain_text("1 running")
    bench.tell(lease, 0.87654321)
    expect(stat(page, "Best accuracy")).to_contain_text("0.8765")
    expect(stat(page, "Trials")).to_contain_text("2 / 20")
    expect(curves.locator("figcaption")).to_contain_text("accuracy by step: 1 best trial.")
    expect(page.locator("figure", has_text="Optimization history").locator("figcaption")).to_contain_text(
        "Best 0.8765 at trial 1; 2 complete"
    )
    expect(page.get_by_role("table").get_by_role("row").nth(1)).to_contain_text("0.8765")
    for figure in ("Optimization history", "Learning curves", "Parallel coordinates"):
        assert has_drawn(page, figure), figure

    page.locator("figure", has_text="Optimization history").get_by_role("button", name="Table").click()
    expect(page.get_by_role("region", name="Data of the chart").get_by_role("row")).to_have_count(3)


def test_curves_of_before_the_visit_are_fetched(visitor: Visitor, bench: Bench) -> None:
    study = bench.study()
    lease = bench.lease(study)
    for step in range(6):
        bench.report(lease, step, 0.1 * step)
    visitor.log_in(f"/studies/{study}")
    curves = visitor.page.locator("figure", has_text="Learning curves")
    curves.get_by_role("button", name="Table").click()
    expect(curves.get_by_role("row")).to_have_count(1 + 6)
    expect(curves.get_by_role("row").nth(2)).to_have_text("0running10.1")
    expect(curves.get_by_role("row").last).to_have_text("0running50.5")
    bench.report(lease, 6, 0.75)
    expect(curves.get_by_role("row").last).to_have_text("0running60.75")


def test_study_is_steered(visitor: Visitor, bench: Bench) -> None:
    study = bench.study()
    visitor.log_in(f"/studies/{study}")
    page = visitor.page
    state = page.locator(".page-head .state")
    page.get_by_role("button", name="Pause").click()
    expect(state).to_contain_text("Paused")
    page.get_by_role("button", name="Resume").click()
    expect(state).to_contain_text("Running")
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("dialog").get_by_role("button", name="Keep it").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(state).to_contain_text("Running")
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("dialog").get_by_role("button", name="Stop the study").click()
    expect(state).to_contain_text("Stopped")
    assert bench.http.get(f"/v1/studies/{study}").json()["state"] == "STOPPED"


def test_failed_action_says_why(visitor: Visitor, bench: Bench, server: Server) -> None:
    study = bench.study()
    visitor.log_in(f"/studies/{study}")
    visitor.page.route("**/pause", lambda route: route.continue_(url=f"{server.url}/v1/studies/999999/pause"))
    visitor.allowed = ("404",)
    visitor.page.get_by_role("button", name="Pause").click()
    expect(visitor.page.get_by_role("alert")).to_contain_text("could not be changed: no study")
    visitor.page.get_by_role("button", name="Dismiss").click()
    expect(visitor.page.get_by_role("alert")).to_have_count(0)


def test_viewer_is_offered_no_action(visitor: Visitor, bench: Bench) -> None:
    study = bench.study()
    trial = bench.add(study, {"accuracy": 0.5})
    visitor.log_in(f"/studies/{study}", Scope.VIEWER)
    expect(visitor.page.get_by_text("viewer of default")).to_be_visible()
    expect(stat(visitor.page, "Best accuracy")).to_contain_text("0.5")
    assert visitor.page.locator(".page-head").get_by_role("button").count() == 0
    visitor.open(f"/studies/{study}/trials/{trial['number']}")
    expect(visitor.page.get_by_role("heading", name="Trial 0")).to_be_visible()
    assert visitor.page.locator(".page-head").get_by_role("button").count() == 0


def test_study_that_is_not_there(visitor: Visitor, bench: Bench) -> None:
    study = bench.study()
    visitor.allowed = ("404",)
    visitor.log_in("/studies/999999")
    expect(visitor.page.get_by_role("alert")).to_contain_text("no study '999999'")
    visitor.open(f"/studies/{study}/trials/3")
    expect(visitor.page.get_by_role("alert")).to_contain_text("no trial 3")
    visitor.open(f"/studies/{study}")
    wait_for_live(visitor.page)
    bench.http.delete(f"/v1/studies/{study}").raise_for_status()
    expect(visitor.page.get_by_role("alert")).to_contain_text("deleted")


def test_odd_values_are_drawn(visitor: Visitor, bench: Bench) -> None:
    """NaN, infinities, no values at all, one trial only, a parameter with several types: no view breaks."""
    study = bench.study(
        "odd",
        space={"x": {"type": "categorical", "choices": [None, True, 3, "three"]}},
        objectives=[{"name": "loss", "direction": "minimize"}],
    )
    for number, choice in enumerate([None, True, 3, "three"]):
        values = {"loss": ["Infinity", -1e300, 0.0, "-Infinity"][number]}
        body = {"params": {"x": choice}, "state": "COMPLETE", "values": values}
        bench.http.post(f"/v1/studies/{study}/trials", json=body).raise_for_status()
    bench.http.post(f"/v1/studies/{study}/trials", json={"params": {"x": 3}, "state": "FAIL"}).raise_for_status()
    visitor.log_in(f"/studies/{study}")
    expect(stat(visitor.page, "Trials")).to_contain_text("5 / 500")
    assert has_drawn(visitor.page, "Optimization history")
    visitor.open(f"/studies/{study}?tab=trials&sort=value:loss")
    cells = visitor.page.get_by_role("grid").get_by_role("row")
    expect(cells.nth(1)).to_contain_text("−∞")
    expect(cells.nth(5)).to_contain_text("Failed")
    visitor.open(f"/studies/{study}/trials/0")
    expect(visitor.page.get_by_role("heading", name="Trial 0")).to_be_visible()
    visitor.open(f"/studies/{study}?tab=configuration")
    expect(visitor.page.get_by_text("null, true, 3, three")).to_be_visible()


def test_an_edited_space_shows_its_versions(visitor: Visitor, bench: Bench) -> None:
    study = bench.study("edited")
    space = bench.http.get(f"/v1/studies/{study}").json()["spec"]["space"]
    name = next(name for name, parameter in space.items() if parameter["type"] == "float")
    edit = {"space": {name: {"high": 1000.0, "freeze": 500.0}}}
    bench.http.patch(f"/v1/studies/{study}", json=edit).raise_for_status()
    visitor.log_in(f"/studies/{study}?tab=configuration")
    versions = visitor.page.get_by_label("Versions of the search space")
    expect(versions).to_contain_text(f"Version 2, from trial 0 on: {name}: high 1,000, freeze 500")
    expect(visitor.page.get_by_role("region", name="Table: search space")).to_contain_text("frozen at 500 (")
    expect(visitor.page.get_by_label("What has happened")).to_contain_text("Search space edited")


def test_several_objectives(visitor: Visitor, bench: Bench) -> None:
    objectives = [{"name": "accuracy", "direction": "maximize"}, {"name": "cost", "direction": "minimize"}]
    study = bench.study("pareto", objectives=objectives)
    for number, (accuracy, cost) in enumerate([(0.9, 3.0), (0.8, 1.0), (0.7, 2.0)]):
        bench.add(study, {"accuracy": accuracy, "cost": cost}, number=number)
    visitor.log_in(f"/studies/{study}")
    page = visitor.page
    expect(stat(page, "Pareto front")).to_contain_text("2")
    expect(page.locator("figure", has_text="Pareto front").locator("figcaption")).to_contain_text(
        "2 of 3 complete trials are on the front"
    )
    wait_for_live(page)
    bench.add(study, {"accuracy": 0.95, "cost": 0.5})
    expect(page.locator("figure", has_text="Pareto front").locator("figcaption")).to_contain_text("1 of 4 complete trials")
    assert has_drawn(page, "Pareto front")


def test_front_of_three_objectives_is_counted(visitor: Visitor, bench: Bench) -> None:
    objectives = [{"name": name, "direction": "minimize"} for name in ("loss", "cost", "size")]
    study = bench.study("three", objectives=objectives)
    for number, (loss, cost, size) in enumerate([(1.0, 5.0, 5.0), (5.0, 1.0, 5.0), (5.0, 5.0, 1.0), (5.0, 5.0, 5.0)]):
        bench.add(study, {"loss": loss, "cost": cost, "size": size}, number=number)
    visitor.log_in(f"/studies/{study}")
    front = stat(visitor.page, "Pareto front")
    expect(front).to_contain_text("3 trials")
    wait_for_live(visitor.page)
    bench.add(study, {"loss": 0.0, "cost": 0.0, "size": "-Infinity"})
    expect(front).to_contain_text("1 trial")


def test_an_infinite_value_is_the_best_everywhere(visitor: Visitor, bench: Bench) -> None:
    study = bench.study("infinite", objectives=[{"name": "loss", "direction": "minimize"}])
    for number, loss in enumerate([0.5, "-Infinity", 0.25]):
        bench.add(study, {"loss": loss}, number=number)
    visitor.log_in(f"/studies/{study}")
    page = visitor.page
    expect(stat(page, "Best loss")).to_contain_text("−∞trial 1")
    history = page.locator("figure", has_text="Optimization history")
    expect(history.locator("figcaption")).to_have_text(
        "Best −∞ at trial 1; 3 complete; outside the range shown: 1 infinite value."
    )
    assert has_drawn(page, "Optimization history")
    expect(page.get_by_role("region", name="Leading trials").get_by_role("row").nth(1)).to_contain_text("1−∞")
    visitor.open(f"/studies/{study}/trials/0")
    expect(page.get_by_role("columnheader", name="Best, 1")).to_be_visible()


# --- the server goes, texts are hostile, screens are small -----------------------------------------------------------------


def test_server_restart_is_caught_up_without_reload(visitor: Visitor, bench: Bench, server: Server) -> None:
    study = bench.study()
    bench.add(study, {"accuracy": 0.5})
    visitor.log_in(f"/studies/{study}?tab=trials")
    page = visitor.page
    expect(page.get_by_text("1 shown")).to_be_visible()
    wait_for_live(page)
    page.evaluate("window.same = true")
    visitor.allowed = ("ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE")
    server.stop()
    expect(page.locator(".connection")).to_have_attribute("data-state", "reconnecting")
    expect(page.get_by_text("1 shown")).to_be_visible()
    server.start()
    for number in range(30):
        bench.add(study, {"accuracy": 0.6 + number / 100}, number=number)
    expect(page.get_by_text("31 shown")).to_be_visible(timeout=6_000)
    wait_for_live(page)
    expect(stat(page, "Best accuracy")).to_contain_text("0.89")
    assert page.evaluate("window.same") is True
    shown = {int(text or "") for text in page.get_by_role("grid").locator(".row .cell:first-child").all_text_contents()}
    assert shown <= set(range(31))
    assert len(shown) > 20


def test_hidden_page_holds_no_stream_and_catches_up(visitor: Visitor, bench: Bench) -> None:
    study = bench.study()
    visitor.log_in(f"/studies/{study}?tab=trials")
    page = visitor.page
    wait_for_live(page)
    hide = "Object.defineProperty(document, 'hidden', { value: %s, configurable: true }); document.dispatchEvent(new Event('visibilitychange'))"
    page.evaluate(hide % "true")
    expect(page.locator(".connection")).to_have_attribute("data-state", "paused")
    bench.add(study, {"accuracy": 0.5})
    page.evaluate(hide % "false")
    expect(page.get_by_text("1 shown")).to_be_visible()


def test_hostile_texts_are_inert(visitor: Visitor, bench: Bench) -> None:
    hostile = HOSTILE
    objective = f"acc {hostile}"
    study = bench.study(
        f"{hostile} " + "n" * 60,
        objectives=[{"name": objective, "direction": "maximize"}],
        space={"p": {"type": "categorical", "choices": [hostile, "<script>pwned.push(2)</script>"]}},
        tags=[hostile],
        notes=f"{hostile}\n[a](javascript:pwned.push(3))",
    )
    bench.http.post(
        f"/v1/studies/{study}/trials", json={"params": {"p": hostile}, "state": "COMPLETE", "values": {objective: 0.5}}
    ).raise_for_status()
    bench.http.post(f"/v1/studies/{study}/trials", json={"params": {"p": hostile}}).raise_for_status()
    lease = (
        bench.http.post(f"/v1/studies/{study}/ask", json={"count": 1, "wait": 0, "worker": hostile})
        .raise_for_status()
        .json()["leases"][0]
    )
    bench.http.post(
        f"/v1/leases/{lease['id']}/reports", json={"reports": [{"step": 0, "values": {objective: 0.25, hostile: 1}}]}
    ).raise_for_status()
    body = {"state": "FAIL", "reason": "exception", "error": hostile}
    bench.http.post(f"/v1/leases/{lease['id']}/tell", json=body).raise_for_status()
    bench.http.post("/v1/workers", json={"name": hostile, "host": hostile, "gpus": [hostile]}).raise_for_status()

    visitor.log_in("/studies")
    page = visitor.page
    for path in (
        "/studies",
        f"/studies/{study}",
        f"/studies/{study}?tab=trials",
        f"/studies/{study}?tab=configuration",
        f"/studies/{study}/trials/1",
        "/workers",
    ):
        visitor.open(path)
        expect(page.locator("#content")).to_contain_text(hostile)
        canvas = page.locator("figure canvas").first
        if path == f"/studies/{study}":
            canvas.wait_for()
        for figure in page.locator("figure canvas").all():
            box = figure.bounding_box()
            assert box is not None
            for share in range(1, 20):
                page.mouse.move(box["x"] + box["width"] * share / 20, box["y"] + box["height"] / 2)
        assert page.locator("#content img").count() == 0
        assert page.evaluate("window.pwned") == [], path


def test_violations_are_noticed(visitor: Visitor) -> None:
    """The control of all other tests here: markup from text would be refused by the content policy and heard by the fixture."""
    visitor.open("/login")
    visitor.allowed = ("csp: ", "Content Security Policy", "net::ERR", "404")
    visitor.page.evaluate(
        "document.body.insertAdjacentHTML('beforeend', `<p style='color: red'>${'x'}</p><img src='/x' onerror='pwned.push(1)'>`)"
    )
    visitor.page.wait_for_function("() => document.images[0].complete")
    directives = {complaint.split()[1] for complaint in visitor.complaints if complaint.startswith("csp: ")}
    assert {"style-src-attr", "script-src-attr"} <= directives
    assert visitor.page.evaluate("window.pwned") == []


def test_theme_is_kept(visitor: Visitor, bench: Bench) -> None:
    study = bench.study()
    bench.add(study, {"accuracy": 0.5})
    visitor.log_in(f"/studies/{study}")
    page = visitor.page
    background = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    page.get_by_role("button", name="Theme: as the system").click()
    page.get_by_role("button", name="Theme: light").click()
    expect(page.get_by_role("button", name="Theme: dark")).to_be_visible()
    dark = page.evaluate(background)
    assert light != dark
    assert has_drawn(page, "Optimization history")
    page.reload()
    assert page.evaluate(background) == dark
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"
