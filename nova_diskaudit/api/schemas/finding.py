# SPDX-License-Identifier: Apache-2.0
"""Findings."""

from __future__ import annotations

import msgspec

from nova_diskaudit import record
from nova_diskaudit.api.schemas.common import (
    Code,
    HostName,
    Limit,
    Link,
    Marker,
    Origin,
    ProjectId,
    Time,
    Uuid,
)


class ListQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which findings. They are listed by code; ``marker`` is the ``id`` of the last one before."""

    project_id: ProjectId | None = None
    host: HostName | None = None
    instance: Uuid | None = None
    code: Code | None = None
    severity: record.Severity | None = None
    origin: Origin | None = None
    limit: Limit | None = None
    marker: Marker | None = None


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One conclusion about an instance (or about a host: ``instance`` is null).

    ``disks`` are the targets of the disks that it is about; empty if it is about the whole.
    ``since`` is when it first appeared; ``action`` says what to do. ``host`` is null for a
    project's reader.
    """

    id: str
    code: str
    severity: record.Severity
    origin: Origin
    message: str
    action: str | None
    since: Time
    host: str | None
    instance: str | None
    project_id: str | None
    disks: tuple[str, ...]


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """A page of findings; the link ``next`` leads to the following one."""

    findings: tuple[Finding, ...]
    findings_links: tuple[Link, ...]
