"""The sampler and the pruner of a spec. In files and JSON their options stand beside the name: {name: tpe, seed: 7, n_startup_trials: 20}.

Which there are, and what their options allow, is in `tuner.strategies`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from pydantic import Field, ValidationInfo, field_validator, model_serializer, model_validator

from tuner.errors import FieldError
from tuner.parameters import near, show
from tuner.spec_errors import Problems
from tuner.spec_model import Model, Whole
from tuner.strategies import PRUNERS, SAMPLERS, Strategy, read_pruner, read_sampler


class _StrategySpec(Model):
    """One strategy by its name, with its options."""

    kind: ClassVar[str]
    known: ClassVar[Mapping[str, Strategy]]
    read: ClassVar[Callable[[str, Mapping[str, Any]], tuple[dict[str, Any], list[FieldError]]]]
    name: str
    options: dict[str, Any] = Field(default={}, description="a mapping of options", validate_default=True)

    @classmethod
    def _own(cls) -> list[str]:
        """The fields that are not options."""
        return [name for name in cls.model_fields if name != "options"]

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, data: Any) -> Any:
        """Move the options that stand beside the name under `options`, where the model has them."""
        if not isinstance(data, Mapping):
            return data
        nested = data.get("options", {})
        options = dict(nested) if isinstance(nested, Mapping) else {"options": nested}
        options |= {key: value for key, value in data.items() if key not in (*cls._own(), "options")}
        return {key: data[key] for key in cls._own() if key in data} | {"options": options}

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        if name not in cls.known:
            raise ValueError(f"no such {cls.kind}: {show(name)}; {near(name, cls.known)}")
        return name

    @field_validator("options")
    @classmethod
    def _read_options(cls, options: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if "name" not in info.data:
            return options
        read, problems = cls.read(info.data["name"], options)
        if problems:
            raise Problems(problems)
        return read

    @model_serializer
    def _flat(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._own()} | self.options


class SamplerSpec(_StrategySpec):
    kind = "sampler"
    known = SAMPLERS
    read = read_sampler
    name: str = Field(default="auto", description="one of " + ", ".join(SAMPLERS))
    seed: Whole | None = Field(default=None, ge=0, lt=2**32, description=f"an integer from 0 to {2**32 - 1}, or null")


class PrunerSpec(_StrategySpec):
    kind = "pruner"
    known = PRUNERS
    read = read_pruner
    name: str = Field(default="auto", description="one of " + ", ".join(PRUNERS))
