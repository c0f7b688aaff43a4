# SPDX-License-Identifier: Apache-2.0
"""The contract between agent and central service: reports, their differences, and the chain.

A finished cycle is one :class:`State`, known by an id that is minted once; the id is the
generation, there is no other counter. A :class:`Report` carries a state, whole (``full``) or as
what changed since another one (``delta``), and names the state that it ``replaces``. Who
receives it decides by :func:`judge` alone, so order is the chain and never a clock.

Pure: no I/O, no clock. The rules are told in ``doc/source/protocol.rst``.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from typing import Any, Literal, TypeVar

import msgspec

from nova_diskaudit import record

_T = TypeVar("_T")

SCHEMA_VERSION = "1.0"
#: Bytes of a report, unpacked, that a service has to take.
MAX_REPORT_BYTES = 16 * 2**20
MAX_INSTANCES = 20_000

_MAX_INTEGER = 2**63 - 1
_MAX_NAME = 255
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ESCAPED_CONTROL = re.compile(rb"\\(?:[bfnrt]|u00[01])")
_CONTROLS = {code: "\N{REPLACEMENT CHARACTER}" for code in range(0x20)}


class ReportInvalid(ValueError):
    """A report that can never be taken; the message is one clause that may be shown."""


class Instance(record.Instance, frozen=True, kw_only=True):
    """An instance on the wire: ``as_of`` is None when it was renewed for this report.

    Likewise ``guest.checked_at``, if the guest has answered.
    """

    as_of: record.Time | None  # type: ignore[assignment]  # wider on the wire


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What one cycle found, by the id that it keeps for ever; instances are sorted by UUID."""

    id: str
    host: str
    as_of: record.Time
    storages: tuple[record.Storage, ...]
    findings: tuple[record.Finding, ...]
    instances: tuple[Instance, ...]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One message. ``gone`` and single instances make sense only on top of ``replaces``."""

    schema: str
    host: str
    agent: str
    id: str
    replaces: str | None
    kind: Literal["full", "delta"]
    as_of: record.Time
    sent_at: record.Time
    storages: tuple[record.Storage, ...]
    instances: tuple[Instance, ...]
    gone: tuple[str, ...]
    findings: tuple[record.Finding, ...] = ()


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What a service keeps of a host to judge the next report by."""

    report_id: str
    agent: str
    received_at: record.Time


class Replay(msgspec.Struct, frozen=True):
    """It is the current one already: success, nothing is written."""


class Held(msgspec.Struct, frozen=True):
    """Another agent speaks for this host."""

    retry_after_seconds: int


class ChainBroken(msgspec.Struct, frozen=True):
    """It was made on top of something else than what is current."""

    current: str | None


class Accepted(msgspec.Struct, frozen=True):
    """It is to be applied."""


Judgement = Replay | Held | ChainBroken | Accepted


def judge(
    row: Row | None,
    report: Report,
    *,
    now: datetime.datetime,
    takeover_after_seconds: float,
) -> Judgement:
    """The chain rule, in the order that makes it safe.

    :param row: what is known of the host; None when nothing is.
    :param now: the receiver's clock.
    :param takeover_after_seconds: silence after which another agent may speak for the host.
    """
    if row is not None:
        if row.report_id == report.id:
            return Replay()
        left = takeover_after_seconds - (now - row.received_at).total_seconds()
        if row.agent != report.agent and left > 0:
            return Held(int(left) + 1)
    current = row.report_id if row is not None else None
    return Accepted() if report.replaces == current else ChainBroken(current)


def state_of(report: record.HostReport, id: str) -> State:
    """The state that a cycle's report is; ``id`` is newly minted.

    What was renewed in this cycle loses its own time, so that an unchanged instance is equal to
    itself in the next state. Text of guests loses what a database could not store.
    """
    return State(
        id=id,
        host=report.host,
        as_of=report.as_of,
        storages=_clean(report.storages, tuple[record.Storage, ...]),
        findings=_clean(report.findings, tuple[record.Finding, ...]),
        instances=tuple(
            sorted(
                (_on_wire(instance, report.as_of) for instance in report.instances),
                key=lambda instance: instance.uuid,
            )
        ),
    )


def resolved(state: State) -> record.HostReport:
    """The state with every time set, as it is shown."""
    return record.HostReport(
        schema=record.SCHEMA_VERSION,
        host=state.host,
        as_of=state.as_of,
        storages=state.storages,
        instances=tuple(resolved_instance(one, state.as_of) for one in state.instances),
        findings=state.findings,
    )


def resolved_instance(instance: Instance, report_as_of: datetime.datetime) -> record.Instance:
    """An instance of a report with every time set."""
    fields = {name: getattr(instance, name) for name in record.Instance.__struct_fields__}
    guest = instance.guest
    if guest.state == "answered" and guest.checked_at is None:
        fields["guest"] = msgspec.structs.replace(guest, checked_at=report_as_of)
    if instance.as_of is None:
        fields["as_of"] = report_as_of
    return record.Instance(**fields)


def full(state: State, *, agent: str, replaces: str | None, sent_at: datetime.datetime) -> Report:
    """A report that carries everything."""
    return Report(
        schema=SCHEMA_VERSION,
        host=state.host,
        agent=agent,
        id=state.id,
        replaces=replaces,
        kind="full",
        as_of=state.as_of,
        sent_at=sent_at,
        storages=state.storages,
        instances=state.instances,
        gone=(),
        findings=state.findings,
    )


def delta(base: State, state: State, *, agent: str, sent_at: datetime.datetime) -> Report:
    """A report of what changed since ``base``, which the service has acknowledged."""
    known = {instance.uuid: instance for instance in base.instances}
    present = {instance.uuid for instance in state.instances}
    whole = full(state, agent=agent, replaces=base.id, sent_at=sent_at)
    return msgspec.structs.replace(
        whole,
        kind="delta",
        instances=tuple(i for i in state.instances if known.get(i.uuid) != i),
        gone=tuple(uuid for uuid in known if uuid not in present),
    )


def apply(base: State | None, report: Report) -> State:
    """The state that a report makes of the one it replaces.

    :raises ReportInvalid: for a delta on top of anything but what it names.
    """
    instances: dict[str, Instance] = {}
    if report.kind == "delta":
        if base is None or base.id != report.replaces:
            raise ReportInvalid("a delta on top of another state than it names")
        instances = {i.uuid: i for i in base.instances if i.uuid not in set(report.gone)}
    instances.update((i.uuid, i) for i in report.instances)
    return State(
        id=report.id,
        host=report.host,
        as_of=report.as_of,
        storages=report.storages,
        findings=report.findings,
        instances=tuple(instances[uuid] for uuid in sorted(instances)),
    )


def encode(report: Report) -> bytes:
    """The report as JSON."""
    return msgspec.json.encode(report)


def decode_report(data: bytes, *, path_host: str) -> Report:
    """A report as it was received, already unpacked and bounded in size.

    Fields that are not known are ignored: a newer minor schema has more.

    :param path_host: the host in the URL, which the body has to repeat.
    :raises ReportInvalid: with the reason.
    """
    if _has_controls(data):
        raise ReportInvalid("control characters (U+0000 to U+001F) are not allowed in text")
    try:
        report = msgspec.json.decode(data, type=Report)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise ReportInvalid(_short(f"not a report: {error}")) from None
    _check(report, path_host)
    return report


def _check(report: Report, path_host: str) -> None:
    if report.schema.partition(".")[0] != SCHEMA_VERSION.partition(".")[0]:
        raise ReportInvalid(f"schema {_short(report.schema)} is not {SCHEMA_VERSION}")
    if report.host != path_host:
        raise ReportInvalid("the host in the body is not the host in the URL")
    if not 0 < len(report.host) <= _MAX_NAME:
        raise ReportInvalid(f"a host name has 1 to {_MAX_NAME} characters")
    if len(report.instances) > MAX_INSTANCES:
        raise ReportInvalid(f"more than {MAX_INSTANCES} instances")
    ids = [report.agent, report.id, *([report.replaces] if report.replaces is not None else [])]
    ids += [instance.uuid for instance in report.instances]
    ids += report.gone
    if not all(_UUID.fullmatch(one) for one in ids):
        raise ReportInvalid("an id is not a UUID in lower case")
    if report.replaces == report.id:
        raise ReportInvalid("a report cannot replace itself")
    if report.kind == "full" and report.gone:
        raise ReportInvalid("a full report with 'gone'")
    if report.kind == "delta" and report.replaces is None:
        raise ReportInvalid("a delta that replaces nothing")
    uuids = [*(instance.uuid for instance in report.instances), *report.gone]
    if len(set(uuids)) != len(uuids):
        raise ReportInvalid("an instance occurs twice")
    if len({storage.identity for storage in report.storages}) != len(report.storages):
        raise ReportInvalid("a storage occurs twice")
    for instance in report.instances:
        if len({disk.target for disk in instance.disks}) != len(instance.disks):
            raise ReportInvalid(f"instance {instance.uuid}: a disk occurs twice")
        if not all(-_MAX_INTEGER - 1 <= number <= _MAX_INTEGER for number in _claims(instance)):
            raise ReportInvalid(f"instance {instance.uuid}: a number beyond 64 bits")


def _claims(instance: Instance) -> Iterator[int]:
    """Numbers that guests and libvirt give, which their type does not bound."""
    for filesystem in instance.filesystems:
        yield filesystem.used_bytes or 0
        yield filesystem.total_bytes or 0
    for disk in instance.disks:
        if disk.libvirt is not None:
            yield disk.libvirt.capacity or 0
            yield disk.libvirt.allocation or 0
            yield disk.libvirt.physical or 0


def _has_controls(data: bytes) -> bool:
    """Whether text in this JSON has a control character, which is always escaped there."""
    if b"\\" not in data:
        return False
    # Without the pairs, which are a backslash each, one that is left escapes what follows it.
    return _ESCAPED_CONTROL.search(data.replace(rb"\\", b"")) is not None


def _on_wire(instance: record.Instance, report_as_of: datetime.datetime) -> Instance:
    fields = {name: getattr(instance, name) for name in record.Instance.__struct_fields__}
    guest = instance.guest
    if guest.checked_at is not None and guest.checked_at >= report_as_of:
        fields["guest"] = msgspec.structs.replace(guest, checked_at=None)
    if instance.as_of >= report_as_of:
        fields["as_of"] = None
    return _clean(Instance(**fields), Instance)


def _clean(value: _T, type: type[_T]) -> _T:
    """The same without control characters, most often the very same."""
    data = msgspec.json.encode(value)
    if not _has_controls(data):
        return value
    return msgspec.convert(_without_controls(msgspec.to_builtins(value)), type)


def _without_controls(value: Any) -> Any:
    if isinstance(value, str):
        return value.translate(_CONTROLS)
    if isinstance(value, dict):
        return {key: _without_controls(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_controls(inner) for inner in value]
    return value


def _short(text: str) -> str:
    return text.translate(_CONTROLS)[:200]
