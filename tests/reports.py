# SPDX-License-Identifier: Apache-2.0
"""States of hosts as agents report them, made from a seed: for the central service's tests.

Sizes and texts are those of real reports, so that what a benchmark measures on them means
something: two disks an instance, four findings a disk, a filesystem a disk.
"""

from __future__ import annotations

import datetime
import random
import uuid
from typing import Any

import msgspec

from nova_diskaudit import findings, protocol, record

GIB = 2**30
NOW = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
STORAGE = "fsid:91a2b3c4d5e6f708"


def uuid_of(*words: object) -> str:
    """The same UUID for the same words."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, "/".join(map(str, words))))


def disk(target: str = "vda", **changes: Any) -> record.Disk:
    codes = ("allocation-is-high-water-mark", "shared-backing", "untrimmed", "discard-disabled")
    plain: dict[str, Any] = {
        "target": target,
        "serial": None,
        "kind": "local",
        "storage": "file",
        "source": f"/var/lib/nova/instances/0/{target}",
        "format": "qcow2",
        "identity": f"file:64512:{target}",
        "storage_identity": STORAGE,
        "virtual_bytes": 20 * GIB,
        "host_allocated_bytes": 3 * GIB,
        "host_allocated_source": "stat",
        "container_bytes": 3 * GIB,
        "high_water_bytes": 19 * GIB,
        "backing_bytes": GIB,
        "libvirt": None,
        "guest_used_bytes": 2 * GIB,
        "guest_total_bytes": 20 * GIB,
        "used": record.Used(bytes=2 * GIB, low=2 * GIB, high=2 * GIB, basis="guest"),
        "reclaimable": record.Reclaimable(low=0, high=3 * GIB, estimate=GIB, how="enable-discard"),
        "findings": tuple(findings.finding(code) for code in codes),
    }
    return record.Disk(**plain | changes)


def instance(name: str, *, draw: random.Random | None = None, **changes: Any) -> protocol.Instance:
    """An instance with two disks, known by its UUID or any other word; ``draw`` gives numbers."""
    number = draw.randrange(3 * GIB) if draw is not None else GIB
    targets = ("vda", "vdb")
    plain: dict[str, Any] = {
        "uuid": name if len(name) == 36 else uuid_of(name),
        "domain": "instance-0000002a",
        "state": "running",
        "as_of": None,
        "project_id": "5b8e3a6f0d5c4ea0b1d7a1f43c9e2a11",
        "user_id": "0e6e1a3f4a5b4c8d9e0f1a2b3c4d5e6f",
        "flavor": "m1.small",
        "guest": record.Guest(state="answered", agent_version="7.2.11", as_of=NOW, checked_at=None),
        "filesystems": tuple(
            record.Filesystem(
                name=f"{target}1",
                mountpoint="/" if target == "vda" else "/srv",
                type="ext4",
                used_bytes=number // 2,
                total_bytes=20 * GIB,
                disks=(target,),
                place="direct",
            )
            for target in targets
        ),
        "findings": (),
        "disks": tuple(
            disk(
                target,
                identity=f"file:64512:{name}:{target}",
                source=f"/var/lib/nova/instances/{name}/{target}",
                host_allocated_bytes=number,
                guest_used_bytes=number // 2,
            )
            for target in targets
        ),
    }
    return protocol.Instance(**plain | changes)


def storage(**changes: Any) -> record.Storage:
    plain: dict[str, Any] = {
        "identity": STORAGE,
        "kind": "local",
        "path": "/var/lib/nova/instances",
        "instances_path": "/var/lib/nova/instances",
        "fs_type": "xfs",
        "total_bytes": 2**42,
        "free_bytes": 2**41,
        "inodes_free": 10**8,
        "virtual_sum_bytes": 2**42,
        "image_cache_bytes": 30 * GIB,
        "managed_save_bytes": 0,
        "leftovers": (),
    }
    return record.Storage(**plain | changes)


def state(
    host: str = "compute-1",
    instances: tuple[protocol.Instance, ...] = (),
    *,
    id: str | None = None,
    **changes: Any,
) -> protocol.State:
    plain: dict[str, Any] = {
        "id": id or str(uuid.uuid4()),
        "host": host,
        "as_of": NOW,
        "storages": (storage(),),
        "findings": (),
        "instances": tuple(sorted(instances, key=lambda one: one.uuid)),
    }
    return protocol.State(**plain | changes)


def full(
    of: protocol.State,
    *,
    agent: str = "a",
    replaces: str | None = None,
    sent_at: datetime.datetime = NOW,
) -> protocol.Report:
    return protocol.full(of, agent=uuid_of(agent), replaces=replaces, sent_at=sent_at)


def delta(
    base: protocol.State,
    of: protocol.State,
    *,
    agent: str = "a",
    sent_at: datetime.datetime = NOW,
) -> protocol.Report:
    return protocol.delta(base, of, agent=uuid_of(agent), sent_at=sent_at)


def changed(one: Any, **changes: Any) -> Any:
    """The same struct with other values."""
    return msgspec.structs.replace(one, **changes)
