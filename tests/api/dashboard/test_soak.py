"""Two people look on for half a minute while a study changes all the time: the pages keep up and do not grow. Five minutes of it, with its cost, is
`benchmarks.soak`."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from benchmarks import large_studies, soak
from tests.api.conftest import Server
from tuner.search.engine import Engine

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def searching(server: Server) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=Engine(server.database).run, args=(stop,))
    thread.start()
    yield
    stop.set()
    thread.join(30)


@pytest.mark.usefixtures("searching")
def test_pages_keep_up_and_do_not_grow(browser: Browser, server: Server) -> None:
    study = large_studies.make(server.database, "s", large_studies.Shape(trials=1_000))
    changes = soak.Changes(server.url, server.key, study, rate=50)
    with changes.going():
        visits = soak.open_views(browser, server.url, server.key, study)
        visits[0].page.wait_for_timeout(8_000)  # until code is compiled and caches are full
        soaked = soak.watch(visits, 30, 3)
    assert changes.told > 20
    with server.http() as http:
        total = http.get(f"/v1/studies/{study}").raise_for_status().json()["counts"]
        last = http.get(f"/v1/studies/{study}/trials", params={"sort": "-number", "state": "complete", "limit": 1}).json()[
            "items"
        ][0]
    overview, table = (visiting.page for visiting in visits)
    expect(overview.locator("#tab-trials .count")).to_have_text(f"{sum(total.values()):,}")
    expect(table.locator("#row-0 [role=gridcell]").first).to_have_text(str(last["number"]))
    expect(table.get_by_text(f"{total['complete']:,} shown")).to_be_visible()
    for visiting, found in zip(visits, soaked, strict=True):
        assert found.complaints == []
        assert found.growth < 10e6, found.heaps
        asked = [path for path in found.requests if path.startswith("/v1/")]
        assert not [path for path in asked if path.endswith(("/columns", "/numbers"))], "what changes comes by the stream"
        assert len(asked) < 60, asked
        visiting.page.context.close()
