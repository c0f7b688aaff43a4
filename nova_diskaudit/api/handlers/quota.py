# SPDX-License-Identifier: Apache-2.0
"""What a project may hold beside what it holds, in words for its people.

Everything is out of the database: what Keystone and Placement said is copied there by
``reconcile``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from nova_diskaudit.api.call import Call
from nova_diskaudit.api.schemas.usage import QuotaLimit
from nova_diskaudit.limits import (
    FLAT,
    GUEST_USED,
    HOST_ALLOCATED,
    NOVA_DISK,
    SERVICE_TYPES,
    UNLIMITED,
)
from nova_diskaudit.store import moment, quota
from nova_diskaudit.store import usage as store

_GIB = 2**30

_SUBJECTS = {
    HOST_ALLOCATED: "What storage holds for the local disks of the project's servers, measured on "
    "their hosts.",
    GUEST_USED: "What the guests of the project's servers say that their filesystems use; nobody "
    "checks it.",
    NOVA_DISK: "What the project's servers were promised in local disks, by their flavors, as "
    "Placement has it. It is a promise, not a measurement: a disk that is empty counts in full, "
    "and a server that is being resized or moved may count twice.",
}
_REPORTED = "The limit is for information: nothing refuses what goes beyond it."
_ENFORCED = "Nova refuses a server that would go beyond the limit."
_STOPPED = (
    "While the project holds more than the limit, Nova starts no new server for it; those that it "
    "has go on, and may hold yet more."
)
_PERHAPS = (
    "Whether Nova refuses a server that would go beyond the limit depends on its configuration, "
    "which is not known here."
)
_NOT_READ = "The limit is not known: it was not read from Keystone yet."
_NOT_SET = "There is no such limit in this cloud."
_UNLIMITED = "This project has no such limit: it is unlimited."
_NOT_MEASURED = "How much it is now, nobody knows: no server could be measured."
_NOT_CLAIMED = "How much it is now is not known: Placement was not asked yet."


class _Used(NamedTuple):
    """What counts against a limit; ``words`` say why it is not known, or not all of it."""

    bytes: int | None
    as_of: int | None
    words: str = ""


def limits(call: Call, usages: Iterable[store.Usage]) -> Mapping[str, tuple[QuotaLimit, ...]]:
    """The limits of each project, by its id; none where no cloud is known that could have some."""
    if not call.service.nova:
        return {}
    found = list(usages)
    known = quota.of_projects(call.service.engine, call.who, [usage.project_id for usage in found])
    return {
        usage.project_id: tuple(
            _limit(name, usage, known, scheduler=call.service.scheduler_enforces)
            for name in SERVICE_TYPES
        )
        for usage in found
    }


def _limit(name: str, usage: store.Usage, known: quota.Quota, *, scheduler: bool) -> QuotaLimit:
    limit = known.limits.get((usage.project_id, name))
    used = _used(name, usage, known.claims.get(usage.project_id))
    is_set = limit is not None and limit.limit_gib != UNLIMITED
    if name == NOVA_DISK:
        enforced, how = _enforced(known.state, is_set), _ENFORCED
    else:
        enforced, how = scheduler and is_set and name == HOST_ALLOCATED, _STOPPED
    moments = [one for one in (known.state.limits_at, used.as_of) if one is not None]
    words = (_SUBJECTS[name], used.words, *_words(limit, known.state, enforced, how))
    return QuotaLimit(
        name=name,
        limit_gib=limit.limit_gib if limit is not None and is_set else None,
        used_bytes=used.bytes,
        enforced=enforced,
        meaning=" ".join(one for one in words if one),
        as_of=moment.time(min(moments)) if moments else None,
    )


def _enforced(state: quota.State, is_set: bool) -> bool | None:
    """Whether Nova refuses what goes beyond its limit."""
    if state.limits_at is not None and (not is_set or state.model != FLAT):
        return False
    return state.nova_enforces


def _words(
    limit: quota.Limit | None, state: quota.State, enforced: bool | None, how: str
) -> Iterable[str]:
    """:param how: what happens beyond a limit that is enforced."""
    if limit is None:
        yield _NOT_READ if state.limits_at is None else _NOT_SET
        return
    if limit.shared_gib is not None:
        yield f"All projects of its domain together may have {limit.shared_gib} GiB."
    if limit.limit_gib == UNLIMITED:
        yield _UNLIMITED
    elif enforced:
        yield how
    elif enforced is None:
        yield _PERHAPS
    else:
        yield _REPORTED


def _used(name: str, usage: store.Usage, claim: quota.Claim | None) -> _Used:
    if name == NOVA_DISK:
        if claim is None:
            return _Used(None, None, _NOT_CLAIMED)
        return _Used(claim.disk_gb * _GIB, claim.as_of)
    of_host = name == HOST_ALLOCATED
    measured = usage.host_measured if of_host else usage.guest_measured
    total = usage.sums.host_allocated_bytes if of_host else usage.sums.guest_used_bytes
    if measured == usage.instances:
        return _Used(total, usage.as_of)
    if measured == 0 and total == 0:
        return _Used(None, usage.as_of, _NOT_MEASURED)
    missing = usage.instances - measured
    return _Used(
        total,
        usage.as_of,
        f"It is at least that: {missing} of {usage.instances} servers could not be measured in "
        "full.",
    )
