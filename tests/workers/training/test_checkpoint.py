"""Checkpoints hold any nesting of tensors and plain values, are whole or invisible, and are never pickle."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from tests.workers.training.handles import RecordingTrial
from tuner.errors import InvalidValue
from workers.training import checkpoint, datasets, models
from workers.training.loop import train


def test_returns_what_was_saved(tmp_path: Path) -> None:
    shared = torch.arange(6.0)
    state = {
        "weights": torch.randn(3, 4, dtype=torch.float64),
        "views": [shared[:3], shared[1:], shared.view(2, 3).T],
        "scalar": torch.tensor(3),
        "half": torch.ones(2, dtype=torch.bfloat16),
        "empty": torch.empty(0, 5),
        "by_number": {0: {"step": torch.tensor(2.0)}, 1: None},
        "pair": (1, "a", True, None),
        "numbers": [0.1, math.inf, -math.inf, 10**40],
        "$odd": {"$tensor": "a text"},
        "nothing": {},
    }
    checkpoint.save(tmp_path / "c", state)
    found = checkpoint.load(tmp_path / "c")
    assert torch.equal(found["weights"], state["weights"])
    for given, back in zip(state["views"], found["views"], strict=True):
        assert torch.equal(given, back)
    assert found["scalar"].shape == ()
    assert found["half"].dtype == torch.bfloat16
    assert found["empty"].shape == (0, 5)
    assert found["by_number"][0]["step"] == 2.0
    for name in ("pair", "numbers", "$odd", "nothing"):
        assert found[name] == state[name]
    assert found["by_number"][1] is None


def test_nan_survives(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "c", {"x": math.nan})
    assert math.isnan(checkpoint.load(tmp_path / "c")["x"])


def test_holds_no_pickle(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "c", {"x": torch.ones(3)})
    assert sorted(p.name for p in (tmp_path / "c").iterdir()) == ["state.json", "state.safetensors"]


def test_replaces_the_one_before_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "c", {"x": 1})
    checkpoint.save(tmp_path / "c", {"x": 2})
    assert checkpoint.load(tmp_path / "c") == {"x": 2}
    assert [p.name for p in tmp_path.iterdir()] == ["c"]


def test_a_failed_save_leaves_the_one_before(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "c", {"x": 1})
    with pytest.raises(InvalidValue, match=r"state\.net\.f is a function"):
        checkpoint.save(tmp_path / "c", {"net": {"f": lambda: 0}})
    assert checkpoint.load(tmp_path / "c") == {"x": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["c"]


def test_damage_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    with pytest.raises(InvalidValue, match=r"not a checkpoint: state\.json is missing"):
        checkpoint.load(folder)
    checkpoint.save(folder, {"x": torch.ones(100)})
    data = (folder / "state.safetensors").read_bytes()
    (folder / "state.safetensors").write_bytes(data[:-7])
    with pytest.raises(InvalidValue, match="damaged: the hash"):
        checkpoint.load(folder)
    (folder / "state.json").write_text('{"format": 1, "sta')
    with pytest.raises(InvalidValue, match="not JSON"):
        checkpoint.load(folder)
    (folder / "state.json").write_text('{"format": 99}')
    with pytest.raises(InvalidValue, match="another format"):
        checkpoint.load(folder)


def test_the_weights_of_a_trial_are_its_models(tmp_path: Path) -> None:
    """As docs/checkpoints.md says."""
    config = {"dataset": {"name": "digits"}, "model": {"name": "mlp", "hidden": [32]}, "epochs": 2, "precision": "float32"}
    values = train(config, RecordingTrial(folder=tmp_path / "weights"))
    data = datasets.build("digits")
    model = models.build("mlp", data.shape, data.outputs, hidden=[32])
    model.load_state_dict(checkpoint.load(str(tmp_path / "weights"))["model"])
    guessed = model.eval()(data.validation.inputs.float()).argmax(dim=1)
    assert (guessed == data.validation.targets).double().mean().item() == pytest.approx(values["val_accuracy"], abs=1e-12)
