# SPDX-License-Identifier: Apache-2.0
"""Runs tasks: each once, or all of them for ever, each in a thread and at an interval of its own.

Several processes may run the same tasks. The store tells who does one now and when it is due
(:mod:`nova_diskaudit.store.task`), and nothing that goes wrong in one task disturbs another.
"""

from __future__ import annotations

import contextlib
import datetime
import logging
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

import sqlalchemy as sa

from nova_diskaudit.cloud import CloudError
from nova_diskaudit.store import errors, moment, task

LOG = logging.getLogger(__name__)

#: How long a process may be dead before another one takes over.
LEASE_SECONDS = 120.0
#: Longer than any task takes: one that does hangs, and its lease is not held any more.
MOST_SECONDS = 3600.0
#: How soon a task that was not complete is tried again, if its interval is longer.
RETRY_SECONDS = 300.0
#: Intervals differ by so much, so that no two things go on happening at the same moment.
_JITTER = 0.05
#: Of an interval: the least pause after a task that takes longer than its interval.
_PAUSE = 0.1

#: What is done, how many of it, and of how many (0: nobody knows).
Tell = Callable[[str, int, int], None]


def silent(phase: str, done: int, total: int) -> None:
    """Tell nobody."""


class Turn(NamedTuple):
    """What a task is given for one run."""

    lease: task.Lease
    tell: Tell
    #: tells whether the process is about to end
    stop: Callable[[], bool]

    @property
    def engine(self) -> sa.Engine:
        """The store."""
        return self.lease.engine

    @property
    def now(self) -> datetime.datetime:
        """The time by this service's clock."""
        return self.lease.clock()


class Result(NamedTuple):
    """What a run did, for people and machines, and why it was not complete."""

    facts: Mapping[str, Any]
    problem: str | None = None


class Job(NamedTuple):
    """A task that can be run. ``run`` raises :class:`CloudError`, or an error of the store."""

    name: str
    interval_seconds: float
    run: Callable[[Turn], Result]


#: ``busy``: another process does it now. ``stopped``: this process was told to end.
State = Literal["done", "incomplete", "failed", "busy", "not-due", "stopped"]


class Outcome(NamedTuple):
    """What became of a task."""

    task: str
    state: State
    seconds: float = 0.0
    facts: Mapping[str, Any] = {}
    problem: str | None = None
    #: when it is to be done again, as far as that is known
    due: datetime.datetime | None = None


def attempt(
    engine: sa.Engine,
    job: Job,
    *,
    holder: str,
    clock: task.Clock,
    if_due: bool,
    tell: Tell = silent,
    stop: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Run a task if it is due and nobody else does it.

    :param holder: this process's own id for the task.
    :raises nova_diskaudit.store.errors.StoreError: the store does not tell whether it is due.
    """
    lease = task.take(
        engine,
        job.name,
        holder,
        clock=clock,
        seconds=LEASE_SECONDS,
        if_due=if_due,
        interval_seconds=job.interval_seconds,
        stop=stop,
    )
    if lease is None:
        known = task.state(engine, job.name)
        due = moment.time(known.due_at) if known.due_at is not None else None
        held = known.held_until_at is not None and known.held_until_at >= moment.of(clock())
        return Outcome(job.name, "busy" if held else "not-due", due=due)
    began, begun = clock(), time.monotonic()
    try:
        with _kept(lease):
            outcome = _run(job, Turn(lease, tell, stop))
    except BaseException:
        # Told to end, by an exception: whoever comes next need not wait until the lease ends.
        _give_back(lease)
        raise
    outcome = outcome._replace(seconds=time.monotonic() - begun)
    if outcome.state == "stopped":
        _give_back(lease)
        return outcome
    due = _due(began, clock(), job.interval_seconds, in_order=outcome.problem is None)
    try:
        lease.finish(due=due, problem=outcome.problem)
    except errors.StoreError as error:
        LOG.warning("The end of %s was not written down: %s", job.name, error)
        if outcome.problem is None:
            outcome = outcome._replace(state="failed", problem=str(error))
    return outcome._replace(due=due)


def _run(job: Job, turn: Turn) -> Outcome:
    try:
        result = job.run(turn)
    except task.Stopped:
        return Outcome(job.name, "stopped")
    except CloudError as error:
        return Outcome(job.name, "incomplete", problem=str(error))
    except errors.StoreError as error:
        return Outcome(job.name, "failed", problem=str(error))
    except Exception as error:
        LOG.exception("A defect of ours in %s", job.name)
        words = " ".join(f"a defect of ours: {type(error).__name__}: {error}".split())[:300]
        return Outcome(job.name, "failed", problem=words)
    state: State = "done" if result.problem is None else "incomplete"
    return Outcome(job.name, state, facts=result.facts, problem=result.problem)


def _due(
    began: datetime.datetime, ended: datetime.datetime, interval_seconds: float, *, in_order: bool
) -> datetime.datetime:
    interval = interval_seconds * random.uniform(1 - _JITTER, 1 + _JITTER)
    if not in_order:
        return ended + datetime.timedelta(seconds=min(interval, RETRY_SECONDS))
    pause = datetime.timedelta(seconds=interval * _PAUSE)
    return max(began + datetime.timedelta(seconds=interval), ended + pause)


@contextlib.contextmanager
def _kept(lease: task.Lease) -> Iterator[None]:
    """The lease is held by another thread meanwhile, so a task may be silent for long."""
    over = threading.Event()
    until = time.monotonic() + MOST_SECONDS

    def hold() -> None:
        while not over.wait(lease.seconds / 3) and time.monotonic() < until:
            try:
                lease.renew()
            except task.LeaseLost as error:
                LOG.warning("%s", error)
                return
            except errors.StoreError as error:
                LOG.warning("The lease of %s was not renewed: %s", lease.name, error)

    thread = threading.Thread(target=hold, name=f"{lease.name} lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(lease.seconds)


def _give_back(lease: task.Lease) -> None:
    try:
        lease.give_back()
    except errors.StoreError as error:
        LOG.warning("The lease of %s ends by itself: %s", lease.name, error)


class Keeper:
    """Runs tasks for ever, each in a thread of its own."""

    def __init__(self, engine: sa.Engine, jobs: Iterable[Job], *, clock: task.Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._stop = threading.Event()
        self._loops = [_Loop(engine, job, clock, self._stop) for job in jobs]

    def start(self) -> None:
        """Begin."""
        for loop in self._loops:
            loop.thread.start()

    def dead(self) -> list[str]:
        """Tasks whose thread ended, which none should."""
        return [loop.job.name for loop in self._loops if not loop.thread.is_alive()]

    def hanging(self) -> list[str]:
        """Tasks that take longer than any should: only the end of the process helps."""
        late = time.monotonic() - MOST_SECONDS
        return [loop.job.name for loop in self._loops if (loop.begun or late) < late]

    def close(self, seconds: float) -> None:
        """Break off, and wait so long for it; what does not hear it is left behind."""
        self._stop.set()
        until = time.monotonic() + seconds
        for loop in self._loops:
            loop.thread.join(max(0.0, until - time.monotonic()))


class _Loop:
    """One task of a :class:`Keeper`."""

    def __init__(
        self, engine: sa.Engine, job: Job, clock: task.Clock, stop: threading.Event
    ) -> None:
        self.job = job
        #: when the run began that goes on now, by ``time.monotonic``
        self.begun: float | None = None
        self.thread = threading.Thread(target=self._loop, name=job.name, daemon=True)
        self._engine = engine
        self._clock = clock
        self._stop = stop
        self._holder = str(uuid.uuid4())

    def _loop(self) -> None:
        while not self._stop.is_set():
            try:
                seconds = self._once()
            except errors.StoreError as error:
                LOG.warning("%s has to wait for the database: %s", self.job.name, error)
                seconds = min(self.job.interval_seconds, LEASE_SECONDS)
            except Exception:
                LOG.exception("A defect of ours around %s", self.job.name)
                seconds = self.job.interval_seconds
            self._stop.wait(seconds)

    def _once(self) -> float:
        """Seconds until the task is to be looked at again."""
        self.begun = time.monotonic()
        try:
            outcome = attempt(
                self._engine,
                self.job,
                holder=self._holder,
                clock=self._clock,
                if_due=True,
                stop=self._stop.is_set,
            )
        finally:
            self.begun = None
        if outcome.problem is not None:
            LOG.warning("%s is %s: %s", outcome.task, outcome.state, outcome.problem)
        elif outcome.state == "done":
            LOG.info("%s is done in %.1f s: %s", outcome.task, outcome.seconds, outcome.facts)
        if outcome.state == "busy" or outcome.due is None:
            # Whoever does it may die.
            return min(self.job.interval_seconds, LEASE_SECONDS)
        seconds = (outcome.due - self._clock()).total_seconds()
        return min(max(seconds, 1.0), self.job.interval_seconds * (1 + _JITTER))
