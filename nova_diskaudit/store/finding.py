# SPDX-License-Identifier: Apache-2.0
"""Findings as rows that can be asked for by code.

A finding has an origin, the agent that reports or this service that compares, and who writes
replaces only what is of its own origin. An instance that has one code for three of its disks has
one row; which disks, and the words, are in its report.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

import sqlalchemy as sa

from nova_diskaudit import findings
from nova_diskaudit.store import upsert
from nova_diskaudit.store.tables import finding

Origin = Literal["agent", "reconcile"]

#: The ``uuid`` of a finding about a host itself.
HOST = ""

_KEPT = frozenset({"since_at"})
_GONE = sa.delete(finding).where(
    finding.c.host_id == sa.bindparam("host"),
    finding.c.uuid == sa.bindparam("instance"),
    finding.c.code == sa.bindparam("gone"),
    finding.c.origin == sa.bindparam("whose"),
)
_FORGOTTEN = sa.delete(finding).where(
    finding.c.host_id == sa.bindparam("host"), finding.c.uuid == sa.bindparam("instance")
)


class Change(NamedTuple):
    """The codes of one instance (or of the host), before and now, with severities."""

    uuid: str
    before: frozenset[str]
    now: Mapping[str, str]
    messages: Mapping[str, str] = {}


def replace(
    connection: sa.Connection,
    host_id: int,
    origin: Origin,
    changes: Iterable[Change],
    *,
    received: int,
) -> None:
    """Write what differs, and nothing else; ``since_at`` of what stays is kept."""
    appeared, gone = [], []
    for change in changes:
        for code, severity in change.now.items():
            if code not in change.before:
                appeared.append(
                    {
                        "host_id": host_id,
                        "uuid": change.uuid,
                        "code": code,
                        "origin": origin,
                        "severity": severity,
                        "since_at": received,
                        "message": change.messages.get(code),
                    }
                )
        gone += [
            {"host": host_id, "instance": change.uuid, "gone": code, "whose": origin}
            for code in change.before.difference(change.now)
        ]
    if gone:
        connection.execute(_GONE, gone)
    if appeared:
        statement = upsert.statement(finding, connection.dialect.name, _KEPT)
        connection.execute(statement, appeared)


def forget(connection: sa.Connection, host_id: int, uuids: Iterable[str]) -> None:
    """Remove what anybody found about instances that a host does not have any more."""
    gone = [{"host": host_id, "instance": uuid} for uuid in uuids]
    if gone:
        connection.execute(_FORGOTTEN, gone)


def severity(code: str) -> str:
    """Severity of a finding of this service."""
    return findings.CATALOGUE[code].severity


def message(code: str, detail: str) -> str:
    """Words of a finding of this service."""
    return findings.finding(code, detail).message
