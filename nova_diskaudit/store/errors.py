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


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Errors of the libraries below, as those of this room."""
    try:
        yield
    except oslo_exception.DBNonExistentTable as error:
        raise SchemaError(f"a table is missing: {line(error)}") from error
    except _PASSING as error:
        raise Unavailable(line(error)) from error
    except oslo_exception.DBError as error:
        if isinstance(error.inner_exception, _PASSING_WRAPPED):
            raise Unavailable(line(error)) from error
        raise


def line(error: BaseException) -> str:
    """What the database said, without the statement and its values."""
    inner: BaseException | None = error
    if isinstance(error, oslo_exception.DBError):
        inner = error.inner_exception
    if isinstance(inner, sa.exc.DBAPIError) and inner.orig is not None:
        inner = inner.orig
    return " ".join(str(inner if inner is not None else error).split())[:300]
