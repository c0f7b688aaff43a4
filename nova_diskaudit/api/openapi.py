# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document, made of the table of routes and the structs that it names.

Nothing is written twice: a field's bounds are those that requests are held to, and a summary is
the one of the table.
"""

from __future__ import annotations

import functools
import inspect
import re
from typing import Any

import msgspec

from nova_diskaudit.api import policy, routes
from nova_diskaudit.api.schemas import common

_JSON = "application/json"
_ALWAYS = {400: "The question is not one", 503: "The database is not available"}
_AUTHENTICATED = {401: "Nobody knows who asks", 403: "The caller may not"}
_WORDS = {
    404: "There is no such thing, or none that the caller may see",
    409: "It does not fit what is known",
    411: "The length of the body is not given",
    413: "The body is too large",
    415: "The body is not of a type that is taken",
}


@functools.cache
def document() -> dict[str, Any]:
    """The document, ready for JSON."""
    types = _types()
    schemas, components = msgspec.json.schema_components(
        types, ref_template="#/components/schemas/{name}"
    )
    by_type = dict(zip(map(str, types), schemas, strict=True))
    for kind in routes.CHOOSABLE:
        name = by_type[str(kind)]["$ref"].rpartition("/")[2]
        components[name].pop("required")
    paths: dict[str, Any] = {}
    for route in routes.ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, by_type)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "nova-diskaudit",
            "version": "1.0",
            "summary": "What the disks of every Nova instance hold",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}
            },
        },
    }


def _types() -> list[Any]:
    found: list[Any] = [common.Errors, *routes.PATH_TYPES.values()]
    for route in routes.ROUTES:
        found += [route.answer, *route.problems.values()]
        found += [one for one in (route.body, route.query) if one is not None]
    return list({str(one): one for one in found}.values())


def _operation(route: routes.Route, by_type: dict[str, Any]) -> dict[str, Any]:
    media = route.media if route.answer is str else (_JSON,)
    schema = by_type[str(route.answer)]
    operation: dict[str, Any] = {
        "operationId": _operation_id(route),
        "summary": route.summary,
        "description": inspect.cleandoc(route.handler.__doc__ or ""),
        "parameters": [*_path_parameters(route, by_type), *_query_parameters(route)],
        "responses": {
            "200": {
                "description": "Success",
                "content": {one: {"schema": schema} for one in media},
            },
            **{
                str(status): _problem(words, by_type[str(kind)])
                for status, words, kind in _problems(route)
            },
        },
    }
    if route.body is not None:
        operation["requestBody"] = {
            "required": True,
            "description": "May be packed: Content-Encoding: gzip",
            "content": {_JSON: {"schema": by_type[str(route.body)]}},
        }
    if isinstance(route.access, policy.Public):
        operation["security"] = []
    else:
        operation["security"] = [{"token": []}]
    return operation


def _operation_id(route: routes.Route) -> str:
    words = re.findall(r"[a-z0-9]+", route.path.removeprefix("/v1")) or ["root"]
    return "_".join([route.method.lower(), *words])


def _path_parameters(route: routes.Route, by_type: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": by_type[str(routes.PATH_TYPES[name])],
        }
        for name in re.findall(r"{(\w+)}", route.path)
    ]


def _query_parameters(route: routes.Route) -> list[dict[str, Any]]:
    if route.query is None:
        return []
    parameters = []
    for field in msgspec.structs.fields(route.query):
        schema = msgspec.json.schema(field.type)
        # Absent is what null means: a query string has no null.
        kinds = [one for one in schema.pop("anyOf", [schema]) if one.get("type") != "null"]
        if "enum" in kinds[0]:
            kinds[0] = {**kinds[0], "enum": [one for one in kinds[0]["enum"] if one is not None]}
        parameters.append({"name": field.name, "in": "query", "schema": kinds[0]})
    return parameters


def _problems(route: routes.Route) -> list[tuple[int, str, Any]]:
    words = {**_ALWAYS}
    if not isinstance(route.access, policy.Public):
        words |= _AUTHENTICATED
    words |= {status: _WORDS[status] for status in route.problems}
    return [
        (status, text, route.problems.get(status, common.Errors))
        for status, text in sorted(words.items())
    ]


def _problem(words: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": words, "content": {_JSON: {"schema": schema}}}
