"""Shapes of samples, and what a model of a given configuration asks of them.

A data set's shape is known here where its configuration decides it; what only a file tells is None, and the trial finds out.
"""

from __future__ import annotations

from collections.abc import Mapping
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


def model_problem(model: Mapping[str, Any], shape: tuple[int, ...] | None) -> FieldError | None:
    """Why a complete model configuration cannot be built for samples of this shape; None also where that is not known."""
    if model.get("heads") is not None and model["dim"] % model["heads"]:
        return FieldError("model.dim", f"must be a multiple of model.heads, {model['heads']}, not {model['dim']}")
    if model.get("experts") is not None and model["chosen"] > model["experts"]:
        return FieldError("model.chosen", f"must be at most model.experts, {model['experts']}, not {model['chosen']}")
    return None if shape is None or len(shape) < 3 else _image_problem(model, shape[1], shape[2])


def _image_problem(model: Mapping[str, Any], height: int, width: int) -> FieldError | None:
    name, depth, size = model["name"], model.get("depth"), f"{height}x{width}"
    least = get("models", name).facts.min_size
    if min(height, width) < least:
        return FieldError("model.name", f"{name} needs images of at least {least} pixels a side, not {size}")
    if name == "cnn" and min(height, width) >> depth < 1:
        most = min(height, width).bit_length() - 1
        return FieldError("model.depth", f"must be at most {most} for images of {size}, which each layer halves, not {depth}")
    if name == "grid_detector" and (height % (1 << depth) or width % (1 << depth)):
        return FieldError("model.depth", f"{depth} needs images whose sides {1 << depth} divides, not {size}")
    if "patch" in model and (height % model["patch"] or width % model["patch"]):
        return FieldError("model.patch", f"must divide the sides of images of {size}, not {model['patch']}")
    return None
