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

from nova_diskaudit.store.tables import host, instance, nova_map, sighting

Trust = Literal["verified", "pending", "unverified"]

#: From the best to the worst; a row has one of these numbers as its ``rank``.
AT_HOME, MOVING, PENDING, UNVERIFIED = range(4)
_WORDS: tuple[Trust, ...] = ("verified", "verified", "pending", "unverified")


class Join(NamedTuple):
    """Sightings with what is known about each, as parts of a statement.

    ``owner`` is the project that an instance belongs to as far as anybody knows; ``tenant_sees``
    tells whether that project may see it.
    """

    source: Any
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


def join(*, nova: bool) -> Join:
    """How sightings, hosts and Nova's ledger belong together.

    :param nova: whether the ledger is kept at all.
    """
    source = sighting.join(host, host.c.id == sighting.c.host_id).outerjoin(
        instance, instance.c.uuid == sighting.c.uuid
    )
    rank = _rank(host, sighting) if nova else sa.literal(UNVERIFIED)
    owner = instance.c.project_id if nova else sighting.c.project_id
    tenant_sees = rank <= MOVING if nova else sa.true()
    return Join(source, rank, _is_best(rank, nova=nova), owner, tenant_sees)


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
    return sa.not_(sa.exists(better))
