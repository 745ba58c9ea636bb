"""Comparisons and advice over a live server: the shape of the answers, and one sentence for what cannot be answered."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
import pytest
from scipy import stats
from sqlalchemy import text

from tests.api.conftest import Server
from tests.api.test_contract import STUDY
from tuner.client import Client

SPACE = {
    "opt": {"type": "categorical", "choices": ["adam", "sgd"]},
    "lr": {"type": "float", "low": 1e-5, "high": 1.0, "log": True},
}


def fill(http: httpx.Client, name: str = "s", count: int = 24, **changes: Any) -> None:
    http.post("/v1/studies", json={**STUDY, "name": name, "space": SPACE, "limits": {"max_trials": 50}, **changes})
    for number in range(count):
        opt = ("adam", "sgd")[number % 2]
        value = number / 100 - (opt == "sgd")
        body: dict[str, Any] = {
            "params": {"opt": opt, "lr": 10.0 ** -(number % 5)},
            "state": "COMPLETE",
            "values": {"score": value},
        }
        if number in (4, 5):
            body = {**body, "state": "FAIL", "values": None}
        assert http.post(f"/v1/studies/{name}/trials", json=body).status_code == 201


def test_levels_of_any_study(http: httpx.Client) -> None:
    fill(http)
    answer = http.get("/v1/studies/s/compare", params={"by": "opt"}).json()
    assert set(answer) == {
        "by", "metric", "direction", "budget", "equal_budgets", "paired", "k", "within", "levels", "pairs", "test", "conclusion", "notes",
    }  # fmt: skip
    assert (answer["by"], answer["metric"], answer["direction"], answer["paired"], answer["equal_budgets"]) == (
        "opt", "score", "maximize", False, True,
    )  # fmt: skip
    assert [level["level"] for level in answer["levels"]] == ["adam", "sgd"]
    assert answer["levels"][0]["trials"] == {
        "counted": 12, "complete": 11, "pruned": 0, "paused": 0, "failed": 1, "cancelled": 0, "running": 0, "waiting": 0,
    }  # fmt: skip
    assert answer["levels"][0]["best"] == {"value": 0.22, "trial": 22, "study": "s"}
    assert answer["pairs"][0]["better"] == 0
    assert answer["conclusion"].startswith("adam is better than sgd (p")
    assert any("did not give the levels of opt equal budgets" in note for note in answer["notes"])
    assert http.get("/v1/studies/s/compare", params={"by": "opt"}).json() == answer  # the bootstrap is seeded
    assert len(http.get("/v1/studies/s/compare", params={"by": "lr"}).json()["levels"]) == 5


def test_levels_that_the_study_compares(http: httpx.Client) -> None:
    fill(http, compare={"by": "opt"})
    answer = http.get("/v1/studies/s/compare").json()
    assert (answer["by"], answer["paired"], answer["pairs"][0]["num_pairs"]) == ("opt", True, 12)
    assert "Wilcoxon" in answer["test"]
    assert not any("did not give" in note for note in answer["notes"])


@pytest.mark.parametrize(
    "query, status, said",
    [
        ({}, 422, "by: is missing"),
        ({"by": "opd"}, 422, "did you mean opt"),
        ({"by": "opt", "metric": "loss"}, 422, "there are score"),
        ({"by": "opt", "x": "1"}, 422, "x"),
    ],
)
def test_what_cannot_be_compared(http: httpx.Client, query: dict[str, str], status: int, said: str) -> None:
    fill(http)
    refused = http.get("/v1/studies/s/compare", params=query)
    assert (refused.status_code, said in refused.text) == (status, True), refused.text


def test_nothing_to_compare_yet(http: httpx.Client) -> None:
    fill(http, count=0)
    for path in ("compare", "advice", "importance"):
        answer = http.get(f"/v1/studies/s/{path}", params={"by": "opt"} if path == "compare" else {})
        assert answer.status_code == (200 if path == "advice" else 409), answer.text
    assert http.get("/v1/studies/s/advice").json() == {"best": None, "items": []}


def test_whole_studies(http: httpx.Client) -> None:
    fill(http, "one")
    fill(http, "two", objectives=[{"name": "score", "direction": "minimize"}])
    fill(http, "three")
    answer = http.get("/v1/compare", params={"studies": "one, three"}).json()
    assert (answer["by"], [level["level"] for level in answer["levels"]]) == ("study", ["one", "three"])
    assert answer["conclusion"] == "No difference is shown between one and three."
    for studies, said in (("one", "must name 2 to 20"), ("one,two", "cannot be compared"), ("one,none", "none")):
        refused = http.get("/v1/compare", params={"studies": studies})
        assert refused.status_code in (404, 422)
        assert said in refused.json()["detail"]


def test_advice(http: httpx.Client) -> None:
    fill(http, count=50)
    answer = http.get("/v1/studies/s/advice").json()
    assert set(answer["best"]) == {
        "trial",
        "value",
        "params",
        "within",
        "num_as_good",
        "likely",
        "repeated",
        "num_repeats",
        "sentence",
    }
    assert answer["best"]["trial"] == 48
    assert answer["best"]["likely"]["opt"] == {"low": None, "high": None, "choices": ["adam"]}
    (dropped,) = (item for item in answer["items"] if item["kind"] == "drop")
    assert set(dropped) == {"kind", "parameter", "sentence", "evidence", "change"}
    assert dropped["change"] == {"type": "categorical", "choices": ["adam"]}


def test_the_best_of_a_study_that_repeats_trials(http: httpx.Client, server: Server) -> None:
    """Trial 3 has the best value, trial 1 the most seeds."""
    values = [0.5, 0.9, 0.8, 0.95, 0.9, 0.7]
    http.post("/v1/studies", json={**STUDY, "space": SPACE, "repeat": {"max": 3}, "limits": {"max_trials": 50}})
    for number, value in enumerate(values):
        body = {"params": {"opt": "adam" if number else "sgd", "lr": 0.1}, "state": "COMPLETE", "values": {"score": value}}
        assert http.post("/v1/studies/s/trials", json=body).status_code == 201
    single = http.get("/v1/studies/s").json()
    assert (single["best_trial"], single["best_repeats"]) == (3, {"mean": 0.95, "num_seeds": 1, "low": None, "high": None})
    with server.database.begin() as connection:
        connection.execute(text("UPDATE trials SET origin = 'repeat', parent = 1 WHERE number IN (4, 5)"))
    mean, half = np.mean([0.9, 0.9, 0.7]), stats.t.ppf(0.975, 2) * np.std([0.9, 0.9, 0.7], ddof=1) / 3**0.5
    repeated = {"mean": mean, "num_seeds": 3, "low": mean - half, "high": mean + half}
    study = http.get("/v1/studies/s").json()
    assert study["spec"]["repeat"] == {"max": 3}
    assert (study["best_trial"], study["best_value"], study["best_repeats"]) == (1, pytest.approx(mean), pytest.approx(repeated))
    (best,) = http.get("/v1/studies/s/best").json()["items"]
    assert (best["number"], best["values"], best["repeats"]) == (1, {"score": 0.9}, pytest.approx(repeated))
    assert http.get("/v1/studies/s/trials").json()["items"][4]["parent"] == 1
    advice = http.get("/v1/studies/s/advice").json()["best"]
    assert (advice["trial"], advice["value"], advice["num_repeats"]) == (1, pytest.approx(mean), 3)
    assert advice["repeated"] == pytest.approx({"value": mean, "low": mean - half, "high": mean + half})
    levels = http.get("/v1/studies/s/compare", params={"by": "opt"}).json()["levels"]
    assert [(level["level"], level["trials"]["counted"]) for level in levels] == [("adam", 3), ("sgd", 1)]


@pytest.mark.parametrize("most", [1, 0, 1000, "many", None])
def test_a_wrong_number_of_repeats(http: httpx.Client, most: object) -> None:
    answer = http.post("/v1/studies", json={**STUDY, "repeat": {"max": most}})
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["loc"] == "repeat.max"
    assert "an integer from 2 to 100" in error["msg"]
    assert http.get("/v1/studies").json()["items"] == []


def test_the_sdk_has_them_too(http: httpx.Client) -> None:
    fill(http)
    fill(http, "other")
    key = http.headers["Authorization"].removeprefix("Bearer ")
    with Client(str(http.base_url), key) as client:
        study = client.study("s")
        found = study.compare("opt")
        assert found.conclusion.startswith("adam is better than sgd")
        assert found.levels[0].rank is not None
        assert found.levels[0].rank.value == 1.0
        best = study.advice().best
        assert best is not None
        assert best.trial == 22
        assert next(iter(study.importance())) == "opt"
        assert client.compare_studies(["s", "other"]).by == "study"
