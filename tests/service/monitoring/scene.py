# SPDX-License-Identifier: Apache-2.0
"""A small cloud that a real Prometheus looks at: what the agents' own endpoint and the real service
say, of hosts that are well and of one with which everything is wrong.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import itertools
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import sqlalchemy as sa

from nova_diskaudit import conf, findings, health, protocol, record
from nova_diskaudit.agent.outputs import Outputs
from nova_diskaudit.reconcile import rollup
from nova_diskaudit.store import engine as store_engine
from nova_diskaudit.store import finding as store_finding
from nova_diskaudit.store import moment, schema, sink, tables
from nova_diskaudit.store import report as store_report
from tests import reports
from tests.service.monitoring import files
from tests.services.api import MetricsApi
from tests.services.daemon import free_port
from tests.services.prometheus import Prometheus
from tests.services.sqlite import Sqlite
from tests.unit.agent import test_outputs_of_the_agent as agent_words
from tests.unit.render import sample

GIB = reports.GIB
NOW = datetime.datetime.now(datetime.UTC)
LONG_AGO = NOW - datetime.timedelta(hours=3)
SHARED = "nfs:filer:/export/shared"
WELL, SICK = "compute-1", "compute-2"


@dataclasses.dataclass(frozen=True)
class Scene:
    """What a test asks."""

    prometheus: Prometheus
    #: addresses of the agents by host
    agents: dict[str, str]

    def eventually(self, expression: str, seconds: float = 60) -> dict[Any, float]:
        """The samples of an expression, once there are any."""
        until = time.monotonic() + seconds
        while not (found := self.prometheus.values(expression)):
            assert time.monotonic() < until, f"nothing comes of {expression}"
            time.sleep(0.2)
        return found


@contextlib.contextmanager
def set_up(place: Sqlite, directory: pathlib.Path) -> Iterator[Scene]:
    """All of it, until it is left."""
    with contextlib.ExitStack() as stack:
        engine = store_engine.create(place.create_database("monitored"))
        stack.callback(engine.dispose)
        schema.sync(engine)
        _fill(engine)
        service = stack.enter_context(MetricsApi(_settings(str(engine.url))))
        agents = {
            host: stack.enter_context(_agent(host, directory / host)) for host in (WELL, SICK)
        }
        nobody = f"127.0.0.1:{free_port()}"
        targets = {
            "nova-diskaudit-agent": [*agents.values(), nobody],
            "nova-diskaudit-service": [service.url.removeprefix("http://"), nobody],
        }
        rules = [files.RECORDING, files.ALERTS]
        yield Scene(stack.enter_context(Prometheus(targets, rules)), agents)


# --- agents -----------------------------------------------------------------------------------


@contextlib.contextmanager
def _agent(host: str, state_path: pathlib.Path) -> Iterator[str]:
    """An agent's outputs, with its own endpoint; the address of that."""
    state_path.mkdir()
    file = state_path / "nova-diskaudit.conf"
    file.write_text("[exporter]\nlisten = 127.0.0.1:0\n")
    options = conf.read(["--config-file", str(file)], where="the scene")
    scrapes = itertools.count()
    report, status = (_well if host == WELL else _sick)(host, scrapes)
    outputs = Outputs(options, state_path, report=report, status=status)
    outputs.start()
    try:
        address = outputs._exporter.address
        assert address is not None
        yield "{}:{}".format(*address)
    finally:
        outputs.close()


Report = Callable[[], record.HostReport]
Status = Callable[[], health.AgentStatus]


def _report(host: str, *, free: int, as_of: datetime.datetime) -> record.HostReport:
    """The hand-made report that renderers are held to, and a storage that both hosts share."""
    disks = [
        reports.disk("vda", identity=f"{host}:1", storage_identity=SHARED),
        reports.disk(
            "vdb",
            identity=f"{host}:2",
            storage_identity=SHARED,
            reclaimable=record.Reclaimable(low=GIB, high=2 * GIB, estimate=GIB, how="trim"),
        ),
    ]
    instance = protocol.resolved_instance(
        reports.instance(f"{host}-guest", disks=tuple(disks)), as_of
    )
    shared = reports.storage(
        identity=SHARED,
        kind="nfs",
        path="/srv/nova",
        total_bytes=100 * GIB,
        free_bytes=free,
        inodes_free=9000,
        virtual_sum_bytes=40 * GIB,
    )
    made = sample.report()
    return reports.changed(
        made,
        host=host,
        as_of=as_of,
        storages=(*made.storages, shared),
        instances=tuple(reports.changed(one, as_of=as_of) for one in (*made.instances, instance)),
    )


def _well(host: str, scrapes: Iterator[int]) -> tuple[Report, Status]:
    def report() -> record.HostReport:
        as_of = datetime.datetime.now(datetime.UTC)
        found = _report(host, free=9 * GIB, as_of=as_of)
        healthy = tuple(one for one in found.storages if not one.findings)
        return reports.changed(found, storages=healthy)

    def status() -> health.AgentStatus:
        next(scrapes)
        now = datetime.datetime.now(datetime.UTC)
        return agent_words.status(
            host=host,
            started_at=LONG_AGO,
            cycle=health.CycleStatus(number=7, started_at=now, seconds=1.5, domains=4, full=4),
            lanes=(
                health.LaneStatus(
                    kind="guest", children=1, parked=0, restarts=0, oldest_answer_seconds=1.0
                ),
            ),
            tokens=(health.TokenStatus(kind="stats", limit=1, active=0, parked=(), orphaned=()),),
            quarantine=(),
        )

    return report, status


def _sick(host: str, scrapes: Iterator[int]) -> tuple[Report, Status]:
    filling = itertools.count()

    def report() -> record.HostReport:
        # A twentieth of a GiB less at each look.
        free = max(0, 2 * GIB - next(filling) * GIB // 20)
        return _report(host, free=free, as_of=LONG_AGO)

    def status() -> health.AgentStatus:
        number = next(scrapes)
        return agent_words.status(
            host=host,
            started_at=LONG_AGO,
            cycle=health.CycleStatus(
                number=3,
                started_at=LONG_AGO,
                seconds=100.0,
                domains=4,
                full=4,
                failed="no answer of libvirt",
            ),
            lanes=(
                health.LaneStatus(
                    kind="storage",
                    children=1,
                    parked=2,
                    restarts=40 * number,
                    oldest_answer_seconds=9000.0,
                ),
            ),
            quarantine=(
                health.Quarantined(
                    uuid="u",
                    domain=sample.HOSTILE,
                    part="evidence",
                    code="qemu-unresponsive",
                    since=LONG_AGO,
                    failures=9,
                    next_try=NOW,
                ),
            ),
            events=health.EventStatus(connected=False, received=5, lost=1, connections=1),
            spool=health.SpoolStatus(
                depth=500 + number,
                bytes=2**20,
                oldest_as_of=LONG_AGO,
                dropped=2 * number,
                thinned=0,
                rejected=number,
                in_memory=True,
                problem="the disk is full",
            ),
            publisher=health.PublisherStatus(enabled=True, problem="503", failures=9),
            drops=2 * number,
        )

    return report, status


# --- the service ------------------------------------------------------------------------------


def _settings(url: str) -> dict[str, dict[str, object]]:
    """As in a cloud: with Keystone and Nova, which nobody asks here."""
    return {"database": {"connection": url}, "gnocchi": {"enabled": "true"}}


def _fill(engine: sa.Engine) -> None:
    """Two projects on two hosts. The second host is silent, has two agents, lies, and has a clock
    of its own. Nobody looked at Nova or added up for hours.
    """
    for host, names, received in (
        (WELL, ("one", "two"), NOW),
        (SICK, ("three", "four"), LONG_AGO),
    ):
        tiny = () if host == WELL else (reports.storage(total_bytes=1),)
        state = reports.state(
            host,
            tuple(map(reports.instance, names)),
            as_of=received,
            storages=tiny or (reports.storage(),),
            findings=(findings.finding("storage-unresponsive", "/srv"),),
        )
        ahead = datetime.timedelta(hours=1) if host == SICK else datetime.timedelta()
        _put(engine, reports.full(state, sent_at=received + ahead), received)
        if host == SICK:
            late = received + datetime.timedelta(seconds=30)
            other = reports.state(host, as_of=late)
            _put(engine, reports.full(other, agent="intruder", sent_at=late), late)
    at = moment.of(LONG_AGO)
    rows = [
        {
            "uuid": reports.uuid_of(name),
            "project_id": project,
            "host": host,
            "status": "ACTIVE",
            "seen_at": at,
            "moved_at": 0,
        }
        for name, project, host in (
            ("one", "red", WELL),
            ("two", "blue", WELL),
            ("three", "red", SICK),
            ("four", "blue", SICK),
            # not reported by anybody
            ("five", "blue", SICK),
        )
    ]
    with engine.begin() as connection:
        connection.execute(sa.insert(tables.instance), rows)
        connection.execute(sa.insert(tables.nova_map), [{"id": 1, "complete_at": at}])
        for name, code in (
            ("one", "instance-on-two-hosts"),
            ("two", "instance-without-domain"),
            ("three", "instance-elsewhere"),
        ):
            store_finding.replace(
                connection,
                1,
                "reconcile",
                [
                    store_finding.Change(
                        uuid=reports.uuid_of(name),
                        before=frozenset(),
                        now={code: store_finding.severity(code)},
                    )
                ],
                received=at,
            )
    rollup.run(
        engine,
        now=LONG_AGO,
        nova=True,
        stale_after_seconds=3600,
        project_history_days=9,
        instance_history_days=9,
    )
    passed = sink.begin(engine, sink.GNOCCHI, now=LONG_AGO, whole_every_seconds=60)
    sink.finish(engine, sink.GNOCCHI, passed)


def _put(engine: sa.Engine, report: protocol.Report, received: datetime.datetime) -> None:
    store_report.put(engine, report, now=received, takeover_after_seconds=900)
