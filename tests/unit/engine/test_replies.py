# SPDX-License-Identifier: Apache-2.0
"""Real replies of the real agent, recorded in the lab, judged again without any guest.

Each file holds what one guest's agent said, the XML of its domain, and what the guest's own
``statfs`` and the host's ``stat`` said in the same moment.
"""

from __future__ import annotations

import datetime
import json
import pathlib
from typing import Any

import pytest

from nova_diskaudit import record
from nova_diskaudit.conclude import conclude_instance
from nova_diskaudit.facts import DiskSighting, GuestClaims, LayerFacts, Sighting
from nova_diskaudit.guest import parse
from nova_diskaudit.host import domxml

NOW = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
FILES = sorted((pathlib.Path(__file__).parents[1] / "replies").glob("*.json"))


def judge(recorded: dict[str, Any]) -> record.Instance:
    domain = domxml.parse(recorded["domain_xml"], state="running", seen_at=NOW)
    on_host = recorded["disks_on_host"]
    disks = {}
    for disk in domain.disks:
        seen = on_host.get(disk.target, {})
        facts = LayerFacts(
            virtual_bytes=(seen.get("stats") or {}).get("capacity"),
            allocated_bytes=seen.get("allocated"),
            allocated_source="stat",
            container_bytes=seen.get("length"),
        )
        disks[disk.target] = DiskSighting(layers=tuple(facts for _ in disk.layers))
    reply = {key: json.dumps({"return": recorded[key]}).encode() for key in ("fsinfo", "disks")}
    claims = GuestClaims(
        agent_version=None,
        filesystems=parse.filesystems(reply["fsinfo"]),
        disks=parse.disks(reply["disks"]) if recorded["disks"] is not None else None,
        as_of=NOW,
    )
    return conclude_instance(
        Sighting(
            uuid=domain.uuid,
            name=domain.name,
            as_of=NOW,
            domain=domain,
            disks=disks,
            claims=claims,
            guest_doubt=None,
            doubts=(),
        )
    )


def test_there_are_recordings() -> None:
    assert len(FILES) >= 10


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_what_the_guest_said_is_what_its_kernel_said(file: pathlib.Path) -> None:
    recorded = json.loads(file.read_text())
    instance = judge(recorded)
    compared = 0
    for fs in instance.filesystems:
        truth = recorded["truth"].get(fs.mountpoint)
        if truth is not None and fs.used_bytes is not None:
            assert fs.used_bytes == truth["used_bytes"], fs
            compared += 1
    assert compared > 0


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_bounds_hold_and_nothing_is_more_than_its_disk(file: pathlib.Path) -> None:
    for disk in judge(json.loads(file.read_text())).disks:
        if disk.virtual_bytes is None:
            continue
        assert disk.used.high is not None
        assert 0 <= disk.used.low <= disk.used.high <= disk.virtual_bytes
        if disk.used.bytes is not None:
            assert disk.used.low <= disk.used.bytes <= disk.used.high


@pytest.mark.parametrize(
    "name", ["scsi-serials-settled", "scsi-serials-without-udev", "scsi-no-serials-settled"]
)
def test_a_filesystem_is_on_the_disk_it_is_on_or_on_none(name: str) -> None:
    (file,) = [file for file in FILES if file.stem == name]
    instance = judge(json.loads(file.read_text()))
    for fs in instance.filesystems:
        if fs.disks and fs.name.startswith("sd"):
            # The guest found them in another order; its script mounted each by what it holds.
            assert fs.mountpoint is not None
            assert fs.disks == (f"sd{fs.mountpoint[-1]}",), fs


@pytest.mark.parametrize("name", ["newer-agent-settled", "newer-agent-btrfs-settled"])
def test_a_newer_agent_tells_the_size_with_what_is_reserved_for_root(name: str) -> None:
    (file,) = [file for file in FILES if file.stem == name]
    recorded = json.loads(file.read_text())
    instance = judge(recorded)
    for fs in instance.filesystems:
        assert fs.total_bytes == recorded["truth"][fs.mountpoint]["total_bytes"], fs
    # So each is seen to cover its disk.
    assert all(disk.used.bytes is not None for disk in instance.disks)
