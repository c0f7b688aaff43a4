# SPDX-License-Identifier: Apache-2.0
"""``/v1/instances``."""

from __future__ import annotations

from typing import Any

import msgspec

from nova_diskaudit.api import discretion, errors, paging
from nova_diskaudit.api.call import Answer, Call
from nova_diskaudit.api.schemas import common
from nova_diskaudit.api.schemas.instance import Instance, Sighting, Totals
from nova_diskaudit.store import finding, moment, trust
from nova_diskaudit.store import instance as store

_ORDER = Instance.__struct_fields__
_ALL = frozenset(_ORDER)
#: What comes from the agent's words.
_TOLD = frozenset(
    {
        "claimed_project_id",
        "domain",
        "state",
        "flavor",
        "guest",
        "filesystems",
        "findings",
        "disks",
    }
)


def listed(call: Call) -> Answer:
    """Instances by UUID, or in another order."""
    query, service = call.query, call.service
    key, _, direction = query.sort.partition(":")
    fields = _wanted(query.fields)
    page = store.Page(
        limit=paging.limit(call),
        marker=query.marker,
        sort=key,
        descending=direction == "desc",
    )
    filters = store.Filters(
        project_id=query.project_id,
        host=query.host,
        finding=query.finding,
        min_reclaimable_bytes=query.min_reclaimable,
        trust=query.trust,
    )
    if query.host is not None and not call.is_operator:
        raise errors.forbidden("only operators may ask for a host")
    try:
        rows, more = store.listed(
            service.engine,
            call.who,
            filters,
            page,
            nova=service.nova,
            with_body=_needs_body(call, fields),
        )
    except store.MarkerUnknown:
        raise errors.bad_request("the marker is not an instance of this list") from None
    instances = _instances(call, rows, fields)
    links = paging.links(call, more, rows[-1].uuid if rows else "")
    return Answer({"instances": instances, "instances_links": links})


def shown(call: Call) -> Answer:
    """One instance; operators see where else it is sighted."""
    uuid, service = call.path["uuid"], call.service
    fields = _wanted(call.query.fields)
    row = store.shown(service.engine, call.who, uuid, nova=service.nova)
    if row is None:
        raise errors.not_found("no such instance, or none that you may see")
    instance = _instances(call, [row], fields)[0]
    if call.is_operator and "other_sightings" in fields:
        others = store.others(service.engine, uuid, nova=service.nova)
        instance["other_sightings"] = [_sighting(one) for one in others]
    return Answer(instance)


def _wanted(words: str | None) -> frozenset[str]:
    return _ALL if words is None else frozenset(words.split(","))


def _needs_body(call: Call, fields: frozenset[str]) -> bool:
    # Without Nova the domain's own word is taken for the user as for the project.
    return not fields.isdisjoint(_TOLD) or ("user_id" in fields and not call.service.nova)


def _instances(
    call: Call, rows: list[store.Believed], fields: frozenset[str]
) -> list[dict[str, Any]]:
    with_own = [(row.host_id, row.uuid) for row in rows if row.service_codes]
    own = finding.own(call.service.engine, with_own if "findings" in fields else ())
    needs_body = _needs_body(call, fields)
    instances = []
    for row in rows:
        values = _known(call, row)
        if needs_body:
            values |= _told(call, row, own.get((row.host_id, row.uuid), []))
        instances.append({name: values[name] for name in _ORDER if name in fields & values.keys()})
    return instances


def _known(call: Call, row: store.Believed) -> dict[str, Any]:
    """What the database itself knows."""
    word = trust.word(row.rank)
    return {
        "uuid": row.uuid,
        "name": row.name,
        "project_id": row.project_id,
        "user_id": row.user_id,
        "host": row.host if call.is_operator else None,
        "verified": word == "verified",
        "trust": word,
        "as_of": moment.time(row.as_of),
        "received_at": moment.time(row.received_at),
        "since": moment.time(row.since_at),
        "totals": Totals(**{name: getattr(row, name) for name in Totals.__struct_fields__}),
    }


def _told(call: Call, row: store.Believed, own: list[finding.Own]) -> dict[str, Any]:
    """What the agent says, as far as the caller may hear it."""
    said = row.reported()
    found = common.findings(said.findings, own)
    told = {
        "claimed_project_id": said.project_id,
        "domain": said.domain,
        "state": said.state,
        "flavor": said.flavor,
        "guest": said.guest,
        "filesystems": said.filesystems,
        "findings": found,
        "disks": said.disks,
    }
    if not call.service.nova:
        told["user_id"] = said.user_id
    if not call.is_operator:
        told |= {
            "claimed_project_id": None,
            "domain": None,
            "findings": tuple(
                msgspec.structs.replace(one, message=discretion.message(one.code, one.message))
                for one in found
            ),
            "disks": tuple(map(discretion.disk, said.disks)),
        }
    return told


def _sighting(other: store.Other) -> Sighting:
    return Sighting(
        host=other.host,
        trust=trust.word(other.rank),
        as_of=moment.time(other.as_of),
        since=moment.time(other.since_at),
        host_allocated_bytes=other.host_allocated_bytes,
    )
