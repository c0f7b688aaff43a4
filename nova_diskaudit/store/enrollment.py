# SPDX-License-Identifier: Apache-2.0
"""Which application credential may report for which host.

A credential speaks for one host; a host may have several, so that one can be replaced without a
gap.
"""

from __future__ import annotations

from typing import NamedTuple

import sqlalchemy as sa

from nova_diskaudit.store import errors, transaction, upsert
from nova_diskaudit.store.tables import enrollment, host


class Enrolled(errors.StoreError):
    """The credential is enrolled for another host."""


class Enrollment(NamedTuple):
    """One credential."""

    credential_id: str
    host: str
    enrolled_at: int


def host_of(connection: sa.Connection, credential_id: str) -> str | None:
    """The host that a credential may report for; None if it is not enrolled."""
    found: str | None = connection.scalar(
        sa.select(enrollment.c.host).where(enrollment.c.credential_id == credential_id)
    )
    return found


def is_claimed(connection: sa.Connection, name: str) -> bool:
    """Whether a host has reported, or a credential is enrolled for it."""
    claims = sa.union_all(
        sa.select(host.c.name).where(host.c.name == name),
        sa.select(enrollment.c.host).where(enrollment.c.host == name),
    )
    return connection.execute(claims.limit(1)).first() is not None


def add(connection: sa.Connection, credential_id: str, name: str, *, at: int) -> None:
    """Enroll a credential.

    :raises Enrolled: for a credential of another host. Remove it there first.
    """
    other = host_of(connection, credential_id)
    if other not in (None, name):
        raise Enrolled(f"this credential is enrolled for host {other}")
    statement = upsert.statement(enrollment, connection.dialect.name, frozenset({"enrolled_at"}))
    connection.execute(
        statement, [{"credential_id": credential_id, "host": name, "enrolled_at": at}]
    )


def enroll(engine: sa.Engine, credential_id: str, name: str, *, at: int) -> None:
    """As :func:`add`, in a transaction of its own.

    :raises nova_diskaudit.store.errors.StoreError:
    """
    transaction.write(engine, lambda connection: add(connection, credential_id, name, at=at))


def revoke(engine: sa.Engine, name: str, credential_id: str | None = None) -> int:
    """Remove one credential of a host, or all; how many there were.

    :raises nova_diskaudit.store.errors.StoreError:
    """
    statement = sa.delete(enrollment).where(enrollment.c.host == name)
    if credential_id is not None:
        statement = statement.where(enrollment.c.credential_id == credential_id)
    return transaction.write(engine, lambda connection: connection.execute(statement).rowcount)


def listed(engine: sa.Engine, name: str | None = None) -> list[Enrollment]:
    """All of them, or those of one host.

    :raises nova_diskaudit.store.errors.StoreError:
    """
    columns = (enrollment.c.credential_id, enrollment.c.host, enrollment.c.enrolled_at)
    statement = sa.select(*columns).order_by(enrollment.c.host, enrollment.c.credential_id)
    if name is not None:
        statement = statement.where(enrollment.c.host == name)
    with transaction.read(engine) as connection:
        return [Enrollment(*row) for row in connection.execute(statement)]
