# SPDX-License-Identifier: Apache-2.0
"""Hosts."""

from __future__ import annotations

import msgspec

from nova_diskaudit import record
from nova_diskaudit.api.schemas.common import (
    Bytes,
    Finding,
    HostName,
    Limit,
    Link,
    Time,
)


class ListQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hosts are listed by name; ``marker`` is the last name of the page before."""

    limit: Limit | None = None
    marker: HostName | None = None


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """A host that reports, with sums over the local disks of all instances sighted on it.

    ``as_of`` is when its agent began to look, ``received_at`` when this service got the report.
    """

    name: str
    report_id: str
    agent: str
    as_of: Time
    received_at: Time
    instances: int
    disks: int
    virtual_bytes: Bytes
    host_allocated_bytes: Bytes
    storages: tuple[record.Storage, ...]
    findings: tuple[Finding, ...]


class Hosts(msgspec.Struct, frozen=True, kw_only=True):
    """A page of hosts; the link ``next`` leads to the following one."""

    hosts: tuple[Host, ...]
    hosts_links: tuple[Link, ...]
