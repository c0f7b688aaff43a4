# SPDX-License-Identifier: Apache-2.0
"""What is free on the hosts, as one look at the central service told it. Pure: no I/O, no clock.

Times are those of a monotonic clock of this process. The stamps of the service are of another
clock, so an age is counted from when a stamp was first seen here (:class:`Ages`).
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, NamedTuple

import msgspec

#: of the service: with a zone
Time = Annotated[datetime.datetime, msgspec.Meta(tz=True)]

_MIB = 2**20
_SHARED = frozenset({"nfs", "cephfs", "shared"})
IMPLAUSIBLE = "host-claim-implausible"


class Moment(NamedTuple):
    """Now: by the clock that never steps (seconds), and by the one that others read too."""

    monotonic: float
    utc: datetime.datetime


class Rules(NamedTuple):
    """When a host is full, and how old (seconds) a report may be to say anything."""

    min_free_ratio: float
    min_free_bytes: int
    max_age: float


class Ages:
    """When, by our own clock, stamps of another clock were made.

    A stamp that was not there at the last look was made since: however wrong the two clocks are,
    it is no older than that. Only the first look has to believe them.
    """

    def __init__(self) -> None:
        self._before: dict[object, tuple[datetime.datetime, float]] = {}
        self._now: dict[object, tuple[datetime.datetime, float]] = {}
        self._looked_at: float | None = None

    def made_at(self, key: object, stamp: datetime.datetime, now: Moment) -> float:
        """The monotonic time of the stamp that ``key`` bears in the present look."""
        known = self._before.get(key)
        if known is not None and known[0] == stamp:
            at = known[1]
        else:
            age = max(0.0, (now.utc - stamp).total_seconds())
            if self._looked_at is not None:
                age = min(age, now.monotonic - self._looked_at)
            at = now.monotonic - age
        self._now[key] = (stamp, at)
        return at

    def close(self, began: float) -> None:
        """The present look is over; keys that it did not bring are forgotten.

        :param began: its monotonic time.
        """
        self._before, self._now, self._looked_at = self._now, {}, began


class Reading:
    """One storage with Nova's instances, as one report told of it.

    ``identity`` is that of the storage if hosts may share it, else the host's name. What Nova
    placed there since is noted in terms of its own ``free_disk_mb``: ``seen`` has it by host when
    this reading was first used, ``earlier`` when the one before was.
    """

    __slots__ = ("earlier", "free_bytes", "good_until", "identity", "is_full", "seen", "stamp")

    def __init__(
        self,
        *,
        identity: object,
        stamp: datetime.datetime,
        good_until: float,
        free_bytes: int,
        is_full: bool,
        earlier: Mapping[str, int],
    ) -> None:
        self.identity = identity
        self.stamp = stamp
        self.good_until = good_until
        self.free_bytes = free_bytes
        self.is_full = is_full
        self.earlier = earlier
        self.seen: dict[str, int] = {}

    def promised_bytes(self, host: str, free_disk_mb: int) -> int:
        """What Nova took on this host since the reading before this one was first used.

        A server that has just been placed holds nothing yet, and is in no report for minutes. If
        its promise did not count until then, the next hundred would follow it.
        """
        first = self.seen.setdefault(host, free_disk_mb)
        return max(0, self.earlier.get(host, first) - free_disk_mb) * _MIB


class Snapshot:
    """Readings by host, and the projects that are past their limit with until when that holds.

    ``unclear``: hosts whose report does not tell what is free for Nova's instances. ``unheard``:
    hosts that Nova asked about and that are not in here.
    """

    __slots__ = ("projects", "readings", "unclear", "unheard")

    def __init__(
        self,
        readings: Mapping[str, Reading],
        projects: Mapping[str, float],
        unclear: frozenset[str] = frozenset(),
    ) -> None:
        self.readings = readings
        self.projects = projects
        self.unclear = unclear
        self.unheard: set[str] = set()

    def reading(self, host: str, now: float) -> Reading | None:
        """What holds for ``host`` at the monotonic time ``now``; None: no opinion."""
        found = self.readings.get(host)
        if found is None:
            self.unheard.add(host)
            return None
        return found if now <= found.good_until else None

    def is_past_limit(self, project_id: str | None, now: float) -> bool:
        """Whether it is known of this project that it holds more than it may."""
        return project_id is not None and now <= self.projects.get(project_id, -math.inf)


EMPTY = Snapshot({}, {})


class _Storage(msgspec.Struct):
    identity: str
    kind: str
    total_bytes: int | None = None
    free_bytes: int | None = None
    image_cache_bytes: int | None = None
    instances_path: str | None = None


class _Finding(msgspec.Struct):
    code: str


class Host(msgspec.Struct):
    """What is used of an entry of ``/v1/hosts``."""

    name: str
    received_at: Time
    storages: list[_Storage]
    findings: list[_Finding]

    @property
    def is_implausible(self) -> bool:
        """Whether the service or the agent says that it cannot be as reported."""
        return any(one.code == IMPLAUSIBLE for one in self.findings)


def host(told: Any) -> Host | None:
    """An entry as openstacksdk gives it; None when it has another form than documented."""
    try:
        return msgspec.convert(
            {name: getattr(told, name) for name in Host.__struct_fields__}, type=Host
        )
    except (msgspec.ValidationError, AttributeError):
        return None


def readings(
    hosts: Iterable[Host], ages: Ages, now: Moment, rules: Rules, before: Mapping[str, Reading]
) -> Iterator[tuple[str, Reading | None]]:
    """Each host with the reading of its storage; None when its report does not tell.

    Nor does one tell by which more is free than there is: nobody is to draw servers by it.

    Its own report counts before that of a host with the same storage: what a host says about
    itself is believed, and what it says about others only where they are silent.
    """
    own: dict[str, Reading | None] = {}
    newest: dict[object, Reading] = {}
    for one in hosts:
        reading = own[one.name] = _own(one, ages, now, rules, before)
        if reading is not None:
            best = newest.setdefault(reading.identity, reading)
            if reading.good_until > best.good_until:
                newest[reading.identity] = reading
    for name, reading in own.items():
        if reading is not None and reading.good_until < now.monotonic:
            reading = newest[reading.identity]
        yield name, reading


def _own(
    one: Host, ages: Ages, now: Moment, rules: Rules, before: Mapping[str, Reading]
) -> Reading | None:
    made_at = ages.made_at(one.name, one.received_at, now)
    storage = _with_instances(one.storages)
    if storage is None or storage.free_bytes is None or storage.total_bytes is None:
        return None
    if storage.free_bytes > storage.total_bytes:
        return None
    identity = storage.identity if storage.kind in _SHARED else (one.name,)
    known = before.get(one.name)
    if known is not None and (known.identity, known.stamp) == (identity, one.received_at):
        return known
    free_bytes = storage.free_bytes
    return Reading(
        identity=identity,
        stamp=one.received_at,
        good_until=made_at + rules.max_age,
        free_bytes=free_bytes,
        is_full=free_bytes < rules.min_free_bytes
        or free_bytes < rules.min_free_ratio * storage.total_bytes,
        earlier=known.seen if known is not None and known.identity == identity else {},
    )


def _with_instances(storages: Iterable[_Storage]) -> _Storage | None:
    """The storage that new instances will lie on; of several one that does not tell what is free,
    or else the one with the least.

    Agents before ``instances_path`` was told know it only by Nova's image cache.
    """
    told = [one for one in storages if one.instances_path is not None]
    told = told or [one for one in storages if one.image_cache_bytes is not None]
    return min(told, key=_least_known_first, default=None)


def _least_known_first(one: _Storage) -> tuple[bool, int]:
    return one.free_bytes is not None, one.free_bytes or 0
