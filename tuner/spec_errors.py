"""What is wrong with a study spec, as sentences: plain data that cannot be held, and pydantic's findings in words a user can act on.

The sentences come from the descriptions of the models' fields (`tuner.spec`), which say what a field allows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from tuner.errors import FieldError
from tuner.parameters import is_finite, is_text, near, printable, show

MAX_DEPTH = 16
MAX_ITEMS = 100_000
"""Values in one spec, all levels together. Anchors let a small YAML file stand for billions."""
MAX_ERRORS = 100
"""Problems listed of one spec; nobody reads more."""
_ITEMS = {
    "objectives": "a mapping such as {name: val_loss, direction: minimize}",
    "command": "a text of at most 10000 characters",
    "constraints": "a text such as model.hidden_a < model.hidden_b",
    "outcome_constraints": "a text such as latency_ms <= 50",
    "tags": "a text of 1 to 500 characters",
}
"""What the elements of a list may be; the description of its field speaks of the whole."""


class Problems(ValueError):
    """What a validator found wrong, located relative to the field it validates."""

    def __init__(self, errors: list[FieldError]) -> None:
        super().__init__("; ".join(str(error) for error in errors))
        self.errors = errors


def explain(model: type[BaseModel], error: ValidationError, prefix: tuple[str, ...] = ()) -> list[FieldError]:
    """Pydantic's findings as sentences that say what is allowed."""
    found: list[FieldError] = []
    for item in error.errors(include_url=False):
        loc = list(item["loc"])
        cause = item.get("ctx", {}).get("error")
        if isinstance(cause, Problems):
            start = [*prefix, *loc[:-1]] if loc[-1:] == ["options"] else [*prefix, *loc]
            found += [FieldError(".".join(map(str, [*start, e.loc] if e.loc else start)), e.msg) for e in cause.errors]
            continue
        if item["type"] == "too_short" and item["input"]:  # its elements have been reported
            continue
        owner, description = _find(model, loc)
        if item["type"] == "extra_forbidden":
            msg = f"unknown key; {near(str(loc[-1]), owner.model_fields)}"
        elif item["type"] == "missing":
            msg = f"is missing: {description}"
        elif cause is not None and str(cause):
            msg = str(cause)
        else:
            msg = f"must be {description}, not {show(item['input'])}"
        found.append(FieldError(".".join(map(str, [*prefix, *map(_part, loc)])), msg))
    return found


def _part(part: str | int) -> str | int:
    return printable(part) if isinstance(part, str) else part


def _find(model: type[BaseModel], loc: list[str | int]) -> tuple[type[BaseModel], str]:
    """The model that holds the last field of a path, and what that field allows."""
    description = "a mapping with at least objectives and space"
    owner = model
    current: type[BaseModel] | None = model
    field_name = ""
    for part in loc:
        if isinstance(part, int):
            description = _ITEMS[field_name]
            continue
        field_name = part
        if current is None:
            break
        owner, field = current, current.model_fields.get(part)
        if field is None:
            break
        description = field.description or description
        current = _model_within(field.annotation)
    return owner, description


def _model_within(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for found in map(_model_within, get_args(annotation)) if found is not None), None)


def shortened(problems: list[FieldError]) -> list[FieldError]:
    if len(problems) <= MAX_ERRORS:
        return problems
    return [*problems[:MAX_ERRORS], FieldError("", f"and {len(problems) - MAX_ERRORS} more problems")]


def json_problems(data: object) -> list[FieldError]:
    """What JSON, PostgreSQL or a bounded memory could not hold."""
    return list(_json_problems(data, "", 0, [0]))


def _json_problems(value: object, loc: str, depth: int, seen: list[int]) -> Iterator[FieldError]:
    """`seen` counts the values looked at."""
    seen[0] += 1
    if seen[0] > MAX_ITEMS:
        if seen[0] == MAX_ITEMS + 1:
            yield FieldError("", f"holds more than {MAX_ITEMS} values in all")
    elif isinstance(value, Mapping | list | tuple):
        if depth >= MAX_DEPTH:
            yield FieldError(loc, f"is nested deeper than {MAX_DEPTH} levels")
            return
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, item in items:
            path = f"{loc}.{printable(key) if isinstance(key, str) else key}".lstrip(".")
            if isinstance(value, Mapping) and not (isinstance(key, str) and is_text(key)):
                yield FieldError(path, "must be a text as a key, without NUL: put it in quotes")
            yield from _json_problems(item, path, depth + 1, seen)
            if seen[0] > MAX_ITEMS:
                return
    elif isinstance(value, str):
        if not is_text(value):
            yield FieldError(loc, "may not contain NUL or half a surrogate pair")
    elif not (value is None or isinstance(value, bool) or is_finite(value)):
        kind = (
            "a finite number"
            if isinstance(value, int | float)
            else "a text (in quotes), a number, true, false, null, a list or a mapping"
        )
        yield FieldError(loc, f"must be {kind}, not {show(value)}")
