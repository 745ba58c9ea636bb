"""Boxes: what a grid detector's outputs mean, their loss, which of them remain, and how good they are.

A box is (center x, center y, width, height) as shares of the image. Each cell of the grid speaks for at most one box, the one
whose center lies in it; of two in one cell the later is learned. That is the admitted weakness of one-stage grids without anchors.
"""

from __future__ import annotations

import contextlib
import io

import torch
from torch import Tensor
from torch.nn import functional

NO_CLASS = -1
LEAST_SCORE = 0.05
MOST_OVERLAP = 0.5
MAX_BOXES = 100


def decode(outputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Objectness logits `[n, g, g]`, boxes `[n, g, g, 4]` and class logits `[n, g, g, classes]` of outputs `[n, g, g, 5 + classes]`."""
    rows, columns = outputs.shape[1:3]
    near = outputs[..., 1:5].sigmoid()
    row = torch.arange(rows, device=outputs.device)[:, None]
    column = torch.arange(columns, device=outputs.device)[None, :]
    boxes = torch.stack([(column + near[..., 0]) / columns, (row + near[..., 1]) / rows, near[..., 2], near[..., 3]], -1)
    return outputs[..., 0], boxes, outputs[..., 5:]


def detection_loss(outputs: Tensor, targets: Tensor, *, box_weight: float, empty_weight: float) -> Tensor:
    """As YOLO's: objectness everywhere, class and box where there is one; sums over cells, mean over samples.

    `targets` `[n, boxes, 5]` hold class and box, class NO_CLASS where there is none. Sides are compared by their roots, so that
    an error counts more on a small box.
    """
    objectness, boxes, classes = decode(outputs)
    count, rows, columns = objectness.shape
    sample, index = torch.nonzero(targets[..., 0] != NO_CLASS, as_tuple=True)
    true = targets[sample, index]
    row = (true[:, 2] * rows).long().clamp(0, rows - 1)
    column = (true[:, 1] * columns).long().clamp(0, columns - 1)
    occupied = torch.zeros_like(objectness)
    occupied[sample, row, column] = 1.0
    presence = functional.binary_cross_entropy_with_logits(objectness, occupied, reduction="none")
    total = (presence * torch.where(occupied > 0, 1.0, empty_weight)).sum()
    found = boxes[sample, row, column]
    centers = (found[:, :2] - true[:, 1:3]) * torch.tensor([columns, rows], device=outputs.device)
    sides = found[:, 2:].clamp(min=1e-6).sqrt() - true[:, 3:].sqrt()
    total = total + box_weight * (centers.square().sum() + sides.square().sum())
    total = total + functional.cross_entropy(classes[sample, row, column], true[:, 0].long(), reduction="sum")
    return total / count


def detections(outputs: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
    """For each sample the boxes `[k, 4]`, scores `[k]` and classes `[k]` that remain, best first."""
    objectness, boxes, logits = decode(outputs)
    chances, classes = logits.softmax(-1).max(-1)
    scores = objectness.sigmoid() * chances
    return [_suppress(b.flatten(0, 1), s.flatten(), c.flatten()) for b, s, c in zip(boxes, scores, classes, strict=True)]


def _suppress(boxes: Tensor, scores: Tensor, classes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Leave out the unlikely, and what overlaps a better box of its class."""
    order = scores.argsort(descending=True)
    order = order[scores[order] >= LEAST_SCORE][:MAX_BOXES]
    boxes, scores, classes = boxes[order], scores[order], classes[order]
    rivals = (overlap(boxes, boxes) > MOST_OVERLAP) & (classes[:, None] == classes[None, :])
    kept: list[int] = []
    for i in range(len(order)):
        if not bool(rivals[i, kept].any()):
            kept.append(i)
    return boxes[kept], scores[kept], classes[kept]


def overlap(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of each box `[a, 4]` with each `[b, 4]`: `[a, b]`."""
    low = torch.maximum((first[:, :2] - first[:, 2:] / 2)[:, None], (second[:, :2] - second[:, 2:] / 2)[None])
    high = torch.minimum((first[:, :2] + first[:, 2:] / 2)[:, None], (second[:, :2] + second[:, 2:] / 2)[None])
    shared = (high - low).clamp(min=0).prod(-1)
    areas = first[:, 2:].prod(-1)[:, None] + second[:, 2:].prod(-1)[None]
    return shared / (areas - shared).clamp(min=1e-12)


def mean_average_precision(found: list[tuple[Tensor, Tensor, Tensor]], targets: Tensor, size: int) -> dict[str, float]:
    """COCO's `map` (mean over overlaps from 0.5 to 0.95) and `map50`, by pycocotools; images of `size` pixels a side."""
    from pycocotools.coco import COCO  # type: ignore[import-untyped]
    from pycocotools.cocoeval import COCOeval  # type: ignore[import-untyped]

    truths, results = [], []
    for image, (boxes, scores, classes) in enumerate(found):
        real = targets[image][targets[image][:, 0] != NO_CLASS]
        truths += [(image, int(row[0]), _corner(row[1:], size)) for row in real]
        results += [
            {"image_id": image, "category_id": int(c), "bbox": _corner(b, size), "score": float(s)}
            for b, s, c in zip(boxes, scores, classes, strict=True)
        ]
    if not truths or not results:
        return {"map": 0.0, "map50": 0.0}
    reference = COCO()
    reference.dataset = {
        "images": [{"id": i, "width": size, "height": size} for i in range(len(found))],
        "categories": [{"id": c} for c in sorted({category for _, category, _ in truths})],
        "annotations": [
            {"id": i + 1, "image_id": image, "category_id": c, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
            for i, (image, c, box) in enumerate(truths)
        ],
    }
    # The library reports its progress on standard output, which belongs to the trial's log.
    with contextlib.redirect_stdout(io.StringIO()):
        reference.createIndex()
        evaluation = COCOeval(reference, reference.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {"map": float(max(evaluation.stats[0], 0.0)), "map50": float(max(evaluation.stats[1], 0.0))}


def _corner(box: Tensor, size: int) -> list[float]:
    x, y, width, height = (float(value) * size for value in box)
    return [x - width / 2, y - height / 2, width, height]
