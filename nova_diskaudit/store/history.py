# SPDX-License-Identifier: Apache-2.0
"""What was held before: of projects by hours, of instances by days.

Both tables have time in front of their key, so that what is written is at one end and what is
purged at the other. A page is then read by naming its hours or days; there are not many.
"""

from __future__ import annotations

import datetime
import functools
from typing import Any, NamedTuple

import sqlalchemy as sa

from nova_diskaudit.store import moment, scope, transaction
from nova_diskaudit.store.tables import instance_day, project_hour
from nova_diskaudit.store.usage import Sums

HOUR = 3600 * 10**6
DAY = 24 * HOUR
# Hours or days that one statement names.
_AT_ONCE = 1000
_PURGED_AT_ONCE = 5000


class Point(NamedTuple):
    """Of one hour or day, which begins at ``at``. Times are moments."""

    at: int
    as_of: int
    sums: Sums
    instances: int
    host_measured: int
    guest_measured: int


class Range(NamedTuple):
    """From ``start`` on, before ``end``, after ``marker``; None: wherever there is anything."""

    start: datetime.datetime | None = None
    end: datetime.datetime | None = None
    marker: datetime.datetime | None = None


def of_project(
    engine: sa.Engine, who: scope.Scope, project_id: str, within: Range, *, limit: int
) -> tuple[list[Point], bool]:
    """A project's hours from old to new, at most ``limit``, and whether there are more.

    :raises nova_diskaudit.store.errors.StoreError:
    """
    if isinstance(who, scope.OfProject) and who.project_id != project_id:
        return [], False
    columns = project_hour.c
    statement = sa.select(
        columns.hour_at,
        columns.as_of,
        *(columns[name] for name in Sums._fields),
        columns.instances,
        columns.host_measured,
        columns.guest_measured,
    ).where(columns.project_id == project_id)
    return _points(engine, statement, columns.hour_at, HOUR, within, limit)


def of_instance(
    engine: sa.Engine,
    who: scope.Scope,
    uuid: str,
    within: Range,
    *,
    limit: int,
    project_id: str | None = None,
) -> tuple[list[Point], bool]:
    """An instance's days from old to new, at most ``limit``, and whether there are more.

    :param project_id: only those on which it was this project's.
    :raises nova_diskaudit.store.errors.StoreError:
    """
    columns = instance_day.c
    statement = sa.select(
        columns.day_at,
        columns.as_of,
        *(columns[name] for name in Sums._fields),
        sa.literal(1).label("instances"),
        columns.host_measured,
        columns.guest_measured,
    ).where(columns.uuid == uuid)
    if isinstance(who, scope.OfProject):
        statement = statement.where(columns.project_id == who.project_id)
    if project_id is not None:
        statement = statement.where(columns.project_id == project_id)
    return _points(engine, statement, columns.day_at, DAY, within, limit)


def _points(
    engine: sa.Engine, statement: sa.Select[Any], at: Any, step: int, within: Range, limit: int
) -> tuple[list[Point], bool]:
    found: list[Point] = []
    with transaction.read(engine, snapshot=True, page=True) as connection:
        first: int | None = connection.scalar(sa.select(sa.func.min(at)))
        last: int | None = connection.scalar(sa.select(sa.func.max(at)))
        if first is None or last is None:
            return [], False
        if within.start is not None:
            first = max(first, _next(moment.of(within.start), step))
        if within.marker is not None:
            first = max(first, _next(moment.of(within.marker) + 1, step))
        if within.end is not None:
            last = min(last, moment.of(within.end) - 1)
        while first <= last and len(found) <= limit:
            some = range(first, min(last + 1, first + _AT_ONCE * step), step)
            rows = connection.execute(
                statement.where(at.in_(some)).order_by(at).limit(limit + 1 - len(found))
            )
            found += [_point(row) for row in rows]
            first += _AT_ONCE * step
    return found[:limit], len(found) > limit


def _next(at: int, step: int) -> int:
    """The first hour or day that begins then or later."""
    return -(-at // step) * step


def _point(row: sa.Row[Any]) -> Point:
    numbers = tuple(row)
    return Point(numbers[0], numbers[1], Sums(*numbers[2:-3]), *numbers[-3:])


# --- what is too old ----------------------------------------------------------------------------


def purge(engine: sa.Engine, *, project_days: int, instance_days: int) -> int:
    """Keep hours of projects and days of instances of so many days before the newest; how many
    rows that removed.

    The newest row and not a clock, so that one that is wrong for a moment costs nothing.

    :raises nova_diskaudit.store.errors.StoreError: what was removed until then stays removed.
    """
    removed = 0
    for table, days in ((project_hour, project_days), (instance_day, instance_days)):
        some = functools.partial(_purge, table=table, days=days)
        while number := transaction.write(engine, some):
            removed += number
    return removed


def _purge(connection: sa.Connection, *, table: sa.Table, days: int) -> int:
    """At most some of the oldest, so that no transaction gets large."""
    at, name = table.primary_key.columns
    oldest = connection.scalar(sa.select(sa.func.min(at)))
    newest = connection.scalar(sa.select(sa.func.max(at)))
    if oldest is None or oldest > newest - days * DAY:
        return 0
    last = connection.scalar(
        sa.select(name).where(at == oldest).order_by(name).offset(_PURGED_AT_ONCE - 1).limit(1)
    )
    statement = sa.delete(table).where(at == oldest)
    if last is not None:
        statement = statement.where(name <= last)
    return connection.execute(statement).rowcount
