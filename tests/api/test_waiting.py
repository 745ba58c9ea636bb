"""Requests that wait, and repeat: for a trial, for a judgement, for the first of two equal requests."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic, sleep
from typing import Any

import httpx
from sqlalchemy import text

from tests.api.conftest import Server
from tests.api.test_contract import STUDY
from tuner import leases, trials, wire
from tuner.db.postgres import Database
from tuner.trials import Suggestion
from tuner.wire import Verdict


def suggest(database: Database, study_id: int, count: int = 1) -> None:
    """What the search does: trials, the demand they serve gone, a wake."""
    with database.begin() as connection:
        first = connection.execute(text("SELECT next_number FROM studies WHERE id = :id"), {"id": study_id}).scalar_one()
        suggestions = [Suggestion(number=first + index, params={"x": 0.5}, distributions={}) for index in range(count)]
        assert len(trials.suggest(connection, study_id, suggestions)) == count
        connection.execute(
            text("DELETE FROM demands WHERE id IN (SELECT id FROM demands WHERE study_id = :id LIMIT :count)"),
            {"id": study_id, "count": count},
        )
    database.wake("trials", study_id)


def wait_until(holds: Callable[[], bool], seconds: float = 10) -> None:
    deadline = monotonic() + seconds
    while not holds():
        assert monotonic() < deadline
        sleep(0.005)


def count_demands(database: Database) -> int:
    with database.read() as connection:
        return int(connection.execute(text("SELECT coalesce(sum(count), 0) FROM demands")).scalar_one())


def make_study(http: httpx.Client, **changes: Any) -> int:
    return int(http.post("/v1/studies", json={**STUDY, **changes}).json()["id"])


def test_an_ask_waits_for_the_search(server: Server, http: httpx.Client) -> None:
    study = make_study(http)
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(http.post, "/v1/studies/s/ask", json={"wait": 20})
        wait_until(lambda: count_demands(server.database) == 1)
        started = monotonic()
        suggest(server.database, study)
        answer = asked.result()
        took = monotonic() - started
    assert [lease["trial"]["number"] for lease in answer.json()["leases"]] == [0]
    assert took < 0.9, "woken, not polled"
    assert count_demands(server.database) == 0


def test_nothing_came(server: Server, http: httpx.Client) -> None:
    make_study(http)
    answer = http.post("/v1/studies/s/ask", json={"wait": 0.2})
    assert (answer.status_code, answer.json()) == (200, {"leases": []})
    assert http.post("/v1/leases", json={"wait": 0.2}).status_code == 204
    assert count_demands(server.database) == 0


def test_a_lost_wake_costs_a_poll(server: Server, http: httpx.Client) -> None:
    study = make_study(http)
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(http.post, "/v1/studies/s/ask", json={"wait": 20})
        wait_until(lambda: count_demands(server.database) == 1)
        with server.database.begin() as connection:
            trials.suggest(connection, study, [Suggestion(number=0, params={"x": 0.5}, distributions={})])
        assert len(asked.result(timeout=5).json()["leases"]) == 1


def test_a_stolen_trial_is_asked_for_again(server: Server, http: httpx.Client) -> None:
    study = make_study(http)
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(http.post, "/v1/studies/s/ask", json={"wait": 20})
        wait_until(lambda: count_demands(server.database) == 1)
        with server.database.begin() as connection:
            connection.execute(text("DELETE FROM demands"))  # served, and taken by another before we looked
        wait_until(lambda: count_demands(server.database) == 1)
        suggest(server.database, study)
        assert len(asked.result(timeout=5).json()["leases"]) == 1


def test_one_trial_wakes_one_of_many(server: Server, http: httpx.Client) -> None:
    """Twelve wait, in one queue; trials come one by one; each is served once and nobody polls the database for the rest."""
    study = make_study(http, limits={"max_trials": 12})
    with ThreadPoolExecutor(12) as pool:
        asked = [pool.submit(http.post, "/v1/studies/s/ask", json={"wait": 30}) for _ in range(12)]
        wait_until(lambda: count_demands(server.database) == 12)
        started = monotonic()
        for _ in range(12):
            suggest(server.database, study)
        numbers = [lease["trial"]["number"] for answer in asked for lease in answer.result(timeout=20).json()["leases"]]
        assert monotonic() - started < 12, "each woken in turn"
    assert sorted(numbers) == list(range(12))


def test_the_end_of_a_study_ends_the_wait(server: Server, http: httpx.Client) -> None:
    make_study(http)
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(http.post, "/v1/studies/s/ask", json={"wait": 20})
        wait_until(lambda: count_demands(server.database) == 1)
        http.post("/v1/studies/s/cancel")
        answer = asked.result(timeout=5)
    assert (answer.status_code, answer.json()["code"]) == (409, "study_not_running")
    assert "STOPPED (cancelled)" in answer.json()["detail"]


def test_who_has_gone_is_given_nothing(server: Server, http: httpx.Client) -> None:
    study = make_study(http)
    with server.http() as leaving:
        try:
            leaving.post("/v1/studies/s/ask", json={"wait": 20}, timeout=httpx.Timeout(0.3))
        except httpx.ReadTimeout:
            pass
        else:
            raise AssertionError("it answered")
    wait_until(lambda: count_demands(server.database) == 0)
    suggest(server.database, study)
    assert http.get("/v1/studies/s").json()["counts"] == {
        "waiting": 1,
        "running": 0,
        "complete": 0,
        "pruned": 0,
        "fail": 0,
        "infeasible": 0,
    }


def test_a_worker_waits_for_any_study(server: Server, http: httpx.Client) -> None:
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(http.post, "/v1/leases", json={"wait": 20, "worker": "w", "resources": {"gpus": 0, "cpus": 2}})
        wait_until(lambda: b"tuner_waiting_requests 1.0" in http.get("/metrics").content)
        study = make_study(http, trial={"executor": "command", "command": ["true"]})
        wait_until(lambda: count_demands(server.database) == 1)
        suggest(server.database, study)
        (lease,) = waiting.result(timeout=5).json()["leases"]
    assert lease["trial"]["executor"] == "command"
    assert set(lease) == {"id", "expires_at", "ttl", "attempt", "trial"}


def test_a_report_waits_for_its_judgement(server: Server, http: httpx.Client) -> None:
    study = make_study(http, pruner={"name": "median"})
    suggest(server.database, study)
    lease = http.post("/v1/studies/s/ask", json={"wait": 0}).json()["leases"][0]
    path = f"/v1/leases/{lease['id']}/reports"
    assert http.post(path, json={"reports": [{"step": 0, "values": {"score": 1}}], "wait": 0.1}).json()["verdict"] == "continue"
    with ThreadPoolExecutor() as pool:
        reported = pool.submit(http.post, path, json={"reports": [{"step": 1, "values": {"score": 1}}], "wait": 20})
        wait_until(lambda: b"tuner_waiting_requests 1.0" in http.get("/metrics").content)
        with server.database.begin() as connection:
            trials.judge(connection, study, {lease["trial"]["id"]: (1, Verdict.PRUNE)})
        started = monotonic()
        server.database.wake("judged", study)
        assert reported.result(timeout=5).json()["verdict"] == "prune"
        assert monotonic() - started < 0.9


def test_a_tell_brings_the_next_lease(server: Server, http: httpx.Client) -> None:
    study = make_study(http)
    suggest(server.database, study, 2)
    lease = http.post("/v1/studies/s/ask", json={"wait": 0}).json()["leases"][0]
    tell = {"state": "COMPLETE", "values": {"score": 1.0}, "lease_next": True}
    first = http.post(f"/v1/leases/{lease['id']}/tell", json=tell).json()
    again = http.post(f"/v1/leases/{lease['id']}/tell", json=tell).json()
    assert first["trial"]["state"] == "COMPLETE"
    assert [item["trial"]["number"] for item in first["leases"]] == [1]
    assert again == first | {"trial": again["trial"]}, "repeated, the tell gives the same next lease"
    other = http.post(f"/v1/leases/{lease['id']}/tell", json={**tell, "values": {"score": 2.0}})
    assert (other.status_code, other.json()["code"]) == (409, "trial_finished")
    following = {"state": "FAIL", "lease_next": {"count": 1, "ttl": 30, "wait": 0.1}}
    last = http.post(f"/v1/leases/{first['leases'][0]['id']}/tell", json=following).json()
    assert (last["trial"]["reason"], last["leases"]) == ("exception", [])


def test_the_same_lease_request_gets_the_same_leases(server: Server, http: httpx.Client) -> None:
    study = make_study(http)
    suggest(server.database, study, 3)
    headers = {"Idempotency-Key": "k1"}
    answers = [http.post("/v1/studies/s/ask", json={"wait": 0}, headers=headers).json()["leases"][0]["id"] for _ in range(3)]
    assert len(set(answers)) == 1
    assert http.get("/v1/studies/s").json()["counts"]["running"] == 1


def test_idempotency_keys(server: Server, http: httpx.Client) -> None:
    make_study(http)
    headers = {"Idempotency-Key": "enqueue-1"}
    body = {"params": {"x": 0.25}}
    first = http.post("/v1/studies/s/trials", json=body, headers=headers)
    again = http.post("/v1/studies/s/trials", json=body, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.content == again.content
    assert again.headers["idempotent-replay"] == "true"
    other = http.post("/v1/studies/s/trials", json={"params": {"x": 0.5}}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")
    elsewhere = http.post("/v1/studies/s/pause", headers=headers)
    assert elsewhere.status_code == 409
    # An error is not kept: once corrected, the same key may be used.
    assert http.post("/v1/studies/s/trials", json={"params": {"x": 9}}, headers={"Idempotency-Key": "e2"}).status_code == 422
    assert http.post("/v1/studies/s/trials", json=body, headers={"Idempotency-Key": "e2"}).status_code == 201
    # Another caller's keys are its own.
    with server.http(server.make_key(wire.Scope.SUBMITTER)) as another:
        assert another.post("/v1/studies/s/trials", json={"params": {"x": 0.75}}, headers=headers).status_code == 201
    assert http.get("/v1/studies/s").json()["counts"]["waiting"] == 3


def test_concurrent_duplicates_do_it_once(server: Server, http: httpx.Client) -> None:
    make_study(http, limits={"max_trials": 100})
    barrier = threading.Barrier(8)

    def send(_: int) -> int:
        barrier.wait()
        return http.post("/v1/studies/s/trials", json={"params": {"x": 0.25}}, headers={"Idempotency-Key": "same"}).status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = Counter(pool.map(send, range(8)))
    assert statuses[201] >= 1
    assert set(statuses) <= {201, 409}
    assert http.get("/v1/studies/s").json()["counts"]["waiting"] == 1


def test_a_secret_is_answered_once(http: httpx.Client, server: Server) -> None:
    body = {"name": "k", "scope": "viewer"}
    first = http.post("/v1/keys", json=body, headers={"Idempotency-Key": "key-1"})
    again = http.post("/v1/keys", json=body, headers={"Idempotency-Key": "key-1"})
    assert (first.status_code, again.status_code, again.json()["code"]) == (201, 409, "idempotency_conflict")
    with server.database.read() as connection:
        kept = connection.execute(text("SELECT response FROM idempotency")).scalars().all()
    assert all(first.json()["key"].encode() not in (response or b"") for response in kept)


def test_exactly_max_trials_whatever_the_number_of_clients(server: Server) -> None:
    """32 clients, 100 trials, a search that suggests what is demanded: each number is told once."""
    with server.http() as http:
        study = make_study(http, limits={"max_trials": 100})
    done = threading.Event()

    def search() -> None:
        while not done.is_set():
            if count_demands(server.database):
                with server.database.begin() as connection:
                    room = connection.execute(
                        text("SELECT 100 - next_number FROM studies WHERE id = :id"), {"id": study}
                    ).scalar_one()
                wanted = min(room, count_demands(server.database))
                if wanted:
                    suggest(server.database, study, wanted)
            done.wait(0.002)

    def client(_: int) -> list[int]:
        told = []
        with server.http() as http:
            while True:
                answer = http.post("/v1/studies/s/ask", json={"wait": 5})
                if answer.status_code == 409:
                    return told
                for lease in answer.json()["leases"]:
                    body = {"state": "COMPLETE", "values": {"score": 0.5}}
                    assert http.post(f"/v1/leases/{lease['id']}/tell", json=body).status_code == 200
                    told.append(lease["trial"]["number"])

    searching = threading.Thread(target=search)
    searching.start()
    try:
        with ThreadPoolExecutor(32) as pool:
            numbers = [number for told in pool.map(client, range(32)) for number in told]
    finally:
        done.set()
        searching.join()
    assert sorted(numbers) == list(range(100))
    with server.http() as http:
        assert http.get("/v1/studies/s").json()["state"] == "COMPLETE"


def test_a_demand_that_stands_is_left_alone(server: Server, http: httpx.Client) -> None:
    """A slow search must find the demand it has begun to serve: looking again may not replace it."""
    study = make_study(http)
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(http.post, "/v1/studies/s/ask", json={"wait": 20})
        wait_until(lambda: count_demands(server.database) == 1)
        with server.database.read() as connection:
            before = connection.execute(text("SELECT id FROM demands")).scalar_one()
        server.database.wake("trials", study)
        sleep(1.3)  # longer than a poll: what is tested is that nothing happens
        assert leases.has_demand(server.database, before)
        assert count_demands(server.database) == 1
        suggest(server.database, study)
        assert len(asked.result(timeout=5).json()["leases"]) == 1
