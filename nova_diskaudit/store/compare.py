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
    host.c.instances,
)


_SIGHTING = (
    sighting.c.host_id,
    sighting.c.uuid,
    sighting.c.project_id,
    sighting.c.virtual_bytes,
    sighting.c.virtual_unknown,
    sighting.c.service_codes,
)
_SIGHTED = host.join(sighting, sighting.c.host_id == host.c.id).outerjoin(
    instance, instance.c.uuid == sighting.c.uuid
)
_GIB = 2**30

_OTHER, _OTHER_HOST = sighting.alias("other"), host.alias("other_host")
_MINE = sighting.c.host_id
_OTHERS = sa.select(
    _MINE.label("mine"), sighting.c.uuid, *(_OTHER_HOST.c[column.name] for column in _HOST)
).select_from(
    sighting.join(
        _OTHER,
        sa.and_(_OTHER.c.uuid == sighting.c.uuid, _OTHER.c.host_id != sighting.c.host_id),
    ).join(_OTHER_HOST, _OTHER_HOST.c.id == _OTHER.c.host_id)
)
_CLAIMS = sa.select(
    allocations.c.uuid,
    allocations.c.provider_id,
    allocations.c.disk_gb,
    provider.c.name,
    provider.c.fetched_at,
).select_from(allocations.join(provider, provider.c.id == allocations.c.provider_id))
_MISSING = (
    sa.select(host.c.id.label("host_id"), instance.c.uuid, *_INSTANCE)
    .select_from(
        host.join(instance, instance.c.host == host.c.name).outerjoin(
            sighting,
            sa.and_(sighting.c.host_id == host.c.id, sighting.c.uuid == instance.c.uuid),
        )
    )
    .where(instance.c.deleted_at.is_(None), sighting.c.uuid.is_(None))
)


class Clocks(NamedTuple):
    """How far Nova and Placement were heard; moments, None: never."""

    nova_at: int | None
    placement_at: int | None


class Slice(NamedTuple):
    """What is strange about some hosts, and what is needed to judge it; Nova's columns are null
    where it does not know an instance.

    A sighting that everybody confirms (Nova has it there and nowhere else, Placement was promised
    what its disks have, its host is not silent, and nothing is noted of it) is left out: nothing
    can be found of it.
    """

    hosts: Sequence[sa.Row[Any]]
    #: how many sightings there are in all
    sighted: int
    sightings: Sequence[sa.Row[Any]]
    #: other sightings of the same instances, with their hosts; ``mine`` is the host that is judged
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


def doubled(engine: sa.Engine) -> dict[int, frozenset[str]]:
    """Instances that several hosts sight, or several providers promised something: UUIDs, by the
    id of each host that sights them.

    Once for all hosts, and in the order of an index: to look for each instance whether there is
    another such row costs more than all the rest.

    :raises nova_diskaudit.store.errors.StoreError:
    """
    found: dict[int, set[str]] = {}
    with transaction.read(engine) as connection:
        for table in (sighting, allocations):
            several = (
                sa.select(table.c.uuid)
                .group_by(table.c.uuid)
                .having(sa.func.count() > 1)
                .subquery("several")
            )
            statement = sa.select(sighting.c.host_id, sighting.c.uuid).select_from(
                several.join(sighting, sighting.c.uuid == several.c.uuid)
            )
            for host_id, uuid in connection.execute(trust.in_order(statement)):
                found.setdefault(host_id, set()).add(uuid)
    return {host_id: frozenset(uuids) for host_id, uuids in found.items()}


def of_hosts(
    engine: sa.Engine,
    first: int,
    last: int,
    *,
    stale_before: int,
    shared: Mapping[str, Shared],
    doubled: Mapping[int, frozenset[str]],
    codes: Iterable[str],
) -> Slice:
    """What has to be known to judge the hosts with ids from ``first`` to ``last``.

    :param stale_before: a report that was received before is old.
    :param shared: what the function of that name gave.
    :param doubled: as well.
    :param codes: findings that are wanted.
    :raises nova_diskaudit.store.errors.StoreError:
    """
    between = host.c.id.between(first, last)
    with transaction.read(engine, snapshot=True) as connection:

        def rows(statement: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
            return connection.execute(trust.in_order(statement)).all()

        hosts = rows(sa.select(*_HOST).where(between).order_by(host.c.id))
        findings = rows(
            sa.select(finding.c.host_id, finding.c.uuid, finding.c.code, finding.c.message).where(
                finding.c.host_id.between(first, last),
                finding.c.origin == "reconcile",
                finding.c.code.in_(sorted(codes)),
            )
        )
        found = {(row.host_id, row.uuid): row for row in rows(_strange(first, last, stale_before))}
        more = sorted({uuid for row in hosts for uuid in doubled.get(row.id, ())})
        for begin in range(0, len(more), _AT_ONCE):
            statement = sa.select(*_SIGHTING, *_INSTANCE).select_from(_SIGHTED)
            some = more[begin : begin + _AT_ONCE]
            for row in rows(statement.where(between, sighting.c.uuid.in_(some))):
                found[row.host_id, row.uuid] = row
        sightings = list(found.values())
        uuids = sorted({uuid for _, uuid in found})
        others: list[sa.Row[Any]] = []
        claims: list[sa.Row[Any]] = []
        for begin in range(0, len(uuids), _AT_ONCE):
            some = uuids[begin : begin + _AT_ONCE]
            others += rows(_OTHERS.where(_MINE.between(first, last), sighting.c.uuid.in_(some)))
            claims += rows(_CLAIMS.where(allocations.c.uuid.in_(some)))
        missing = rows(_MISSING.where(between))
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
        return Slice(
            hosts=hosts,
            sighted=sum(row.instances for row in hosts),
            sightings=sightings,
            others=others,
            claims=claims,
            missing=missing,
            storages=_storages(connection, mine),
            keys={host_id: frozenset(some) for host_id, some in keys.items()},
            findings=findings,
        )


def _strange(first: int, last: int, stale_before: int) -> sa.Select[Any]:
    """Sightings of which something could be found by what stands in one row."""
    fits = sa.and_(
        allocations.c.disk_gb * _GIB >= sighting.c.virtual_bytes,
        (allocations.c.disk_gb - 1) * _GIB < sighting.c.virtual_bytes,
    )
    strange = sa.or_(
        host.c.received_at < stale_before,
        sighting.c.service_codes != "",
        instance.c.uuid.is_(None),
        instance.c.deleted_at.is_not(None),
        instance.c.host.is_(None),
        instance.c.host != host.c.name,
        sa.and_(allocations.c.uuid.is_(None), sighting.c.virtual_bytes > 0),
        sa.and_(allocations.c.uuid.is_not(None), sa.not_(fits)),
    )
    joined = _SIGHTED.outerjoin(allocations, allocations.c.uuid == sighting.c.uuid)
    return (
        sa.select(*_SIGHTING, *_INSTANCE)
        .distinct()
        .select_from(joined)
        .where(host.c.id.between(first, last), strange)
    )


def _storages(
    connection: sa.Connection, wanted: list[tuple[int, str]]
) -> dict[tuple[int, str], record.Storage]:
    found: dict[tuple[int, str], record.Storage] = {}
    hosts = sorted({host_id for host_id, _ in wanted})
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
