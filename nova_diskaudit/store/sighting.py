# SPDX-License-Identifier: Apache-2.0
"""An agent's word about one instance: the rows of a report, and which of them are news."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import sqlalchemy as sa

from nova_diskaudit import protocol, record
from nova_diskaudit.store import body, coverage, moment, storage, transaction, upsert
from nova_diskaudit.store.tables import sighting

_MAX_INTEGER = 2**63 - 1
_MAX_PROJECT = 64
# So that the words of a row fit into it, whoever sent them.
_MAX_CODES = 64
_MAX_STORAGES = 256
_AT_ONCE = 500
_CODE = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
# A file whose blocks other files share may add up to more than there is.
_SHARED = "reflink-shared"
#: Columns that a later report leaves as they are.
_KEPT = frozenset({"since_at", "service_codes"})


class Known(NamedTuple):
    """What is kept of a sighting to judge the next one by, and to add up."""

    digest: bytes
    codes: str
    disks: int
    virtual_bytes: int
    host_allocated_bytes: int
    held: str


_KNOWN = sa.select(sighting.c.uuid, *(sighting.c[name] for name in Known._fields)).where(
    sighting.c.host_id == sa.bindparam("host")
)
_GONE = sa.delete(sighting).where(
    sighting.c.host_id == sa.bindparam("host"), sighting.c.uuid == sa.bindparam("gone")
)


def known(connection: sa.Connection, host_id: int) -> dict[str, Known]:
    """All that is kept of a host, by UUID."""
    rows = connection.execute(_KNOWN, {"host": host_id})
    return {row[0]: Known(*row[1:]) for row in rows}


def row(instance: protocol.Instance, *, received: int) -> dict[str, Any]:
    """The row of an instance of a report, but for its host.

    :raises protocol.ReportInvalid: for what no agent of ours says.
    """
    as_of = None if instance.as_of is None else moment.of(instance.as_of)
    data = body.encode(instance)
    local = list(_distinct(instance.disks))
    sums = record.totals(instance.disks)
    lacks, unseen = coverage.judge(instance, sums), coverage.is_unseen(instance)
    project = instance.project_id
    return {
        "uuid": instance.uuid,
        "as_of": as_of,
        "since_at": received,
        "changed_at": received,
        # It is a hint. What is longer is not an id of Keystone, and must not stop a host.
        "project_id": project if project is not None and len(project) <= _MAX_PROJECT else None,
        "digest": body.digest(data),
        "codes": words(instance_codes(instance)),
        "service_codes": "",
        "disks": sums.disks,
        "virtual_bytes": bounded(sums.virtual_bytes),
        "virtual_unknown": sums.virtual_unknown,
        "host_allocated_bytes": bounded(sums.host_allocated_bytes),
        "host_allocated_unknown": sums.host_allocated_unknown,
        "guest_used_bytes": bounded(sums.guest_used_bytes),
        "guest_used_unknown": sums.guest_used_unknown,
        "reclaimable_low_bytes": bounded(sum(disk.reclaimable.low for disk in local)),
        "reclaimable_likely_bytes": bounded(sum(likely(disk.reclaimable) for disk in local)),
        "used_low_bytes": bounded(sum(disk.used.low for disk in local)),
        "used_high_bytes": None if unseen else _bound(map(_used_high, local)),
        "reclaimable_high_bytes": None if unseen else _bound(map(_reclaimable_high, local)),
        "host_reason": lacks.host,
        "guest_reason": lacks.guest,
        "held": _held(local),
        "body": body.pack(data),
    }


def likely(reclaimable: record.Reclaimable) -> int:
    """The estimate, where there is one, else what is sure."""
    return reclaimable.low if reclaimable.estimate is None else reclaimable.estimate


def instance_codes(instance: protocol.Instance) -> dict[str, record.Severity]:
    """Codes of an instance and its disks, each once, with their severity."""
    found = [*instance.findings, *(f for disk in instance.disks for f in disk.findings)]
    return codes(found)


def codes(found: Iterable[record.Finding]) -> dict[str, record.Severity]:
    """Codes, each once, with their severity.

    :raises protocol.ReportInvalid: for a code that is not of the form of one.
    """
    result: dict[str, record.Severity] = {}
    for finding in found:
        if finding.code not in result:
            if not _is_code(finding.code):
                raise protocol.ReportInvalid("the code of a finding is not of the form a-b-c")
            result[finding.code] = finding.severity
    if len(result) > _MAX_CODES:
        raise protocol.ReportInvalid(f"more than {_MAX_CODES} different findings about one thing")
    return result


@functools.lru_cache(1024)
def _is_code(text: str) -> bool:
    return _CODE.fullmatch(text) is not None


def held_by_storage(text: str) -> dict[str, int]:
    """The column ``held``: bytes by the key of a storage."""
    pairs = (word.partition(":") for word in text.split())
    return {key: int(number) for key, _, number in pairs}


def words(codes: Iterable[str]) -> str:
    """Codes as a column holds them."""
    return " ".join(sorted(codes))


def put(connection: sa.Connection, host_id: int, rows: list[dict[str, Any]]) -> None:
    """Insert or renew these rows."""
    if rows:
        statement = upsert.statement(sighting, connection.dialect.name, _KEPT)
        connection.execute(statement, [{**row, "host_id": host_id} for row in rows])


_SERVICE_CODES = (
    sa.update(sighting)
    .where(
        sighting.c.host_id == sa.bindparam("which_host"),
        sighting.c.uuid == sa.bindparam("which"),
        sighting.c.service_codes == sa.bindparam("codes_before"),
    )
    .values(service_codes=sa.bindparam("codes_now"))
)


def service_codes(connection: sa.Connection, host_id: int, uuids: Iterable[str]) -> dict[str, str]:
    """Codes of this service's findings about a host's instances, of those that it has."""
    wanted = sorted(uuids)
    found: dict[str, str] = {}
    for begin in range(0, len(wanted), _AT_ONCE):
        statement = sa.select(sighting.c.uuid, sighting.c.service_codes).where(
            sighting.c.host_id == host_id, sighting.c.uuid.in_(wanted[begin : begin + _AT_ONCE])
        )
        found |= {row.uuid: row.service_codes for row in connection.execute(statement)}
    return found


def put_service_codes(
    connection: sa.Connection, host_id: int, changes: Mapping[str, tuple[str, str]]
) -> None:
    """Renew these codes: what they were, and what they are, by UUID.

    :raises transaction.Again: they were not; nothing but the whole transaction helps.
    """
    for uuid, (before, now) in changes.items():
        if before == now:
            continue
        renewed = {
            "which_host": host_id,
            "which": uuid,
            "codes_before": before,
            "codes_now": now,
        }
        if connection.execute(_SERVICE_CODES, renewed).rowcount != 1:
            raise transaction.Again("somebody else found something about the same instance")


def bodies(connection: sa.Connection, rows: list[sa.Row[Any]]) -> dict[tuple[int, str], bytes]:
    """The agents' words. Apart, so that what is sorted and left out is without them."""
    uuids = [row.uuid for row in rows]
    statement = sa.select(sighting.c.host_id, sighting.c.uuid, sighting.c.body).where(
        sighting.c.uuid.in_(uuids)
    )
    return {(row.host_id, row.uuid): row.body for row in connection.execute(statement)}


def bounded(number: int) -> int:
    """A sum of numbers of 64 bits need not be one; then it is nonsense, and told by a finding."""
    return min(number, _MAX_INTEGER)


def remove(connection: sa.Connection, host_id: int, uuids: Iterable[str]) -> None:
    """What a host does not have any more."""
    gone = [{"host": host_id, "gone": uuid} for uuid in uuids]
    if gone:
        connection.execute(_GONE, gone)


def _distinct(disks: Iterable[record.Disk]) -> Iterable[record.Disk]:
    """Local disks, each identity once."""
    met: set[str] = set()
    for disk in disks:
        if disk.kind != "local":
            continue
        if disk.identity is not None:
            if disk.identity in met:
                continue
            met.add(disk.identity)
        yield disk


def _used_high(disk: record.Disk) -> int | None:
    """A guest uses no more of a disk than that has."""
    return disk.virtual_bytes if disk.used.high is None else disk.used.high


def _reclaimable_high(disk: record.Disk) -> int | None:
    """A storage gives back no more than it holds."""
    return disk.host_allocated_bytes if disk.reclaimable.high is None else disk.reclaimable.high


def _bound(numbers: Iterable[int | None]) -> int | None:
    """Upper bounds added up. Of what has none there is none: leaving it out would bound nothing."""
    total = 0
    for number in numbers:
        if number is None:
            return None
        total += number
    return bounded(total)


def _held(disks: Iterable[record.Disk]) -> str:
    held: dict[str, int] = {}
    for disk in disks:
        allocated, identity = disk.host_allocated_bytes, disk.storage_identity
        if allocated is None or identity is None:
            continue
        if not any(finding.code == _SHARED for finding in disk.findings):
            key = storage.key(identity)
            held[key] = held.get(key, 0) + allocated
    if len(held) > _MAX_STORAGES:
        raise protocol.ReportInvalid(f"an instance on more than {_MAX_STORAGES} storages")
    return " ".join(f"{key}:{number}" for key, number in held.items())
