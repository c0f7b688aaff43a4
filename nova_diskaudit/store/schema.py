# SPDX-License-Identifier: Apache-2.0
"""Which step of the migrations a database stands at, and the way to the newest."""

from __future__ import annotations

import pathlib
from typing import Any

import alembic.autogenerate
import alembic.command
import alembic.config
import alembic.migration
import alembic.script
import sqlalchemy as sa

from nova_diskaudit.store import engine as _engine
from nova_diskaudit.store import errors, tables, transaction

_MIGRATIONS = pathlib.Path(__file__).parent / "migrations"
# Any number, the same in each process: who syncs locks it.
_LOCK = 0x6E64615F


def newest() -> str:
    """The step that this release needs."""
    head = alembic.script.ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None
    return head


def steps() -> set[str]:
    """All that this release knows."""
    directory = alembic.script.ScriptDirectory.from_config(_config())
    return {script.revision for script in directory.walk_revisions()}


def current(engine: sa.Engine) -> str | None:
    """The step that the database stands at; None before the first.

    :raises errors.StoreError:
    """
    with transaction.read(engine) as connection:
        return alembic.migration.MigrationContext.configure(connection).get_current_revision()


def answers(engine: sa.Engine) -> None:
    """Return if the database answers at all.

    :raises errors.StoreError:
    """
    with transaction.read(engine) as connection:
        connection.execute(sa.select(sa.literal(1)))


def sync(engine: sa.Engine) -> None:
    """Bring the database to the newest step. Two at once wait for each other.

    :raises errors.StoreError:
    """
    with errors.translated(), engine.connect() as guard, _alone(guard), engine.connect() as plain:
        connection = plain.execution_options(**{_engine.WRITES: True})
        with connection.begin():
            config = _config()
            config.attributes["connection"] = connection
            alembic.command.upgrade(config, "head")


def differences(engine: sa.Engine) -> list[str]:
    """What of the tables is not as this release defines it, one line each.

    :raises errors.StoreError:
    """
    with transaction.read(engine) as connection:
        context = alembic.migration.MigrationContext.configure(connection)
        found = alembic.autogenerate.compare_metadata(context, tables.metadata)
    return [_line(one) for one in found]


def require_newest(engine: sa.Engine) -> None:
    """Do nothing, if the tables are those of this release.

    :raises errors.SchemaError: when the database is not at the step that this release needs.
    :raises errors.StoreError:
    """
    found, wanted = current(engine), newest()
    if found != wanted:
        raise errors.SchemaError(
            f"the database is at {found or 'no'} revision and this release needs {wanted}: "
            "run nova-diskaudit-manage db sync"
        )


def _config() -> alembic.config.Config:
    config = alembic.config.Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


class _alone:
    """Nobody else migrates meanwhile. On SQLite the transaction itself sees to that.

    By a connection of its own, so that it ends after the migration's commit: who is next has to see
    the revision, and MariaDB makes tables before it commits that.
    """

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        name = self._connection.dialect.name
        if name == "postgresql":
            # Until the transaction ends.
            self._connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
        elif name in ("mysql", "mariadb"):
            got = self._connection.scalar(sa.select(sa.func.get_lock(str(_LOCK), 300)))
            if got != 1:
                raise errors.Unavailable("another db sync has been running for 5 minutes")

    def __exit__(self, *_: object) -> None:
        if self._connection.dialect.name in ("mysql", "mariadb"):
            self._connection.execute(sa.select(sa.func.release_lock(str(_LOCK))))


def _line(difference: Any) -> str:
    """One of alembic's tuples (kind, ...), with the name of what they are about."""
    first = difference[0] if isinstance(difference, list) else difference
    subject = next((str(part) for part in reversed(first) if hasattr(part, "name")), first[1:])
    return f"{first[0]}: {subject}"
