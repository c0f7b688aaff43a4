# SPDX-License-Identifier: Apache-2.0
"""Who is believed: the join of what agents sight and what Nova says.

A sighting is **verified** when Nova names its host, or when its host is the other end of a
migration or resize that is open. It is **pending** when Nova may only not have been heard yet: no
complete pass over Nova since the instance appeared there, or no report of the host since Nova
moved the instance away. Else it is **unverified**: it is shown to operators, it counts as the
host's storage, and it enters no tenant's numbers.

Of the sightings of one instance the best counts and no other: Nova's host before the other end of
a migration, that before pending ones, and at last the one that was reported later.

Without Nova (a single machine) nothing is verified, and the domain's own word is taken for the
owner.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import sqlalchemy as sa

from nova_diskaudit.store.tables import finding, host, instance, nova_map, sighting

Trust = Literal["verified", "pending", "unverified"]

#: The table that is read first.
Lead = Literal["sighting", "host", "instance", "finding"]

#: From the best to the worst; a row has one of these numbers as its ``rank``.
AT_HOME, MOVING, PENDING, UNVERIFIED = range(4)
_WORDS: tuple[Trust, ...] = ("verified", "verified", "pending", "unverified")


class Join(NamedTuple):
    """Sightings with what is known about each, as parts of a statement.

    ``owner`` is the project that an instance belongs to as far as anybody knows; ``tenant_sees``
    tells whether that project may see it. ``uuid`` is that of the table that leads, so that its
    index gives the order.
    """

    source: Any
    uuid: Any
    rank: Any
    is_best: Any
    owner: Any
    tenant_sees: Any


def word(rank: int) -> Trust:
    """The word for a ``rank``."""
    return _WORDS[rank]


def ranks(trust: Trust) -> list[int]:
    """The ranks that a word stands for."""
    return [rank for rank, known in enumerate(_WORDS) if known == trust]


def join(*, nova: bool, lead: Lead = "sighting") -> Join:
    """How sightings, hosts and Nova's ledger belong together.

    :param nova: whether the ledger is kept at all.
    :param lead: the table that is read first, in whose order the rows come.
    """
    of_host = host.c.id == sighting.c.host_id
    of_instance = instance.c.uuid == sighting.c.uuid
    of_finding = sa.and_(finding.c.host_id == sighting.c.host_id, finding.c.uuid == sighting.c.uuid)
    if lead == "instance":
        source = instance.join(sighting, of_instance).join(host, of_host)
        uuid = instance.c.uuid
    elif lead == "finding":
        source = finding.join(sighting, of_finding).join(host, of_host)
        source = source.outerjoin(instance, of_instance)
        uuid = finding.c.uuid
    else:
        first = host.join(sighting, of_host) if lead == "host" else sighting.join(host, of_host)
        source = first.outerjoin(instance, of_instance)
        uuid = sighting.c.uuid
    rank = _rank(host, sighting) if nova else sa.literal(UNVERIFIED)
    owner = instance.c.project_id if nova else sighting.c.project_id
    tenant_sees = rank <= MOVING if nova else sa.true()
    return Join(source, uuid, rank, _is_best(rank, nova=nova), owner, tenant_sees)


class Named(NamedTuple):
    """Each instance that Nova has, once: with the sighting that is verified and best, or with any
    other one, or with none. Which of these it is, ``is_verified`` tells; conditions are that an
    instance comes ``once``, and that Nova has not deleted it.
    """

    source: Any
    is_verified: Any
    conditions: list[Any]


def named() -> Named:
    """The rule of :func:`join`, read from Nova's side.

    Nearly every instance is sighted once, and where Nova has it: that is looked at first, and
    nothing else is asked of such a row.
    """
    source = instance.outerjoin(sighting, sighting.c.uuid == instance.c.uuid).outerjoin(
        host, host.c.id == sighting.c.host_id
    )
    at_home = sa.func.coalesce(host.c.name == instance.c.host, sa.false())
    moving = sa.func.coalesce(host.c.name == instance.c.other_host, sa.false())
    other_sighting, other_host = sighting.alias("other_sighting"), host.alias("other_host")

    def sighted_by(*conditions: Any) -> Any:
        # A number and not EXISTS: for that PostgreSQL would read and hash the whole table.
        number = (
            sa.select(sa.func.count())
            .select_from(
                other_sighting.join(other_host, other_host.c.id == other_sighting.c.host_id)
            )
            .where(other_sighting.c.uuid == instance.c.uuid, *conditions)
            .correlate(instance, sighting)
        )
        return in_order(number).scalar_subquery() > 0

    is_home = other_host.c.name == instance.c.host
    is_verified = sa.or_(is_home, other_host.c.name == instance.c.other_host)
    is_before = other_sighting.c.host_id < sighting.c.host_id
    once = sa.or_(
        at_home,
        sighting.c.uuid.is_(None),
        sa.and_(moving, sa.not_(sighted_by(is_home))),
        sa.and_(
            sa.not_(sa.or_(at_home, moving)),
            sa.not_(sighted_by(sa.or_(is_verified, is_before))),
        ),
    )
    return Named(source, sa.or_(at_home, moving), [instance.c.deleted_at.is_(None), once])


def in_order(statement: sa.Select[Any]) -> sa.Select[Any]:
    """The statement, with its tables read in the order in which they are named.

    Nearly all that is asked for is a page of a long list. PostgreSQL sees that it can read an
    index in order and stop; MariaDB (10.11) begins with the smallest table, joins everything and
    sorts it: 1.2 s instead of 4 ms for a page of 5000 instances. In :func:`_is_best` it may begin
    with all hosts, once for every row: 40 s for a page of 1000 beside 10,000 hosts.
    """
    for dialect in ("mysql", "mariadb"):
        statement = statement.prefix_with("STRAIGHT_JOIN", dialect=dialect)
    return statement


def by_index(statement: sa.Select[Any], table: sa.Table, index: str) -> sa.Select[Any]:
    """The statement, reading a table in the order of an index: said to MariaDB, as above."""
    for dialect in ("mysql", "mariadb"):
        hint = f"FORCE INDEX FOR ORDER BY ({index})"
        statement = statement.with_hint(table, hint, dialect)
    return statement


def _rank(host: Any, sighting: Any) -> Any:
    complete_at = sa.select(nova_map.c.complete_at).where(nova_map.c.id == 1).scalar_subquery()
    alive = instance.c.deleted_at.is_(None)
    at_home = sa.and_(instance.c.host == host.c.name, alive)
    moving = sa.and_(instance.c.other_host == host.c.name, alive)
    not_heard_yet = sa.or_(
        complete_at.is_(None),
        sighting.c.since_at >= complete_at,
        host.c.received_at <= instance.c.moved_at,
    )
    return sa.case(
        (at_home, AT_HOME),
        (moving, MOVING),
        (not_heard_yet, PENDING),
        else_=UNVERIFIED,
    )


def _is_best(rank: Any, *, nova: bool) -> Any:
    """No other sighting of the instance is better."""
    other_sighting, other_host = sighting.alias("other_sighting"), host.alias("other_host")
    other_rank = _rank(other_host, other_sighting) if nova else rank
    same_rank = sa.and_(
        other_rank == rank,
        sa.or_(
            other_host.c.received_at > host.c.received_at,
            sa.and_(other_host.c.received_at == host.c.received_at, other_host.c.id < host.c.id),
        ),
    )
    better = (
        sa.select(sa.literal(1))
        .select_from(other_sighting.join(other_host, other_host.c.id == other_sighting.c.host_id))
        .where(
            other_sighting.c.uuid == sighting.c.uuid,
            other_sighting.c.host_id != sighting.c.host_id,
            sa.or_(other_rank < rank, same_rank),
        )
        .correlate(sighting, host, instance)
    )
    return sa.not_(sa.exists(in_order(better)))
