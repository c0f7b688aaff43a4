# SPDX-License-Identifier: Apache-2.0
"""``/v1/instances``."""

from __future__ import annotations

from typing import Any

import msgspec

from nova_diskaudit.api import discretion, errors, paging
from nova_diskaudit.api.call import Answer, Call
from nova_diskaudit.api.schemas import common
from nova_diskaudit.api.schemas.instance import Instance, Instances, Sighting, Totals
from nova_diskaudit.store import finding, moment, trust
from nova_diskaudit.store import instance as store


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
        rows, more = store.listed(service.engine, call.who, filters, page, nova=service.nova)
    except store.MarkerUnknown:
        raise errors.bad_request("the marker is not an instance of this list") from None
    instances = _instances(call, rows)
    links = paging.links(call, more, rows[-1].uuid if rows else "")
    if fields is None:
        return Answer(Instances(instances=instances, instances_links=links))
    chosen = [_only(one, fields) for one in instances]
    return Answer({"instances": chosen, "instances_links": links})


def shown(call: Call) -> Answer:
    """One instance; operators see where else it is sighted."""
    uuid, service = call.path["uuid"], call.service
    fields = _wanted(call.query.fields)
    row = store.shown(service.engine, call.who, uuid, nova=service.nova)
    if row is None:
        raise errors.not_found("no such instance, or none that you may see")
    instance = _instances(call, [row])[0]
    if call.is_operator:
        others = store.others(service.engine, uuid, nova=service.nova)
        instance = msgspec.structs.replace(
            instance, other_sightings=tuple(_sighting(one) for one in others)
        )
    return Answer(instance if fields is None else _only(instance, fields))


def _wanted(words: str | None) -> frozenset[str] | None:
    return None if words is None else frozenset(words.split(","))


def _only(instance: Instance, fields: frozenset[str]) -> dict[str, Any]:
    chosen = {
        name: getattr(instance, name) for name in Instance.__struct_fields__ if name in fields
    }
    return {name: value for name, value in chosen.items() if value is not msgspec.UNSET}


def _instances(call: Call, rows: list[store.Believed]) -> tuple[Instance, ...]:
    with_own = [(row.host_id, row.uuid) for row in rows if row.service_codes]
    own = finding.own(call.service.engine, with_own)
    return tuple(_instance(call, row, own.get((row.host_id, row.uuid), [])) for row in rows)


def _instance(call: Call, row: store.Believed, own: list[finding.Own]) -> Instance:
    said = row.reported()
    operator = call.is_operator
    found = common.findings(said.findings, own)
    if not operator:
        found = tuple(
            msgspec.structs.replace(one, message=discretion.message(one.code, one.message))
            for one in found
        )
    word = trust.word(row.rank)
    return Instance(
        uuid=row.uuid,
        name=row.name,
        project_id=row.project_id,
        user_id=row.user_id if call.service.nova else said.user_id,
        claimed_project_id=said.project_id if operator else None,
        host=row.host if operator else None,
        domain=said.domain if operator else None,
        verified=word == "verified",
        trust=word,
        state=said.state,
        flavor=said.flavor,
        as_of=said.as_of,
        received_at=moment.time(row.received_at),
        since=moment.time(row.since_at),
        totals=Totals(**{name: getattr(row, name) for name in Totals.__struct_fields__}),
        guest=said.guest,
        filesystems=said.filesystems,
        findings=found,
        disks=said.disks if operator else tuple(map(discretion.disk, said.disks)),
    )


def _sighting(other: store.Other) -> Sighting:
    return Sighting(
        host=other.host,
        trust=trust.word(other.rank),
        as_of=moment.time(other.as_of),
        since=moment.time(other.since_at),
        host_allocated_bytes=other.host_allocated_bytes,
    )
