# SPDX-License-Identifier: Apache-2.0
"""What a sink is to be sent, and how far it has come.

A pass sends everything that is verified, or what may have changed since the last pass, in the
order of UUIDs. How far it is is written down page by page, so a pass that is broken off goes on
where it was. Nothing here is exact: clocks differ, and a report's transaction may be committed
after a pass has looked. So each pass begins a little before the begin of the last, and what even
that misses is in the next pass over everything; a sink has to take a thing twice.
"""

from __future__ import annotations

import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from nova_diskaudit import protocol, record
from nova_diskaudit.store import body, moment, transaction, trust, upsert
from nova_diskaudit.store import sighting as sighting_rows
from nova_diskaudit.store.tables import host, instance, sighting, sink

#: The sinks there are.
GNOCCHI = "gnocchi"

#: A transaction may wait for a lock twice; clocks of two machines of one service may differ more.
_OVERLAP_SECONDS = 120


class Pass(NamedTuple):
    """One pass. Times are moments; without ``since_at`` it is over everything."""

    begun_at: int
    since_at: int | None
    after_uuid: str


class Sent(NamedTuple):
    """When the last pass began, and the last one over everything; moments."""

    sent_at: int | None
    whole_at: int | None


class Verified(NamedTuple):
    """One instance by its best sighting."""

    host: str
    project_id: str
    user_id: str | None
    said: record.Instance


class Ended(NamedTuple):
    """An instance that is no more."""

    uuid: str
    deleted_at: datetime.datetime


def sent(engine: sa.Engine, name: str) -> Sent:
    """How far a sink has come.

    :raises nova_diskaudit.store.errors.StoreError:
    """
    with transaction.read(engine) as connection:
        row = _row(connection, name)
    return Sent(row.sent_at, row.whole_at) if row is not None else Sent(None, None)


def begin(
    engine: sa.Engine, name: str, *, now: datetime.datetime, whole_every_seconds: float
) -> Pass:
    """The pass that was broken off, or a new one.

    :raises nova_diskaudit.store.errors.StoreError:
    """
    at = moment.of(now)

    def work(connection: sa.Connection) -> Pass:
        row = _row(connection, name)
        if row is not None and row.begun_at is not None:
            return Pass(row.begun_at, row.since_at, row.after_uuid)
        known = Sent(row.sent_at, row.whole_at) if row is not None else Sent(None, None)
        since_at = None
        whole_before = at - int(whole_every_seconds * 1e6)
        if known.sent_at is not None and (known.whole_at or 0) > whole_before:
            since_at = known.sent_at - int(_OVERLAP_SECONDS * 1e6)
        values = {
            "name": name,
            **known._asdict(),
            "begun_at": at,
            "since_at": since_at,
            "after_uuid": "",
        }
        connection.execute(upsert.statement(sink, connection.dialect.name), [values])
        return Pass(at, since_at, "")

    return transaction.write(engine, work)


def advance(engine: sa.Engine, name: str, one: Pass) -> None:
    """Write down how far a pass is.

    :raises nova_diskaudit.store.errors.StoreError:
    """
    statement = (
        sa.update(sink)
        .where(sink.c.name == name, sink.c.begun_at == one.begun_at)
        .values(after_uuid=one.after_uuid)
    )
    transaction.write(engine, lambda connection: connection.execute(statement))


def finish(engine: sa.Engine, name: str, one: Pass) -> None:
    """Write down that a pass is at its end.

    :raises nova_diskaudit.store.errors.StoreError:
    """
    values: dict[str, Any] = {"sent_at": one.begun_at, "begun_at": None, "after_uuid": ""}
    if one.since_at is None:
        values["whole_at"] = one.begun_at
    statement = (
        sa.update(sink).where(sink.c.name == name, sink.c.begun_at == one.begun_at).values(values)
    )
    transaction.write(engine, lambda connection: connection.execute(statement))


def verified(engine: sa.Engine, one: Pass, *, limit: int) -> tuple[list[Verified], str | None]:
    """The next instances of a pass; and the last UUID among them, None at the end.

    :raises nova_diskaudit.store.errors.StoreError:
    """
    joined = trust.join(nova=True)
    conditions = [
        joined.rank.in_(trust.ranks("verified")),
        joined.is_best,
        sighting.c.uuid > one.after_uuid,
    ]
    if one.since_at is not None:
        # What Nova moved is verified since then, though its host had said it before.
        conditions.append(
            sa.or_(sighting.c.changed_at > one.since_at, instance.c.moved_at > one.since_at)
        )
    statement = (
        sa.select(
            sighting.c.host_id,
            sighting.c.uuid,
            host.c.name.label("host"),
            host.c.as_of.label("report_as_of"),
            instance.c.project_id,
            instance.c.user_id,
        )
        .select_from(joined.source)
        .where(*conditions)
        .order_by(sighting.c.uuid)
        .limit(limit)
    )
    statement = trust.in_order(trust.by_index(statement, sighting, "ix_sighting_uuid"))
    with transaction.read(engine, snapshot=True, page=True) as connection:
        rows: list[sa.Row[Any]] = list(connection.execute(statement))
        words = sighting_rows.bodies(connection, rows) if rows else {}
    found = []
    for row in rows:
        said = body.unpack(words[row.host_id, row.uuid], protocol.Instance)
        resolved = protocol.resolved_instance(said, moment.time(row.report_as_of))
        found.append(Verified(row.host, row.project_id, row.user_id, resolved))
    return found, rows[-1].uuid if rows else None


def ended(engine: sa.Engine, one: Pass, *, after: str, limit: int) -> list[Ended]:
    """Instances that Nova deleted since a pass looks back, after a UUID.

    :raises nova_diskaudit.store.errors.StoreError:
    """
    deleted_at = instance.c.deleted_at
    statement = (
        sa.select(instance.c.uuid, deleted_at)
        .where(deleted_at.is_not(None), instance.c.uuid > after)
        .order_by(instance.c.uuid)
        .limit(limit)
    )
    if one.since_at is not None:
        statement = statement.where(deleted_at > one.since_at)
    with transaction.read(engine) as connection:
        return [Ended(uuid, moment.time(at)) for uuid, at in connection.execute(statement)]


def _row(connection: sa.Connection, name: str) -> sa.Row[Any] | None:
    return connection.execute(sa.select(sink).where(sink.c.name == name)).one_or_none()
