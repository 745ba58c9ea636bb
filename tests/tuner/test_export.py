"""Exports to MLflow and TensorBoard, read back with their own readers; refusals; the files that were there before."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import api_pb2, backend_context, list_session_groups

from tests.api.conftest import Server
from tests.tuner.specs import external
from tuner.cli import main
from tuner.client import Client
from tuner.db.postgres import Database
from tuner.errors import ServerUnreachable
from tuner.exports import mlflow as to_mlflow
from tuner.exports import tensorboard as to_tensorboard
from tuner.exports.mlflow import Names
from tuner.settings import Settings
from tuner.wire import ReportItem, Study

# SQLAlchemy 2.1 deprecates what MLflow's store still uses.
pytestmark = pytest.mark.filterwarnings("ignore:The ..noload.. loader strategy:sqlalchemy.exc.SADeprecationWarning")

NAME = "shapes, sizes"
SPACE = {
    "lr": {"type": "float", "low": 0.0, "high": 1.0},
    "shape": {"type": "categorical", "choices": ["flat", None, True, 3]},
    "model.depth": {"type": "int", "low": 1, "high": 4, "when": {"shape": "flat"}},
}
Run = Callable[..., int]


@pytest.fixture
def client(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    server = Server(database, Settings(database_url=database.url, data=tmp_path, port=0))
    monkeypatch.setenv("TUNER_SERVER", server.url)
    monkeypatch.setenv("TUNER_KEY", server.key)
    with Client(server.url, server.key) as client:
        yield client
    server.stop()


@pytest.fixture
def study(client: Client) -> Study:
    """Trials 0 to 4: COMPLETE, PRUNED, FAIL, RUNNING, WAITING."""
    handle = client.create_study(external(NAME, space=SPACE, notes="which is best?", tags=["a", "b"]))
    chosen: list[dict[str, Any]] = [
        {"lr": 0.5, "shape": "flat", "model.depth": 2}, {"lr": 0.25, "shape": None}, {"lr": 0.1, "shape": True},
        {"lr": 0.2, "shape": 3}, {"lr": 0.3, "shape": 3},
    ]  # fmt: skip
    for index, params in enumerate(chosen):
        handle.enqueue(params, user_attrs={"index": index} if index == 0 else None)
    complete, pruned, failed, running = (client.ask(handle) for _ in range(4))
    for step, score in enumerate([0.25, math.nan, 0.5]):
        complete.report(step, {"score": score, "top@5": step})
    complete.tell(0.75)
    pruned.report(0, 0.125)
    pruned.tell_pruned()
    failed.tell_failed("nan", "the loss is not finite\nin epoch 3")
    running.report(7, math.inf, wait=0.01)
    return client.get_study(handle.id)


@pytest.fixture(scope="module")
def _empty_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of MLflow's, which it takes seconds to make."""
    from mlflow.tracking import MlflowClient

    folder = tmp_path_factory.mktemp("runs")
    MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")
    return folder / "mlflow.db"


@pytest.fixture
def runs(_empty_runs: Path, tmp_path: Path) -> Path:
    """A folder that MLflow has been used in."""
    folder = tmp_path / "runs"
    folder.mkdir()
    shutil.copy(_empty_runs, folder)
    return folder


def run(*arguments: str) -> int:
    return main.run(["study", "export", NAME, *arguments])


# --- MLflow -------------------------------------------------------------------------------------------------------------------


def test_mlflow(client: Client, study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from mlflow.tracking import MlflowClient

    assert run("--format", "mlflow", "--to", str(tmp_path / "runs")) == 0
    uri = f"sqlite:///{tmp_path}/runs/mlflow.db"
    assert capsys.readouterr() == ("", f"5 trials are runs of the experiment {NAME!r} in {uri}\n")
    tracking = MlflowClient(tracking_uri=uri)
    experiment = tracking.get_experiment_by_name(NAME)
    assert experiment is not None
    assert experiment.tags == {
        "tuner.study_id": str(study.id), "tuner.state": "RUNNING", "tuner.tags": "a, b", "tuner.objective.score": "maximize",
        "mlflow.note.content": "which is best?",
    }  # fmt: skip
    assert [found.name for found in tracking.search_experiments()] == [NAME, "Default"]
    runs = sorted(tracking.search_runs([experiment.experiment_id]), key=lambda run: int(run.data.tags["tuner.number"]))
    assert [run.info.status for run in runs] == ["FINISHED", "KILLED", "FAILED", "RUNNING", "SCHEDULED"]
    assert [run.info.run_name for run in runs] == [f"trial {number}" for number in range(5)]
    assert [run.data.params for run in runs] == [
        {"lr": "0.5", "shape": "flat", "model.depth": "2"}, {"lr": "0.25", "shape": "null"}, {"lr": "0.1", "shape": "true"},
        {"lr": "0.2", "shape": "3"}, {"lr": "0.3", "shape": "3"},
    ]  # fmt: skip
    complete, pruned, failed, running, waiting = runs
    trial = client.get_trial_by_number(study.id, 0)
    assert trial.started_at is not None
    assert trial.finished_at is not None
    assert complete.info.start_time == round(trial.started_at.timestamp() * 1000)
    assert complete.info.end_time == round(trial.finished_at.timestamp() * 1000)
    assert waiting.info.end_time is None
    assert complete.data.tags["tuner.user_attrs.index"] == "0"
    assert (pruned.data.tags["tuner.state"], failed.data.tags["tuner.reason"]) == ("PRUNED", "nan")
    assert failed.data.tags["tuner.error"] == "the loss is not finite\nin epoch 3"
    history = tracking.get_metric_history(complete.info.run_id, "score")
    assert [metric.step for metric in history] == [0, 1, 2]
    assert [history[0].value, history[2].value] == [0.25, 0.5]
    assert math.isnan(history[1].value)
    assert complete.data.metrics == {"score": 0.5, "top_5": 2.0, "final/score": 0.75}
    assert [metric.step for metric in tracking.get_metric_history(complete.info.run_id, "final/score")] == [2]
    assert running.data.metrics == {"score": sys.float_info.max}, "MLflow's SQL stores have no infinity"


def test_mlflow_again(client: Client, study: Study, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from mlflow.tracking import MlflowClient

    place = ("--format", "mlflow", "--to", str(runs))
    assert run(*place) == 0
    tracking = MlflowClient(tracking_uri=f"sqlite:///{runs}/mlflow.db")
    before = tracking.get_experiment_by_name(NAME)
    assert before is not None
    capsys.readouterr()
    assert run(*place) == 2
    assert capsys.readouterr().err == (
        f"tuner: --to: {runs} has an experiment {NAME!r} already: delete it there, or export to another place\n"
    )
    assert len(tracking.search_runs([before.experiment_id])) == 5
    tracking.delete_experiment(before.experiment_id)
    assert run(*place) == 2
    assert "already, as a deleted one that `mlflow gc` removes for good" in capsys.readouterr().err


def test_many_values_take_several_requests(client: Client, runs: Path) -> None:
    from mlflow.tracking import MlflowClient

    space = {f"p{number}": {"type": "float", "low": 0.0, "high": 1.0} for number in range(150)}
    handle = client.create_study(external(NAME, space=space))
    handle.enqueue(dict.fromkeys(space, 0.5))
    with client.ask(handle) as trial:
        for step in range(1_200):
            trial.report(step, float(step))
        trial.tell(1.0)
    assert run("--format", "mlflow", "--to", str(runs)) == 0
    tracking = MlflowClient(tracking_uri=f"sqlite:///{runs}/mlflow.db")
    experiment = tracking.get_experiment_by_name(NAME)
    assert experiment is not None
    (found,) = tracking.search_runs([experiment.experiment_id])
    assert len(found.data.params) == 150
    history = tracking.get_metric_history(found.info.run_id, "score")
    assert sorted(metric.value for metric in history) == [float(step) for step in range(1_200)]


def test_names_that_mlflow_refuses() -> None:
    from mlflow.utils.validation import _validate_metric_name

    names = Names()
    given = ["acc@1", "acc_1", "acc#1", "a//b", "/a", "..", "./x", "größe", "n" * 300, "val/accuracy", "grad norm: x"]
    safe = [names(name) for name in given]
    assert len(set(safe)) == len(given)
    for name in safe:
        _validate_metric_name(name)
    assert safe[-2:] == given[-2:], "a name that is allowed stays"
    assert [names(name) for name in given] == safe


class Failing(Client):
    """A server that goes away while the second trial is read."""

    num_calls = 0

    def list_reports(self, trial: int) -> list[ReportItem]:
        self.num_calls += 1
        if self.num_calls == 2:
            raise ServerUnreachable("http://127.0.0.1:1 is not reachable")
        return super().list_reports(trial)


def test_an_export_that_ends_early_leaves_nothing(client: Client, study: Study, runs: Path, tmp_path: Path) -> None:
    from mlflow.tracking import MlflowClient

    with Failing() as failing, pytest.raises(ServerUnreachable):
        to_mlflow.export(failing, study, str(runs))
    tracking = MlflowClient(tracking_uri=f"sqlite:///{runs}/mlflow.db")
    assert [found.name for found in tracking.search_experiments()] == ["Default"]
    assert run("--format", "mlflow", "--to", str(runs)) == 0
    (tmp_path / "t").mkdir()
    with Failing() as failing, pytest.raises(ServerUnreachable):
        to_tensorboard.export(failing, study, str(tmp_path / "t" / "b"))
    assert list((tmp_path / "t").iterdir()) == []


# --- TensorBoard --------------------------------------------------------------------------------------------------------------


def scalars(folder: Path, tag: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(folder), tensor_size_guidance={"scalars": 0})
    events.Reload()
    return [(event.step, float(event.tensor_proto.float_val[0])) for event in events.Tensors(tag)]


def test_tensorboard(client: Client, study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "board"
    assert run("--format", "tensorboard", "--to", str(folder)) == 0
    assert capsys.readouterr().err.endswith(f"look at them with `tensorboard --logdir {folder}`\n")
    trials = [f"trial-{number:05d}" for number in range(5)]
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == trials
    assert folder.stat().st_mode & 0o777 == 0o755
    (first, second, third) = scalars(folder / trials[0], "score")
    assert (first, second[0], third) == ((0, 0.25), 1, (2, 0.5))
    assert math.isnan(second[1])
    assert scalars(folder / trials[0], "top@5") == [(0, 0.0), (1, 1.0), (2, 2.0)]
    assert scalars(folder / trials[0], "final/score") == [(2, 0.75)]
    assert scalars(folder / trials[3], "score") == [(7, math.inf)]
    events = EventAccumulator(str(folder / trials[2]))
    events.Reload()
    (text,) = events.Tensors("trial")[0].tensor_proto.string_val
    assert "reason: nan" in text.decode()


def test_tensorboards_hparams(client: Client, study: Study, tmp_path: Path) -> None:
    assert run("--format", "tensorboard", "--to", str(tmp_path / "board")) == 0
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(tmp_path / "board"))
    multiplexer.Reload()
    provider = MultiplexerDataProvider(multiplexer, str(tmp_path))
    context = backend_context.Context(TBContext(data_provider=provider))
    request = RequestContext()
    experiment = context.experiment_from_metadata(request, "", True, context.hparams_metadata(request, ""), [])
    assert {info.name for info in experiment.hparam_infos} == {"lr", "shape", "model.depth"}
    assert [(info.name.tag, info.display_name) for info in experiment.metric_infos] == [("final/score", "score")]
    statuses = [api_pb2.STATUS_SUCCESS, api_pb2.STATUS_FAILURE, api_pb2.STATUS_UNKNOWN]
    wanted = api_pb2.ListSessionGroupsRequest(allowed_statuses=statuses, start_index=0, slice_size=10)
    groups = list_session_groups.Handler(request, context, "", wanted).run().session_groups
    shown = {group.name: group for group in groups}
    assert sorted(shown) == [f"trial {number}" for number in range(5)]
    assert [shown[f"trial {number}"].sessions[0].status for number in range(5)] == [
        api_pb2.STATUS_SUCCESS, api_pb2.STATUS_UNKNOWN, api_pb2.STATUS_FAILURE, api_pb2.STATUS_UNKNOWN, api_pb2.STATUS_UNKNOWN,
    ]  # fmt: skip
    complete, pruned, failed = (shown[f"trial {number}"] for number in range(3))
    assert {name: value.number_value or value.string_value for name, value in complete.hparams.items()} == {
        "lr": 0.5, "shape": "flat", "model.depth": 2.0,
    }  # fmt: skip
    assert [(metric.name.tag, metric.value, metric.training_step) for metric in complete.metric_values] == [
        ("final/score", 0.75, 2)
    ]
    assert pruned.hparams["shape"].string_value == "null"
    assert failed.hparams["shape"].bool_value is True
    trial = client.get_trial_by_number(study.id, 0)
    assert trial.started_at is not None
    assert trial.finished_at is not None
    session = complete.sessions[0]
    assert (session.start_time_secs, session.end_time_secs) == (trial.started_at.timestamp(), trial.finished_at.timestamp())


# --- refusals and files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--format", "mlflow"], "--to: say where mlflow is to find it: a folder or a tracking URI"),
        (["--format", "tensorboard"], "--to: say where tensorboard is to find it: a folder"),
        (["--format", "mlflow", "--to", "{file}/x"], "--to: cannot make the folder {file}/x: Not a directory"),
        (["--format", "mlflow", "--to", "file:{there}"], "MLflow cannot use file:{there}: The filesystem tracking backend"),
        (["--format", "mlflow", "--to", "nonsense://x"], "MLflow cannot use nonsense://x: "),
        (["--format", "tensorboard", "--to", "{there}"], "{there} is there and is not an empty folder"),
        (["--format", "tensorboard", "--to", "{file}"], "{file} is there and is not an empty folder"),
        (["--format", "tensorboard", "--to", "{file}/x/y"], "--to: cannot write {file}/x/y: Not a directory"),
        (["--format", "csv", "--to", "{file}/x"], "--output: cannot write {file}/x: Not a directory"),
    ],
)
def test_places_that_cannot_be(
    client: Client, study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    file = tmp_path / "there" / "file"
    file.parent.mkdir()
    file.touch()
    places = {"file": str(file), "there": str(file.parent)}
    assert run(*(argument.format(**places) for argument in arguments)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words.format(**places) in line
    assert [path.name for path in file.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("name", ["mlflow", "tensorboard"])
def test_a_package_that_is_missing(client: Client, study: Study, tmp_path: Path, name: str) -> None:
    """In a process of its own where the package cannot be imported."""
    code = f"import sys; sys.modules[{name!r}] = None; from tuner.cli.main import run; sys.exit(run(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "study", "export", NAME, "--format", name, "--to", str(tmp_path / "x")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert f"pip install 'tuner[{name}]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("option", ["--to", "--output", "-o"])
def test_files_go_where_they_are_told(client: Client, study: Study, tmp_path: Path, option: str) -> None:
    assert run("--format", "json", option, str(tmp_path / "s.json")) == 0
    assert [trial["number"] for trial in json.loads((tmp_path / "s.json").read_text())["trials"]] == [0, 1, 2, 3, 4]
