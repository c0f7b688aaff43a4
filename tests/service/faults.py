# SPDX-License-Identifier: Apache-2.0
"""Faults of a database, at a chosen moment of a transaction, and what is in it then."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import sqlalchemy as sa

from nova_diskaudit.store.tables import metadata

#: Everything that the store knows, comparable.
Content = dict[str, list[tuple[Any, ...]]]


#: What periodic work notes of itself, at its own times.
_OF_PERIODIC_WORK = frozenset({"rollup", "task"})


def content(engine: sa.Engine) -> Content:
    """All rows of all tables that requests write."""
    with engine.connect() as connection:
        return {
            table.name: [
                tuple(row)
                for row in connection.execute(sa.select(table).order_by(*table.primary_key))
            ]
            for table in metadata.sorted_tables
            if table.name not in _OF_PERIODIC_WORK
        }


class Moments:
    """The moments of a transaction: before each of its statements, and before it is committed."""

    COMMIT = -1

    def __init__(self) -> None:
        self.statements: list[str] = []


@contextlib.contextmanager
def at(engine: sa.Engine, moment: int, fault: Callable[[], None]) -> Iterator[Moments]:
    """Let ``fault`` happen once, before the statement of that number, or before the commit.

    Statements of any thread count.
    """
    seen = Moments()
    guard = threading.Lock()
    happened = threading.Event()

    def happen() -> None:
        if not happened.is_set():
            happened.set()
            fault()

    def statement(_: Any, __: Any, words: str, *___: Any) -> None:
        with guard:
            number = len(seen.statements)
            seen.statements.append(" ".join(words.split()[:3]))
        if number == moment:
            happen()

    def commit(_: Any) -> None:
        if moment == Moments.COMMIT:
            happen()

    sa.event.listen(engine, "before_cursor_execute", statement)
    sa.event.listen(engine, "commit", commit)
    try:
        yield seen
    finally:
        sa.event.remove(engine, "before_cursor_execute", statement)
        sa.event.remove(engine, "commit", commit)


def moments(engine: sa.Engine, work: Callable[[], object]) -> list[int]:
    """Every moment of the transaction that ``work`` makes, which is done once for that."""
    with at(engine, -2, lambda: None) as seen:
        work()
    return [*range(len(seen.statements)), Moments.COMMIT]
