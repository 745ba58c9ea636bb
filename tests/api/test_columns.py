"""Columns over HTTP: who has them already is told so, and nobody else is."""

from __future__ import annotations

import httpx

from benchmarks import large_studies
from tests.api.conftest import Server
from tuner.wire import Scope


def test_unchanged_columns_are_sent_once(server: Server, http: httpx.Client) -> None:
    space = {"x": {"type": "float", "low": 0.0, "high": 1.0}}
    study = large_studies.make(server.database, "s", large_studies.Shape(trials=3000, space=space, odd=0.2))
    path = f"/v1/studies/{study}/columns"
    first = http.get(path).raise_for_status()
    assert first.headers["content-encoding"] == "gzip"
    assert first.headers["cache-control"] == "private, no-cache"
    tag = first.headers["etag"]
    plain = http.get(path, headers={"Accept-Encoding": "identity"}).raise_for_status()
    assert plain.json() == first.json()
    assert len(first.json()["numbers"]) == 3000
    for given in (tag, tag.removeprefix("W/"), f'"other", {tag}'):
        again = http.get(path, headers={"If-None-Match": given})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert http.get(path, headers={"If-None-Match": '"other"'}).status_code == 200
    http.post(f"/v1/studies/{study}/trials", json={"params": {"x": 0.5}}).raise_for_status()
    changed = http.get(path, headers={"If-None-Match": tag}).raise_for_status()
    assert changed.json()["numbers"][-1] == 3000
    assert changed.headers["etag"] != tag
    since = http.get(path, params={"since": first.json()["revision"]}).raise_for_status()
    assert since.json()["numbers"] == [3000]
    assert "etag" not in since.headers


def test_a_tag_opens_no_door(server: Server, http: httpx.Client) -> None:
    study = large_studies.make(server.database, "s", large_studies.SHAPES["one"])
    path = f"/v1/studies/{study}/columns"
    tag = http.get(path).headers["etag"]
    with server.http("") as nobody:
        assert nobody.get(path, headers={"If-None-Match": tag}).status_code == 401
    http.post("/v1/projects", json={"name": "other"})
    with server.http(server.make_key(Scope.VIEWER, "other")) as stranger:
        assert stranger.get(path, headers={"If-None-Match": tag}).status_code == 404
