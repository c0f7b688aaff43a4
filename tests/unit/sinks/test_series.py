# SPDX-License-Identifier: Apache-2.0
"""Which resources and measures an instance becomes."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova_diskaudit import protocol, record
from nova_diskaudit.sinks import series
from nova_diskaudit.store import sink
from tests import reports
from tests.unit.protocol import strategies

GIB = reports.GIB
NOW = reports.NOW
HOUR = datetime.timedelta(hours=1)
LATEST = NOW + datetime.timedelta(minutes=1)


def verified(*disks: record.Disk, host: str = "compute-1", **changes: Any) -> sink.Verified:
    said = reports.instance("one", disks=disks, **changes)
    return sink.Verified(host, "red", "somebody", protocol.resolved_instance(said, NOW))


def of(*disks: record.Disk, **changes: Any) -> list[series.Series]:
    return series.of(verified(*disks, **changes), latest=LATEST)


def ids(found: list[series.Series]) -> list[str]:
    return [one.resource.id for one in found]


def test_all_that_is_known() -> None:
    told_at = NOW - HOUR
    guest = record.Guest(state="answered", as_of=told_at, checked_at=told_at)
    used = record.Used(bytes=None, low=2 * GIB, high=5 * GIB, basis="guest-partial")
    disk = reports.disk(source="/var/lib/nova/instances/x/disk", used=used)
    (one,) = of(disk, guest=guest)
    assert one.measures == {
        "diskaudit.virtual_bytes": (NOW, 20 * GIB),
        "diskaudit.host_allocated_bytes": (NOW, 3 * GIB),
        "diskaudit.used_low_bytes": (NOW, 2 * GIB),
        "diskaudit.used_high_bytes": (NOW, 5 * GIB),
        "diskaudit.reclaimable_low_bytes": (NOW, 0),
        "diskaudit.reclaimable_high_bytes": (NOW, 3 * GIB),
        # as of when the guest was last known to hold it
        "diskaudit.guest_used_bytes": (told_at, 2 * GIB),
    }
    resource = one.resource
    assert (resource.instance_id, resource.project_id) == (reports.uuid_of("one"), "red")
    assert (resource.disk, resource.target, resource.kind) == ("disk", "vda", "local")
    assert resource.host == "compute-1"


def test_what_is_not_known_is_left_out() -> None:
    disk = reports.disk(
        host_allocated_bytes=None,
        guest_used_bytes=None,
        used=record.Used(bytes=None, low=0, high=20 * GIB, basis="none"),
        reclaimable=record.Reclaimable(low=0, high=None, estimate=None, how="none"),
    )
    (one,) = of(disk)
    assert one.measures == {"diskaudit.virtual_bytes": (NOW, 20 * GIB)}


def test_zero_that_is_known_is_a_number() -> None:
    (one,) = of(reports.disk(host_allocated_bytes=0))
    assert one.measures["diskaudit.host_allocated_bytes"].bytes == 0


def test_a_disk_of_which_nothing_is_known_is_no_resource() -> None:
    nothing = reports.disk(
        virtual_bytes=None,
        host_allocated_bytes=None,
        guest_used_bytes=None,
        used=record.Used(bytes=None, low=0, high=None, basis="none"),
        reclaimable=record.Reclaimable(low=0, high=None, estimate=None, how="none"),
    )
    assert of(nothing) == []


def test_only_disks_that_hold_data() -> None:
    kinds = ("local", "volume", "config", "cdrom")
    found = of(*(reports.disk(f"vd{n}", kind=kind) for n, kind in enumerate(kinds)))
    assert [one.resource.kind for one in found] == ["local", "volume"]


def test_a_series_goes_on_wherever_the_disk_is() -> None:
    here = of(reports.disk(source="/var/lib/nova/instances/x/disk", identity="file:1:2"))
    there = of(
        reports.disk("vdb", source="/srv/nova/x/disk", identity="file:3:4"), host="compute-2"
    )
    assert ids(here) == ids(there)
    assert here[0].resource != there[0].resource


def test_a_rescue_disk_is_another_one() -> None:
    normal = of(reports.disk("vda", source="/i/x/disk"))
    rescued = of(
        reports.disk("vda", source="/i/x/disk.rescue"), reports.disk("vdb", source="/i/x/disk")
    )
    assert ids(rescued)[1] == ids(normal)[0] != ids(rescued)[0]


def test_a_volume_is_known_by_its_id() -> None:
    volume = "9d3e7c1a-2f5b-4a6c-8e0d-1b2c3d4e5f60"
    here = of(reports.disk("vdb", kind="volume", serial=volume, source="/dev/sdb"))
    there = of(reports.disk("vdc", kind="volume", serial=volume, source="/dev/sdq"))
    assert ids(here) == ids(there)
    assert here[0].resource.disk == volume


def test_two_disks_of_one_name_are_two() -> None:
    found = of(
        reports.disk("vda", source="/a/disk"),
        reports.disk("vdb", source="/b/disk"),
        reports.disk("vdc", source=None),
    )
    assert [one.resource.disk for one in found] == ["disk", "disk vdb", "vdc"]
    assert len(set(ids(found))) == 3


def test_times_that_gnocchi_must_not_see() -> None:
    later = LATEST + datetime.timedelta(microseconds=1)
    before = datetime.datetime(1969, 12, 31, tzinfo=datetime.UTC)
    for time in (later, before):
        guest = record.Guest(state="answered", as_of=time, checked_at=time)
        (one,) = of(reports.disk(), guest=guest)
        assert "diskaudit.guest_used_bytes" not in one.measures
        assert "diskaudit.host_allocated_bytes" in one.measures
        assert of(reports.disk(guest_used_bytes=None), as_of=time) == []


def test_too_many_disks_are_no_instance() -> None:
    disks = [reports.disk(f"vd{n}", source=f"/i/{n}") for n in range(series.MOST_DISKS + 1)]
    assert len(of(*disks[1:])) == series.MOST_DISKS
    with pytest.raises(series.TooManyDisks):
        of(*disks)


texts = st.text(max_size=300)


@given(target=texts, source=st.none() | texts, serial=st.none() | texts, host=texts)
def test_whatever_a_host_says_gnocchi_can_keep(
    target: str, source: str | None, serial: str | None, host: str
) -> None:
    for kind in ("local", "volume"):
        disk = reports.disk(target, source=source, serial=serial, kind=kind)
        (one,) = of(disk, host=host)
        for text in (one.resource.disk, one.resource.target, one.resource.host):
            assert text is not None and len(text) <= 255
            assert text.isascii() and (text == "" or text.isprintable())


@given(strategies.disks)
def test_nothing_unknown_becomes_a_number(disks: tuple[record.Disk, ...]) -> None:
    by_id = {}
    for one in of(*disks):
        assert one.measures
        by_id[one.resource.id] = one
        for name, measure in one.measures.items():
            word = name.removeprefix("diskaudit.")
            places = {
                "used_low_bytes": lambda disk: disk.used.low,
                "used_high_bytes": lambda disk: disk.used.high,
                "reclaimable_low_bytes": lambda disk: disk.reclaimable.low,
                "reclaimable_high_bytes": lambda disk: disk.reclaimable.high,
            }
            place = places.get(word, lambda disk, word=word: getattr(disk, word))
            said = {place(disk) for disk in disks if disk.target == one.resource.target}
            assert measure.bytes in said
    assert len(by_id) <= len(disks)
