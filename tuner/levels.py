"""How a study that compares the levels of a parameter deals its trials out: blocks of one trial a level, which share a seed.

With L levels, trial n belongs to block n // L, whatever its level is. The search completes each block, so that level for level the i-th
trial has the same seed, and the levels' numbers of trials never differ by more than one. Pure; asked by the spec, the leases, the search and
the comparison alike. Weakness: a trial that a person enqueues takes a place in its block, so that block may hold a level twice.
"""

from __future__ import annotations

from collections.abc import Iterator

from tuner.errors import FieldError
from tuner.parameters import CategoricalParameter, near, show
from tuner.space import SearchSpace

WALKING = ("grid", "brute_force")
"""Samplers that walk over all configurations: how many there are of a level is not theirs to choose."""


def check(by: str, space: SearchSpace, sampler: str, max_trials: int | None) -> Iterator[FieldError]:
    """What speaks against comparing the levels of this parameter."""
    parameter = space.parameters.get(by)
    if parameter is None:
        yield FieldError("compare.by", f"{show(by)} is no parameter of the space; {near(by, space.parameters)}")
        return
    if not isinstance(parameter, CategoricalParameter):
        yield FieldError(
            "compare.by", f"must be a categorical parameter, {by} is of type {parameter.type}: list its values as choices"
        )
    elif parameter.when:
        yield FieldError("compare.by", f"must be a parameter that every trial has, {by} has a condition")
    elif parameter.frozen is not None:
        yield FieldError(f"space.{by}.freeze", f"would leave one choice of {by} to compare; leave freeze or compare out")
    elif len(parameter.choices) < 2:
        yield FieldError("compare.by", f"must have at least two choices, {by} has one")
    elif sampler in WALKING:
        yield FieldError(
            "sampler.name",
            f"{sampler} runs every configuration and gives no equal budgets; to compare levels use another sampler",
        )
    elif max_trials is not None and max_trials < len(parameter.choices):
        yield FieldError(
            "limits.max_trials", f"must be at least {len(parameter.choices)}, one trial for each choice of {by}, not {max_trials}"
        )


def block_of(number: int, num_levels: int) -> int:
    """The block of a trial: those of one block are matched."""
    return number // num_levels


def seed_place(number: int, num_levels: int, num_seeds: int | None) -> int:
    """What takes the number's place where a trial's seed is derived; with `num_seeds` blocks take turns with so many seeds."""
    block = block_of(number, num_levels)
    return block if num_seeds is None else block % num_seeds
