# SPDX-License-Identifier: Apache-2.0
"""The tables that a roll-up writes: what projects hold, now and by hours; instances by days.

Whoever begins a pass writes its id into the one row of ``rollup``, and every transaction that
follows looks whether it is still there. So of two passes the one that began later writes, and the
other one stops: no clock decides.
"""

from __future__ import annotations

import datetime
import functools
import itertools
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import sqlalchemy as sa

from nova_diskaudit.store import body, errors, moment, transaction, trust, upsert, usage
from nova_diskaudit.store.history import DAY, HOUR
from nova_diskaudit.store.tables import finding, host, instance_day, project_hour, project_usage
from nova_diskaudit.store.tables import rollup as rollups
from nova_diskaudit.store.tables import sighting as sightings

_ROW = rollups.c.id == 1
# Projects, and hosts with their instances, that one transaction writes.
_PROJECTS_AT_ONCE = 200
_HOSTS_AT_ONCE = 50


class Superseded(errors.StoreError):
    """Another pass has begun since."""


class Counted(NamedTuple):
    """What a pass counts over everything: findings by (code, severity), and what instances lack."""

    findings: tuple[tuple[str, str, int], ...] = ()
    reasons: tuple[usage.Reason, ...] = ()


class State(NamedTuple):
    """Of the last pass that came to its end. Times are moments; None: there was none."""

    computed_at: int | None
    seconds: float | None
    counted: Counted
    instances_at: int | None
    reports_purged: int


class Project(NamedTuple):
    """What a project holds, and the same of what was observed within this hour, if anything was."""

    usage: usage.Usage
    of_hour: usage.Usage | None


# --- the row ----------------------------------------------------------------------------------


def state(engine: sa.Engine) -> State:
    """What is known of the last pass.

    :raises nova_diskaudit.store.errors.StoreError:
    """
    with transaction.read(engine) as connection:
        row = connection.execute(sa.select(rollups).where(_ROW)).one_or_none()
    if row is None:
        return State(None, None, Counted(), None, 0)
    counted = Counted() if row.counts is None else body.unpack(row.counts, Counted)
    seconds = None if row.duration is None else row.duration / 1e6
    return State(row.computed_at, seconds, counted, row.instances_at, row.reports_purged)


def begin(engine: sa.Engine, run_id: str) -> None:
    """From now on this pass writes and no other one.

    :raises nova_diskaudit.store.errors.StoreError:
    """
    transaction.write(engine, functools.partial(_renew, run_id=run_id))


def finish(
    engine: sa.Engine, run_id: str, *, now: datetime.datetime, seconds: float, counted: Counted
) -> None:
    """The pass came to its end: projects that it did not meet are no more.

    :raises Superseded:
    :raises nova_diskaudit.store.errors.StoreError:
    """
    at = moment.of(now)

    def write(connection: sa.Connection) -> None:
        _hold(connection, run_id)
        connection.execute(sa.delete(project_usage).where(project_usage.c.computed_at != at))
        data = body.pack(body.encode(counted))
        _renew(connection, computed_at=at, duration=int(seconds * 1e6), counts=data)

    transaction.write(engine, write)


def add_purged(connection: sa.Connection, reports: int) -> None:
    """Reports of a host that is about to be purged, so that what was taken in all never falls."""
    _renew(connection, reports_purged=rollups.c.reports_purged + reports)


def _renew(connection: sa.Connection, **values: Any) -> None:
    if connection.scalar(sa.select(rollups.c.id).where(_ROW)) is None:
        connection.execute(sa.insert(rollups), {"id": 1, "reports_purged": 0})
    connection.execute(sa.update(rollups).where(_ROW).values(values))


def _hold(connection: sa.Connection, run_id: str) -> None:
    """Nobody else writes until the transaction ends."""
    holder = connection.scalar(sa.select(rollups.c.run_id).where(_ROW).with_for_update())
    if holder != run_id:
        raise Superseded("another roll-up has begun")


# --- projects ---------------------------------------------------------------------------------


def projects(
    engine: sa.Engine, *, nova: bool, now: datetime.datetime, stale_after_seconds: float
) -> Iterator[Project]:
    """All projects by id, added up; they are read while they are taken.

    :raises nova_diskaudit.store.errors.StoreError:
    """
    at = moment.of(now)
    begin = at - at % HOUR
    parts = usage.grouped(
        nova=nova,
        dialect=engine.dialect.name,
        stale_before=at - int(stale_after_seconds * 1e6),
        within=range(begin, begin + HOUR),
    )
    statement = parts.select.where(parts.owner.is_not(None)).order_by(sa.literal_column("owner"))
    with transaction.read(engine) as connection:
        rows = connection.execute(statement, execution_options={"yield_per": 1000}).mappings()
        for project_id, some in itertools.groupby(rows, key=lambda row: row["owner"]):
            groups = list(some)
            within = [group for group in groups if group["is_within"] and group["absent"] is None]
            yield Project(
                usage.added(project_id, groups, computed_at=at),
                usage.added(project_id, within, computed_at=at) if within else None,
            )


def put(engine: sa.Engine, run_id: str, found: Iterable[Project]) -> Iterator[Project]:
    """Write what is taken, some projects at a time, and pass it on.

    :raises Superseded:
    :raises nova_diskaudit.store.errors.StoreError:
    """
    taken = iter(found)
    while some := list(itertools.islice(taken, _PROJECTS_AT_ONCE)):
        write = functools.partial(_put, run_id=run_id, some=some)
        transaction.write(engine, write)
        yield from some


def _put(connection: sa.Connection, *, run_id: str, some: list[Project]) -> None:
    _hold(connection, run_id)
    dialect = connection.dialect.name
    latest = [_row(one.usage) for one in some]
    connection.execute(upsert.statement(project_usage, dialect), latest)
    hours = [_row_of_hour(one.of_hour) for one in some if one.of_hour is not None]
    if hours:
        connection.execute(upsert.statement(project_hour, dialect), hours)


def _row(of: usage.Usage) -> dict[str, Any]:
    return {
        **of._asdict(),
        **of.sums._asdict(),
        "reasons": body.pack(body.encode(of.reasons)),
    }


def _row_of_hour(of: usage.Usage) -> dict[str, Any]:
    return {
        "hour_at": of.computed_at - of.computed_at % HOUR,
        "project_id": of.project_id,
        "as_of": of.as_of,
        **of.sums._asdict(),
        "instances": of.instances,
        "host_measured": of.host_measured,
        "guest_measured": of.guest_measured,
    }


# --- instances ----------------------------------------------------------------------------------


def put_days(engine: sa.Engine, run_id: str, *, nova: bool, now: datetime.datetime) -> None:
    """Write what is known of each instance into the day on which it was observed, if that is today
    or yesterday. What is there already and was observed later stays.

    :raises Superseded:
    :raises nova_diskaudit.store.errors.StoreError:
    """
    at = moment.of(now)
    names, select = _days(nova=nova, since=at - at % DAY - DAY)
    with transaction.read(engine) as connection:
        ids = list(connection.scalars(sa.select(host.c.id).order_by(host.c.id)))
    for position in range(0, len(ids), _HOSTS_AT_ONCE):
        some = ids[position : position + _HOSTS_AT_ONCE]
        few = select.where(host.c.id.between(some[0], some[-1]))
        statement = upsert.from_select(instance_day, engine.dialect.name, names, few, newer="as_of")
        write = functools.partial(_put_days, run_id=run_id, statement=statement)
        transaction.write(engine, write)
    transaction.write(engine, functools.partial(_days_done, run_id=run_id, at=at))


def _put_days(connection: sa.Connection, *, run_id: str, statement: Any) -> None:
    _hold(connection, run_id)
    connection.execute(statement)


def _days_done(connection: sa.Connection, *, run_id: str, at: int) -> None:
    _hold(connection, run_id)
    _renew(connection, instances_at=at)


def _days(*, nova: bool, since: int) -> tuple[list[str], sa.Select[Any]]:
    """The columns of a day, and what counts since then."""
    joined = trust.join(nova=nova, lead="host")
    observed_at = sa.func.coalesce(sightings.c.as_of, host.c.as_of)
    columns = {
        "day_at": observed_at - observed_at % DAY,
        "uuid": sightings.c.uuid,
        "project_id": joined.owner,
        "as_of": observed_at,
        **{name: sightings.c[name] for name in usage.Sums._fields},
        "host_measured": sa.case((sightings.c.host_reason.is_(None), 1), else_=0),
        "guest_measured": sa.case((sightings.c.guest_reason.is_(None), 1), else_=0),
    }
    select = (
        sa.select(*columns.values())
        .select_from(joined.source)
        .where(joined.tenant_sees, joined.is_best, joined.owner.is_not(None), observed_at >= since)
    )
    return list(columns), select


# --- findings -----------------------------------------------------------------------------------


def findings(engine: sa.Engine) -> list[tuple[str, str, int]]:
    """How many findings there are by code and severity, whoever found them.

    :raises nova_diskaudit.store.errors.StoreError:
    """
    statement = sa.select(finding.c.code, finding.c.severity, sa.func.count()).group_by(
        finding.c.code, finding.c.severity
    )
    with transaction.read(engine) as connection:
        return [
            (code, severity, number) for code, severity, number in connection.execute(statement)
        ]
