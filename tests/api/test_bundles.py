"""Bundles over HTTP, as the client sends and fetches them: once, whole, and nothing but what their name says."""

from __future__ import annotations

from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.conftest import Server
from tuner import calls
from tuner.client import Client
from tuner.errors import InvalidSpec, InvalidValue, NotFound
from tuner.wire import Scope

CODE = b"code of a study"
NAME = sha256(CODE).hexdigest()
PATH = f"/v1/bundles/{NAME}"
SPEC: dict[str, Any] = {
    "name": "s",
    "objectives": [{"name": "loss", "direction": "minimize"}],
    "space": {"x": {"type": "float", "low": 0, "high": 1}},
    "trial": {"executor": "entrypoint", "entrypoint": "train:run"},
}


@pytest.fixture
def context(tmp_path: Path) -> Path:
    context = tmp_path / "context"
    (context / "lib").mkdir(parents=True)
    (context / "train.py").write_text("def run(trial): return 0.0\n")
    (context / "lib" / "__init__.py").write_text("")
    return context


def bundles_on_disk(server: Server) -> list[Path]:
    return [path for path in (Path(server.settings.artifacts_location) / "bundles").rglob("*") if path.is_file()]


def test_up_and_down(server: Server, http: httpx.Client) -> None:
    assert http.head(PATH).status_code == 404
    missing = http.get(PATH)
    assert (missing.status_code, missing.json()["code"]) == (404, "bundle_not_found")
    for _ in range(2):
        answer = http.put(PATH, content=CODE)
        assert answer.status_code == 200, answer.text
        assert (answer.json()["sha256"], answer.json()["size"]) == (NAME, len(CODE))
    assert len(bundles_on_disk(server)) == 1
    with server.http(server.make_key(Scope.WORKER)) as worker:
        got = worker.get(PATH)
        assert got.content == CODE
        assert got.headers["content-disposition"].startswith("attachment")
        head = worker.head(PATH)
        assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(CODE)), b"")
        assert worker.put(PATH, content=CODE).status_code == 403
    with server.http(server.make_key(Scope.VIEWER)) as viewer:
        assert viewer.get(PATH).status_code == 403


@pytest.mark.parametrize(
    ("name", "content"), [(NAME, b""), (NAME, CODE + b"!"), ("0" * 64, CODE), (NAME.upper(), CODE), ("a" * 63, CODE), ("%2e%2e", CODE),
                          ("a%00", CODE), (NAME + "0", CODE), ("%ff", CODE)]
)  # fmt: skip
def test_what_is_not_what_its_name_says_is_refused(server: Server, http: httpx.Client, name: str, content: bytes) -> None:
    answer = http.put(f"/v1/bundles/{name}", content=content)
    assert answer.status_code in (404, 405, 422), answer.text
    assert http.get(f"/v1/bundles/{name}").status_code == 404
    assert bundles_on_disk(server) == []


def test_the_size_is_limited_by_the_server(server: Server) -> None:
    server.stop()
    server.settings = server.settings.model_copy(update={"max_bundle_bytes": 1_000})
    server.start()
    large = bytes(2_000)
    with server.http() as http:
        answer = http.put(f"/v1/bundles/{sha256(large).hexdigest()}", content=large)
    assert answer.status_code == 422
    assert "larger than the 1000 bytes" in answer.json()["detail"]
    assert bundles_on_disk(server) == []


def test_the_same_context_is_uploaded_once(server: Server, context: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uploads = []
    upload = calls.Calls._upload
    monkeypatch.setattr(calls.Calls, "_upload", lambda *arguments: uploads.append(1) or upload(*arguments))  # type: ignore[func-returns-value]
    with Client(server.url, server.key) as client:
        first = client.create_study(SPEC, context=context)
        again = client.create_study(SPEC, context=str(context))
        other = client.create_study(SPEC | {"name": "other"}, context=context)
        assert uploads == [1]
        assert first.id == again.id != other.id
        (context / "train.py").write_text("def run(trial): return 1.0\n")
        changed = client.create_study(SPEC | {"name": "changed"}, context=context)
        assert uploads == [1, 1]
        named = [study.spec["trial"]["bundle"] for study in map(client.get_study, (first.id, other.id, changed.id))]
        assert named[0] == named[1] != named[2]
        target = BytesIO()
        client.download_bundle(named[0], target)
        assert sha256(target.getvalue()).hexdigest() == named[0]
    assert len(bundles_on_disk(server)) == 2


@pytest.mark.parametrize(
    ("trial", "words"),
    [
        (
            {"executor": "external"},
            "context: only an entrypoint or a command has code of its own; the study's executor is external",
        ),
        (
            {"executor": "entrypoint", "entrypoint": "trian:run"},
            "has neither trian.py nor a folder trian, where trian:run would be",
        ),
        ({"executor": "command", "command": ["sh"], "bundle": NAME}, "context: the study names a bundle already"),
    ],
)
def test_what_does_not_go_with_a_context_is_said_before_anything_is_sent(
    server: Server, context: Path, trial: dict[str, Any], words: str
) -> None:
    with Client(server.url, server.key) as client, pytest.raises(InvalidValue, match=words):
        client.create_study(SPEC | {"trial": trial}, context=context)
    assert bundles_on_disk(server) == []


def test_an_unknown_bundle_is_an_error_at_submission(server: Server) -> None:
    with (
        Client(server.url, server.key) as client,
        pytest.raises(InvalidSpec, match=r"^trial\.bundle: no bundle .* --context DIR"),
    ):
        client.create_study(SPEC | {"trial": SPEC["trial"] | {"bundle": NAME}})


def test_a_client_keeps_nothing_that_is_not_what_it_asked_for(
    server: Server, http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    http.put(PATH, content=CODE)
    (file,) = bundles_on_disk(server)
    file.write_bytes(b"something else")
    with Client(server.url, server.key) as client:
        with pytest.raises(NotFound, match="missing or damaged"):
            client.download_bundle(NAME, BytesIO())
        http.put(PATH, content=CODE)
        monkeypatch.setattr(calls, "MAX_PACKED", 5)
        with pytest.raises(InvalidValue, match="more than 5 bytes came"):
            client.download_bundle(NAME, BytesIO())
