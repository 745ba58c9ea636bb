"""Shapes of samples, and what a model of a given configuration asks of them.

A data set's shape is known here where its configuration decides it; what only a file tells is None, and the trial finds out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tuner.catalog.table import get
from tuner.errors import FieldError

SPECIAL_TOKENS = 4
"""Padding, begin, end and unknown come before the words of a vocabulary."""
NUM_BYTES = 256


def sample_shape(dataset: Mapping[str, Any]) -> tuple[int, ...] | None:
    """Shape of one sample of a complete data set configuration, as models take it."""
    match dataset["name"]:
        case "adding":
            return (dataset["length"], 2)
        case "cycles" | "text":
            return (dataset["length"],)
        case "reversal":
            return (dataset["length"], dataset["length"] + 1)
        case "parallel_text":
            return (dataset["max_length"], dataset["max_length"] + 1)
        case "image_folder":
            return (3 if dataset["colors"] == "rgb" else 1, dataset["size"], dataset["size"])
        case "coco" | "shapes":
            return (3, dataset["size"], dataset["size"])
    known: tuple[int, ...] | None = get("datasets", dataset["name"]).facts.shape
    return known


def num_outputs(dataset: Mapping[str, Any], task: str) -> int | None:
    """Numbers a model gives of one sample (or token): classes, targets or words."""
    match dataset["name"]:
        case "cycles":
            return int(dataset["vocabulary"])
        case "reversal":
            return SPECIAL_TOKENS + int(dataset["vocabulary"])
        case "text":
            return NUM_BYTES if dataset["tokens"] == "bytes" else None
    if task == "regression":
        return 1
    known: int | None = get("datasets", dataset["name"]).facts.classes
    return known


def model_problems(model: Mapping[str, Any], shape: tuple[int, ...] | None) -> list[FieldError]:
    """Why a complete model configuration cannot be built for samples of this shape, as far as that is known."""
    problems = []
    if model.get("heads") is not None and model["dim"] % model["heads"]:
        problems.append(FieldError("model.dim", f"must be a multiple of model.heads, {model['heads']}, not {model['dim']}"))
    if model.get("experts") is not None and model["chosen"] > model["experts"]:
        problems.append(FieldError("model.chosen", f"must be at most model.experts, {model['experts']}, not {model['chosen']}"))
    if model.get("slope", 1.0) != 1.0 and model["activation"] != "sigmoid":
        msg = f"only the sigmoid has a slope, {model['activation']} has none: leave it out where model.activation is not sigmoid"
        problems.append(FieldError("model.slope", msg))
    if model.get("bidirectional") and shape is not None and len(shape) == 1:
        msg = "must be false for tokens, which would see their successors"
        problems.append(FieldError("model.bidirectional", msg))
    if shape is not None and len(shape) == 3:
        problems += _image_problems(model, shape[1], shape[2])
    return problems


def _image_problems(model: Mapping[str, Any], height: int, width: int) -> Iterator[FieldError]:
    name, depth, size = model["name"], int(model.get("depth") or 0), f"{height}x{width}"
    least = get("models", name).facts.min_size
    if min(height, width) < least:
        yield FieldError("model.name", f"{name} needs images of at least {least} pixels a side, not {size}")
    if name == "cnn" and min(height, width) >> depth < 1:
        most = min(height, width).bit_length() - 1
        yield FieldError("model.depth", f"must be at most {most} for images of {size}, which each layer halves, not {depth}")
    if name == "grid_detector" and (height % (1 << depth) or width % (1 << depth)):
        yield FieldError("model.depth", f"{depth} needs images whose sides {1 << depth} divides, not {size}")
    if "patch" in model and (height % model["patch"] or width % model["patch"]):
        yield FieldError("model.patch", f"must divide the sides of images of {size}, not {model['patch']}")
