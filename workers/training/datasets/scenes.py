"""Images with boxes: files in COCO's format, and squares and discs drawn on the spot.

Targets `[n, max_boxes, 5]` hold class, center x, center y, width and height as shares of the image; class -1 fills the rest.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tuner.errors import InvalidValue
from tuner.packing import is_safe
from workers.training.boxes import NO_CLASS
from workers.training.datasets.parts import Dataset, Numbers, Part, divide
from workers.training.datasets.tables import existing


def _coco(*, path: str, images: str, size: int, max_boxes: int, validation: float, test: float, split_seed: int) -> Dataset:
    """`path` is the annotations' JSON, `images` the folder of the pictures it names; crowds are left out."""
    from PIL import Image, UnidentifiedImageError

    record = _read_json(existing(path), path)
    folder = existing(images, "images", folder=True)
    classes = {category["id"]: i for i, category in enumerate(sorted(record["categories"], key=lambda c: c["id"]))}
    boxes: dict[Any, list[Any]] = defaultdict(list)
    for annotation in record["annotations"]:
        if not annotation.get("iscrowd"):
            boxes[annotation["image_id"]].append(annotation)
    pixels = np.empty((len(record["images"]), 3, size, size))
    targets = np.full((len(pixels), max_boxes, 5), 0.0)
    targets[..., 0] = NO_CLASS
    for i, described in enumerate(record["images"]):
        if not is_safe(name := str(described["file_name"])):
            raise InvalidValue(f"dataset.path: {path} names an image outside of the folder of images: {name[:200]!r}")
        file = existing(str(folder / name), "images")
        try:
            with Image.open(file) as image:
                width, height = image.size
                pixels[i] = np.asarray(image.convert("RGB").resize((size, size)), dtype=np.float64).transpose(2, 0, 1)
        except (UnidentifiedImageError, OSError) as error:
            raise InvalidValue(f"dataset.images: {file} is not a picture that can be read: {error}") from error
        for k, annotation in enumerate(boxes[described["id"]][:max_boxes]):
            targets[i, k] = _target(annotation, classes, width, height, path)
    return _dataset(pixels, targets, len(classes), validation=validation, test=test, split_seed=split_seed)


def _read_json(file: Path, path: str) -> dict[str, Any]:
    try:
        record = json.loads(file.read_bytes())
    except ValueError as error:
        raise InvalidValue(f"dataset.path: {path} is not JSON: {error}") from error
    missing = [key for key in ("images", "annotations", "categories") if not isinstance(record, dict) or key not in record]
    if missing:
        raise InvalidValue(f"dataset.path: {path} is not in COCO's format: it has no {missing[0]}")
    if not record["images"] or not record["categories"]:
        raise InvalidValue(f"dataset.path: {path} describes no images or no categories")
    return dict(record)


def _target(annotation: dict[str, Any], classes: dict[Any, int], width: int, height: int, path: str) -> list[float]:
    try:
        x, y, w, h = (float(value) for value in annotation["bbox"])
        if not (w > 0 and h > 0):
            raise ValueError("an empty box")
        return [classes[annotation["category_id"]], (x + w / 2) / width, (y + h / 2) / height, w / width, h / height]
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidValue(
            f"dataset.path: annotation {annotation.get('id')} of {path} lacks a bbox of four numbers with an area, or a known category"
        ) from error


def _shapes(*, samples: int, size: int, validation: float, test: float, split_seed: int) -> Dataset:
    """One to three shapes on noise, squares (class 0) and discs (class 1), one in each quarter at most."""
    random = np.random.default_rng(split_seed)
    pixels = random.normal(0, 0.1, (samples, 3, size, size))
    targets = np.full((samples, 3, 5), 0.0)
    targets[..., 0] = NO_CLASS
    rows, columns = np.mgrid[:size, :size] + 0.5
    for i in range(samples):
        for k, quarter in enumerate(random.permutation(4)[: random.integers(1, 4)]):
            kind, side = int(random.integers(2)), random.uniform(size / 5, size / 2.5)
            corner = np.array([quarter % 2, quarter // 2]) * size / 2
            x, y = corner + random.uniform(side / 2, size / 2 - side / 2, 2)
            far = np.maximum(abs(columns - x), abs(rows - y)) if kind == 0 else np.hypot(columns - x, rows - y)
            pixels[i, k % 3, far <= side / 2] += 1.0
            targets[i, k] = [kind, x / size, y / size, side / size, side / size]
    return _dataset(pixels, targets, 2, validation=validation, test=test, split_seed=split_seed)


def _dataset(pixels: Numbers, targets: Numbers, num_classes: int, *, validation: float, test: float, split_seed: int) -> Dataset:
    trained, held, kept = divide(len(pixels), validation, test, split_seed)
    mean, deviation = pixels[trained].mean(), pixels[trained].std() or 1.0

    def part(indices: Numbers) -> Part:
        standard = (pixels[indices] - mean) / deviation
        return Part(inputs=torch.from_numpy(standard), targets=torch.from_numpy(targets[indices]))

    return Dataset(
        task="detection",
        shape=tuple(pixels.shape[1:]),
        outputs=num_classes,
        train=part(trained),
        validation=part(held),
        test=part(kept) if len(kept) else None,
    )


BUILDERS: dict[str, Callable[..., Dataset]] = {"coco": _coco, "shapes": _shapes}
