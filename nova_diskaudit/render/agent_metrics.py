# SPDX-License-Identifier: Apache-2.0
"""Prometheus exposition text of the agent's own health.

Nothing here is counted by domain: labels are kinds of lanes, tokens and parts, so the number of
series does not grow with the host. Unknown is an absent sample.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from nova_diskaudit.health import AgentStatus
from nova_diskaudit.record import HostReport
from nova_diskaudit.text import printable

_PREFIX = "nova_diskaudit_agent_"

# family -> (help, labels); those that end in _total only ever grow.
_FAMILIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "build_info": ("1; the agent's release, and the host it speaks for.", ("version", "host")),
    "start_time_seconds": ("When the agent was started.", ()),
    "interval_seconds": ("Seconds from one cycle to the next, as configured.", ()),
    "cycles_total": ("Cycles finished since the start.", ()),
    "cycle_start_timestamp_seconds": ("When the last finished cycle began.", ()),
    "cycle_seconds": ("How long the last finished cycle took.", ()),
    "cycle_failed": ("1 when the last cycle got no list of domains.", ()),
    "cycle_domains": ("Domains of the last cycle: asked anew (full) or unchanged.", ("how",)),
    "oldest_seconds": (
        "Age of the oldest fact: of an instance (host), of an answer of a guest agent (guest).",
        ("part",),
    ),
    "lane_children": ("Child processes that take questions.", ("lane",)),
    "lane_parked": ("Child processes that wait for a late reply.", ("lane",)),
    "lane_restarts_total": ("Child processes that died or were given up.", ("lane",)),
    "lane_answer_age_seconds": ("Seconds since the last answer of this lane.", ("lane",)),
    "tokens_limit": ("Calls that may wait on a QEMU or a guest at the same time.", ("kind",)),
    "tokens_held": (
        "Tokens held by calls on their way (active), overdue (parked), or of agents that are "
        "gone while libvirt still waits (orphaned).",
        ("kind", "how"),
    ),
    "quarantined": ("Domains of which this part is left alone for a while.", ("part",)),
    "events_connected": ("1 while libvirt's events arrive.", ()),
    "events_received_total": ("Events of libvirt that arrived.", ()),
    "events_lost_total": ("Times that events may have been missed.", ()),
    "events_connections_total": ("Connections made for events.", ()),
    "spool_states": ("States that wait for the central service.", ()),
    "spool_bytes": ("Bytes of the states that wait.", ()),
    "spool_oldest_timestamp_seconds": ("Of when the oldest waiting state is.", ()),
    "spool_in_memory": ("1 when the newest state could not be written to disk.", ()),
    "spool_problem": ("1 when the spool has a problem; the agent's log tells it.", ()),
    "spool_dropped_total": ("States lost for age or size.", ()),
    "spool_thinned_total": ("States replaced by a newer one of the same hour.", ()),
    "spool_rejected_total": ("States that the central service refused for good.", ()),
    "publisher_enabled": ("1 when states are sent to a central service.", ()),
    "publisher_sent_total": ("Requests that the central service acknowledged.", ()),
    "publisher_failures_total": ("Attempts that it did not acknowledge.", ()),
    "publisher_acknowledged_timestamp_seconds": ("When it last acknowledged a state.", ()),
    "publisher_problem": ("1 while the last attempt failed.", ()),
    "drops_total": ("States that nobody ever got; 0 in health.", ()),
}

_Sample = tuple[str, tuple[str, ...], float | None]


def render(agent: AgentStatus, report: HostReport | None, now: datetime.datetime) -> str:
    """The agent's health at ``now`` as exposition text (version 0.0.4).

    ``report`` is the newest one, for the age of its facts.
    """
    registry = CollectorRegistry()
    registry.register(_Agent(agent, report, now))
    return generate_latest(registry).decode()


class _Agent(Collector):
    """A class only because the client library collects from objects."""

    def __init__(
        self, agent: AgentStatus, report: HostReport | None, now: datetime.datetime
    ) -> None:
        self._samples = [*_samples(agent), *_ages(report, now)]

    def collect(self) -> Iterable[GaugeMetricFamily | CounterMetricFamily]:
        families: dict[str, GaugeMetricFamily | CounterMetricFamily] = {}
        for name, texts, value in self._samples:
            if value is None:
                continue
            if name not in families:
                documentation, names = _FAMILIES[name]
                kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
                families[name] = kind(_PREFIX + name, documentation, labels=names)
            families[name].add_metric([printable(text) for text in texts], value)
        return (families[name] for name in _FAMILIES if name in families)


def _samples(agent: AgentStatus) -> Iterator[_Sample]:
    yield "build_info", (agent.version, agent.host), 1
    yield "start_time_seconds", (), agent.started_at.timestamp()
    yield "interval_seconds", (), agent.interval_seconds
    cycle = agent.cycle
    yield "cycles_total", (), cycle.number
    yield "cycle_start_timestamp_seconds", (), _seconds(cycle.started_at)
    yield "cycle_seconds", (), cycle.seconds
    if cycle.number:
        yield "cycle_failed", (), cycle.failed is not None
        yield "cycle_domains", ("full",), cycle.full
        yield "cycle_domains", ("quiet",), cycle.quiet
    for lane in agent.lanes:
        yield "lane_children", (lane.kind,), lane.children
        yield "lane_parked", (lane.kind,), lane.parked
        yield "lane_restarts_total", (lane.kind,), lane.restarts
        yield "lane_answer_age_seconds", (lane.kind,), lane.oldest_answer_seconds
    for token in agent.tokens:
        yield "tokens_limit", (token.kind,), token.limit
        yield "tokens_held", (token.kind, "active"), token.active
        yield "tokens_held", (token.kind, "parked"), len(token.parked)
        yield "tokens_held", (token.kind, "orphaned"), len(token.orphaned)
    by_part = Counter(entry.part for entry in agent.quarantine)
    for part in ("describe", "evidence", "guest"):
        yield "quarantined", (part,), by_part[part]
    events = agent.events
    yield "events_connected", (), events.connected
    yield "events_received_total", (), events.received
    yield "events_lost_total", (), events.lost
    yield "events_connections_total", (), events.connections
    spool = agent.spool
    yield "spool_states", (), spool.depth
    yield "spool_bytes", (), spool.bytes
    yield "spool_oldest_timestamp_seconds", (), _seconds(spool.oldest_as_of)
    yield "spool_in_memory", (), spool.in_memory
    yield "spool_problem", (), spool.problem is not None
    yield "spool_dropped_total", (), spool.dropped
    yield "spool_thinned_total", (), spool.thinned
    yield "spool_rejected_total", (), spool.rejected
    publisher = agent.publisher
    yield "publisher_enabled", (), publisher.enabled
    if publisher.enabled:
        yield "publisher_sent_total", (), publisher.sent
        yield "publisher_failures_total", (), publisher.failures
        yield "publisher_problem", (), publisher.problem is not None
    yield "publisher_acknowledged_timestamp_seconds", (), _seconds(publisher.acknowledged_at)
    yield "drops_total", (), agent.drops


def _ages(report: HostReport | None, now: datetime.datetime) -> Iterator[_Sample]:
    if report is None or not report.instances:
        return
    oldest = min(instance.as_of for instance in report.instances)
    yield "oldest_seconds", ("host",), (now - oldest).total_seconds()
    guests = [
        checked
        for one in report.instances
        if (checked := one.guest.checked_at or one.guest.as_of) is not None
    ]
    if guests:
        yield "oldest_seconds", ("guest",), (now - min(guests)).total_seconds()


def _seconds(time: datetime.datetime | None) -> float | None:
    return None if time is None else time.timestamp()
