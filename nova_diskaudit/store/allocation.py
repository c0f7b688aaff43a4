# SPDX-License-Identifier: Apache-2.0
"""What Placement allocated, by provider and consumer, as far as it was told.

Written by who holds the lease of the task. What a provider promised is replaced as a whole.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

import sqlalchemy as sa

from nova_diskaudit.store import task, transaction, upsert
from nova_diskaudit.store.tables import allocation, allocation_map, provider

_ROW = allocation_map.c.id == 1
_AT_ONCE = 500
_GONE = sa.delete(allocation).where(
    allocation.c.provider_id == sa.bindparam("provider"), allocation.c.uuid == sa.bindparam("gone")
)


class Provider(NamedTuple):
    """What is known of a provider. ``generation`` None: its allocations are to be asked for."""

    id: int
    generation: int | None
    fetched_at: int


def complete_at(connection: sa.Connection) -> int | None:
    """The begin of the last pass in which Placement told everything; None: there was none."""
    found: int | None = connection.scalar(sa.select(allocation_map.c.complete_at).where(_ROW))
    return found


def providers(engine: sa.Engine) -> dict[str, Provider]:
    """All that are known, by UUID.

    :raises nova_diskaudit.store.errors.StoreError:
    """
    columns = [provider.c[name] for name in Provider._fields]
    with transaction.read(engine) as connection:
        rows = connection.execute(sa.select(provider.c.uuid, *columns)).all()
    return {uuid: Provider(*rest) for uuid, *rest in rows}


class Told(NamedTuple):
    """All that a provider promised, in GiB by consumer."""

    uuid: str
    name: str
    generation: int
    #: a moment before it was told
    fetched_at: int
    disk_gb: Mapping[str, int]


def put(lease: task.Lease, told: Iterable[Told]) -> int:
    """Write what these promised, in one transaction; how many promises changed.

    :raises nova_diskaudit.store.task.LeaseLost:
    :raises nova_diskaudit.store.errors.StoreError:
    """
    wanted = list(told)

    def write(connection: sa.Connection) -> int:
        lease.hold(connection)
        return sum(_put(connection, one) for one in wanted)

    return transaction.write(lease.engine, write)


def _put(connection: sa.Connection, told: Told) -> int:
    values = {
        "name": told.name,
        "generation": told.generation,
        "fetched_at": told.fetched_at,
    }
    found = connection.scalar(sa.select(provider.c.id).where(provider.c.uuid == told.uuid))
    if found is None:
        done = connection.execute(sa.insert(provider), {"uuid": told.uuid, **values})
        assert done.inserted_primary_key is not None
        found = done.inserted_primary_key[0]
    else:
        connection.execute(sa.update(provider).where(provider.c.id == found).values(values))
    return _replace(connection, found, told.disk_gb)


def _replace(connection: sa.Connection, provider_id: int, disk_gb: Mapping[str, int]) -> int:
    of_provider = sa.select(allocation.c.uuid, allocation.c.disk_gb).where(
        allocation.c.provider_id == provider_id
    )
    before = {row.uuid: row.disk_gb for row in connection.execute(of_provider)}
    news = [
        {"provider_id": provider_id, "uuid": uuid, "disk_gb": number}
        for uuid, number in disk_gb.items()
        if before.get(uuid) != number
    ]
    if news:
        connection.execute(upsert.statement(allocation, connection.dialect.name), news)
    gone = [{"provider": provider_id, "gone": uuid} for uuid in before.keys() - disk_gb.keys()]
    if gone:
        connection.execute(_GONE, gone)
    return len(news) + len(gone)


def forget(lease: task.Lease, provider_ids: Iterable[int]) -> None:
    """Providers that are not there any more.

    :raises nova_diskaudit.store.task.LeaseLost:
    :raises nova_diskaudit.store.errors.StoreError:
    """

    def write(connection: sa.Connection, which: int) -> None:
        lease.hold(connection)
        connection.execute(sa.delete(allocation).where(allocation.c.provider_id == which))
        connection.execute(sa.delete(provider).where(provider.c.id == which))

    for which in provider_ids:
        transaction.write(lease.engine, functools.partial(write, which=which))


def ask_again(lease: task.Lease, provider_ids: Collection[int]) -> None:
    """What these promised may have changed without a trace in their generation.

    :raises nova_diskaudit.store.task.LeaseLost:
    :raises nova_diskaudit.store.errors.StoreError:
    """

    def write(connection: sa.Connection, some: list[int]) -> None:
        lease.hold(connection)
        connection.execute(
            sa.update(provider).where(provider.c.id.in_(some)).values(generation=None)
        )

    which = sorted(provider_ids)
    for begin in range(0, len(which), _AT_ONCE):
        some = which[begin : begin + _AT_ONCE]
        transaction.write(lease.engine, functools.partial(write, some=some))


def completed(lease: task.Lease, *, begun: int) -> None:
    """Placement told everything in a pass that began then.

    :raises nova_diskaudit.store.task.LeaseLost:
    :raises nova_diskaudit.store.errors.StoreError:
    """

    def write(connection: sa.Connection) -> None:
        lease.hold(connection)
        if connection.scalar(sa.select(allocation_map.c.id).where(_ROW)) is None:
            connection.execute(sa.insert(allocation_map), {"id": 1})
        connection.execute(sa.update(allocation_map).where(_ROW).values(complete_at=begun))

    transaction.write(lease.engine, write)
