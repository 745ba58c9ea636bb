"""A study's text is read and judged without a trace: every problem with its line, and no text stalls the server."""

from __future__ import annotations

import httpx
import pytest

GOOD = """\
objectives: [{name: score, direction: maximize}]
space:
  optimizer.lr: {type: float, low: 1e-5, high: 1, log: true}
"""


def check(http: httpx.Client, text: str) -> dict[str, object]:
    answer: dict[str, object] = http.post("/v1/specs/check", json={"text": text}).raise_for_status().json()
    return answer


def test_valid_text_comes_back_as_a_body_for_a_study(http: httpx.Client) -> None:
    answer = check(http, GOOD)
    assert answer["valid"]
    assert answer["problems"] == []
    assert http.get("/v1/studies").json()["items"] == []
    created = http.post("/v1/studies", json=answer["spec"])
    assert created.status_code == 201
    assert created.json()["spec"]["space"]["optimizer.lr"]["low"] == 1e-5


@pytest.mark.parametrize(
    "text, loc, line, said",
    [
        (GOOD.replace("low: 1e-5", "low: 2"), "space.optimizer.lr.low", 3, "at most high"),
        (GOOD.replace("maximize", "up"), "objectives.0.direction", 1, "maximize or minimize"),
        (GOOD + "limits:\n  max_trials: 0\n", "limits.max_trials", 5, "from 1"),
        (GOOD + "samplr: {name: tpe}\n", "samplr", 4, "sampler"),
        (GOOD + "constraints:\n  - optimizer.lr < 1\n  - optimzer.lr < 1\n", "constraints.1", 6, "did you mean optimizer.lr?"),
        (GOOD + "constraints: ['9**9**9 < optimizer.lr']\n", "constraints.0", 4, "no value that a double can hold"),
        (GOOD + "constraints: [optimizer.lr < 0]\n", "constraints", 4, "leave next to nothing to search"),
        (GOOD + "sampler: {name: random}\nconstraints:\n  - optimizer.lr > 0.99999\n", "constraints", 5, "narrow the ranges"),
        ("space: [", "", None, "is not YAML"),
        ("", "", None, "is empty"),
        ("[" * 20_000, "", None, "nested far too deep"),
        ("a: &x [1]\nb: *x\n", "", None, "alias (*) in line 2"),
        ("".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9) if n else 1}]\n" for n in range(30)), "", None, "alias"),
    ],
)
def test_each_problem_has_its_line(http: httpx.Client, text: str, loc: str, line: int | None, said: str) -> None:
    answer = check(http, text)
    assert not answer["valid"]
    assert answer["spec"] is None
    problems = answer["problems"]
    assert isinstance(problems, list)
    assert (loc, line) in [(problem["loc"], problem["line"]) for problem in problems]
    assert any(said in problem["msg"] for problem in problems)


def test_constraints_hold_for_what_is_submitted_and_enqueued(http: httpx.Client) -> None:
    spec = check(http, GOOD + "constraints: [optimizer.lr < 0.1]\n")["spec"]
    assert isinstance(spec, dict)
    created = http.post("/v1/studies", json=spec | {"name": "constrained"})
    assert (created.status_code, created.json()["spec"]["constraints"]) == (201, ["optimizer.lr < 0.1"])
    assert http.post("/v1/studies", json=spec | {"name": "constrained"}).status_code == 200
    assert http.post("/v1/studies", json=spec | {"name": "constrained", "constraints": []}).status_code == 409
    refused = http.post("/v1/studies/constrained/trials", json={"params": {"optimizer.lr": 0.5}})
    assert (refused.status_code, refused.json()["errors"][0]["loc"]) == (422, "params")
    assert "break the constraint optimizer.lr < 0.1" in refused.json()["errors"][0]["msg"]
    assert http.post("/v1/studies/constrained/trials", json={"params": {"optimizer.lr": 0.05}}).status_code == 201
    refused = http.post("/v1/studies", json=spec | {"name": "empty", "constraints": ["optimizer.lr > 1"]})
    assert (refused.status_code, refused.json()["errors"][0]["loc"]) == (422, "constraints")


def test_text_has_a_limit(http: httpx.Client) -> None:
    response = http.post("/v1/specs/check", json={"text": "a" * 200_000})
    assert response.status_code == 422
    assert response.json()["errors"][0]["loc"] == "text"


def test_samplers_and_pruners_come_with_their_options(http: httpx.Client) -> None:
    answer = http.get("/v1/strategies").raise_for_status().json()
    assert answer["samplers"]["random"] == []
    (percentile,) = [option for option in answer["pruners"]["percentile"] if option["required"]]
    assert (percentile["name"], percentile["low"], percentile["high"]) == ("percentile", 0, 100)
    assert "population" in answer["pruners"]
