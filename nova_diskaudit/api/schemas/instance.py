# SPDX-License-Identifier: Apache-2.0
"""Instances."""

from __future__ import annotations

from typing import Annotated

import msgspec

from nova_diskaudit import record
from nova_diskaudit.api.schemas.common import (
    Bytes,
    Code,
    Finding,
    HostName,
    Limit,
    Link,
    ProjectId,
    Time,
    Trust,
    Uuid,
)

Sort = Annotated[
    str,
    msgspec.Meta(
        pattern="^(uuid|virtual_bytes|host_allocated_bytes|guest_used_bytes"
        "|reclaimable_low_bytes|reclaimable_likely_bytes)(:(asc|desc))?$"
    ),
]


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over the local disks, each storage identity once; how many each could not include.

    ``used_low_bytes`` and ``used_high_bytes`` bound what the guests' filesystems use, as far as
    guests tell the truth; ``reclaimable_low_bytes`` and ``reclaimable_high_bytes`` what a trim
    gives back. An upper bound is null where nothing bounds one of the disks.
    ``reclaimable_likely_bytes`` takes the estimate of a disk, and where there is none its lower
    bound.
    """

    disks: int
    virtual_bytes: Bytes
    virtual_unknown: int
    host_allocated_bytes: Bytes
    host_allocated_unknown: int
    guest_used_bytes: Bytes
    guest_used_unknown: int
    used_low_bytes: Bytes | None
    used_high_bytes: Bytes | None
    reclaimable_low_bytes: Bytes
    reclaimable_likely_bytes: Bytes
    reclaimable_high_bytes: Bytes | None


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """The same instance on another host, not believed and not counted."""

    host: str
    trust: Trust
    as_of: Time
    since: Time
    host_allocated_bytes: Bytes


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """An instance as it is believed.

    ``verified``: Nova confirms who owns it and that it is on this host; ``trust`` says the same
    in one word more. ``since``: when it was first reported from there. What tells of the host
    (``host``, ``domain``, ``claimed_project_id``, where disks are stored) is null for a project's
    reader, and ``other_sightings`` is there only for operators who ask for one instance.
    """

    uuid: str
    name: str | None
    project_id: str | None
    user_id: str | None
    claimed_project_id: str | None
    host: str | None
    domain: str | None
    verified: bool
    trust: Trust
    state: record.State
    flavor: str | None
    as_of: Time
    received_at: Time
    since: Time
    totals: Totals
    guest: record.Guest
    filesystems: tuple[record.Filesystem, ...]
    findings: tuple[Finding, ...]
    disks: tuple[record.Disk, ...]
    other_sightings: tuple[Sighting, ...] | msgspec.UnsetType = msgspec.UNSET


class Instances(msgspec.Struct, frozen=True, kw_only=True):
    """A page of instances; the link ``next`` leads to the following one."""

    instances: tuple[Instance, ...]
    instances_links: tuple[Link, ...]


_FIELDS = "|".join(Instance.__struct_fields__)
Fields = Annotated[str, msgspec.Meta(pattern=f"^({_FIELDS})(,({_FIELDS}))*$")]


class ShowQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``fields`` names those of the answer that are wanted, with commas between."""

    fields: Fields | None = None


class ListQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which instances, in which order.

    ``min_reclaimable`` is in bytes and compares with ``reclaimable_likely_bytes``. ``sort`` is a
    key with ``:asc`` or ``:desc``; what is equal is in the order of UUIDs. ``marker`` is the last
    UUID of the page before.
    """

    project_id: ProjectId | None = None
    host: HostName | None = None
    finding: Code | None = None
    min_reclaimable: Bytes | None = None
    trust: Trust | None = None
    sort: Sort = "uuid"
    limit: Limit | None = None
    marker: Uuid | None = None
    fields: Fields | None = None
