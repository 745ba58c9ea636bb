"""Curves thinned to what a screen can show: of each stretch of steps only the reports that hold an extreme of some metric.

Min-max rather than an average: a spike stays where it was, and every point that is left was reported. The first and the last report
stay. Weakness: with many metrics whose extremes lie apart, up to two reports a metric and stretch are left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def thin(metrics: Sequence[Mapping[str, Any]], most: int) -> list[int]:
    """Indices, ascending, of the reports to keep, about `most` for one metric; all where there are no more than that.

    `metrics` are the values of each report in the order of steps; what is no number (NaN and infinities are texts) is no extreme.
    """
    count = len(metrics)
    if count <= most:
        return list(range(count))
    kept = {0, count - 1}
    stretches = max(1, most // 2)
    for stretch in range(stretches):
        lowest: dict[str, tuple[float, int]] = {}
        highest: dict[str, tuple[float, int]] = {}
        for index in range(stretch * count // stretches, (stretch + 1) * count // stretches):
            for name, value in metrics[index].items():
                if isinstance(value, str):
                    continue
                lowest[name] = min(lowest.get(name, (value, index)), (value, index))
                highest[name] = max(highest.get(name, (value, index)), (value, index))
        kept.update(index for _, index in (*lowest.values(), *highest.values()))
    return sorted(kept)
