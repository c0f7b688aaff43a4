# SPDX-License-Identifier: Apache-2.0
"""What several nouns have in common."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal

import msgspec

from nova_diskaudit import record
from nova_diskaudit.store import finding

UUID_PATTERN = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
#: Text of a caller: no control characters, which PostgreSQL could not even compare with.
_TEXT = r"^[^\u0000-\u001f]*$"

Uuid = Annotated[str, msgspec.Meta(pattern=UUID_PATTERN)]
ProjectId = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=_TEXT)]
#: Spaces at an end are none: MariaDB compares without them.
HostName = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=255,
        pattern=r"^[^\s/\u0000-\u001f]([^/\u0000-\u001f]*[^\s/\u0000-\u001f])?$",
    ),
]
Code = Annotated[str, msgspec.Meta(pattern="^[a-z0-9][a-z0-9-]{0,63}$")]
Marker = Annotated[str, msgspec.Meta(min_length=1, max_length=512, pattern=_TEXT)]
Limit = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
Bytes = record.Bytes
Time = record.Time
Trust = Literal["verified", "pending", "unverified"]
Origin = Literal["agent", "reconcile"]


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """Where something is."""

    rel: str
    href: str


class ErrorEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What went wrong. ``code`` is stable; programs decide by it."""

    status: int
    code: str
    title: str
    detail: str
    request_id: str | None = None


class Errors(msgspec.Struct, frozen=True, kw_only=True):
    """Every answer that is not a success."""

    errors: tuple[ErrorEntry, ...]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A conclusion, and who drew it: the agent, or this service by comparing."""

    code: str
    severity: record.Severity
    message: str
    origin: Origin


def findings(agent: Iterable[record.Finding], own: Iterable[finding.Own]) -> tuple[Finding, ...]:
    """An agent's findings and this service's as one list."""
    told = [
        Finding(code=one.code, severity=one.severity, message=one.message, origin="agent")
        for one in agent
    ]
    told += [msgspec.convert({**one._asdict(), "origin": "reconcile"}, Finding) for one in own]
    return tuple(told)
