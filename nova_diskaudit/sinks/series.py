# SPDX-License-Identifier: Apache-2.0
"""One instance as resources of Gnocchi and their measures. Pure: no clock, no I/O.

A series has to be about one thing. A file's inode changes when an instance moves, and rescue puts
another disk at ``vda``; what stays is the name that Nova gave the disk in its storage (``disk``,
``disk.eph0``, ``<uuid>_disk``), or the id of the volume. So that makes the resource's id.

Everything but the owner is a host's word and may be hostile: texts become printable ASCII of
bounded length, and there are only so many disks.
"""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from nova_diskaudit import record
from nova_diskaudit.cloud import gnocchi
from nova_diskaudit.store import sink

#: libvirt's own targets end far below.
MOST_DISKS = 256

# Gnocchi has no time before it.
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
# Any UUID, for ever the same.
_NAMESPACE = uuid.UUID("6b1f6c3e-1f0e-5d0b-9a55-0f3d1c1d3a5e")
_KINDS = frozenset({"local", "volume"})

#: The record's own words. Ceilometer has ``disk.*`` and ``disk.device.*`` for itself, and means
#: libvirt's fields by them.
_PREFIX = "diskaudit."


class Measure(NamedTuple):
    """A number of bytes, and when it was so."""

    time: datetime.datetime
    bytes: int


class Series(NamedTuple):
    """One disk: its resource, and measures by the name of their metric."""

    resource: gnocchi.Resource
    measures: Mapping[str, Measure]


class TooManyDisks(ValueError):
    """More than any instance has."""


def of(one: sink.Verified, *, latest: datetime.datetime) -> list[Series]:
    """The disks of an instance of which anything is known.

    :param latest: a time after it is from a clock that is wrong. It would make Gnocchi ignore all
        that is older, so it is left out.
    :raises TooManyDisks:
    """
    said = one.said
    disks = [disk for disk in said.disks if disk.kind in _KINDS]
    if len(disks) > MOST_DISKS:
        raise TooManyDisks(f"{len(disks)} disks")
    found: dict[str, Series] = {}
    for disk in disks:
        name = _name(disk)
        if name in found:
            name = f"{name} {disk.target}"
        measures = {
            _PREFIX + word: measure
            for word, measure in _measures(said, disk)
            if _EPOCH <= measure.time <= latest
        }
        if measures and name not in found:
            found[name] = Series(_resource(one, disk, name), measures)
    return list(found.values())


def _name(disk: record.Disk) -> str:
    if disk.kind == "volume":
        return disk.serial or disk.target
    return (disk.source or "").rpartition("/")[2] or disk.target


def _resource(one: sink.Verified, disk: record.Disk, name: str) -> gnocchi.Resource:
    instance_id = one.said.uuid
    return gnocchi.Resource(
        # Of the whole name, not of what is shown of it.
        id=str(uuid.uuid5(_NAMESPACE, f"{instance_id}/{name}")),
        instance_id=instance_id,
        project_id=one.project_id,
        user_id=one.user_id,
        disk=_plain(name),
        target=_plain(disk.target),
        kind=disk.kind,
        host=_plain(one.host),
    )


def _measures(said: record.Instance, disk: record.Disk) -> Iterator[tuple[str, Measure]]:
    """What is known; what is not is left out."""
    numbers = {
        "virtual_bytes": disk.virtual_bytes,
        "host_allocated_bytes": disk.host_allocated_bytes,
    }
    # Without a word of the guest the bounds are 0 and the size of the disk: nothing is known.
    if disk.used.basis in ("guest", "guest-partial"):
        numbers |= {"used_low_bytes": disk.used.low, "used_high_bytes": disk.used.high}
    if disk.reclaimable.high is not None:
        numbers |= {
            "reclaimable_low_bytes": disk.reclaimable.low,
            "reclaimable_high_bytes": disk.reclaimable.high,
        }
    for word, number in numbers.items():
        if number is not None:
            yield word, Measure(said.as_of, number)
    told_at = said.guest.checked_at or said.guest.as_of
    if disk.guest_used_bytes is not None and told_at is not None:
        yield "guest_used_bytes", Measure(told_at, disk.guest_used_bytes)


def _plain(text: str) -> str:
    """Printable ASCII: Gnocchi's index may be MySQL with three bytes a character, and PostgreSQL
    has no NUL.
    """
    cut = text[: gnocchi.TEXT].encode("ascii", "backslashreplace").decode()
    shown = "".join(c if " " <= c <= "~" else f"\\x{ord(c):02x}" for c in cut)
    return shown[: gnocchi.TEXT]
