# SPDX-License-Identifier: Apache-2.0
"""A cloud of many hosts that report: what their agents would send, ready to be sent.

Every host has 50 instances with two disks each. A project has a few thousand of the instances,
spread over all hosts, as Nova spreads them; beside the large projects there are as many with a
single instance as there are hosts.
"""

from __future__ import annotations

import datetime
import gzip
import http.client
import json
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import sqlalchemy as sa

from nova_diskaudit import protocol
from nova_diskaudit.store.tables import instance
from tests import reports

INSTANCES = 50
DISKS = 2
CONNECTIONS = 4

AGENT = {"X-Roles": "diskaudit_agent", "X-User-Id": "agent"}


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def name(host: int) -> str:
    return f"compute-{host:05d}"


def uuids(host: int) -> list[str]:
    return [reports.uuid_of(host, number) for number in range(INSTANCES)]


def project(host: int, number: int, projects: int) -> str:
    return f"project-{(host * 7 + number) % projects}" if number else f"small-{host:05d}"


class Request(NamedTuple):
    """One report, packed."""

    host: int
    id: str
    body: bytes


class Host:
    """One agent's memory: the state that was acknowledged, or at least its id."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.state: protocol.State | None = None
        self._current: str | None = None

    def forget(self) -> None:
        """Keep the id alone: ten thousand states do not fit into memory."""
        self.state = None

    def _state(self, instances: tuple[protocol.Instance, ...]) -> protocol.State:
        return reports.state(name(self.number), instances, id=str(uuid.uuid4()), as_of=now())

    def _drawn(self, changed: set[int] | None = None) -> tuple[protocol.Instance, ...]:
        """All instances, those of ``changed`` (None: all) with new numbers."""
        draw = random.Random()
        before = {one.uuid: one for one in self.state.instances} if self.state else {}
        return tuple(
            reports.instance(one, draw=draw)
            if changed is None or number in changed
            else before[one]
            for number, one in enumerate(uuids(self.number))
        )

    def full(self, *, changed: bool = True) -> Request:
        """A full report, in which every number of every disk is new, or none."""
        assert changed or self.state is not None
        new = self._state(self._drawn() if changed or not self.state else self.state.instances)
        report = reports.full(new, agent=name(self.number), replaces=self._current, sent_at=now())
        return self._packed(new, report)

    def delta(self, changed: int) -> Request:
        """What changed, when ``changed`` of the instances did."""
        assert self.state is not None
        which = set(random.sample(range(INSTANCES), changed))
        new = self._state(self._drawn(which))
        report = reports.delta(self.state, new, agent=name(self.number), sent_at=now())
        return self._packed(new, report)

    def _packed(self, new: protocol.State, report: protocol.Report) -> Request:
        self.state, self._current = new, new.id
        return Request(self.number, new.id, gzip.compress(protocol.encode(report), 6))


def fill_ledger(engine: sa.Engine, hosts: int, projects: int) -> None:
    """Nova's word about all of them: it confirms everything."""
    for begin in range(0, hosts, 100):
        rows = [
            {
                "uuid": one,
                "project_id": project(host, number, projects),
                "host": name(host),
                "status": "ACTIVE",
                "root_gb": 20,
                "ephemeral_gb": 20,
                "seen_at": 0,
                "moved_at": 0,
            }
            for host in range(begin, min(begin + 100, hosts))
            for number, one in enumerate(uuids(host))
        ]
        with engine.begin() as connection:
            connection.execute(sa.insert(instance), rows)


class Wire:
    """Connections that are kept open, one a thread."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._of_thread = threading.local()

    def _connection(self) -> http.client.HTTPConnection:
        found: http.client.HTTPConnection | None = getattr(self._of_thread, "connection", None)
        if found is None:
            found = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)
            self._of_thread.connection = found
        return found

    def put(self, request: Request) -> float:
        """Seconds until it was acknowledged."""
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip", **AGENT}
        begun = time.perf_counter()
        connection = self._connection()
        path = f"/v1/hosts/{name(request.host)}/report"
        connection.request("PUT", path, request.body, headers)
        answer = connection.getresponse()
        data = answer.read()
        assert answer.status == 200, data
        assert json.loads(data) == {"current": request.id}
        return time.perf_counter() - begun

    def get(self, path: str, headers: dict[str, str]) -> tuple[float, bytes]:
        """Seconds until it was there, and what it is."""
        begun = time.perf_counter()
        connection = self._connection()
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        data = answer.read()
        assert answer.status == 200, data
        return time.perf_counter() - begun, data


def send(wire: Wire, requests: list[Request]) -> list[float]:
    """As fast as the service takes them, on a few connections; seconds of each."""
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        return list(pool.map(wire.put, requests))


def send_paced(
    wire: Wire, requests: Iterator[Request], per_second: float, until: Callable[[], bool]
) -> list[float]:
    """At a steady rate, each when it is due, until ``until`` says so."""
    taken: list[float] = []
    with ThreadPoolExecutor(CONNECTIONS * 2) as pool:
        futures = []
        due = time.perf_counter()
        while not until():
            request = next(requests)
            due += 1 / per_second
            time.sleep(max(0.0, due - time.perf_counter()))
            futures.append(pool.submit(wire.put, request))
        taken += [future.result() for future in futures]
    return taken
