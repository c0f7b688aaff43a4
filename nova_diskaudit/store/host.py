# SPDX-License-Identifier: Apache-2.0
"""The hosts: the chain of their reports, and what the service knows of them."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import sqlalchemy as sa

from nova_diskaudit.store import transaction
from nova_diskaudit.store.tables import finding, host, storage

_LOCKED = sa.select(host).where(host.c.name == sa.bindparam("host")).with_for_update()
_RENEW = sa.update(host).where(
    host.c.id == sa.bindparam("which"), host.c.report_id == sa.bindparam("expected")
)


def lock(connection: sa.Connection, name: str) -> sa.Row[Any] | None:
    """The host's row, which nobody else can change until the transaction ends; None if new."""
    return connection.execute(_LOCKED, {"host": name}).one_or_none()


def insert(connection: sa.Connection, values: dict[str, Any]) -> int:
    """The first report of a host; its id.

    :raises oslo_db.exception.DBDuplicateEntry: another one was first.
    """
    done = connection.execute(sa.insert(host), values)
    assert done.inserted_primary_key is not None
    return int(done.inserted_primary_key[0])


def renew(connection: sa.Connection, host_id: int, current: str, values: dict[str, Any]) -> bool:
    """Renew the row if its current report is still ``current``; whether it was."""
    new = {f"new_{name}": value for name, value in values.items()}
    done = connection.execute(_renew(tuple(values)), {"which": host_id, "expected": current, **new})
    return done.rowcount == 1


@functools.cache
def _renew(names: tuple[str, ...]) -> sa.Update:
    return _RENEW.values({name: sa.bindparam(f"new_{name}") for name in names})


class Known(NamedTuple):
    """What is known of one host. Times are moments; lists are the agent's words, packed."""

    name: str
    report_id: str
    agent: str
    as_of: int
    received_at: int
    contested_at: int | None
    instances: int
    disks: int
    virtual_bytes: int
    host_allocated_bytes: int
    findings: bytes
    storages: list[bytes]
    #: of this service: code, severity, message
    own_findings: list[tuple[str, str, str]]


def listed(engine: sa.Engine, *, limit: int, marker: str | None = None) -> tuple[list[Known], bool]:
    """Hosts by name, at most ``limit`` after ``marker``, and whether there are more.

    :raises nova_diskaudit.store.errors.StoreError:
    """
    statement = sa.select(host).order_by(host.c.name).limit(limit + 1)
    if marker is not None:
        statement = statement.where(host.c.name > marker)
    with transaction.read(engine, snapshot=True) as connection:
        rows = list(connection.execute(statement))
        return _known(connection, rows[:limit]), len(rows) > limit


def shown(engine: sa.Engine, name: str) -> Known | None:
    """One host; None if it never reported.

    :raises nova_diskaudit.store.errors.StoreError:
    """
    with transaction.read(engine, snapshot=True) as connection:
        rows = list(connection.execute(sa.select(host).where(host.c.name == name)))
        return next(iter(_known(connection, rows)), None)


def _known(connection: sa.Connection, rows: list[sa.Row[Any]]) -> list[Known]:
    ids = [row.id for row in rows]
    storages: dict[int, list[bytes]] = {}
    found: dict[int, list[tuple[str, str, str]]] = {}
    if ids:
        bodies = sa.select(storage.c.host_id, storage.c.body).order_by(storage.c.key)
        for row in connection.execute(bodies.where(storage.c.host_id.in_(ids))):
            storages.setdefault(row.host_id, []).append(row.body)
        own = sa.select(finding).where(
            finding.c.host_id.in_(ids), finding.c.uuid == "", finding.c.origin == "reconcile"
        )
        for row in connection.execute(own.order_by(finding.c.code)):
            words = (row.code, row.severity, row.message)
            found.setdefault(row.host_id, []).append(words)
    return [
        Known._make(
            (
                *(getattr(row, name) for name in Known._fields[:-2]),
                storages.get(row.id, []),
                found.get(row.id, []),
            )
        )
        for row in rows
    ]
