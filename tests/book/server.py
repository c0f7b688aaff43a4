# SPDX-License-Identifier: Apache-2.0
"""A server as Nova defines it, on a libvirtd of the tests, and how a view sees both."""

from __future__ import annotations

import libvirt

from tests.functional.conftest import file_disk
from tests.lab.hypervisor import Hypervisor

GIB = 2**30
DISK_BYTES = 2 * GIB
HELD_BYTES = 4 * 2**20
UUID = "8f3a11c2-5a0c-4b9e-9a39-0d6b0f7f2f10"

_LIBVIRT = "/run/libvirt"


def boot(hypervisor: Hypervisor, project: str) -> None:
    """Start it; its one disk holds :data:`HELD_BYTES`."""
    image = hypervisor.workdir / UUID / "disk"
    image.parent.mkdir()
    with image.open("wb") as file:
        file.write(b"x" * HELD_BYTES)
        file.truncate(DISK_BYTES)
    connection = libvirt.open(hypervisor.uri)
    try:
        connection.createXML(
            f"<domain type='qemu'><name>instance-00000001</name><uuid>{UUID}</uuid>"
            "<metadata><nova:instance xmlns:nova='http://openstack.org/xmlns/libvirt/nova/1.1'>"
            f"<nova:name>web</nova:name><nova:owner><nova:user uuid='u'>u</nova:user>"
            f"<nova:project uuid='{project}'>acme</nova:project></nova:owner></nova:instance>"
            "</metadata><memory unit='MiB'>16</memory><vcpu>1</vcpu>"
            "<os><type machine='pc'>hvm</type></os>"
            f"<devices>{file_disk(image, image_format='raw')}<memballoon model='none'/></devices>"
            "</domain>"
        )
    finally:
        connection.close()


def mounts(hypervisor: Hypervisor) -> dict[str, str]:
    """Of the tests' libvirt, what is where it belongs on a compute node."""
    return {
        str(hypervisor.directory / "run"): _LIBVIRT,
        str(hypervisor.workdir): str(hypervisor.workdir),
    }
