# SPDX-License-Identifier: Apache-2.0
"""What a project's disks hold, now and before, beside what it may hold."""

from __future__ import annotations

from typing import Literal

import msgspec

from nova_diskaudit.api.schemas.common import (
    Bytes,
    Code,
    Limit,
    Link,
    ProjectId,
    Time,
    Uuid,
)
from nova_diskaudit.api.schemas.instance import Totals


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """Why instances are not measured: ``lacks`` says which of the two numbers they miss.

    ``code`` is that of a finding, or ``not-reported`` (Nova has it on a host, no report tells of
    it), ``not-on-a-host`` (Nova has it nowhere: shelved, or not yet scheduled), ``unverified``
    (reported from where Nova does not have it), ``no-filesystem`` (the guest answered, and none of
    its filesystems lies on one of the disks) or ``not-told`` (the report does not say why).
    """

    code: Code
    lacks: Literal["host", "guest"]
    instances: int


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """How many instances the sums rest on.

    ``instances``: those that Nova names, and without Nova those that are reported.
    ``host_measured``: what the storage holds is known of all disks of so many;
    ``guest_measured``: what the guest uses is. ``stale``: counted by a report that is old.
    """

    instances: int
    host_measured: int
    guest_measured: int
    stale: int
    reasons: tuple[Reason, ...]


class QuotaLimit(msgspec.Struct, frozen=True, kw_only=True):
    """A limit in Keystone, and what counts against it.

    ``limit_gib`` null: no limit is set, or it is unlimited. ``used_bytes`` null: nobody knows
    it now. ``enforced``: whether something refuses what goes beyond; null: this is not known.
    ``meaning``: sentences that say so to the project's people. ``as_of``: of the limit or of what
    is used, whichever was seen longer ago.
    """

    name: str
    limit_gib: int | None
    used_bytes: Bytes | None
    enforced: bool | None
    meaning: str
    as_of: Time | None


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over the instances that are verified to belong to a project.

    ``as_of``: of the oldest observation that counts; null when there is none. ``computed_at``:
    when it was added up: now for one project, some minutes ago in a list of all.
    """

    project_id: str
    verified: bool
    as_of: Time | None
    computed_at: Time
    totals: Totals
    coverage: Coverage
    limits: tuple[QuotaLimit, ...]


class Usages(msgspec.Struct, frozen=True, kw_only=True):
    """A page of projects; a project's reader gets one entry, their own."""

    usages: tuple[Usage, ...]
    usages_links: tuple[Link, ...]


class ListQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Operators may name a project, or leave it out and get all of them in pages.

    ``marker`` is the last project of the page before.
    """

    project_id: ProjectId | None = None
    limit: Limit | None = None
    marker: ProjectId | None = None


class HistoryCoverage(msgspec.Struct, frozen=True, kw_only=True):
    """How many instances a past sum rests on."""

    instances: int
    host_measured: int
    guest_measured: int


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """The last state that was known within one hour (of a project) or day (of an instance).

    ``at`` is the begin of that hour or day, UTC. One in which nobody reported is not in the list.
    """

    at: Time
    as_of: Time
    totals: Totals
    coverage: HistoryCoverage


class History(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the past, from old to new."""

    interval: Literal["hour", "day"]
    history: tuple[Point, ...]
    history_links: tuple[Link, ...]


class HistoryQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of a project by hours or of an ``instance`` by days, from ``start`` on and before ``end``.

    ``marker`` is the ``at`` of the last point of the page before.
    """

    project_id: ProjectId | None = None
    instance: Uuid | None = None
    start: Time | None = None
    end: Time | None = None
    limit: Limit | None = None
    marker: Time | None = None
