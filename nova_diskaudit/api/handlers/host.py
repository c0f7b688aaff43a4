# SPDX-License-Identifier: Apache-2.0
"""``/v1/hosts``."""

from nova_diskaudit import record
from nova_diskaudit.api import errors, paging
from nova_diskaudit.api.call import Answer, Call
from nova_diskaudit.api.schemas import common
from nova_diskaudit.api.schemas.host import Host, Hosts
from nova_diskaudit.store import body, finding, moment
from nova_diskaudit.store import host as store


def listed(call: Call) -> Answer:
    """Hosts by name."""
    engine = call.service.engine
    known, more = store.listed(engine, limit=paging.limit(call), marker=call.query.marker)
    hosts = _hosts(call, known)
    last = known[-1].name if known else ""
    return Answer(Hosts(hosts=hosts, hosts_links=paging.links(call, more, last)))


def shown(call: Call) -> Answer:
    """One host."""
    name = call.path["host"]
    known = store.shown(call.service.engine, name)
    if known is None:
        raise errors.not_found("no such host has reported")
    return Answer(_hosts(call, [known])[0])


def _hosts(call: Call, known: list[store.Known]) -> tuple[Host, ...]:
    with_own = [(one.id, finding.HOST) for one in known if one.service_codes]
    own = finding.own(call.service.engine, with_own)
    return tuple(_host(one, own.get((one.id, finding.HOST), [])) for one in known)


def _host(known: store.Known, own: list[finding.Own]) -> Host:
    return Host(
        name=known.name,
        report_id=known.report_id,
        agent=known.agent,
        as_of=moment.time(known.as_of),
        received_at=moment.time(known.received_at),
        instances=known.instances,
        disks=known.disks,
        virtual_bytes=known.virtual_bytes,
        host_allocated_bytes=known.host_allocated_bytes,
        storages=tuple(body.unpack(data, record.Storage) for data in known.storages),
        findings=common.findings(body.unpack(known.findings, tuple[record.Finding, ...]), own),
    )
