# SPDX-License-Identifier: Apache-2.0
"""What can go wrong with the database, in three kinds.

:class:`Unavailable` is the database's trouble and passes (the API answers 503); a
:class:`SchemaError` is the operator's to mend; anything else is a defect of ours.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import sqlalchemy as sa
from oslo_db import exception as oslo_exception


class StoreError(Exception):
    """Base of this room's own errors; the message is one line for an operator."""


class Unavailable(StoreError):
    """The database cannot do it now; nothing was written."""


class SchemaError(StoreError):
    """The tables are not those of this release."""


# Errors of a driver that SQLAlchemy or oslo.db wrapped: the server is away, read-only, full,
# shutting down, or a lock was not to be had. ProgrammingError, DataError and IntegrityError are
# missing: those are ours.
_PASSING = (
    oslo_exception.DBConnectionError,
    oslo_exception.DBDeadlock,
    oslo_exception.DBNonExistentDatabase,
    sa.exc.InternalError,
    sa.exc.OperationalError,
    sa.exc.TimeoutError,
    # a DB-API "interface error": the connection is not usable any more
    sa.exc.InterfaceError,
)
_PASSING_WRAPPED = (sa.exc.InternalError, sa.exc.OperationalError, sa.exc.InterfaceError)


# SQLSTATE of an undefined table and column: PostgreSQL's, MariaDB's; and what MariaDB's driver says
# where it does not tell that.
_MISSING = frozenset(("42P01", "42703", "42S02", "42S22", 1146, 1054))


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Errors of the libraries below, as those of this room."""
    try:
        yield
    except _PASSING as error:
        raise Unavailable(line(error)) from error
    except oslo_exception.DBError as error:
        if _something_is_missing(error):
            raise SchemaError(f"{line(error)}: run nova-diskaudit-manage db sync") from error
        if isinstance(error.inner_exception, _PASSING_WRAPPED):
            raise Unavailable(line(error)) from error
        raise
    except sa.exc.ProgrammingError as error:
        if _something_is_missing(error):
            raise SchemaError(f"{line(error)}: run nova-diskaudit-manage db sync") from error
        raise


def _something_is_missing(error: BaseException) -> bool:
    """Whether a table or a column is; oslo.db tells it for tables of SQLite alone."""
    if isinstance(error, oslo_exception.DBNonExistentTable):
        return True
    said = _of_the_driver(error)
    arguments = getattr(said, "args", ())
    return bool(_MISSING.intersection((getattr(said, "sqlstate", None), *arguments[:1])))


def _of_the_driver(error: BaseException) -> BaseException | None:
    """What the database's driver raised, out of its wrappings."""
    inner: BaseException | None = error
    if isinstance(inner, oslo_exception.DBError):
        inner = inner.inner_exception
    if isinstance(inner, sa.exc.DBAPIError) and inner.orig is not None:
        inner = inner.orig
    return inner


def line(error: BaseException) -> str:
    """What the database said, without the statement and its values."""
    said = _of_the_driver(error)
    return " ".join(str(said if said is not None else error).split())[:300]
