# SPDX-License-Identifier: Apache-2.0
"""``/v1/findings``."""

from __future__ import annotations

from nova_diskaudit import findings, protocol, record
from nova_diskaudit.api import discretion, errors, paging
from nova_diskaudit.api.call import Answer, Call
from nova_diskaudit.api.schemas.finding import Finding, Findings
from nova_diskaudit.store import body, moment
from nova_diskaudit.store import finding as store

# An id is its place in the list. "," occurs in none of its parts but the host's name.
_SEPARATOR = ","


def listed(call: Call) -> Answer:
    """Findings by code."""
    query, service = call.query, call.service
    if query.host is not None and not call.is_operator:
        raise errors.forbidden("only operators may ask for a host")
    filters = store.Filters(
        project_id=query.project_id,
        host=query.host,
        instance=query.instance,
        code=query.code,
        severity=query.severity,
        origin=query.origin,
    )
    try:
        found, more = store.listed(
            service.engine,
            call.who,
            filters,
            nova=service.nova,
            limit=paging.limit(call),
            marker=_key(call, query.marker) if query.marker is not None else None,
        )
    except store.MarkerUnknown:
        raise errors.bad_request("the marker is not a finding of this list") from None
    entries = tuple(_finding(call, one) for one in found)
    links = paging.links(call, more, entries[-1].id if entries else "")
    return Answer(Findings(findings=entries, findings_links=links))


def _finding(call: Call, found: store.Found) -> Finding:
    disks, message = _told(found)
    if not call.is_operator:
        message = discretion.message(found.code, message)
    entry = findings.CATALOGUE.get(found.code)
    host = found.host if call.is_operator else None
    return Finding(
        id=_SEPARATOR.join((found.code, found.uuid, found.origin, host or "")),
        code=found.code,
        severity=found.severity,  # type: ignore[arg-type]  # a text to the database
        origin=found.origin,
        message=message,
        action=entry.action if entry is not None else None,
        since=moment.time(found.since_at),
        host=host,
        instance=found.uuid or None,
        project_id=found.project_id,
        disks=disks,
    )


def _told(found: store.Found) -> tuple[tuple[str, ...], str]:
    """The disks that it is about, and its words."""
    if found.message is not None:
        return (), found.message
    if found.body is None:
        said = body.unpack(found.host_findings, tuple[record.Finding, ...])
        return (), _words(found.code, said)
    instance = body.unpack(found.body, protocol.Instance)
    about = [(disk, _words(found.code, disk.findings)) for disk in instance.disks]
    disks = tuple(disk.target for disk, words in about if words)
    words = _words(found.code, instance.findings)
    return disks, words or next((told for _, told in about if told), "")


def _words(code: str, said: tuple[record.Finding, ...]) -> str:
    return next((one.message for one in said if one.code == code), "")


def _key(call: Call, marker: str) -> store.Key:
    code, *rest = marker.split(_SEPARATOR, 3)
    if len(rest) != 3:
        raise errors.bad_request("the marker is not the id of a finding")
    uuid, origin, host = rest
    # No id that a tenant was given names a host, and no answer may tell whether there is one.
    if host and not call.is_operator:
        raise errors.bad_request("the marker is not a finding of this list")
    return store.Key(code=code, uuid=uuid, host=host or None, origin=origin)
