# SPDX-License-Identifier: Apache-2.0
"""What nobody will ask for again: hosts that fell silent, instances that are no more."""

from __future__ import annotations

import datetime
from typing import NamedTuple

import sqlalchemy as sa

from nova_diskaudit.store import moment, rollup, transaction
from nova_diskaudit.store.tables import finding, host, instance, sighting, storage

_AT_ONCE = 1000


class Purged(NamedTuple):
    """How many of each were removed."""

    hosts: int
    instances: int


def purge(engine: sa.Engine, *, before: datetime.datetime) -> Purged:
    """Remove hosts that have not reported since ``before``, with all that they reported, and what
    Nova deleted before it and no host reports any more.

    Who may report for a host is kept: the host may come back, and nobody else shall be it.

    :raises nova_diskaudit.store.errors.StoreError: what was removed until then stays removed.
    """
    moment_before = moment.of(before)
    with transaction.read(engine) as connection:
        silent = list(
            connection.scalars(sa.select(host.c.id).where(host.c.received_at < moment_before))
        )
    hosts = sum(_host(engine, host_id, moment_before) for host_id in silent)
    instances = 0
    while removed := transaction.write(engine, lambda c: _instances(c, moment_before)):
        instances += removed
    return Purged(hosts=hosts, instances=instances)


def _host(engine: sa.Engine, host_id: int, before: int) -> int:
    def remove(connection: sa.Connection) -> int:
        # Locked, and looked at again: it may have come back.
        still = sa.select(host.c.reports).where(host.c.id == host_id, host.c.received_at < before)
        reports = connection.scalar(still.with_for_update())
        if reports is None:
            return 0
        rollup.add_purged(connection, reports)
        for table in (finding, sighting, storage):
            connection.execute(sa.delete(table).where(table.c.host_id == host_id))
        connection.execute(sa.delete(host).where(host.c.id == host_id))
        return 1

    return transaction.write(engine, remove)


def _instances(connection: sa.Connection, before: int) -> int:
    """At most some of them, so that no transaction gets large."""
    sighted = sa.select(sa.literal(1)).where(sighting.c.uuid == instance.c.uuid)
    gone = list(
        connection.scalars(
            sa.select(instance.c.uuid)
            .where(instance.c.deleted_at < before, sa.not_(sa.exists(sighted)))
            .limit(_AT_ONCE)
        )
    )
    if gone:
        connection.execute(sa.delete(instance).where(instance.c.uuid.in_(gone)))
    return len(gone)
