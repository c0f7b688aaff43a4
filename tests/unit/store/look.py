# SPDX-License-Identifier: Apache-2.0
"""What is in the tables, read past the code under test."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from nova_diskaudit import protocol, record
from nova_diskaudit.store import body, moment
from nova_diskaudit.store.tables import finding, host, sighting, storage


def rows(engine: sa.Engine, table: sa.Table) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(sa.select(table).order_by(*table.primary_key)))


def state(engine: sa.Engine, name: str) -> protocol.State | None:
    """The state that the tables hold of a host; storages in the order of their identity."""
    with engine.connect() as connection:
        found = connection.execute(sa.select(host).where(host.c.name == name)).one_or_none()
        if found is None:
            return None
        instances = connection.execute(
            sa.select(sighting).where(sighting.c.host_id == found.id).order_by(sighting.c.uuid)
        ).all()
        storages = connection.execute(
            sa.select(storage.c.body).where(storage.c.host_id == found.id)
        ).scalars()
        bodies = [body.unpack(row.body, protocol.Instance) for row in instances]
        for row, one in zip(instances, bodies, strict=True):
            assert row.uuid == one.uuid
            assert row.as_of == (None if one.as_of is None else moment.of(one.as_of))
        return protocol.State(
            id=found.report_id,
            host=name,
            as_of=moment.time(found.as_of),
            storages=in_order(body.unpack(data, record.Storage) for data in storages),
            findings=body.unpack(found.findings, tuple[record.Finding, ...]),
            instances=tuple(bodies),
        )


def in_order(storages: Any) -> tuple[record.Storage, ...]:
    return tuple(sorted(storages, key=lambda one: one.identity))


def codes(engine: sa.Engine, origin: str, uuid: str | None = None) -> set[str]:
    """Codes of findings of an origin: of one instance, or of the host ("")."""
    return {
        row.code
        for row in rows(engine, finding)
        if row.origin == origin and uuid in (None, row.uuid)
    }


@contextlib.contextmanager
def written(engine: sa.Engine) -> Iterator[list[str]]:
    """The statements that write, as "UPDATE host" and how many rows they are run with."""
    seen: list[str] = []

    def note(_: Any, __: Any, statement: str, parameters: Any, ___: Any, many: bool) -> None:
        words = statement.replace('"', "").replace("`", "").split()
        if words[0] in ("INSERT", "UPDATE", "DELETE"):
            table = words[1] if words[0] == "UPDATE" else words[2]
            seen.append(f"{words[0]} {table} {len(parameters) if many else 1}")

    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)
