"""How many parameters a model will have, where its configuration alone tells: perceptrons on data of known shape."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any


def count_parameters(model: Mapping[str, Any], shape: tuple[int, ...], outputs: int) -> int | None:
    """Weights of a complete model configuration; None for the models it does not know."""
    if model["name"] == "neuron":
        return (math.prod(shape) + 1) * outputs
    if model["name"] != "mlp":
        return None
    hidden = model["hidden"]
    depth = len(hidden) if model["depth"] is None else model["depth"]
    widths = [hidden[min(i, len(hidden) - 1)] for i in range(depth)]
    count: int = sum((before + 1) * after for before, after in pairwise([math.prod(shape), *widths, outputs]))
    return count + (0 if model["norm"] == "none" else 2 * sum(widths))
