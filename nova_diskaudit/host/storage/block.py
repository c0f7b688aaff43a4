# SPDX-License-Identifier: Apache-2.0
"""Block devices of this host. Their node has no blocks of its own: sysfs tells what is known.

Only a loop device and a thick logical volume tell how much is held. For every other one the
answer lies with whoever provides it (thin pool, array, partition table).
"""

from __future__ import annotations

import os
import stat

from nova_diskaudit.facts import Layer, LayerFacts
from nova_diskaudit.host.filesystem import place_of
from nova_diskaudit.host.storage import signature
from nova_diskaudit.host.storage.file import promise, sharing_of
from nova_diskaudit.host.storage.view import Located, Unreachable, View

STORAGES = ("block",)

SYSFS = "/sys"
_MAX_ATTRIBUTE_BYTES = 65536


def probe(layer: Layer, view: View) -> LayerFacts:
    """Facts of one block device; see :class:`nova_diskaudit.host.storage.Probe`."""
    try:
        with view.locate(layer.source) as device:
            if not stat.S_ISBLK(device.status.st_mode):
                return LayerFacts(
                    code="not-a-regular-file", detail=f"{layer.source!r} is no block device"
                )
            return _facts(layer, device, view)
    except Unreachable as error:
        return error.facts
    except OSError as error:
        return LayerFacts(code="storage-error", detail=f"{layer.source!r}: {error.strerror}")


def _facts(layer: Layer, device: Located, view: View) -> LayerFacts:
    number = device.status.st_rdev
    before = signature.of_device(layer, device, view)
    name = f"{os.major(number)}:{os.minor(number)}"
    node = f"{SYSFS}/dev/block/{name}"
    size = device_bytes(node)
    identity = f"block:{name}"
    if size is None:
        return LayerFacts(
            identity=identity,
            code="host-allocation-unknown",
            detail=f"the kernel does not tell the size of device {name}",
        )
    promised = promise(layer, device, size)
    held = allocation(node, size)
    return LayerFacts(
        identity=identity,
        storage_identity=held.storage_identity,
        virtual_bytes=promised.virtual_bytes,
        allocated_bytes=held.allocated_bytes,
        allocated_source=held.allocated_source,
        container_bytes=size,
        host_block_bytes=held.host_block_bytes,
        thick=held.thick,
        shares_extents=held.shares_extents,
        shared_bytes=held.shared_bytes,
        shared_is_minimum=held.shared_is_minimum,
        internal_snapshots=promised.internal_snapshots,
        has_backing=promised.has_backing,
        has_external_data=promised.has_external_data,
        fully_reserved=held.allocated_bytes is not None and held.allocated_bytes >= size > 0,
        signature=before,
        code=promised.code or held.code,
        detail=promised.detail or held.detail,
    )


def device_bytes(node: str) -> int | None:
    """The size of the device, in bytes; ``size`` counts 512-byte sectors on every device."""
    sectors = _attribute(f"{node}/size")
    return int(sectors) * 512 if sectors is not None and sectors.isdigit() else None


def allocation(node: str, size: int) -> LayerFacts:
    """What is held for the device with this sysfs directory: facts with only these fields set."""
    if os.path.isdir(f"{node}/loop"):
        return _loop(node)
    uuid = _attribute(f"{node}/dm/uuid")
    if uuid is None:
        return _unknown("only the provider of this device knows what it holds")
    if not uuid.startswith("LVM-"):
        return _unknown(f"a device-mapper device of type {uuid.partition('-')[0] or '?'!r}")
    # A thin volume stands on its pool, a snapshot and a mirror on their parts; all of these are
    # LVM's own devices. A thick volume stands on physical volumes (lvm2, lib/activate).
    if any((u or "").startswith("LVM-") for u in _slaves(node)):
        return _unknown("a logical volume that is thin, a snapshot, or made of others (ask lvs)")
    return LayerFacts(allocated_bytes=size, allocated_source="lvm-thick", thick=True)


def _loop(node: str) -> LayerFacts:
    """A loop device holds what its backing file holds, if it shows the whole of it."""
    path = _attribute(f"{node}/loop/backing_file")
    window = [_attribute(f"{node}/loop/{key}") for key in ("offset", "sizelimit")]
    if not path or window != ["0", "0"]:
        return _unknown("a loop device on a part of a file")
    try:
        with View().locate(path) as file:
            if not stat.S_ISREG(file.status.st_mode):
                return _unknown("a loop device on something that is no file")
            place = place_of(file.fd, file.status.st_dev)
            sharing = sharing_of(file, place)
    except (Unreachable, OSError):
        # Deleted while in use: the kernel then appends " (deleted)" to the name.
        return _unknown(f"a loop device on {path!r}, which is not there")
    return LayerFacts(
        storage_identity=place.identity,
        allocated_bytes=file.status.st_blocks * 512,
        allocated_source="loop-file",
        host_block_bytes=max(file.status.st_blksize, place.fragment_bytes),
        shares_extents=sharing.shares_extents,
        shared_bytes=sharing.shared_bytes,
        shared_is_minimum=sharing.shared_is_minimum,
    )


def _slaves(node: str) -> list[str | None]:
    """Device-mapper UUIDs of the devices that this one stands on; None for other devices."""
    try:
        names = os.listdir(f"{node}/slaves")
    except OSError:
        return []
    return [_attribute(f"{node}/slaves/{name}/dm/uuid") for name in names]


def _unknown(detail: str) -> LayerFacts:
    return LayerFacts(code="host-allocation-unknown", detail=detail)


def _attribute(path: str) -> str | None:
    try:
        with open(path, "rb", buffering=0) as file:
            return os.fsdecode(file.read(_MAX_ATTRIBUTE_BYTES).removesuffix(b"\n"))
    except OSError:
        return None
