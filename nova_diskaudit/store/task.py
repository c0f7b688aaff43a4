# SPDX-License-Identifier: Apache-2.0
"""Periodic work: when each task is due, and who does it now.

Several processes may run the same tasks; of each, the one that holds its lease works. A lease ends
by itself, so the work of a process that was killed is taken over. Whoever writes asks in the same
transaction whether the lease is still theirs (:meth:`Lease.hold`).
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import NamedTuple

import sqlalchemy as sa

from nova_diskaudit.store import errors, moment, transaction
from nova_diskaudit.store.tables import task

Clock = Callable[[], datetime.datetime]


class LeaseLost(errors.StoreError):
    """Another process does the task now."""


class Stopped(Exception):
    """The process is about to end, so the task is to be broken off."""


class Lease:
    """The right to do a task, until it ends or somebody takes it over.

    :param stop: tells whether the process is about to end.
    """

    def __init__(
        self,
        engine: sa.Engine,
        name: str,
        holder: str,
        *,
        clock: Clock,
        seconds: float,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self.engine = engine
        self.name = name
        self.clock = clock
        self.seconds = seconds
        self._holder = holder
        self._stop = stop

    def go_on(self) -> None:
        """Do nothing, or break off.

        :raises Stopped:
        """
        if self._stop():
            raise Stopped(f"{self.name} was broken off")

    def hold(self, connection: sa.Connection) -> None:
        """Hold it for longer; nobody else takes it before the transaction ends.

        :raises LeaseLost:
        :raises Stopped:
        """
        self.go_on()
        self._set(connection, held_until_at=moment.of(self.clock()) + int(self.seconds * 1e6))

    def renew(self) -> None:
        """As :meth:`hold`, in a transaction of its own.

        :raises LeaseLost:
        :raises nova_diskaudit.store.errors.StoreError:
        """
        until = moment.of(self.clock()) + int(self.seconds * 1e6)
        transaction.write(self.engine, lambda c: self._set(c, held_until_at=until))

    def give_back(self) -> None:
        """The task was broken off: it stays due, and the next process begins at once.

        :raises LeaseLost:
        :raises nova_diskaudit.store.errors.StoreError:
        """
        transaction.write(self.engine, lambda c: self._set(c, holder=None, held_until_at=None))

    def finish(self, *, due: datetime.datetime, problem: str | None) -> None:
        """The task is done, or was not to be done; give the lease back.

        :param due: when it is to be done again.
        :param problem: why it is not complete.
        :raises LeaseLost:
        :raises nova_diskaudit.store.errors.StoreError:
        """
        now = moment.of(self.clock())
        values = {
            "holder": None,
            "held_until_at": None,
            "due_at": moment.of(due),
            "ended_at": now,
            "problem": problem,
        }
        if problem is None:
            values["succeeded_at"] = now
        transaction.write(self.engine, lambda c: self._set(c, **values))

    def _set(self, connection: sa.Connection, **values: int | str | None) -> None:
        done = connection.execute(
            sa.update(task)
            .where(task.c.name == self.name, task.c.holder == self._holder)
            .values(values)
        )
        if done.rowcount != 1:
            raise LeaseLost(f"another process does {self.name} now")


class State(NamedTuple):
    """What is known of a task. Times are moments; None: never, or nobody."""

    due_at: int | None = None
    began_at: int | None = None
    ended_at: int | None = None
    succeeded_at: int | None = None
    problem: str | None = None
    held_until_at: int | None = None


def state(engine: sa.Engine, name: str) -> State:
    """What is known of one task.

    :raises nova_diskaudit.store.errors.StoreError:
    """
    columns = [task.c[name] for name in State._fields]
    with transaction.read(engine) as connection:
        row = connection.execute(sa.select(*columns).where(task.c.name == name)).one_or_none()
    return State(*row) if row is not None else State()


def take(
    engine: sa.Engine,
    name: str,
    holder: str,
    *,
    clock: Clock,
    seconds: float,
    if_due: bool = True,
    interval_seconds: float = 0.0,
    stop: Callable[[], bool] = lambda: False,
) -> Lease | None:
    """Take the lease of a task; None if it is not due, or somebody else does it.

    A time that no clock of ours can have written (later than it could be by now) is one of a clock
    that was wrong, and holds nobody up.

    :param holder: who wants it, at most once at a time: their own last lease is no hindrance.
    :param if_due: only if it is due.
    :param interval_seconds: how far in the future it can be due.
    :raises nova_diskaudit.store.errors.StoreError:
    """
    now = moment.of(clock())
    length = int(seconds * 1e6)
    free = [
        sa.or_(
            task.c.holder.is_(None),
            task.c.holder == holder,
            task.c.held_until_at < now,
            task.c.held_until_at > now + 2 * length,
        )
    ]
    if if_due:
        latest = now + 2 * int(interval_seconds * 1e6)
        free.append(sa.or_(task.c.due_at.is_(None), task.c.due_at <= now, task.c.due_at > latest))

    def work(connection: sa.Connection) -> bool:
        if connection.scalar(sa.select(task.c.name).where(task.c.name == name)) is None:
            connection.execute(sa.insert(task), {"name": name})
        done = connection.execute(
            sa.update(task)
            .where(task.c.name == name, *free)
            .values(holder=holder, held_until_at=now + length, began_at=now)
        )
        return done.rowcount == 1

    if not transaction.write(engine, work):
        return None
    return Lease(engine, name, holder, clock=clock, seconds=seconds, stop=stop)
