"""Outcome constraints over HTTP and through the SDK: what is refused, what a trial and a study say."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.api.conftest import Server
from tests.api.test_contract import STUDY
from tuner.client import Client
from tuner.errors import InvalidSpec, InvalidValue

LATENCY = "latency_ms <= 50"
CONSTRAINED: dict[str, Any] = {**STUDY, "outcome_constraints": [LATENCY]}


@pytest.mark.parametrize(
    "constraints, loc, msg",
    [
        (["latency_ms == 50"], "outcome_constraints.0", "'latency_ms == 50' is no outcome constraint: write a metric's name"),
        (["a < 1", "a >= 1"], "outcome_constraints.1", "no value meets both a < 1 and a >= 1"),
        ({"latency_ms": 50}, "outcome_constraints", "must be a list of at most 50 texts such as latency_ms <= 50"),
        ([None], "outcome_constraints.0", "must be a text such as latency_ms <= 50"),
    ],
)
def test_bad_ones_are_field_errors(http: httpx.Client, server: Server, constraints: Any, loc: str, msg: str) -> None:
    answer = http.post("/v1/studies", json={**STUDY, "outcome_constraints": constraints})
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["loc"] == loc
    assert msg in error["msg"]
    with Client(server.url, server.key) as client, pytest.raises(InvalidSpec, match=loc):
        client.create_study({**STUDY, "outcome_constraints": constraints})
    assert http.get("/v1/studies").json()["items"] == []


def test_other_constraints_are_another_study(http: httpx.Client) -> None:
    assert http.post("/v1/studies", json=CONSTRAINED).status_code == 201
    assert http.post("/v1/studies", json=CONSTRAINED).status_code == 200
    assert http.post("/v1/studies", json=STUDY).status_code == 409


def test_a_trial_says_what_it_breaks(http: httpx.Client) -> None:
    http.post("/v1/studies", json=CONSTRAINED)
    for latency in (60.0, "NaN", 40.0):
        http.post("/v1/studies/s/trials", json={"params": {"x": 0.5}})
        (lease,) = http.post("/v1/studies/s/ask", json={"wait": 0}).json()["leases"]
        assert lease["trial"]["constrained"] == ["latency_ms"]
        body = {"state": "COMPLETE", "values": {"score": 1.0, "latency_ms": latency}}
        assert http.post(f"/v1/leases/{lease['id']}/tell", json=body).status_code == 200
    trials = http.get("/v1/studies/s/trials").json()["items"]
    assert [(trial["feasible"], trial["constraints"], trial["reason"]) for trial in trials] == [
        (False, {LATENCY: 10.0}, "infeasible"),
        (False, {LATENCY: "Infinity"}, "infeasible"),
        (True, {LATENCY: -10.0}, None),
    ]
    study = http.get("/v1/studies/s").json()
    assert (study["best_trial"], study["counts"]["complete"], study["counts"]["infeasible"]) == (2, 3, 2)
    assert [trial["number"] for trial in http.get("/v1/studies/s/best").json()["items"]] == [2]
    listed = http.get("/v1/studies/s/trials", params={"filter": "feasible:false"}).json()["items"]
    assert [trial["number"] for trial in listed] == [0, 1]
    assert http.get("/v1/studies/s/columns").json()["feasible"] == [False, False, True]
    lines = http.get("/v1/studies/s/export", params={"format": "csv"}).text.splitlines()
    assert "feasible" in lines[0].split(",")


def test_a_study_without_them_says_nothing(http: httpx.Client) -> None:
    http.post("/v1/studies", json=STUDY)
    body = {"params": {"x": 0.5}, "state": "COMPLETE", "values": {"score": 1.0}}
    trial = http.post("/v1/studies/s/trials", json=body).json()
    assert (trial["feasible"], trial["constraints"], trial["reason"]) == (None, None, None)


def test_the_sdk_tells_metrics_with_the_outcome(server: Server) -> None:
    with Client(server.url, server.key) as client:
        study = client.create_study(CONSTRAINED)
        for _ in range(3):
            study.enqueue({"x": 0.5})
        trials = client.asks(study, count=3)
        assert next(trials).tell({"score": 3.0, "latency_ms": 51.0}).feasible is False
        with pytest.raises(InvalidValue, match="no feasible complete trial yet"):
            _ = study.best_trial
        asked = next(trials)
        asked.report(0, {"score": 0.5, "latency_ms": 20.0})
        assert asked.tell(2.0).feasible is True
        lacking = next(trials).tell(4.0)
        assert lacking.feasible is False
        assert "there is no value of latency_ms" in (lacking.error or "")
        assert study.best_trial.number == 1
        assert list(study.trials_dataframe()["feasible"]) == [False, True, False]
