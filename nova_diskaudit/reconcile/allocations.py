# SPDX-License-Identifier: Apache-2.0
"""Keeping the copy of what Placement allocated: it is asked only where something may have changed.

A provider's generation moves with every new promise, and that is one question for all of them. It
does not move when a consumer is deleted, or moved away by one write
(:mod:`nova_diskaudit.cloud.placement`): so each is asked again from time to time, and whoever finds
something strange has its providers asked again before it believes it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import NamedTuple

from nova_diskaudit.cloud import placement
from nova_diskaudit.store import allocation, moment, task

# What one transaction writes, but for what one provider promised.
_PROVIDERS_AT_ONCE = 20
_PROMISES_AT_ONCE = 1000


class Pass(NamedTuple):
    """What became of one pass."""

    providers: int = 0
    #: of which so many were asked what they promised
    asked: int = 0
    changed: int = 0


def refresh(
    lease: task.Lease,
    cloud: placement.Placement,
    *,
    whole_every_seconds: float,
    tell: Callable[[str, int, int], None] = lambda phase, done, total: None,
) -> Pass:
    """Ask Placement what changed.

    :param whole_every_seconds: how old what a provider promised may be; see above.
    :raises nova_diskaudit.cloud.CloudError: what was told until then is kept.
    :raises nova_diskaudit.store.task.Stopped:
    :raises nova_diskaudit.store.errors.StoreError:
    """
    begun = moment.of(lease.clock())
    before = allocation.providers(lease.engine)
    # Nova's disk is that of the root of a tree; what is below has other resources.
    found = {one.uuid: one for one in cloud.providers() if one.parent_provider_uuid is None}
    due = [
        one
        for one in found.values()
        if _is_due(one, before.get(one.uuid), begun, whole_every_seconds)
    ]
    asked = changed = 0
    gone = [known.id for uuid, known in before.items() if uuid not in found]
    waiting: list[allocation.Told] = []
    for one in due:
        lease.go_on()
        at = moment.of(lease.clock())
        told = cloud.allocations(one.uuid)
        asked += 1
        tell("providers of Placement", asked, len(due))
        if told is not None:
            disk_gb = {
                uuid: consumer.disk_gb
                for uuid, consumer in told.consumers.items()
                if consumer.disk_gb > 0
            }
            waiting.append(allocation.Told(one.uuid, one.name, told.generation, at, disk_gb))
        elif one.uuid in before:
            gone.append(before[one.uuid].id)
        if len(waiting) == _PROVIDERS_AT_ONCE or (
            sum(len(other.disk_gb) for other in waiting) > _PROMISES_AT_ONCE
        ):
            changed += allocation.put(lease, waiting)
            waiting = []
    if waiting:
        changed += allocation.put(lease, waiting)
    allocation.forget(lease, gone)
    allocation.completed(lease, begun=begun)
    return Pass(len(found), asked, changed)


def _is_due(
    one: placement.Provider,
    known: allocation.Provider | None,
    now: int,
    whole_every_seconds: float,
) -> bool:
    if known is None or known.generation != one.generation:
        return True
    # Not all of them at the same moment.
    part = 0.75 + 0.25 * (zlib.crc32(one.uuid.encode()) / 2**32)
    return not 0 <= now - known.fetched_at < whole_every_seconds * part * 1e6
