"""What every part of a spec is made of: frozen models that refuse unknown fields, and numbers that are no texts and no truth values."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

from tuner.parameters import is_finite


def _whole(value: object) -> object:
    """Integers only, where pydantic would take "7", true and 7.5 as well; 7.0 passes, for clients whose JSON has no integers."""
    if not is_finite(value) or value != int(value):
        raise ValueError
    return int(value)


def _number(value: object) -> object:
    if not is_finite(value):
        raise ValueError
    return float(value)


Whole = Annotated[int, BeforeValidator(_whole)]
Number = Annotated[float, BeforeValidator(_number)]


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    def to_json(self) -> dict[str, Any]:
        """The canonical form, defaults included."""
        return self.model_dump(mode="json")
