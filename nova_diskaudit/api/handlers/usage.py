# SPDX-License-Identifier: Apache-2.0
"""``/v1/usages``."""

from __future__ import annotations

from nova_diskaudit.api import errors, paging
from nova_diskaudit.api.call import Answer, Call
from nova_diskaudit.api.handlers import quota
from nova_diskaudit.api.schemas.instance import Totals
from nova_diskaudit.api.schemas.usage import (
    Coverage,
    History,
    HistoryCoverage,
    Point,
    QuotaLimit,
    Reason,
    Usage,
    Usages,
)
from nova_diskaudit.store import history as store_history
from nova_diskaudit.store import moment, scope
from nova_diskaudit.store import usage as store

_UNASKED_LIMIT = 100


def listed(call: Call) -> Answer:
    """What projects hold: a reader's own, the one that an operator names, or all.

    One project is added up now; it has an entry even if nothing is known of it. A list of all is
    that of the last roll-up.
    """
    wanted = call.query.project_id
    if wanted is None and isinstance(call.who, scope.OfProject):
        wanted = call.who.project_id
    if wanted is None:
        found, more = store.listed(
            call.service.engine,
            call.who,
            limit=paging.limit(call, _UNASKED_LIMIT),
            marker=call.query.marker,
        )
    else:
        found, more = _one(call, wanted), False
    limits = quota.limits(call, found)
    usages = tuple(_usage(call, one, limits.get(one.project_id, ())) for one in found)
    links = paging.links(call, more, found[-1].project_id if found else "")
    return Answer(Usages(usages=usages, usages_links=links))


def history(call: Call) -> Answer:
    """The past of a project by hours, or of an instance by days.

    The points of a project tell of the instances that were observed within that hour.
    """
    query, engine = call.query, call.service.engine
    project_id = query.project_id
    if project_id is None and isinstance(call.who, scope.OfProject):
        project_id = call.who.project_id
    within = store_history.Range(start=query.start, end=query.end, marker=query.marker)
    limit = paging.limit(call)
    if query.instance is not None:
        found, more = store_history.of_instance(
            engine, call.who, query.instance, within, limit=limit, project_id=project_id
        )
    elif project_id is not None:
        found, more = store_history.of_project(engine, call.who, project_id, within, limit=limit)
    else:
        raise errors.bad_request("name a project_id or an instance")
    points = tuple(map(_point, found))
    last = points[-1].at.isoformat().replace("+00:00", "Z") if points else ""
    return Answer(
        History(
            interval="hour" if query.instance is None else "day",
            history=points,
            history_links=paging.links(call, more, last),
        )
    )


def _one(call: Call, project_id: str) -> list[store.Usage]:
    service, marker = call.service, call.query.marker
    if marker is not None and project_id <= marker:
        return []
    found = store.live(
        service.engine,
        call.who,
        project_id,
        nova=service.nova,
        now=service.now(),
        stale_after_seconds=service.stale_after_seconds,
    )
    return [found] if found is not None else []


def _usage(call: Call, found: store.Usage, limits: tuple[QuotaLimit, ...]) -> Usage:
    return Usage(
        project_id=found.project_id,
        verified=call.service.nova,
        as_of=moment.time(found.as_of) if found.as_of is not None else None,
        computed_at=moment.time(found.computed_at),
        totals=Totals(**found.sums._asdict()),
        coverage=Coverage(
            instances=found.instances,
            host_measured=found.host_measured,
            guest_measured=found.guest_measured,
            stale=found.stale,
            reasons=tuple(Reason(**one._asdict()) for one in found.reasons),
        ),
        limits=limits,
    )


def _point(found: store_history.Point) -> Point:
    return Point(
        at=moment.time(found.at),
        as_of=moment.time(found.as_of),
        totals=Totals(**found.sums._asdict()),
        coverage=HistoryCoverage(
            instances=found.instances,
            host_measured=found.host_measured,
            guest_measured=found.guest_measured,
        ),
    )
