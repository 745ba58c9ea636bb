"""The API's description, made from the routes: OpenAPI 3.1 at /openapi.json, and the same to read at /docs.

The page at /docs is plain HTML made here: viewers of OpenAPI are scripts from elsewhere, which the dashboard's content policy forbids
and a machine without internet does not get.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from api.examples import EXAMPLES
from api.routing import Endpoint
from tuner import __version__, wire

_REF = "#/components/schemas/{model}"
_INTRODUCTION = (
    "Submit a study, lease its trials, report, tell. Every call but the public ones needs `Authorization: Bearer KEY`. "
    'Non-finite numbers travel as the strings "NaN", "Infinity", "-Infinity". Errors are RFC 9457 problem+json with a stable `code`.'
)


def describe(tagged: Iterable[tuple[str, Sequence[Endpoint]]]) -> dict[str, Any]:
    """The OpenAPI document of these endpoints, by tag."""
    tagged = list(tagged)
    kinds = {str(kind): (kind, mode) for _, endpoints in tagged for endpoint in endpoints for kind, mode in _types(endpoint)}
    kinds[str(wire.Problem)] = (wire.Problem, "serialization")
    made, definitions = TypeAdapter.json_schemas(
        [(name, mode, TypeAdapter(kind)) for name, (kind, mode) in kinds.items()], ref_template=_REF
    )
    schemas = {name: made[(name, mode)] for name, (_, mode) in kinds.items()}
    paths: dict[str, dict[str, Any]] = {}
    for tag, endpoints in tagged:
        for endpoint in endpoints:
            operation = _operation(endpoint, schemas)
            paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = {"tags": [tag], **operation}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Tuner", "version": __version__, "description": _INTRODUCTION},
        "paths": paths,
        "components": {
            "schemas": definitions.get("$defs", {}),
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "an API key, tnr_<id>_<secret>"},
                "session": {"type": "apiKey", "in": "cookie", "name": "tuner_session"},
            },
        },
    }


def _types(endpoint: Endpoint) -> Iterable[tuple[Any, JsonSchemaMode]]:
    body = endpoint.body_schema or endpoint.body
    if body is not None:
        yield body, "validation"
    if endpoint.answer not in (None, bytes):
        yield endpoint.answer, "serialization"


def _operation(endpoint: Endpoint, schemas: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": endpoint.function.__name__,
        "summary": endpoint.summary,
        "parameters": [*_path_parameters(endpoint), *_query_parameters(endpoint.query), *_headers(endpoint)],
        "responses": {str(endpoint.status): _answer(endpoint, schemas), "default": _problem(schemas)},
        "security": [] if endpoint.scopes is None else [{"key": []}, {"session": []}],
        "x-scopes": None if endpoint.scopes is None else sorted(endpoint.scopes),
    }
    body = endpoint.body_schema or endpoint.body
    if body is not None:
        content: dict[str, Any] = {"schema": schemas[str(body)]}
        example = EXAMPLES.get(endpoint.function.__name__)
        if example is not None:
            content["example"] = example
        operation["requestBody"] = {"content": {"application/json": content}, "required": True}
    elif endpoint.streams:
        schema = {"type": "string", "format": "binary"}
        operation["requestBody"] = {"content": {"application/octet-stream": {"schema": schema}}, "required": True}
    return operation


def _path_parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "integer" if kind is int else "string"}}
        for name, kind in endpoint.path_parameters.items()
    ]


def _query_parameters(query: type[BaseModel] | None) -> list[dict[str, Any]]:
    if query is None:
        return []
    return [
        {"name": name, "in": "query", "required": False, "schema": schema}
        for name, schema in query.model_json_schema(mode="validation")["properties"].items()
    ]


def _headers(endpoint: Endpoint) -> list[dict[str, Any]]:
    names = [("Idempotency-Key", False)] if endpoint.method == "POST" and endpoint.scopes is not None else []
    if endpoint.streams:
        names.append(("X-Content-SHA256", True))
    if endpoint.media_type == "text/event-stream":
        names.append(("Last-Event-ID", False))
    return [{"name": name, "in": "header", "required": required, "schema": {"type": "string"}} for name, required in names]


def _answer(endpoint: Endpoint, schemas: dict[str, Any]) -> dict[str, Any]:
    if endpoint.answer is None:
        return {"description": "done"}
    schema = {"type": "string"} if endpoint.answer is bytes else schemas[str(endpoint.answer)]
    return {"description": "the answer", "content": {endpoint.media_type: {"schema": schema}}}


def _problem(schemas: dict[str, Any]) -> dict[str, Any]:
    return {"description": "a problem", "content": {"application/problem+json": {"schema": schemas[str(wire.Problem)]}}}


def render(document: dict[str, Any]) -> bytes:
    """The document as a page without script."""
    parts = [
        "<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        "<title>Tuner API</title><link rel=stylesheet href=/docs.css></head><body><main>"
        f"<h1>Tuner API <small>{escape(document['info']['version'])}</small></h1><p>{_code(document['info']['description'])}</p>"
        "<p><a href=/openapi.json>openapi.json</a></p>"
    ]
    tag = None
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if operation["tags"][0] != tag:
                tag = operation["tags"][0]
                parts.append(f"<h2>{escape(tag)}</h2>")
            parts.append(_section(path, method, operation))
    parts.append("<h2>schemas</h2>")
    parts += [_schema(name, schema) for name, schema in sorted(document["components"]["schemas"].items())]
    return "".join([*parts, "</main></body></html>"]).encode()


def _section(path: str, method: str, operation: dict[str, Any]) -> str:
    scopes = operation["x-scopes"]
    rows = [
        f"<tr><th><code>{escape(item['name'])}</code></th><td>{item['in']}</td><td>{escape(_type(item['schema']))}</td>"
        f"<td>{escape(item['schema'].get('description', ''))}</td></tr>"
        for item in operation["parameters"]
    ]
    body = ""
    for content in operation.get("requestBody", {}).get("content", {}).values():
        body = f"<p>body: {_link(content['schema'])}</p>"
        if "example" in content:
            body += f"<pre>{escape(_pretty(content['example']))}</pre>"
    answers = " ".join(
        f"{status}: {_link(content['schema'])}"
        for status, response in operation["responses"].items()
        if status != "default"
        for content in response.get("content", {}).values()
    )
    return (
        f"<section><h3><b>{method.upper()}</b> <code>{escape(path)}</code></h3><p>{_code(operation['summary'])}</p>"
        f"<p class=scopes>{'public' if scopes is None else escape(', '.join(scopes))}</p>"
        f"{'<table>' + ''.join(rows) + '</table>' if rows else ''}{body}<p>{answers}</p></section>"
    )


def _schema(name: str, schema: dict[str, Any]) -> str:
    required = set(schema.get("required", ()))
    rows = [
        f"<tr><th><code>{escape(field)}</code></th><td>{_link(item)}{'' if field in required else ' (optional)'}</td>"
        f"<td>{escape(item.get('description', ''))}</td></tr>"
        for field, item in schema.get("properties", {}).items()
    ]
    return (
        f"<section id='{escape(name)}'><h3>{escape(name)}</h3><p>{_code(schema.get('description', ''))}</p>"
        f"{'<table>' + ''.join(rows) + '</table>' if rows else escape(_type(schema))}</section>"
    )


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[-1]
    if "enum" in schema:
        return " | ".join(str(item) for item in schema["enum"])
    if "anyOf" in schema:
        return " | ".join(dict.fromkeys(_type(item) for item in schema["anyOf"]))
    kind = str(schema.get("type", "any"))
    return f"list of {_type(schema['items'])}" if kind == "array" and "items" in schema else kind


def _link(schema: dict[str, Any]) -> str:
    shown = escape(_type(schema))
    if "$ref" in schema:
        return f"<a href='#{shown}'>{shown}</a>"
    return shown


def _code(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))


def _pretty(value: object) -> str:
    return json.dumps(value, indent=2)


STYLE = b"""body{font:16px/1.5 system-ui,sans-serif;margin:0;color-scheme:light dark}main{max-width:60rem;margin:2rem auto;padding:0 1rem}
section{border-top:1px solid #8884;padding:.5rem 0}h3{font-weight:500}table{border-collapse:collapse}th,td{text-align:left;
padding:.15rem 1rem .15rem 0;vertical-align:top;font-weight:400}pre{overflow:auto;background:#8882;padding:.75rem}.scopes{opacity:.7}"""
