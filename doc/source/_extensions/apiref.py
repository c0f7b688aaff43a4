# SPDX-License-Identifier: Apache-2.0
"""``api-reference`` and ``api-objects``: each call of the API and each object in its answers.

Made of the table of routes, of the OpenAPI document and of the rules of oslo.policy, so that what
is written here is what requests are held to.
"""

import re
from collections.abc import Iterator
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import nested_parse_with_titles

from nova_diskaudit.api import openapi, policies, policy, routes


def reference() -> Iterator[str]:
    """A section for each call, as reStructuredText."""
    document = openapi.document()
    for route in routes.ROUTES:
        operation = document["paths"][route.path][route.method.lower()]
        title = f"{route.method} {_plain(route.path)}"
        yield from (f".. _api-{operation['operationId']}:", "", title, "-" * len(title), "")
        yield from (f"**{_plain(operation['summary'])}.** {_plain(operation['description'])}", "")
        yield from _access(route.access)
        yield from _parameters(operation["parameters"])
        if "requestBody" in operation:
            body = operation["requestBody"]
            yield from _lead("Body", f"{_kind(_schema(body))}. {_plain(body['description'])}.")
        yield from _answers(operation["responses"])


def objects() -> Iterator[str]:
    """Every object that goes in or comes out, with its fields."""
    schemas = openapi.document()["components"]["schemas"]
    for name in sorted(_reached(), key=lambda one: (_short(one).lower(), one)):
        schema = schemas[name]
        title = _title(name)
        yield from (f".. _api-object-{_label(name)}:", "", title, "-" * len(title), "")
        yield from (_plain(" ".join(schema.get("description", "").split())), "")
        required = schema.get("required", ())
        yield from _table(
            ("field", "type"),
            [
                (
                    f"``{field}``",
                    _kind(kind) + ("" if field in required else " (may be missing)"),
                )
                for field, kind in schema.get("properties", {}).items()
            ],
        )


def _access(access: policy.Access) -> Iterator[str]:
    if isinstance(access, policy.Public):
        yield from _lead("Who", "anybody, without a token.")
        return
    rules = {rule.name: rule for rule in policies.list_rules()}
    rows = []
    for name in access:
        rule = rules[name]
        rows.append((f"``{name}``", f"``{rule.check_str}``", _plain(rule.description)))
    yield from _lead("Who", "a token that one of these policies allows, by their defaults:")
    yield from _table(("policy", "default", "what it opens"), rows)


def _parameters(parameters: list[dict[str, Any]]) -> Iterator[str]:
    if parameters:
        yield from _lead("Parameters", "")
        rows = [
            (f"``{one['name']}``", one["in"], _kind(one["schema"], of_text=True))
            for one in parameters
        ]
        yield from _table(("name", "in", "what it may be"), rows)


def _answers(responses: dict[str, Any]) -> Iterator[str]:
    yield from _lead("Answers", "")
    rows = []
    for status, response in sorted(responses.items()):
        media = ", ".join(f"``{name}``" for name in response["content"])
        what = f"{_kind(_schema(response))} ({media})"
        rows.append((status, _plain(response["description"]), what))
    yield from _table(("status", "when", "what comes"), rows)


def _schema(holder: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = next(iter(holder["content"].values()))["schema"]
    return schema


def _kind(schema: dict[str, Any], *, of_text: bool = False) -> str:
    """What a value may be, in words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f":ref:`{_title(name)} <api-object-{_label(name)}>`"
    if "anyOf" in schema:
        return " or ".join(_kind(one, of_text=of_text) for one in schema["anyOf"])
    if "enum" in schema:
        return " or ".join("null" if one is None else f"``{one}``" for one in schema["enum"])
    kind = schema.get("type", "anything")
    if kind == "array":
        items = schema.get("items") or {}
        return f"list of {_kind(items)}" if items else "list"
    if kind in ("integer", "number"):
        return _bounds(schema)
    if kind == "string":
        return _text(schema, of_text=of_text)
    return {"object": "object", "null": "null", "boolean": "true or false"}.get(kind, "anything")


def _bounds(schema: dict[str, Any]) -> str:
    word = "whole number" if schema["type"] == "integer" else "number"
    if "minimum" in schema and "maximum" in schema:
        return f"{word}, {schema['minimum']} to {schema['maximum']}"
    return f"{word}, at least {schema['minimum']}" if "minimum" in schema else word


def _text(schema: dict[str, Any], *, of_text: bool) -> str:
    if schema.get("format") == "date-time":
        return "time (RFC 3339)"
    words = "text"
    if "maxLength" in schema:
        words += f" of {schema.get('minLength', 0)} to {schema['maxLength']} characters"
    choice = re.fullmatch(r"\^\(([\w|]+)\)(.*)\$", schema.get("pattern", ""))
    if of_text and choice:
        names = ", ".join(f"``{name}``" for name in choice[1].split("|"))
        if choice[2].startswith("(:(asc"):
            return f"one of {names}; ``:asc`` or ``:desc`` may follow"
        return f"some of {names}, with commas between"
    if of_text and "pattern" in schema:
        words += f" like ``{_readable(schema['pattern'])}``"
    return words


def _readable(pattern: str) -> str:
    """A pattern for a literal of reStructuredText, which knows no escapes."""
    return pattern.replace("`", "'")


def _reached() -> set[str]:
    """Names of the objects that calls mention, and of those within them."""
    document = openapi.document()
    schemas = document["components"]["schemas"]
    found: set[str] = set()
    left: list[Any] = [
        [operation["responses"], operation.get("requestBody")]
        for path in document["paths"].values()
        for operation in path.values()
    ]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            name = str(one.get("$ref", "")).rpartition("/")[2]
            if name and name not in found:
                found.add(name)
                left.append(schemas[name])
            left += one.values()
        elif isinstance(one, list):
            left += one
    return found


def _short(name: str) -> str:
    return name.rpartition(".")[2]


def _title(name: str) -> str:
    """The object's name; of two that have one, with the module that tells them apart."""
    parts = name.split(".")
    same = [one for one in openapi.document()["components"]["schemas"] if _short(one) == parts[-1]]
    return f"{parts[-1]} ({parts[-2]})" if len(same) > 1 and len(parts) > 1 else parts[-1]


def _label(name: str) -> str:
    return name.lower().replace(".", "-").replace("_", "-")


def _lead(word: str, text: str) -> Iterator[str]:
    yield from (f"*{word}:* {text}".rstrip(), "")


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    if not rows:
        return
    yield from (".. list-table::", "   :header-rows: 1", "")
    for row in (head, *rows):
        for mark, cell in zip(("*", *" " * (len(row) - 1)), row, strict=True):
            first, *others = cell.splitlines() or [""]
            yield f"   {mark} - {first}".rstrip()
            yield from (f"       {line}" for line in others)
    yield ""


def _plain(text: str) -> str:
    """Words that are no markup, but for literals."""
    parts = re.split(r"(``.*?``)", text)
    return "".join(
        part
        if part.startswith("``")
        else "".join(f"\\{mark}" if mark in "\\*`_|" else mark for mark in part)
        for part in parts
    )


class Sections(SphinxDirective):
    """Generated sections where the directive stands."""

    def lines(self) -> Iterator[str]:
        """What they are, as reStructuredText."""
        raise NotImplementedError

    def run(self) -> list[nodes.Node]:
        """Parse them."""
        self.env.note_dependency(routes.__file__)
        holder = nodes.section()
        holder.document = self.state.document
        lines = StringList(list(self.lines()), routes.__file__)
        nested_parse_with_titles(self.state, lines, holder)
        return holder.children


class Reference(Sections):
    """A section for each call."""

    def lines(self) -> Iterator[str]:
        """All calls."""
        return reference()


class Objects(Sections):
    """A section for each object."""

    def lines(self) -> Iterator[str]:
        """All objects."""
        return objects()


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives."""
    app.add_directive("api-reference", Reference)
    app.add_directive("api-objects", Objects)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
