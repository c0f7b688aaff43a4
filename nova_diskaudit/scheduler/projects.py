# SPDX-License-Identifier: Apache-2.0
"""Which projects hold more than they may, by what can be believed."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from nova_diskaudit import limits
from nova_diskaudit.scheduler.snapshot import IMPLAUSIBLE, Ages, Moment, Time

if TYPE_CHECKING:
    from nova_diskaudit.sdk._proxy import DiskAuditProxy

# What storage holds: a guest's own word is nothing to refuse a server by.
_LIMIT = limits.HOST_ALLOCATED
_GIB = 2**30
_PAGE = 200
_FIELDS = "host,totals,findings"


class _Limit(msgspec.Struct):
    name: str
    limit_gib: int | None
    used_bytes: int | None


class _Usage(msgspec.Struct):
    project_id: str
    computed_at: Time
    limits: list[_Limit]


class _Finding(msgspec.Struct):
    code: str


class _Totals(msgspec.Struct):
    host_allocated_bytes: int


class _Instance(msgspec.Struct):
    host: str | None
    totals: _Totals
    findings: list[_Finding]


def past_limit(
    service: DiskAuditProxy, implausible: Collection[str], ages: Ages, now: Moment
) -> Iterator[tuple[str, float]]:
    """Projects past their limit, with the monotonic time at which their usage was added up.

    Only of those whose sum is too large the servers are looked at: what counts is verified, and
    not from a host of ``implausible`` nor with that finding of its own. One host that lies must
    not stop a project everywhere.

    :raises openstack.exceptions.SDKException: when the service does not answer.
    :raises keystoneauth1.exceptions.ClientException: the same.
    """
    for told in service.usages(limit=_PAGE):
        usage = _convert(told, _Usage)
        if usage is None:
            continue
        made_at = ages.made_at(("project", usage.project_id), usage.computed_at, now)
        for limit in usage.limits:
            if limit.name != _LIMIT or limit.limit_gib is None or limit.used_bytes is None:
                continue
            most = limit.limit_gib * _GIB
            if limit.used_bytes > most and _holds_more(
                service, usage.project_id, most, implausible
            ):
                yield usage.project_id, made_at


def _holds_more(
    service: DiskAuditProxy, project_id: str, most_bytes: int, implausible: Collection[str]
) -> bool:
    """Whether what can be believed of this project is more; the rest is then not looked at."""
    held = 0
    for told in service.instances(
        project_id=project_id, trust="verified", fields=_FIELDS, limit=_PAGE
    ):
        one = _convert(told, _Instance)
        if one is None or one.host in implausible:
            continue
        if any(found.code == IMPLAUSIBLE for found in one.findings):
            continue
        held += one.totals.host_allocated_bytes
        if held > most_bytes:
            return True
    return False


def _convert(told: Any, kind: Any) -> Any:
    """An entry as openstacksdk gives it; None when it has another form than documented."""
    try:
        return msgspec.convert(
            {name: getattr(told, name) for name in kind.__struct_fields__}, type=kind
        )
    except (msgspec.ValidationError, AttributeError):
        return None
