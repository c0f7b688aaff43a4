# SPDX-License-Identifier: Apache-2.0
"""What the instances of a project hold, added up.

An instance counts by the sighting that is verified and best (:mod:`.trust`), once. The sums come
out of the database grouped by what the instances lack, so that they bring along on how many they
rest, and why the others are missing.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

import sqlalchemy as sa

from nova_diskaudit.store import body, coverage, moment, scope, sighting, transaction, trust
from nova_diskaudit.store.tables import host, instance, project_usage
from nova_diskaudit.store.tables import sighting as sightings

Part = Literal["host", "guest"]


class Sums(NamedTuple):
    """Over local disks. Those that may be None are: one of the instances has no such number."""

    disks: int = 0
    virtual_bytes: int = 0
    virtual_unknown: int = 0
    host_allocated_bytes: int = 0
    host_allocated_unknown: int = 0
    guest_used_bytes: int = 0
    guest_used_unknown: int = 0
    used_low_bytes: int | None = 0
    used_high_bytes: int | None = 0
    reclaimable_low_bytes: int = 0
    reclaimable_likely_bytes: int = 0
    reclaimable_high_bytes: int | None = 0


class Reason(NamedTuple):
    """Why so many instances are without the host's or the guest's number."""

    code: str
    lacks: Part
    instances: int


class Usage(NamedTuple):
    """Of one project. Times are moments; ``as_of`` is that of the oldest observation."""

    project_id: str
    computed_at: int
    as_of: int | None
    sums: Sums
    instances: int
    host_measured: int
    guest_measured: int
    stale: int
    reasons: tuple[Reason, ...]


def live(
    engine: sa.Engine,
    who: scope.Scope,
    project_id: str,
    *,
    nova: bool,
    now: datetime.datetime,
    stale_after_seconds: float,
) -> Usage | None:
    """A project's usage now, 0 instances if nothing is known of it; None if it is not for ``who``.

    :param nova: whether Nova's ledger is kept.
    :param stale_after_seconds: a report that is older is called stale.
    :raises nova_diskaudit.store.errors.StoreError:
    """
    if isinstance(who, scope.OfProject) and who.project_id != project_id:
        return None
    at = moment.of(now)
    stale_before = at - int(stale_after_seconds * 1e6)
    parts = grouped(nova=nova, dialect=engine.dialect.name, stale_before=stale_before)
    statement = parts.select.where(parts.owner == project_id)
    with transaction.read(engine, page=True) as connection:
        rows = connection.execute(trust.in_order(statement)).mappings()
        return added(project_id, rows, computed_at=at)


def listed(
    engine: sa.Engine, who: scope.Scope, *, limit: int, marker: str | None = None
) -> tuple[list[Usage], bool]:
    """Projects by id as of the last roll-up, at most ``limit`` after ``marker``; whether there are
    more.

    :raises nova_diskaudit.store.errors.StoreError:
    """
    statement = sa.select(project_usage).order_by(project_usage.c.project_id).limit(limit + 1)
    if isinstance(who, scope.OfProject):
        statement = statement.where(project_usage.c.project_id == who.project_id)
    if marker is not None:
        statement = statement.where(project_usage.c.project_id > marker)
    with transaction.read(engine) as connection:
        rows = list(connection.execute(statement).mappings())
    return [_rolled(row) for row in rows[:limit]], len(rows) > limit


class Largest(NamedTuple):
    """The projects that hold the most, and what all the others hold together."""

    projects: list[Usage]
    others: Usage


def largest(engine: sa.Engine, *, limit: int, others: str) -> Largest:
    """Of the last roll-up; times of the others are 0.

    :param limit: how many at most; 0: none.
    :param others: an id for all the others; a project that has it is one of them.
    :raises nova_diskaudit.store.errors.StoreError:
    """
    columns = project_usage.c
    held, whose = columns.host_allocated_bytes, columns.project_id
    best = sa.select(project_usage).where(whose != others).order_by(held.desc(), whose).limit(limit)
    counts = ("instances", "host_measured", "guest_measured", "stale")
    together: list[Any] = [sa.func.count().label("projects")]
    together += [sa.func.sum(columns[name]).label(name) for name in counts]
    for name in Sums._fields:
        together += _summed(name, columns[name], engine.dialect.name)
    rest = sa.select(*together)
    with transaction.read(engine, snapshot=True) as connection:
        found = [_rolled(row) for row in connection.execute(best).mappings()] if limit else []
        if found:
            least, last = found[-1].sums.host_allocated_bytes, found[-1].project_id
            behind = sa.or_(held < least, sa.and_(held == least, whose > last))
            rest = rest.where(sa.or_(behind, whose == others))
        row = connection.execute(rest).mappings().one()
    sums = {name: _sum(row, name, row["projects"]) for name in Sums._fields}
    numbers = {name: int(row[name] or 0) for name in counts}
    return Largest(found, Usage(others, 0, None, _bounded(sums), **numbers, reasons=()))


def _rolled(row: sa.RowMapping) -> Usage:
    return Usage(
        project_id=row["project_id"],
        computed_at=row["computed_at"],
        as_of=row["as_of"],
        sums=Sums(*(row[name] for name in Sums._fields)),
        instances=row["instances"],
        host_measured=row["host_measured"],
        guest_measured=row["guest_measured"],
        stale=row["stale"],
        reasons=body.unpack(row["reasons"], tuple[Reason, ...]),
    )


# --- the statement ----------------------------------------------------------------------------

_OPTIONAL = frozenset({"used_low_bytes", "used_high_bytes", "reclaimable_high_bytes"})
_LOWER_BITS = 32
_LOWER = 2**_LOWER_BITS - 1


_GROUPS = ("owner", "absent", "host_lacks", "guest_lacks", "is_within")


class Grouped(NamedTuple):
    """A statement of sums by owner and by what instances lack; whose they are, for conditions."""

    select: sa.Select[Any]
    owner: Any


def grouped(*, nova: bool, dialect: str, stale_before: int, within: range = range(0)) -> Grouped:
    """Sums over what counts; conditions are still to be added. Rows with ``absent`` tell how many
    instances are missing, and why; nothing else of them counts.

    :param stale_before: a report that was received before is stale.
    :param within: moments; what was observed at one of them is in a group of its own, with
        ``is_within`` 1.
    """
    if nova:
        named = trust.named()
        source, owner, conditions = named.source, instance.c.project_id, named.conditions
        absent: Any = sa.case(
            (named.is_verified, sa.null()),
            (instance.c.host.is_(None), coverage.NOT_ON_A_HOST),
            (sightings.c.uuid.is_(None), coverage.NOT_REPORTED),
            else_=coverage.UNVERIFIED,
        )
    else:
        joined = trust.join(nova=False)
        source, owner, conditions = joined.source, joined.owner, [joined.is_best]
        absent = sa.null()
    observed_at = sa.func.coalesce(sightings.c.as_of, host.c.as_of)
    is_within: Any = sa.literal(0)
    if within:
        inside = sa.and_(observed_at >= within.start, observed_at < within.stop)
        is_within = sa.case((inside, 1), else_=0)
    columns = [
        owner.label("owner"),
        absent.label("absent"),
        sightings.c.host_reason.label("host_lacks"),
        sightings.c.guest_reason.label("guest_lacks"),
        is_within.label("is_within"),
        sa.func.count().label("instances"),
        sa.func.min(observed_at).label("oldest"),
        sa.func.count(sa.case((host.c.received_at < stale_before, 1))).label("stale"),
    ]
    for name in Sums._fields:
        columns += _summed(name, sightings.c[name], dialect)
    select = (
        sa.select(*columns)
        .select_from(source)
        .where(*conditions)
        .group_by(*map(sa.literal_column, _GROUPS))
    )
    return Grouped(select, owner)


def _summed(name: str, column: Any, dialect: str) -> list[Any]:
    """A sum of numbers of 64 bits need not be one. SQLite would fail: it adds up two halves."""
    if dialect == "sqlite" and name.endswith("_bytes"):
        halves = [
            sa.func.sum(column.bitwise_rshift(_LOWER_BITS)).label(f"{name}_upper"),
            sa.func.sum(column.bitwise_and(_LOWER)).label(f"{name}_sum"),
        ]
    else:
        halves = [sa.func.sum(column).label(f"{name}_sum")]
    if name in _OPTIONAL:
        halves.append(sa.func.count(column).label(f"{name}_known"))
    return halves


# --- what comes of it -------------------------------------------------------------------------


def added(project_id: str, groups: Iterable[sa.RowMapping], *, computed_at: int) -> Usage:
    """One project's groups, together."""
    sums: dict[str, int | None] = dict.fromkeys(Sums._fields, 0)
    reasons: dict[tuple[Part, str], int] = {}
    instances = host_measured = guest_measured = stale = 0
    oldest: int | None = None
    for group in groups:
        number, absent = group["instances"], group["absent"]
        instances += number
        host_lacks, guest_lacks = absent or group["host_lacks"], absent or group["guest_lacks"]
        if host_lacks is None:
            host_measured += number
        else:
            _count(reasons, "host", host_lacks, number)
        if guest_lacks is None:
            guest_measured += number
        else:
            _count(reasons, "guest", guest_lacks, number)
        if absent is None:
            stale += group["stale"]
            oldest = min(group["oldest"], oldest if oldest is not None else group["oldest"])
            for name, before in sums.items():
                sums[name] = _plus(before, _sum(group, name, number))
    return Usage(
        project_id=project_id,
        computed_at=computed_at,
        as_of=oldest,
        sums=_bounded(sums),
        instances=instances,
        host_measured=host_measured,
        guest_measured=guest_measured,
        stale=stale,
        reasons=tuple(
            Reason(code, lacks, number)
            for (lacks, code), number in sorted(reasons.items(), key=lambda one: (-one[1], one[0]))
        ),
    )


def _bounded(sums: Mapping[str, int | None]) -> Sums:
    numbers: dict[str, Any] = {
        name: None if number is None else sighting.bounded(number) for name, number in sums.items()
    }
    return Sums(**numbers)


def _count(reasons: dict[tuple[Part, str], int], lacks: Part, code: str, number: int) -> None:
    reasons[lacks, code] = reasons.get((lacks, code), 0) + number


def _sum(group: sa.RowMapping, name: str, rows: int) -> int | None:
    if name in _OPTIONAL and group[f"{name}_known"] < rows:
        return None
    # Of no row at all the database has no sum.
    upper, lower = group.get(f"{name}_upper") or 0, group[f"{name}_sum"] or 0
    return (int(upper) << _LOWER_BITS) + int(lower)


def _plus(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other
