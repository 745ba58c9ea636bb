"""Detection: what outputs mean, their loss by hand, suppression, precision on known answers, and a training that finds shapes."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.workers.training.handles import RecordingTrial
from tuner.errors import InvalidValue
from workers.training import boxes, datasets, loop, losses


def outputs_for(targets: Tensor, grid: int, classes: int) -> Tensor:
    """Outputs that a perfect detector would give."""
    found = torch.zeros(len(targets), grid, grid, 5 + classes, dtype=torch.float64)
    found[..., 0] = -20.0
    for i, row in enumerate(targets):
        for box in row[row[:, 0] != boxes.NO_CLASS]:
            x, y = float(box[1]) * grid, float(box[2]) * grid
            cell = found[i, int(y), int(x)]
            shares = torch.tensor([x % 1, y % 1, box[3], box[4]], dtype=torch.float64)
            cell[0], cell[1:5] = 20.0, torch.logit(shares)
            cell[5 + int(box[0])] = 20.0
    return found


def scene() -> Tensor:
    return torch.tensor(
        [
            [[0, 0.30, 0.30, 0.2, 0.4], [1, 0.80, 0.60, 0.3, 0.3]],
            [[1, 0.55, 0.15, 0.1, 0.2], [boxes.NO_CLASS, 0, 0, 0, 0]],
        ],
        dtype=torch.float64,
    )


def test_decoding_gives_the_boxes_back() -> None:
    found = boxes.detections(outputs_for(scene(), 4, 2))
    assert [len(scores) for _, scores, _ in found] == [2, 1]
    assert torch.allclose(found[1][0][0], scene()[1, 0, 1:], atol=1e-9)
    assert sorted(found[0][2].tolist()) == [0, 1]


def test_loss_by_hand() -> None:
    """One image, a 2x2 grid, one class more than the box's; every term written out."""
    outputs = torch.randn(1, 2, 2, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    targets = torch.tensor([[[1, 0.7, 0.2, 0.3, 0.5]]], dtype=torch.float64)

    def sigmoid(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    wanted = 0.0
    for row in range(2):
        for column in range(2):
            o = outputs[0, row, column].tolist()
            if (row, column) != (0, 1):
                wanted -= 0.5 * math.log(1 - sigmoid(o[0]))
                continue
            wanted -= math.log(sigmoid(o[0]))
            wanted += 3.0 * ((sigmoid(o[1]) - 0.4) ** 2 + (sigmoid(o[2]) - 0.4) ** 2)
            wanted += 3.0 * ((sigmoid(o[3]) ** 0.5 - 0.3**0.5) ** 2 + (sigmoid(o[4]) ** 0.5 - 0.5**0.5) ** 2)
            wanted -= math.log(math.exp(o[6]) / (math.exp(o[5]) + math.exp(o[6])))
    found = losses.build("grid_detection", box_weight=3.0, empty_weight=0.5)(outputs, targets)
    assert float(found) == pytest.approx(wanted, rel=1e-9)


def test_a_perfect_answer_costs_nothing_and_scores_one() -> None:
    outputs = outputs_for(scene(), 4, 2)
    assert float(losses.build("grid_detection")(outputs, scene())) < 1e-6
    assert boxes.mean_average_precision(boxes.detections(outputs), scene(), 64) == {
        "map": pytest.approx(1.0),
        "map50": pytest.approx(1.0),
    }


def test_precision_counts_what_is_missed_and_what_is_off() -> None:
    targets = scene()
    half = targets.clone()
    half[0, 1, 0] = boxes.NO_CLASS  # one of two boxes of class 1 is not found
    missed = boxes.mean_average_precision(boxes.detections(outputs_for(half, 4, 2)), targets, 64)
    assert missed["map50"] == pytest.approx((1.0 + 51 / 101) / 2)
    off = targets.clone()
    off[..., 3] *= 0.6  # overlap 0.6 counts at 0.5 to 0.6 and no further
    narrow = boxes.mean_average_precision(boxes.detections(outputs_for(off, 4, 2)), targets, 64)
    assert narrow["map50"] == pytest.approx(1.0)
    assert narrow["map"] < 0.4
    assert boxes.mean_average_precision(boxes.detections(torch.full((2, 2, 2, 7), -20.0)), targets, 64)["map"] == 0.0


def test_suppression_keeps_the_best_of_overlapping_boxes_of_a_class() -> None:
    outputs = torch.zeros(1, 1, 3, 7, dtype=torch.float64)
    outputs[0, 0, :, 0] = torch.tensor([2.0, 3.0, 1.0])
    # All three reach to the same place; the third is of another class.
    outputs[0, 0, :, 1] = torch.logit(torch.tensor([0.99, 0.01, 0.02], dtype=torch.float64))
    outputs[0, 0, :, 3:5] = 1.0
    outputs[0, 0, :2, 5], outputs[0, 0, 2, 6] = 5.0, 5.0
    ((_, scores, classes),) = boxes.detections(outputs)
    assert classes.tolist() == [0, 1]
    assert float(scores[0]) == pytest.approx(float(torch.sigmoid(torch.tensor(3.0))) * 0.9933, rel=1e-3)


def test_overlap() -> None:
    first = torch.tensor([[0.5, 0.5, 0.2, 0.2]])
    second = torch.tensor([[0.5, 0.5, 0.2, 0.2], [0.6, 0.5, 0.2, 0.2], [0.9, 0.9, 0.1, 0.1], [0.5, 0.5, 0.1, 0.1]])
    assert boxes.overlap(first, second)[0].tolist() == pytest.approx([1.0, 1 / 3, 0.0, 0.25], abs=1e-5)


def test_shapes_are_where_their_boxes_say() -> None:
    data = datasets.build("shapes", samples=20, size=32)
    bright = data.train.inputs.amax(1) > 2.0
    for image, target in zip(bright, data.train.targets, strict=True):
        inside = torch.zeros(32, 32, dtype=torch.bool)
        for _, x, y, w, h in target[target[:, 0] >= 0].tolist():
            low_x, high_x = math.floor((x - w / 2) * 32), math.ceil((x + w / 2) * 32)
            inside[math.floor((y - h / 2) * 32) : math.ceil((y + h / 2) * 32), low_x:high_x] = True
        assert not (image & ~inside).any()
        assert (image & inside).sum() > 0.5 * inside.sum()


@pytest.mark.slow
def test_a_detector_finds_shapes() -> None:
    trial = RecordingTrial()
    config = {
        "dataset": {"name": "shapes", "samples": 400},
        "model": {"name": "grid_detector", "channels": 8},
        "optimizer": {"lr": 0.005},
        "epochs": 25,
    }
    values = loop.train(config, trial)
    assert values["val_map50"] > 0.7 > trial.reports[0][1]["val_map50"]


def write_coco(folder: Path, **changes: Any) -> dict[str, str]:
    record = {
        "images": [{"id": 10 + i, "file_name": f"{i}.png"} for i in range(6)],
        "categories": [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}],
        "annotations": [
            {"id": i, "image_id": 10 + i, "category_id": 7 if i % 2 else 3, "bbox": [10, 5, 20, 10], "iscrowd": int(i == 5)}
            for i in range(6)
        ],
    } | changes
    (folder / "images").mkdir(exist_ok=True)
    for i in range(6):
        Image.new("RGB", (40, 20), (i, 0, 0)).save(folder / "images" / f"{i}.png")
    (folder / "a.json").write_text(json.dumps(record))
    return {"path": str(folder / "a.json"), "images": str(folder / "images")}


def test_coco(tmp_path: Path) -> None:
    data = datasets.build("coco", **write_coco(tmp_path), size=16, max_boxes=4)
    assert (data.task, data.shape, data.outputs) == ("detection", (3, 16, 16), 2)
    targets = torch.cat([data.train.targets, data.validation.targets])
    real = targets[targets[..., 0] >= 0]
    assert len(real) == 5  # one is a crowd
    assert (real[:, 1:] == torch.tensor([0.5, 0.5, 0.5, 0.5])).all()
    assert sorted(real[:, 0].tolist()) == [0, 0, 0, 1, 1]


def test_unsuitable_coco(tmp_path: Path) -> None:
    for changes, message in (
        ({"categories": []}, "describes no images or no categories"),
        (
            {"annotations": [{"id": 4, "image_id": 10, "category_id": 99, "bbox": [1, 1, 1, 1]}]},
            "annotation 4 of .* lacks a bbox",
        ),
        ({"annotations": [{"id": 4, "image_id": 10, "category_id": 3, "bbox": [1, 1]}]}, "annotation 4 of .* lacks a bbox"),
        (
            {"annotations": [{"id": 4, "image_id": 10, "category_id": 3, "bbox": [1, 1, 0, 5]}]},
            "annotation 4 of .* lacks a bbox of four numbers with an area",
        ),
        ({"images": [{"id": 1, "file_name": "gone.png"}]}, r"dataset\.images: there is no file .*gone\.png"),
    ):
        with pytest.raises(InvalidValue, match=message):
            datasets.build("coco", **write_coco(tmp_path, **changes))
    given = write_coco(tmp_path)
    (tmp_path / "a.json").write_text('{"images": [')
    with pytest.raises(InvalidValue, match="is not JSON"):
        datasets.build("coco", **given)
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(InvalidValue, match="is not in COCO's format: it has no images"):
        datasets.build("coco", **given)
