"""A server killed under open pages and started again: each view catches up by itself, with all that happened through another replica meanwhile."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.api.conftest import Server
from tests.api.dashboard.conftest import Bench, Visitor, wait_for_live
from tests.api.test_server import answers
from tests.api.test_waiting import wait_until

pytestmark = pytest.mark.browser

PROGRAM = "from api.server import serve; from tuner.settings import Settings; serve(Settings.from_environment())"
LOST = ("ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_EMPTY_RESPONSE")
CATCH_UP = 8_000  # milliseconds from the first answer on: pages ask again every three seconds at the latest


class Replica:
    """A server in a process of its own, beside the fixture's over the same database."""

    def __init__(self, server: Server, data: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        own = {"TUNER_DATABASE_URL": server.database.url, "TUNER_PORT": str(self.port), "TUNER_DATA": str(data)}
        self._environment = {**os.environ, **own}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen([sys.executable, "-c", PROGRAM], env=self._environment)
        wait_until(lambda: answers(self.url), seconds=60)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture
def replica(server: Server, tmp_path: Path) -> Iterator[Replica]:
    made = Replica(server, tmp_path)
    try:
        made.start()
        yield made
    finally:
        made.kill()


def test_a_killed_server_is_caught_up_with(visitor: Visitor, bench: Bench, replica: Replica) -> None:
    study = bench.study()
    for number in range(3):
        bench.add(study, {"accuracy": 0.1 * number}, number=number)
    bench.worker("node-1")
    visitor.allowed = LOST
    headers = {"Origin": replica.url}
    visitor.page.request.post(f"{replica.url}/v1/sessions", data={"key": visitor.server.key}, headers=headers)
    views: dict[str, Page] = {}
    for name, path in {"study": f"/studies/{study}", "studies": "/studies", "fleet": "/workers"}.items():
        views[name] = visitor.page if name == "study" else visitor.context.new_page()
        if name != "study":
            visitor.listen(views[name])
        views[name].goto(replica.url + path)
        wait_for_live(views[name])
        views[name].evaluate("window.same = true")
    history = views["study"].locator("figure", has_text="Optimization history")
    expect(history.locator("figcaption")).to_contain_text("3 complete")

    replica.kill()
    for page in views.values():
        expect(page.locator(".connection")).to_have_attribute("data-state", "reconnecting")
    expect(history.locator("figcaption")).to_contain_text("3 complete")  # the last good state stays
    for number in range(40):
        bench.add(study, {"accuracy": 0.3 + number / 100}, number=number)
    lease = bench.lease(study, worker="node-2")
    bench.report(lease, 0, 0.25)
    bench.study("made meanwhile")
    bench.worker("node-2")
    replica.start()

    expect(history.locator("figcaption")).to_contain_text("43 complete", timeout=CATCH_UP)
    curves = views["study"].locator("figure", has_text="Learning curves")
    expect(curves.locator("figcaption")).to_contain_text("1 running")
    row = views["studies"].get_by_role("row").filter(has_text="digits")
    expect(row).to_contain_text("43 / 500", timeout=CATCH_UP)
    expect(views["studies"].get_by_role("link", name="made meanwhile")).to_be_visible()
    expect(views["fleet"].get_by_role("row").filter(has_text="node-2")).to_contain_text("1 / 2", timeout=CATCH_UP)
    for page in views.values():
        wait_for_live(page)
        assert page.evaluate("window.same") is True, "it was loaded anew"

    history.get_by_role("button", name="Table").click()
    shown = history.get_by_role("region").locator("tbody tr td:first-child").all_text_contents()
    trials = bench.http.get(f"/v1/studies/{study}/trials?state=COMPLETE&limit=100").json()["items"]
    assert sorted(map(int, shown)) == sorted(trial["number"] for trial in trials)
    lease = bench.lease(study, worker="node-2")  # and it goes on to follow
    bench.tell(lease, 0.99)
    expect(history.locator("figcaption")).to_contain_text("44 complete")
