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
import json
import re
import zlib
from collections.abc import Iterator
from typing import Any, ClassVar, Literal, TypeVar

import msgspec

from nova_diskaudit import record

_T = TypeVar("_T")

SCHEMA_VERSION = "1.0"
#: Bytes of a report, packed and unpacked, that a service has to take.
MAX_REPORT_BYTES = 16 * 2**20
MAX_INSTANCES = 20_000
MAX_HOST_CHARACTERS = 255
#: How far ahead of the receiver's a sender's clock may be.
CLOCK_TOLERANCE = datetime.timedelta(seconds=60)

# Far above what a report of MAX_REPORT_BYTES holds: a disk takes 700 bytes, with 40 values and
# 5 lists and objects. JSON text that is nothing but brackets takes 25 times its size in memory.
_MAX_VALUES = 1_500_000
_MAX_NESTS = 500_000
# What a signed integer of 64 bits holds, which is what databases have.
_INTEGERS = range(-(2**63), 2**63)
_EARLIEST = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SCHEMAS = re.compile(r"1\.[0-9]{1,6}")
_ESCAPED_CONTROL = re.compile(rb"\\(?:[bfnrt]|u00[01])")
_LONG_NUMBER = re.compile(rb"[0-9]{19}")
# Left as they are while the rest of a record is taken apart.
_TIMES = (datetime.datetime,)
# The pictures that Unicode has of them, so that different text stays different.
_PICTURES = {code: chr(0x2400 + code) for code in range(0x20)}


class ReportInvalid(ValueError):
    """A report that can never be taken; the message is one clause that may be shown.

    ``status`` is that of the answer.
    """

    status: ClassVar[int] = 400


class ReportTooLarge(ReportInvalid):
    """It has more bytes than :data:`MAX_REPORT_BYTES`, as sent or unpacked."""

    status = 413


class EncodingUnknown(ReportInvalid):
    """It is packed in a way that nobody agreed on."""

    status = 415


class Instance(record.Instance, frozen=True, kw_only=True):
    """An instance on the wire: ``as_of`` is None when it was renewed for this report.

    Likewise ``guest.checked_at``, if the guest has answered.
    """

    as_of: datetime.datetime | None  # type: ignore[assignment]  # wider on the wire


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What one cycle found, by the id that it keeps for ever; instances are sorted by UUID."""

    id: str
    host: str
    as_of: datetime.datetime
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
    as_of: datetime.datetime
    sent_at: datetime.datetime
    storages: tuple[record.Storage, ...]
    instances: tuple[Instance, ...]
    gone: tuple[str, ...]
    findings: tuple[record.Finding, ...] = ()


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What a service keeps of a host to judge the next report by."""

    report_id: str
    agent: str
    received_at: datetime.datetime


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


def stored_as_of(report: Report, received_at: datetime.datetime) -> datetime.datetime:
    """The time that a report's facts are kept with: none that has not come yet."""
    early = report.as_of <= received_at + CLOCK_TOLERANCE
    return report.as_of if early else received_at


def state_of(report: record.HostReport, id: str) -> State:
    """The state that a cycle's report is; ``id`` is newly minted.

    What was renewed in this cycle loses its own time, so that an unchanged instance is equal to
    itself in the next state. Text and numbers that no database could keep, which come from guests
    and file names, are made into some that it can: the state of one bad name must not cost the
    report of a whole host.
    """
    return State(
        id=id,
        host=_sendable(report.host, str),
        as_of=report.as_of,
        storages=_sendable(report.storages, tuple[record.Storage, ...]),
        findings=_sendable(report.findings, tuple[record.Finding, ...]),
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
        # An answer is later than the beginning of the cycle that got it.
        checked_at = max(report_as_of, guest.as_of or report_as_of)
        fields["guest"] = msgspec.structs.replace(guest, checked_at=checked_at)
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
        gone = set(report.gone)
        instances = {i.uuid: i for i in base.instances if i.uuid not in gone}
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


def unpack(body: bytes, encoding: str = "") -> bytes:
    """A body as it came, without its ``Content-Encoding``; never more than a report may have.

    :raises ReportTooLarge: found out before more than that was unpacked.
    :raises EncodingUnknown: for anything but gzip.
    :raises ReportInvalid: for gzip that is damaged.
    """
    encoding = encoding.strip().lower()
    if encoding in ("gzip", "x-gzip"):
        unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
        try:
            data = unpacker.decompress(body, MAX_REPORT_BYTES + 1)
        except zlib.error:
            raise ReportInvalid("not gzip") from None
        if len(data) <= MAX_REPORT_BYTES and (not unpacker.eof or unpacker.unused_data):
            raise ReportInvalid("not one whole stream of gzip")
    elif encoding in ("", "identity"):
        data = body
    else:
        raise EncodingUnknown("Content-Encoding: only gzip is known")
    if len(data) > MAX_REPORT_BYTES:
        raise ReportTooLarge(f"more than {MAX_REPORT_BYTES} bytes")
    return data


def decode_report(data: bytes, *, path_host: str) -> Report:
    """A report as it was received, already unpacked and bounded in size.

    Fields that are not known are ignored: a newer minor schema has more.

    :param path_host: the host in the URL, which the body has to repeat.
    :raises ReportInvalid: with the reason.
    """
    if _has_control(data):
        raise ReportInvalid("control characters (U+0000 to U+001F) are not allowed in text")
    try:
        data.decode()  # where nobody looks as well
        report = msgspec.json.decode(data, type=Report)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise ReportInvalid(_short(f"not a report: {error}")) from None
    # What we would have written ourselves has no key twice, and nothing but what the types know.
    if msgspec.json.encode(report) != data:
        _inspect(data)
    _check(report, path_host)
    return report


def _check(report: Report, path_host: str) -> None:
    if not _SCHEMAS.fullmatch(report.schema):
        raise ReportInvalid(f"schema {_short(report.schema)} is not {SCHEMA_VERSION}")
    if report.host != path_host:
        raise ReportInvalid("the host in the body is not the host in the URL")
    if not 0 < len(report.host) <= MAX_HOST_CHARACTERS:
        raise ReportInvalid(f"a host name has 1 to {MAX_HOST_CHARACTERS} characters")
    if len(report.instances) > MAX_INSTANCES or len(report.gone) > MAX_INSTANCES:
        raise ReportInvalid(f"more than {MAX_INSTANCES} instances")
    uuids = [*(instance.uuid for instance in report.instances), *report.gone]
    ids = [report.agent, report.id, *([] if report.replaces is None else [report.replaces])]
    if not all(is_id(one) for one in (*ids, *uuids)):
        raise ReportInvalid("an id is not a UUID in lower case")
    if report.replaces == report.id:
        raise ReportInvalid("a report cannot replace itself")
    if report.kind == "full" and report.gone:
        raise ReportInvalid("a full report with 'gone'")
    if report.kind == "delta" and report.replaces is None:
        raise ReportInvalid("a delta that replaces nothing")
    if len(set(uuids)) != len(uuids):
        raise ReportInvalid("an instance occurs twice")
    if len({storage.identity for storage in report.storages}) != len(report.storages):
        raise ReportInvalid("a storage occurs twice")
    for instance in report.instances:
        if len({disk.target for disk in instance.disks}) != len(instance.disks):
            raise ReportInvalid(f"instance {instance.uuid}: a disk occurs twice")
        if not all(number in _INTEGERS for number in _claims(instance)):
            raise ReportInvalid(f"instance {instance.uuid}: a number beyond 64 bits")
    for time in _times(report):
        if time.utcoffset() != datetime.timedelta(0):
            raise ReportInvalid("a time that is not UTC, or does not say so")
        if time < _EARLIEST:
            raise ReportInvalid("a time before 1970")


def is_id(text: str) -> bool:
    """Whether it is a UUID as they are written here: lower case, with hyphens."""
    return _UUID.fullmatch(text) is not None


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


def _times(report: Report) -> Iterator[datetime.datetime]:
    yield report.as_of
    yield report.sent_at
    for instance in report.instances:
        for time in (instance.as_of, instance.guest.as_of, instance.guest.checked_at):
            if time is not None:
                yield time
        for disk in instance.disks:
            if disk.libvirt is not None:
                yield disk.libvirt.as_of


def _has_control(data: bytes) -> bool:
    """Whether a string in this JSON text has a control character; they are always escaped.

    Escaped backslashes go first, for what follows them is no escape.
    """
    return b"\\" in data and _ESCAPED_CONTROL.search(data.replace(b"\\\\", b"")) is not None


def _inspect(data: bytes) -> None:
    """Refuse equal keys and numbers beyond 64 bits anywhere in this JSON text.

    Objects are given up as soon as their keys were seen, and what cannot be given up is counted
    before.
    """
    unescaped = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    if unescaped.count(b'"') > 2 * _MAX_VALUES:
        raise ReportInvalid(f"more than {_MAX_VALUES} strings")
    outside = b"".join(unescaped.split(b'"')[::2])
    if outside.count(b",") > _MAX_VALUES:
        raise ReportInvalid(f"more than {_MAX_VALUES} values")
    if outside.count(b"[") + outside.count(b"{") > _MAX_NESTS:
        raise ReportInvalid(f"more than {_MAX_NESTS} objects and lists")
    try:
        json.loads(data, object_pairs_hook=_close, parse_int=_number, parse_float=_fraction)
    except ReportInvalid:
        raise
    except (ValueError, RecursionError) as error:
        raise ReportInvalid(_short(f"not a report: {error}")) from None


def _close(pairs: list[tuple[str, None]]) -> None:
    if len(dict(pairs)) != len(pairs):
        raise ReportInvalid("a key occurs twice in one object")


def _number(digits: str) -> None:
    if len(digits) > 20 or int(digits) not in _INTEGERS:
        raise ReportInvalid("a number beyond 64 bits")


def _fraction(digits: str) -> None:
    """No field has one; where nobody looks it may stand."""


def _on_wire(instance: record.Instance, report_as_of: datetime.datetime) -> Instance:
    fields = {name: getattr(instance, name) for name in record.Instance.__struct_fields__}
    guest = instance.guest
    if guest.state == "answered":
        checked_at = guest.checked_at if guest.checked_at is not None else guest.as_of
        fresh = checked_at is not None and checked_at >= report_as_of
        fields["guest"] = msgspec.structs.replace(guest, checked_at=None if fresh else checked_at)
    if instance.as_of >= report_as_of:
        fields["as_of"] = None
    return _sendable(Instance(**fields), Instance)


def _sendable(value: _T, type: type[_T]) -> _T:
    """The same without what a receiver has to refuse, most often the very same."""
    try:
        data = msgspec.json.encode(value)
        if not _has_control(data) and not _LONG_NUMBER.search(data):
            return value
    except UnicodeEncodeError:
        pass  # a file name that is not UTF-8
    return msgspec.convert(_harmless(msgspec.to_builtins(value, builtin_types=_TIMES)), type)


def _harmless(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode().translate(_PICTURES)
    if isinstance(value, int) and not isinstance(value, bool):
        return max(_INTEGERS[0], min(value, _INTEGERS[-1]))
    if isinstance(value, dict):
        return {key: _harmless(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_harmless(inner) for inner in value]
    return value


def _short(text: str) -> str:
    return text.translate(_PICTURES)[:200]
