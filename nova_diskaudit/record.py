# SPDX-License-Identifier: Apache-2.0
"""The words of the project as data: the one schema that every part speaks.

The agent's report, the service's API and ``nova-diskaudit audit --format json`` all carry
these structs. Only words, their units and their sums live here: no I/O, no clock, no opinion.

Conventions: every byte count is an ``int`` named ``*_bytes``; every time is a timezone-aware
UTC ``datetime``; unknown is ``None`` and comes with a finding that says why; unknown is never
0 and never the capacity.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import Annotated, Literal

import msgspec

SCHEMA_VERSION = "1.0"

Bytes = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Time = Annotated[datetime.datetime, msgspec.Meta(tz=True)]
Severity = Literal["info", "warning", "error"]
Kind = Literal["local", "volume", "config", "cdrom"]
State = Literal["running", "paused", "shutoff", "crashed", "suspended", "unknown"]
Basis = Literal["guest", "guest-partial", "host", "none"]
How = Literal["trim", "enable-discard", "delete-snapshot", "none"]
Place = Literal["direct", "inside", "spans", "elsewhere", "ignored"]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One conclusion from the closed catalogue of :mod:`nova_diskaudit.findings`."""

    code: str
    severity: Severity
    message: str


class LibvirtTriple(msgspec.Struct, frozen=True, kw_only=True):
    """``block.N.*`` of the bulk stats call, as evidence only.

    ``allocation`` is the highest written offset and ``physical`` the bytes the image holds
    (libvirt 9.0 ``qemuDomainGetStatsOneBlock``); neither is usage.
    """

    capacity: int | None
    allocation: int | None
    physical: int | None
    as_of: Time


class Used(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes that the guest's filesystems count as used on one disk.

    ``low`` and ``high`` hold for any guest that told the truth; ``bytes`` is set only when
    the reported filesystems cover the disk. ``basis`` says whose word it rests on.
    """

    bytes: Bytes | None
    low: Bytes
    high: Bytes | None
    basis: Basis


class Reclaimable(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of host storage that could be given back.

    ``low`` is what an fstrim in the guest, configured as it is now, frees at least; ``high``
    is what no trim can exceed; ``estimate`` is a guess between, and called so. ``how`` is the
    first thing to do.
    """

    low: Bytes
    high: Bytes | None
    estimate: Bytes | None
    how: How


class Filesystem(msgspec.Struct, frozen=True, kw_only=True):
    """A filesystem as the guest describes it: a tenant's claim.

    ``disks`` names the virtual disks (targets) it was traced to. ``place``: ``direct`` (its
    blocks are a region of one disk), ``inside`` (wholly on one disk, but it may share blocks
    with another filesystem there), ``spans`` (on several disks, or that cannot be ruled out),
    ``elsewhere`` (on no disk we know), ``ignored`` (read-only image, or an impossible claim).
    """

    name: str
    mountpoint: str | None
    type: str
    used_bytes: int | None
    total_bytes: int | None
    disks: tuple[str, ...]
    place: Place


class Guest(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the question to the guest agent.

    ``state`` is ``answered`` or the code of the finding that tells why there is no answer.
    ``as_of`` is the time of the last real answer, ``checked_at`` when it was last known to be
    unchanged, since nothing was written to the instance's disks.
    """

    state: str
    agent_version: str | None = None
    as_of: Time | None = None
    checked_at: Time | None = None


class Disk(msgspec.Struct, frozen=True, kw_only=True):
    """One virtual disk: promised, held, claimed, and the verdict on them.

    ``identity`` names the thing that stores it (volume id, or device and inode), so that a
    disk attached twice counts once. ``storage_identity`` is the ``Storage`` it lies on.
    """

    target: str
    serial: str | None
    kind: Kind
    storage: str
    source: str | None
    format: str | None
    identity: str | None
    storage_identity: str | None
    virtual_bytes: Bytes | None
    host_allocated_bytes: Bytes | None
    host_allocated_source: str | None
    container_bytes: Bytes | None
    high_water_bytes: Bytes | None
    backing_bytes: Bytes | None
    libvirt: LibvirtTriple | None
    guest_used_bytes: Bytes | None
    guest_total_bytes: Bytes | None
    used: Used
    reclaimable: Reclaimable
    findings: tuple[Finding, ...]


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """One libvirt domain; ``uuid`` is the Nova instance UUID when Nova made the domain.

    ``project_id``, ``user_id`` and ``flavor`` are hints from Nova's metadata in the domain.
    """

    uuid: str
    domain: str
    state: State
    as_of: Time
    project_id: str | None
    user_id: str | None
    flavor: str | None
    guest: Guest
    filesystems: tuple[Filesystem, ...]
    findings: tuple[Finding, ...]
    disks: tuple[Disk, ...]


class Leftover(msgspec.Struct, frozen=True, kw_only=True):
    """A file or directory among the instances that belongs to no known domain."""

    name: str
    host_allocated_bytes: Bytes | None


class Storage(msgspec.Struct, frozen=True, kw_only=True):
    """One filesystem of the host that carries disks.

    ``identity`` is the same on every host that shares it (filesystem id, NFS export).
    ``virtual_sum_bytes`` is the sum promised on it by the disks of this host. ``instances_path``
    is the directory of Nova's instances if it lies here, as new ones will; null elsewhere, and
    from older agents.
    """

    identity: str
    kind: str
    path: str
    fs_type: str | None
    total_bytes: Bytes | None
    free_bytes: Bytes | None
    inodes_free: Bytes | None
    virtual_sum_bytes: Bytes
    image_cache_bytes: Bytes | None
    managed_save_bytes: Bytes | None
    leftovers: tuple[Leftover, ...]
    findings: tuple[Finding, ...] = ()
    instances_path: str | None = None


class HostReport(msgspec.Struct, frozen=True, kw_only=True):
    """Everything known about one host after one sweep.

    ``findings`` are those of the sweep itself, such as an inventory that could not be read.
    """

    schema: str
    host: str
    as_of: Time
    storages: tuple[Storage, ...]
    instances: tuple[Instance, ...]
    findings: tuple[Finding, ...] = ()


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over disks; each sum says how many disks it could not include."""

    disks: int
    virtual_bytes: Bytes
    virtual_unknown: int
    host_allocated_bytes: Bytes
    host_allocated_unknown: int
    guest_used_bytes: Bytes
    guest_used_unknown: int


def totals(disks: Iterable[Disk], kinds: frozenset[str] = frozenset({"local"})) -> Totals:
    """Sum disks of the given kinds, each storage identity once.

    A disk without identity cannot be recognised a second time, so each of them counts. Of two
    sightings of one disk the first that knows a number is believed for that number.
    """
    merged: dict[object, list[int | None]] = {}
    for position, disk in enumerate(disks):
        if disk.kind not in kinds:
            continue
        numbers = [disk.virtual_bytes, disk.host_allocated_bytes, disk.guest_used_bytes]
        key: object = disk.identity if disk.identity is not None else position
        known = merged.setdefault(key, numbers)
        for index, number in enumerate(numbers):
            if known[index] is None:
                known[index] = number
    columns = list(zip(*merged.values(), strict=True)) or [(), (), ()]
    sums = [sum(n for n in column if n is not None) for column in columns]
    unknown = [sum(n is None for n in column) for column in columns]
    return Totals(
        disks=len(merged),
        virtual_bytes=sums[0],
        virtual_unknown=unknown[0],
        host_allocated_bytes=sums[1],
        host_allocated_unknown=unknown[1],
        guest_used_bytes=sums[2],
        guest_used_unknown=unknown[2],
    )


def json_schema() -> dict[str, object]:
    """The JSON Schema (2020-12) of :class:`HostReport`, as published in ``doc/``."""
    schema = msgspec.json.schema(HostReport)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "nova-diskaudit report of one host",
        **schema,
    }
