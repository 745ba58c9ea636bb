"""The sampler and the pruner of a spec. In files and JSON their options stand beside the name: {name: tpe, seed: 7, n_startup_trials: 20}.

Which there are, and what their options allow, is in `tuner.strategies`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationInfo, field_validator, model_serializer, model_validator

from tuner.errors import FieldError
from tuner.parameters import near, show
from tuner.spec_errors import Problems
from tuner.spec_model import Model, Whole
from tuner.strategies import PRUNERS, SAMPLERS, read_pruner, read_sampler


class SamplerSpec(Model):
    name: str = Field(default="auto", description="one of " + ", ".join(SAMPLERS))
    seed: Whole | None = Field(default=None, ge=0, lt=2**32, description=f"an integer from 0 to {2**32 - 1}, or null")
    options: dict[str, Any] = Field(default={}, description="a mapping of options", validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, data: Any) -> Any:
        return _gather_options(data, ("name", "seed"))

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in SAMPLERS:
            raise ValueError(f"no such sampler: {show(name)}; {near(name, SAMPLERS)}")
        return name

    @field_validator("options")
    @classmethod
    def _read_options(cls, options: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        return options if "name" not in info.data else _checked(read_sampler(info.data["name"], options))

    @model_serializer
    def _flat(self) -> dict[str, Any]:
        return {"name": self.name, "seed": self.seed, **self.options}


class PrunerSpec(Model):
    name: str = Field(default="auto", description="one of " + ", ".join(PRUNERS))
    options: dict[str, Any] = Field(default={}, description="a mapping of options", validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, data: Any) -> Any:
        return _gather_options(data, ("name",))

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in PRUNERS:
            raise ValueError(f"no such pruner: {show(name)}; {near(name, PRUNERS)}")
        return name

    @field_validator("options")
    @classmethod
    def _read_options(cls, options: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        return options if "name" not in info.data else _checked(read_pruner(info.data["name"], options))

    @model_serializer
    def _flat(self) -> dict[str, Any]:
        return {"name": self.name, **self.options}


def _checked(read: tuple[dict[str, Any], list[FieldError]]) -> dict[str, Any]:
    options, problems = read
    if problems:
        raise Problems(problems)
    return options


def _gather_options(data: Any, own: tuple[str, ...]) -> Any:
    """Move the options that stand beside the name under `options`, where the model has them."""
    if not isinstance(data, Mapping):
        return data
    nested = data.get("options", {})
    options = dict(nested) if isinstance(nested, Mapping) else {"options": nested}
    options |= {key: value for key, value in data.items() if key not in (*own, "options")}
    return {key: data[key] for key in own if key in data} | {"options": options}
