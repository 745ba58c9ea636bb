"""Edits of a search space over a live server: by HTTP, by the SDK, one of two at the same time, while a search runs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.api.conftest import Server
from tests.api.test_contract import STUDY
from tests.tuner.specs import external
from tuner.client import Client
from tuner.errors import Conflict, InvalidSpec
from tuner.spec import StudySpec

SPACE = {
    "lr": {"type": "float", "low": 0.001, "high": 0.1, "log": True},
    "opt": {"type": "categorical", "choices": ["sgd", "adam"]},
}


def test_an_edit_is_a_version_that_everybody_sees(http: httpx.Client) -> None:
    http.post("/v1/studies", json={**STUDY, "space": SPACE}).raise_for_status()
    for lr in (0.01, 0.02):
        http.post("/v1/studies/s/trials", json={"params": {"lr": lr, "opt": "sgd"}}).raise_for_status()
    body = {"space": {"lr": {"high": 1.0}, "opt": {"append": "lion"}}, "space_version": 1}
    answer = http.patch("/v1/studies/s", json=body)
    assert answer.status_code == 200
    (edit,) = answer.json()["space_edits"]
    assert (edit["version"], edit["first_number"], edit["by"]) == (2, 2, answer.json()["created_by"])
    assert edit["changes"] == {"lr": {"high": 1.0}, "opt": {"append": ["lion"]}}
    assert http.get("/v1/studies/s").json()["space_edits"] == [edit]
    assert http.post("/v1/studies/s/trials", json={"params": {"lr": 0.5, "opt": "lion"}}).json()["number"] == 2
    assert http.post("/v1/studies", json={**STUDY, "space": SPACE}).status_code == 200
    late = http.patch("/v1/studies/s", json={"space": {"lr": {"high": 2.0}}, "space_version": 1})
    assert (late.status_code, late.json()["code"]) == (409, "conflict")
    assert "is at version 2, not 1" in late.json()["detail"]
    refused = http.patch("/v1/studies/s", json={"space": {"lr": {"log": False}}})
    assert refused.status_code == 422
    assert [error["loc"] for error in refused.json()["errors"]] == ["space.lr.log"]
    rows = http.get("/v1/studies/s/export", params={"format": "csv"}).text.splitlines()
    assert len(rows) == 4


def test_of_many_edits_at_once_with_a_version_one_is_made(http: httpx.Client) -> None:
    http.post("/v1/studies", json={**STUDY, "space": SPACE}).raise_for_status()

    def edit(high: int) -> int:
        body = {"space": {"lr": {"high": float(high)}}, "space_version": 1}
        return http.patch("/v1/studies/s", json=body).status_code

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(edit, range(1, 9))) == [200] + [409] * 7
    assert http.get("/v1/studies/s").json()["space_version"] == 2


def test_of_many_edits_at_once_without_one_all_are_kept(http: httpx.Client) -> None:
    http.post("/v1/studies", json={**STUDY, "space": SPACE}).raise_for_status()
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda name: http.patch("/v1/studies/s", json={"space": {"opt": {"append": name}}}), "abcdefgh")
        assert {answer.status_code for answer in answers} == {200}
    found = http.get("/v1/studies/s").json()
    assert found["space_version"] == 9
    assert found["spec"]["space"]["opt"]["choices"][:2] == ["sgd", "adam"]
    assert set(found["spec"]["space"]["opt"]["choices"][2:]) == set("abcdefgh")


def test_the_sdk_edits(server: Server) -> None:
    with Client(server.url, server.key) as client:
        study = client.create_study(StudySpec.parse({**external("s").to_json(), "space": SPACE}))
        found = study.edit_space({"opt": {"append": ["lion"], "freeze": "lion"}}, version=1)
        assert found.spec["space"]["opt"] == {"type": "categorical", "choices": ["sgd", "adam", "lion"], "freeze": "lion"}
        assert study.edit_space({"opt": {"unfreeze": True}}).space_version == 3
        assert [edit.version for edit in study.now.space_edits] == [2, 3]
        with pytest.raises(InvalidSpec, match=r"space\.lr\.high: must be at least 0\.1"):
            study.edit_space({"lr": {"high": 0.01}})
        with pytest.raises(Conflict, match="is at version 3, not 1"):
            study.edit_space({"lr": {"high": 1.0}}, version=1)
