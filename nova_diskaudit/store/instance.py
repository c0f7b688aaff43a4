# SPDX-License-Identifier: Apache-2.0
"""Instances as they are believed: one row each, chosen by :mod:`.trust`."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import sqlalchemy as sa

from nova_diskaudit import protocol, record
from nova_diskaudit.store import body, moment, scope, transaction, trust
from nova_diskaudit.store import sighting as sighting_rows
from nova_diskaudit.store.tables import finding, host, instance, sighting

SortKey = Literal[
    "uuid",
    "virtual_bytes",
    "host_allocated_bytes",
    "guest_used_bytes",
    "reclaimable_low_bytes",
    "reclaimable_likely_bytes",
]


class Filters(NamedTuple):
    """What a reader asks for; None asks for nothing."""

    project_id: str | None = None
    host: str | None = None
    finding: str | None = None
    min_reclaimable_bytes: int | None = None
    trust: trust.Trust | None = None


class Page(NamedTuple):
    """Which part of a list, in which order: at most ``limit`` that come after ``marker``."""

    limit: int
    marker: str | None = None
    sort: SortKey = "uuid"
    descending: bool = False


class MarkerUnknown(LookupError):
    """The marker names nothing that the reader could have seen."""


class Believed(NamedTuple):
    """One instance by its best sighting. Times are moments."""

    uuid: str
    rank: int
    host_id: int
    host: str
    as_of: int
    #: of the host's report: what it says nothing else about is as of then
    report_as_of: int
    received_at: int
    since_at: int
    changed_at: int
    project_id: str | None
    user_id: str | None
    name: str | None
    disks: int
    virtual_bytes: int
    virtual_unknown: int
    host_allocated_bytes: int
    host_allocated_unknown: int
    guest_used_bytes: int
    guest_used_unknown: int
    used_low_bytes: int | None
    used_high_bytes: int | None
    reclaimable_low_bytes: int
    reclaimable_likely_bytes: int
    reclaimable_high_bytes: int | None
    service_codes: str
    #: None if it was not asked for
    body: bytes | None

    def reported(self) -> record.Instance:
        """The agent's words, with every time set."""
        assert self.body is not None
        said = body.unpack(self.body, protocol.Instance)
        return protocol.resolved_instance(said, moment.time(self.report_as_of))


class Other(NamedTuple):
    """A sighting of the same instance that is not the one believed."""

    host: str
    rank: int
    as_of: int
    since_at: int
    host_allocated_bytes: int


def listed(
    engine: sa.Engine,
    who: scope.Scope,
    filters: Filters,
    page: Page,
    *,
    nova: bool,
    with_body: bool = True,
) -> tuple[list[Believed], bool]:
    """One page, and whether there is another.

    :param nova: whether Nova's ledger is kept.
    :param with_body: whether the agent's words are wanted, which are nine tenths of the bytes.
    :raises MarkerUnknown:
    :raises nova_diskaudit.store.errors.StoreError:
    """
    lead = _lead(who, filters, page, nova=nova, dialect=engine.dialect.name)
    joined = trust.join(nova=nova, lead=lead)
    uuid = joined.uuid
    conditions = [*_visible(who, joined), *_wanted(filters, joined, lead)]
    key = sighting.c[page.sort]
    in_order = page.sort == "uuid"
    plain = in_order and filters.finding is None
    with transaction.read(engine, snapshot=True, page=plain) as connection:
        if page.marker is not None:
            conditions.append(_after(connection, who, joined, page, uuid))
        order = [uuid] if in_order else [key, uuid]
        statement = (
            _select(joined)
            .where(*conditions)
            .order_by(*[column.desc() if page.descending else column for column in order])
            .limit(page.limit + 1)
        )
        if lead == "sighting" and in_order and not _is_of_project(who, filters):
            statement = trust.by_index(statement, sighting, "ix_sighting_uuid")
        rows = list(connection.execute(trust.in_order(statement)))
        words = sighting_rows.bodies(connection, rows[: page.limit]) if with_body else {}
    found: dict[str, Believed] = {}
    for row in rows[: page.limit]:
        # Led by findings an instance comes once for each origin of the code.
        said = words.get((row.host_id, row.uuid))
        found.setdefault(row.uuid, Believed._make((*row, said)))
    return list(found.values()), len(rows) > page.limit


def _lead(
    who: scope.Scope, filters: Filters, page: Page, *, nova: bool, dialect: str
) -> trust.Lead:
    """The table that leads to the page by the shortest way.

    Many or few may have a finding. PostgreSQL knows which, and takes the way that suits; MariaDB
    is led by the findings, in the order of their index.
    """
    if filters.host is not None:
        return "host"
    if _is_of_project(who, filters):
        return "instance" if nova else "sighting"
    if filters.finding is not None and page.sort == "uuid" and dialect in ("mysql", "mariadb"):
        return "finding"
    return "sighting"


def _is_of_project(who: scope.Scope, filters: Filters) -> bool:
    return isinstance(who, scope.OfProject) or filters.project_id is not None


def shown(engine: sa.Engine, who: scope.Scope, uuid: str, *, nova: bool) -> Believed | None:
    """One instance; None if there is none, or none that the reader may see.

    :raises nova_diskaudit.store.errors.StoreError:
    """
    joined = trust.join(nova=nova)
    statement = _select(joined).where(sighting.c.uuid == uuid, *_visible(who, joined))
    with transaction.read(engine, snapshot=True) as connection:
        row = connection.execute(statement).one_or_none()
        if row is None:
            return None
        return Believed._make((*row, sighting_rows.bodies(connection, [row])[row.host_id, uuid]))


def others(engine: sa.Engine, uuid: str, *, nova: bool) -> list[Other]:
    """The sightings of an instance that are not believed: for operators only.

    :raises nova_diskaudit.store.errors.StoreError:
    """
    joined = trust.join(nova=nova)
    statement = (
        sa.select(
            host.c.name,
            joined.rank,
            sa.func.coalesce(sighting.c.as_of, host.c.as_of),
            sighting.c.since_at,
            sighting.c.host_allocated_bytes,
        )
        .select_from(joined.source)
        .where(sighting.c.uuid == uuid, sa.not_(joined.is_best))
        .order_by(host.c.name)
    )
    with transaction.read(engine) as connection:
        return [Other(*row) for row in connection.execute(statement)]


def _select(joined: trust.Join) -> sa.Select[Any]:
    columns: dict[str, Any] = {
        **{column.name: column for column in sighting.c},
        "rank": joined.rank,
        "host": host.c.name,
        "as_of": sa.func.coalesce(sighting.c.as_of, host.c.as_of),
        "report_as_of": host.c.as_of,
        "received_at": host.c.received_at,
        "project_id": joined.owner,
        "user_id": instance.c.user_id,
        "name": instance.c.name,
    }
    names = [name for name in Believed._fields if name != "body"]
    return sa.select(*[columns[name].label(name) for name in names]).select_from(joined.source)


def _visible(who: scope.Scope, joined: trust.Join) -> list[Any]:
    if isinstance(who, scope.OfProject):
        return [joined.owner == who.project_id, joined.tenant_sees, joined.is_best]
    return [joined.is_best]


def _wanted(filters: Filters, joined: trust.Join, lead: trust.Lead) -> list[Any]:
    conditions: list[Any] = []
    if filters.project_id is not None:
        conditions.append(joined.owner == filters.project_id)
    if filters.host is not None:
        conditions.append(host.c.name == filters.host)
    if filters.min_reclaimable_bytes is not None:
        conditions.append(sighting.c.reclaimable_likely_bytes >= filters.min_reclaimable_bytes)
    if filters.finding is not None and lead == "finding":
        conditions.append(finding.c.code == filters.finding)
    elif filters.finding is not None:
        has = sa.select(sa.literal(1)).where(
            finding.c.code == filters.finding,
            finding.c.uuid == sighting.c.uuid,
            finding.c.host_id == sighting.c.host_id,
        )
        conditions.append(sa.exists(has))
    if filters.trust is not None:
        conditions.append(joined.rank.in_(trust.ranks(filters.trust)))
    return conditions


def _after(
    connection: sa.Connection,
    who: scope.Scope,
    joined: trust.Join,
    page: Page,
    uuid: sa.ColumnElement[str],
) -> sa.ColumnElement[bool]:
    """What comes after the marker, in the order of the page."""
    if page.sort == "uuid":
        return uuid < page.marker if page.descending else uuid > page.marker
    key = sighting.c[page.sort]
    value = connection.scalar(
        sa.select(key).select_from(joined.source).where(uuid == page.marker, *_visible(who, joined))
    )
    if value is None:
        raise MarkerUnknown(page.marker)
    if page.descending:
        return sa.or_(key < value, sa.and_(key == value, uuid < page.marker))
    return sa.or_(key > value, sa.and_(key == value, uuid > page.marker))
