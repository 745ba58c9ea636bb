"""Fixtures of the search's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tuner.search.engine import Engine


@pytest.fixture
def engines() -> Iterator[list[Engine]]:
    """Engines that a test makes and leaves here are closed."""
    made: list[Engine] = []
    yield made
    for engine in made:
        engine.close()
