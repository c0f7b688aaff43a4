# SPDX-License-Identifier: Apache-2.0
"""What the central service costs, with its database, on each of the three kinds.

    python -m tests.bench.service --hosts 1000                      # a tenth
    python -m tests.bench.service --hosts 10000 --database postgresql

The service runs as a process of its own with everything but Keystone; reports arrive packed, over
HTTP. Processor time is that of the service and of the database, by the kernel's account; who sends
the reports runs on the same machine and is not counted, but takes its share of the processors, so
rates are lower bounds.

Databases sync their logs at each commit, as in production. Nothing is judged here.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import os
import platform
import random
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import sqlalchemy as sa

from nova_diskaudit.reconcile import rollup
from nova_diskaudit.store import engine as store_engine
from nova_diskaudit.store import schema
from tests.bench import cloud
from tests.bench.processes import cpu_seconds, pss_bytes, tree
from tests.services.daemon import free_port
from tests.services.mariadb import Mariadb
from tests.services.postgresql import Postgresql
from tests.services.sqlite import Sqlite

#: Seconds from one report of a host to the next.
INTERVAL = 600
DAY = datetime.timedelta(days=1)
DISKS_OF_A_HOST = cloud.INSTANCES * cloud.DISKS


class RealPostgresql(Postgresql):
    """With the settings of a small production server."""

    def command(self) -> list[str]:
        settings = {
            "fsync": "on",
            "shared_buffers": "1GB",
            "max_wal_size": "4GB",
            "checkpoint_timeout": "15min",
            "wal_compression": "on",
        }
        more = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [*super().command(), *more]


class RealMariadb(Mariadb):
    """With the settings of a small production server."""

    def command(self) -> list[str]:
        return [
            *super().command(),
            "--innodb-buffer-pool-size=1G",
            "--innodb-log-file-size=1G",
            "--innodb-flush-log-at-trx-commit=1",
            "--innodb-flush-method=fsync",
        ]


SERVERS: dict[str, Callable[[], Any]] = {
    "sqlite": Sqlite,
    "postgresql": RealPostgresql,
    "mariadb": RealMariadb,
}


class Cost(NamedTuple):
    """Of one kind of report: how many a second were taken, and milliseconds of processors each."""

    kind: str
    reports_per_second: float
    service_ms: float
    database_ms: float
    p50_ms: float
    p99_ms: float


class Stage:
    """A service, its database, and the cloud that reports to it."""

    def __init__(self, url: str, port: int, service_pid: int, database_pid: int | None) -> None:
        self.url = url
        self.wire = cloud.Wire(port)
        self._service, self._database = service_pid, database_pid

    def service_seconds(self) -> float:
        return cpu_seconds(tree(self._service))

    def database_seconds(self) -> float:
        return cpu_seconds(tree(self._database)) if self._database is not None else 0.0

    def memory_mib(self) -> float:
        return pss_bytes(tree(self._service)) / 2**20

    def measured(self, kind: str, requests: list[cloud.Request]) -> Cost:
        """Send them as fast as they are taken."""
        service, database = self.service_seconds(), self.database_seconds()
        begun = time.perf_counter()
        seconds = cloud.send(self.wire, requests)
        wall = time.perf_counter() - begun
        count = len(requests)
        return Cost(
            kind=kind,
            reports_per_second=count / wall,
            service_ms=(self.service_seconds() - service) / count * 1e3,
            database_ms=(self.database_seconds() - database) / count * 1e3,
            p50_ms=statistics.median(seconds) * 1e3,
            p99_ms=percentile(seconds, 0.99) * 1e3,
        )


def percentile(values: list[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def main() -> None:
    """Run the benchmark and print Markdown."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--database", choices=SERVERS, action="append")
    parser.add_argument("--sample", type=int, default=300, help="reports of each kind")
    parser.add_argument("--seconds", type=float, default=60.0, help="of the steady load")
    arguments = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}")
    print(f"{arguments.hosts} hosts, {arguments.hosts * DISKS_OF_A_HOST} disks\n")
    for kind in arguments.database or SERVERS:
        run(kind, arguments.hosts, arguments.sample, arguments.seconds)


def run(kind: str, hosts: int, sample: int, seconds: float) -> None:
    """All phases on one kind of database."""
    projects = max(2, hosts * cloud.INSTANCES // 5000)
    with SERVERS[kind]() as server, stage(kind, server) as on:
        agents = [cloud.Host(number) for number in range(hosts)]
        costs = [fill(on, agents)]
        engine = store_engine.create(on.url)
        cloud.fill_ledger(engine, hosts, projects)
        if engine.dialect.name == "postgresql":
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(sa.text("VACUUM ANALYZE"))
        some = random.sample(agents, min(sample, hosts))
        costs += [
            on.measured("full, all changed", [one.full() for one in some]),
            on.measured("full, nothing changed", [one.full(changed=False) for one in some]),
            on.measured("delta, 10 of 50 changed", [one.delta(10) for one in some]),
            on.measured("delta, nothing changed", [one.delta(0) for one in some]),
        ]
        print(f"### {kind}\n")
        show(costs)
        roll_up(on, engine, "the first, with the days of all instances", cloud.now())
        roll_up(on, engine, "again", cloud.now())
        roll_up(on, engine, "a day later, over days that are there", cloud.now() + DAY)
        steady(on, engine, agents, projects, seconds)
        walk(on, projects)
        print(f"* memory of the service: {on.memory_mib():.0f} MiB")
        print(f"* database: {size_bytes(engine, server) / 2**20:.0f} MiB\n", flush=True)
        engine.dispose()


@contextlib.contextmanager
def stage(kind: str, server: Any) -> Iterator[Stage]:
    url = server.create_database("diskaudit")
    engine = store_engine.create(url)
    schema.sync(engine)
    engine.dispose()
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "tests.bench.serve", url, str(port)])
    try:
        database_pid = None if kind == "sqlite" else server.pid
        made = Stage(url, port, process.pid, database_pid)
        until = time.monotonic() + 60
        while not listens(port):
            if time.monotonic() > until:
                raise TimeoutError("the service does not listen")
            time.sleep(0.2)
        yield made
    finally:
        process.kill()
        process.wait()


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def fill(on: Stage, agents: list[cloud.Host]) -> Cost:
    """The first report of each host. Made while others are sent, so the rate says little."""
    costs = []
    for begin in range(0, len(agents), 100):
        some = agents[begin : begin + 100]
        costs.append(on.measured("first report", [one.full() for one in some]))
        for one in some:
            one.forget()
    columns = [statistics.mean(column) for column in list(zip(*costs, strict=True))[1:]]
    return Cost("first report", *columns)


def show(costs: list[Cost]) -> None:
    print(
        "| report of 50 instances, 100 disks | reports/s | disks/s | service ms | database ms "
        "| p50 ms | p99 ms | cores at 10,000 hosts |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for one in costs:
        cores = (one.service_ms + one.database_ms) / 1e3 * 10_000 / INTERVAL
        print(
            f"| {one.kind} | {one.reports_per_second:.0f} "
            f"| {one.reports_per_second * DISKS_OF_A_HOST:.0f} | {one.service_ms:.1f} "
            f"| {one.database_ms:.1f} | {one.p50_ms:.1f} | {one.p99_ms:.1f} | {cores:.3f} |"
        )
    print()


def roll_up(on: Stage, engine: sa.Engine, words: str, at: datetime.datetime) -> None:
    """One pass over all projects, in this process."""
    own, database, begun = time.process_time(), on.database_seconds(), time.perf_counter()
    done = rollup.run(
        engine,
        now=at,
        nova=True,
        stale_after_seconds=3600,
        project_history_days=90,
        instance_history_days=90,
    )
    wall = time.perf_counter() - begun
    print(
        f"* roll-up, {words}: {done.projects} projects, {wall:.1f} s; processor time "
        f"{time.process_time() - own:.1f} s here and {on.database_seconds() - database:.1f} s "
        f"of the database",
        flush=True,
    )


OPERATOR = {"X-Roles": "admin", "X-User-Id": "o"}


def questions(projects: int) -> Iterator[tuple[str, str, dict[str, str]]]:
    """What people ask meanwhile: words for it, path, headers."""
    draw = random.Random(1)
    while True:
        project = f"project-{draw.randrange(projects)}"
        reader = {"X-Roles": "reader", "X-User-Id": "rosa", "X-Project-Id": project}
        marker = f"{draw.randrange(16**8):08x}-0000-0000-0000-000000000000"
        path = f"/v1/instances?limit=100&marker={marker}"
        yield "a page of 100 instances of one project", path, reader
        yield "usages of a project of 5000 instances", "/v1/usages", reader
        after = f"small-{draw.randrange(10_000):05d}"
        yield "a page of 100 usages of all projects", f"/v1/usages?marker={after}", OPERATOR
        yield "its past", "/v1/usages/history", reader
        uuid = cloud.uuids(0)[draw.randrange(cloud.INSTANCES)]
        yield "an instance's past", f"/v1/usages/history?instance={uuid}", OPERATOR
        yield "/metrics", "/metrics", OPERATOR


def steady(
    on: Stage, engine: sa.Engine, agents: list[cloud.Host], projects: int, seconds: float
) -> None:
    """The load of 10,000 hosts, every number new in each report, and people that read."""
    per_second = 10_000 / INTERVAL
    # Made before: who makes them would take a processor from those that are measured.
    ready = []
    for one in random.sample(agents, min(len(agents), int(per_second * seconds) + 1)):
        ready.append(one.full())
        one.forget()
    over = time.perf_counter() + min(seconds, len(ready) / per_second)
    answers: dict[str, list[float]] = {}

    def read() -> None:
        for words, path, headers in questions(projects):
            if time.perf_counter() >= over:
                break
            taken, _ = on.wire.get(path, headers)
            answers.setdefault(words, []).append(taken)
            time.sleep(0.03)

    reader = threading.Thread(target=read)
    service, database = on.service_seconds(), on.database_seconds()
    begun = time.perf_counter()
    reader.start()
    requests = iter(ready)
    taken = cloud.send_paced(
        on.wire, requests, per_second, lambda: time.perf_counter() + 0.2 >= over
    )
    reader.join()
    wall = time.perf_counter() - begun
    used = on.service_seconds() - service
    of_database = on.database_seconds() - database
    print(
        f"* steady load, {len(taken) / wall:.1f} full reports/s "
        f"({len(taken) / wall * DISKS_OF_A_HOST:.0f} disks/s, all changed) and "
        f"{sum(map(len, answers.values())) / wall:.0f} questions/s: "
        f"{used / wall:.2f} cores of the service, "
        f"{of_database / wall:.2f} of the database; a report p50 "
        f"{statistics.median(taken) * 1e3:.0f} ms, p99 {percentile(taken, 0.99) * 1e3:.0f} ms"
    )
    for words, times in answers.items():
        print(
            f"* {words}, under that load, {len(times)} times: p50 "
            f"{statistics.median(times) * 1e3:.0f} ms, p99 {percentile(times, 0.99) * 1e3:.0f} ms"
        )


def walk(on: Stage, projects: int) -> None:
    """All pages of one project, and of the operator's list."""
    for words, headers, query in (
        (
            "of one project",
            {"X-Roles": "reader", "X-User-Id": "r", "X-Project-Id": "project-0"},
            "",
        ),
        ("of the whole cloud", {"X-Roles": "admin", "X-User-Id": "o"}, "&fields=uuid,totals"),
    ):
        marker, seen, seconds = "", 0, []
        while True:
            after = f"&marker={marker}" if marker else ""
            taken, data = on.wire.get(f"/v1/instances?limit=1000{query}{after}", headers)
            seconds.append(taken)
            page = cloud.json.loads(data)
            seen += len(page["instances"])
            if not page["instances_links"]:
                break
            marker = page["instances"][-1]["uuid"]
        print(
            f"* all {seen} instances {words}, {len(seconds)} pages of 1000: "
            f"{sum(seconds):.1f} s, the slowest {max(seconds) * 1e3:.0f} ms"
        )


def size_bytes(engine: sa.Engine, server: Any) -> int:
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            return int(connection.scalar(sa.text("SELECT pg_database_size(current_database())")))
        if engine.dialect.name == "sqlite":
            return sum(file.stat().st_size for file in server.data.glob("*.sqlite*"))
        statement = "SELECT sum(data_length + index_length) FROM information_schema.tables"
        return int(connection.scalar(sa.text(f"{statement} WHERE table_schema = database()")))


if __name__ == "__main__":
    main()
