# SPDX-License-Identifier: Apache-2.0
"""How the three databases are opened.

SQLite: a write-ahead log, so that readers and the one writer do not wait for each other, and
``synchronous=FULL``, because an agent forgets a state once it was acknowledged. A transaction
that writes begins with ``BEGIN IMMEDIATE``: one that read first and then wants to write could not
wait for another writer, it would fail.

MariaDB: READ COMMITTED, as PostgreSQL has it. The default would lock gaps between rows, and hosts
that report at the same time would wait for each other, or deadlock.
"""

from __future__ import annotations

import pathlib
import sqlite3
from typing import Any

import sqlalchemy as sa
from oslo_db.sqlalchemy import engines, exc_filters

from nova_diskaudit.store import errors

#: Set by :func:`nova_diskaudit.store.transaction.write`.
WRITES = "nova_diskaudit_writes"

#: For a lock that another transaction holds; then it is 503, and the agent comes again.
LOCK_SECONDS = 10


def create(url: str, **options: Any) -> sa.Engine:
    """An engine for the database at ``url``; it is not contacted yet.

    :param options: those of :func:`oslo_db.sqlalchemy.engines.create_engine`; SQLite has none.
    :raises errors.StoreError: for a URL that cannot be used.
    """
    try:
        made = sa.make_url(url)
        made.get_dialect()
    except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError, ValueError) as error:
        raise errors.StoreError(f"[database] connection: {error}") from None
    backend = made.get_backend_name()
    if backend == "sqlite":
        return _sqlite(made)
    if backend in ("mysql", "mariadb"):
        made = made.update_query_dict({"charset": "utf8mb4", **made.query})
        session = [
            "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
            f"SET SESSION innodb_lock_wait_timeout = {LOCK_SECONDS}",
        ]
    elif backend == "postgresql":
        session = [f"SET lock_timeout = '{LOCK_SECONDS}s'"]
    else:
        raise errors.StoreError(
            f"[database] connection: {backend} is not SQLite, PostgreSQL or MariaDB"
        )
    settings = {"max_retries": 0, "mysql_sql_mode": "TRADITIONAL", **options}
    try:
        engine: sa.Engine = engines.create_engine(
            made.render_as_string(hide_password=False), **settings
        )
    except ModuleNotFoundError as error:
        raise errors.StoreError(f"[database] connection: no driver: {error}") from None

    @sa.event.listens_for(engine, "connect")
    def _prepare(dbapi_connection: Any, _: object) -> None:
        with dbapi_connection.cursor() as cursor:
            for statement in session:
                cursor.execute(statement)
        dbapi_connection.commit()

    return engine


def _sqlite(url: sa.URL) -> sa.Engine:
    """oslo.db would open the file anew for each transaction, and each close ends the log."""
    if not url.database or url.database == ":memory:":
        raise errors.StoreError("[database] connection: SQLite needs a file")
    _make_private(pathlib.Path(url.database))
    engine = sa.create_engine(
        url,
        pool_size=16,
        max_overflow=48,
        connect_args={"timeout": LOCK_SECONDS, "check_same_thread": False},
    )

    @sa.event.listens_for(engine, "connect")
    def _prepare(dbapi_connection: Any, _: object) -> None:
        # sqlite3 would begin a transaction of its own, and too late.
        dbapi_connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "cache_size=-16384"):
            dbapi_connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        writes = connection.get_execution_options().get(WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    @sa.event.listens_for(engine, "handle_error")
    def _end_of_connection(context: sa.engine.ExceptionContext) -> None:
        # A file that cannot be written is opened for reading, and such a connection never writes,
        # even when it could.
        code = getattr(context.original_exception, "sqlite_errorcode", 0)
        if code & 0xFF == sqlite3.SQLITE_READONLY:
            context.is_disconnect = True

    exc_filters.register_engine(engine)
    return engine


def _make_private(path: pathlib.Path) -> None:
    """Make the file, if it is not there, for its owner and group alone.

    SQLite would make it for everybody who may enter the directory; its log gets the same mode.
    """
    try:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        # One that is there is not touched: it may be read-only for now.
        if not path.exists():
            path.touch(mode=0o640)
    except OSError as error:
        raise errors.StoreError(f"the database cannot be made: {error}") from None
