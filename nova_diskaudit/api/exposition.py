# SPDX-License-Identifier: Apache-2.0
"""The service's numbers as Prometheus exposition text.

What the number of series depends on is bounded: projects are shown one by one up to a limit, codes
are those of the catalogue. Unknown is an absent sample.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import prometheus_client
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from nova_diskaudit.store import host, moment, rollup, usage

#: In place of the id of a project: all those that are not shown. Keystone gives no such id.
OTHERS = "(others)"

_PREFIX = "nova_diskaudit_"

# family -> (help, labels); those that end in _total only ever grow.
_FAMILIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "service_hosts": ("Hosts that have reported.", ()),
    "service_hosts_fresh": ("Hosts that reported within the last 15 minutes.", ()),
    "service_hosts_reported": ("Hosts that reported within so many seconds.", ("within_seconds",)),
    "service_oldest_report_age_seconds": (
        "Seconds since the host that has been silent for longest reported.",
        (),
    ),
    "service_reports_accepted_total": ("Reports that were taken, by all workers.", ()),
    "service_nova_map_age_seconds": ("Seconds since all of Nova was last heard.", ()),
    "service_gnocchi_age_seconds": (
        "Seconds since a pass began that sent to Gnocchi all that was due.",
        (),
    ),
    "service_instances": ("Instances sighted on hosts.", ()),
    "service_disks": ("Local disks of those instances.", ()),
    "service_virtual_bytes": ("Bytes promised by those disks.", ()),
    "service_host_allocated_bytes": ("Bytes held for those disks.", ()),
    "service_rollup_age_seconds": ("Seconds since the last roll-up; what follows is of it.", ()),
    "service_rollup_duration_seconds": ("How long the last roll-up took.", ()),
    "service_findings": ("Findings about hosts and instances.", ("code", "severity")),
    "service_unmeasured_instances": (
        "Instances that lack the host's or the guest's number, by the reason.",
        ("lacks", "code"),
    ),
    "project_instances": ("Instances that Nova has of a project.", ("project_id",)),
    "project_instances_host_measured": (
        "Those of which all bytes held are known.",
        ("project_id",),
    ),
    "project_instances_guest_measured": (
        "Those of which all bytes that the guest uses are known.",
        ("project_id",),
    ),
    "project_instances_stale": ("Those that are counted by an old report.", ("project_id",)),
    "project_disks": ("Local disks of a project.", ("project_id",)),
    "project_virtual_unknown_disks": ("Disks whose size is not known.", ("project_id",)),
    "project_host_allocated_unknown_disks": (
        "Disks of which it is not known what is held.",
        ("project_id",),
    ),
    "project_guest_used_unknown_disks": (
        "Disks of which it is not known what the guest uses.",
        ("project_id",),
    ),
    "project_virtual_bytes": ("Bytes promised to a project.", ("project_id",)),
    "project_host_allocated_bytes": ("Bytes that storages hold for it.", ("project_id",)),
    "project_guest_used_bytes": ("Bytes that its guests say they use.", ("project_id",)),
    "project_used_low_bytes": ("Bytes in use, at least.", ("project_id",)),
    "project_used_high_bytes": ("Bytes in use, at most.", ("project_id",)),
    "project_reclaimable_low_bytes": ("Bytes that trims give back, at least.", ("project_id",)),
    "project_reclaimable_likely_bytes": (
        "Bytes that trims give back, as estimated.",
        ("project_id",),
    ),
    "project_reclaimable_high_bytes": ("Bytes that trims give back, at most.", ("project_id",)),
}

_Sample = tuple[str, tuple[str, ...], float | None]


class Numbers(NamedTuple):
    """All that is told. ``*_at`` are moments; None: it is not known."""

    hosts: host.Sums
    nova_complete_at: int | None
    rollup: rollup.State
    largest: usage.Largest
    gnocchi_sent_at: int | None = None


def render(numbers: Numbers, now: datetime.datetime) -> str:
    """The text at ``now``."""
    registry = prometheus_client.CollectorRegistry()
    registry.register(_Service(numbers, now))
    return prometheus_client.generate_latest(registry).decode()


class _Service(Collector):
    """A class only because the client library collects from objects."""

    def __init__(self, numbers: Numbers, now: datetime.datetime) -> None:
        self._samples = [*_of_service(numbers, moment.of(now)), *_of_projects(numbers)]

    def collect(self) -> Iterable[GaugeMetricFamily | CounterMetricFamily]:
        families: dict[str, GaugeMetricFamily | CounterMetricFamily] = {}
        for name, labels, value in self._samples:
            if value is None:
                continue
            if name not in families:
                help, names = _FAMILIES[name]
                kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
                families[name] = kind(_PREFIX + name, help, labels=names)
            families[name].add_metric(labels, value)
        return (families[name] for name in _FAMILIES if name in families)


def _of_service(numbers: Numbers, at: int) -> Iterator[_Sample]:
    hosts = numbers.hosts
    yield "service_hosts", (), hosts.hosts
    for seconds, reported in zip(host.WITHIN_SECONDS, hosts.reported, strict=True):
        yield "service_hosts_reported", (str(seconds),), reported
        if seconds == 900:
            yield "service_hosts_fresh", (), reported
    yield "service_oldest_report_age_seconds", (), hosts.oldest_age_seconds
    taken = hosts.reports + numbers.rollup.reports_purged
    yield "service_reports_accepted_total", (), taken
    yield "service_nova_map_age_seconds", (), _age(at, numbers.nova_complete_at)
    yield "service_gnocchi_age_seconds", (), _age(at, numbers.gnocchi_sent_at)
    yield "service_instances", (), hosts.instances
    yield "service_disks", (), hosts.disks
    yield "service_virtual_bytes", (), hosts.virtual_bytes
    yield "service_host_allocated_bytes", (), hosts.host_allocated_bytes
    yield "service_rollup_age_seconds", (), _age(at, numbers.rollup.computed_at)
    yield "service_rollup_duration_seconds", (), numbers.rollup.seconds
    for code, severity, number in numbers.rollup.counted.findings:
        yield "service_findings", (code, severity), number
    for reason in numbers.rollup.counted.reasons:
        yield "service_unmeasured_instances", (reason.lacks, reason.code), reason.instances


def _of_projects(numbers: Numbers) -> Iterator[_Sample]:
    if numbers.rollup.computed_at is None:
        return
    for one in (*numbers.largest.projects, numbers.largest.others):
        label = (one.project_id,)
        yield "project_instances", label, one.instances
        yield "project_instances_host_measured", label, one.host_measured
        yield "project_instances_guest_measured", label, one.guest_measured
        yield "project_instances_stale", label, one.stale
        for name, value in one.sums._asdict().items():
            family = f"{name}_disks" if name.endswith("_unknown") else name
            yield f"project_{family}", label, value


def _age(at: int, then: int | None) -> float | None:
    return None if then is None else (at - then) / 1e6
