# SPDX-License-Identifier: Apache-2.0
"""Nova's ledger: what Nova says of each instance, and how far that is known to be right.

Only one at a time writes it: who holds the lease of the task. Each write looks whether it still
does.
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import sqlalchemy as sa

from nova_diskaudit.store import moment, plausible, task, transaction, upsert
from nova_diskaudit.store.tables import instance, nova_map

_ROW = nova_map.c.id == 1
_AT_ONCE = 500


class Entry(NamedTuple):
    """What Nova says of one instance."""

    uuid: str
    project_id: str
    user_id: str | None
    name: str | None
    host: str | None
    status: str
    task_state: str | None
    root_gb: int | None
    ephemeral_gb: int | None
    swap_mb: int | None
    is_deleted: bool


class Map(NamedTuple):
    """How far the ledger is right. Times are moments, see the columns of ``nova_map``."""

    changes_since_at: int | None
    complete_at: int | None
    listed_at: int | None
    refreshed_at: int | None
    problem: str | None


def state(engine: sa.Engine) -> Map:
    """How far the ledger is right.

    :raises nova_diskaudit.store.errors.StoreError:
    """
    columns = [nova_map.c[name] for name in Map._fields]
    with transaction.read(engine) as connection:
        row = connection.execute(sa.select(*columns).where(_ROW)).one_or_none()
    return Map(*row) if row is not None else Map(None, None, None, None, None)


def note(lease: task.Lease, **changes: int | str | None) -> None:
    """Write down how far the ledger is right now.

    :param changes: fields of :class:`Map`.
    :raises nova_diskaudit.store.task.LeaseLost:
    :raises nova_diskaudit.store.errors.StoreError:
    """

    def write(connection: sa.Connection) -> None:
        lease.hold(connection)
        if connection.scalar(sa.select(nova_map.c.id).where(_ROW)) is None:
            connection.execute(sa.insert(nova_map), {"id": 1})
        connection.execute(sa.update(nova_map).where(_ROW).values(changes))

    transaction.write(lease.engine, write)


def put(lease: task.Lease, entries: Iterable[Entry]) -> int:
    """Write what Nova says; how many entries were news.

    :raises nova_diskaudit.store.task.LeaseLost:
    :raises nova_diskaudit.store.errors.StoreError:
    """
    wanted = {entry.uuid: entry for entry in entries}
    news = 0
    uuids = sorted(wanted)
    for begin in range(0, len(uuids), _AT_ONCE):
        some = {uuid: wanted[uuid] for uuid in uuids[begin : begin + _AT_ONCE]}
        write = functools.partial(_put, lease=lease, entries=some)
        news += transaction.write(lease.engine, write)
    return news


def _put(connection: sa.Connection, *, lease: task.Lease, entries: Mapping[str, Entry]) -> int:
    lease.hold(connection)
    at = moment.of(lease.clock())
    before = {
        row.uuid: row
        for row in connection.execute(sa.select(instance).where(instance.c.uuid.in_(list(entries))))
    }
    rows = [_row(entry, before.get(uuid), at) for uuid, entry in entries.items()]
    if rows:
        connection.execute(upsert.statement(instance, connection.dialect.name), rows)
    news = [row["uuid"] for row in rows if _differs(row, before.get(row["uuid"]))]
    plausible.judge(connection, news, received=at)
    return len(news)


def _row(entry: Entry, before: Any, at: int) -> dict[str, Any]:
    moved = (
        before is None
        or before.host != entry.host
        or (before.deleted_at is not None) != entry.is_deleted
    )
    deleted_at = None
    if entry.is_deleted:
        deleted_at = before.deleted_at if before is not None and before.deleted_at else at
    return {
        **{name: value for name, value in entry._asdict().items() if name != "is_deleted"},
        "other_host": before.other_host if before is not None else None,
        "seen_at": at,
        "moved_at": at if moved else before.moved_at,
        "deleted_at": deleted_at,
    }


def _differs(row: Mapping[str, Any], before: Any) -> bool:
    return before is None or any(
        getattr(before, name) != value for name, value in row.items() if name != "seen_at"
    )


def put_moves(lease: task.Lease, ends: Mapping[str, frozenset[str]]) -> None:
    """Write which instances are between two hosts, and which are not any more.

    :param ends: both hosts of each migration that is open, by UUID.
    :raises nova_diskaudit.store.task.LeaseLost:
    :raises nova_diskaudit.store.errors.StoreError:
    """

    def write(connection: sa.Connection) -> None:
        lease.hold(connection)
        between = sa.select(instance.c.uuid, instance.c.host, instance.c.other_host).where(
            instance.c.other_host.is_not(None)
        )
        known = {row.uuid: row for row in connection.execute(between)}
        missing = [uuid for uuid in ends if uuid not in known]
        for begin in range(0, len(missing), _AT_ONCE):
            some = sa.select(instance.c.uuid, instance.c.host, instance.c.other_host).where(
                instance.c.uuid.in_(missing[begin : begin + _AT_ONCE])
            )
            known |= {row.uuid: row for row in connection.execute(some)}
        changed = []
        for uuid, row in known.items():
            others = ends.get(uuid, frozenset()) - {row.host}
            other = min(others) if others else None
            if other != row.other_host:
                changed.append({"which": uuid, "other": other})
        if changed:
            statement = sa.update(instance).where(instance.c.uuid == sa.bindparam("which"))
            connection.execute(statement.values(other_host=sa.bindparam("other")), changed)

    transaction.write(lease.engine, write)


def delete_unseen(lease: task.Lease, *, since: datetime.datetime) -> int:
    """Call deleted what a whole list that began at ``since`` did not have; how many that were.

    :raises nova_diskaudit.store.task.LeaseLost:
    :raises nova_diskaudit.store.errors.StoreError:
    """

    def write(connection: sa.Connection) -> int:
        lease.hold(connection)
        at = moment.of(lease.clock())
        done = connection.execute(
            sa.update(instance)
            .where(instance.c.seen_at < moment.of(since), instance.c.deleted_at.is_(None))
            .values(deleted_at=at, moved_at=at)
        )
        return done.rowcount

    return transaction.write(lease.engine, write)
