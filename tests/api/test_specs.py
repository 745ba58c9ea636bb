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


def test_text_has_a_limit(http: httpx.Client) -> None:
    response = http.post("/v1/specs/check", json={"text": "a" * 200_000})
    assert response.status_code == 422
    assert response.json()["errors"][0]["loc"] == "text"
