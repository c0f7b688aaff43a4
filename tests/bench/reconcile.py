# SPDX-License-Identifier: Apache-2.0
"""What the reconciliation of a large cloud costs: the first one, and one when nothing changed.

    python -m tests.bench.reconcile --hosts 2000                       # 100,000 instances
    python -m tests.bench.reconcile --hosts 2000 --database mariadb

``nova-diskaudit-reconcile`` runs as cron would run it, a process each time, start-up included; Nova
and Placement are simulated by another process (:mod:`tests.bench.simulated`), behind the same SDK
and over HTTP. What the hosts report was stored before. Processor time is the kernel's account of
the command and of the database; the simulated cloud is not counted, but takes its share of the
processors.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import sqlalchemy as sa

from nova_diskaudit import record
from nova_diskaudit.reconcile import judge
from nova_diskaudit.store import engine as store_engine
from nova_diskaudit.store import moment, schema
from nova_diskaudit.store import report as store_report
from nova_diskaudit.store.tables import finding, host
from tests import reports
from tests.bench import cloud, simulated
from tests.bench.processes import cpu_seconds, tree
from tests.bench.service import SERVERS

COMMAND = pathlib.Path(sys.executable).with_name("nova-diskaudit-reconcile")
#: Of so many hosts one has the files of an instance that is no more.
_ORPHANS = 20


class Run(NamedTuple):
    """One run of the command."""

    what: str
    wall: float
    cpu: float
    database_cpu: float
    peak_mib: float
    facts: dict[str, Any]


def main() -> None:
    """Run the benchmark and print Markdown."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--hosts", type=int, default=2000)
    parser.add_argument("--database", choices=SERVERS, action="append")
    arguments = parser.parse_args()
    instances = arguments.hosts * cloud.INSTANCES
    print(f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}")
    print(f"{arguments.hosts} hosts, {instances} instances\n")
    for kind in arguments.database or SERVERS:
        run(kind, arguments.hosts)


def run(kind: str, hosts: int) -> None:
    """All passes on one kind of database."""
    with SERVERS[kind]() as server, clouds(hosts) as port, tempfile.TemporaryDirectory() as place:
        url = server.create_database("diskaudit")
        file = pathlib.Path(place) / "nova-diskaudit-api.conf"
        file.write_text(
            f"[database]\nconnection = {url}\n[api]\nauth_strategy = noauth\n"
            "[nova]\nenabled = true\nauth_type = none\n"
            f"endpoint_override = http://127.0.0.1:{port}/v2.1\n"
            f"[placement]\nendpoint_override = http://127.0.0.1:{port}\n"
            "[limits]\nenabled = false\n"
        )
        engine = store_engine.create(url)
        schema.sync(engine)
        fill(engine, hosts)
        pid = None if kind == "sqlite" else server.pid

        def measured(what: str, task: str) -> Run:
            return command(what, task, file, pid)

        runs = [measured("the whole map of Nova", "nova-map")]
        # Nova told of everything now, so only what the hosts report after that can be judged.
        everybody_reports(engine, seconds=65)
        analyze(engine)
        runs.append(measured("the first comparison", "reconciliation"))
        first = counted(engine)
        for number in range(3):
            everybody_reports(engine, seconds=0)
            runs.append(measured(f"nothing changed ({number + 1})", "reconciliation"))
        assert counted(engine) == first == expected(hosts), (first, expected(hosts))
        engine.dispose()
        show(kind, runs, first)


@contextlib.contextmanager
def clouds(hosts: int) -> Iterator[int]:
    """The port of the simulated cloud."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.simulated", "--hosts", str(hosts)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


def fill(engine: sa.Engine, hosts: int) -> None:
    """What each host reports."""
    for number in range(hosts):
        instances = tuple(reports.instance(uuid, project_id="red") for uuid in cloud.uuids(number))
        gone = record.Leftover(
            name=reports.uuid_of(number, "gone"), host_allocated_bytes=reports.GIB
        )
        leftovers = (gone,) if number % _ORPHANS == 0 else ()
        storage = reports.storage(identity=f"fsid:{number}", leftovers=leftovers)
        state = reports.state(cloud.name(number), instances, as_of=cloud.now(), storages=(storage,))
        report = reports.full(state, agent=cloud.name(number), sent_at=cloud.now())
        store_report.put(engine, report, now=cloud.now(), takeover_after_seconds=900)


def everybody_reports(engine: sa.Engine, *, seconds: float) -> None:
    """The same as before once more, ``seconds`` from now: a quiet report renews these two alone.

    Waits until then, so that it is not of the future.
    """
    time.sleep(seconds)
    at = moment.of(cloud.now())
    with engine.begin() as connection:
        connection.execute(sa.update(host).values(as_of=at, received_at=at))


def analyze(engine: sa.Engine) -> None:
    """As autovacuum would have done long ago."""
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sa.text("VACUUM ANALYZE"))


def command(what: str, task: str, file: pathlib.Path, database: int | None) -> Run:
    """One run, measured."""
    before = cpu_seconds(tree(database)) if database is not None else 0.0
    begun = time.perf_counter()
    words = [str(COMMAND), "--config-file", str(file), "--task", task, "--format", "json"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - begun
    assert process.returncode == 0, said
    after = cpu_seconds(tree(database)) if database is not None else 0.0
    facts = json.loads(said)["tasks"][0]["facts"]
    cpu = used.ru_utime + used.ru_stime
    return Run(what, wall, cpu, after - before, used.ru_maxrss / 1024, facts)


def counted(engine: sa.Engine) -> dict[str, int]:
    """Findings of the reconciliation, by code."""
    statement = sa.select(finding.c.code, sa.func.count()).where(
        finding.c.origin == "reconcile", finding.c.code.in_(judge.CODES)
    )
    with engine.connect() as connection:
        return dict(map(tuple, connection.execute(statement.group_by(finding.c.code))))


def expected(hosts: int) -> dict[str, int]:
    """What there is to be found."""
    found = collections.Counter[str]()
    for number in range(hosts):
        for instance in range(cloud.INSTANCES):
            if simulated.is_strange(number, instance):
                found[judge.NOT_IN_NOVA] += 1
            elif simulated.claimed_gb(number, instance) != 40:
                found[judge.MISMATCH] += 1
        found[judge.WITHOUT_DOMAIN] += simulated.missing(number) is not None
        found[judge.ORPHAN] += number % _ORPHANS == 0
    return dict(found)


def show(kind: str, runs: list[Run], found: dict[str, int]) -> None:
    """Markdown."""
    print(f"### {kind}\n")
    print("| | wall (s) | CPU (s) | of the database | peak RSS (MiB) | findings written |")
    print("|---|---|---|---|---|---|")
    for one in runs:
        written = sum(one.facts.get(name, 0) for name in ("appeared", "renewed", "cleared"))
        print(
            f"| {one.what} | {one.wall:.1f} | {one.cpu:.1f} | {one.database_cpu:.1f} "
            f"| {one.peak_mib:.0f} | {written} |"
        )
    first = [sum(numbers) for numbers in zip(*(one[1:4] for one in runs[:2]), strict=True)]
    last = runs[-1]
    wall = first[0] / last.wall
    cpu = (first[1] + first[2]) / (last.cpu + last.database_cpu)
    print(
        f"\nThe first one of all in {first[0]:.0f} s; nothing changed: {wall:.1f} times less time,"
    )
    print(f"{cpu:.1f} times less work. Findings: {dict(sorted(found.items()))}\n", flush=True)


if __name__ == "__main__":
    main()
