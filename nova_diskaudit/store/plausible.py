# SPDX-License-Identifier: Apache-2.0
"""Whether a host promises an instance more than its flavor does.

Both sides can change: the report (at its ingest) and the flavor (when Nova's ledger is renewed).
A flavor without a root size leaves it to the image, and a rescued instance has one disk more:
nothing is said of those.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from nova_diskaudit.store import finding
from nova_diskaudit.store import sighting as sighting_rows
from nova_diskaudit.store.tables import host, instance, sighting

CODE = "host-claim-implausible"

_GIB = 2**30
_MIB = 2**20
# Nova makes disks of exactly the flavor's size; a partition table or alignment may come on top.
_OVERHEAD_BYTES = _GIB
_AT_ONCE = 500


def judge(
    connection: sa.Connection,
    uuids: Iterable[str],
    *,
    received: int,
    host_id: int | None = None,
) -> None:
    """Look at these instances again, on one host or on all, and renew the finding about them."""
    wanted = list(uuids)
    for begin in range(0, len(wanted), _AT_ONCE):
        _judge(connection, wanted[begin : begin + _AT_ONCE], received, host_id)


def _judge(connection: sa.Connection, uuids: list[str], received: int, host_id: int | None) -> None:
    statement = (
        sa.select(
            sighting.c.host_id,
            sighting.c.uuid,
            sighting.c.virtual_bytes,
            sighting.c.service_codes,
            host.c.name.label("host"),
            instance,
        )
        .select_from(
            sighting.join(host, host.c.id == sighting.c.host_id).outerjoin(
                instance, instance.c.uuid == sighting.c.uuid
            )
        )
        .where(sighting.c.uuid.in_(uuids))
    )
    if host_id is not None:
        statement = statement.where(sighting.c.host_id == host_id)
    for row in connection.execute(statement).all():
        before = frozenset(row.service_codes.split())
        promised = _promised_bytes(row)
        now = before - {CODE}
        messages = {}
        if promised is not None and row.virtual_bytes > promised + _OVERHEAD_BYTES:
            now |= {CODE}
            messages[CODE] = finding.message(
                CODE, f"disks of {row.virtual_bytes} bytes, the flavor has {promised}"
            )
        if now != before:
            renewed = {row.uuid: (row.service_codes, sighting_rows.words(now))}
            sighting_rows.put_service_codes(connection, row.host_id, renewed)
            change = finding.Change(
                uuid=row.uuid,
                before=before,
                now={code: finding.severity(code) for code in now},
                messages=messages,
            )
            finding.replace(connection, row.host_id, "reconcile", [change], received=received)


def _promised_bytes(row: Any) -> int | None:
    """By the flavor; None if that says nothing about this sighting."""
    if row.project_id is None or row.deleted_at is not None or not row.root_gb:
        return None
    if row.status == "RESCUE" or row.host not in (row.host_1, row.other_host):
        return None
    gib = row.root_gb + (row.ephemeral_gb or 0)
    return int(gib * _GIB + (row.swap_mb or 0) * _MIB)
