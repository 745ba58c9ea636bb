"""What stands under every callback: its arguments, its checkpoints, and that it serves the SDK's asked trials as it serves a worker's."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.api.conftest import Server
from tests.tuner.specs import external
from tuner import trials
from tuner.client import Client
from tuner.db.postgres import Database
from tuner.errors import InvalidValue
from tuner.handles import AskedTrial, StudyHandle
from tuner.settings import Settings
from tuner.wire import TrialState, Verdict
from workers import archive
from workers.callbacks.checkpoints import random_state, set_random_state
from workers.callbacks.frame import TrialCallback
from workers.callbacks.inheriting import set_bases, set_hyperparameters
from workers.training import checkpoint


class Recorder:
    """Stands where a worker's trial would; `resume` is what it goes on from."""

    inherits = False

    def __init__(self, resume: dict[str, Any] | None = None) -> None:
        self.resume = resume
        self.reports: list[tuple[int, dict[str, float]]] = []
        self.saved: list[tuple[int, Mapping[str, Any]]] = []

    def report(self, step: int, values: Mapping[str, float]) -> str:
        self.reports.append((step, dict(values)))
        return "continue"

    def save_checkpoint(self, state: Mapping[str, Any], step: int) -> None:
        self.saved.append((step, state))

    def load_checkpoint(self) -> dict[str, Any] | None:
        return self.resume


class Loop(TrialCallback):
    """The least of a framework: a loop whose state is one number."""

    framework = "loop"
    resume_argument = "resume"

    def run(self, epochs: int) -> int:
        opened = self._open_checkpoint()
        count: int = 0 if opened is None else opened["count"]
        self._check_start(1, True, "")
        while count < epochs and self.verdict == "continue":
            count += 1
            self._report(count - 1, {"score": count / epochs, "text": "no number"})
            if self._is_due:
                self._save({"count": count})
        return count


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"metrics": "loss"}, r"metrics: give a list of names, such as \['loss'\]"),
        ({"step": "batch"}, "step: 'batch' is not allowed; give one of epoch, global_step"),
        ({"checkpoint_every": -1}, "checkpoint_every: -1 is not allowed; give a number from 0, or None"),
    ],
)
def test_wrong_arguments(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidValue, match=words):
        Loop(Recorder(), **options)


def test_what_is_reported() -> None:
    found: dict[str, object] = {"loss": torch.tensor(0.5), "acc": np.float32(0.25), "array": np.ones(1), "hits": 3}
    found |= {"curve": torch.zeros(2), "name": "x"}
    callback = Loop(everything := Recorder())
    callback._report(0, found)
    assert everything.reports == [(0, {"loss": 0.5, "acc": 0.25, "array": 1.0, "hits": 3.0})]
    callback = Loop(chosen := Recorder(), metrics={"acc": "val_accuracy"})
    callback._report(0, found)
    assert chosen.reports == [(0, {"val_accuracy": 0.25})]
    with pytest.raises(InvalidValue, match="no number named 'curve'; it has loss, acc, array, hits"):
        Loop(Recorder(), metrics=["curve"])._report(0, found)
    with pytest.raises(InvalidValue, match="the evaluation has no number to report"):
        Loop(Recorder())._report(0, {"name": "x"})


def test_a_checkpoint_of_another_framework_is_refused() -> None:
    Loop(source := Recorder(), checkpoint_every=2).run(5)
    assert [step for step, _ in source.saved] == [1, 3]
    with pytest.raises(InvalidValue, match="not one of loop's callback: its framework is lightning"):
        Loop(Recorder({**source.saved[0][1], "framework": "lightning"})).run(5)
    Loop(second := Recorder(dict(source.saved[0][1]))).run(5)
    assert [step for step, _ in second.reports] == [2, 3, 4]


def test_several_processes_are_refused() -> None:
    callback = Loop(Recorder(), checkpoint_every=None)
    with pytest.raises(InvalidValue, match="in one process, not in 2"):
        callback._check_start(2, True, "")


def test_random_streams_are_put_back(tmp_path: Path) -> None:
    def draw() -> tuple[float, ...]:
        return random.random(), np.random.normal(), float(torch.rand(()))

    np.random.normal()  # leaves a second normal number in store
    checkpoint.save(tmp_path / "c", {"random": random_state()})
    first = draw()
    assert draw() != first
    set_random_state(checkpoint.load(tmp_path / "c")["random"])
    assert draw() == first


@pytest.fixture
def client(database: Database, tmp_path: Path) -> Iterator[Client]:
    server = Server(database, Settings(database_url=database.url, data=tmp_path, port=0, reap_interval=0.2, retry_backoff=0))
    with Client(server.url, server.key) as client:
        yield client
    server.stop()


@pytest.fixture
def study(client: Client) -> StudyHandle:
    study = client.create_study(external(pruner={"name": "median"}))
    study.enqueue({"x": 0.5})
    return study


def pause(database: Database, study: StudyHandle, trial: AskedTrial) -> None:
    """What the next report of this trial will be answered with."""
    with database.begin() as connection:
        trials.judge(connection, study.id, {trial.id: (0, Verdict.PAUSE)})


def promote(database: Database, study: StudyHandle, trial: AskedTrial) -> None:
    with database.begin() as connection:
        assert trials.promote(connection, study.id, [trial.id]) == [trial.id]


def test_an_asked_trial_is_paused_and_resumed(client: Client, study: StudyHandle, database: Database, tmp_path: Path) -> None:
    trial = client.ask(study)
    pause(database, study, trial)
    first = Loop(trial, checkpoint_every=0)
    assert first.run(4) == 1
    assert trial.tell(first.values).state == TrialState.WAITING
    promote(database, study, trial)

    again = client.ask(study)
    found = again.load_checkpoint()
    assert found is not None
    archive.unpack(io.BytesIO(found[1]), tmp_path / "as-a-worker-does")
    assert checkpoint.load(tmp_path / "as-a-worker-does")["training"] == {"count": 1}

    second = Loop(again)
    assert second.run(4) == 4
    assert again.tell(second.values).values == {"score": 1.0}
    assert [report.step for report in client.list_reports(trial.id)] == [0, 1, 2, 3]


def test_what_another_program_saved_is_refused(client: Client, study: StudyHandle) -> None:
    trial = client.ask(study)
    trial.save_checkpoint(b"weights of another kind", 3)
    trial.hand_back()
    again = client.ask(study)
    with pytest.raises(InvalidValue, match="checkpoint: not a whole tar archive"):
        Loop(again).run(4)
    again.tell_failed()


@pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec:FutureWarning")
def test_lightning_with_an_asked_trial(client: Client, study: StudyHandle, database: Database) -> None:
    import lightning.pytorch as pl
    from lightning.pytorch.demos.boring_classes import BoringModel

    from workers.callbacks.lightning import TunerCallback

    class Model(BoringModel):
        def validation_step(self, batch: torch.Tensor, index: int) -> None:
            self.log("x", self(batch).mean())

    def fit(trial: AskedTrial) -> dict[str, float]:
        callback = TunerCallback(trial, metrics={"x": "score"})
        trainer = pl.Trainer(
            accelerator="cpu", max_epochs=3, limit_train_batches=2, limit_val_batches=1, callbacks=[callback], logger=False,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        trainer.fit(Model(), ckpt_path=callback.resume_from)
        return callback.values

    trial = client.ask(study)
    pause(database, study, trial)
    assert trial.tell(fit(trial)).state == TrialState.WAITING
    promote(database, study, trial)
    again = client.ask(study)
    assert again.tell(fit(again)).state == TrialState.COMPLETE
    assert [report.step for report in client.list_reports(trial.id)] == [0, 1, 2]


@pytest.mark.parametrize("kind", ["step", "chained", "lambda", "none", "plateau"])
def test_a_child_goes_on_at_its_own_learning_rate(kind: str) -> None:
    """From the parent's place in the schedule: half of its base after two steps, a quarter after two more."""

    def make(lr: float, beta1: float) -> tuple[torch.optim.Optimizer, Any]:
        adam = torch.optim.Adam([torch.nn.Parameter(torch.ones(2))], lr=lr, betas=(beta1, 0.9))
        if kind == "none":
            return adam, None
        if kind == "plateau":
            return adam, torch.optim.lr_scheduler.ReduceLROnPlateau(adam)
        if kind == "lambda":
            return adam, torch.optim.lr_scheduler.LambdaLR(adam, lambda step: 0.5 ** (step // 2))
        step = torch.optim.lr_scheduler.StepLR(adam, 2, 0.5)
        return adam, torch.optim.lr_scheduler.ChainedScheduler([step]) if kind == "chained" else step

    def advance(optimizer: torch.optim.Optimizer, schedule: Any, count: int) -> float:
        for _ in range(count):
            optimizer.param_groups[0]["params"][0].grad = torch.ones(2)
            optimizer.step()
            if schedule is not None:
                schedule.step(*([1.0] if kind == "plateau" else []))
        return float(optimizer.param_groups[0]["lr"])

    parent, schedule = make(0.1, 0.9)
    halved = advance(parent, schedule, 2)
    falls = kind not in ("none", "plateau")
    assert halved == pytest.approx(0.05 if falls else 0.1)
    saved, of_schedule = parent.state_dict(), {} if schedule is None else schedule.state_dict()
    child, own = make(0.2, 0.7)
    set_hyperparameters(saved, child)
    set_bases(of_schedule, own, saved)
    child.load_state_dict(saved)
    if own is not None:
        own.load_state_dict(of_schedule)
    group = child.param_groups[0]
    assert (group["lr"], group["betas"]) == (pytest.approx(0.1 if falls else 0.2), (0.7, 0.9))
    assert torch.equal(child.state[group["params"][0]]["exp_avg"], parent.state[parent.param_groups[0]["params"][0]]["exp_avg"])
    assert advance(child, own, 2) == pytest.approx(0.05 if falls else 0.2)
