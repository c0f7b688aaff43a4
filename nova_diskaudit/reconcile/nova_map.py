# SPDX-License-Identifier: Apache-2.0
"""Keeping the map of Nova: one pass asks what changed and writes it into the ledger.

Reports are judged by the ledger alone, never by a call to Nova. So Nova may be slow, away, or
have a cell down: then the ledger stays as it is, and what is new waits as pending.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from nova_diskaudit.cloud import CloudError, nova
from nova_diskaudit.store import ledger, moment, task

#: What Nova commits late, or a second's fraction that its clock does not tell.
_OVERLAP = datetime.timedelta(seconds=60)


class Pass(NamedTuple):
    """What became of one pass. ``problem`` says why it was not complete."""

    whole: bool
    instances: int = 0
    news: int = 0
    problem: str | None = None


def refresh(
    lease: task.Lease,
    cloud: nova.Nova,
    *,
    whole_every_seconds: float,
    tell: Callable[[str, int, int], None] = lambda phase, done, total: None,
) -> Pass:
    """Ask Nova what changed, or for everything if that is due.

    :param tell: is told how far it is: what, how many, and of how many (0: nobody knows).
    :raises nova_diskaudit.store.task.Stopped:
    :raises nova_diskaudit.store.errors.StoreError:
    """
    begun = lease.clock()
    before = ledger.state(lease.engine)
    since = before.changes_since_at
    listed_at = before.listed_at
    whole = (
        since is None
        or listed_at is None
        or moment.of(begun) - listed_at > whole_every_seconds * 1e6
    )
    changed_since = None if whole or since is None else moment.time(since) - _OVERLAP
    try:
        result, learnt = _pass(lease, cloud, begun, changed_since, tell)
    except CloudError as error:
        result, learnt = Pass(whole, problem=str(error)), {}
    ledger.note(lease, refreshed_at=moment.of(begun), problem=result.problem, **learnt)
    return result


def _pass(
    lease: task.Lease,
    cloud: nova.Nova,
    begun: datetime.datetime,
    changed_since: datetime.datetime | None,
    tell: Callable[[str, int, int], None],
) -> tuple[Pass, dict[str, int | None]]:
    """:param changed_since: None for a list of everything."""
    whole = changed_since is None
    health = cloud.health()
    unreachable = set(health.unreachable_hosts)
    # Before the servers: a migration that ends in between leaves both its hosts accepted until
    # the next pass, and not neither.
    ends = _ends(cloud.open_migrations())
    instances = news = 0
    for page in cloud.servers(changed_since):
        entries = [_entry(server) for server in page if not server.is_partial]
        unreachable |= {f"that of {server.id}" for server in page if server.is_partial}
        news += ledger.put(lease, entries)
        instances += len(entries)
        tell("instances of Nova", instances, 0)
    ledger.put_moves(lease, ends)
    unreachable |= set(cloud.health().unreachable_hosts)
    if unreachable:
        # What changed there is not in the answers: the next pass asks for the same time again.
        some = ", ".join(sorted(unreachable)[:5])
        problem = f"{len(unreachable)} hosts are in cells that are down: {some}"
        return Pass(whole, instances, news, problem), {}
    learnt: dict[str, int | None] = {"complete_at": moment.of(begun)}
    # Of a Nova that tells no time, everything is listed again.
    learnt["changes_since_at"] = moment.of(health.now) if health.now is not None else None
    if whole:
        news += ledger.delete_unseen(lease, since=begun)
        learnt["listed_at"] = moment.of(begun)
    return Pass(whole, instances, news), learnt


def _ends(migrations: Iterable[nova.Migration]) -> dict[str, frozenset[str]]:
    ends: dict[str, frozenset[str]] = {}
    for one in migrations:
        hosts = frozenset(h for h in (one.source_compute, one.dest_compute) if h is not None)
        ends[one.instance_uuid] = ends.get(one.instance_uuid, frozenset()) | hosts
    return ends


def _entry(server: nova.Server) -> ledger.Entry:
    swap = server.flavor.swap
    return ledger.Entry(
        uuid=server.id,
        project_id=server.project_id,
        user_id=server.user_id,
        name=server.name,
        host=None if server.host is msgspec.UNSET else server.host,
        status=server.status,
        task_state=server.task_state,
        root_gb=server.flavor.disk,
        ephemeral_gb=server.flavor.ephemeral,
        # Nova writes "" for none in old releases.
        swap_mb=int(swap) if swap else 0,
        is_deleted=server.is_deleted,
    )
