"""The contract's paths over a live server, with the exact names of their fields."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from importlib.util import find_spec
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from api.examples import EXAMPLES
from tests.api.conftest import Server

STUDY: dict[str, Any] = {
    "name": "s",
    "objectives": [{"name": "score", "direction": "maximize"}],
    "space": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
    "sampler": {"name": "random", "seed": 1},
    "pruner": {"name": "none"},
    "trial": {"executor": "external"},
    "limits": {"max_trials": 10},
}
LEASE = {"id", "expires_at", "ttl", "attempt", "trial"}
LEASED_TRIAL = {"id", "number", "study", "params", "executor", "config", "resume"}
TRIAL = {
    "id", "number", "study", "state", "reason", "params", "values", "user_attrs", "attempt", "worker", "created_at", "started_at",
    "finished_at", "duration",
}  # fmt: skip


def lease_one(http: httpx.Client, study: str = "s") -> dict[str, Any]:
    http.post(f"/v1/studies/{study}/trials", json={"params": {"x": 0.5}})
    asked = http.post(f"/v1/studies/{study}/ask", json={"count": 1, "ttl": 30, "wait": 0})
    assert asked.status_code == 200, asked.text
    (lease,) = asked.json()["leases"]
    return dict(lease)


def test_a_study_from_creation_to_its_best_trial(http: httpx.Client) -> None:
    created = http.post("/v1/studies", json=STUDY)
    assert created.status_code == 201, created.text
    again = http.post("/v1/studies", json=STUDY)
    assert (again.status_code, again.json()["id"]) == (200, created.json()["id"])
    other = http.post("/v1/studies", json={**STUDY, "limits": {"max_trials": 11}})
    assert (other.status_code, other.json()["code"]) == (409, "study_exists")
    lease = lease_one(http)
    assert set(lease) == LEASE
    assert set(lease["trial"]) >= LEASED_TRIAL
    assert (lease["ttl"], lease["attempt"], lease["trial"]["params"], lease["trial"]["resume"]) == (30, 1, {"x": 0.5}, None)
    path = f"/v1/leases/{lease['id']}"
    reported = http.post(
        f"{path}/reports", json={"reports": [{"step": 0, "values": {"score": 0.1}}, {"step": 1, "values": {"score": "NaN"}}]}
    )
    assert set(reported.json()) == {"verdict", "expires_at"}
    assert reported.json()["verdict"] == "continue"
    assert set(http.post(f"{path}/renew").json()) == {"verdict", "expires_at"}
    assert http.post(f"{path}/logs", json={"lines": [{"text": "hello"}]}).status_code == 204
    told = http.post(f"{path}/tell", json={"state": "COMPLETE", "values": {"score": 0.9}, "user_attrs": {"note": "n"}})
    assert told.status_code == 200, told.text
    assert set(told.json()["trial"]) >= TRIAL
    assert told.json()["trial"]["values"] == {"score": 0.9}
    late = http.post(f"{path}/reports", json={"reports": [{"step": 2, "values": {"score": 0.1}}]})
    assert (late.status_code, late.json()["code"]) == (409, "lease_lost")
    trial = lease["trial"]["id"]
    assert http.get(f"/v1/trials/{trial}").json()["user_attrs"] == {"note": "n"}
    assert http.get(f"/v1/trials/{trial}").json() == http.get("/v1/studies/s/trials/0").json()
    items = http.get(f"/v1/trials/{trial}/reports").json()["items"]
    assert [(item["step"], item["values"]) for item in items] == [(0, {"score": 0.1}), (1, {"score": "NaN"})]
    assert [item["step"] for item in http.get(f"/v1/trials/{trial}/reports", params={"since_step": 0}).json()["items"]] == [1]
    assert [item["reason"] for item in http.get(f"/v1/trials/{trial}/attempts").json()["items"]] == ["complete"]
    assert [item["text"] for item in http.get(f"/v1/trials/{trial}/logs").json()["items"]] == ["hello"]
    assert http.get(f"/v1/trials/{trial}/checkpoints").json() == {"items": []}
    for path in ("best", "pareto"):
        assert [item["number"] for item in http.get(f"/v1/studies/s/{path}").json()["items"]] == [0]
    columns = http.get("/v1/studies/s/columns").json()
    assert (columns["numbers"], columns["values"], columns["params"]) == ([0], {"score": [0.9]}, {"x": [0.5]})
    http.post("/v1/studies/s/trials", json={"params": {"x": 0.7}})
    changed = http.get("/v1/studies/s/columns", params={"since": columns["revision"]}).json()
    assert (1 in changed["numbers"], changed["total"]) == (True, 2)
    (curve,) = http.get("/v1/studies/s/curves", params={"numbers": "0", "metric": "score"}).json()["items"]
    assert (curve["trial"], len(curve["reports"])) == (0, 2)


def test_a_log_is_read_from_either_end(http: httpx.Client) -> None:
    http.post("/v1/studies", json=STUDY).raise_for_status()
    lease = lease_one(http)
    path, logs = f"/v1/leases/{lease['id']}/logs", f"/v1/trials/{lease['trial']['id']}/logs"
    assert http.get(logs, params={"tail": 3}).json() == {"items": [], "next_cursor": None}
    http.post(path, json={"lines": [{"text": f"line {number}"} for number in range(5)]}).raise_for_status()
    first = http.get(logs, params={"limit": 2}).json()
    assert [item["text"] for item in first["items"]] == ["line 0", "line 1"]
    last = http.get(logs, params={"tail": 2}).json()
    assert [item["text"] for item in last["items"]] == ["line 3", "line 4"]
    http.post(path, json={"lines": [{"text": "line 5"}]}).raise_for_status()
    after = http.get(logs, params={"cursor": last["next_cursor"]}).json()
    assert [item["text"] for item in after["items"]] == ["line 5"]
    assert len(http.get(logs, params={"tail": 2000}).json()["items"]) == 6


def test_importance_needs_ten_trials(http: httpx.Client) -> None:
    http.post("/v1/studies", json={**STUDY, "limits": {"max_trials": 20}})
    for index in range(12):
        if index == 9:
            refused = http.get("/v1/studies/s/importance")
            assert (refused.status_code, "10 complete trials" in refused.json()["detail"]) == (409, True)
        body = {"params": {"x": index / 12}, "state": "COMPLETE", "values": {"score": index / 12}}
        assert http.post("/v1/studies/s/trials", json=body).status_code == 201
    answer = http.get("/v1/studies/s/importance").json()
    assert (answer["method"], list(answer["importance"])) == ("ped_anova", ["x"])
    assert http.get("/v1/studies/s/importance", params={"objective": "loss"}).status_code == 422


def test_listing_in_pages(http: httpx.Client) -> None:
    for index in range(5):
        http.post("/v1/studies", json={**STUDY, "name": f"s{index}", "tags": ["odd" if index % 2 else "even"]})
        http.post("/v1/studies/s0/trials", json={"params": {"x": index / 10}})
    names, cursor = [], None
    while True:
        page = http.get("/v1/studies", params={"limit": 2, **({"cursor": cursor} if cursor else {})}).json()
        assert set(page) == {"items", "next_cursor"}
        names += [study["name"] for study in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert names == ["s4", "s3", "s2", "s1", "s0"]
    assert len(http.get("/v1/studies", params={"q": "odd"}).json()["items"]) == 2
    assert http.get("/v1/studies", params={"state": "paused"}).json()["items"] == []
    first = http.get("/v1/studies/s0/trials", params={"limit": 3, "sort": "-number"}).json()
    rest = http.get("/v1/studies/s0/trials", params={"limit": 3, "sort": "-number", "cursor": first["next_cursor"]}).json()
    assert [trial["number"] for trial in first["items"] + rest["items"]] == [4, 3, 2, 1, 0]
    assert rest["next_cursor"] is None


def test_long_answers_are_compressed(http: httpx.Client, server: Server) -> None:
    http.post("/v1/studies", json={**STUDY, "limits": {"max_trials": 2000}})
    with server.database.begin() as connection:
        study = connection.execute(text("UPDATE studies SET next_number = 1500 RETURNING id")).scalar_one()
        connection.execute(
            text(
                "INSERT INTO trials (project, study_id, number, state, params)"
                """ SELECT 'default', :study, n, 'COMPLETE', '{"x": 0.123456789}' FROM generate_series(0, 1499) n"""
            ),
            {"study": study},
        )
    packed = http.get("/v1/studies/s/columns")
    plain = http.get("/v1/studies/s/columns", headers={"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.json()["numbers"] == plain.json()["numbers"] == list(range(1500))
    assert int(packed.headers["content-length"]) < int(plain.headers["content-length"]) / 4


def test_steering_a_study(http: httpx.Client) -> None:
    study = http.post("/v1/studies", json=STUDY).json()
    assert http.get(f"/v1/studies/{study['id']}").json()["name"] == "s"
    patched = http.patch("/v1/studies/s", json={"limits": {"max_trials": 20}, "tags": ["t"], "notes": "n"}).json()
    assert (patched["spec"]["limits"]["max_trials"], patched["tags"], patched["notes"]) == (20, ["t"], "n")
    assert http.post("/v1/studies/s/pause").json()["state"] == "PAUSED"
    assert http.post("/v1/studies/s/resume").json()["state"] == "RUNNING"
    lease = lease_one(http)
    assert http.post("/v1/studies/s/stop").json()["state"] == "STOPPING"
    http.post(f"/v1/leases/{lease['id']}/tell", json={"state": "PRUNED"})
    assert http.post("/v1/studies/s/resume").json()["state"] == "RUNNING"
    assert http.post("/v1/studies/s/cancel").json()["state"] == "STOPPED"
    refused = http.post("/v1/studies/s/pause")
    assert (refused.status_code, refused.json()["code"]) == (409, "study_not_running")
    assert http.delete("/v1/studies/s").status_code == 204
    assert http.get("/v1/studies/s").json()["code"] == "study_not_found"


def test_trials_are_added_cancelled_retried(http: httpx.Client) -> None:
    http.post("/v1/studies", json=STUDY)
    added = http.post("/v1/studies/s/trials", json={"params": {"x": 0.1}, "state": "COMPLETE", "values": {"score": 0.4}}).json()
    assert (added["state"], added["origin"]) == ("COMPLETE", "added")
    waiting = http.post("/v1/studies/s/trials", json={"params": {"x": 0.2}}).json()
    assert http.post(f"/v1/trials/{waiting['id']}/cancel").json()["reason"] == "cancelled"
    assert http.post(f"/v1/trials/{waiting['id']}/cancel").json()["code"] == "trial_finished"
    retried = http.post(f"/v1/trials/{waiting['id']}/retry")
    assert (retried.status_code, retried.json()["params"]) == (201, {"x": 0.2})
    lease = lease_one(http)
    http.post(f"/v1/trials/{lease['trial']['id']}/cancel")
    assert http.post(f"/v1/leases/{lease['id']}/renew").json()["verdict"] == "stop"


def test_a_told_nan_fails_the_trial_and_not_the_request(http: httpx.Client) -> None:
    http.post("/v1/studies", json=STUDY)
    for values, reason in (({"score": "NaN"}, "nan"), ({}, "missing_objective"), ({"loss": 1.0}, "missing_objective")):
        lease = lease_one(http)
        told = http.post(f"/v1/leases/{lease['id']}/tell", json={"state": "COMPLETE", "values": values})
        assert told.status_code == 200
        assert (told.json()["trial"]["state"], told.json()["trial"]["reason"]) == ("FAIL", reason)
    lease = lease_one(http)
    told = http.post(f"/v1/leases/{lease['id']}/tell", json={"state": "COMPLETE", "values": {"score": "Infinity"}}).json()[
        "trial"
    ]
    assert (told["state"], told["values"]) == ("COMPLETE", {"score": "Infinity"})
    assert http.get("/v1/studies/s").json()["state"] == "RUNNING"
    json.loads(http.get("/v1/studies/s/columns").text, parse_constant=pytest.fail)


def test_checkpoints_up_and_down(http: httpx.Client) -> None:
    http.post("/v1/studies", json=STUDY)
    lease = lease_one(http)
    content = bytes(range(256)) * 20_000
    digest = hashlib.sha256(content).hexdigest()
    path = f"/v1/leases/{lease['id']}/checkpoints/7"
    wrong = http.put(path, content=content + b"x", headers={"X-Content-SHA256": digest})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "invalid_value")
    latest = f"/v1/trials/{lease['trial']['id']}/checkpoints/latest"
    assert http.get(latest).json()["code"] == "checkpoint_not_found"
    stored = http.put(
        path, content=(content[at : at + 60_000] for at in range(0, len(content), 60_000)), headers={"X-Content-SHA256": digest}
    )
    assert stored.status_code == 200, stored.text
    assert (stored.json()["step"], stored.json()["size"], stored.json()["sha256"]) == (7, len(content), digest)
    fetched = http.get(latest)
    assert fetched.content == content
    assert fetched.headers["content-type"] == "application/octet-stream"
    assert fetched.headers["content-disposition"].startswith("attachment")
    assert fetched.headers["content-security-policy"] == "sandbox"
    assert http.get(latest, headers={"Range": "bytes=10-19"}).content == content[10:20]
    http.post(f"/v1/leases/{lease['id']}/tell", json={"state": "WAITING", "reason": "preempted"})
    (again,) = http.post("/v1/studies/s/ask", json={"wait": 0}).json()["leases"]
    assert again["trial"]["resume"] == {"step": 7, "checkpoint": latest, "sha256": digest, "inherited": False}
    stale = http.put(path, content=content, headers={"X-Content-SHA256": digest})
    assert (stale.status_code, stale.json()["code"]) == (409, "lease_lost")


def test_workers(http: httpx.Client) -> None:
    assert (
        http.post("/v1/leases", json={"worker": "w", "count": 1, "wait": 0, "resources": {"gpus": 1, "cpus": 1}}).status_code
        == 204
    )
    worker = http.post("/v1/workers", json={"name": "w", "host": "h", "slots": 2, "gpus": ["A"]}).json()
    assert http.get("/v1/workers").json()["items"] == [http.get(f"/v1/workers/{worker['id']}").json()]
    http.post("/v1/studies", json={**STUDY, "trial": {"executor": "command", "command": ["true"], "resources": {"gpus": 1}}})
    http.post("/v1/studies/s/trials", json={"params": {"x": 0.5}})
    small = {"worker": "w", "count": 1, "resources": {"gpus": 0, "cpus": 1}}
    assert http.post("/v1/leases", json=small).status_code == 204
    (lease,) = http.post("/v1/leases", json={**small, "resources": {"gpus": 1, "cpus": 1}, "studies": ["s"]}).json()["leases"]
    assert set(lease) == LEASE
    assert lease["trial"]["config"]["command"] == ["true"]
    assert http.get("/v1/workers").json()["items"][0]["running"] == 1


def test_a_worker_that_asks_is_seen(http: httpx.Client, server: Server) -> None:
    http.post("/v1/workers", json={"name": "w"})
    with server.database.begin() as connection:
        connection.execute(text("UPDATE workers SET seen_at = seen_at - interval '1 hour'"))
    before = http.get("/v1/workers").json()["items"][0]["seen_at"]
    http.post("/v1/leases", json={"worker": "w"})
    assert http.get("/v1/workers").json()["items"][0]["seen_at"] > before


def test_keys(http: httpx.Client, server: Server) -> None:
    made = http.post("/v1/keys", json={"name": "laptop", "scope": "viewer"})
    assert made.status_code == 201
    with server.http(made.json()["key"]) as viewer:
        assert viewer.get("/v1/me").json() == {
            "key_id": made.json()["id"],
            "name": "laptop",
            "scope": "viewer",
            "project": "default",
        }
    assert "key" not in http.get("/v1/keys").json()["items"][0]
    assert http.delete(f"/v1/keys/{made.json()['id']}").json()["revoked_at"] is not None


def test_catalog(http: httpx.Client) -> None:
    catalog = http.get("/v1/catalog").json()
    assert "rmsprop" in {entry["name"] for entry in catalog["optimizers"]}


def test_health_and_metrics(http: httpx.Client, server: Server) -> None:
    with server.http("") as anybody:
        assert anybody.get("/healthz").json()["status"] == "ok"
        assert anybody.get("/readyz").json()["status"] == "ready"
        http.post("/v1/studies", json={**STUDY, "name": "secret-name"})
        lease = lease_one(http, "secret-name")
        http.post(f"/v1/leases/{lease['id']}/tell", json={"state": "FAIL"})
        metrics = anybody.get("/metrics").text
    assert 'tuner_tells_total{state="FAIL"} 1.0' in metrics
    assert "tuner_leases_total 1.0" in metrics
    assert 'tuner_trials{state="FAIL"} 1.0' in metrics
    assert 'tuner_request_seconds_count{method="POST",path="/v1/studies/{study}/ask",status="200"} 1.0' in metrics
    assert "secret-name" not in metrics


def test_exports(http: httpx.Client) -> None:
    spec = {
        **STUDY,
        "space": {
            "c": {"type": "categorical", "choices": ["=1+1", "@x", "-y", "plain"]},
            "x": {"type": "float", "low": -1.0, "high": 1.0},
        },
    }
    assert http.post("/v1/studies", json=spec).status_code == 201
    for choice in ("=1+1", "@x", "-y", "plain"):
        http.post(
            "/v1/studies/s/trials", json={"params": {"c": choice, "x": -0.5}, "state": "COMPLETE", "values": {"score": -1.5}}
        )
    answer = http.get("/v1/studies/s/export")
    assert answer.headers["content-disposition"] == 'attachment; filename="s.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["params.c"] for row in rows] == ["'=1+1", "'@x", "'-y", "plain"]
    assert {(row["values.score"], row["params.x"]) for row in rows} == {("-1.5", "-0.5")}
    assert [trial["number"] for trial in http.get("/v1/studies/s/export?format=json").json()["trials"]] == [0, 1, 2, 3]
    assert len(http.get("/v1/studies/s/export?format=jsonl&state=COMPLETE").text.splitlines()) == 4
    parquet = http.get("/v1/studies/s/export?format=parquet")
    assert parquet.status_code == (200 if find_spec("pyarrow") else 422)


def test_the_description(http: httpx.Client, server: Server) -> None:
    document = http.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    operations = {item["operationId"]: item for path in document["paths"].values() for item in path.values()}
    assert set(EXAMPLES) <= set(operations)
    for operation in operations.values():
        for content in operation.get("requestBody", {}).get("content", {}).values():
            assert "json" not in content or "$ref" in content["schema"]
    references = {part.split('"')[0] for part in http.get("/openapi.json").text.split('"#/components/schemas/')[1:]}
    assert references <= set(document["components"]["schemas"])
    page = http.get("/docs").text
    assert "<script" not in page
    assert "/v1/leases/{lease}/reports" in page


def test_the_examples_work(http: httpx.Client, server: Server) -> None:
    assert http.post("/v1/studies", json=EXAMPLES["create_study"]).status_code == 201
    assert http.post("/v1/studies/first/trials", json=EXAMPLES["create_trial"]).status_code == 201
    lease = http.post("/v1/studies/first/ask", json=EXAMPLES["ask"]).json()["leases"][0]["id"]
    for name, path, expected in (
        ("take_leases", "/v1/leases", 204),
        ("append_reports", f"/v1/leases/{lease}/reports", 200),
        ("append_logs", f"/v1/leases/{lease}/logs", 204),
        ("tell", f"/v1/leases/{lease}/tell", 200),
        ("register_worker", "/v1/workers", 200),
        ("create_key", "/v1/keys", 201),
        ("open_session", "/v1/sessions", 401),
    ):
        example = EXAMPLES[name] | ({"wait": 0} if "wait" in EXAMPLES[name] else {})
        assert http.post(path, json=example).status_code == expected, name
    assert http.patch("/v1/studies/first", json=EXAMPLES["update_study"]).status_code == 200
