"""Samplers and pruners a study file can name: their options, as in the constructors of Optuna 5, and what they cannot do.

Data only: Optuna is not imported here, `tuner.search` builds from it. Left out on purpose: options that Optuna has made ineffective
(`restart_strategy`), that are functions (`gamma`), and those the service decides itself (`seed`, `independent_sampler`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tuner.errors import FieldError
from tuner.parameters import is_finite, near, printable, show


@dataclass(frozen=True, kw_only=True)
class Option:
    name: str
    type: Literal["int", "float", "bool", "choice"]
    default: Any = None
    low: float | None = None
    low_open: bool = False
    high: float | None = None
    choices: tuple[str, ...] = ()
    """Texts that are allowed; for numbers, allowed besides."""
    optional: bool = False
    """null is allowed: Optuna decides."""
    required: bool = False

    def allowed(self) -> str:
        parts = list(self.choices)
        if self.type == "bool":
            parts = ["true", "false"]
        elif self.type != "choice":
            noun = "an integer" if self.type == "int" else "a number"
            low = "" if self.low is None else f"above {show(self.low)}" if self.low_open else f"of at least {show(self.low)}"
            if self.high is not None:
                low = f"from {show(self.low)} to {show(self.high)}"
            parts.insert(0, f"{noun} {low}".strip())
        return " or ".join([*parts, "null"] if self.optional else parts)

    def read(self, value: object) -> Any:
        """The value in canonical form. ValueError says what is allowed."""
        if (value is None and self.optional) or (isinstance(value, str) and value in self.choices):
            return value
        if self.type == "bool" and isinstance(value, bool):
            return value
        if self.type in ("int", "float") and is_finite(value) and self._is_within(value):
            if self.type == "float":
                return float(value)
            if value == int(value):
                return int(value)
        raise ValueError(f"must be {self.allowed()}, not {show(value)}")

    def _is_within(self, value: float) -> bool:
        if self.low is not None and (value < self.low or (self.low_open and value == self.low)):
            return False
        return abs(value) <= 2**53 if self.high is None else value <= self.high


@dataclass(frozen=True, kw_only=True)
class Strategy:
    options: tuple[Option, ...] = ()
    is_multi_objective: bool = True


def _count(name: str, default: int | str | None, low: int = 0, **more: Any) -> Option:
    return Option(name=name, type="int", default=default, low=low, **more)


def _share(name: str, default: float | None, **more: Any) -> Option:
    return Option(name=name, type="float", default=default, low=0, high=1, **more)


def _switch(name: str, default: bool | None = False, **more: Any) -> Option:
    return Option(name=name, type="bool", default=default, **more)


_GENETIC = (
    _count("population_size", 50, low=2),
    _share("mutation_prob", None, optional=True),
    _share("crossover_prob", 0.9),
    _share("swapping_prob", 0.5),
)
SAMPLERS: dict[str, Strategy] = {
    "auto": Strategy(),
    "random": Strategy(),
    "grid": Strategy(),
    "brute_force": Strategy(),
    "tpe": Strategy(
        options=(
            _count("n_startup_trials", 10),
            _count("n_ei_candidates", 24, low=1),
            _switch("multivariate", None, optional=True),
            _switch("group"),
            _switch("constant_liar", True),
        )
    ),
    "gp": Strategy(options=(_count("n_startup_trials", 10, low=1), _switch("deterministic_objective"))),
    "cmaes": Strategy(
        options=(
            _count("n_startup_trials", 1),
            Option(name="sigma0", type="float", low=0, low_open=True, optional=True),
            _count("popsize", None, low=2, optional=True),
            _switch("consider_pruned_trials"),
            _switch("use_separable_cma"),
            _switch("with_margin"),
            _switch("lr_adapt"),
        ),
        is_multi_objective=False,
    ),
    "qmc": Strategy(
        options=(Option(name="qmc_type", type="choice", choices=("sobol", "halton"), default="sobol"), _switch("scramble"))
    ),
    "nsga2": Strategy(options=_GENETIC),
    "nsga3": Strategy(options=(*_GENETIC, _count("dividing_parameter", 3, low=1))),
}

_STEPS = (_count("n_warmup_steps", 0), _count("interval_steps", 1, low=1))
_BESIDES = (_count("n_startup_trials", 5), *_STEPS, _count("n_min_trials", 1, low=1))
_RESUME = _switch("resume", None, optional=True)
PRUNERS: dict[str, Strategy] = {
    "auto": Strategy(options=(_count("max_resource", None, low=1), _RESUME)),
    "none": Strategy(),
    "median": Strategy(options=_BESIDES, is_multi_objective=False),
    "percentile": Strategy(
        options=(Option(name="percentile", type="float", low=0, high=100, required=True), *_BESIDES), is_multi_objective=False
    ),
    "successive_halving": Strategy(
        options=(
            _count("min_resource", "auto", low=1, choices=("auto",)),
            _count("reduction_factor", 4, low=2),
            _count("min_early_stopping_rate", 0),
            _count("bootstrap_count", 0),
        ),
        is_multi_objective=False,
    ),
    "hyperband": Strategy(
        options=(
            _count("min_resource", 1, low=1),
            _count("max_resource", "auto", low=1, choices=("auto",)),
            _count("reduction_factor", 3, low=2),
            _count("bootstrap_count", 0),
        ),
        is_multi_objective=False,
    ),
    "promotion": Strategy(
        options=(
            _count("eta", 3, low=2),
            _count("min_resource", None, low=1),
            _count("max_resource", None, low=1),
            _count("brackets", 1, low=1),
            _switch("resume", True),
        ),
    ),
    "population": Strategy(
        options=(
            _count("size", 16, low=2),
            _count("interval", None, low=1),
            _count("max_resource", None, low=1),
            Option(name="quantile", type="float", default=0.25, low=0.01, high=0.5),
            _share("resample", 0.25),
            Option(name="perturbation", type="float", default=0.2, low=0.01, high=0.9),
        ),
        is_multi_objective=False,
    ),
    "patient": Strategy(
        options=(_count("patience", None, required=True), Option(name="min_delta", type="float", default=0.0, low=0)),
        is_multi_objective=False,
    ),
    "threshold": Strategy(
        options=(
            Option(name="lower", type="float", optional=True),
            Option(name="upper", type="float", optional=True),
            *_STEPS,
        ),
        is_multi_objective=False,
    ),
    "wilcoxon": Strategy(options=(_share("p_threshold", 0.1), _count("n_startup_steps", 2)), is_multi_objective=False),
}
WRAPPABLE = tuple(name for name in PRUNERS if name not in ("auto", "none", "patient", "promotion", "population"))


_BESIDES_OPTIONS = {"patient": "wrapped", "population": "keep"}
"""What a pruner takes besides options of one value."""


def rung_resources(min_resource: int | None, max_resource: int, eta: int, max_trials: int | None = None) -> list[int]:
    """The resource (reports) at each rung of a promotion, the whole training last.

    The first rung is at 5 % of the training where none is given: on real curves with warm-up (AlgoPerf) a rule that judges earlier loses
    good configurations, a later one pays more for the bad. With `max_trials` known it is not below max_resource / eta^s for the
    largest s with eta^s trials at most: with fewer trials than that halving leaves none for the last rung (Jamieson and Talwalkar 2016).
    """
    resource = max(1, round(0.05 * max_resource)) if min_resource is None else min_resource
    if max_trials is not None and min_resource is None:
        halvings = 0
        while eta ** (halvings + 1) <= max_trials and eta**halvings < max_resource:
            halvings += 1
        resource = max(resource, math.ceil(max_resource / eta**halvings))
    resources = []
    while resource < max_resource:
        resources.append(resource)
        resource *= eta
    return [*resources, max_resource]


def read_sampler(name: str, given: Mapping[str, Any]) -> tuple[dict[str, Any], list[FieldError]]:
    """A sampler's options in canonical form, and what is wrong with them."""
    options, problems = _read(name, SAMPLERS[name], given)
    if name == "tpe" and options.get("group") and options.get("multivariate") is False:
        problems.append(FieldError("group", "needs multivariate: true, or leave multivariate out"))
    if name == "cmaes":
        chosen = [key for key in ("lr_adapt", "use_separable_cma", "with_margin") if options.get(key)]
        if len(chosen) > 1:
            problems.append(FieldError(chosen[1], f"cannot be combined with {chosen[0]}; choose one of them"))
    return options, problems


def read_pruner(name: str, given: Mapping[str, Any]) -> tuple[dict[str, Any], list[FieldError]]:
    """A pruner's options in canonical form, and what is wrong with them."""
    own = {key: value for key, value in given.items() if key != _BESIDES_OPTIONS.get(name)}
    options, problems = _read(name, PRUNERS[name], own)
    if name == "patient" and given.get("wrapped") is not None:
        wrapped, found = _read_wrapped(given["wrapped"])
        options["wrapped"] = wrapped
        problems += [FieldError(f"wrapped.{error.loc}".rstrip("."), error.msg) for error in found]
    if name == "population" and given.get("keep") is not None:
        names = given["keep"]
        if isinstance(names, list | tuple) and len(names) <= 500 and all(isinstance(each, str) for each in names):
            options["keep"] = list(names)
        else:
            problems.append(FieldError("keep", f"must be a list of at most 500 names of parameters, not {show(names)}"))
    key = {"successive_halving": "min_resource", "hyperband": "max_resource"}.get(name)
    if key is not None and options.get("bootstrap_count") and options.get(key, "auto") == "auto":
        problems.append(FieldError("bootstrap_count", f"above 0 needs {key} as a number"))
    if name == "hyperband" and not problems:
        low, high = options.get("min_resource", 1), options.get("max_resource", "auto")
        if high != "auto" and low > high:
            problems.append(FieldError("min_resource", f"must be at most max_resource: {low} is above {high}"))
    if name == "threshold" and not problems:
        lower, upper = options.get("lower"), options.get("upper")
        if lower is None and upper is None:
            problems.append(FieldError("lower", "is missing: threshold needs lower, upper or both"))
        elif lower is not None and upper is not None and lower > upper:
            problems.append(FieldError("lower", f"must be at most upper: {show(lower)} is above {show(upper)}"))
    return options, problems


def _read_wrapped(raw: object) -> tuple[dict[str, Any], list[FieldError]]:
    name = raw.get("name") if isinstance(raw, Mapping) else None
    if not isinstance(raw, Mapping) or not isinstance(name, str) or name not in WRAPPABLE:
        return {}, [FieldError("", f"must be a pruner such as {{name: median}}, with name one of {', '.join(WRAPPABLE)}")]
    options, problems = read_pruner(name, {key: value for key, value in raw.items() if key != "name"})
    return {"name": name, **options}, problems


def _read(name: str, strategy: Strategy, given: Mapping[str, Any]) -> tuple[dict[str, Any], list[FieldError]]:
    known = {option.name: option for option in strategy.options}
    options: dict[str, Any] = {}
    problems: list[FieldError] = []
    for key, value in given.items():
        if key not in known:
            names = [*known, *([_BESIDES_OPTIONS[name]] if name in _BESIDES_OPTIONS else [])]
            hint = near(str(key), names) if names else "it has none"
            problems.append(FieldError(printable(key), f"{name} has no such option; {hint}"))
            continue
        try:
            options[key] = known[key].read(value)
        except ValueError as error:
            problems.append(FieldError(key, str(error)))
    for option in strategy.options:
        if option.required and option.name not in given:
            problems.append(FieldError(option.name, f"is missing: {name} needs {option.allowed()}"))
    return options, problems
