"""Study specs before they are studies: what samplers and pruners there are, and a text is read and checked. Nothing is kept: this is what an
editor asks for while somebody types."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pydantic import Field

from api.auth import ANY, SUBMIT
from api.routing import Call, Routes
from tuner import auto, strategies, wire
from tuner.errors import InvalidSpec
from tuner.spec import StudySpec
from tuner.spec_file import MAX_CHARACTERS, find_line, read_spec_text

routes = Routes("specs")


class SpecText(wire.Body):
    text: str = Field(max_length=MAX_CHARACTERS, description="a study file in YAML or JSON")


class SpecProblem(wire.Answer):
    loc: str
    msg: str
    line: int | None
    """From 1; null where the text itself cannot be read."""


class SpecCheck(wire.Answer):
    valid: bool
    spec: dict[str, Any] | None
    """The body for POST /v1/studies, with every default; null while there are problems."""
    problems: list[SpecProblem]


@routes.route("GET", "/v1/strategies", ANY, answer=dict[str, dict[str, list[dict[str, Any]]]])
def list_strategies(call: Call) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Samplers and pruners that a study can name, each with its options: name, type, default, range, and whether it must be given."""
    return {
        kind: {name: [asdict(option) for option in strategy.options] for name, strategy in table.items()}
        for kind, table in (("samplers", strategies.SAMPLERS), ("pruners", strategies.PRUNERS))
    }


@routes.route("POST", "/v1/specs/check", SUBMIT, answer=SpecCheck, ledger=False)
def check_spec(call: Call, body: SpecText) -> SpecCheck:
    """Read a study file and say everything that is wrong with it, with the line where it stands."""
    try:
        spec = StudySpec.parse(read_spec_text(body.text))
        auto.decide_searchable(spec)
    except InvalidSpec as error:
        problems = [SpecProblem(loc=e.loc, msg=e.msg, line=find_line(body.text, e.loc)) for e in error.errors]
        return SpecCheck(valid=False, spec=None, problems=problems)
    return SpecCheck(valid=True, spec=spec.to_json(), problems=[])
