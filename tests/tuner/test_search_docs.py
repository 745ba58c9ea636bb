"""What the documentation of the search says of study files is read as the service reads it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tests.tuner.specs import external

PAGE = (Path(__file__).parents[2] / "docs" / "search.md").read_text()
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS)
def test_parts_of_study_files_are_valid(block: str) -> None:
    external(**yaml.safe_load(block))


def test_there_are_some() -> None:
    assert len(BLOCKS) >= 4
