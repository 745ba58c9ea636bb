"""Where a repetition runs, what it may run, and where it ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import Server, server  # noqa: F401 (a fixture)
from tests.workers.conftest import assignment, entrypoint
from tests.workers.test_verification import attempt, trial
from tuner.client import Client
from tuner.errors import InvalidValue
from tuner.wire import Reason, ReportItem, TrialCreate
from workers.engines.local import LocalPlace
from workers.rerun import Permissions, choose_slot, make_assignment, repeat
from workers.slots import Slot, find_host
from workers.verification import Verifier

ON_GPU = Slot(index=0, gpu="0", gpu_share=1.0, cpus=3.0)
CNN = {"dataset": {"name": "digits"}, "model": {"name": "cnn"}, "optimizer": {"name": "adam"}, "epochs": 5}
GPU = {"threads": 3, "device": {"kind": "cuda", "name": "some GPU"}}


def test_a_repetition_ends_with_its_last_step(place: LocalPlace, tmp_path: Path) -> None:
    """Also of code that never looks at a verdict, and so goes on."""
    heard: list[int] = []
    assigned = assignment(tmp_path, entrypoint("deaf", steps=6, beat=0.0), until=2)
    repetition = repeat(place, assigned, lambda step, values: heard.append(step))
    assert (list(repetition.reports), heard) == ([0, 1, 2], [0, 1, 2])


def test_a_repetition_whose_process_dies(place: LocalPlace, tmp_path: Path) -> None:
    repetition = repeat(place, assignment(tmp_path, entrypoint("vanish")), lambda step, values: None)
    assert (repetition.tell.state, repetition.tell.reason) == ("FAIL", Reason.CRASH)


def test_checkpoints_are_thrown_away(place: LocalPlace, tmp_path: Path) -> None:
    repeat(place, assignment(tmp_path, entrypoint("counts_in_checkpoints", epochs=3, beat=0.0)), lambda step, values: None)
    assert list(tmp_path.iterdir()) == []


def test_the_slot_is_of_the_trials_kind_where_there_is_one() -> None:
    assert choose_slot(None, {}) == Slot(index=0, cpus=1.0)
    assert choose_slot(None, {"threads": 3, "device": {"kind": "cpu"}}) == Slot(index=0, cpus=3.0)
    assert choose_slot("cpu", GPU) == Slot(index=0, cpus=3.0)
    assert choose_slot(None, {"threads": "many", "device": "mine"}) == Slot(index=0, cpus=1.0), "users may write anything"
    with pytest.raises(InvalidValue, match="--device: 'tpu' is not on this machine; there: cpu"):
        choose_slot("tpu", GPU)


@pytest.fixture
def gpu_place() -> Iterator[LocalPlace]:
    if not find_host("all").gpu_names:
        pytest.skip("no GPU here")
    place = LocalPlace(ON_GPU)
    yield place
    place.close()


@pytest.mark.gpu
@pytest.mark.parametrize("deterministic", [True, False])
def test_a_training_on_a_gpu_comes_out_the_same(gpu_place: LocalPlace, tmp_path: Path, deterministic: bool) -> None:
    assert choose_slot(None, GPU) == choose_slot("cuda:0", GPU) == ON_GPU
    trainer = CNN | {"deterministic": deterministic}
    assigned = assignment(
        tmp_path, {"executor": "trainer", "trainer": trainer}, params={}, objectives=["val_loss"], device=ON_GPU.device
    )
    first, second = (repeat(gpu_place, assigned, lambda step, values: None) for _ in range(2))
    assert first.tell.state == "COMPLETE", first.tell.error
    reports = [ReportItem(step=step, values=values) for step, values in first.reports.items()]
    verification = Verifier(trial(values=first.tell.values), reports, [attempt(first.tell.record)]).verify(second, "cuda")
    assert verification.is_equal, verification
    assert (verification.tolerance is None) is deterministic


def test_code_that_came_with_the_study(server: Server, place: LocalPlace, tmp_path: Path) -> None:  # noqa: F811
    project, scratch = tmp_path / "project", tmp_path / "scratch"
    project.mkdir()
    scratch.mkdir()
    (project / "shipped_rerun.py").write_text("def train(trial):\n    return {'loss': trial.params['x'] + 1}\n")
    spec: dict[str, Any] = {
        "name": "s",
        "objectives": [{"name": "loss", "direction": "minimize"}],
        "space": {"x": {"type": "float", "low": 0, "high": 10}},
        "sampler": {"name": "random", "seed": 1},
        "pruner": {"name": "none"},
        "trial": {"executor": "entrypoint", "entrypoint": "shipped_rerun:train"},
    }
    with Client(server.url, server.key) as client:
        client.create_study(spec, context=project)
        waiting = client.create_trial("s", TrialCreate(params={"x": 2.0}))
        study = client.get_study("s")

        def make(permissions: Permissions) -> Any:
            return make_assignment(
                waiting,
                study,
                {"seed": 1},
                slot=Slot(index=0),
                scratch=scratch,
                until=None,
                permissions=permissions,
                client=client,
            )

        with pytest.raises(InvalidValue, match=r"runs shipped_rerun:train with your rights; .* give --allow 'shipped_rerun:\*'"):
            make(Permissions(allow_bundles=True))
        with pytest.raises(InvalidValue, match=r"runs code that came with its study, .* give --allow-bundles"):
            make(Permissions(allow=("shipped_rerun:*",)))
        assigned = make(Permissions(allow=("shipped_rerun:*",), allow_bundles=True))
    tell = repeat(place, assigned, lambda step, values: None).tell
    assert tell.values == {"loss": 3.0}, tell.error
    assert (tell.record or {})["code"] == {"bundle": study.spec["trial"]["bundle"]}
