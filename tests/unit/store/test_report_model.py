# SPDX-License-Identifier: Apache-2.0
"""Any sequence of requests leaves the tables as the protocol's own functions say.

The model is :func:`nova_diskaudit.protocol.judge` and :func:`nova_diskaudit.protocol.apply` on
values; the tables are read past the code under test. Requests are lost, doubled, late, made on
top of anything, by two agents, at any time.
"""

from __future__ import annotations

import datetime
import random

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from nova_diskaudit import findings, protocol
from nova_diskaudit.store import report as store_report
from nova_diskaudit.store import sighting
from nova_diskaudit.store.tables import finding, host
from tests import reports
from tests.unit.store import look
from tests.unit.store.conftest import empty

HOST = "compute-1"
TAKEOVER = 900.0
NAMES = ("one", "two", "three", "four")
CODES = ("untrimmed", "no-medium", "preallocated")
AGENTS = ("a", "b")


@st.composite
def states(draw: st.DrawFn) -> protocol.State:
    instances = []
    for name in draw(st.lists(st.sampled_from(NAMES), unique=True)):
        codes = draw(st.lists(st.sampled_from(CODES), unique=True, max_size=2))
        one = reports.instance(
            name,
            draw=random.Random(draw(st.integers(0, 3))),
            findings=tuple(findings.finding(code) for code in codes),
            as_of=draw(st.none() | st.just(reports.NOW)),
        )
        instances.append(one)
    storages = draw(st.lists(st.sampled_from(("local:1", "nfs:a:/b")), unique=True))
    return reports.state(
        HOST,
        tuple(instances),
        id=draw(st.uuids().map(str)),
        storages=tuple(reports.storage(identity=one) for one in sorted(storages)),
        findings=draw(st.sampled_from(((), (findings.finding("inventory-stale"),)))),
    )


class Requests(RuleBasedStateMachine):
    engine: sa.Engine

    def __init__(self) -> None:
        super().__init__()
        empty(self.engine)
        self.row: protocol.Row | None = None
        self.stored: protocol.State | None = None
        self.sent: list[protocol.Report] = []
        self.past: list[protocol.State] = []
        self.now = reports.NOW

    def _put(self, report: protocol.Report) -> None:
        self.sent.append(report)
        expected = protocol.judge(self.row, report, now=self.now, takeover_after_seconds=TAKEOVER)
        judged = store_report.put(
            self.engine, report, now=self.now, takeover_after_seconds=TAKEOVER
        )
        assert judged == expected
        if isinstance(expected, protocol.Accepted):
            self.stored = protocol.apply(self.stored, report)
            self.past.append(self.stored)
            self.row = protocol.Row(report_id=report.id, agent=report.agent, received_at=self.now)

    @rule(seconds=st.sampled_from((1, 300, 901)))
    def time_passes(self, seconds: int) -> None:
        self.now += datetime.timedelta(seconds=seconds)

    @rule(state=states(), agent=st.sampled_from(AGENTS))
    def full(self, state: protocol.State, agent: str) -> None:
        replaces = self.row.report_id if self.row is not None else None
        self._put(reports.full(state, agent=agent, replaces=replaces, sent_at=self.now))

    @rule(state=states(), agent=st.sampled_from(AGENTS))
    def delta(self, state: protocol.State, agent: str) -> None:
        if self.stored is not None:
            self._put(reports.delta(self.stored, state, agent=agent, sent_at=self.now))

    @rule(state=states(), data=st.data())
    def delta_of_anything(self, state: protocol.State, data: st.DataObject) -> None:
        if self.past:
            base = data.draw(st.sampled_from(self.past))
            self._put(reports.delta(base, state, sent_at=self.now))

    @rule(data=st.data())
    def something_sent_before(self, data: st.DataObject) -> None:
        if self.sent:
            self._put(data.draw(st.sampled_from(self.sent)))

    @rule(state=states(), replaces=st.none() | st.uuids().map(str))
    def full_on_top_of_anything(self, state: protocol.State, replaces: str | None) -> None:
        self._put(reports.full(state, replaces=replaces, sent_at=self.now))

    @invariant()
    def the_tables_hold_the_model(self) -> None:
        stored = look.state(self.engine, HOST)
        assert stored == self.stored
        if stored is None:
            return
        wanted = {("", one.code) for one in stored.findings}
        for one in stored.instances:
            wanted |= {(one.uuid, code) for code in sighting.instance_codes(one)}
        found = {
            (row.uuid, row.code) for row in look.rows(self.engine, finding) if row.origin == "agent"
        }
        assert found == wanted
        row = look.rows(self.engine, host)[0]
        assert row.instances == len(stored.instances)
        assert row.disks == sum(len(one.disks) for one in stored.instances)
        assert row.host_allocated_bytes == sum(
            disk.host_allocated_bytes or 0 for one in stored.instances for disk in one.disks
        )


@pytest.mark.parametrize("examples", [60])
def test_any_sequence_of_requests(engine: sa.Engine, examples: int) -> None:
    class Bound(Requests):
        pass

    Bound.engine = engine
    run_state_machine_as_test(
        Bound,
        settings=settings(
            max_examples=examples,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
