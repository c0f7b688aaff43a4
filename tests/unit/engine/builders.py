# SPDX-License-Identifier: Apache-2.0
"""Sightings with sensible defaults, for tests of what is concluded from them."""

from __future__ import annotations

import datetime
from typing import Any

from nova_diskaudit.facts import (
    BlockStats,
    DiskDefinition,
    DiskSighting,
    Domain,
    GuestClaims,
    GuestDevice,
    GuestFilesystem,
    Layer,
    LayerFacts,
    Sighting,
)

NOW = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
MIB = 2**20
GIB = 2**30
UUID = "11111111-2222-3333-4444-555555555555"
VOLUME = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"


def layer(**changes: Any) -> Layer:
    return Layer(**{"storage": "file", "source": "/images/a.raw", "format": "raw"} | changes)


def disk(target: str = "vda", **changes: Any) -> DiskDefinition:
    plain: dict[str, Any] = {
        "target": target,
        "device": "disk",
        "bus": "virtio",
        "serial": None,
        "alias": None,
        "address": f"pci:0000:0{1 + ord(target[-1]) - ord('a')}:00.0",
        "discard": None,
        "read_only": False,
        "shareable": False,
        "layers": (layer(source=f"/images/{target}.raw"),),
        "data_file": None,
        "chain_complete": True,
    }
    return DiskDefinition(**plain | changes)


def facts(**changes: Any) -> LayerFacts:
    plain: dict[str, Any] = {
        "identity": "file:1:1",
        "storage_identity": "local:1",
        "virtual_bytes": 2 * GIB,
        "allocated_bytes": 100 * MIB,
        "allocated_source": "stat",
        "container_bytes": 2 * GIB,
        "host_block_bytes": 4096,
        "shares_extents": False,
    }
    return LayerFacts(**plain | changes)


def stats(capacity: int | None, allocation: int | None, physical: int | None) -> BlockStats:
    return BlockStats(capacity=capacity, allocation=allocation, physical=physical, as_of=NOW)


def domain(*disks: DiskDefinition, **changes: Any) -> Domain:
    plain: dict[str, Any] = {
        "uuid": UUID,
        "name": "instance-00000001",
        "state": "running",
        "channel": "connected",
        "project_id": None,
        "user_id": None,
        "flavor": None,
        "disks": disks or (disk(),),
        "seen_at": NOW,
    }
    return Domain(**plain | changes)


def filesystem(name: str = "vda1", target: str = "vda", **changes: Any) -> GuestFilesystem:
    address = f"pci:0000:0{1 + ord(target[-1]) - ord('a')}:00.0"
    plain: dict[str, Any] = {
        "name": name,
        "mountpoint": "/",
        "type": "ext4",
        "used_bytes": 42 * MIB,
        "total_bytes": 1900 * MIB,
        "size_bytes": 2000 * MIB,
        "devices": (GuestDevice(dev=f"/dev/{name}", serial=None, address=address),),
    }
    return GuestFilesystem(**plain | changes)


def claims(*filesystems: GuestFilesystem, **changes: Any) -> GuestClaims:
    plain: dict[str, Any] = {
        "agent_version": "7.2.22",
        "filesystems": filesystems,
        "disks": None,
        "as_of": NOW,
    }
    return GuestClaims(**plain | changes)


def sighting(of: Domain, disks: dict[str, DiskSighting] | None = None, **changes: Any) -> Sighting:
    if disks is None:
        disks = {d.target: DiskSighting(layers=tuple(facts() for _ in d.layers)) for d in of.disks}
    plain: dict[str, Any] = {
        "uuid": of.uuid,
        "name": of.name,
        "as_of": NOW,
        "domain": of,
        "disks": disks,
        "claims": None,
        "guest_doubt": None,
        "doubts": (),
    }
    return Sighting(**plain | changes)
