# SPDX-License-Identifier: Apache-2.0
"""What the agent on this host knows well enough to be told as a number of now."""

from __future__ import annotations

import datetime
import pathlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from nova_diskaudit.agent import reader
from nova_diskaudit.record import Disk, Instance

#: A host of a thousand instances says 10 MiB.
MOST_BYTES = 64 * 2**20
_DISKS = ("local", "volume")


class Facts(NamedTuple):
    """Instances by UUID as the agent last saw them; ``problem``: why there are none."""

    instances: Mapping[str, Instance]
    problem: str | None = None


class Measure(NamedTuple):
    """One number of one disk."""

    disk: Disk
    bytes: int
    as_of: datetime.datetime


def read(path: str, *, seconds: float, max_age: float, now: datetime.datetime) -> Facts:
    """Ask the agent; it never raises.

    :param max_age: seconds; a report that is older says nothing.
    """
    try:
        shown = reader.read(pathlib.Path(path), seconds=seconds, most_bytes=MOST_BYTES)
    except reader.AgentUnreachable as error:
        return Facts({}, str(error))
    if shown.report is None:
        return Facts({}, f"the agent on {path} has not looked at all of its host yet")
    age = (now - shown.report.as_of).total_seconds()
    if age > max_age:
        return Facts({}, f"the report of the agent on {path} is {age:.0f} s old")
    return Facts({one.uuid: one for one in shown.report.instances})


def held(instance: Instance, *, max_age: float, now: datetime.datetime) -> Iterator[Measure]:
    """What the storage holds for each disk of which that is known."""
    if _is_old(instance.as_of, max_age, now):
        return
    for disk in instance.disks:
        if disk.kind in _DISKS and disk.host_allocated_bytes is not None:
            yield Measure(disk, disk.host_allocated_bytes, instance.as_of)


def used(instance: Instance, *, max_age: float, now: datetime.datetime) -> Iterator[Measure]:
    """What the guest says that it uses on each disk; nothing of a guest that does not answer."""
    as_of = instance.guest.checked_at or instance.guest.as_of
    if instance.guest.state != "answered" or as_of is None or _is_old(as_of, max_age, now):
        return
    for disk in instance.disks:
        if disk.kind in _DISKS and disk.guest_used_bytes is not None:
            yield Measure(disk, disk.guest_used_bytes, as_of)


def _is_old(as_of: datetime.datetime, max_age: float, now: datetime.datetime) -> bool:
    return (now - as_of).total_seconds() > max_age
