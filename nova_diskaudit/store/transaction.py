# SPDX-License-Identifier: Apache-2.0
"""A whole transaction, or nothing of it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

import oslo_db.api
import sqlalchemy as sa
from oslo_db import exception as oslo_exception

from nova_diskaudit.store import engine as _engine
from nova_diskaudit.store import errors

_T = TypeVar("_T")

_TRIES = 5


@contextlib.contextmanager
def read(
    engine: sa.Engine, *, snapshot: bool = False, page: bool = False
) -> Iterator[sa.Connection]:
    """A connection for statements that only read.

    :param snapshot: all of them see the database at one moment (else: each at its own).
    :param page: what is read is a page of a long list in the order of an index, or a part that an
        index leads to. PostgreSQL (15) takes a merge or hash join for cheap there, and reads the
        whole of a table for it: 200 ms instead of 15 in the middle of 50,000 instances; and a
        second process that helps costs more than it gives.
    :raises errors.StoreError:
    """
    settings = []
    if snapshot and engine.dialect.name != "sqlite":
        settings.append("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    if page and engine.dialect.name == "postgresql":
        settings += [
            "SET LOCAL enable_mergejoin = off",
            "SET LOCAL enable_hashjoin = off",
            "SET LOCAL max_parallel_workers_per_gather = 0",
        ]
    with errors.translated(), engine.connect() as connection:
        if settings:
            connection.exec_driver_sql("; ".join(settings))
        yield connection


def write(engine: sa.Engine, work: Callable[[sa.Connection], _T]) -> _T:
    """What ``work`` gives, after its transaction was committed.

    Lost races (a deadlock, a failed certification of Galera, a row that another one inserted
    first) are run again as a whole, five times at most, so ``work`` must have no other effect.

    :raises errors.StoreError: when it could not be committed; nothing was written.
    """

    def attempt() -> _T:
        with _turn(engine), engine.connect() as plain:
            connection = plain.execution_options(**{_engine.WRITES: True})
            with connection.begin():
                return work(connection)

    with errors.translated():
        try:
            result: _T = _RETRIED(attempt)()
        except oslo_exception.DBDuplicateEntry as error:
            raise errors.Unavailable(errors.line(error)) from error
        return result


# SQLite has one writer, and who finds it busy sleeps and looks again, up to 100 ms. The threads of
# this process take turns instead; other processes still sleep.
_ONE_WRITER = threading.Lock()


@contextlib.contextmanager
def _turn(engine: sa.Engine) -> Iterator[None]:
    if engine.dialect.name != "sqlite":
        yield
        return
    if not _ONE_WRITER.acquire(timeout=_engine.LOCK_SECONDS):
        raise errors.Unavailable("another transaction takes too long")
    try:
        yield
    finally:
        _ONE_WRITER.release()


_RETRIED = oslo_db.api.wrap_db_retry(
    max_retries=_TRIES - 1,
    retry_interval=0.02,
    max_retry_interval=0.5,
    jitter=True,
    exception_checker=lambda error: _lost_a_race(error),
)


class Again(errors.Unavailable):
    """Raised by ``work``: what it read is not true any more. It is run again."""


def _lost_a_race(error: Exception) -> bool:
    # A deadlock is DBDeadlock; on PostgreSQL a failed serialization is not known to oslo.db.
    if isinstance(error, oslo_exception.DBDeadlock | oslo_exception.DBDuplicateEntry | Again):
        return True
    wrapped = error.inner_exception if isinstance(error, oslo_exception.DBError) else error
    if not isinstance(wrapped, sa.exc.DBAPIError):
        return False
    return getattr(wrapped.orig, "sqlstate", None) == "40001"
