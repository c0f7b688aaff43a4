# SPDX-License-Identifier: Apache-2.0
"""What sending to a real Gnocchi takes: the first pass, and those over everything that follow.

    python -m tests.bench.gnocchi [--instances 200] [--parallel 4] [--passes 3]

Gnocchi (one process of its API, one metricd, files), its PostgreSQL, the store and the sender share
this machine, so this is what one small Gnocchi takes, not what the sender could give.
"""

from __future__ import annotations

import argparse
import pathlib
import tempfile
import time

import sqlalchemy as sa

from nova_diskaudit.cloud import gnocchi as client
from nova_diskaudit.conf import service
from nova_diskaudit.sinks import gnocchi as sink
from nova_diskaudit.store import engine as store_engine
from nova_diskaudit.store import moment, schema, tables
from tests import reports
from tests.bench import figures
from tests.services.gnocchi import Gnocchi
from tests.services.postgresql import Postgresql
from tests.unit.store.test_instance import Cloud, minutes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--instances", type=int, default=200, help="with two disks each")
    parser.add_argument("--parallel", type=int, default=4)
    parser.add_argument("--passes", type=int, default=3, help="after the first")
    arguments = parser.parse_args()
    with Postgresql() as database, Gnocchi(database) as server:
        first, *others = _passes(database, server, arguments)
    disks = 2 * arguments.instances
    rows = [
        figures.Figure("disks", str(disks)),
        figures.Figure("first pass, per disk (ms)", f"{first / disks * 1000:.3g}"),
        figures.Figure(
            "disks a second, afterwards", figures.spread([disks / one for one in others])
        ),
    ]
    print(figures.table(rows))


def _passes(database: Postgresql, server: Gnocchi, arguments: argparse.Namespace) -> list[float]:
    """Seconds of each pass."""
    engine = store_engine.create(database.create_database("store"))
    schema.sync(engine)
    cloud = Cloud(engine)
    names = [f"i{number}" for number in range(arguments.instances)]
    row = {"project_id": "red", "status": "ACTIVE", "host": "a", "seen_at": 0, "moved_at": 0}
    with engine.begin() as connection:
        rows = [{"uuid": reports.uuid_of(name), **row} for name in names]
        connection.execute(sa.insert(tables.instance), rows)
        row = {"id": 1, "complete_at": moment.of(minutes(0))}
        connection.execute(sa.insert(tables.nova_map), row)
    to = _client(server)
    taken = []
    for hour in range(arguments.passes + 1):
        cloud.sees("a", *names, minute=60 * hour)
        begun = time.monotonic()
        done = sink.push(
            engine,
            to,
            now=minutes(60 * hour + 1),
            archive_policy="nova-diskaudit",
            whole_every_seconds=0,
            parallel=arguments.parallel,
        )
        taken.append(time.monotonic() - begun)
        assert (done.instances, done.refused, done.complete) == (len(names), 0, True), done
    engine.dispose()
    return taken


def _client(server: Gnocchi) -> client.Gnocchi:
    with tempfile.TemporaryDirectory() as directory:
        file = pathlib.Path(directory) / "nova-diskaudit-api.conf"
        file.write_text(
            "[gnocchi]\nauth_type = http_basic\nusername = admin\npassword = x\n"
            f"endpoint = {server.url}\n"
        )
        to = client.connect(service.read([str(file)]))
    to.make_archive_policy("nova-diskaudit")
    to.make_resource_type()
    return to


if __name__ == "__main__":
    main()
