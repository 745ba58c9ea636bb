"""Problems with learning curves to search on: published tables, and functions in closed form with mixed, conditional spaces.

A problem answers a configuration with what would be reported of it and, where reports are noisy, what is true. Regret is 0 at the best
end of a whole training known and 1 at the median one. The tables are TaskSet's (`taskset_adam8p.npz`: 12 tasks of Metz et al. 2020, 1000
configurations each; a proposal is answered by its nearest neighbour); the functions are made here, four families of three tasks each,
from a seed. Weakness: the tables hold alike tasks and 1000 rows, of which a method of cheap trials sees many; the functions are what
their author thought of: judge by both.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tuner.space import SearchSpace

Floats = npt.NDArray[np.float64]
Curves = tuple[Floats, Floats]
# By random-forest importance, as in the table's description.
WEIGHTS = np.array([4.0, 1.0, 1.0, 2.5, 1.5, 1.2, 0.5, 0.7])


class Problem(Protocol):
    name: str
    space: Mapping[str, Any]
    """In the form of a study file."""
    num_reports: int

    def curve(self, params: Mapping[str, Any], rng: np.random.Generator) -> Curves:
        """Reported and true values `[num_reports]` of one training."""

    def regret(self, value: float) -> float:
        """Of a true value."""


class Table:
    """One task of TaskSet. Proposals are points of the unit cube of its parameters."""

    def __init__(self, name: str, configurations: Floats, names: Sequence[str], curves: Floats) -> None:
        self.name = name
        self.space = {name: {"type": "float", "low": 0.0, "high": 1.0} for name in names}
        logs = np.log10(
            [1.0 - column if name.startswith("beta") else column for name, column in zip(names, configurations.T, strict=True)]
        ).T
        self._points = (logs - logs.min(axis=0)) / np.ptp(logs, axis=0)
        start = float(np.nanmedian(curves[:, 0]))
        clipped = np.clip(np.nan_to_num(curves, nan=math.inf, posinf=math.inf), None, 2.0 * start)
        self._curves: Floats = clipped[:, 1:]  # the first is before training
        self.num_reports = self._curves.shape[1]
        ends = self._curves[:, -1]
        self._best, self._median = float(ends.min()), float(np.median(ends))

    def curve(self, params: Mapping[str, Any], rng: np.random.Generator) -> Curves:
        point = np.array([params[name] for name in self.space])
        distances = (WEIGHTS * (self._points - point) ** 2).sum(axis=1)
        found: Floats = self._curves[int(distances.argmin())]
        return found, found

    def regret(self, value: float) -> float:
        return float(np.clip((value - self._best) / (self._median - self._best), 0.0, 1.0))


def tables(path: Path) -> Iterator[Problem]:
    data = np.load(path, allow_pickle=False)
    names = [str(name) for name in data["hp_names"]]
    for index, task in enumerate(data["tasks"]):
        yield Table(str(task), data["hp"].astype(float), names, data["valid"][index].astype(float))


SPACE = {
    "lr": {"type": "float", "low": 1e-5, "high": 1.0, "log": True},
    "decay": {"type": "float", "low": 1e-6, "high": 0.1, "log": True},
    "dropout": {"type": "float", "low": 0.0, "high": 0.6, "step": 0.1},
    "width": {"type": "int", "low": 16, "high": 512, "log": True},
    "optimizer": {"type": "categorical", "choices": ["sgd", "momentum", "adam"]},
    "momentum": {"type": "float", "low": 0.0, "high": 0.99, "when": {"optimizer": ["momentum"]}},
    "batch": {"type": "categorical", "choices": [16, 32, 64, 128]},
}
FAMILIES = {"power": 50, "crossing": 60, "late": 81, "diverging": 27}
"""Families of curves and the reports of a whole training."""
NOISE = 0.01
"""Standard deviation of a report; the best and the worst end of a training are about 1 apart."""


class Function:
    """One task of a family: a bowl over the space for where trainings end, and the family's way of getting there."""

    def __init__(self, family: str, task: int) -> None:
        self.name = f"{family} {task}"
        self.space = SPACE
        self.num_reports = FAMILIES[family]
        self._family = family
        centre = np.random.default_rng([list(FAMILIES).index(family)])
        shift = np.random.default_rng([list(FAMILIES).index(family), task + 1])
        # Tasks of a family are alike: their optima lie near each other.
        self._optimum = np.clip(centre.uniform(0.15, 0.85, 5) + shift.normal(0.0, 0.1, 5), 0.0, 1.0)
        self._weights = centre.dirichlet(np.ones(5)) * 3.0
        self._costs = centre.permutation([0.0, 0.1, 0.25])
        self._batch_costs = centre.permutation([0.0, 0.03, 0.06, 0.1])
        space = SearchSpace.parse(SPACE)
        ends = [self._true(_sample(space, np.random.default_rng(seed)))[-1] for seed in range(4000)]
        best = self._true(self._best_params())[-1]
        self._best, self._median = min(best, *ends), float(np.median(ends))

    def curve(self, params: Mapping[str, Any], rng: np.random.Generator) -> Curves:
        true = self._true(params)
        return true + rng.normal(0.0, NOISE, self.num_reports), true

    def regret(self, value: float) -> float:
        return float(np.clip((value - self._best) / (self._median - self._best), 0.0, 1.0))

    def _true(self, params: Mapping[str, Any]) -> Floats:
        place = _unit(params)
        end = self._end(params, place)
        share = np.arange(1, self.num_reports + 1) / self.num_reports
        if self._family == "power":  # wider networks gain for longer
            exponent = 1.2 - 0.7 * place[3]
            return end + (1.0 - 0.5 * end) * (share * 50) ** -exponent
        if self._family == "crossing":  # high learning rates are quick, and end worse than their start lets hope
            time = 0.02 * 20 ** (1.0 - place[0])
            return end + (1.2 - end) * np.exp(-share / time)
        if self._family == "late":  # nothing for a while, the longer the less decay
            begin = 0.03 + 0.25 * (1.0 - place[1])
            return end + max(0.0, 1.2 - end) / (1.0 + (share / begin) ** 4)
        curve: Floats = end + (1.0 - 0.5 * end) * (share * 27) ** -0.8
        over = place[0] - self._optimum[0] - 0.15  # diverges, the sooner the higher the learning rate
        if over > 0:
            curve[share > 0.5 * math.exp(-6.0 * over)] = 2.0
        return curve

    def _end(self, params: Mapping[str, Any], place: Floats) -> float:
        bowl = self._weights * (place - self._optimum) ** 2
        if params["optimizer"] != "momentum":
            bowl[4] = 0.0
        choice = self._costs[["sgd", "momentum", "adam"].index(params["optimizer"])]
        return float(np.tanh(bowl.sum() + choice + self._batch_costs[[16, 32, 64, 128].index(params["batch"])]))

    def _best_params(self) -> dict[str, Any]:
        lr, decay, dropout, width, momentum = self._optimum
        optimizer = ["sgd", "momentum", "adam"][int(self._costs.argmin())]
        return {
            "lr": 10 ** (5 * lr - 5),
            "decay": 10 ** (5 * decay - 6),
            "dropout": round(6 * dropout) / 10,
            "width": round(16 * 32**width),
            "optimizer": optimizer,
            "batch": [16, 32, 64, 128][int(self._batch_costs.argmin())],
        } | ({"momentum": 0.99 * momentum} if optimizer == "momentum" else {})


def functions() -> Iterator[Problem]:
    for family in FAMILIES:
        for task in range(3):
            yield Function(family, task)


def _unit(params: Mapping[str, Any]) -> Floats:
    """Place of the numeric parameters in the unit cube."""
    return np.array(
        [
            (math.log10(params["lr"]) + 5) / 5,
            (math.log10(params["decay"]) + 6) / 5,
            params["dropout"] / 0.6,
            math.log(params["width"] / 16) / math.log(32),
            params.get("momentum", 0.0) / 0.99,
        ]
    )


def _sample(space: SearchSpace, rng: np.random.Generator) -> dict[str, Any]:
    """A configuration, drawn as random search does."""
    drawn: dict[str, Any] = {
        "lr": 10 ** rng.uniform(-5, 0),
        "decay": 10 ** rng.uniform(-6, -1),
        "dropout": rng.integers(0, 7) / 10,
        "width": int(16 * 32 ** rng.uniform(0, 1)),
        "optimizer": ["sgd", "momentum", "adam"][rng.integers(0, 3)],
        "momentum": rng.uniform(0, 0.99),
        "batch": [16, 32, 64, 128][rng.integers(0, 4)],
    }
    return {name: value for name, value in drawn.items() if space.is_active(name, drawn)}
