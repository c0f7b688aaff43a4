# SPDX-License-Identifier: Apache-2.0
"""The service's own findings while things fail: the database, the process, another one's report.

Whatever happens in a pass: of each host either all that was found is written or nothing, beside the
instances stands what is in the list, and the next pass makes it right.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import os
import random
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from nova_diskaudit.reconcile import judge, reconciliation, runner
from nova_diskaudit.store import engine as store_engine
from nova_diskaudit.store import errors, task
from nova_diskaudit.store.tables import finding, host, sighting
from tests import reports
from tests.service import faults
from tests.service.conftest import Server
from tests.services.mariadb import Mariadb
from tests.services.postgresql import Postgresql
from tests.unit.reconcile.stage import GIB, Stage
from tests.unit.store.conftest import empty

HOSTS = ("a", "b", "c")

Key = tuple[str, str, str]

with_a_process = pytest.mark.parametrize("server", ["postgresql", "mariadb"], indirect=True)


@pytest.fixture(autouse=True)
def one_host_a_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a pass over three hosts has a middle."""
    monkeypatch.setattr(reconciliation, "_ROWS_AT_ONCE", 1)


def scene(engine: sa.Engine) -> Stage:
    """A pass was made, and then much changed on each host: some of it ends, some begins."""
    empty(engine)
    stage = Stage(engine)
    for name in HOSTS:
        stage.nova(f"{name}-missing", name)
        stage.nova(f"{name}-stays", name)
        stage.promised(name, **{f"{name}-stays": 20, f"{name}-missing": 20})
        stage.reports(
            name,
            f"{name}-stays",
            f"{name}-strange",
            leftovers={reports.uuid_of(name, "gone"): GIB},
        )
    stage.settle()
    stage.run()
    for name in HOSTS:
        stage.promised(name, 2, **{f"{name}-stays": 30, f"{name}-missing": 20})
        stage.reports(
            name,
            f"{name}-stays",
            f"{name}-missing",
            leftovers={reports.uuid_of(name, "other"): GIB, f"{name}.img": 1},
        )
    stage.settle()
    stage.lease().give_back()
    return stage


def compare(lease: task.Lease) -> reconciliation.Pass:
    return reconciliation.run(
        lease, nova=True, placement=True, placement_answers=True, stale_after_seconds=3600
    )


def by_host(engine: sa.Engine) -> dict[str, frozenset[tuple[str, str]]]:
    """What was found about each host; what stands beside instances has to agree with it."""
    with engine.connect() as connection:
        rows = connection.execute(
            sa.select(host.c.name, finding.c.uuid, finding.c.code)
            .select_from(host.outerjoin(finding, host.c.id == finding.c.host_id))
            .where(finding.c.origin == "reconcile")
        ).all()
        noted = connection.execute(
            sa.select(host.c.name, sighting.c.uuid, sighting.c.service_codes).select_from(
                host.join(sighting, host.c.id == sighting.c.host_id)
            )
        ).all()
    found: dict[str, set[tuple[str, str]]] = {name: set() for name in HOSTS}
    for row in rows:
        found[row.name].add((row.uuid, row.code))
    for row in noted:
        codes = {code for uuid, code in found[row.name] if uuid == row.uuid}
        assert codes >= judge.CODES & set(row.service_codes.split())
    return {name: frozenset(some) for name, some in found.items()}


def before_and_after(engine: sa.Engine) -> tuple[Any, Any, list[int]]:
    """What was found before and after, and the moments of the pass between."""
    stage = scene(engine)
    before = by_host(engine)
    lease = stage.lease()
    moments = faults.moments(engine, lambda: compare(lease))
    after = by_host(engine)
    assert all(before[name] != after[name] for name in HOSTS)
    assert {code for some in after.values() for _, code in some} == {
        "claim-mismatch",
        "orphan-disk-file",
    }
    return before, after, moments


def trouble(
    engine: sa.Engine, fault: Callable[[], None], recover: Callable[[], None], *, every: int = 1
) -> int:
    """Do ``fault`` at every moment of a pass; how often it was in vain."""
    before, after, moments = before_and_after(engine)
    failed = 0
    for moment in moments[::every]:
        stage = scene(engine)
        lease = stage.lease()
        with faults.at(engine, moment, fault):
            try:
                compare(lease)
            except errors.Unavailable:
                failed += 1
        recover()
        found = by_host(engine)
        assert all(found[name] in (before[name], after[name]) for name in HOSTS), moment
        stage.run()
        assert by_host(engine) == after
        stage.findings()
    return failed


@with_a_process
def test_the_server_is_killed(engine: sa.Engine, server: Postgresql | Mariadb) -> None:
    assert trouble(engine, server.kill, server.resume, every=5) > 3


@with_a_process
def test_the_connection_is_lost(engine: sa.Engine, server: Postgresql | Mariadb) -> None:
    assert engine.url.database is not None
    name = engine.url.database

    def disconnect() -> None:
        server.disconnect_all(name)

    assert trouble(engine, disconnect, lambda: None) > 3


def test_the_database_is_read_only(engine: sa.Engine, server: Server) -> None:
    before, after, _ = before_and_after(engine)
    stage = scene(engine)
    lease = stage.lease()
    server.set_read_only(True)
    try:
        with pytest.raises(errors.Unavailable):
            compare(lease)
        assert by_host(engine) == before
    finally:
        server.set_read_only(False)
    stage.run()
    assert by_host(engine) == after


def job(stage: Stage, moment: int | None = None, engine: sa.Engine | None = None) -> runner.Job:
    """The pass as the runner does it; the process is killed at that moment of it."""

    def run(turn: runner.Turn) -> runner.Result:
        with contextlib.ExitStack() as stack:
            if moment is not None and engine is not None:
                kill = functools.partial(os.kill, os.getpid(), signal.SIGKILL)
                stack.enter_context(faults.at(engine, moment, kill))
            done = compare(turn.lease)
        return runner.Result(done._asdict())

    return runner.Job("reconciliation", 300.0, run)


def _killed_at(url: str, moment: int, stage: Stage) -> bool:
    """Whether a process that has its own engine died by the signal, and not of something else."""
    child = os.fork()
    if child == 0:
        # Nothing of the parent's may be used or ended here.
        with contextlib.suppress(BaseException):
            own = store_engine.create(url)
            doomed = job(stage, moment, own)
            runner.attempt(own, doomed, holder="first", clock=lambda: stage.now, if_due=False)
        os._exit(1)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def test_the_process_is_killed_and_another_one_takes_over(engine: sa.Engine, url: str) -> None:
    before, after, moments = before_and_after(engine)
    for moment in random.Random(7).sample(moments, 6):
        stage = scene(engine)
        assert _killed_at(url, moment, stage)
        found = by_host(engine)
        assert all(found[name] in (before[name], after[name]) for name in HOSTS), moment

        def second(stage: Stage = stage) -> runner.Outcome:
            return runner.attempt(
                engine, job(stage), holder="second", clock=lambda: stage.now, if_due=False
            )

        assert second().state == "busy", "the lease is held still"
        stage.later(runner.LEASE_SECONDS / 60 + 0.1)
        written = {name for name in HOSTS if found[name] == after[name]}
        since = {key: one.since for key, one in stage.findings(compared=False).items()}
        assert second().state == "done"
        assert by_host(engine) == after
        now = {key: one.since for key, one in stage.findings().items()}
        assert all(now[key] == since[key] for key in now if key[0] in written)


def test_reports_come_while_passes_run(engine: sa.Engine) -> None:
    """Whoever wins each time: in the end there is what is true."""
    stage = scene(engine)
    started = datetime.datetime.now(datetime.UTC)

    def real() -> datetime.datetime:
        """The stage's clock goes on by itself, so that everything is fresh and in order."""
        return stage.now + (datetime.datetime.now(datetime.UTC) - started)

    stop = threading.Event()
    problems: list[BaseException] = []

    def agent(name: str) -> None:
        mine = Stage(engine)
        mine._current = dict(stage._current)
        draw = random.Random(name)
        try:
            for _ in range(40):
                mine.now = real()
                seen = [f"{name}-stays", f"{name}-missing", f"{name}-strange"]
                mine.reports(name, *draw.sample(seen, draw.randrange(1, 4)))
            mine.reports(name, f"{name}-stays", f"{name}-missing")
        except BaseException as error:
            problems.append(error)

    def passes() -> None:
        try:
            while not stop.is_set():
                lease = task.take(
                    engine,
                    "reconciliation",
                    "passes",
                    clock=real,
                    seconds=120,
                    if_due=False,
                )
                assert lease is not None
                compare(lease)
        except BaseException as error:
            problems.append(error)

    agents = [threading.Thread(target=agent, args=(name,)) for name in HOSTS]
    passing = threading.Thread(target=passes)
    for thread in (*agents, passing):
        thread.start()
    for thread in agents:
        thread.join()
    stop.set()
    passing.join()
    assert problems == []
    stage.now = real()
    stage.settle()
    assert stage.codes() == {(name, f"{name}-stays", "claim-mismatch") for name in HOSTS}
