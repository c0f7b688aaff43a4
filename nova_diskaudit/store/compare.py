# SPDX-License-Identifier: Apache-2.0
"""What is held against each other, some hosts at a time, as the database had it at one moment.

No statement is made for one instance: each is for all that some hosts have, by an index.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from nova_diskaudit import protocol, record
from nova_diskaudit.store import allocation, body, transaction, trust
from nova_diskaudit.store.tables import (
    allocation as allocations,
)
from nova_diskaudit.store.tables import (
    finding,
    host,
    instance,
    nova_map,
    provider,
    sighting,
    storage,
)

_AT_ONCE = 500

_INSTANCE = (
    instance.c.host.label("nova_host"),
    instance.c.other_host,
    instance.c.status,
    instance.c.task_state,
    instance.c.root_gb,
    instance.c.ephemeral_gb,
    instance.c.swap_mb,
    instance.c.seen_at,
    instance.c.moved_at,
    instance.c.deleted_at,
)
_HOST = (
    host.c.id,
    host.c.name,
    host.c.report_id,
    host.c.as_of,
    host.c.received_at,
    host.c.codes,
    host.c.service_codes,
)


class Clocks(NamedTuple):
    """How far Nova and Placement were heard; moments, None: never."""

    nova_at: int | None
    placement_at: int | None


class Slice(NamedTuple):
    """All that is known of some hosts, as rows; columns of Nova's word are null without it."""

    hosts: Sequence[sa.Row[Any]]
    #: sightings, with Nova's word about each
    sightings: Sequence[sa.Row[Any]]
    #: other sightings of the same instances, with their hosts; ``uuid`` and ``mine`` tell whose
    others: Sequence[sa.Row[Any]]
    #: what Placement promised these instances
    claims: Sequence[sa.Row[Any]]
    #: instances that Nova has on these hosts and that they do not tell of
    missing: Sequence[sa.Row[Any]]
    #: storages by (id of the host, key): only those that are looked at by way of this host
    storages: Mapping[tuple[int, str], record.Storage]
    #: keys of all storages of a host
    keys: Mapping[int, frozenset[str]]
    #: findings of this service about these hosts and their instances
    findings: Sequence[sa.Row[Any]]


def host_ids(engine: sa.Engine) -> list[int]:
    """All of them, in order.

    :raises nova_diskaudit.store.errors.StoreError:
    """
    with transaction.read(engine) as connection:
        return list(connection.scalars(sa.select(host.c.id).order_by(host.c.id)))


def clocks(engine: sa.Engine) -> Clocks:
    """How far Nova and Placement were heard.

    :raises nova_diskaudit.store.errors.StoreError:
    """
    with transaction.read(engine) as connection:
        nova_at = connection.scalar(sa.select(nova_map.c.complete_at).where(nova_map.c.id == 1))
        return Clocks(nova_at, allocation.complete_at(connection))


class Shared(NamedTuple):
    """A storage that several hosts have."""

    #: id of the one by whose report it is looked at; None: no report is new enough
    eye: int | None
    names: frozenset[str]


def shared(engine: sa.Engine, *, fresh_since: int) -> dict[str, Shared]:
    """Storages that several hosts have, by key: each is looked at by one report alone.

    :raises nova_diskaudit.store.errors.StoreError:
    """
    several = (
        sa.select(storage.c.key).group_by(storage.c.key).having(sa.func.count() > 1).subquery()
    )
    statement = (
        sa.select(storage.c.key, host.c.id, host.c.name, host.c.received_at)
        .select_from(
            several.join(storage, storage.c.key == several.c.key).join(
                host, host.c.id == storage.c.host_id
            )
        )
        .order_by(storage.c.key, host.c.id)
    )
    eye: dict[str, int] = {}
    names: dict[str, set[str]] = {}
    with transaction.read(engine) as connection:
        for row in connection.execute(statement):
            names.setdefault(row.key, set()).add(row.name)
            if row.received_at >= fresh_since:
                eye.setdefault(row.key, row.id)
    return {key: Shared(eye.get(key), frozenset(found)) for key, found in names.items()}


def of_hosts(
    engine: sa.Engine,
    first: int,
    last: int,
    *,
    shared: Mapping[str, Shared],
    codes: Iterable[str],
) -> Slice:
    """All that is known of the hosts with ids from ``first`` to ``last``.

    :param shared: what the function of that name gave.
    :param codes: findings that are wanted.
    :raises nova_diskaudit.store.errors.StoreError:
    """
    with transaction.read(engine, snapshot=True) as connection:
        found: dict[str, Any] = {
            name: connection.execute(trust.in_order(statement)).all()
            for name, statement in _statements(first, last, sorted(codes)).items()
        }
        keys: dict[int, set[str]] = {}
        mine = []
        for host_id, key in connection.execute(
            sa.select(storage.c.host_id, storage.c.key).where(
                storage.c.host_id.between(first, last)
            )
        ):
            keys.setdefault(host_id, set()).add(key)
            if key not in shared or shared[key].eye == host_id:
                mine.append((host_id, key))
        storages = _storages(connection, first, last, mine)
    return Slice(
        **found,
        storages=storages,
        keys={host_id: frozenset(some) for host_id, some in keys.items()},
    )


def _statements(first: int, last: int, codes: list[str]) -> dict[str, sa.Select[Any]]:
    of_hosts = sighting.c.host_id.between(first, last)
    other, other_host = sighting.alias("other"), host.alias("other_host")
    of_provider = provider.c.id == allocations.c.provider_id
    at_home = sa.and_(sighting.c.host_id == host.c.id, sighting.c.uuid == instance.c.uuid)
    return {
        "hosts": sa.select(*_HOST).where(host.c.id.between(first, last)).order_by(host.c.id),
        "sightings": sa.select(
            sighting.c.host_id,
            sighting.c.uuid,
            sighting.c.since_at,
            sighting.c.project_id,
            sighting.c.virtual_bytes,
            sighting.c.virtual_unknown,
            sighting.c.service_codes,
            *_INSTANCE,
        )
        .select_from(sighting.outerjoin(instance, instance.c.uuid == sighting.c.uuid))
        .where(of_hosts),
        "others": sa.select(
            sighting.c.host_id.label("mine"),
            sighting.c.uuid,
            other.c.since_at,
            *(other_host.c[column.name] for column in _HOST),
        )
        .select_from(
            sighting.join(
                other,
                sa.and_(other.c.uuid == sighting.c.uuid, other.c.host_id != sighting.c.host_id),
            ).join(other_host, other_host.c.id == other.c.host_id)
        )
        .where(of_hosts),
        "claims": sa.select(
            sighting.c.uuid,
            allocations.c.provider_id,
            allocations.c.disk_gb,
            provider.c.name,
            provider.c.fetched_at,
        )
        .distinct()
        .select_from(
            sighting.join(allocations, allocations.c.uuid == sighting.c.uuid).join(
                provider, of_provider
            )
        )
        .where(of_hosts),
        "missing": sa.select(host.c.id.label("host_id"), instance.c.uuid, *_INSTANCE)
        .select_from(
            host.join(instance, instance.c.host == host.c.name).outerjoin(sighting, at_home)
        )
        .where(
            host.c.id.between(first, last),
            instance.c.deleted_at.is_(None),
            sighting.c.uuid.is_(None),
        ),
        "findings": sa.select(
            finding.c.host_id, finding.c.uuid, finding.c.code, finding.c.message
        ).where(
            finding.c.host_id.between(first, last),
            finding.c.origin == "reconcile",
            finding.c.code.in_(codes),
        ),
    }


def _storages(
    connection: sa.Connection, first: int, last: int, wanted: list[tuple[int, str]]
) -> dict[tuple[int, str], record.Storage]:
    found: dict[tuple[int, str], record.Storage] = {}
    hosts = sorted({host_id for host_id, _ in wanted if first <= host_id <= last})
    keys = set(wanted)
    statement = sa.select(storage.c.host_id, storage.c.key, storage.c.body)
    for begin in range(0, len(hosts), _AT_ONCE):
        some = storage.c.host_id.in_(hosts[begin : begin + _AT_ONCE])
        for row in connection.execute(statement.where(some)):
            if (row.host_id, row.key) in keys:
                found[row.host_id, row.key] = body.unpack(row.body, record.Storage)
    return found


class Owners(NamedTuple):
    """Of some UUIDs: Nova's word, and the names of all hosts that sight them."""

    instances: Mapping[str, sa.Row[Any]]
    sighted: Mapping[str, frozenset[str]]
    #: names of hosts that Nova has these instances on, and that report
    reporting: frozenset[str]


def owners(engine: sa.Engine, uuids: Iterable[str]) -> Owners:
    """Who may own files that are named by these UUIDs, or has domains of them.

    :raises nova_diskaudit.store.errors.StoreError:
    """
    wanted = sorted(set(uuids))
    instances: dict[str, sa.Row[Any]] = {}
    sighted: dict[str, set[str]] = {}
    reporting: set[str] = set()
    with transaction.read(engine, snapshot=True) as connection:
        for begin in range(0, len(wanted), _AT_ONCE):
            some = wanted[begin : begin + _AT_ONCE]
            known = sa.select(instance.c.uuid, *_INSTANCE).where(instance.c.uuid.in_(some))
            instances |= {row.uuid: row for row in connection.execute(known)}
            where = (
                sa.select(sighting.c.uuid, host.c.name)
                .select_from(sighting.join(host, host.c.id == sighting.c.host_id))
                .where(sighting.c.uuid.in_(some))
            )
            for uuid, name in connection.execute(where):
                sighted.setdefault(uuid, set()).add(name)
        names = sorted({row.nova_host for row in instances.values() if row.nova_host is not None})
        for begin in range(0, len(names), _AT_ONCE):
            there = sa.select(host.c.name).where(host.c.name.in_(names[begin : begin + _AT_ONCE]))
            reporting |= set(connection.scalars(there))
    return Owners(
        instances,
        {uuid: frozenset(some) for uuid, some in sighted.items()},
        frozenset(reporting),
    )


def bodies(
    engine: sa.Engine, wanted: Iterable[tuple[int, str]]
) -> dict[tuple[int, str], protocol.Instance]:
    """The agents' words about some instances, by host and UUID.

    :raises nova_diskaudit.store.errors.StoreError:
    """
    subjects = set(wanted)
    uuids = sorted({uuid for _, uuid in subjects})
    found = {}
    with transaction.read(engine) as connection:
        for begin in range(0, len(uuids), _AT_ONCE):
            statement = sa.select(sighting.c.host_id, sighting.c.uuid, sighting.c.body).where(
                sighting.c.uuid.in_(uuids[begin : begin + _AT_ONCE])
            )
            for row in connection.execute(statement):
                if (row.host_id, row.uuid) in subjects:
                    said = body.unpack(row.body, protocol.Instance)
                    found[row.host_id, row.uuid] = said
    return found
