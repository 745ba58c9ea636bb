"""What may differ after a checkpoint was copied: nothing that decides shapes, keys or data."""

from __future__ import annotations

import pytest

from tuner.catalog.perturbation import is_perturbable
from tuner.parameters import CategoricalParameter, FloatParameter

NUMBER = FloatParameter(0.1, 0.9)


@pytest.mark.parametrize(
    "path",
    [
        "optimizer.lr",
        "optimizer.weight_decay",
        "optimizer.momentum",
        "optimizer.beta1",
        "schedule.gamma",
        "loss.label_smoothing",
        "model.dropout",
        "regularizer.strength",
        "augmentation.flip",
        "batch_size",
        "accumulate",
        "clip_norm",
        "ema",
    ],
)
def test_free(path: str) -> None:
    assert is_perturbable(path, NUMBER)


@pytest.mark.parametrize(
    "path",
    [
        "optimizer.name",
        "optimizer.amsgrad",
        "optimizer.history_size",
        "model.hidden",
        "model.width",
        "model.norm",
        "model.name",
        "dataset.size",
        "initializer.gain",
        "schedule.name",
        "loss.name",
        "epochs",
        "seed",
        "precision",
        "decay_biases_and_norms",
        "optimizer.unheard",
        "nothing.at_all",
    ],
)
def test_kept(path: str) -> None:
    assert not is_perturbable(path, NUMBER)


def test_averaging_cannot_be_switched() -> None:
    assert not is_perturbable("ema", CategoricalParameter((None, 0.9)))
