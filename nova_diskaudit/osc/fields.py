# SPDX-License-Identifier: Apache-2.0
"""What a command shows, said once for people and for programs.

A :class:`Field` is a column of a table, or a line of a single answer. On a terminal it has a
heading and words; for programs it stands for one key or several, with exact values. Text that
somebody else chose reaches words and flat formats only with everything visible that could move or
forge what a terminal shows; JSON and YAML carry it as it is, for they escape it themselves.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from nova_diskaudit.text import printable

#: Values by key: numbers, texts, None for unknown, and lists and mappings of them.
Row = Mapping[str, Any]

#: The format for people. Every other one is for programs.
TABLE = "table"
#: Formats that say lists and mappings themselves.
_STRUCTURED = frozenset({"json", "yaml"})
#: Longer than any name; findings' messages may be longer.
_TEXT_LIMIT = 400


class Field(NamedTuple):
    """``words`` makes of a row what people read; its texts are harmless already."""

    title: str
    keys: tuple[str, ...]
    words: Callable[[Row], str]
    is_number: bool = False


class Shown(NamedTuple):
    """What people read, and the value by which it is sorted."""

    text: str
    value: Any


def plain(title: str, key: str) -> Field:
    """A field whose one value is shown as it is; an unknown one is ``-``."""
    return Field(title, (key,), lambda row: _plain(row[key]))


def count(title: str, key: str) -> Field:
    """The same for a number."""
    return Field(title, (key,), lambda row: _plain(row[key]), is_number=True)


def headings(fields: Iterable[Field], form: str) -> list[str]:
    """The columns' names in a format."""
    if form == TABLE:
        return [field.title for field in fields]
    return [key for field in fields for key in field.keys]


def named(fields: Iterable[Field], names: Iterable[str], form: str) -> list[str]:
    """The columns that somebody means, by headings or by keys, as a format calls them.

    For programs a heading stands for its first key, on a terminal a key for the field that tells
    of it. Names that are none are left as they are, for the client to complain about.
    """
    found = []
    for name in names:
        word = _normal(name)
        of_title = next((one for one in fields if _normal(one.title) == word), None)
        of_key = next((one for one in fields if word in one.keys), None)
        if form == TABLE:
            field = of_title or of_key
            found.append(field.title if field is not None else name)
        elif of_key is not None:
            found.append(word)
        else:
            found.append(of_title.keys[0] if of_title is not None else name)
    return found


def for_people(fields: Sequence[Field], rows: Iterable[Row], encoding: str) -> list[list[Shown]]:
    """Words for a terminal of this encoding; numbers of a column end below each other."""
    table = []
    for row in rows:
        harmless = visible(row, encoding)
        table.append(
            [Shown(fit(field.words(harmless), encoding), row[field.keys[0]]) for field in fields]
        )
    for position, field in enumerate(fields):
        if field.is_number:
            width = max((len(cells[position].text) for cells in table), default=0)
            for cells in table:
                cells[position] = cells[position]._replace(text=cells[position].text.rjust(width))
    return table


def for_programs(
    fields: Sequence[Field], rows: Iterable[Row], form: str, encoding: str
) -> list[list[Any]]:
    """Exact values in the order of :func:`headings`."""
    keys = headings(fields, form)
    return [[_value(row[key], form, encoding) for key in keys] for row in rows]


def visible(value: Any, encoding: str) -> Any:
    """The same value with texts that a terminal of this encoding can show without harm."""
    if isinstance(value, str):
        return fit(printable(value, _TEXT_LIMIT), encoding)
    if isinstance(value, Mapping):
        return {name: visible(one, encoding) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [visible(one, encoding) for one in value]
    return value


def fit(text: str, encoding: str) -> str:
    """``text`` with what the encoding cannot say spelled out."""
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _normal(name: str) -> str:
    return name.strip().lower().replace(" ", "_")


def _plain(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, list):
        return " ".join(map(str, value)) or "-"
    return str(value)


def _value(value: Any, form: str, encoding: str) -> Any:
    if form in _STRUCTURED or value is None or isinstance(value, bool | int | float):
        return value
    if not isinstance(value, str):
        if all(isinstance(one, str) for one in value) and not isinstance(value, Mapping):
            value = ",".join(value)
        else:
            value = json.dumps(value, separators=(",", ":"))
    harmless = fit(printable(value, None), encoding)
    return _quoted(harmless) if form == "shell" else harmless


def _quoted(text: str) -> str:
    """What a POSIX shell reads as ``text`` between double quotes.

    The client's formatter escapes quotation marks and nothing else, and the answer is meant for
    ``eval``: a server called ``$(reboot)`` must stay a name.
    """
    for character in "\\$`":
        text = text.replace(character, "\\" + character)
    return text
