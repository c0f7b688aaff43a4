# SPDX-License-Identifier: Apache-2.0
"""Small states to speak about, and everything that a service has to refuse."""

from __future__ import annotations

import copy
import datetime
import json
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from nova_diskaudit import protocol, record

NOON = datetime.datetime(2026, 11, 23, 12, 0, tzinfo=datetime.UTC)
AGENT = "a0000000-0000-4000-8000-000000000001"
OTHER_AGENT = "a0000000-0000-4000-8000-000000000002"


def new_id() -> str:
    return str(uuid.uuid4())


def uuid_of(number: int) -> str:
    """The instance of this number."""
    return f"00000000-0000-4000-8000-{number:012x}"


def disk(target: str = "vda", **known: Any) -> record.Disk:
    fields: dict[str, Any] = dict.fromkeys(record.Disk.__struct_fields__)
    fields |= {
        "target": target,
        "kind": "local",
        "storage": "file",
        "identity": f"file:{target}",
        "virtual_bytes": 2**30,
        "host_allocated_bytes": 2**20,
        "used": record.Used(bytes=None, low=0, high=2**30, basis="none"),
        "reclaimable": record.Reclaimable(low=0, high=None, estimate=None, how="none"),
        "findings": (),
    }
    return record.Disk(**(fields | known))


def instance(number: int, mark: str = "", **known: Any) -> protocol.Instance:
    """An instance that ``mark`` tells from other states of it."""
    fields: dict[str, Any] = dict.fromkeys(record.Instance.__struct_fields__)
    fields |= {
        "uuid": uuid_of(number),
        "domain": f"instance-{number:08x}{mark}",
        "state": "running",
        "guest": record.Guest(state="answered", as_of=NOON),
        "filesystems": (),
        "findings": (),
        "disks": (
            disk(libvirt=record.LibvirtTriple(capacity=1, allocation=None, physical=0, as_of=NOON)),
        ),
    }
    return protocol.Instance(**(fields | known))


def storage(identity: str = "fsid:1") -> record.Storage:
    fields: dict[str, Any] = dict.fromkeys(record.Storage.__struct_fields__)
    fields |= {"identity": identity, "kind": "local", "path": "/srv", "virtual_sum_bytes": 0}
    return record.Storage(**(fields | {"leftovers": (), "findings": ()}))


def state(
    marks: Mapping[int, str] | int = 2,
    *,
    host: str = "compute-1",
    as_of: datetime.datetime = NOON,
    id: str | None = None,
) -> protocol.State:
    """A state of some instances: so many, or those of these numbers with their marks."""
    if isinstance(marks, int):
        marks = dict.fromkeys(range(marks), "")
    return protocol.State(
        id=id or new_id(),
        host=host,
        as_of=as_of,
        storages=(storage(),),
        findings=(),
        instances=tuple(instance(number, marks[number]) for number in sorted(marks)),
    )


def full(state: protocol.State, replaces: str | None = None, agent: str = AGENT) -> protocol.Report:
    return protocol.full(state, agent=agent, replaces=replaces, sent_at=state.as_of)


def delta(base: protocol.State, state: protocol.State, agent: str = AGENT) -> protocol.Report:
    return protocol.delta(base, state, agent=agent, sent_at=state.as_of)


# --- what has to be refused ------------------------------------------------------------------


def document(report: protocol.Report) -> dict[str, Any]:
    """The report as its JSON, to be spoilt."""
    found: dict[str, Any] = json.loads(protocol.encode(report))
    return found


Spoil = Callable[[dict[str, Any]], object]


def _set(path: str, value: Any) -> Spoil:
    def spoil(report: dict[str, Any]) -> None:
        place: Any = report
        *words, last = path.split(".")
        for word in words:
            place = place[int(word) if word.isdigit() else word]
        place[int(last) if last.isdigit() else last] = value

    return spoil


def _twice(path: str) -> Spoil:
    return lambda report: report[path].append(copy.deepcopy(report[path][0]))


def _disk_twice(report: dict[str, Any]) -> None:
    report["instances"][0]["disks"] *= 2


def _delta(**changed: Any) -> Spoil:
    return lambda report: report.update({"kind": "delta", "replaces": new_id()} | changed)


NAIVE, OFFSET = "2026-11-23T12:00:00", "2026-11-23T12:00:00+01:00"

#: Well-formed JSON of a report that is none, by what is wrong.
SPOILT: dict[str, Spoil] = {
    "no id": lambda report: report.pop("id"),
    "id is no uuid": _set("id", "1"),
    "id in upper case": lambda report: report.update(id=report["id"].upper() + ""),
    "id without hyphens": lambda report: report.update(id=report["id"].replace("-", "")),
    "agent is no uuid": _set("agent", "compute-1"),
    "replaces is no uuid": _set("replaces", ""),
    "replaces itself": lambda report: report.update(replaces=report["id"]),
    "other major schema": _set("schema", "2.0"),
    "no schema": _set("schema", ""),
    "schema is no version": _set("schema", "1.x"),
    "unknown kind": _set("kind", "partial"),
    "other host": _set("host", "compute-2"),
    "host is no text": _set("host", 7),
    "full with gone": _set("gone", [uuid_of(9)]),
    "delta of nothing": _delta(replaces=None),
    "gone is no uuid": _delta(gone=["x"]),
    "gone twice": _delta(gone=[uuid_of(9), uuid_of(9)]),
    "gone and there": _delta(gone=[uuid_of(0)]),
    "instance twice": _twice("instances"),
    "instance is no uuid": _set("instances.0.uuid", "instance-1"),
    "storage twice": _twice("storages"),
    "disk twice": _disk_twice,
    "naive as_of": _set("as_of", NAIVE),
    "naive sent_at": _set("sent_at", NAIVE),
    "naive time of an instance": _set("instances.0.as_of", NAIVE),
    "naive time of a guest": _set("instances.0.guest.as_of", NAIVE),
    "naive time of a check": _set("instances.0.guest.checked_at", NAIVE),
    "naive time of evidence": _set("instances.0.disks.0.libvirt.as_of", NAIVE),
    "time of another zone": _set("as_of", OFFSET),
    "time of long ago": _set("as_of", "0001-01-01T00:00:00Z"),
    "time is a number": _set("as_of", 1_700_000_000),
    "time is a day": _set("as_of", "2026-11-23"),
    "negative bytes": _set("instances.0.disks.0.host_allocated_bytes", -1),
    "bytes as text": _set("instances.0.disks.0.host_allocated_bytes", "7"),
    "bytes with a fraction": _set("instances.0.disks.0.host_allocated_bytes", 7.5),
    "bytes is true": _set("instances.0.disks.0.host_allocated_bytes", True),
    "2^63": _set("instances.0.disks.0.host_allocated_bytes", 2**63),
    "2^63 of a claim": _set("instances.0.disks.0.libvirt.capacity", 2**63),
    "2^64 of a claim": _set("instances.0.disks.0.libvirt.capacity", 2**64),
    "-2^63-1 of a claim": _set("instances.0.disks.0.libvirt.capacity", -(2**63) - 1),
    "U+0000 in a name": _set("instances.0.domain", "a\0b"),
    "U+001F in a name": _set("instances.0.domain", "a\x1fb"),
    "newline in a name": _set("instances.0.domain", "a\nb"),
    "tab after a backslash": _set("instances.0.domain", "a\\\tb"),
    "control in the host": _set("host", "compute\x01"),
    "control in a field nobody knows": _set("new", "\x00"),
    "null for a list": _set("instances", None),
    "list for an object": _set("instances.0", []),
}

_GOOD = b'"kind":"full"'

#: (what is replaced, by what): text that is no report, and no JSON either.
MANGLED: dict[str, tuple[bytes, bytes]] = {
    "NaN": (b'"virtual_sum_bytes":0', b'"virtual_sum_bytes":NaN'),
    "Infinity": (b'"virtual_sum_bytes":0', b'"virtual_sum_bytes":Infinity'),
    "1e400": (b'"virtual_sum_bytes":0', b'"virtual_sum_bytes":1e400'),
    "1e3": (b'"virtual_sum_bytes":0', b'"virtual_sum_bytes":1e3'),
    "hundred digits": (b'"virtual_sum_bytes":0', b'"virtual_sum_bytes":' + b"9" * 100),
    "million digits": (b'"virtual_sum_bytes":0', b'"virtual_sum_bytes":' + b"9" * 10**6),
    "million digits nobody knows": (_GOOD, _GOOD + b',"new":' + b"9" * 10**6),
    "2^63 nobody knows": (_GOOD, _GOOD + b',"new":9223372036854775808'),
    "lone surrogate": (b'"path":"/srv"', b'"path":"\\ud800"'),
    "lone second surrogate": (b'"path":"/srv"', b'"path":"a\\udc00b"'),
    "surrogate as UTF-8": (b'"path":"/srv"', b'"path":"\xed\xa0\x80"'),
    "no UTF-8": (b'"path":"/srv"', b'"path":"\xff"'),
    "no UTF-8 where nobody looks": (_GOOD, _GOOD + b',"new":"\xff"'),
    "raw control": (b'"path":"/srv"', b'"path":"/\x01srv"'),
    "raw newline": (b'"path":"/srv"', b'"path":"/\nsrv"'),
    "escaped U+0000": (b'"path":"/srv"', b'"path":"\\u0000"'),
    "escaped U+001f": (b'"path":"/srv"', b'"path":"\\u001F"'),
    "equal keys": (_GOOD, _GOOD + b',"kind":"full"'),
    "equal keys by an escape": (_GOOD, _GOOD + b',"\\u006bind":"delta"'),
    "equal keys inside": (b'"virtual_sum_bytes":0', b'"virtual_sum_bytes":0,"path":"/"'),
    "equal keys nobody knows": (_GOOD, _GOOD + b',"new":{"a":1,"a":1}'),
    "deep": (_GOOD, _GOOD + b',"new":' + b"[" * 200_000 + b"]" * 200_000),
    "deep objects": (_GOOD, _GOOD + b',"new":' + b'{"a":' * 200_000 + b"1" + b"}" * 200_000),
    "million objects": (_GOOD, _GOOD + b',"new":[' + b"{}," * 10**6 + b"{}]"),
    "comment": (_GOOD, _GOOD + b"/* */"),
    "trailing comma": (b'"findings":[]}', b'"findings":[],}'),
    "cut": (b'"findings":[]}', b""),
    "more": (b'"gone":[]', b'"gone":[]}{'),
}

#: Whole bodies.
NO_REPORTS: dict[str, bytes] = {
    "nothing": b"",
    "null": b"null",
    "text": b'"report"',
    "list": b"[]",
    "object": b"{}",
    "byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": "{}".encode("utf-16"),
    "zeroes": bytes(1000),
    "brackets": b"[" * 10**6,
    "quotes": b'"' * 10**6,
    "backslashes": b'"' + b"\\" * 10**6 + b'"',
}


def bad_bodies(report: protocol.Report) -> dict[str, bytes]:
    """Everything above, made from a good report of ``compute-1``."""
    good = protocol.encode(report)
    bodies = dict(NO_REPORTS)
    for name, spoil in SPOILT.items():
        spoilt = document(report)
        spoil(spoilt)
        bodies[name] = json.dumps(spoilt).encode()
    for name, (old, new) in MANGLED.items():
        assert good.count(old) >= 1, name
        bodies[name] = good.replace(old, new, 1) if name != "cut" else good[: -len(old)]
    return bodies


BAD = sorted([*SPOILT, *MANGLED, *NO_REPORTS])
