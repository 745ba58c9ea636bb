"""The filter language of trial listings: `state:complete optimizer=adam lr<1e-3 val_loss<0.2`.

Terms stand side by side and all must hold. A term is a name, an operator (`=` or `:`, `!=`, `<`, `<=`, `>`, `>=`) and a value; `=` and `!=`
take several values with commas between, and `*` in a text stands for anything; a value with blanks or commas is put in double
quotes, and so is a name with blanks or signs of an operator: `"val loss"<0.2`. Names are facts of a trial, objectives and parameters; a
parameter's last part is enough where one alone has it. A trial without the value satisfies no comparison but `!=`. Here a text becomes a
condition in SQL; the listings are `tuner.views`'. Weakness: parameters are JSON text without an index, so a filter reads every trial of the
study.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Float, and_, case, cast, func, literal, literal_column, not_, or_
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import Text

from tuner.db.tables import trials
from tuner.errors import FieldError, InvalidValue
from tuner.parameters import near
from tuner.wire import NON_FINITE, TrialState

MAX_TERMS = 30
_QUOTED = r"\"(?:[^\"\\]|\\.)*\""
_NAME = rf"(?:{_QUOTED}|[^\s:=!<>\",]+)"
_VALUE = rf"(?:{_QUOTED}|[^\s\",]+)"
_TERM = re.compile(rf"\s*({_NAME})(!=|<=|>=|=|:|<|>)({_VALUE}(?:,{_VALUE})*)(?=\s|$)")
_ORDERED = {"<", "<=", ">", ">="}
_TEXTS: dict[str, ColumnElement[Any]] = {
    "state": trials.c.state,
    "reason": trials.c.reason,
    "origin": trials.c.origin,
    "worker": trials.c.worker,
    "feasible": case((trials.c.violation > 0, "false"), (trials.c.violation <= 0, "true")),
}
_NUMBERS: dict[str, ColumnElement[Any]] = {
    "number": trials.c.number,
    "attempt": trials.c.epoch,
    "parent": trials.c.parent,
    "duration": func.extract("epoch", trials.c.finished_at - trials.c.started_at).cast(Float),
    "value": trials.c.value,
}
_TIMES: dict[str, ColumnElement[Any]] = {"started_at": trials.c.started_at, "finished_at": trials.c.finished_at}
FACTS = (*_TEXTS, *_NUMBERS)


@dataclass(frozen=True, kw_only=True)
class Names:
    """What a study's trials can be asked for beside FACTS: objectives, and parameters with their types, None where any may occur."""

    objectives: Sequence[str]
    parameters: Mapping[str, str] | None

    @classmethod
    def of(cls, objectives: Sequence[str], spec: str | None) -> Names:
        """Of a study's row; one made through Optuna's storage contract has no spec."""
        space = None if spec is None else json.loads(spec).get("space", {})
        return cls(
            objectives=objectives, parameters=None if space is None else {name: body["type"] for name, body in space.items()}
        )

    def resolve(self, name: str, field: str) -> tuple[str, str]:
        """("fact" | "value" | "param", full name). InvalidValue at `field` for a name that is unknown or could be several."""
        if name in FACTS:
            return "fact", name
        kind, dot, rest = name.partition(".")
        if dot and kind == "values" and rest in self.objectives:
            return "value", rest
        if dot and kind == "params" and (self.parameters is None or rest in self.parameters):
            return "param", rest
        if name in self.objectives:
            return "value", name
        if self.parameters is None or name in self.parameters:
            return "param", name
        short = [known for known in self.parameters if known.rpartition(".")[2] == name or known == f"{name}.name"]
        if len(short) == 1:
            return "param", short[0]
        if short:
            raise _invalid(field, f"{name!r} could be {' or '.join(short)}")
        raise _invalid(field, f"{name[:50]!r} is unknown; {near(name, [*FACTS, *self.objectives, *self.parameters])}")


def condition(text: str, names: Names) -> ColumnElement[bool]:
    """The filter as a condition on `trials`. InvalidValue for one that cannot be read, naming what is wrong in it."""
    terms: list[ColumnElement[bool]] = []
    at = 0
    while text[at:].strip():
        match = _TERM.match(text, at)
        if match is None:
            rest = text[at:].strip()
            raise _invalid(
                "filter", f"cannot be read from {rest[:40]!r} on; terms look like state:complete lr<1e-3 optimizer=adam"
            )
        terms.append(_term(_plain(match.group(1)), match.group(2), match.group(3), names))
        at = match.end()
    if len(terms) > MAX_TERMS:
        raise _invalid("filter", f"has {len(terms)} terms; at most {MAX_TERMS} are allowed")
    return and_(literal(True), *terms)


def sort_key(name: str, names: Names) -> ColumnElement[Any]:
    """What to sort by for a name of the filter language or a time: numbers where the name has numbers, texts as they are."""
    if name in _TIMES:
        return _TIMES[name]
    kind, full = names.resolve(name, "sort")
    if kind == "fact":
        return _NUMBERS[full] if full in _NUMBERS else func.coalesce(_TEXTS[full], "")
    item = _item(kind, full, names)
    is_text = kind == "param" and names.parameters is not None and names.parameters[full] == "categorical"
    return _text(item) if is_text else _number(item)


def _term(name: str, operator: str, text: str, names: Names) -> ColumnElement[bool]:
    kind, full = names.resolve(name, "filter")
    values = [_plain(value) for value in re.findall(_VALUE, text)]
    if operator in _ORDERED:
        if kind == "fact" and full in _TEXTS:
            raise _invalid("filter", f"{full} is a text: compare it with = or !=, not {operator}")
        if len(values) > 1:
            raise _invalid("filter", f"{name}{operator} takes one number")
        column = _NUMBERS[full] if kind == "fact" else _number(_item(kind, full, names))
        return func.coalesce(_compare(column, operator, _float(values[0], name)), False)
    if kind == "fact" and full in _TEXTS:
        if full == "state":
            values = [_state(value) for value in values]
        elif full == "feasible" and not set(values) <= {"true", "false"}:
            raise _invalid("filter", f"feasible is true or false, not {','.join(values)[:50]!r}")
        found = or_(*(_matches(_TEXTS[full], value) for value in values))
    elif kind == "fact":
        found = or_(*(_NUMBERS[full] == _float(value, name) for value in values))
    else:
        item = _item(kind, full, names)
        found = or_(*(_equals(item, value) for value in values))
    found = func.coalesce(found, False)
    return not_(found) if operator == "!=" else found


def _item(kind: str, name: str, names: Names) -> ColumnElement[Any]:
    """A parameter or an objective's value as jsonb, NULL where the trial has none."""
    if kind == "param":
        return _document(trials.c.params)[name]
    return _document(trials.c.objective_values)[list(names.objectives).index(name)]


def _document(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """JSON text as jsonb. The bare tokens NaN and Infinity, which Optuna may have stored and jsonb refuses, become strings."""
    bare = r'((?<!\\)": |[\[,] ?)(-?Infinity|NaN)(?=[,}\]])'
    quoted = func.regexp_replace(column, bare, r'\1"\2"', "g")
    return cast(case((column.op("~")("NaN|Infinity"), quoted), else_=column), JSONB)


def _number(item: ColumnElement[Any]) -> ColumnElement[Any]:
    # CASE, since SQL may otherwise evaluate the cast of a text before the look at its type.
    text = _text(item)
    is_number = or_(func.jsonb_typeof(item) == "number", text.in_([name for name in NON_FINITE if name != "NaN"]))
    return case((is_number, cast(text, Float)))


def _text(item: ColumnElement[Any]) -> ColumnElement[Any]:
    return item.op("#>>", return_type=Text())(literal_column("'{}'"))


def _equals(item: ColumnElement[Any], value: str) -> ColumnElement[bool]:
    """A number by its value, anything else by its text: `flag=true`, `name=adam`, `x=null`."""
    text = _text(item)
    same = _matches(func.coalesce(text, "null") if value == "null" else text, value)
    try:
        number = float(value)
    except ValueError:
        return same
    return or_(same, _number(item) == number) if math.isfinite(number) else same


def _matches(column: ColumnElement[Any], value: str) -> ColumnElement[bool]:
    if "*" not in value:
        return cast(column, Text) == value
    pattern = "%".join(part.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") for part in value.split("*"))
    return cast(column, Text).like(pattern)


def _compare(column: ColumnElement[Any], operator: str, number: float) -> ColumnElement[bool]:
    match operator:
        case "<":
            return column < number
        case "<=":
            return column <= number
        case ">":
            return column > number
        case _:
            return column >= number


def _float(text: str, name: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if math.isnan(number):
        raise _invalid("filter", f"{name} is compared with a number, not with {text[:50]!r}")
    return number


def _state(text: str) -> str:
    allowed = [str(state) for state in TrialState]
    if text.upper() not in allowed and "*" not in text:
        raise _invalid("filter", f"state {text[:50]!r} is not one of {', '.join(allowed).lower()}")
    return text.upper()


def _plain(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value


def _invalid(field: str, msg: str) -> InvalidValue:
    return InvalidValue(errors=[FieldError(field, msg)])
