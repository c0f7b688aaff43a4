# SPDX-License-Identifier: Apache-2.0
"""The database dies, goes away, is read-only, is full, deadlocks: at every moment of a transaction.

Whatever happens, and whenever: the service says that it cannot do it now (or has done it), what is
in the tables is the state before or the state after and nothing between, and once the database is
well again the very same request succeeds, through the connections that the engine already had.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
from collections.abc import Callable

import pytest
import sqlalchemy as sa

from nova_diskaudit import protocol
from nova_diskaudit.store import engine as store_engine
from nova_diskaudit.store import errors, schema
from nova_diskaudit.store import report as store_report
from nova_diskaudit.store.tables import host, sighting
from tests import reports
from tests.service import faults
from tests.service.conftest import Server
from tests.services.mariadb import Mariadb
from tests.services.postgresql import Postgresql
from tests.services.sqlite import Sqlite
from tests.unit.store import look
from tests.unit.store.conftest import empty

NOW = reports.NOW
HOST = "compute-1"


def put(engine: sa.Engine, report: protocol.Report) -> protocol.Judgement:
    return store_report.put(engine, report, now=NOW, takeover_after_seconds=900)


def before_and_after() -> tuple[protocol.State, protocol.State]:
    """Two states of a host between which all happens that can: new, changed, gone, findings."""
    draw = random.Random(1)
    stays = reports.instance("stays")
    first = reports.state(
        HOST, (stays, reports.instance("changes"), reports.instance("goes", draw=draw))
    )
    other = reports.instance("changes", draw=draw, disks=(reports.disk(findings=()),))
    second = reports.state(HOST, (stays, other, reports.instance("comes", draw=draw)))
    return first, second


def contents(
    engine: sa.Engine, first: protocol.State, second: protocol.State
) -> tuple[faults.Content, faults.Content, list[int]]:
    """What the tables hold in the two states, and the moments of the way from one to the other."""
    put(engine, reports.full(first))
    before = faults.content(engine)
    on_the_way = faults.moments(engine, lambda: put(engine, reports.delta(first, second)))
    after = faults.content(engine)
    return before, after, on_the_way


def without_ids(content: faults.Content) -> faults.Content:
    """Ids are drawn by the database, so they differ between one life of the table and the next."""
    ids = {row[0]: row[1] for row in content["host"]}

    def named(name: str, row: tuple[object, ...]) -> tuple[object, ...]:
        return (
            (ids.get(row[0]), *row[1:])
            if name in ("host", "sighting", "storage", "finding")
            else row
        )

    return {
        name: sorted((named(name, row) for row in rows), key=repr) for name, rows in content.items()
    }


def trouble(
    engine: sa.Engine,
    fault: Callable[[], None],
    recover: Callable[[], None],
    *,
    moments: Callable[[list[int]], list[int]] = lambda all: all,
) -> list[str]:
    """Do ``fault`` at every moment of a transaction; what was seen of the outcome each time."""
    first, second = before_and_after()
    before, after, on_the_way = contents(engine, first, second)
    assert len(on_the_way) > 6
    outcomes = []
    for moment in moments(on_the_way):
        empty(engine)
        put(engine, reports.full(first))
        report = reports.delta(first, second)
        with faults.at(engine, moment, fault) as seen:
            try:
                judged = put(engine, report)
                outcomes.append(type(judged).__name__)
            except errors.Unavailable:
                outcomes.append("Unavailable")
        assert moment == faults.Moments.COMMIT or len(seen.statements) > moment
        recover()
        found = without_ids(faults.content(engine))
        assert found in (without_ids(before), without_ids(after)), f"half-written at {moment}"
        if outcomes[-1] != "Unavailable":
            assert found == without_ids(after), f"acknowledged and lost at {moment}"
        again = put(engine, report)
        assert again in (protocol.Accepted(), protocol.Replay())
        assert without_ids(faults.content(engine)) == without_ids(after)
    return outcomes


with_a_process = pytest.mark.parametrize("server", ["postgresql", "mariadb"], indirect=True)


@with_a_process
def test_the_server_is_killed(engine: sa.Engine, server: Postgresql | Mariadb) -> None:
    outcomes = trouble(engine, server.kill, server.resume)
    assert set(outcomes) == {"Unavailable"}


@with_a_process
def test_the_connection_is_lost(engine: sa.Engine, server: Postgresql | Mariadb) -> None:
    assert engine.url.database is not None
    name = engine.url.database

    def disconnect() -> None:
        assert server.disconnect_all(name) > 0

    assert "Unavailable" in trouble(engine, disconnect, lambda: None)


@with_a_process
def test_the_answer_to_the_commit_is_lost(engine: sa.Engine, server: Postgresql | Mariadb) -> None:
    """Then it is stored and nobody knows: the agent comes again, and it is a replay."""
    first, second = before_and_after()
    _, after, _ = contents(engine, first, second)
    empty(engine)
    put(engine, reports.full(first))

    def commit_and_die(connection: sa.Connection) -> None:
        with connection.connection.cursor() as cursor:
            cursor.execute("COMMIT AND CHAIN")
        server.kill()

    report = reports.delta(first, second)
    sa.event.listen(engine, "commit", commit_and_die)
    try:
        with pytest.raises(errors.Unavailable):
            put(engine, report)
    finally:
        sa.event.remove(engine, "commit", commit_and_die)
        server.resume()
    assert put(engine, report) == protocol.Replay()
    assert without_ids(faults.content(engine)) == without_ids(after)


def test_the_worker_is_killed(engine: sa.Engine, url: str) -> None:
    """At every moment, the process of the service itself; in a child that has its own engine."""
    first, second = before_and_after()
    before, after, on_the_way = contents(engine, first, second)
    for moment in on_the_way:
        empty(engine)
        put(engine, reports.full(first))
        report = reports.delta(first, second)
        assert _killed_at(url, moment, report)
        assert without_ids(faults.content(engine)) == without_ids(before), f"at {moment}"
        assert put(engine, report) == protocol.Accepted()
        assert without_ids(faults.content(engine)) == without_ids(after)


def _killed_at(url: str, moment: int, report: protocol.Report) -> bool:
    """Whether the child died by the signal, and not of something else."""
    child = os.fork()
    if child == 0:
        # Nothing of the parent's may be used or ended here.
        with contextlib.suppress(BaseException):
            own = store_engine.create(url)
            with faults.at(own, moment, lambda: os.kill(os.getpid(), signal.SIGKILL)):
                put(own, report)
        os._exit(1)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


@pytest.mark.parametrize("kind", [Sqlite, Postgresql, Mariadb])
def test_the_disk_is_full(kind: type[Sqlite | Postgresql | Mariadb]) -> None:
    """A database that gives up on this altogether is started again, as its supervisor would."""
    megabytes = {Sqlite: 16, Postgresql: 96, Mariadb: 192}[kind]
    with kind(disk_mib=megabytes) as server:
        url = server.create_database("full")
        engine = store_engine.create(url)
        schema.sync(engine)
        draw = random.Random(2)
        state = reports.state(HOST, (reports.instance("first"),))
        put(engine, reports.full(state))
        server.fill_disk()
        refused = 0
        for number in range(400):
            instances = tuple(
                reports.instance(f"{number}-{one}", draw=draw, flavor=draw.randbytes(20_000).hex())
                for one in range(5)
            )
            new = reports.state(HOST, (*state.instances, *instances))
            try:
                put(engine, reports.full(new, replaces=state.id))
                state = new
            except errors.Unavailable:
                refused += 1
                break
        assert refused, "it never became full"
        server.free_disk()
        if not isinstance(server, Sqlite) and not server.is_ready():
            server.kill()
            server.resume()
        assert look.state(engine, HOST) == state
        assert put(engine, reports.full(new, replaces=state.id)) == protocol.Accepted()
        assert look.state(engine, HOST) == new
        engine.dispose()


@with_a_process
def test_a_deadlock_is_run_again(engine: sa.Engine, server: Postgresql | Mariadb) -> None:
    """Somebody holds an instance's row and wants the host's, which the report holds already.

    MariaDB ends the one who has done less, PostgreSQL the one who has lost patience: the service.
    """
    first, second = before_and_after()
    put(engine, reports.full(first))
    many = tuple(reports.instance(f"other-{number}") for number in range(40))
    put(engine, reports.full(reports.state("other", many)))
    patient = sa.create_engine(engine.url.set(username=server.ADMIN))
    holds, wants = threading.Event(), threading.Event()

    def somebody() -> None:
        with patient.connect() as connection:
            if isinstance(server, Postgresql):
                connection.exec_driver_sql("SET deadlock_timeout = '60s'")
            connection.execute(sa.update(sighting).values(held="x"))
            holds.set()
            assert wants.wait(30)
            connection.execute(sa.update(host).values(codes="x"))
            connection.rollback()

    def tangle() -> None:
        thread.start()
        assert holds.wait(30)
        wants.set()

    lost: list[str] = []

    def note(context: sa.engine.ExceptionContext) -> None:
        lost.append(str(context.original_exception))

    thread = threading.Thread(target=somebody)
    sa.event.listen(engine, "handle_error", note)
    try:
        # The first statement locks the host.
        with faults.at(engine, 1, tangle):
            assert put(engine, reports.delta(first, second)) == protocol.Accepted()
    finally:
        sa.event.remove(engine, "handle_error", note)
        thread.join()
        patient.dispose()
    # On a slow machine the second try may meet the other one still.
    assert lost and all("eadlock" in one for one in lost)
    assert look.state(engine, HOST) == second


def test_the_database_is_read_only(engine: sa.Engine, server: Server) -> None:
    """From the first statement on, for it is decided when a transaction begins."""
    first, second = before_and_after()
    put(engine, reports.full(first))
    before = faults.content(engine)
    report = reports.delta(first, second)
    server.set_read_only(True)
    try:
        for _ in range(2):
            with pytest.raises(errors.Unavailable):
                put(engine, report)
            # What is there can still be read.
            assert faults.content(engine) == before
    finally:
        server.set_read_only(False)
    assert put(engine, report) == protocol.Accepted()
