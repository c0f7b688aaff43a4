# SPDX-License-Identifier: Apache-2.0
"""JSON exactly as the records say, in UTF-8, safe to show on a terminal."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from nova_diskaudit import record, text


def render(data: msgspec.Struct, *, pretty: bool = False) -> str:
    """One JSON object: a :class:`record.HostReport`, or any other struct. Ends with a newline."""
    try:
        document = msgspec.json.encode(data)
    except UnicodeEncodeError:
        # A file name that is not UTF-8 reaches us with lone surrogates, which JSON cannot carry.
        document = msgspec.json.encode(_without_surrogates(msgspec.to_builtins(data)))
    if pretty:
        document = msgspec.json.format(document, indent=2)
    return text.json_visible(document.decode()) + "\n"


def schema() -> str:
    """The JSON Schema of a report, as it is published."""
    return json.dumps(record.json_schema(), indent=2) + "\n"


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {key: _without_surrogates(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_surrogates(item) for item in value]
    return value
