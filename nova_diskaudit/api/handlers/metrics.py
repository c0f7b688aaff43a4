# SPDX-License-Identifier: Apache-2.0
"""``/metrics``: the service's own numbers, for Prometheus."""

from __future__ import annotations

import prometheus_client
import prometheus_client.core

from nova_diskaudit.api.call import Answer, Call
from nova_diskaudit.store import host as store
from nova_diskaudit.store import ledger, moment


def shown(call: Call) -> Answer:
    """What the database knows now; every worker tells the same."""
    now = call.service.now()
    engine = call.service.engine
    sums = store.summed(engine, now=now)
    complete_at = ledger.state(engine).complete_at if call.service.nova else None
    map_age = (moment.of(now) - complete_at) / 1e6 if complete_at is not None else None
    registry = prometheus_client.CollectorRegistry()
    for name, help, value in (
        ("hosts", "Hosts that have reported.", sums.hosts),
        ("instances", "Instances sighted on them.", sums.instances),
        ("disks", "Local disks of those instances.", sums.disks),
        ("virtual_bytes", "Bytes promised by those disks.", sums.virtual_bytes),
        ("host_allocated_bytes", "Bytes held for those disks.", sums.host_allocated_bytes),
        (
            "oldest_report_age_seconds",
            "Seconds since the host that has been silent for longest reported.",
            sums.oldest_age_seconds,
        ),
        ("nova_map_age_seconds", "Seconds since all of Nova was last heard.", map_age),
        ("hosts_fresh", "Hosts that reported within the last 15 minutes.", sums.fresh),
    ):
        if value is not None:
            gauge = prometheus_client.Gauge(
                f"nova_diskaudit_service_{name}", help, registry=registry
            )
            gauge.set(value)
    text = prometheus_client.generate_latest(registry).decode()
    return Answer(text, content_type=prometheus_client.CONTENT_TYPE_LATEST)
