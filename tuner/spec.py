"""The study spec: what a user submits, as frozen data with all defaults; one sentence for each thing wrong with it.

Fields and what they allow stand in the models below, and the descriptions are what error messages say. Parameters are read by
`tuner.space`, sampler and pruner by `tuner.strategy_spec`, trainer configurations by `tuner.catalog`, files by
`tuner.spec_file`. Weakness: what goes together is only looked at once every field by itself is right.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    SerializerFunctionWrapHandler,
    ValidationError,
    WithJsonSchema,
    field_validator,
    model_serializer,
    model_validator,
)

from tuner import levels, outcome_constraints, populations, racing
from tuner.constraints import MAX_CONSTRAINTS, read_constraints
from tuner.errors import FieldError, InvalidSpace, InvalidSpec
from tuner.outcome_constraints import MAX_OUTCOME_CONSTRAINTS
from tuner.parameters import near, show
from tuner.space import FloatParameter, IntParameter, SearchSpace
from tuner.spec_errors import Problems, explain, json_problems, shortened
from tuner.spec_model import Model, Number, Whole
from tuner.strategies import PRUNERS, SAMPLERS, rung_resources
from tuner.strategy_spec import PrunerSpec, SamplerSpec

COMMAND_FIELDS = ("number", "seed")
"""What a command's `{placeholder}` can name besides parameters."""
_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")
_ENTRYPOINT = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*", re.ASCII)


def _read_space(raw: Any) -> SearchSpace:
    try:
        return raw if isinstance(raw, SearchSpace) else SearchSpace.parse(raw)
    except InvalidSpace as error:
        raise Problems([FieldError(e.loc.removeprefix("space").removeprefix("."), e.msg) for e in error.errors]) from None


def _check_name(name: str) -> str:
    # "." and ".." would be taken out of a path by the client, digits would be taken for an id.
    if not name.isprintable() or "/" in name or name != name.strip() or name in (".", "..") or name.isdecimal():
        raise ValueError
    return name


def _read_warm_start(raw: Any) -> bool | tuple[str, ...] | None:
    if raw is None or isinstance(raw, bool):
        return raw
    named = raw.get("studies") if isinstance(raw, Mapping) and set(raw) == {"studies"} else None
    if not isinstance(named, list | tuple) or not 1 <= len(named) <= 50 or not all(isinstance(name, str) for name in named):
        raise ValueError(
            f"must be true, false, or a mapping such as {{studies: [first, second]}} of 1 to 50 names, not {show(raw)}"
        )
    return tuple(named)


Space = Annotated[
    SearchSpace,
    PlainValidator(_read_space),
    PlainSerializer(SearchSpace.to_json, return_type=dict[str, Any]),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": "object"}}),
]

WarmStart = Annotated[
    bool | tuple[str, ...] | None,
    PlainValidator(_read_warm_start),
    PlainSerializer(lambda read: {"studies": list(read)} if isinstance(read, tuple) else read),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"type": "object", "properties": {"studies": {"type": "array"}}}]}),
]


class Direction(StrEnum):
    MAXIMIZE = "maximize"
    MINIMIZE = "minimize"


class Executor(StrEnum):
    TRAINER = "trainer"
    ENTRYPOINT = "entrypoint"
    COMMAND = "command"
    EXTERNAL = "external"


BUNDLED = (Executor.ENTRYPOINT, Executor.COMMAND)
"""Executors whose code can come with the study."""


class Objective(Model):
    name: str = Field(
        min_length=1,
        max_length=128,
        pattern=r"^[^\x00-\x1f\x7f]+$",
        description="a metric's name of 1 to 128 printable characters",
    )
    direction: Direction = Field(description="maximize or minimize")


class Resources(Model):
    """What one trial occupies; trials of less than one GPU share it."""

    gpus: Number = Field(default=0.0, ge=0, le=1024, description="0, a fraction below 1, or a whole number up to 1024")
    cpus: Number = Field(default=1.0, ge=0, le=4096, description="a number from 0 to 4096")

    @field_validator("gpus")
    @classmethod
    def _whole_or_fraction(cls, gpus: float) -> float:
        if gpus > 1 and not gpus.is_integer():
            raise ValueError
        return gpus


class Checkpoints(Model):
    """Which of its checkpoints a trial keeps; `tuner.artifacts` removes the others."""

    keep: Whole = Field(default=2, ge=1, le=1000, description="an integer from 1 to 1000")
    keep_best: bool = Field(default=False, strict=True, description="true or false")
    keep_trials: Whole | None = Field(default=None, ge=1, le=10**6, description="an integer from 1 to 1000000, or null for all")


class TrialSpec(Model):
    """What a worker does with a trial. `trainer`, `entrypoint` and `args`, `command` each belong to one executor.

    `bundle` names the code that comes with the study, for an entrypoint or a command; it must have been uploaded before.
    """

    executor: Executor = Field(default=Executor.EXTERNAL, description="trainer, entrypoint, command or external")
    trainer: dict[str, Any] | None = Field(
        default=None, description="a mapping such as {dataset: {name: digits}, model: {name: mlp}}"
    )
    entrypoint: str | None = Field(default=None, max_length=300, description='a text of the form "package.module:function"')
    args: dict[str, Any] | None = Field(default=None, description="a mapping of keyword arguments")
    command: tuple[Annotated[str, Field(max_length=10_000)], ...] | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description='a list of texts, the program first, such as [python, train.py, "--lr={lr}"]',
    )
    bundle: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{64}$",
        description="the SHA-256 of an uploaded bundle, 64 lower-case hex digits, as `tuner study submit --context` sets it",
    )
    resources: Resources = Field(default_factory=Resources, description="a mapping such as {gpus: 1, cpus: 4}")
    checkpoints: Checkpoints | None = Field(default=None, description="a mapping such as {keep: 2, keep_best: true}")

    @field_validator("entrypoint")
    @classmethod
    def _check_entrypoint(cls, entrypoint: str | None) -> str | None:
        if entrypoint is not None and not _ENTRYPOINT.fullmatch(entrypoint):
            raise ValueError
        return entrypoint

    @model_validator(mode="before")
    @classmethod
    def _default_args(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and data.get("executor") == Executor.ENTRYPOINT and data.get("args") is None:
            return {**data, "args": {}}
        return data

    @model_validator(mode="after")
    def _check_parts(self) -> Self:
        problems: list[FieldError] = []
        owners = {"trainer": "trainer", "entrypoint": "entrypoint", "args": "entrypoint", "command": "command"}
        for part, owner in owners.items():
            if getattr(self, part) is not None and self.executor != owner:
                problems.append(FieldError(part, f"is only allowed with executor: {owner}, not with {self.executor}"))
        if self.bundle is not None and self.executor not in BUNDLED:
            problems.append(
                FieldError("bundle", f"is only allowed with executor: {' or '.join(BUNDLED)}, not with {self.executor}")
            )
        own = self.executor.value
        if own != "external" and getattr(self, own) is None:
            problems.append(FieldError(own, f"is missing: {TrialSpec.model_fields[own].description}"))
        if self.command is not None and not self.command[0].strip():
            problems.append(FieldError("command.0", "must name a program"))
        if problems:
            raise Problems(problems)
        return self

    @model_serializer(mode="wrap")
    def _own_parts(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if value is not None}


class Limits(Model):
    """Where a study ends; null is no limit."""

    max_trials: Whole | None = Field(
        default=100, ge=1, le=10**9, description="an integer from 1 to 1000000000, or null for no limit"
    )
    max_concurrent_trials: Whole | None = Field(
        default=None, ge=1, le=10**9, description="an integer from 1 to 1000000000, or null for no limit"
    )
    max_failed_trials: Whole | None = Field(
        default=None, ge=0, le=10**9, description="an integer from 0 to 1000000000, or null for no limit"
    )
    max_attempts: Whole = Field(default=3, ge=1, le=1000, description="an integer from 1 to 1000")
    timeout: Number | None = Field(
        default=None, gt=0, le=1e9, description="a number of seconds above 0 and at most 1e9, or null for no limit"
    )
    trial_timeout: Number | None = Field(
        default=None, gt=0, le=1e9, description="a number of seconds above 0 and at most 1e9, or null for no limit"
    )
    max_gpu_seconds: Number | None = Field(
        default=None, gt=0, le=1e15, description="a number of seconds above 0 and at most 1e15, or null for no limit"
    )
    target: Number | None = Field(default=None, description="a finite number, or null for none")

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Limits:
        """InvalidSpec with all problems, each located as `limits.NAME`."""
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise InvalidSpec(errors=explain(cls, error, ("limits",))) from None


class CompareSpec(Model):
    """Every level of a parameter gets the same number of trials and the same seeds; see `tuner.levels`."""

    by: str = Field(description="the name of a categorical parameter of the space")
    seeds: Whole | None = Field(
        default=None, ge=1, le=10**6, description="an integer from 1 to 1000000, or null: each trial of a level has its own seed"
    )


class RepeatSpec(Model):
    """Promising trials are repeated on further seeds; see `tuner.racing`."""

    max: Whole = Field(
        ge=racing.MIN_SEEDS,
        le=racing.MAX_SEEDS,
        description=f"an integer from {racing.MIN_SEEDS} to {racing.MAX_SEEDS}, the seeds of a configuration at most",
    )


class StudySpec(Model):
    name: Annotated[str, AfterValidator(_check_name)] | None = Field(
        default=None,
        min_length=1,
        max_length=128,
        description="1 to 128 printable characters, without '/', blanks at the ends, and not digits only; leave it out to have one made",
    )
    objectives: tuple[Objective, ...] = Field(
        min_length=1, max_length=32, description="a list of 1 to 32 mappings such as {name: val_loss, direction: minimize}"
    )
    space: Space = Field(description="a mapping of parameters, such as lr: {type: float, low: 0.001, high: 0.1}")
    constraints: tuple[str, ...] = Field(
        default=(),
        max_length=MAX_CONSTRAINTS,
        exclude_if=lambda constraints: not constraints,
        description=f"a list of at most {MAX_CONSTRAINTS} texts such as model.hidden_a < model.hidden_b",
    )
    outcome_constraints: tuple[str, ...] = Field(
        default=(),
        max_length=MAX_OUTCOME_CONSTRAINTS,
        exclude_if=lambda constraints: not constraints,
        description=f"a list of at most {MAX_OUTCOME_CONSTRAINTS} texts such as latency_ms <= 50",
    )
    sampler: SamplerSpec = Field(default_factory=SamplerSpec, description="a mapping such as {name: auto}")
    pruner: PrunerSpec = Field(default_factory=PrunerSpec, description="a mapping such as {name: auto}")
    trial: TrialSpec = Field(default_factory=TrialSpec, description="a mapping such as {executor: external}")
    limits: Limits = Field(default_factory=Limits, description="a mapping such as {max_trials: 100}")
    compare: CompareSpec | None = Field(
        default=None, exclude_if=lambda compare: compare is None, description="a mapping such as {by: optimizer.name}"
    )
    repeat: RepeatSpec | None = Field(
        default=None, exclude_if=lambda repeat: repeat is None, description="a mapping such as {max: 5}"
    )
    warm_start: WarmStart = Field(
        default=None,
        exclude_if=lambda asked: asked is None,
        description="true, false, or a mapping such as {studies: [first, second]}",
    )
    tags: tuple[Annotated[str, Field(min_length=1, max_length=500)], ...] = Field(
        default=(), max_length=50, description="a list of at most 50 texts of 1 to 500 characters"
    )
    notes: str = Field(default="", max_length=20_000, description="a text of at most 20000 characters")

    @classmethod
    def parse(cls, data: Any) -> StudySpec:
        """Read the JSON form. InvalidSpec carries every problem found, each with its path."""
        problems = list(json_problems(data))
        if problems:
            raise InvalidSpec(errors=shortened(problems))
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise InvalidSpec(errors=shortened(explain(cls, error))) from None

    @classmethod
    def from_file(cls, path: str | Path) -> StudySpec:
        """Read a YAML or JSON file. InvalidSpec also where the file cannot be read."""
        from tuner.spec_file import read_spec_file

        return cls.parse(read_spec_file(Path(path)))

    def digest(self) -> str:
        """SHA-256 of everything but the name. Parameters in another order are another spec: they are sampled in that order."""
        body = {key: value for key, value in self.to_json().items() if key != "name"}
        text = json.dumps([body, list(self.space.parameters)], sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        constraints, refused = read_constraints(self.constraints, self.space.parameters)
        # Whoever asks the space for configurations shall get allowed ones, so the constraints are part of it.
        object.__setattr__(self, "space", replace(self.space, constraints=constraints))
        problems = [
            *refused,
            *self._objective_problems(),
            *outcome_constraints.read(self.outcome_constraints)[1],
            *self._sampler_problems(),
            *self._promotion_problems(),
            *self._population_problems(),
            *self._command_problems(),
        ]
        if self.compare is not None:
            problems += levels.check(self.compare.by, self.space, self.sampler.name, self.limits.max_trials)
        if self.repeat is not None:
            problems += racing.check(
                self.repeat.max,
                num_objectives=len(self.objectives),
                compares=self.compare is not None,
                is_population=self.is_population,
                max_trials=self.limits.max_trials,
                trainer=self.trial.trainer,
                space=self.space.parameters,
            )
        if self.trial.trainer is not None:
            from tuner.catalog import check_metrics, check_objectives, check_trainer

            problems += check_trainer(self.trial.trainer, self.space)
            problems += check_objectives(self.trial.trainer, self.space, [objective.name for objective in self.objectives])
            constrained = {
                f"outcome_constraints.{index}": each.metric
                for index, each in enumerate(outcome_constraints.read(self.outcome_constraints)[0])
            }
            problems += check_metrics(self.trial.trainer, self.space, constrained)
        if problems:
            raise Problems(problems)
        return self

    def _objective_problems(self) -> Iterator[FieldError]:
        names = [objective.name for objective in self.objectives]
        for index, name in enumerate(names):
            if name in names[:index]:
                yield FieldError(f"objectives.{index}.name", f"repeats {show(name)}; objectives must differ in name")
        if self.warm_start and self.compare is not None:
            yield FieldError(
                "warm_start", f"would favour some choices of {self.compare.by}, which compare sets equal; leave one out"
            )
        if len(names) == 1:
            return
        if not SAMPLERS[self.sampler.name].is_multi_objective:
            able = [name for name, sampler in SAMPLERS.items() if sampler.is_multi_objective]
            yield FieldError(
                "sampler.name", f"{self.sampler.name} optimizes a single objective; with several use {', '.join(able)}"
            )
        if not PRUNERS[self.pruner.name].is_multi_objective:
            able = [name for name, pruner in PRUNERS.items() if pruner.is_multi_objective]
            yield FieldError(
                "pruner.name", f"{self.pruner.name} judges by a single objective; with several use {', '.join(able)}"
            )
        if self.warm_start:
            yield FieldError("warm_start", "needs a single objective; with several leave it out")
        if self.limits.target is not None:
            yield FieldError("limits.target", "needs a single objective; with several leave it out")

    def _sampler_problems(self) -> Iterator[FieldError]:
        sampler = self.sampler.name
        if sampler in ("grid", "brute_force"):
            for name, parameter in self.space.parameters.items():
                if isinstance(parameter, FloatParameter) and parameter.num_values is None:
                    way = "list its values as choices" if parameter.log else f"give {name} a step"
                    yield FieldError(
                        f"space.{name}",
                        f"has a continuum of values, {sampler} needs finitely many: {way} or choose another sampler",
                    )
        if sampler == "cmaes" and self.outcome_constraints:
            yield FieldError(
                "sampler.name", "cmaes takes no notice of outcome constraints; with them use tpe, gp, nsga2, nsga3 or random"
            )
        if sampler == "cmaes" and not any(
            isinstance(parameter, FloatParameter | IntParameter) and parameter.num_values != 1 and parameter.frozen is None
            for parameter in self.space.roots.values()
        ):
            yield FieldError(
                "sampler.name", "cmaes needs a float or int parameter without a condition; choose another sampler, such as tpe"
            )

    @property
    def is_population(self) -> bool:
        """Whether trials go on from one another's checkpoints."""
        return self.pruner.name == "population"

    @property
    def max_resource(self) -> int | None:
        """Reports of a whole training, by which promotion and auto go: as given, else the trainer's epochs; None where neither says."""
        given: int | None = self.pruner.options.get("max_resource")
        return self.epochs if given is None else given

    @property
    def epochs(self) -> int | None:
        """The trainer's, where all trials have the same."""
        if self.trial.trainer is None or "epochs" in self.space.parameters:
            return None
        from tuner.catalog import get

        epochs = self.trial.trainer.get("epochs", get("trainer", "trainer").hyperparameter("epochs").default)
        return epochs if isinstance(epochs, int) else None

    def _promotion_problems(self) -> Iterator[FieldError]:
        if self.pruner.name != "promotion":
            return
        options, most = self.pruner.options, self.max_resource
        if most is None:
            yield FieldError(
                "pruner.max_resource",
                "is missing: promotion needs the number of reports of a whole training, an integer of at least 1",
            )
            return
        least = options.get("min_resource")
        if least is not None and least > most:
            yield FieldError("pruner.min_resource", f"must be at most max_resource: {least} is above {most}")
            return
        num_rungs = len(rung_resources(least, most, options.get("eta", 3)))
        if options.get("brackets", 1) > num_rungs:
            yield FieldError("pruner.brackets", f"must be at most {num_rungs}, the number of rungs, not {options['brackets']}")

    def _population_problems(self) -> Iterator[FieldError]:
        if self.is_population:
            yield from populations.check(
                self.pruner.options,
                self.space,
                by_trainer=self.trial.executor == Executor.TRAINER,
                max_resource=self.max_resource,
                max_trials=self.limits.max_trials,
                compare_by=None if self.compare is None else self.compare.by,
            )

    def _command_problems(self) -> Iterator[FieldError]:
        for index, argument in enumerate(self.trial.command or ()):
            for match in _PLACEHOLDER.finditer(argument):
                name = match.group(1)
                if name is None or (name in COMMAND_FIELDS and index > 0):
                    continue
                loc = f"trial.command.{index}"
                parameter = self.space.parameters.get(name)
                if index == 0:
                    yield FieldError(loc, "the program is fixed: only the arguments after it can hold {placeholders}")
                elif parameter is None:
                    known = [*self.space.parameters, *COMMAND_FIELDS]
                    yield FieldError(
                        loc, f"{{{name}}} is no parameter of the space; {near(name, known)} (write {{{{ and }}}} for braces)"
                    )
                elif parameter.when:
                    yield FieldError(
                        loc, f"{{{name}}} is absent from some trials, by its condition: read it from TUNER_PARAMS instead"
                    )
