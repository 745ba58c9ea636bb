"""Rows of `trials` as a search reads them, for histories without a database."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

_NEW = {
    "state": "WAITING",
    "reason": None,
    "params": "{}",
    "distributions": "{}",
    "objective_values": None,
    "constraint_values": None,
    "system_attrs": "{}",
    "judged_step": None,
    "verdict": "continue",
    "origin": "suggested",
    "repeats": None,
}


def trial_row(number: int, **columns: Any) -> Any:
    """A trial that has just been suggested, but for `columns`."""
    return SimpleNamespace(**{"id": 100 + number, "number": number, **_NEW, **columns})
