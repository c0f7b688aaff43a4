# SPDX-License-Identifier: Apache-2.0
"""Leases of periodic work: one works, nobody is held up for ever."""

from __future__ import annotations

import datetime

import pytest
import sqlalchemy as sa

from nova_diskaudit.store import moment, task, transaction
from tests import reports

NAME = "some-task"
MINUTE = datetime.timedelta(minutes=1)


class Bench:
    """One task, and a clock."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine, self.now = engine, reports.NOW

    def take(self, holder: str, *, if_due: bool = True) -> task.Lease | None:
        return task.take(
            self.engine,
            NAME,
            holder,
            clock=lambda: self.now,
            seconds=120,
            if_due=if_due,
            interval_seconds=600,
        )

    def took(self, holder: str, *, if_due: bool = True) -> task.Lease:
        lease = self.take(holder, if_due=if_due)
        assert lease is not None
        return lease

    def hold(self, lease: task.Lease) -> None:
        transaction.write(self.engine, lease.hold)


@pytest.fixture
def bench(engine: sa.Engine) -> Bench:
    return Bench(engine)


def test_one_at_a_time(bench: Bench) -> None:
    first = bench.took("a")
    assert bench.take("b") is None and bench.take("b", if_due=False) is None
    bench.now += MINUTE
    bench.hold(first)
    bench.now += 1.5 * MINUTE
    assert bench.take("b") is None, "it was held for longer"
    bench.now += MINUTE
    second = bench.took("b")
    with pytest.raises(task.LeaseLost):
        bench.hold(first)
    with pytest.raises(task.LeaseLost):
        first.finish(due=bench.now, problem=None)
    with pytest.raises(task.LeaseLost):
        first.renew()
    bench.hold(second)


def test_when_it_is_due(bench: Bench) -> None:
    assert task.state(bench.engine, NAME) == task.State()
    began = bench.now
    lease = bench.took("a")
    bench.now += MINUTE
    lease.finish(due=began + 10 * MINUTE, problem=None)
    known = task.state(bench.engine, NAME)
    assert known == task.State(
        due_at=moment.of(began + 10 * MINUTE),
        began_at=moment.of(began),
        ended_at=moment.of(bench.now),
        succeeded_at=moment.of(bench.now),
    )
    assert bench.take("b") is None
    bench.now += MINUTE
    bench.took("b", if_due=False).finish(due=bench.now + MINUTE, problem="Nova is away")
    again = task.state(bench.engine, NAME)
    assert again.succeeded_at == known.succeeded_at and again.problem == "Nova is away"
    bench.now += MINUTE
    bench.took("a").finish(due=bench.now, problem=None)
    assert task.state(bench.engine, NAME).problem is None


def test_what_was_broken_off_is_due_at_once(bench: Bench) -> None:
    bench.took("a").give_back()
    bench.took("b").give_back()
    assert task.state(bench.engine, NAME).ended_at is None


def test_who_was_cut_off_takes_its_own_lease_again(bench: Bench) -> None:
    bench.took("a")
    bench.took("a")


def test_a_clock_that_was_wrong_holds_nobody_up(bench: Bench) -> None:
    right = bench.now
    bench.now += datetime.timedelta(days=400)
    bench.took("a")
    bench.now = right
    bench.took("b").finish(due=right + datetime.timedelta(days=400), problem=None)
    bench.took("c")


def test_a_process_that_ends_writes_nothing_more(bench: Bench) -> None:
    lease = task.take(
        bench.engine, NAME, "a", clock=lambda: bench.now, seconds=120, stop=lambda: True
    )
    assert lease is not None
    with pytest.raises(task.Stopped):
        bench.hold(lease)
    with pytest.raises(task.Stopped):
        lease.go_on()
