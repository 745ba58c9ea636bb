"""`tuner study compare`, its figure, and the advice below `show` and `best`, against the live server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.api.conftest import Server, server  # noqa: F401 (a fixture)
from tests.tuner.specs import external
from tests.tuner.test_cli import check_refused
from tests.tuner.test_cli_server import Tuner, client, done, tuner  # noqa: F401 (fixtures)
from tuner.cli.compare import draw
from tuner.client import Client
from tuner.errors import InvalidValue
from tuner.wire import TrialCreate, TrialState

SPACE = {
    "opt": {"type": "categorical", "choices": ["adam", "sgd", "none"]},
    "lr": {"type": "float", "low": 1e-5, "high": 1.0, "log": True},
}


@pytest.fixture
def study(client: Client) -> str:  # noqa: F811
    """Twelve trials of each of two choices, the one better by far, and none of a third."""
    client.create_study(external("c", space=SPACE, limits={"max_trials": 60}))
    for number in range(24):
        opt = ("adam", "sgd")[number % 2]
        values = {"score": 0.9 + number / 1000 - 0.5 * (opt == "sgd")}
        body = TrialCreate(params={"opt": opt, "lr": 10.0 ** -(number % 5)}, state=TrialState.COMPLETE, values=values)
        client.create_trial("c", body)
    return "c"


def test_table_and_conclusion(tuner: Tuner, study: str) -> None:  # noqa: F811
    text = done(tuner("study", "compare", study, "--by", "opt"))
    lines = text.splitlines()
    assert "score (maximize)" in lines[0]
    assert "expected best of 3" in text
    row = next(line for line in lines if "adam" in line)
    assert all(word in row for word in (" 12 ", "0.922 (trial 22)", "1 [1, 1]", " %", "0.0 s")), row
    assert "adam is better than sgd (p < 0.001)." in lines
    assert "Test: Mann and Whitney's test" in text
    assert "Without a counted trial: none." in lines


def test_json(tuner: Tuner, study: str) -> None:  # noqa: F811
    found = json.loads(done(tuner("study", "compare", study, "--by", "opt", "--json")))
    assert found["conclusion"] == "adam is better than sgd (p < 0.001)."
    assert [level["level"] for level in found["levels"]] == ["adam", "sgd", "none"]


def test_figure(tuner: Tuner, study: str, client: Client, tmp_path: Path) -> None:  # noqa: F811
    result = tuner("study", "compare", study, "--by", "opt", "--figure", "f.svg")
    assert "the figure is f.svg" in result.stderr
    assert done(result)
    svg = (tmp_path / "f.svg").read_text()
    assert svg.startswith("<?xml")
    found = client.compare(study, by="opt")
    draw(found, tmp_path / "f.png")
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InvalidValue, match="--figure: cannot write"):
        draw(found, tmp_path / "missing" / "f.png")


def test_figure_without_matplotlib(study: str, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    found = client.compare(study, by="opt")
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(InvalidValue, match=r"needs matplotlib: pip install 'tuner\[figures\]'"):
        draw(found, tmp_path / "f.png")


def test_wrong_use(tuner: Tuner, study: str) -> None:  # noqa: F811
    check_refused(tuner("study", "compare", study), 2, "by: is missing")
    check_refused(tuner("study", "compare", study, "--by", "opd"), 2, "did you mean opt")
    check_refused(tuner("study", "compare", study, "--by", "opt", "--figure", "f.gif"), 2, ".png, .svg, .pdf")
    check_refused(tuner("study", "compare", study, "other", "--by", "opt"), 2, "--by")
    check_refused(tuner("study", "compare", "nothing", "--by", "opt"), 1, "'nothing'")


def test_several_studies(tuner: Tuner, study: str, client: Client) -> None:  # noqa: F811
    client.create_study(external("d", space=SPACE))
    for number in range(12):
        body = TrialCreate(params={"opt": "adam", "lr": 0.1}, state=TrialState.COMPLETE, values={"score": number / 100})
        client.create_trial("d", body)
    text = done(tuner("study", "compare", study, "d"))
    assert "c is better than d" in text


def test_advice_below_show_and_best(tuner: Tuner, study: str) -> None:  # noqa: F811
    for command in ("show", "best"):
        text = done(tuner("study", command, study))
        assert "trials lie within" in text
        assert "To try next:" in text
        assert "- sgd as opt is worse than adam" in text
        assert "To try next" not in done(tuner("study", command, study, "--json"))
