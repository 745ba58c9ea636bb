"""`tuner trial checkpoint`: a trial's saved state as a folder that a user can load."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryFile

import pytest
import torch

from tests.api.conftest import Server, server  # noqa: F401 (a fixture)
from tests.tuner.specs import external
from tests.tuner.test_cli import check_refused
from tests.tuner.test_cli_server import Tuner, client, done, tuner  # noqa: F401 (fixtures)
from tuner.client import Client
from workers import archive
from workers.training import checkpoint


@pytest.fixture
def trial(client: Client, tmp_path: Path) -> int:  # noqa: F811
    """A trial with checkpoints of steps 1 and 2, the first of which is the better."""
    study = client.create_study(external("first"))
    study.enqueue({"x": 0.5})
    for held in client.asks(study, count=1):
        for step, score in ((1, 0.9), (2, 0.1)):
            held.report(step, score)
            checkpoint.save(tmp_path / "saved", {"model": {"weight": torch.full((2, 3), float(step))}, "epoch": step})
            with TemporaryFile() as packed:
                archive.pack(tmp_path / "saved", packed)
                packed.seek(0)
                client.upload_checkpoint(held.lease.id, step, packed)
        held.tell(0.1)
    return client.get_trial_by_number("first", 0).id


def test_a_checkpoint_is_there_to_be_loaded(tuner: Tuner, trial: int, tmp_path: Path) -> None:  # noqa: F811
    for number, (which, step) in enumerate([((), 2), (("--best",), 1), (("--step", "1"), 1)]):
        told = tuner("trial", "checkpoint", "first/0", "--to", f"weights/{number}", *which)
        assert done(told) == ""
        said = f"checkpoint of step {step} of trial 0 of study first in weights/{number}: state.json, state.safetensors\n"
        assert told.stderr == said
        state = checkpoint.load(str(tmp_path / "weights" / str(number)))
        model = torch.nn.Linear(3, 2, bias=False)
        model.load_state_dict(state["model"])
        assert model.weight.tolist() == [[float(step)] * 3] * 2
    assert sorted(path.name for path in (tmp_path / "weights").iterdir()) == ["0", "1", "2"]
    (tmp_path / "empty").mkdir()
    shown = json.loads(done(tuner("trial", "checkpoint", str(trial), "--to", "empty", "--json")))
    assert shown == {"trial": trial, "step": 2, "folder": "empty", "files": ["state.json", "state.safetensors"]}


def test_what_cannot_be_had_is_said_and_leaves_nothing(tuner: Tuner, trial: int, tmp_path: Path) -> None:  # noqa: F811
    check_refused(tuner("trial", "checkpoint", "first/0", "--to", "."), 2, "--to: . is there already; name a new folder")
    check_refused(tuner("trial", "checkpoint", "first/0", "--to", "new", "--best", "--step", "1"), 2, "--step and --best")
    check_refused(tuner("trial", "checkpoint", "first/0", "--to", "study.yaml/new"), 2, "--to: cannot write study.yaml/new")
    check_refused(tuner("trial", "checkpoint", "first/0", "--to", "new", "--step", "3"), 1, "has no checkpoint of step 3")
    for file in (tmp_path / "artifacts").rglob("*.tar"):
        file.write_bytes(file.read_bytes()[:-1])
    check_refused(tuner("trial", "checkpoint", "first/0", "--to", "new"), 1, "files are missing or damaged")
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.endswith("new")) == []
