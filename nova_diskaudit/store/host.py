# SPDX-License-Identifier: Apache-2.0
"""The hosts: the chain of their reports, and what the service knows of them."""

from __future__ import annotations

import functools
from typing import Any

import sqlalchemy as sa

from nova_diskaudit.store.tables import host

_LOCKED = sa.select(host).where(host.c.name == sa.bindparam("host")).with_for_update()
_RENEW = sa.update(host).where(
    host.c.id == sa.bindparam("which"), host.c.report_id == sa.bindparam("expected")
)


def lock(connection: sa.Connection, name: str) -> sa.Row[Any] | None:
    """The host's row, which nobody else can change until the transaction ends; None if new."""
    return connection.execute(_LOCKED, {"host": name}).one_or_none()


def insert(connection: sa.Connection, values: dict[str, Any]) -> int:
    """The first report of a host; its id.

    :raises oslo_db.exception.DBDuplicateEntry: another one was first.
    """
    done = connection.execute(sa.insert(host), values)
    assert done.inserted_primary_key is not None
    return int(done.inserted_primary_key[0])


def renew(connection: sa.Connection, host_id: int, current: str, values: dict[str, Any]) -> bool:
    """Renew the row if its current report is still ``current``; whether it was."""
    new = {f"new_{name}": value for name, value in values.items()}
    done = connection.execute(_renew(tuple(values)), {"which": host_id, "expected": current, **new})
    return done.rowcount == 1


@functools.cache
def _renew(names: tuple[str, ...]) -> sa.Update:
    return _RENEW.values({name: sa.bindparam(f"new_{name}") for name in names})
