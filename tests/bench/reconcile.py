# SPDX-License-Identifier: Apache-2.0
"""What it costs to hold 100,000 instances against Nova and Placement, and to do it again.

    python -m tests.bench.reconcile --hosts 2000 --database postgresql

The command is the real one, in a process of its own, over HTTP; Nova and Placement are simulated
by :mod:`.simulated`, whose processor time is not counted. Nothing is judged here.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
from typing import Any

import sqlalchemy as sa

from nova_diskaudit.store import engine as store_engine
from nova_diskaudit.store import report as store_report
from nova_diskaudit.store import schema
from nova_diskaudit.store.tables import host, instance, sighting
from tests import reports
from tests.bench import cloud
from tests.bench.processes import cpu_seconds, tree
from tests.bench.service import SERVERS, listens
from tests.services.daemon import free_port


def main() -> None:
    """Run the benchmark and print Markdown."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--hosts", type=int, default=2000)
    parser.add_argument("--database", choices=SERVERS, default="postgresql")
    arguments = parser.parse_args()
    print(f"{arguments.database}: {arguments.hosts} hosts, {arguments.hosts * 50} instances\n")
    print("| pass | s | command CPU s | database CPU s | largest MiB | what it says |")
    print("|---|---|---|---|---|---|", flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="nova-diskaudit-") as directory,
        SERVERS[arguments.database]() as server,
        contextlib.ExitStack() as end,
    ):
        run(pathlib.Path(directory), server, arguments.database, arguments.hosts, end)


def run(
    directory: pathlib.Path, server: Any, kind: str, hosts: int, end: contextlib.ExitStack
) -> None:
    """All passes."""
    url = server.create_database("diskaudit")
    engine = store_engine.create(url)
    schema.sync(engine)
    port, changed = free_port(), directory / "changed"
    changed.write_text("")
    words = [sys.executable, "-m", "tests.bench.simulated", str(port), str(hosts), str(changed)]
    simulated = subprocess.Popen(words)
    end.callback(simulated.wait)
    end.callback(simulated.kill)
    conf = directory / "reconcile.conf"
    conf.write_text(
        f"[api]\nauth_strategy = noauth\nstale_after = 86400\n[database]\nconnection = {url}\n"
        f"[nova]\nenabled = true\nauth_type = none\n"
        f"endpoint_override = http://127.0.0.1:{port}/v2.1\n"
        f"[placement]\nendpoint_override = http://127.0.0.1:{port}\n"
    )
    while not listens(port):
        time.sleep(0.2)
    database_pid = None if kind == "sqlite" else server.pid

    def measured(words: str) -> None:
        before = cpu_seconds(tree(database_pid)) if database_pid is not None else 0.0
        own, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        command = [sys.executable, "-m", "nova_diskaudit.cmd.reconcile", "--config-file", str(conf)]
        done = subprocess.Popen(
            [*command, "--task", "reconciliation", "--format", "json"], stdout=subprocess.PIPE
        )
        told, _ = done.communicate()
        wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
        assert done.returncode == 0, told
        seconds = sum(after[:2]) - sum(own[:2])
        used = cpu_seconds(tree(database_pid)) - before if database_pid is not None else 0.0
        facts = json.loads(told)["tasks"][0]["facts"]
        says = ", ".join(f"{name} {facts[name]}" for name in facts if facts[name])
        print(
            f"| {words} | {wall:.1f} | {seconds:.1f} | {used:.1f} | {after.ru_maxrss / 1024:.0f} "
            f"| {says} |",
            flush=True,
        )

    measured("the first: Nova and Placement are copied, nobody reported yet")
    age(engine, 3600)
    fill(engine, hosts)
    age(engine, 120)
    measured("all hosts have reported")
    measured("again, nothing changed")
    some = range(0, hosts, max(1, hosts // 20))
    changed.write_text("\n".join(map(str, some)))
    measured(f"again, {len(some)} hosts changed in Nova and Placement")


def fill(engine: sa.Engine, hosts: int) -> None:
    """A report of each host: 99 of 100 instances as they were promised, one larger."""
    now = cloud.now()
    for number in range(hosts):
        found = []
        for at, uuid in enumerate(cloud.uuids(number)):
            size = 20 * reports.GIB if (number + at) % 100 else 21 * reports.GIB
            disks = tuple(
                reports.disk(target, identity=f"{uuid}:{target}", virtual_bytes=size)
                for target in ("vda", "vdb")
            )
            found.append(reports.instance(uuid, disks=disks))
        state = reports.state(cloud.name(number), tuple(found), as_of=now)
        report = reports.full(state, agent=cloud.name(number), sent_at=now)
        store_report.put(engine, report, now=now, takeover_after_seconds=900)


def age(engine: sa.Engine, seconds: float) -> None:
    """What is in the store is so much older than it was."""
    by = int(seconds * 1e6)
    columns = {host: ("as_of", "received_at"), instance: ("seen_at",), sighting: ("since_at",)}
    with engine.begin() as connection:
        for table, names in columns.items():
            connection.execute(
                sa.update(table).values({name: table.c[name] - by for name in names})
            )


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    main()
