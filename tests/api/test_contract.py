"""The contract's paths over a live server, with the exact names of their fields."""

from __future__ import annotations

import httpx

STUDY = {
    "name": "s",
    "objectives": [{"name": "score", "direction": "maximize"}],
    "space": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
    "sampler": {"name": "random", "seed": 1},
    "pruner": {"name": "none"},
    "trial": {"executor": "external"},
    "limits": {"max_trials": 10},
}


def test_a_study_from_creation_to_its_best_trial(http: httpx.Client) -> None:
    created = http.post("/v1/studies", json=STUDY)
    assert created.status_code == 201, created.text
    assert http.post("/v1/studies", json=STUDY).status_code == 200
    assert http.post("/v1/studies/s/trials", json={"params": {"x": 0.5}}).status_code == 201
    asked = http.post("/v1/studies/s/ask", json={"count": 1, "wait": 0})
    assert asked.status_code == 200, asked.text
    (lease,) = asked.json()["leases"]
    reported = http.post(f"/v1/leases/{lease['id']}/reports", json={"reports": [{"step": 0, "values": {"score": 0.1}}]})
    assert reported.status_code == 200, reported.text
    assert reported.json()["verdict"] == "continue"
    told = http.post(f"/v1/leases/{lease['id']}/tell", json={"state": "COMPLETE", "values": {"score": 0.9}})
    assert told.status_code == 200, told.text
    assert told.json()["trial"]["values"] == {"score": 0.9}
    assert http.get("/v1/studies/s/best").json()["items"][0]["number"] == 0
