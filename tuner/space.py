"""Search spaces: the conditions between parameters and the configurations they allow.

Pure data, shared by server, clients and workers. Parameters are in `tuner.parameters`, reading in `tuner.space_reader`; sampling is left to `tuner.search`, what a parameter sets in a trainer to
`tuner.catalog`. Conditions are joined by "and" only, so a parameter is active exactly when all conditions of all its ancestors
hold, which makes reachability exact. Constraints between parameters are `tuner.constraints`. Weakness: reachability knows nothing of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from tuner.constraints import Constraint, read_constraints
from tuner.errors import FieldError, InvalidSpace, InvalidValue
from tuner.parameters import (
    CategoricalParameter,
    Condition,
    FloatParameter,
    IntParameter,
    Parameter,
    Value,
    index_below,
    near,
    printable,
    show,
)
from tuner.space_reader import read_parameters, sort_parameters

__all__ = ["CategoricalParameter", "Condition", "FloatParameter", "IntParameter", "Parameter", "SearchSpace", "Value"]

MAX_STATES = 2**16
"""How many combinations of unmet conditions `num_cells` tells apart before it gives up."""
_END = object()


@dataclass(frozen=True)
class SearchSpace:
    """Made by `parse`, which checks it; the constructor trusts its argument."""

    parameters: dict[str, Parameter]
    constraints: tuple[Constraint, ...] = ()
    order: tuple[str, ...] = field(init=False)
    """Parents before their children, else as declared."""
    _required: dict[str, dict[str, tuple[Condition, ...]]] = field(init=False, repr=False, compare=False)
    """By parameter and ancestor, all that must hold of the ancestor for the parameter to be active."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "order", sort_parameters(self.parameters))
        required: dict[str, dict[str, tuple[Condition, ...]]] = {}
        for name in self.order:
            conditions: dict[str, tuple[Condition, ...]] = {}
            for condition in self.parameters[name].when or ():
                inherited = required[condition.parent] | {condition.parent: (condition,)}
                for ancestor, more in inherited.items():
                    known = conditions.get(ancestor)
                    conditions[ancestor] = more if known is None else tuple(dict.fromkeys((*known, *more)))
            required[name] = conditions
        object.__setattr__(self, "_required", required)

    @classmethod
    def parse(cls, raw: Mapping[str, Any], constraints: Iterable[object] = ()) -> SearchSpace:
        """Read the JSON form. InvalidSpace carries every problem found, each with its path."""
        parameters, problems = read_parameters(raw)
        if not problems:
            read, problems = read_constraints(constraints, parameters)
            space = cls(parameters, read)
            problems += space._unreachable()
        if problems:
            raise InvalidSpace(errors=problems)
        return space

    def to_json(self) -> dict[str, Any]:
        return {name: parameter.to_json() for name, parameter in self.parameters.items()}

    @property
    def is_conditional(self) -> bool:
        return any(self._required.values())

    @property
    def frozen(self) -> dict[str, Value]:
        """The parameters that have one value in all new trials, with it. To which trials they belong, conditions say as ever."""
        return {name: parameter.frozen[0] for name, parameter in self.parameters.items() if parameter.frozen is not None}

    @property
    def roots(self) -> dict[str, Parameter]:
        """The parameters without a condition: every configuration has them."""
        return {name: parameter for name, parameter in self.parameters.items() if not parameter.when}

    def is_active(self, name: str, params: Mapping[str, Any]) -> bool:
        """Whether a configuration with these values of the ancestors has the parameter."""
        return all(
            ancestor in params and _all_hold(conditions, self.parameters[ancestor].canonical(params[ancestor]))
            for ancestor, conditions in self._required[name].items()
        )

    def allows(self, params: Mapping[str, Any]) -> bool:
        """Whether a configuration, in canonical form, satisfies all constraints."""
        return all(constraint.holds(params) for constraint in self.constraints)

    def stand_ins(self, name: str) -> list[Value]:
        """Values of a parameter that stand for all others which no condition can tell from them."""
        conditions = [c for parameter in self.parameters.values() for c in parameter.when or () if c.parent == name]
        return [value for value, _ in _segments(self.parameters[name], conditions)]

    def check(self, params: Mapping[str, Any]) -> dict[str, Value]:
        """The configuration in order and canonical form. InvalidValue with all its problems, each as `params.NAME`."""
        problems = {
            name: f"no such parameter; {near(str(name), self.parameters)}" for name in params if name not in self.parameters
        }
        checked: dict[str, Value] = {}
        for name in self.order:
            if any(ancestor in problems for ancestor in self._required[name]):
                continue
            if not self.is_active(name, checked):
                if name in params:
                    problems[name] = f"is only allowed where {self._why(name)}"
            elif name not in params:
                problems[name] = "is missing"
            else:
                try:
                    checked[name] = self.parameters[name].check(params[name])
                except ValueError as error:
                    problems[name] = str(error)
        if problems:
            raise InvalidValue(errors=[FieldError(f"params.{printable(name)}", msg) for name, msg in problems.items()])
        broken = [constraint for constraint in self.constraints if not constraint.holds(checked)]
        if broken:
            raise InvalidValue(errors=[FieldError("params", _breaks(constraint, checked)) for constraint in broken])
        return checked

    def num_cells(self) -> int | None:
        """How many configurations there are, constraints left aside; None when a parameter has a continuum of values.

        Exact, without enumerating: walks the parameters once and counts per set of parameters ruled out so far. InvalidSpace when
        the conditions are so entangled that more than MAX_STATES such sets arise.
        """
        if any(parameter.num_values is None and parameter.frozen is None for parameter in self.parameters.values()):
            return None
        children = self._children()
        counts: Counter[frozenset[str]] = Counter({frozenset(): 1})
        for name in self._depth_first(children):
            met: Counter[frozenset[str]] = Counter()
            frozen = self.parameters[name].frozen
            segments = _segments(self.parameters[name], children[name].values()) if frozen is None else [(frozen[0], 1)]
            for value, weight in segments:
                met[frozenset(child for child, condition in children[name].items() if not condition.holds(value))] += weight
            following: Counter[frozenset[str]] = Counter()
            for ruled_out, count in counts.items():
                if name in ruled_out:
                    following[ruled_out.difference((name,)).union(children[name])] += count
                    continue
                for unmet, weight in met.items():
                    following[ruled_out | unmet] += count * weight
            if len(following) > MAX_STATES:
                raise InvalidSpace(errors=[FieldError("space", "has conditions too entangled to count its configurations")])
            counts = following
        return counts.total()

    def cells(self) -> Iterator[dict[str, Value]]:
        """Every configuration that the constraints allow, once each, the last parameter of `order` varying fastest. InvalidSpace if there is a continuum."""
        continuous = [
            name for name, parameter in self.parameters.items() if parameter.num_values is None and parameter.frozen is None
        ]
        if continuous:
            raise InvalidSpace(
                errors=[FieldError(f"space.{name}", "has a continuum of values: give it a step") for name in continuous]
            )
        return filter(self.allows, self._cells()) if self.constraints else self._cells()

    def _unreachable(self) -> list[FieldError]:
        problems: list[FieldError] = []
        seen: set[int] = set()
        for name, required in self._required.items():
            for ancestor, conditions in required.items():
                if id(conditions) in seen:  # inherited as it was: looked at with the parent
                    continue
                seen.add(id(conditions))
                if not any(_all_hold(conditions, value) for value, _ in _segments(self.parameters[ancestor], conditions)):
                    msg = f"can never be met: {ancestor} has no value for which {_and(conditions)}"
                    problems.append(FieldError(f"space.{name}.when", msg))
        return problems

    def _cells(self) -> Iterator[dict[str, Value]]:
        params: dict[str, Value] = {}
        open_values: list[tuple[int, Iterator[Value]]] = []
        position = 0
        while True:
            for index in range(position, len(self.order)):
                name = self.order[index]
                if self.is_active(name, params):
                    values = _values(self.parameters[name])
                    params[name] = next(values)
                    open_values.append((index, values))
            yield dict(params)
            while open_values:
                index, values = open_values[-1]
                name = self.order[index]
                del params[name]
                following = next(values, _END)
                if following is not _END:
                    params[name] = following  # type: ignore[assignment]
                    position = index + 1
                    break
                open_values.pop()
            else:
                return

    def _children(self) -> dict[str, dict[str, Condition]]:
        children: dict[str, dict[str, Condition]] = {name: {} for name in self.order}
        for name in self.order:
            for condition in self.parameters[name].when or ():
                children[condition.parent][name] = condition
        return children

    def _depth_first(self, children: Mapping[str, Mapping[str, Condition]]) -> Iterator[str]:
        """Parents first and children soon after, so that few conditions stand open at a time."""
        missing = {name: len(parameter.when or ()) for name, parameter in self.parameters.items()}
        stack = [name for name in reversed(self.order) if missing[name] == 0]
        while stack:
            name = stack.pop()
            yield name
            for child in children[name]:
                missing[child] -= 1
                if missing[child] == 0:
                    stack.append(child)

    def _why(self, name: str) -> str:
        return _and(condition for conditions in self._required[name].values() for condition in conditions)


def _and(conditions: Iterable[Condition]) -> str:
    return " and ".join(str(condition) for condition in conditions)


def _breaks(constraint: Constraint, params: Mapping[str, Value]) -> str:
    return f"break the constraint {constraint.text} with {', '.join(f'{name} {show(params[name])}' for name in constraint.names)}"


def _all_hold(conditions: Iterable[Condition], value: object) -> bool:
    return all(condition.holds(value) for condition in conditions)


def _values(parameter: Parameter) -> Iterator[Value]:
    if parameter.frozen is not None:
        return iter(parameter.frozen)
    return (parameter.value_at(index) for index in range(parameter.num_values or 0))


def _segments(parameter: Parameter, conditions: Iterable[Condition]) -> list[tuple[Value, int]]:
    """Values that stand for all others which these conditions cannot tell from them, and how many each stands for (a continuum: 0)."""
    count = parameter.num_values
    numbers = {number for condition in conditions for number in condition.numbers()}
    if isinstance(parameter, CategoricalParameter):
        return [(choice, 1) for choice in parameter.choices]
    inside = sorted(number for number in numbers if parameter.low <= number <= parameter.high)
    if count is None:
        ends = [parameter.low, *inside, parameter.high]
        return [(low + (high - low) / 2, 0) for low, high in pairwise(ends) if low < high]
    cuts = {0, count}
    for number in inside:
        index = index_below(number, parameter.low, parameter.step) if parameter.step else 0
        cuts |= {cut for cut in (index, index + 1) if cut < count}
    starts = sorted(cuts)
    return [(parameter.value_at(start), end - start) for start, end in pairwise(starts)]
