# SPDX-License-Identifier: Apache-2.0
"""What projects may hold by Keystone's limits, and what Placement promised them.

Both are copies. ``reconcile`` brings them up to date; while a service of the cloud is away, what is
here stays as it was, with the time of which it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import sqlalchemy as sa

from nova_diskaudit.store import scope, transaction, upsert
from nova_diskaudit.store.tables import claim, project_usage, quota, quota_limit

_ROW = quota.c.id == 1
_AT_ONCE = 500
#: Who has no limit of their own.
EVERYBODY = ""


class Limit(NamedTuple):
    """One limit as it holds for a project, or for :data:`EVERYBODY`; GiB, -1 for unlimited.

    ``shared_gib``: what all projects of its domain may have together, None if they share nothing.
    """

    project_id: str
    name: str
    limit_gib: int
    shared_gib: int | None


class Claim(NamedTuple):
    """What a project was promised, and the moment when Placement said so."""

    disk_gb: int
    as_of: int


class State(NamedTuple):
    """How far all of it is right; see the columns of ``quota``."""

    limits_at: int | None = None
    model: str | None = None
    limits_problem: str | None = None
    nova_enforces: bool | None = None
    claims_at: int | None = None
    claims_problem: str | None = None


class Quota(NamedTuple):
    """What is known for some projects. ``limits`` are by project and name, as they hold for it."""

    state: State
    limits: Mapping[tuple[str, str], Limit]
    claims: Mapping[str, Claim]


def of_projects(engine: sa.Engine, who: scope.Scope, project_ids: Iterable[str]) -> Quota:
    """What these projects may hold and were promised, those that are for ``who``.

    :raises nova_diskaudit.store.errors.StoreError:
    """
    wanted = list(dict.fromkeys(project_ids))
    if isinstance(who, scope.OfProject):
        wanted = [one for one in wanted if one == who.project_id]
    with transaction.read(engine, snapshot=True) as connection:
        found = _state(connection)
        own: dict[tuple[str, str], Limit] = {}
        defaults: dict[str, Limit] = {}
        claims: dict[str, Claim] = {}
        for begin in range(0, len(wanted), _AT_ONCE):
            some = wanted[begin : begin + _AT_ONCE]
            limits = sa.select(quota_limit).where(quota_limit.c.project_id.in_([*some, EVERYBODY]))
            for one in (Limit(*row) for row in connection.execute(limits)):
                if one.project_id == EVERYBODY:
                    defaults[one.name] = one
                else:
                    own[one.project_id, one.name] = one
            columns = (claim.c.project_id, claim.c.disk_gb, claim.c.as_of)
            promised = sa.select(*columns).where(
                claim.c.project_id.in_(some), claim.c.disk_gb.is_not(None)
            )
            claims |= {row.project_id: Claim(*row[1:]) for row in connection.execute(promised)}
    limits_of = {
        (project_id, name): own.get((project_id, name), default)
        for project_id in wanted
        for name, default in defaults.items()
    }
    return Quota(found, limits_of, claims)


def state(engine: sa.Engine) -> State:
    """How far limits and claims are right.

    :raises nova_diskaudit.store.errors.StoreError:
    """
    with transaction.read(engine) as connection:
        return _state(connection)


def _state(connection: sa.Connection) -> State:
    columns = [quota.c[name] for name in State._fields]
    row = connection.execute(sa.select(*columns).where(_ROW)).one_or_none()
    if row is None:
        return State()
    found = State(*row)
    enforces = None if found.nova_enforces is None else bool(found.nova_enforces)
    return found._replace(nova_enforces=enforces)


def put_state(engine: sa.Engine, **changes: int | str | None) -> None:
    """Write down how far all of it is right.

    :param changes: fields of :class:`State`.
    :raises nova_diskaudit.store.errors.StoreError:
    """
    transaction.write(engine, lambda connection: _put_state(connection, **changes))


def _put_state(connection: sa.Connection, **changes: int | str | None) -> None:
    if connection.scalar(sa.select(quota.c.id).where(_ROW)) is None:
        connection.execute(sa.insert(quota), {"id": 1})
    connection.execute(sa.update(quota).where(_ROW).values(**changes))


def put_limits(engine: sa.Engine, limits: Iterable[Limit], *, model: str, at: int) -> int:
    """Replace all limits; how many differed.

    :param at: the moment when Keystone was asked.
    :raises nova_diskaudit.store.errors.StoreError:
    """
    wanted = {(one.project_id, one.name): one for one in limits}

    def write(connection: sa.Connection) -> int:
        before = {(row.project_id, row.name): Limit(*row) for row in _limits(connection)}
        gone = before.keys() - wanted.keys()
        news = [one._asdict() for key, one in wanted.items() if before.get(key) != one]
        if gone:
            statement = sa.delete(quota_limit).where(
                quota_limit.c.project_id == sa.bindparam("which"),
                quota_limit.c.name == sa.bindparam("named"),
            )
            connection.execute(statement, [{"which": p, "named": n} for p, n in sorted(gone)])
        if news:
            connection.execute(upsert.statement(quota_limit, connection.dialect.name), news)
        _put_state(connection, limits_at=at, model=model, limits_problem=None)
        return len(gone) + len(news)

    return transaction.write(engine, write)


def _limits(connection: sa.Connection) -> Iterable[Any]:
    return connection.execute(sa.select(quota_limit))


def due(engine: sa.Engine, *, limit: int) -> list[str]:
    """The projects that Placement was not asked about for longest, of those that have anything.

    :raises nova_diskaudit.store.errors.StoreError:
    """
    statement = (
        sa.select(project_usage.c.project_id)
        .select_from(
            project_usage.outerjoin(claim, claim.c.project_id == project_usage.c.project_id)
        )
        .order_by(sa.func.coalesce(claim.c.asked_at, 0), project_usage.c.project_id)
        .limit(limit)
    )
    with transaction.read(engine) as connection:
        return list(connection.scalars(statement))


def put_claims(engine: sa.Engine, claims: Mapping[str, int | None], *, at: int) -> None:
    """Write what Placement said, or with None that it was asked in vain: then what it said before
    stays.

    :param at: the moment before it was asked.
    :raises nova_diskaudit.store.errors.StoreError:
    """
    told = [
        {"project_id": project_id, "disk_gb": disk_gb, "as_of": at, "asked_at": at}
        for project_id, disk_gb in sorted(claims.items())
        if disk_gb is not None
    ]
    untold = [
        {"project_id": project_id, "disk_gb": None, "as_of": None, "asked_at": at}
        for project_id, disk_gb in sorted(claims.items())
        if disk_gb is None
    ]

    def write(connection: sa.Connection) -> None:
        dialect = connection.dialect.name
        if told:
            connection.execute(upsert.statement(claim, dialect), told)
        if untold:
            kept = frozenset({"disk_gb", "as_of"})
            connection.execute(upsert.statement(claim, dialect, kept), untold)

    transaction.write(engine, write)


def forget(engine: sa.Engine) -> int:
    """Remove the claims of projects that have nothing any more; how many there were.

    :raises nova_diskaudit.store.errors.StoreError:
    """
    has = sa.select(sa.literal(1)).where(project_usage.c.project_id == claim.c.project_id)
    statement = sa.delete(claim).where(sa.not_(sa.exists(has)))
    return transaction.write(engine, lambda connection: connection.execute(statement).rowcount)
