# SPDX-License-Identifier: Apache-2.0
"""Keeping the map of Nova: one pass asks what changed and writes it into the ledger.

Reports are judged by the ledger alone, never by a call to Nova. So Nova may be slow, away, or
have a cell down: then the ledger stays as it is, and what is new waits as pending.
"""

from __future__ import annotations

import datetime
import logging
import threading
import uuid
from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec
import sqlalchemy as sa

from nova_diskaudit.cloud import CloudError, nova
from nova_diskaudit.store import errors, ledger, moment

LOG = logging.getLogger(__name__)

#: How long a pass may be silent before another process takes over.
LEASE_SECONDS = 300.0
#: What Nova commits late, or a second's fraction that its clock does not tell.
_OVERLAP = datetime.timedelta(seconds=60)


class Pass(NamedTuple):
    """What became of one pass. ``problem`` says why it was not complete."""

    ran: bool
    whole: bool = False
    instances: int = 0
    news: int = 0
    problem: str | None = None


def refresh(
    engine: sa.Engine,
    cloud: nova.Nova,
    *,
    clock: Callable[[], datetime.datetime],
    whole_every_seconds: float,
) -> Pass:
    """Ask Nova what changed, or for everything if that is due.

    A second process that tries at the same time does nothing.

    :raises nova_diskaudit.store.errors.StoreError:
    """
    holder = str(uuid.uuid4())
    if not ledger.acquire(engine, holder, now=clock(), seconds=LEASE_SECONDS):
        return Pass(ran=False)
    begun = clock()
    before = ledger.state(engine)
    known = {"refreshed_at": moment.of(begun)}
    try:
        result, learnt = _pass(engine, cloud, holder, before, clock, whole_every_seconds)
    except CloudError as error:
        LOG.warning("Nova was not asked to the end: %s", error)
        result, learnt = Pass(ran=True, problem=str(error)), {}
    ledger.finish(engine, holder, **known, **learnt, problem=result.problem)
    return result


def _pass(
    engine: sa.Engine,
    cloud: nova.Nova,
    holder: str,
    before: ledger.Map,
    clock: Callable[[], datetime.datetime],
    whole_every_seconds: float,
) -> tuple[Pass, dict[str, int | None]]:
    begun = clock()
    since = before.changes_since_at
    listed_at = before.listed_at
    whole = (
        since is None
        or listed_at is None
        or moment.of(begun) - listed_at > whole_every_seconds * 1e6
    )
    health = cloud.health()
    unreachable = set(health.unreachable_hosts)
    # Before the servers: a migration that ends in between leaves both its hosts accepted until
    # the next pass, and not neither.
    ends = _ends(cloud.open_migrations())
    instances = news = 0
    changed_since = None
    if not whole and since is not None:
        changed_since = moment.time(since) - _OVERLAP
    for page in cloud.servers(changed_since):
        entries = [_entry(server) for server in page if not server.is_partial]
        unreachable |= {f"that of {server.id}" for server in page if server.is_partial}
        news += ledger.put(engine, holder, entries, now=clock(), seconds=LEASE_SECONDS)
        instances += len(entries)
    ledger.put_moves(engine, holder, ends, now=clock(), seconds=LEASE_SECONDS)
    unreachable |= set(cloud.health().unreachable_hosts)
    if unreachable:
        # What changed there is not in the answers: the next pass asks for the same time again.
        some = ", ".join(sorted(unreachable)[:5])
        problem = f"{len(unreachable)} hosts are in cells that are down: {some}"
        LOG.warning("Nova did not tell everything: %s", problem)
        return Pass(True, whole, instances, news, problem), {}
    learnt: dict[str, int | None] = {"complete_at": moment.of(begun)}
    # Of a Nova that tells no time, everything is listed again.
    learnt["changes_since_at"] = moment.of(health.now) if health.now is not None else None
    if whole:
        news += ledger.delete_unseen(
            engine, holder, since=begun, now=clock(), seconds=LEASE_SECONDS
        )
        learnt["listed_at"] = moment.of(begun)
    return Pass(True, whole, instances, news), learnt


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


def keep(
    engine: sa.Engine,
    cloud: nova.Nova,
    *,
    stop: threading.Event,
    interval_seconds: float,
    whole_every_seconds: float,
) -> None:
    """Pass after pass, until ``stop`` is set; nothing that goes wrong ends it."""
    while not stop.is_set():
        try:
            refresh(
                engine,
                cloud,
                clock=lambda: datetime.datetime.now(datetime.UTC),
                whole_every_seconds=whole_every_seconds,
            )
        except errors.StoreError as error:
            LOG.warning("The map of Nova was not refreshed: %s", error)
        except Exception:
            LOG.exception("A defect of ours while the map of Nova was refreshed")
        stop.wait(interval_seconds)
