# SPDX-License-Identifier: Apache-2.0
"""What the product says of a server, held against what host and guest say."""

from __future__ import annotations

from typing import Any

import openstack.exceptions

from nova_diskaudit.sdk._proxy import DiskAuditProxy
from nova_diskaudit.sdk.instance import Instance
from tests.cloud import truth
from tests.cloud.cloud import Host
from tests.cloud.tenants import GIB, MIB, Flavor

ROOT, EPHEMERAL, SWAP = "vda", "vdb", "vdc"

#: where a guest mounts a disk
_MOUNTS = {ROOT: "/mnt/root", EPHEMERAL: "/mnt/ephemeral"}


def sizes(flavor: Flavor) -> dict[str, int]:
    """The disks that a server of this flavor has, and their bytes."""
    found = {ROOT: flavor.disk * GIB, EPHEMERAL: flavor.ephemeral * GIB, SWAP: flavor.swap * MIB}
    return {target: size for target, size in found.items() if size}


def find(proxy: DiskAuditProxy, uuid: str) -> Instance | None:
    """A server as that person sees it, or None."""
    try:
        return proxy.get_instance(uuid)
    except openstack.exceptions.NotFoundException:
        return None


def disks(instance: Instance, field: str) -> dict[str, Any]:
    """One number of each local disk, by target."""
    return {disk["target"]: disk[field] for disk in instance.disks if disk["kind"] == "local"}


def equal_to_truth(
    proxy: DiskAuditProxy, host: Host, uuid: str, flavor: Flavor, *, guest: bool
) -> Instance:
    """The server as that person sees it, every number of which is right.

    What moves while it is looked at proves nothing, so this is for :func:`truth.in_time`.

    :param guest: whether its agent answers now.
    :raises AssertionError: a number is not that of host or guest.
    """
    before = truth.look(host, uuid)
    found = find(proxy, uuid)
    assert found is not None
    assert truth.look(host, uuid) == before, "it is busy"
    assert before.virtual == sizes(flavor)
    assert disks(found, "virtual_bytes") == before.virtual
    assert disks(found, "host_allocated_bytes") == before.held
    used = {
        target: before.used.get(_MOUNTS.get(target, "")) if guest else None
        for target in before.virtual
    }
    assert disks(found, "guest_used_bytes") == used
    if guest:
        assert used[ROOT], "the guest has not told what it uses"
    assert found.totals["disks"] == len(before.held)
    assert found.totals["virtual_bytes"] == sum(before.virtual.values())
    assert found.totals["host_allocated_bytes"] == sum(before.held.values())
    known = [number for number in used.values() if number is not None]
    assert found.totals["guest_used_bytes"] == sum(known)
    assert found.totals["guest_used_unknown"] == len(used) - len(known)
    return found
