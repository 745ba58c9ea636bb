"""The mixture of thousands of kernels over the worse trials, which Optuna's TPE builds anew for every suggestion, kept up to date instead.

From about a hundred kernels on, a new trial changes the widths of its neighbours only, parameter by parameter: so each change costs a few
kernels, and a suggestion costs one matrix product over all of them. The densities are those of Optuna's `_ParzenEstimator` (prior weight
1, magic clip, no endpoints, default weights) up to rounding; where several trials share a value, which of them keeps the wide kernel is
arbitrary there and is here too.

With u and m the value and the kernel's centre, s its width, all in units of the parameter's range and centred, the log density of a
continuous parameter, -(u - m)^2 / 2s^2 - c, is linear in (u^2, u, 1).
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers._tpe._truncnorm import _log_gauss_mass
from optuna.samplers._tpe.sampler import default_weights

from tuner.search.columns import Columns, Floats, Mask

MIN_KERNELS = 128
"""Below it the narrowest width allowed depends on the number of kernels, so that every change would touch all of them."""
_MAX_CHANGES = 64  # beyond it building anew is cheaper
_CHUNK = 1000
_PRIOR = 0  # the place of the prior's kernel
_LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)


class Mixture:
    """Kernels of the trials that have all parameters of `space`. Not for fewer than MIN_KERNELS trials."""

    def __init__(self, space: Mapping[str, BaseDistribution], columns: Columns) -> None:
        self._columns = columns
        self._names = tuple(space)
        self._version = columns.version
        self._axes: dict[str, _Numeric | _Choice] = {}
        self._continuous: list[_Continuous] = []
        self._tabled: list[tuple[str, _Discrete | _Choice]] = []
        for name, distribution in space.items():
            if isinstance(distribution, CategoricalDistribution):
                choice = _Choice(len(distribution.choices))
                self._axes[name] = choice
                self._tabled.append((name, choice))
            elif isinstance(distribution, IntDistribution) or distribution_step(distribution) is not None:
                discrete = _Discrete(distribution)
                self._axes[name] = discrete
                self._tabled.append((name, discrete))
            else:
                continuous = _Continuous(distribution)
                self._axes[name] = continuous
                self._continuous.append(continuous)
        self._capacity = 0
        self._active: Mask = np.zeros(0, dtype=bool)
        self._place_of: npt.NDArray[np.intp] = np.zeros(0, dtype=np.intp)
        self._num_places = 1
        self._num_kernels = 0
        self._version = columns.version

    def update(self, wanted: Mask) -> None:
        """Make the kernels those of the trials in `wanted`, a mask over the columns' rows; all have the parameters."""
        if self._version is not self._columns.version:
            self._forget()
        self._extend(len(wanted))
        rows = np.flatnonzero(wanted != self._active)
        if self._num_kernels == 0 or len(rows) > _MAX_CHANGES:
            self._build(np.flatnonzero(wanted))
        elif len(rows):
            self._change(rows, wanted)
        self._active = wanted.copy()
        kept = np.flatnonzero(wanted)
        self._num_kernels = len(kept)
        self._weigh(kept)

    def log_pdf(self, samples: Mapping[str, Floats]) -> Floats:
        """Log density at each of the samples, given per parameter in Optuna's internal representation."""
        size = len(next(iter(samples.values())))
        end = self._num_places
        features = [axis.features(samples[name]) for name, axis in self._axes.items() if isinstance(axis, _Continuous)]
        left = np.concatenate([*features, np.ones((1, size))]).T
        right = np.concatenate([*(axis.coefficients[:, :end] for axis in self._continuous), self._constants()[np.newaxis]])
        density: Floats = left @ right
        gathered = np.empty_like(density)
        for name, axis in self._tabled:
            np.take(axis.table(samples[name], self._num_kernels), axis.slots[:end], axis=1, out=gathered, mode="clip")
            density += gathered
        highest = density.max(axis=1)
        density -= highest[:, np.newaxis]
        # Where exp would underflow it takes five times as long; beside a summand of 1 neither counts.
        np.maximum(density, -700.0, out=density)
        np.exp(density, out=density)
        found: Floats = np.log(density.sum(axis=1)) + highest
        return found

    def _constants(self) -> Floats:
        constants = self._log_weights
        for axis in self._continuous:
            constants = constants + axis.constants[: self._num_places]
        return constants

    def _forget(self) -> None:
        self._version = self._columns.version
        self._active = np.zeros(0, dtype=bool)
        self._place_of = np.zeros(0, dtype=np.intp)
        self._num_places = 1
        self._num_kernels = 0

    def _extend(self, num_rows: int) -> None:
        """Give places to trials that are new. A place is a function of the trials alone, not of when they came, and so are all sums."""
        first = len(self._active)
        if num_rows == first:
            return
        having = self._columns.having_params(self._names, first, num_rows)
        places = self._num_places + np.cumsum(having) - 1
        self._place_of = np.concatenate([self._place_of, places])
        self._active = np.concatenate([self._active, np.zeros(num_rows - first, dtype=bool)])
        self._num_places += int(np.count_nonzero(having))
        if self._num_places > self._capacity:
            self._capacity = self._num_places + max(64, self._num_places // 4)
            for axis in self._axes.values():
                axis.resize(self._capacity)

    def _build(self, rows: npt.NDArray[np.intp]) -> None:
        for name, axis in self._axes.items():
            axis.build(self._place_of[rows], self._columns.get(name, rows))

    def _change(self, rows: npt.NDArray[np.intp], wanted: Mask) -> None:
        for row in rows:
            place = int(self._place_of[row])
            for name, axis in self._axes.items():
                (axis.add if wanted[row] else axis.remove)(place, float(self._columns.get(name, row)))
        for axis in self._axes.values():
            axis.settle()

    def _weigh(self, rows: npt.NDArray[np.intp]) -> None:
        """Recent trials count more: weights go by the order of the trials' numbers, the prior has the weight of a recent one."""
        weights = default_weights(len(rows))
        total = weights.sum() + 1.0
        self._log_weights: Floats = np.full(self._num_places, -np.inf)
        self._log_weights[self._place_of[rows]] = np.log(weights / total)
        self._log_weights[_PRIOR] = -math.log(total)


class _Numeric:
    """Centres in order, and the width of each kernel: the larger distance to its two neighbours, clipped."""

    def __init__(self, distribution: BaseDistribution) -> None:
        assert isinstance(distribution, FloatDistribution | IntDistribution)
        self.log = distribution.log
        self.step = distribution.step
        half = 0.0 if self.step is None else self.step / 2
        low, high = distribution.low - half, distribution.high + half
        self.low, self.high = (math.log(low), math.log(high)) if self.log else (float(low), float(high))
        self.range = self.high - self.low
        self._ordered: list[tuple[float, int]] = []
        self._touched: set[tuple[float, int]] = set()

    def resize(self, capacity: int) -> None:
        raise NotImplementedError

    def store(self, places: npt.NDArray[np.intp], centres: Floats, widths: Floats) -> None:
        raise NotImplementedError

    def build(self, places: npt.NDArray[np.intp], values: Floats) -> None:
        centres = self._centres(values)
        order = np.argsort(centres, kind="stable")
        ordered = centres[order]
        gaps = np.diff(ordered)
        widths = np.empty_like(ordered)
        widths[1:-1] = np.maximum(gaps[:-1], gaps[1:])
        widths[0], widths[-1] = gaps[0], gaps[-1]
        np.clip(widths, self.range / 100.0, self.range, out=widths)
        self._ordered = list(zip(ordered.tolist(), places[order].tolist(), strict=True))
        self._touched.clear()
        prior = np.array([_PRIOR], dtype=np.intp), np.array([0.5 * (self.low + self.high)]), np.array([self.range])
        self.store(*prior)
        self.store(places[order], ordered, widths)

    def add(self, place: int, value: float) -> None:
        kernel = (self._centre(value), place)
        index = bisect.bisect_left(self._ordered, kernel)
        self._ordered.insert(index, kernel)
        self._touch(index - 1, index + 2)

    def remove(self, place: int, value: float) -> None:
        kernel = (self._centre(value), place)
        index = bisect.bisect_left(self._ordered, kernel)
        assert self._ordered[index] == kernel
        del self._ordered[index]
        self._touched.discard(kernel)
        self._touch(index - 1, index + 1)

    def settle(self) -> None:
        if not self._touched:
            return
        kernels = list(self._touched)
        self._touched.clear()
        widths = [self._width(bisect.bisect_left(self._ordered, kernel)) for kernel in kernels]
        self.store(
            np.array([place for _, place in kernels], dtype=np.intp),
            np.array([centre for centre, _ in kernels]),
            np.array(widths),
        )

    def log_mass(self, left: Floats, right: Floats, centres: Floats, widths: Floats) -> Floats:
        """Log of the probability that kernels give to an interval."""
        left, right = (left - centres) / widths, (right - centres) / widths
        # Optuna computes erf otherwise for long arrays; in chunks a kernel is the same number whether built with others or alone.
        return np.concatenate(
            [_log_gauss_mass(left[at : at + _CHUNK], right[at : at + _CHUNK]) for at in range(0, len(left), _CHUNK)]
        )

    def _touch(self, first: int, last: int) -> None:
        self._touched.update(self._ordered[max(0, first) : last])

    def _width(self, index: int) -> float:
        ordered = self._ordered
        centre = ordered[index][0]
        before = centre - ordered[index - 1][0] if index > 0 else 0.0
        after = ordered[index + 1][0] - centre if index + 1 < len(ordered) else 0.0
        return min(max(before, after, self.range / 100.0), self.range)

    def _centre(self, value: float) -> float:
        # numpy's logarithm, as in `build`: removal looks for the very same number.
        return float(np.log(value)) if self.log else value

    def _centres(self, values: Floats) -> Floats:
        return np.log(values) if self.log else values


class _Continuous(_Numeric):
    """A float without step: log densities as coefficients of (u^2, u) and a constant, by place."""

    def __init__(self, distribution: BaseDistribution) -> None:
        super().__init__(distribution)
        self.coefficients: Floats = np.zeros((2, 0))
        self.constants: Floats = np.zeros(0)

    def resize(self, capacity: int) -> None:
        self.coefficients = _resized(self.coefficients, capacity)
        self.constants = _resized(self.constants, capacity)

    def store(self, places: npt.NDArray[np.intp], centres: Floats, widths: Floats) -> None:
        mass = self.log_mass(np.array(self.low), np.array(self.high), centres, widths)
        m, s = self._scaled(centres), widths / self.range
        self.coefficients[0, places] = -0.5 / s**2
        self.coefficients[1, places] = m / s**2
        self.constants[places] = -0.5 * (m / s) ** 2 - _LOG_SQRT_2PI - mass - np.log(widths)

    def features(self, values: Floats) -> Floats:
        """`[2, samples]`"""
        u = self._scaled(self._centres(values))
        return np.stack([u**2, u])

    def _scaled(self, values: Floats) -> Floats:
        return (values - 0.5 * (self.low + self.high)) / self.range


class _Discrete(_Numeric):
    """An int, or a float with step: few distinct (centre, width) pairs, so densities come from a table of slots, filled once a value."""

    def __init__(self, distribution: BaseDistribution) -> None:
        super().__init__(distribution)
        self.slots: npt.NDArray[np.intp] = np.zeros(0, dtype=np.intp)
        self._pairs: dict[tuple[float, float], int] = {}
        self._rows: dict[float, Floats] = {}

    def resize(self, capacity: int) -> None:
        self.slots = _resized(self.slots, capacity)

    def build(self, places: npt.NDArray[np.intp], values: Floats) -> None:
        self._pairs.clear()
        self._rows.clear()
        self.slots[:] = 0
        super().build(places, values)

    def store(self, places: npt.NDArray[np.intp], centres: Floats, widths: Floats) -> None:
        pairs = self._pairs
        for place, centre, width in zip(places.tolist(), centres.tolist(), widths.tolist(), strict=True):
            self.slots[place] = pairs.setdefault((centre, width), len(pairs))

    def table(self, values: Floats, num_kernels: int) -> Floats:
        """`[samples, slots]`"""
        if len(self._rows) * len(self._pairs) > 2_000_000:
            self._rows.clear()
        pairs = np.array(list(self._pairs)) if any(self._is_short(value) for value in values.tolist()) else np.zeros((0, 2))
        return np.stack([self._row(value, pairs) for value in values.tolist()])

    def _is_short(self, value: float) -> bool:
        row = self._rows.get(value)
        return row is None or len(row) < len(self._pairs)

    def _row(self, value: float, pairs: npt.NDArray[np.float64]) -> Floats:
        """Log mass of the step around the value for each slot, within the parameter's range."""
        row = self._rows.get(value, np.zeros(0))
        if len(row) < len(self._pairs):
            assert self.step is not None
            centres, widths = pairs[len(row) :].T
            left, right = value - self.step / 2, value + self.step / 2
            if self.log:
                left, right = float(np.log(left)), float(np.log(right))
            mass = self.log_mass(np.array(left), np.array(right), centres, widths)
            mass -= self.log_mass(np.array(self.low), np.array(self.high), centres, widths)
            row = self._rows[value] = np.concatenate([row, mass])
        return row


class _Choice:
    """A categorical parameter: the slot is the index of the choice, the last slot the prior's."""

    def __init__(self, num_choices: int) -> None:
        self._num_choices = num_choices
        self.slots: npt.NDArray[np.intp] = np.zeros(0, dtype=np.intp)

    def resize(self, capacity: int) -> None:
        self.slots = _resized(self.slots, capacity)

    def build(self, places: npt.NDArray[np.intp], values: Floats) -> None:
        self.slots[places] = values.astype(np.intp)
        self.slots[_PRIOR] = self._num_choices

    def add(self, place: int, value: float) -> None:
        self.slots[place] = int(value)

    def remove(self, place: int, value: float) -> None:
        """Nothing to do: the weight of a free place is zero."""

    def settle(self) -> None:
        """Nothing to do: no kernel depends on another."""

    def table(self, values: Floats, num_kernels: int) -> Floats:
        """`[samples, slots]`"""
        share = 1.0 / (num_kernels + 1)
        total = 1.0 + self._num_choices * share
        table = np.full((len(values), self._num_choices + 1), math.log(share / total))
        table[np.arange(len(values)), values.astype(np.intp)] = math.log((1.0 + share) / total)
        table[:, self._num_choices] = -math.log(self._num_choices)
        return table


def distribution_step(distribution: BaseDistribution) -> float | int | None:
    """The step of a numeric distribution; None: a continuum."""
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return distribution.step


def _resized(array: npt.NDArray[Any], capacity: int) -> npt.NDArray[Any]:
    """The array with `capacity` entries along its last axis, zeros where it had none."""
    resized = np.zeros((*array.shape[:-1], capacity), dtype=array.dtype)
    kept = min(capacity, array.shape[-1])
    resized[..., :kept] = array[..., :kept]
    return resized
