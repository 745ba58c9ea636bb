"""Server-sent events: what changed, resumed by revision, coalesced, ended with the server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from time import monotonic, time
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from tests.api.conftest import Server
from tests.api.test_contract import STUDY
from tests.api.test_waiting import count_demands, wait_until
from tuner import keys
from tuner.wire import Scope


class Stream:
    """The events of one connection, one at a time; comments are skipped."""

    def __init__(self, response: httpx.Response) -> None:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        self._lines = response.iter_lines()

    def next(self) -> dict[str, Any]:
        event: dict[str, Any] = {}
        for line in self._lines:
            name, _, value = line.partition(": ")
            if line == "" and "data" in event:
                return event
            if name in ("id", "event"):
                event[name] = value
            elif name == "data":
                event["data"] = json.loads(value)
        raise EOFError

    def until(self, holds: Any) -> dict[str, Any]:
        while not holds(event := self.next()):
            pass
        return event


@contextmanager
def follow(http: httpx.Client, query: str = "?study=s", **headers: str) -> Iterator[Stream]:
    with http.stream(
        "GET", f"/v1/events{query}", headers={name.replace("_", "-"): value for name, value in headers.items()}
    ) as response:
        yield Stream(response)


def enqueue(http: httpx.Client, x: float) -> int:
    return int(http.post("/v1/studies/s/trials", json={"params": {"x": x}}).json()["number"])


def test_changes_of_a_study_as_they_happen(server: Server, http: httpx.Client) -> None:
    http.post("/v1/studies", json=STUDY)
    with server.http() as other, follow(http) as stream:
        first = stream.next()
        assert (first["event"], first["data"]["trials"]) == ("change", [])
        assert set(first["data"]) == {"study", "trials", "reports", "revision", "more"}
        assert first["data"]["revision"] == int(first["id"])
        started = monotonic()
        enqueue(other, 0.5)
        second = stream.until(lambda event: event["data"]["trials"])
        assert monotonic() - started < 3
        assert [(trial["number"], trial["state"]) for trial in second["data"]["trials"]] == [(0, "WAITING")]
        lease = other.post("/v1/studies/s/ask", json={"wait": 0}).json()["leases"][0]["id"]
        other.post(f"/v1/leases/{lease}/reports", json={"reports": [{"step": 3, "values": {"score": "NaN"}}]})
        reported = stream.until(lambda event: event["data"]["reports"])
        (item,) = reported["data"]["reports"][0]["reports"]
        assert abs(item.pop("at") - time()) < 60
        reports = [{"step": 3, "epoch": 1, "values": {"score": "NaN"}}]
        assert reported["data"]["reports"] == [{"trial": 0, "reports": reports, "thinned": False}]
        other.post(f"/v1/leases/{lease}/tell", json={"state": "COMPLETE", "values": {"score": 0.5}})
        ended = stream.until(lambda event: event["data"]["study"]["counts"]["complete"])
        assert ended["data"]["study"]["best_value"] == 0.5


def test_a_stream_goes_on_where_it_was(server: Server, http: httpx.Client) -> None:
    http.post("/v1/studies", json=STUDY)
    enqueue(http, 0.1)
    with follow(http) as stream:
        seen = stream.until(lambda event: event["data"]["trials"])["id"]
    enqueue(http, 0.2)
    for query, headers in (("?study=s", {"Last_Event_ID": seen}), (f"?study=s&since={seen}", {})):
        with follow(http, query, **headers) as stream:
            missed = stream.until(lambda event: event["data"]["trials"])
        assert {trial["number"] for trial in missed["data"]["trials"]} == {1}


def test_bursts_are_put_together(server: Server, http: httpx.Client) -> None:
    http.post("/v1/studies", json={**STUDY, "limits": {"max_trials": 1000}})
    with server.http() as other, follow(http) as stream:
        stream.next()
        started = monotonic()
        for index in range(60):
            enqueue(other, index / 100)
        numbers: set[int] = set()
        num_events = 0
        while len(numbers) < 60:
            numbers |= {trial["number"] for trial in stream.next()["data"]["trials"]}
            num_events += 1
        assert num_events <= 4 * (monotonic() - started) + 2


def test_the_projects_studies(server: Server, http: httpx.Client) -> None:
    http.post("/v1/studies", json=STUDY)
    with server.http() as other, server.http(server.make_key(Scope.ADMIN, "other")) as foreign, follow(http, "") as stream:
        first = stream.next()
        assert (first["event"], first["data"]["name"]) == ("study", "s")
        foreign.post("/v1/studies", json={**STUDY, "name": "hidden"})
        other.post("/v1/studies", json={**STUDY, "name": "second"})
        assert stream.next()["data"]["name"] == "second"
        other.delete("/v1/studies/second")
        gone = stream.next()
        assert gone["event"] == "deleted"


def test_the_projects_studies_without_a_wake(server: Server, http: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server killed between commit and wake leaves a change of which nobody was told."""
    monkeypatch.setattr("api.routes.events.FALLBACK", 0.1)
    monkeypatch.setattr("api.routes.events.OVERVIEW_FALLBACK", 0.2)
    http.post("/v1/studies", json=STUDY)
    with follow(http, "") as stream:
        stream.next()
        with server.database.begin() as connection:
            connection.execute(text("UPDATE studies SET notes = 'changed in silence'"))
        assert stream.until(lambda event: event["data"].get("notes") == "changed in silence")


def test_a_deleted_study_ends_its_stream(server: Server, http: httpx.Client) -> None:
    http.post("/v1/studies", json=STUDY)
    with server.http() as other, follow(http) as stream:
        stream.next()
        other.delete("/v1/studies/s")
        assert stream.until(lambda event: event["event"] == "deleted")["data"]["id"] > 0


def test_a_revoked_key_ends_its_stream(server: Server) -> None:
    with server.http() as http:
        http.post("/v1/studies", json=STUDY)
        key = server.make_key(Scope.VIEWER)
        with server.http(key) as viewer, follow(viewer) as stream:
            stream.next()
            keys.revoke(server.database, key.split("_")[1])
            enqueue(http, 0.5)
            try:
                assert not stream.next()["data"]["trials"]
            except EOFError:
                return
    raise AssertionError("it went on")


def test_the_server_stops_with_streams_and_waits_open(server: Server) -> None:
    with server.http() as http, server.http() as asking, ThreadPoolExecutor() as pool:
        http.post("/v1/studies", json=STUDY)
        with follow(http) as stream, follow(asking, ""):
            stream.next()
            asked = pool.submit(asking.post, "/v1/studies/s/ask", json={"wait": 60})
            wait_until(lambda: count_demands(server.database) == 1)
            started = monotonic()
            server.stop()
            assert monotonic() - started < 3
            assert asked.result(timeout=1).json() == {"leases": []}


def test_once_ends_with_what_has_changed(http: httpx.Client) -> None:
    study = http.post("/v1/studies", json=STUDY).json()["id"]
    number = enqueue(http, 0.5)
    with follow(http, "?study=s&once=true") as stream:
        change = stream.next()["data"]
        assert [trial["number"] for trial in change["trials"]] == [number]
        with pytest.raises(EOFError):
            stream.next()
    later = enqueue(http, 0.25)
    with follow(http, "?study=s&once=true", Last_Event_ID=str(change["revision"])) as stream:
        assert later in [trial["number"] for trial in stream.next()["data"]["trials"]]
    with follow(http, "?once=true") as stream:
        assert stream.next()["data"]["id"] == study
        with pytest.raises(EOFError):
            stream.next()
