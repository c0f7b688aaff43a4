# SPDX-License-Identifier: Apache-2.0
"""``/metrics``: the service's own numbers, for Prometheus."""

from __future__ import annotations

import prometheus_client

from nova_diskaudit.api import exposition
from nova_diskaudit.api.call import Answer, Call
from nova_diskaudit.store import host, ledger, rollup, sink, usage


def shown(call: Call) -> Answer:
    """Hosts as they are known now, projects and findings as of the last roll-up.

    It is all from the database, so every worker tells the same.
    """
    service = call.service
    now, engine = service.now(), service.engine
    numbers = exposition.Numbers(
        hosts=host.summed(engine, now=now),
        nova_complete_at=ledger.state(engine).complete_at if service.nova else None,
        rollup=rollup.state(engine),
        largest=usage.largest(engine, limit=service.metrics_projects, others=exposition.OTHERS),
        gnocchi_sent_at=sink.sent(engine, sink.GNOCCHI).sent_at if service.gnocchi else None,
    )
    text = exposition.render(numbers, now)
    return Answer(text, content_type=prometheus_client.CONTENT_TYPE_LATEST)
