# SPDX-License-Identifier: Apache-2.0
"""Prometheus exposition text of a host report.

Names: ``nova_diskaudit_<noun>_<the record's own word>``, so whoever knows the JSON knows the
metric; base units last (``_bytes``, ``_seconds``), all gauges. Every disk series has the same
three labels, so any two numbers of a disk can be divided; texts live in ``*_info`` to join.

Unknown is an absent sample, never 0 and never NaN. Nothing a guest can choose freely (such as a
mount point) becomes a label: it would let a tenant fill the scraper's memory.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from nova_diskaudit.record import Disk, Finding, HostReport, Instance, Storage
from nova_diskaudit.text import printable

_PREFIX = "nova_diskaudit_"
_INSTANCE = ("instance_uuid", "project_id")
_DISK = (*_INSTANCE, "device")
_STORAGE = ("storage",)
_FINDING = ("code", "severity")

# family -> (help, labels). The order is the order of the output.
_FAMILIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "report_info": ("The report: its host and schema.", ("host", "schema")),
    "report_timestamp_seconds": ("When the sweep was made.", ()),
    "report_finding": ("1 for each finding about the sweep itself.", _FINDING),
    "instance_info": (
        "1; what the domain calls itself.",
        (*_INSTANCE, "domain", "state", "user_id", "flavor"),
    ),
    "instance_timestamp_seconds": ("When the instance was observed.", _INSTANCE),
    "instance_guest_state": (
        "1 for what became of the question to the guest agent: answered, or a code.",
        (*_INSTANCE, "state"),
    ),
    "instance_guest_timestamp_seconds": ("When the guest agent last answered.", _INSTANCE),
    "instance_finding": ("1 for each finding about the instance.", (*_INSTANCE, *_FINDING)),
    "disk_info": (
        "1; what kind of disk it is, and on which storage it lies.",
        (*_DISK, "kind", "source_type", "format", "host_allocated_source", "storage"),
    ),
    "disk_virtual_bytes": ("Size of the disk as the guest sees it.", _DISK),
    "disk_host_allocated_bytes": ("Bytes the storage holds for the disk's top layer.", _DISK),
    "disk_container_bytes": ("Length of the file or device that carries the disk.", _DISK),
    "disk_high_water_bytes": (
        "Highest offset written since QEMU opened the image. A hint, never usage.",
        _DISK,
    ),
    "disk_backing_bytes": ("Bytes held by the shared backing chain below the disk.", _DISK),
    "disk_guest_used_bytes": (
        "Bytes the guest's filesystems on this disk claim to use. A tenant's claim.",
        _DISK,
    ),
    "disk_guest_total_bytes": (
        "Size of the guest's filesystems on this disk. A tenant's claim.",
        _DISK,
    ),
    "disk_used_bytes": ("Bytes in use, when the guest's claims cover the disk.", _DISK),
    "disk_used_low_bytes": ("Bytes in use, at least.", _DISK),
    "disk_used_high_bytes": ("Bytes in use, at most.", _DISK),
    "disk_reclaimable_low_bytes": ("Host bytes that fstrim gives back, at least.", _DISK),
    "disk_reclaimable_high_bytes": ("Host bytes that fstrim gives back, at most.", _DISK),
    "disk_reclaimable_estimate_bytes": ("Host bytes held beyond the bytes in use.", _DISK),
    "disk_finding": ("1 for each finding about the disk.", (*_DISK, *_FINDING)),
    "storage_info": (
        "1; where the storage is on this host.",
        (*_STORAGE, "kind", "path", "fs_type"),
    ),
    "storage_total_bytes": ("Size of the storage.", _STORAGE),
    "storage_free_bytes": ("Bytes free on the storage.", _STORAGE),
    "storage_inodes_free": ("Inodes free on the storage.", _STORAGE),
    "storage_virtual_sum_bytes": ("Bytes promised on it by the disks of this host.", _STORAGE),
    "storage_image_cache_bytes": ("Bytes held by Nova's image cache.", _STORAGE),
    "storage_managed_save_bytes": ("Bytes held by saved domains.", _STORAGE),
    "storage_leftovers": ("Files that belong to no known domain.", _STORAGE),
    "storage_finding": ("1 for each finding about the storage.", (*_STORAGE, *_FINDING)),
}

Sample = tuple[str, tuple[str | None, ...], float | None]


def render(report: HostReport) -> str:
    """The report as exposition text (version 0.0.4)."""
    registry = CollectorRegistry()
    registry.register(_Report(report))
    return generate_latest(registry).decode()


class _Report(Collector):
    """A class only because the client library collects from objects."""

    def __init__(self, report: HostReport) -> None:
        self._report = report

    def collect(self) -> Iterable[GaugeMetricFamily]:
        families: dict[str, GaugeMetricFamily] = {}
        seen: set[tuple[str, tuple[str, ...]]] = set()
        for name, texts, value in _samples(self._report):
            labels = tuple(printable(text or "") for text in texts)
            # A series may stand only once; the same finding may be drawn twice about one disk.
            if value is None or (name, labels) in seen:
                continue
            seen.add((name, labels))
            if name not in families:
                documentation, names = _FAMILIES[name]
                families[name] = GaugeMetricFamily(_PREFIX + name, documentation, labels=names)
            families[name].add_metric(labels, value)
        return (families[name] for name in _FAMILIES if name in families)


def _samples(report: HostReport) -> Iterator[Sample]:
    yield "report_info", (report.host, report.schema), 1
    yield "report_timestamp_seconds", (), report.as_of.timestamp()
    yield from _findings("report", (), report.findings)
    for instance in report.instances:
        yield from _instance(instance)
    for storage in report.storages:
        yield from _storage(storage)


def _instance(instance: Instance) -> Iterator[Sample]:
    key = (instance.uuid, instance.project_id)
    guest = instance.guest
    yield (
        "instance_info",
        (*key, instance.domain, instance.state, instance.user_id, instance.flavor),
        1,
    )
    yield "instance_timestamp_seconds", key, _seconds(instance.as_of)
    yield "instance_guest_state", (*key, guest.state), 1
    yield "instance_guest_timestamp_seconds", key, _seconds(guest.as_of)
    yield from _findings("instance", key, instance.findings)
    for disk in instance.disks:
        yield from _disk((*key, disk.target), disk)


def _disk(key: tuple[str | None, ...], disk: Disk) -> Iterator[Sample]:
    yield (
        "disk_info",
        (
            *key,
            disk.kind,
            disk.storage,
            disk.format,
            disk.host_allocated_source,
            disk.storage_identity,
        ),
        1,
    )
    yield "disk_virtual_bytes", key, disk.virtual_bytes
    yield "disk_host_allocated_bytes", key, disk.host_allocated_bytes
    yield "disk_container_bytes", key, disk.container_bytes
    yield "disk_high_water_bytes", key, disk.high_water_bytes
    yield "disk_backing_bytes", key, disk.backing_bytes
    yield "disk_guest_used_bytes", key, disk.guest_used_bytes
    yield "disk_guest_total_bytes", key, disk.guest_total_bytes
    yield "disk_used_bytes", key, disk.used.bytes
    yield "disk_used_low_bytes", key, disk.used.low
    yield "disk_used_high_bytes", key, disk.used.high
    yield "disk_reclaimable_low_bytes", key, disk.reclaimable.low
    yield "disk_reclaimable_high_bytes", key, disk.reclaimable.high
    yield "disk_reclaimable_estimate_bytes", key, disk.reclaimable.estimate
    yield from _findings("disk", key, disk.findings)


def _storage(storage: Storage) -> Iterator[Sample]:
    key = (storage.identity,)
    yield "storage_info", (*key, storage.kind, storage.path, storage.fs_type), 1
    yield "storage_total_bytes", key, storage.total_bytes
    yield "storage_free_bytes", key, storage.free_bytes
    yield "storage_inodes_free", key, storage.inodes_free
    yield "storage_virtual_sum_bytes", key, storage.virtual_sum_bytes
    yield "storage_image_cache_bytes", key, storage.image_cache_bytes
    yield "storage_managed_save_bytes", key, storage.managed_save_bytes
    yield "storage_leftovers", key, len(storage.leftovers)
    yield from _findings("storage", key, storage.findings)


def _findings(
    noun: str, key: tuple[str | None, ...], findings: tuple[Finding, ...]
) -> Iterator[Sample]:
    for finding in findings:
        yield f"{noun}_finding", (*key, finding.code, finding.severity), 1


def _seconds(time: datetime.datetime | None) -> float | None:
    return None if time is None else time.timestamp()
