# SPDX-License-Identifier: Apache-2.0
"""The hosts: the chain of their reports, and what the service knows of them."""

from __future__ import annotations

import datetime
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import sqlalchemy as sa

from nova_diskaudit.store import moment, transaction
from nova_diskaudit.store.tables import host, storage

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

    id: int
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
    service_codes: str
    storages: list[bytes]


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
    if ids:
        bodies = sa.select(storage.c.host_id, storage.c.body).order_by(storage.c.key)
        for row in connection.execute(bodies.where(storage.c.host_id.in_(ids))):
            storages.setdefault(row.host_id, []).append(row.body)
    return [
        Known._make(
            (*(getattr(row, name) for name in Known._fields[:-1]), storages.get(row.id, []))
        )
        for row in rows
    ]


class Sums(NamedTuple):
    """Over all hosts; the age is None when there are none.

    ``reported`` has for each of :data:`WITHIN_SECONDS` how many reported within so many seconds;
    ``reports`` is how many reports were taken of them.
    """

    hosts: int
    reported: tuple[int, ...]
    reports: int
    instances: int
    disks: int
    virtual_bytes: int
    host_allocated_bytes: int
    oldest_age_seconds: float | None


#: An agent's cycle by default, three of them, an hour, a day.
WITHIN_SECONDS = (300, 900, 3600, 86400)


def summed(engine: sa.Engine, *, now: datetime.datetime) -> Sums:
    """Sums over all hosts.

    :raises nova_diskaudit.store.errors.StoreError:
    """
    at = moment.of(now)
    columns = (host.c.instances, host.c.disks, host.c.virtual_bytes, host.c.host_allocated_bytes)
    since = [at - seconds * 10**6 for seconds in WITHIN_SECONDS]
    statement = sa.select(
        sa.func.count(),
        *(sa.func.count(sa.case((host.c.received_at >= moment, 1))) for moment in since),
        sa.func.coalesce(sa.func.sum(host.c.reports), 0),
        # Not integers: a sum of bytes that a host made up could be more than 64 bits.
        *(sa.func.sum(column * sa.literal(1.0, sa.Float)) for column in columns),
        sa.func.min(host.c.received_at),
    )
    with transaction.read(engine) as connection:
        hosts, *rest, oldest = connection.execute(statement).one()
    age = (at - oldest) / 1e6 if oldest is not None else None
    numbers = [int(number or 0) for number in rest]
    reported, others = numbers[: len(since)], numbers[len(since) :]
    return Sums._make((hosts, tuple(reported), *others, age))


def demand_full(engine: sa.Engine, name: str | None, *, new_id: Callable[[], str]) -> int:
    """Give one host, or each, a current report that no agent knows; how many there were.

    The next delta does not fit, and its agent sends its whole state: after a restore of the
    database, for example.

    :raises nova_diskaudit.store.errors.StoreError:
    """
    wanted = sa.select(host.c.id).order_by(host.c.id)
    if name is not None:
        wanted = wanted.where(host.c.name == name)
    with transaction.read(engine) as connection:
        ids = list(connection.scalars(wanted))
    for host_id in ids:
        # One by one: a lock on all hosts would stop their reports.
        statement = sa.update(host).where(host.c.id == host_id).values(report_id=new_id())
        transaction.write(engine, functools.partial(sa.Connection.execute, statement=statement))
    return len(ids)
