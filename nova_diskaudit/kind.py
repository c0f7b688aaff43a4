# SPDX-License-Identifier: Apache-2.0
"""What a disk is to Nova: a local disk, a Cinder volume, a config drive, or a CD-ROM.

libvirt does not know the difference, and sums that mix them are wrong. Nova gives a volume its
Cinder id as ``<serial>`` and names its own disks after the instance (nova/virt/libvirt:
``imagebackend.py``, ``volume/volume.py``). Pure.
"""

from __future__ import annotations

import re

from nova_diskaudit.facts import DiskDefinition
from nova_diskaudit.record import Kind

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_CONFIG_DRIVE = re.compile(r"(?:^|[/_])disk\.config(?:\.rescue)?$")


def kind_of(instance_uuid: str, disk: DiskDefinition) -> Kind:
    """Classify one disk of one domain."""
    source = (disk.layers[0].source if disk.layers else None) or ""
    if _CONFIG_DRIVE.search(source):
        return "config"
    if disk.device in ("cdrom", "floppy"):
        return "cdrom"
    # Nova's own disks lie in a directory, or bear a name, that contains the instance's UUID,
    # and may carry a serial too.
    if disk.serial and _UUID.fullmatch(disk.serial) and instance_uuid not in source:
        return "volume"
    return "local"


def volume_id(disk: DiskDefinition) -> str:
    """The Cinder id of a disk that :func:`kind_of` calls a volume."""
    return (disk.serial or "").lower()
