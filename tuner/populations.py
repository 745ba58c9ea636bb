"""Population based training as a study file asks for it: which of its parameters a copy may change, and what cannot be.

The training itself is `tuner.search.population`. Weakness: of a study's own code it is not known which parameters decide the shape of a
checkpoint; it says so itself with `keep`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from tuner.errors import FieldError
from tuner.parameters import near, show
from tuner.space import SearchSpace

SIZE, QUANTILE = 16, 0.25


def interval(options: Mapping[str, Any], max_resource: int) -> int:
    """Reports between two boundaries: as given, else a tenth of a training."""
    given: int | None = options.get("interval")
    return max(1, round(max_resource / 10)) if given is None else given


def perturbable(space: SearchSpace, options: Mapping[str, Any], *, by_trainer: bool) -> frozenset[str]:
    """The parameters that may differ between a trial and the one whose checkpoint it goes on from."""
    kept = kept_by_copies(space, options, by_trainer=by_trainer)
    return frozenset(name for name, parameter in space.parameters.items() if name not in kept and parameter.num_values != 1)


def kept_by_copies(space: SearchSpace, options: Mapping[str, Any], *, by_trainer: bool) -> frozenset[str]:
    """The parameters that a trial has from the one whose checkpoint it goes on from, whatever values they have."""
    kept = frozenset(options.get("keep", ()))
    if by_trainer:
        from tuner.catalog.perturbation import is_perturbable

        kept |= {name for name, parameter in space.parameters.items() if not is_perturbable(name, parameter)}
    return kept


def check(
    options: Mapping[str, Any],
    space: SearchSpace,
    *,
    by_trainer: bool,
    max_resource: int | None,
    max_trials: int | None,
    compare_by: str | None,
) -> Iterator[FieldError]:
    """What is wrong with a population in this study, with the path of the field."""
    if compare_by is not None:
        yield FieldError(
            "pruner.name", f"population lets a trial take over from one with another {compare_by}, which compare sets equal"
        )
    size, quantile = options.get("size", SIZE), options.get("quantile", QUANTILE)
    if math.floor(size * quantile) < 1:
        yield FieldError(
            "pruner.size", f"must be at least {math.ceil(1 / quantile)}: of {size} members the worst {show(quantile)} is nobody"
        )
    if max_trials is not None and max_trials < size:
        yield FieldError("limits.max_trials", f"must be at least the size of the population, {size}, not {max_trials}")
    if max_resource is None:
        yield FieldError(
            "pruner.max_resource",
            "is missing: population needs the number of reports of a whole training, an integer of at least 1",
        )
    elif interval(options, max_resource) >= max_resource:
        yield FieldError(
            "pruner.interval",
            f"must be below {max_resource}, the reports of a whole training, not {interval(options, max_resource)}",
        )
    for index, name in enumerate(options.get("keep", ())):
        if name not in space.parameters:
            yield FieldError(f"pruner.keep.{index}", f"no such parameter: {show(name)}; {near(name, space.parameters)}")
    if not perturbable(space, options, by_trainer=by_trainer):
        why = "the trainer keeps what decides the shape of a checkpoint" if by_trainer else "there is none but those in keep"
        yield FieldError("pruner.name", f"population has no parameter to perturb: {why}; add one such as optimizer.lr")
