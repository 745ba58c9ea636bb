"""What `auto` stands for in one study: which sampler, which pruner, whether earlier studies are asked, and why, in words.

Decided once, when the study is created, from its spec alone, and stored with it: a search that takes over reads the decision and does
not make it again. The configurations that earlier studies lend are chosen later, by `tuner.search.past_studies`. Weakness: how many
workers will come is not known here; only `max_concurrent_trials` says something about it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from tuner import feasibility, populations
from tuner.errors import FieldError, InvalidSpace, InvalidSpec
from tuner.parameters import CategoricalParameter
from tuner.spec import Executor, Limits, StudySpec
from tuner.strategies import rung_resources
from tuner.strategy_spec import PrunerSpec, SamplerSpec

ETA = 3
"""How many trials a rung has for each it promotes: Li et al. 2020's and Hyperband's default. On AlgoPerf's curves a rule that keeps a third
loses some of the best at an early rung; pausing instead of stopping is what makes that bearable, since a pause can be undone."""
GP_TRIALS, GP_WORKERS, GP_PARAMETERS = 100, 4, 20
"""Where a Gaussian process is worth its seconds per suggestion: up to about 100 trained configurations, few of them pending at a time,
and as many dimensions as Bayesian optimization is commonly held to manage (Frazier 2018, "A tutorial on Bayesian optimization")."""
MAX_COUNTED = 10_000
"""Configurations that are held against the space's constraints to count those allowed: about half a second."""
_STOPPING = ("median", "percentile", "successive_halving", "hyperband", "patient", "threshold")
"""Pruners under which values at one step can be compared; wilcoxon's steps are repetitions, not progress."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A sampler and a pruner, neither of them `auto`. `fits_rungs`: the sampler compares trials at rungs, though the pruner has none of
    its own. `warm_start`: whether earlier studies lend configurations, or the names of those."""

    sampler: SamplerSpec
    pruner: PrunerSpec
    fits_rungs: bool
    warm_start: bool | tuple[str, ...]
    reasons: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As stored with the study; `portfolio` null: not looked for yet."""
        return {
            "sampler": _named(self.sampler),
            "pruner": self.pruner.to_json(),
            "fits_rungs": self.fits_rungs,
            "warm_start": self.warm_start if isinstance(self.warm_start, bool) else list(self.warm_start),
            "portfolio": None if self.warm_start else [],
            "reasons": list(self.reasons),
        }


def decide(spec: StudySpec) -> Decision:
    """The decision for a study; what its spec names stays as it is named."""
    cells = _cells_within_reach(spec)
    pruner, because_of_pruner = _pruner(spec, cells)
    sampler, because_of_sampler = _sampler(spec, pruner, cells)
    warm_start, because_of_history = _warm_start(spec, cells)
    return Decision(
        sampler=sampler,
        pruner=pruner,
        fits_rungs=_fits_rungs(spec, sampler, pruner),
        warm_start=warm_start,
        reasons=(because_of_sampler, because_of_pruner, because_of_history, *_repeats(spec)),
    )


def decide_searchable(spec: StudySpec) -> Decision:
    """The decision for a study; InvalidSpec where its constraints leave too little to search, or its trainings end before the last rung."""
    decision = decide(spec)
    problems = [
        *_resource_problems(spec),
        *feasibility.problems(spec.space, decision.sampler.name, None if spec.compare is None else spec.compare.by),
    ]
    if problems:
        raise InvalidSpec(errors=problems)
    return decision


def _resource_problems(spec: StudySpec) -> Iterator[FieldError]:
    """Here and not in the spec, which has to be read again where an older version let it pass."""
    if (
        spec.pruner.name in ("auto", "promotion", "population")
        and spec.epochs is not None
        and (spec.max_resource or 0) > spec.epochs
    ):
        yield FieldError(
            "pruner.max_resource",
            f"must be at most {spec.epochs}, the trainer's epochs, each of which is a report; not {spec.max_resource}",
        )


def decided(spec: StudySpec, stored: Mapping[str, Any]) -> StudySpec:
    """The spec with the sampler and the pruner of a stored decision in the place of its own."""
    seed = spec.sampler.seed
    sampler = SamplerSpec.model_validate({**stored["sampler"], "seed": seed})
    return spec.model_copy(update={"sampler": sampler, "pruner": PrunerSpec.model_validate(stored["pruner"])})


def undecided(spec: StudySpec) -> dict[str, Any]:
    """What the studies have that were made before decisions were stored: `auto` was TPE without a pruner."""
    sampler = SamplerSpec(name="tpe") if spec.sampler.name == "auto" else spec.sampler
    pruner = PrunerSpec(name="none") if spec.pruner.name == "auto" else _with_resource(spec)
    return Decision(sampler=sampler, pruner=pruner, fits_rungs=False, warm_start=False, reasons=()).to_json()


def _fits_rungs(spec: StudySpec, sampler: SamplerSpec, pruner: PrunerSpec) -> bool:
    """Optuna ranks every complete trial above every pruned one, so its TPE copies the first survivors; by rungs it does not."""
    return spec.sampler.name == "auto" and sampler.name == "tpe" and pruner.name in _STOPPING and spec.compare is None


def _sampler(spec: StudySpec, pruner: PrunerSpec, cells: int | None) -> tuple[SamplerSpec, str]:
    if spec.sampler.name != "auto":
        return spec.sampler, f"Sampler {spec.sampler.name}: the study names it."
    if cells is not None:
        return _sampler_named("grid"), f"Sampler grid: the space has {cells} configurations, all of which can be tried."
    if pruner.name == "population":
        return _sampler_named("random"), "Sampler random: it draws the first members of the population; the others copy them."
    if spec.compare is not None:
        return _sampler_named("random"), (
            f"Sampler random: with trials that do not depend on each other, what is shown of the choices of {spec.compare.by} holds."
        )
    tpe = _sampler_named("tpe", **({"group": True} if spec.space.is_conditional and len(spec.objectives) == 1 else {}))
    if len(spec.objectives) > 1 and pruner.name != "promotion":
        return tpe, "Sampler tpe: it serves several objectives."
    if pruner.name == "promotion":
        return (
            tpe,
            "Sampler tpe, fitted to what trials have reached at the same rung, so that paused trials teach as much as complete ones.",
        )
    if pruner.name in _STOPPING:
        return (
            tpe,
            f"Sampler tpe, fitted to what trials have reached at the same step, so that it learns from those that {pruner.name} ends.",
        )
    if pruner.name != "none":
        return tpe, f"Sampler tpe: it learns from trials that {pruner.name} ends too."
    if (why_not := _why_no_gp(spec)) is None:
        return (
            _sampler_named("gp"),
            "Sampler gp: few trials, one after the other or nearly so, over numbers only: a Gaussian process learns most from each.",
        )
    return tpe, f"Sampler tpe; a Gaussian process (gp) would learn more from each trial, but {why_not}."


def _why_no_gp(spec: StudySpec) -> str | None:
    parameters = spec.space.parameters.values()
    trials, workers = spec.limits.max_trials, spec.limits.max_concurrent_trials
    if spec.space.is_conditional or any(isinstance(parameter, CategoricalParameter) for parameter in parameters):
        return "the space is not of numbers only"
    if sum(parameter.num_values != 1 for parameter in parameters) > GP_PARAMETERS:
        return f"there are more than {GP_PARAMETERS} parameters"
    if trials is None or trials > GP_TRIALS:
        return f"it takes seconds a suggestion beyond {GP_TRIALS} trials"
    if workers is None or workers > GP_WORKERS:
        return f"more than {GP_WORKERS} trials may run at a time (limits.max_concurrent_trials)"
    return None if find_spec("torch") else "torch is not installed here"


def _pruner(spec: StudySpec, cells: int | None) -> tuple[PrunerSpec, str]:
    if spec.pruner.name != "auto":
        how = " With several objectives trials are compared by Pareto rank at the rung." if len(spec.objectives) > 1 else ""
        return _with_resource(
            spec
        ), f"Pruner {spec.pruner.name}: the study names it.{how if spec.pruner.name == 'promotion' else ''}"
    none = PrunerSpec(name="none")
    if spec.compare is not None:
        return none, f"Pruner none: the choices of {spec.compare.by} are compared, each with trials trained in full."
    if len(spec.objectives) > 1:
        return none, (
            "Pruner none: with several objectives only promotion can judge trials before their end, by Pareto rank at a rung;"
            " the study names it where trials report all objectives at each step."
        )
    if cells is not None:
        return none, "Pruner none: every configuration is trained in full, for there are no more than trials."
    resource, max_trials = spec.max_resource, spec.limits.max_trials
    if resource is None:
        return none, _why_no_resource(spec)
    if resource < ETA:
        return none, f"Pruner none: a training of {resource} reports is too short to be judged before its end."
    if max_trials is not None and max_trials < ETA:
        return none, f"Pruner none: of {max_trials} trials none could be left behind for others."
    resources = rung_resources(None, resource, ETA, max_trials)
    options = {"eta": ETA, "min_resource": resources[0], "max_resource": resource, "resume": resumes(spec)}
    rungs = ", ".join(str(each) for each in resources[:-1])
    way = "pauses" if options["resume"] else "ends"
    back = "the best third goes on, now or later, from its checkpoint" if options["resume"] else "the best third goes on"
    return PrunerSpec(
        name="promotion", options=options
    ), f"Pruner promotion: a trial {way} after {rungs} of its {resource} reports and {back}."


def _why_no_resource(spec: StudySpec) -> str:
    if spec.trial.executor == Executor.TRAINER:
        return "Pruner none: trials train for different numbers of epochs and cannot be compared on the way."
    return "Pruner none: how many reports a training makes is not known; say it with pruner: {name: auto, max_resource: N}."


def resumes(spec: StudySpec) -> bool:
    """Whether a paused trial goes on from a checkpoint: the trainer's do; of other code it is only known where the study says so."""
    given: bool | None = spec.pruner.options.get("resume")
    return spec.trial.executor == Executor.TRAINER if given is None else given


def _with_resource(spec: StudySpec) -> PrunerSpec:
    """The pruner as named, with what the study's executor says of a training's length."""
    options, most = spec.pruner.options, spec.max_resource
    if spec.is_population and most is not None:
        options = options | {"interval": populations.interval(options, most)}
    elif spec.pruner.name != "promotion":
        return spec.pruner
    return PrunerSpec(name=spec.pruner.name, options=options | {"max_resource": most})


def _warm_start(spec: StudySpec, cells: int | None) -> tuple[bool | tuple[str, ...], str]:
    asked = spec.warm_start
    if asked is not None:
        return asked, "Warm start: as the study says." if asked else "No warm start: the study says so."
    if spec.compare is not None:
        return False, f"No warm start: it would favour some choices of {spec.compare.by}, which are compared."
    if len(spec.objectives) > 1:
        return False, "No warm start: there are several objectives."
    if spec.is_population:
        return False, "No warm start: a population begins with configurations that differ; warm_start: true asks for one."
    if spec.sampler.name != "auto":
        return False, "No warm start: the study names its sampler; warm_start: true asks for one."
    if cells is not None:
        return False, "No warm start: all configurations are tried."
    return True, "Warm start: configurations that were best in finished studies alike go first; warm_start: false turns it off."


def _repeats(spec: StudySpec) -> Iterator[str]:
    if spec.repeat is not None:
        yield f"Repeats: promising configurations are trained on up to {spec.repeat.max} seeds, which count as trials."


def _cells_within_reach(spec: StudySpec) -> int | None:
    """How many configurations there are, where a study under `auto` will try them all; None else.

    Where no number of trials is given, the default limit stands for what is meant by few.
    """
    if spec.sampler.name != "auto" or spec.compare is not None or spec.is_population:
        return None
    most = spec.limits.max_trials or Limits().max_trials
    assert most is not None
    if spec.repeat is not None:
        most //= 2  # the others may be repeats
    counts = [parameter.num_values for parameter in spec.space.roots.values()]
    enough = MAX_COUNTED if spec.space.constraints else most
    if any(count is None for count in counts) or math.prod(count or 1 for count in counts) > enough:
        return None  # whatever the conditions add
    try:
        cells = spec.space.num_cells()
    except InvalidSpace:
        return None
    if spec.space.constraints and cells is not None:
        cells = sum(1 for _ in spec.space.cells()) if cells <= MAX_COUNTED else None
    return cells if cells is not None and cells <= most else None


def _sampler_named(name: str, **options: Any) -> SamplerSpec:
    return SamplerSpec(name=name, options=options)


def _named(sampler: SamplerSpec) -> dict[str, Any]:
    return {key: value for key, value in sampler.to_json().items() if key != "seed"}
