"""What trials have reported, by step: kept in order, what of it is new to whoever keeps results, and on which results that bears.

So that a report costs its keeper (`rungs`, `population`) what it changes, however many came before it. Weakness: a report that comes after
later ones sorts all of its trial's anew.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")


def put(steps: dict[int, T], step: int, value: T) -> bool:
    """Whether that changes anything."""
    is_late = bool(steps) and step < next(reversed(steps)) and step not in steps
    is_changed = step not in steps or steps[step] != value
    steps[step] = value
    if is_late:
        ordered = sorted(steps.items())
        steps.clear()
        steps.update(ordered)
    return is_changed


def last_values(steps: dict[int, dict[str, float]], step: int, count: int) -> dict[str, float]:
    """The last value up to a step of each metric, of which there are at most `count`."""
    found: dict[str, float] = {}
    for each in reversed(steps):
        if each <= step:
            found = {**steps[each], **found}
            if len(found) == count:
                break
    return found


def bears_on(changed: tuple[int, int], passed: Sequence[int], goals: Sequence[int]) -> bool:
    """Whether reports from one step to another may change a result at one of the ascending `goals`, or bring one.

    A result at a goal is that of the first report at or after it; `passed` holds the steps of those there are, one for each goal from the first.
    """
    first, end = changed
    return bool(passed and first <= passed[-1]) or (len(passed) < len(goals) and end >= goals[len(passed)])


def revise(passed: list[int], goals: Sequence[int], first: int, reported: Iterable[int]) -> range:
    """Bring `passed` up to date with the steps reported, of which those before `first` were known; the indices of results to look at again."""
    num_kept = bisect.bisect_left(passed, first)
    del passed[num_kept:]
    steps = sorted(reported)
    for goal in goals[num_kept:]:
        place = bisect.bisect_left(steps, goal)
        if place == len(steps):
            break
        passed.append(steps[place])
    return range(num_kept, len(passed))


class Changes:
    """By number of a trial: its first and its last step whose report is new, or another one. One only may take them."""

    def __init__(self) -> None:
        self._spans: dict[int, tuple[int, int]] = {}

    def note(self, number: int, step: int) -> None:
        first, end = self._spans.get(number, (step, step))
        self._spans[number] = min(first, step), max(end, step)

    def take(self, number: int) -> tuple[int, int] | None:
        """What has come since it was last taken; None: nothing."""
        return self._spans.pop(number, None)
