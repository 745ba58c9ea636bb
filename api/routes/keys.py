"""API keys, browser sessions, and who one is.

An admin of the project "default" is the operator of the deployment and handles the keys of all projects; any other admin handles those
of its own.
"""

from __future__ import annotations

from pydantic import Field, model_validator
from starlette.responses import Response

from api import auth
from api.auth import ADMIN, ANY, PUBLIC
from api.routing import Call, Routes
from tuner import keys, wire
from tuner.errors import Forbidden

routes = Routes("keys")
OPERATOR_PROJECT = "default"


class KeyList(wire.Answer):
    items: list[wire.Key]


class ProjectList(wire.Answer):
    items: list[wire.Project]


class Me(wire.Answer):
    key_id: str
    name: str
    scope: wire.Scope
    project: str


class Login(wire.Body):
    code: str | None = Field(default=None, max_length=200, description="a one-time code")
    key: str | None = Field(default=None, max_length=200, description="an API key")

    @model_validator(mode="after")
    def _one(self) -> Login:
        if (self.code is None) == (self.key is None):
            raise ValueError("give either code or key")
        return self


class LoginCode(wire.Answer):
    code: str
    path: str = Field(description="open this below the server's address within 15 minutes")


@routes.route("POST", "/v1/keys", ADMIN, answer=wire.CreatedKey, status=201, secret=True)
def create_key(call: Call, body: wire.KeyCreate) -> wire.CreatedKey:
    """Make a key. Its secret is in this answer and nowhere else."""
    if not _is_operator(call) and body.project != call.project:
        raise Forbidden(f"an admin of project {call.project!r} makes keys of that project only")
    return keys.create(call.database, body, by=call.caller.name)


@routes.route("GET", "/v1/keys", ADMIN, answer=KeyList)
def list_keys(call: Call) -> KeyList:
    """Keys, without their secrets."""
    return KeyList.model_construct(items=keys.list_(call.database, None if _is_operator(call) else call.project))


@routes.route("DELETE", "/v1/keys/{key_id}", ADMIN, answer=wire.Key)
def revoke_key(call: Call, key_id: str) -> wire.Key:
    """Revoke a key and its sessions, at once here and within seconds in other replicas."""
    return keys.revoke(call.database, key_id, None if _is_operator(call) else call.project, by=call.caller.name)


@routes.route("GET", "/v1/projects", ADMIN, answer=ProjectList)
def list_projects(call: Call) -> ProjectList:
    """Projects and what is in them: all for the operator, else one's own. A project comes to be with its first key."""
    return ProjectList.model_construct(items=keys.list_projects(call.database, None if _is_operator(call) else call.project))


@routes.route("GET", "/v1/me", ANY, answer=Me)
def get_me(call: Call) -> Me:
    """Whose key this is."""
    caller = call.caller
    return Me(key_id=caller.key_id, name=caller.name, scope=caller.scope, project=caller.project)


@routes.route("POST", "/v1/sessions/codes", ANY, answer=LoginCode, status=201, secret=True)
def create_login_code(call: Call) -> LoginCode:
    """A code that opens one browser session acting as this key."""
    code = keys.create_login_code(call.database, call.caller.key_id)
    return LoginCode(code=code, path=f"/login#code={code}")


@routes.route("POST", "/v1/sessions", PUBLIC, answer=None, status=204)
def open_session(call: Call, body: Login) -> Response:
    """Log a browser in with a one-time code or a key: sets the session cookie."""
    auth.check_origin(call.request.headers, required=False)
    if body.code is not None:
        token = keys.open_session(call.database, body.code)
    else:
        token = keys.open_session_with_key(call.database, body.key or "")
    response = Response(status_code=204, headers={"Cache-Control": "no-store"})
    secure = call.request.url.scheme == "https"
    response.set_cookie(
        auth.SECURE_COOKIE if secure else auth.COOKIE,
        token,
        max_age=int(keys.SESSION_LIFETIME.total_seconds()),
        path="/",
        secure=secure,
        httponly=True,
        samesite="strict",
    )
    return response


@routes.route("DELETE", "/v1/sessions", ANY, answer=None, status=204)
def close_session(call: Call) -> Response:
    """Log out: ends the session whose cookie came along."""
    token = auth.get_session_token(call.request)
    if token is not None:
        keys.close_session(call.database, token)
    response = Response(status_code=204)
    response.delete_cookie(auth.COOKIE, path="/", httponly=True, samesite="strict")
    response.delete_cookie(auth.SECURE_COOKIE, path="/", secure=True, httponly=True, samesite="strict")
    return response


def _is_operator(call: Call) -> bool:
    return call.project == OPERATOR_PROJECT
