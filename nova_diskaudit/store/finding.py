# SPDX-License-Identifier: Apache-2.0
"""Findings as rows that can be asked for by code.

A finding has an origin, the agent that reports or this service that compares, and who writes
replaces only what is of its own origin. An instance that has one code for three of its disks has
one row; which disks, and the words, are in its report.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

import sqlalchemy as sa

from nova_diskaudit import findings
from nova_diskaudit.store import moment, scope, task, transaction, trust, upsert
from nova_diskaudit.store import sighting as sighting_rows
from nova_diskaudit.store.tables import finding, host, instance, sighting

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
    return findings.finding(code, detail or None).message


# --- what a comparison found -------------------------------------------------------------------


class Settled(NamedTuple):
    """What becomes of the findings of this service about one host and its instances."""

    host_id: int
    #: the report by which it was judged: if another came since, all of it is left for the next time
    report_id: str
    #: messages, by UUID (empty: the host itself) and code; ``since_at`` of what is there is kept
    found: Mapping[tuple[str, str], str]
    gone: frozenset[tuple[str, str]]

    @property
    def size(self) -> int:
        """How many rows it writes."""
        return len(self.found) + len(self.gone)


def settle(lease: task.Lease, changes: Iterable[Settled]) -> int:
    """Write all of these in one transaction; how many hosts had a newer report, and were left.

    :raises nova_diskaudit.store.task.LeaseLost:
    :raises nova_diskaudit.store.errors.StoreError:
    """
    wanted = sorted(changes)

    def write(connection: sa.Connection) -> int:
        lease.hold(connection)
        left = 0
        # In the order of ids, and before anything else: nobody waits for another in a circle.
        for one in wanted:
            locked = sa.select(host.c.report_id, host.c.service_codes).where(
                host.c.id == one.host_id
            )
            row = connection.execute(locked.with_for_update()).one_or_none()
            if row is None or row.report_id != one.report_id:
                left += 1
                continue
            _settle(connection, one, row.service_codes, at=moment.of(lease.clock()))
        return left

    return transaction.write(lease.engine, write)


def _settle(connection: sa.Connection, one: Settled, codes_of_host: str, *, at: int) -> None:
    gone = [
        {"host": one.host_id, "instance": uuid, "gone": code, "whose": "reconcile"}
        for uuid, code in sorted(one.gone)
    ]
    if gone:
        connection.execute(_GONE, gone)
    rows = [
        {
            "host_id": one.host_id,
            "uuid": uuid,
            "code": code,
            "origin": "reconcile",
            "severity": severity(code),
            "since_at": at,
            "message": words,
        }
        for (uuid, code), words in sorted(one.found.items())
    ]
    if rows:
        connection.execute(upsert.statement(finding, connection.dialect.name, _KEPT), rows)
    uuids = {uuid for uuid, _ in (*one.found, *one.gone)}
    if HOST in uuids:
        new = _renewed(codes_of_host, HOST, one)
        if new != codes_of_host:
            values = {"service_codes": new}
            connection.execute(sa.update(host).where(host.c.id == one.host_id).values(values))
    known = sighting_rows.service_codes(connection, one.host_id, uuids - {HOST})
    sighting_rows.put_service_codes(
        connection,
        one.host_id,
        {uuid: (codes, _renewed(codes, uuid, one)) for uuid, codes in known.items()},
    )


def _renewed(codes: str, uuid: str, one: Settled) -> str:
    gone = {code for about, code in one.gone if about == uuid}
    found = {code for about, code in one.found if about == uuid}
    return sighting_rows.words((set(codes.split()) - gone) | found)


class Own(NamedTuple):
    """A finding of this service."""

    code: str
    severity: str
    message: str


def own(engine: sa.Engine, subjects: Iterable[tuple[int, str]]) -> dict[tuple[int, str], list[Own]]:
    """Findings of this service about each of ``subjects`` (id of the host, UUID).

    :raises nova_diskaudit.store.errors.StoreError:
    """
    wanted = list(subjects)
    found: dict[tuple[int, str], list[Own]] = {subject: [] for subject in wanted}
    if not wanted:
        return found
    statement = (
        sa.select(finding)
        .where(
            finding.c.origin == "reconcile",
            sa.or_(
                *(
                    sa.and_(finding.c.host_id == host_id, finding.c.uuid == uuid)
                    for host_id, uuid in wanted
                )
            ),
        )
        .order_by(finding.c.code)
    )
    with transaction.read(engine) as connection:
        for row in connection.execute(statement):
            found[row.host_id, row.uuid].append(Own(row.code, row.severity, row.message))
    return found


class Key(NamedTuple):
    """The place of a finding in the list: by code, then by what it is about.

    ``host`` is None for a reader that sees one host of each instance and does not know its name.
    """

    code: str
    uuid: str
    host: str | None
    origin: str


class MarkerUnknown(LookupError):
    """The marker names a host that is not known."""


class Filters(NamedTuple):
    """What a reader asks for; None asks for nothing."""

    project_id: str | None = None
    host: str | None = None
    instance: str | None = None
    code: str | None = None
    severity: str | None = None
    origin: str | None = None


class Found(NamedTuple):
    """One finding, with the report that it is told in."""

    code: str
    uuid: str
    host_id: int
    host: str
    origin: Origin
    severity: str
    since_at: int
    message: str | None
    project_id: str | None
    #: of the host: its own findings
    host_findings: bytes
    #: of the instance; None if it is about the host
    body: bytes | None


def listed(
    engine: sa.Engine,
    who: scope.Scope,
    filters: Filters,
    *,
    nova: bool,
    limit: int,
    marker: Key | None = None,
) -> tuple[list[Found], bool]:
    """At most ``limit`` findings after ``marker``, and whether there are more.

    A project sees those about its instances, as they are believed.

    :param nova: whether Nova's ledger is kept.
    :raises MarkerUnknown:
    :raises nova_diskaudit.store.errors.StoreError:
    """
    joined = trust.join(nova=nova)
    of_project = isinstance(who, scope.OfProject) or filters.project_id is not None
    conditions: list[Any] = []
    if isinstance(who, scope.OfProject):
        conditions += [finding.c.uuid != HOST, joined.owner == who.project_id]
        conditions += [joined.tenant_sees, joined.is_best]
    wanted = {
        joined.owner: filters.project_id,
        host.c.name: filters.host,
        finding.c.uuid: filters.instance,
        finding.c.code: filters.code,
        finding.c.severity: filters.severity,
        finding.c.origin: filters.origin,
    }
    conditions += [column == value for column, value in wanted.items() if value is not None]
    columns: dict[str, Any] = {
        **{column.name: column for column in finding.c},
        "host": host.c.name,
        "project_id": joined.owner,
        "host_findings": host.c.findings,
    }
    with transaction.read(engine, snapshot=True, page=not of_project) as connection:
        if marker is not None:
            conditions.append(_after(connection, marker))
        statement = (
            sa.select(*[columns[name].label(name) for name in Found._fields if name != "body"])
            .select_from(_source(of_project=of_project and nova, of_host=filters.host is not None))
            .where(*conditions)
            .order_by(*_ORDER)
            .limit(limit + 1)
        )
        if not of_project and filters.host is None:
            statement = trust.by_index(statement, finding, "ix_finding_code_uuid_host_id_origin")
        rows = list(connection.execute(trust.in_order(statement)))
        words = sighting_rows.bodies(connection, [row for row in rows[:limit] if row.uuid != HOST])
    found = [Found._make((*row, words.get((row.host_id, row.uuid)))) for row in rows[:limit]]
    return found, len(rows) > limit


def _source(*, of_project: bool, of_host: bool) -> Any:
    """The tables, in the order in which they lead to a page by the shortest way."""
    of_the_host = host.c.id == finding.c.host_id
    of_the_sighting = sa.and_(
        sighting.c.host_id == finding.c.host_id, sighting.c.uuid == finding.c.uuid
    )
    if of_project:
        same = instance.c.uuid == sighting.c.uuid
        return instance.join(sighting, same).join(finding, of_the_sighting).join(host, of_the_host)
    first = host.join(finding, of_the_host) if of_host else finding.join(host, of_the_host)
    return first.outerjoin(sighting, of_the_sighting).outerjoin(
        instance, instance.c.uuid == finding.c.uuid
    )


#: The index of the table has them in this order.
_ORDER = (finding.c.code, finding.c.uuid, finding.c.host_id, finding.c.origin)


def _after(connection: sa.Connection, marker: Key) -> sa.ColumnElement[bool]:
    """Later than ``marker``."""
    place: list[tuple[Any, Any]] = [(finding.c.code, marker.code), (finding.c.uuid, marker.uuid)]
    if marker.host is not None:
        host_id = connection.scalar(sa.select(host.c.id).where(host.c.name == marker.host))
        if host_id is None:
            raise MarkerUnknown(marker.host)
        place.append((finding.c.host_id, host_id))
    place.append((finding.c.origin, marker.origin))
    if connection.dialect.name not in ("mysql", "mariadb"):
        columns, values = zip(*place, strict=True)
        return sa.tuple_(*columns) > sa.tuple_(*(sa.literal(value) for value in values))
    # Written out: MariaDB has no index for a comparison of rows, and the others none for this.
    later = place[-1][0] > place[-1][1]
    for column, value in reversed(place[:-1]):
        later = sa.or_(column > value, sa.and_(column == value, later))
    return sa.and_(finding.c.code >= marker.code, later)
