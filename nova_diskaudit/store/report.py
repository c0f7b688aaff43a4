# SPDX-License-Identifier: Apache-2.0
"""Taking a report: lock, judge, apply, in one transaction.

The chain (:func:`nova_diskaudit.protocol.judge`) decides; no clock orders anything. What a report
says is written only where it differs from what is there, so that a quiet host costs one row.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from nova_diskaudit import protocol, record
from nova_diskaudit.store import (
    body,
    enrollment,
    finding,
    host,
    moment,
    plausible,
    sighting,
    storage,
    transaction,
)

#: How often an attempt of a second agent is written down.
_CONTEST_EVERY_SECONDS = 60.0


class _Sums(NamedTuple):
    """Over all that is sighted on a host."""

    instances: int
    disks: int
    virtual_bytes: int
    host_allocated_bytes: int


class _Prepared(NamedTuple):
    """All that can be made of a report before anything is locked."""

    report: protocol.Report
    now: datetime.datetime
    received: int
    rows: list[dict[str, Any]]
    codes: Mapping[str, record.Severity]
    takeover_after_seconds: float
    enroll: str | None


def put(
    engine: sa.Engine,
    report: protocol.Report,
    *,
    now: datetime.datetime,
    takeover_after_seconds: float,
    enroll: str | None = None,
) -> protocol.Judgement:
    """Judge ``report``, and if it is accepted make its state the host's, durably.

    :param now: this service's clock.
    :param enroll: a credential that the first report of a host enrolls for it.
    :raises nova_diskaudit.store.enrollment.Enrolled: the host is not a new one.
    :raises protocol.ReportInvalid: for what no agent of ours says; nothing was written.
    :raises nova_diskaudit.store.errors.StoreError: nothing was written.
    """
    sane = _with_sane_times(report, now)
    received = moment.of(now)
    prepared = _Prepared(
        report=sane,
        now=now,
        received=received,
        rows=[sighting.row(instance, received=received) for instance in sane.instances],
        codes=sighting.codes(sane.findings),
        takeover_after_seconds=takeover_after_seconds,
        enroll=enroll,
    )
    return transaction.write(engine, lambda connection: _put(connection, prepared))


def _with_sane_times(report: protocol.Report, now: datetime.datetime) -> protocol.Report:
    """The report with no time later than the clocks may differ: that becomes ``now``."""
    latest = now + protocol.CLOCK_TOLERANCE
    if report.as_of > latest:
        report = msgspec.structs.replace(report, as_of=now)
    instances = tuple(_sane(instance, latest) for instance in report.instances)
    if any(new is not old for new, old in zip(instances, report.instances, strict=True)):
        report = msgspec.structs.replace(report, instances=instances)
    return report


def _sane(instance: protocol.Instance, latest: datetime.datetime) -> protocol.Instance:
    """A time that cannot be is as if it were not given: as of the report."""
    if instance.as_of is not None and instance.as_of > latest:
        instance = msgspec.structs.replace(instance, as_of=None)
    checked_at = instance.guest.checked_at
    if checked_at is not None and checked_at > latest:
        guest = msgspec.structs.replace(instance.guest, checked_at=None)
        instance = msgspec.structs.replace(instance, guest=guest)
    return instance


def _put(connection: sa.Connection, new: _Prepared) -> protocol.Judgement:
    report = new.report
    found = host.lock(connection, report.host)
    if new.enroll is not None and found is not None:
        raise enrollment.Enrolled(f"host {report.host} has reported before")
    row = None
    if found is not None:
        row = protocol.Row(
            report_id=found.report_id,
            agent=found.agent,
            received_at=moment.time(found.received_at),
        )
    judgement = protocol.judge(
        row, report, now=new.now, takeover_after_seconds=new.takeover_after_seconds
    )
    if isinstance(judgement, protocol.Held) and found is not None:
        _note_contest(connection, found, new)
    if isinstance(judgement, protocol.Accepted):
        _accept(connection, found, new)
    return judgement


def _accept(connection: sa.Connection, found: sa.Row[Any] | None, new: _Prepared) -> None:
    report = new.report
    chain = {
        "report_id": report.id,
        "agent": report.agent,
        "as_of": moment.of(report.as_of),
        "received_at": new.received,
    }
    if found is None:
        host_id = host.insert(connection, {"name": report.host, **chain, **_NOTHING_YET})
        if new.enroll is not None:
            enrollment.add(connection, new.enroll, report.host, at=new.received)
    else:
        host_id = found.id
    storage.replace(connection, host_id, report.storages)

    service_codes = set(found.service_codes.split()) if found is not None else set()
    before_service = frozenset(service_codes)
    messages: dict[str, str] = {}
    _judge_clock(new, service_codes, messages)
    if found is not None:
        _judge_contest(found, new, service_codes)
    sums: Mapping[str, int] = {}
    if found is None or report.kind == "full" or report.instances or report.gone:
        held, sums = _apply(connection, host_id, new)
        _judge_held(report, held, service_codes, messages)

    finding.replace(
        connection,
        host_id,
        "agent",
        [
            finding.Change(
                uuid=finding.HOST,
                before=frozenset(found.codes.split() if found is not None else ()),
                now=new.codes,
            )
        ],
        received=new.received,
    )
    finding.replace(
        connection,
        host_id,
        "reconcile",
        [
            finding.Change(
                uuid=finding.HOST,
                before=before_service,
                now={code: finding.severity(code) for code in service_codes},
                messages=messages,
            )
        ],
        received=new.received,
    )
    renewed = {
        **chain,
        **sums,
        "reports": (found.reports if found is not None else 0) + 1,
        "codes": sighting.words(new.codes),
        "service_codes": sighting.words(service_codes),
        "findings": body.pack(body.encode(report.findings)),
    }
    expected = report.id if found is None else found.report_id
    if not host.renew(connection, host_id, expected, renewed):
        raise transaction.Again(f"another report of {report.host} was first")


#: Of a host of which nothing is known; :func:`_accept` renews it in the same transaction.
_NOTHING_YET = {
    "codes": "",
    "service_codes": "",
    "findings": body.pack(body.encode(())),
    **_Sums(0, 0, 0, 0)._asdict(),
}


def _apply(
    connection: sa.Connection, host_id: int, new: _Prepared
) -> tuple[dict[str, int], Mapping[str, int]]:
    """Write what differs. What is held now by storage, and the sums over all instances."""
    report = new.report
    known = sighting.known(connection, host_id)
    changed = [
        row
        for row in new.rows
        if row["uuid"] not in known or known[row["uuid"]].digest != row["digest"]
    ]
    if report.kind == "full":
        gone = known.keys() - {row["uuid"] for row in new.rows}
    else:
        gone = known.keys() & set(report.gone)
    sighting.put(connection, host_id, changed)
    sighting.remove(connection, host_id, gone)
    resized = [
        row["uuid"]
        for row in changed
        if row["uuid"] not in known or known[row["uuid"]].virtual_bytes != row["virtual_bytes"]
    ]
    plausible.judge(connection, resized, received=new.received, host_id=host_id)

    instances = {instance.uuid: instance for instance in report.instances}
    changes = [
        finding.Change(
            uuid=row["uuid"],
            before=_codes_of(known.get(row["uuid"])),
            now=sighting.instance_codes(instances[row["uuid"]]),
        )
        for row in changed
        if row["uuid"] not in known or known[row["uuid"]].codes != row["codes"]
    ]
    finding.replace(connection, host_id, "agent", changes, received=new.received)
    finding.forget(connection, host_id, gone)

    for uuid in gone:
        del known[uuid]
    for row in changed:
        known[row["uuid"]] = sighting.Known(*(row[name] for name in sighting.Known._fields))
    held: dict[str, int] = {}
    for one in known.values():
        for key, number in sighting.held_by_storage(one.held).items():
            held[key] = held.get(key, 0) + number
    sums = _Sums(
        instances=len(known),
        disks=sum(one.disks for one in known.values()),
        virtual_bytes=sighting.bounded(sum(one.virtual_bytes for one in known.values())),
        host_allocated_bytes=sighting.bounded(
            sum(one.host_allocated_bytes for one in known.values())
        ),
    )
    return held, sums._asdict()


def _codes_of(known: sighting.Known | None) -> frozenset[str]:
    return frozenset(known.codes.split()) if known is not None else frozenset()


# --- what this service finds -----------------------------------------------------------------


def _judge_clock(new: _Prepared, codes: set[str], messages: dict[str, str]) -> None:
    """``sent_at`` is stamped at each attempt, so it shows the agent's clock."""
    ahead = new.report.sent_at - new.now
    if abs(ahead) <= protocol.CLOCK_TOLERANCE:
        codes.discard("clock-skew")
        return
    codes.add("clock-skew")
    direction = "ahead" if ahead > datetime.timedelta() else "behind"
    messages["clock-skew"] = finding.message(
        "clock-skew", f"{abs(ahead).total_seconds():.0f} s {direction}"
    )


def _judge_held(
    report: protocol.Report,
    held: Mapping[str, int],
    codes: set[str],
    messages: dict[str, str],
) -> None:
    """A filesystem cannot hold more than it is large."""
    codes.discard("host-claim-implausible")
    for one in report.storages:
        number = held.get(storage.key(one.identity), 0)
        if one.total_bytes is not None and number > one.total_bytes:
            codes.add("host-claim-implausible")
            messages["host-claim-implausible"] = finding.message(
                "host-claim-implausible",
                f"disks on {one.path} hold {number} of {one.total_bytes} bytes",
            )


def _judge_contest(found: sa.Row[Any], new: _Prepared, codes: set[str]) -> None:
    """Once the other agent has been silent for as long as it takes to take over, it is past."""
    if found.contested_at is None:
        return
    silent = (new.received - found.contested_at) / 1e6
    if silent > new.takeover_after_seconds:
        codes.discard("two-agents-one-host")


def _note_contest(connection: sa.Connection, found: sa.Row[Any], new: _Prepared) -> None:
    last = found.contested_at
    if last is not None and (new.received - last) / 1e6 < _CONTEST_EVERY_SECONDS:
        return
    before = frozenset(found.service_codes.split())
    code = "two-agents-one-host"
    words = finding.message(code, f"agents {found.agent} and {new.report.agent}")
    change = finding.Change(
        uuid=finding.HOST,
        before=before,
        now={one: finding.severity(one) for one in before | {code}},
        messages={code: words},
    )
    finding.replace(connection, found.id, "reconcile", [change], received=new.received)
    noted = {"contested_at": new.received, "service_codes": sighting.words(before | {code})}
    host.renew(connection, found.id, found.report_id, noted)
