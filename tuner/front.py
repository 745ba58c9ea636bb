"""The Pareto front of points: those that no other is at least as good as in everything and better in something."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def front(losses: Sequence[Sequence[float]]) -> list[int]:
    """Ascending indices of the points `[points, objectives]` (the smaller the better) that none dominates.

    Equal points stay together; one with NaN is compared with none, and stays. In lexicographic order the first point left is never dominated,
    and takes out all that it dominates (Kung, Luccio and Preparata 1975, "On finding the maxima of a set of vectors", for the order): points
    times front at worst. Of two objectives one pass is enough.
    """
    if not losses:
        return []
    points = np.asarray(losses, dtype=float).reshape(len(losses), -1)
    compared = ~np.isnan(points).any(axis=1)
    distinct, places = np.unique(points[compared], axis=0, return_inverse=True)  # in lexicographic order
    kept = np.zeros(len(distinct), dtype=bool)
    if distinct.shape[1] <= 2:
        # Whoever stands before has no larger first loss, so that only the least second one so far counts.
        last = distinct[:, -1]
        kept[:1] = True
        kept[1:] = (last[1:] < np.minimum.accumulate(last)[:-1]) if distinct.shape[1] == 2 else False
    else:
        left = np.arange(len(distinct))
        while len(left):
            kept[left[0]] = True
            left = left[(distinct[left] < distinct[left[0]]).any(axis=1)]
    found = ~compared
    found[compared] = kept[places.reshape(-1)]
    return [int(index) for index in np.flatnonzero(found)]
