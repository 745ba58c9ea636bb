"""Combinations of the choices of a search space that no trial can run: a convolution on a table, Newton's method on a large model.

Where a study varies components together, every combination that its conditions allow is made into a configuration as a trial
would make it, and what is wrong with it is traced back to the fewest parameters that cause it. Only components that meet are
combined. Of ranges the ends are tried, of short ones each value. Weakness: beyond MAX_COMBINATIONS only the ends of everything but
the names of components are tried, and of still larger spaces the trial itself finds out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tuner.catalog.fields import RULES
from tuner.catalog.table import get
from tuner.catalog.trainer import SECTIONS, default_name, merge
from tuner.errors import FieldError, InvalidSpace, InvalidValue
from tuner.parameters import CategoricalParameter, Parameter, Value, show
from tuner.space import SearchSpace

MAX_COMBINATIONS = 1_000
MAX_VALUES = 16
"""Of a range each value is tried up to so many."""
RULED = tuple(rule.field for rule in RULES)
"""Plain fields that some optimizers leave no choice."""
MEETINGS = (
    (("dataset", "model"), ("dataset", "model")),
    (("dataset", "loss"), ("loss",)),
    (("dataset", "augmentation"), ("augmentation",)),
    (("dataset", "model", "loss", "optimizer"), ("optimizer",)),
    (("optimizer", *RULED), RULED),
    (("schedule",), ("schedule",)),
    (("initializer",), ("initializer",)),
    (("regularizer",), ("regularizer",)),
)
"""Components and fields that meet, and those in which a problem of their meeting shows."""
MET = ("slope",)
"""Hyperparameters of models that decide no shape, and that others of the model leave no use."""

Cell = dict[str, Value]


@dataclass(frozen=True)
class _Cause:
    """The values that cause a problem, the problem's message, and the whole configuration it was found in."""

    values: Cell
    msg: str
    cell: Cell


def combination_problems(trainer: Mapping[str, Any], space: SearchSpace) -> list[FieldError]:
    """What is wrong with combinations of a legal space over a legal base configuration, one problem for each kind of cause."""
    problems: list[FieldError] = []
    for together, shown in MEETINGS:
        found = dict.fromkeys(_Meeting(trainer, space, together, shown).problems())
        problems += [problem for problem in found if problem not in problems]
    return problems


def is_decisive(path: str, trainer: Mapping[str, Any], space: SearchSpace) -> bool:
    """Whether components suit each other or not by this parameter: a name, or what gives a data set or a model its shape."""
    section, _, field = path.partition(".")
    if section not in SECTIONS or field == "name":
        return section in SECTIONS or section in RULED
    if section not in ("dataset", "model"):
        return False
    kind, chooser = SECTIONS[section], space.parameters.get(f"{section}.name")
    choices = chooser.choices if isinstance(chooser, CategoricalParameter) else ()
    names = [name for name in (*choices, default_name(section, trainer)) if name is not None]
    found = [get(kind, str(name)).by_name.get(field) for name in names]
    return any(h is not None and (not h.per_lane or h.name in MET) for h in found)


class _Meeting:
    """Components that meet, over the part of the space that varies them."""

    def __init__(self, trainer: Mapping[str, Any], space: SearchSpace, together: Iterable[str], shown: Iterable[str]) -> None:
        self.trainer, self.space, self.shown = trainer, space, set(shown)
        decisive = [path for path in space.parameters if is_decisive(path, trainer, space)]
        self.varied = {path for path in decisive if path.partition(".")[0] in together}
        self.varied = self.varied.union(*(_ancestors(space, path) for path in self.varied))
        self.constant = set(decisive).union(*(_ancestors(space, path) for path in decisive)) - self.varied
        """Parameters that a configuration needs and that do not matter here: their first value will do."""

    def problems(self) -> Iterator[FieldError]:
        causes: dict[tuple[tuple[str, ...], str], list[_Cause]] = {}
        tried = [(cell, {error.loc: error.msg for error in self._errors(cell)}) for cell in self._cells()]
        for cell, found in tried:
            for loc, msg in found.items():
                known = (cause.values for (_, place), listed in causes.items() if place == loc for cause in listed)
                if not any(values.items() <= cell.items() for values in known):
                    fine = [other for other, errors in tried if loc not in errors]
                    values = self._values_that_cause(cell, loc, fine)
                    causes.setdefault((tuple(values), loc), []).append(_Cause(values, msg, cell))
        for (paths, loc), listed in causes.items():
            if len(paths) > 1:
                yield self._combined(paths, loc, listed)
            else:
                yield from (self._single(loc, cause.values, cause.msg) for cause in listed)

    def _cells(self) -> Iterator[Cell]:
        """Configurations of the decisive parameters and what they hang on; none when there are too many."""
        for limit in (None, 2, 1):
            reduced = SearchSpace(
                {
                    path: CategoricalParameter(self._tried(path, parameter, limit), parameter.when)
                    for path, parameter in self.space.parameters.items()
                    if path in self.varied | self.constant
                }
            )
            with suppress(InvalidSpace):  # conditions too entangled to count
                if not reduced.parameters or (reduced.num_cells() or 0) <= MAX_COMBINATIONS:
                    return reduced.cells()
        return iter(())

    def _tried(self, path: str, parameter: Parameter, limit: int | None) -> tuple[Value, ...]:
        """Values of a parameter; of all but names at most `limit`."""
        values = _values(self.space, path, parameter)
        if path in self.constant:
            return values[:1]
        if limit is None or path.endswith(".name"):
            return values
        return values[:1] if limit == 1 else tuple(dict.fromkeys((values[0], values[-1])))

    def _errors(self, params: Cell) -> list[FieldError]:
        try:
            merge(self.trainer, params)
        except InvalidValue as error:
            return [e for e in error.errors if e.loc.partition(".")[0] in self.shown]
        return []

    def _values_that_cause(self, cell: Cell, loc: str, fine: list[Cell]) -> Cell:
        """The parameters of a cell any one of which, having another value, would do away with the problem at `loc`.

        Not one that only switches others of them off. Where none would alone, those without which the base configuration has no
        such problem.
        """
        paths = [path for path in cell if path in self.varied]
        witnesses = {path: [other for other in fine if _differ_in(path, cell, other)] for path in paths}
        helpful = [path for path, others in witnesses.items() if others]
        if helpful:
            cause = [path for path in helpful if any(set(helpful) <= set(other) for other in witnesses[path])]
            return {path: cell[path] for path in cause or helpful}
        for path in paths:
            fewer = {name: value for name, value in cell.items() if name != path}
            if any(error.loc == loc for error in self._errors(fewer)):
                cell = fewer
        return {path: value for path, value in cell.items() if path in self.varied}

    def _single(self, loc: str, cause: Cell, msg: str) -> FieldError:
        if not cause:
            return FieldError(f"trial.trainer.{loc}", msg)
        (path,) = cause
        section, _, field = loc.partition(".")
        base = self.trainer.get(section)
        lead = f"with {_shown(cause)}: "
        if path == f"{section}.name" != loc and isinstance(base, Mapping) and field in base:
            return FieldError(f"trial.trainer.{loc}", lead + msg)
        is_choice = isinstance(self.space.parameters[path], CategoricalParameter)
        place = f"space.{path}.choices" if is_choice else f"space.{path}"
        return FieldError(place, msg if loc == path else lead + _named(loc, msg))

    def _combined(self, paths: tuple[str, ...], loc: str, causes: list[_Cause]) -> FieldError:
        """One problem for all combinations of values of the same parameters, with the condition that would keep them apart."""
        first, more = causes[0], len(causes) - 1
        child, advice = self._advice(paths, loc, causes)
        others = f" (and {more} more such combination{'s' if more > 1 else ''})" if more else ""
        return FieldError(f"space.{child}", f"with {_shown(first.values)}{others}: {_named(loc, first.msg)}; {advice}")

    def _advice(self, paths: tuple[str, ...], loc: str, causes: list[_Cause]) -> tuple[str, str]:
        for parent, child in ((a, b) for a in sorted(paths, key=_rank) for b in paths if a != b):
            chooser = self.space.parameters[parent]
            bad = [cause.values[parent] for cause in causes]
            if not isinstance(chooser, CategoricalParameter) or not parent.endswith(".name"):
                continue
            if len(paths) > 2 or child in _ancestors(self.space, parent):
                continue
            good = [choice for choice in chooser.choices if choice not in bad]
            without = ({name: value for name, value in cause.cell.items() if name != child} for cause in causes)
            has_default = not child.endswith(".name") or default_name(child.partition(".")[0], self.trainer) is not None
            if good and has_default and not any(error.loc == loc for cell in without for error in self._errors(cell)):
                return child, f"add when: {{{parent}: [{', '.join(map(_plain, good))}]}} to {child}, or leave one of them out"
        return paths[-1], "leave one of them out"


def _values(space: SearchSpace, path: str, parameter: Parameter) -> tuple[Value, ...]:
    """Values that stand for all: each choice, each of a short range, else the ends and what conditions tell apart."""
    if isinstance(parameter, CategoricalParameter):
        return parameter.choices
    count = parameter.num_values
    if count is not None and count <= MAX_VALUES:
        return tuple(parameter.value_at(i) for i in range(count))
    return tuple(dict.fromkeys([parameter.low, *space.stand_ins(path), parameter.high]))


def _ancestors(space: SearchSpace, path: str) -> set[str]:
    parents = {condition.parent for condition in space.parameters[path].when or ()}
    return parents.union(*(_ancestors(space, parent) for parent in parents))


def _differ_in(path: str, cell: Cell, other: Cell) -> bool:
    """Whether it is this parameter that tells two cells apart, with what hangs on it."""
    return path in other and other[path] != cell[path] and all(other[k] == v for k, v in cell.items() if k != path and k in other)


def _named(loc: str, msg: str) -> str:
    """A message that is to stand elsewhere than at `loc`; that of a name names it already."""
    return msg if loc.endswith(".name") else f"{loc}: {msg}"


def _rank(path: str) -> tuple[bool, int]:
    """Names before fields, the data set first."""
    section, _, field = path.partition(".")
    return field != "name", [*SECTIONS, section].index(section)


def _shown(cause: Cell) -> str:
    return " and ".join(f"{path} {_plain(value)}" for path, value in cause.items())


def _plain(value: Value) -> str:
    return value if isinstance(value, str) else show(value)
