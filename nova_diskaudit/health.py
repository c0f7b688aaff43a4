# SPDX-License-Identifier: Apache-2.0
"""The agent's words about itself: on its socket as JSON, on ``/metrics`` as numbers.

Only data, as ``record`` is for the host. Times are UTC; seconds are durations; unknown is None.
"""

from __future__ import annotations

import datetime
from typing import Literal, get_args

import msgspec

#: the part of a domain that is left alone for a while
Part = Literal["describe", "evidence", "guest"]
PARTS: tuple[Part, ...] = get_args(Part)


class CycleStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The last finished cycle. ``full`` domains were asked anew, ``quiet`` ones stood unchanged.

    ``failed`` says why there was no inventory, when there was none.
    """

    number: int
    started_at: datetime.datetime | None = None
    seconds: float | None = None
    domains: int = 0
    full: int = 0
    quiet: int = 0
    failed: str | None = None


class LaneStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of lane. ``parked`` are children that wait for a late reply.

    ``restarts`` counts children that died or were given up; ``oldest_answer_seconds`` is the age
    of the last answer of this kind, None before the first.
    """

    kind: str
    children: int
    parked: int
    restarts: int
    oldest_answer_seconds: float | None


class TokenStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Calls that may pin a worker of libvirtd: how many are allowed, and who holds one now."""

    kind: str
    limit: int
    active: int
    parked: tuple[str, ...]
    orphaned: tuple[str, ...]


class Quarantined(msgspec.Struct, frozen=True, kw_only=True):
    """A domain of which one part is not asked until ``next_try``; ``code`` is a finding's."""

    uuid: str
    domain: str
    part: Part
    code: str
    since: datetime.datetime
    failures: int
    next_try: datetime.datetime


class EventStatus(msgspec.Struct, frozen=True, kw_only=True):
    """libvirt's events: whether they arrive, and how many did."""

    connected: bool
    received: int
    lost: int
    connections: int


class SpoolStatus(msgspec.Struct, frozen=True, kw_only=True):
    """States that the central service has not acknowledged.

    ``dropped`` were lost for age or size, ``thinned`` were replaced by a newer one of the same
    hour, ``rejected`` were refused for good. ``in_memory``: the newest could not be written.
    """

    depth: int
    bytes: int
    oldest_as_of: datetime.datetime | None
    dropped: int
    thinned: int
    rejected: int
    in_memory: bool
    problem: str | None = None


class PublisherStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The way to the central service. ``problem`` is the last refusal, None when all is well."""

    enabled: bool
    acknowledged: str | None = None
    acknowledged_at: datetime.datetime | None = None
    sent: int = 0
    failures: int = 0
    next_try: datetime.datetime | None = None
    problem: str | None = None


class AgentStatus(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. ``drops`` are states that nobody ever got; it stays 0 in health."""

    version: str
    host: str
    pid: int
    started_at: datetime.datetime
    interval_seconds: float
    cycle: CycleStatus
    lanes: tuple[LaneStatus, ...]
    tokens: tuple[TokenStatus, ...]
    quarantine: tuple[Quarantined, ...]
    events: EventStatus
    spool: SpoolStatus
    publisher: PublisherStatus
    drops: int
