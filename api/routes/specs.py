"""Study specs before they are studies: a text is read and checked, nothing is kept. What an editor asks for while somebody types."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from api.auth import SUBMIT
from api.routing import Call, Routes
from tuner import auto, wire
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
