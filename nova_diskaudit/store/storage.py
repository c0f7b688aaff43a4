# SPDX-License-Identifier: Apache-2.0
"""The filesystems of a host that carry disks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from nova_diskaudit import record
from nova_diskaudit.store import body, upsert
from nova_diskaudit.store.tables import storage

_DIGESTS = sa.select(storage.c.key, storage.c.digest).where(
    storage.c.host_id == sa.bindparam("host")
)
_GONE = sa.delete(storage).where(
    storage.c.host_id == sa.bindparam("host"), storage.c.key == sa.bindparam("gone")
)


def key(identity: str) -> str:
    """A storage's identity as a column of fixed width: an NFS export can be a long text."""
    return hashlib.blake2b(identity.encode(), digest_size=16).hexdigest()


def replace(connection: sa.Connection, host_id: int, storages: Iterable[record.Storage]) -> None:
    """All of a host's storages. Those that did not change are not written."""
    rows = {}
    for one in storages:
        data = body.encode(one)
        rows[key(one.identity)] = {
            "host_id": host_id,
            "key": key(one.identity),
            "total_bytes": one.total_bytes,
            "free_bytes": one.free_bytes,
            "virtual_sum_bytes": one.virtual_sum_bytes,
            "digest": body.digest(data),
            "body": body.pack(data),
        }
    before: dict[str, Any] = {
        found[0]: found[1] for found in connection.execute(_DIGESTS, {"host": host_id})
    }
    news = [row for name, row in rows.items() if before.get(name) != row["digest"]]
    if news:
        connection.execute(upsert.statement(storage, connection.dialect.name), news)
    gone = [{"host": host_id, "gone": name} for name in before if name not in rows]
    if gone:
        connection.execute(_GONE, gone)
