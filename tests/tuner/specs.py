"""Study specs for tests."""

from __future__ import annotations

from typing import Any

from tuner.spec import StudySpec


def external(name: str = "s", **changes: Any) -> StudySpec:
    """A study that somebody asks and tells: one float, maximize `score`; `changes` replace top-level keys."""
    return StudySpec.parse(
        {
            "name": name,
            "objectives": [{"name": "score", "direction": "maximize"}],
            "space": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
            "sampler": {"name": "random", "seed": 1},
            "pruner": {"name": "none"},
            "trial": {"executor": "external"},
            **changes,
        }
    )
