# SPDX-License-Identifier: Apache-2.0
"""The words as data: sums that count what they do not know, and a schema that others can read."""

from __future__ import annotations

import datetime
import json
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nova_diskaudit import record
from nova_diskaudit.record import Disk, HostReport, Totals, json_schema, totals

NOW = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC)


def disk(
    identity: str | None = None,
    virtual: int | None = None,
    held: int | None = None,
    used: int | None = None,
    kind: record.Kind = "local",
) -> Disk:
    return Disk(
        target="vda",
        serial=None,
        kind=kind,
        storage="file",
        source=None,
        format="raw",
        identity=identity,
        storage_identity=None,
        virtual_bytes=virtual,
        host_allocated_bytes=held,
        host_allocated_source=None,
        container_bytes=None,
        high_water_bytes=None,
        backing_bytes=None,
        libvirt=None,
        guest_used_bytes=used,
        guest_total_bytes=None,
        used=record.Used(bytes=None, low=0, high=None, basis="none"),
        reclaimable=record.Reclaimable(low=0, high=None, estimate=None, how="none"),
        findings=(),
    )


def sums(
    disks: int, virtual: tuple[int, int], held: tuple[int, int], used: tuple[int, int]
) -> Totals:
    return Totals(
        disks=disks,
        virtual_bytes=virtual[0],
        virtual_unknown=virtual[1],
        host_allocated_bytes=held[0],
        host_allocated_unknown=held[1],
        guest_used_bytes=used[0],
        guest_used_unknown=used[1],
    )


@pytest.mark.parametrize(
    ("disks", "expected"),
    [
        ([], sums(0, (0, 0), (0, 0), (0, 0))),
        ([disk()], sums(1, (0, 1), (0, 1), (0, 1))),
        ([disk("a", 10, 5, 1)], sums(1, (10, 0), (5, 0), (1, 0))),
        # attached twice, counted once
        ([disk("a", 10, 5, 1), disk("a", 10, 5, 1)], sums(1, (10, 0), (5, 0), (1, 0))),
        # what the first does not know, the second may
        ([disk("a", None, 5), disk("a", 10, 7, 1)], sums(1, (10, 0), (5, 0), (1, 0))),
        # without an identity nobody can tell whether it is the same
        ([disk(None, 10), disk(None, 10)], sums(2, (20, 0), (0, 2), (0, 2))),
        ([disk("0", 10), disk(None, 10)], sums(2, (20, 0), (0, 2), (0, 2))),
        # 0 is known
        ([disk("a", 0, 0, 0), disk("a", 9, 9, 9)], sums(1, (0, 0), (0, 0), (0, 0))),
        # volumes are not local disks
        ([disk("a", 10, 5, 1, kind="volume")], sums(0, (0, 0), (0, 0), (0, 0))),
    ],
)
def test_totals(disks: list[Disk], expected: Totals) -> None:
    assert totals(disks) == expected


def test_totals_of_the_kinds_asked_for() -> None:
    disks = [disk("a", 1), disk("b", 2, kind="volume"), disk("c", 4, kind="config")]
    assert totals(disks, frozenset({"volume", "config"})).virtual_bytes == 6
    assert totals(disks, frozenset()).disks == 0


_amount = st.none() | st.integers(min_value=0, max_value=2**63)
_disks = st.lists(
    st.builds(
        disk,
        identity=st.none() | st.sampled_from("abc"),
        virtual=_amount,
        held=_amount,
        used=_amount,
        kind=st.sampled_from(["local", "volume", "config", "cdrom"]),
    ),
    max_size=8,
)


@given(_disks)
def test_every_counted_disk_is_in_each_sum_or_among_its_unknown(disks: list[Disk]) -> None:
    local = [d for d in disks if d.kind == "local"]
    found = totals(disks)
    named = {d.identity for d in local} - {None}
    assert found.disks == len(named) + sum(d.identity is None for d in local)
    for column, total, unknown in (
        ("virtual_bytes", found.virtual_bytes, found.virtual_unknown),
        ("host_allocated_bytes", found.host_allocated_bytes, found.host_allocated_unknown),
        ("guest_used_bytes", found.guest_used_bytes, found.guest_used_unknown),
    ):
        nameless = [getattr(d, column) for d in local if d.identity is None]
        sightings = [[getattr(d, column) for d in local if d.identity == i] for i in named]
        lost = sum(n is None for n in nameless)
        lost += sum(all(n is None for n in numbers) for numbers in sightings)
        assert unknown == lost
        known = [n for n in nameless if n is not None]
        known += [next(n for n in s if n is not None) for s in sightings if s != [None] * len(s)]
        assert total == sum(known)


# --- the report as JSON --------------------------------------------------------------------------

_bytes = st.integers(min_value=0, max_value=2**63 - 1)
_times = st.datetimes(
    min_value=datetime.datetime(2000, 1, 1),
    max_value=datetime.datetime(2100, 1, 1),
    timezones=st.just(datetime.UTC),
)
_text = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=12)
st.register_type_strategy(datetime.datetime, _times)


def _of(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of a field's type, within the bounds that the type declares."""
    shape = msgspec.inspect.type_info(kind)
    return _shaped(shape)


def _shaped(shape: Any) -> st.SearchStrategy[Any]:
    inspect = msgspec.inspect
    if isinstance(shape, inspect.Metadata):
        return _shaped(shape.type)
    if isinstance(shape, inspect.StructType):
        fields = {f.name: _shaped(f.type) for f in shape.fields}
        return st.builds(shape.cls, **fields)
    if isinstance(shape, inspect.UnionType):
        return st.one_of([_shaped(part) for part in shape.types])
    if isinstance(shape, inspect.VarTupleType):
        return st.lists(_shaped(shape.item_type), max_size=2).map(tuple)
    if isinstance(shape, inspect.LiteralType):
        return st.sampled_from(shape.values)
    if isinstance(shape, inspect.IntType):
        low = shape.ge if shape.ge is not None else -(2**63)
        return st.integers(min_value=low, max_value=2**63 - 1)
    simple: dict[Any, st.SearchStrategy[Any]] = {
        inspect.NoneType: st.none(),
        inspect.StrType: _text,
        inspect.BoolType: st.booleans(),
        inspect.DateTimeType: _times,
    }
    return simple[type(shape)]


REPORTS = _of(HostReport)
PATIENT = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@PATIENT
@given(REPORTS)
def test_a_report_comes_back_from_json_as_it_was(report: HostReport) -> None:
    text = msgspec.json.encode(report)
    assert msgspec.json.decode(text, type=HostReport) == report
    assert msgspec.json.encode(msgspec.json.decode(text, type=HostReport)) == text


@PATIENT
@given(REPORTS)
def test_the_schema_accepts_every_report(report: HostReport) -> None:
    jsonschema.Draft202012Validator(json_schema()).validate(json.loads(msgspec.json.encode(report)))


def test_the_schema_is_one_and_describes_every_field() -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    described = schema["$defs"]
    assert isinstance(described, dict)
    assert set(described["Disk"]["properties"]) == set(Disk.__struct_fields__)


def whole_report() -> dict[str, Any]:
    instance = record.Instance(
        uuid="u",
        domain="d",
        state="running",
        as_of=NOW,
        project_id=None,
        user_id=None,
        flavor=None,
        guest=record.Guest(state="answered"),
        filesystems=(),
        findings=(),
        disks=(disk("a", 10, 5, 1),),
    )
    report = HostReport(schema="1.0", host="h", as_of=NOW, storages=(), instances=(instance,))
    document: dict[str, Any] = json.loads(msgspec.json.encode(report))
    return document


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("virtual_bytes", -1),
        ("virtual_bytes", 1.5),
        ("virtual_bytes", "10"),
        ("kind", "floppy"),
        ("target", None),
        ("used", {"bytes": None, "low": -1, "high": None, "basis": "none"}),
        ("used", {"bytes": None, "low": 0, "high": None, "basis": "hope"}),
    ],
)
def test_schema_and_records_refuse_the_same(field: str, wrong: object) -> None:
    document = whole_report()
    validator = jsonschema.Draft202012Validator(json_schema())
    validator.validate(document)
    document["instances"][0]["disks"][0][field] = wrong
    assert not validator.is_valid(document)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(document, type=HostReport)


def test_times_are_written_in_utc() -> None:
    assert whole_report()["as_of"] == "2026-01-01T12:00:00Z"


def test_every_count_of_bytes_is_an_integer_named_so() -> None:
    """``*_bytes`` is never a float or text, and a promise or sum is never negative."""
    structs: list[Any] = [
        record.Disk,
        record.Storage,
        record.Leftover,
        record.Totals,
        record.Filesystem,
    ]
    for struct in structs:
        for f in msgspec.structs.fields(struct):
            if f.name.endswith("_bytes"):
                document = {
                    "type": struct.__name__,
                    "shape": str(msgspec.inspect.type_info(f.type)),
                }
                assert "IntType" in document["shape"], document
                assert "FloatType" not in document["shape"], document
                # A filesystem's numbers are a tenant's word and may be nonsense.
                assert struct is record.Filesystem or "ge=0" in document["shape"], document
