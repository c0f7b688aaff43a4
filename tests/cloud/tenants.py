# SPDX-License-Identifier: Apache-2.0
"""Two ordinary projects, and what there is to boot: flavors, images, a kernel that they share."""

from __future__ import annotations

import dataclasses
import pathlib
import subprocess
import tempfile
from typing import Any

import openstack.connection
import openstack.exceptions

from tests.cloud.cloud import Cloud
from tests.lab import guest_image
from tests.services.cloud import Person

MIB, GIB = 2**20, 2**30

#: Appended by Nova to what a kernel is told.
_COMMAND_LINE = "console=ttyS0 rdinit=/init quiet panic=-1"
_SCENARIO = pathlib.Path(__file__).with_name("guest") / "scenario"
_IMAGE_MIB = 64


@dataclasses.dataclass(frozen=True)
class Flavor:
    """A flavor: root and ephemeral disk in GiB, swap in MiB."""

    name: str
    disk: int
    ephemeral: int
    swap: int

    @property
    def claim_gib(self) -> int:
        """What Placement takes for a server of it, in GiB: swap is rounded up."""
        return self.disk + self.ephemeral + -(-self.swap // 1024)


SMALL = Flavor("small", disk=1, ephemeral=0, swap=0)
FULL = Flavor("full", disk=1, ephemeral=1, swap=64)
LARGE = Flavor("large", disk=2, ephemeral=1, swap=64)
FLAVORS = (SMALL, FULL, LARGE)

#: (disk format in Glance, whether the image wants a guest agent): the name of the image
IMAGES = {
    ("qcow2", True): "qcow2-with-agent",
    ("qcow2", False): "qcow2-without-agent",
    ("raw", True): "raw-with-agent",
    ("raw", False): "raw-without-agent",
}


@dataclasses.dataclass(frozen=True)
class Tenant:
    """A project with somebody who works in it and somebody who only reads."""

    project: str
    member: Person
    reader: Person
    #: openstacksdk as the member
    connection: openstack.connection.Connection


def tenant(cloud: Cloud, name: str) -> Tenant:
    """A new project and its people."""
    project = cloud.directory.project(name)
    member = cloud.directory.user(f"{name}-member", project, "member")
    reader = cloud.directory.user(f"{name}-reader", project, "reader")
    return Tenant(project, member, reader, cloud.connection(member))


def furnish(cloud: Cloud) -> None:
    """Make the flavors and images, which everybody may use."""
    for flavor in FLAVORS:
        cloud.admin.compute.create_flavor(
            name=flavor.name,
            id=flavor.name,
            ram=128,
            vcpus=1,
            disk=flavor.disk,
            ephemeral=flavor.ephemeral,
            swap=flavor.swap,
        )
    with tempfile.TemporaryDirectory() as directory:
        _upload(cloud, pathlib.Path(directory))


def _upload(cloud: Cloud, directory: pathlib.Path) -> None:
    image = guest_image.ensure(small=True)
    ramdisk = directory / "ramdisk"
    # There is no port of the lab's in a server of Nova.
    files = {"/lab/scenario": _SCENARIO.read_text(), "/lab/no-channel": ""}
    image.with_files(ramdisk, files)
    disks = {form: directory / f"disk.{form}" for form in ("raw", "qcow2")}
    _make_disk(disks["raw"])
    convert = ("qemu-img", "convert", "-f", "raw", "-O", "qcow2")
    subprocess.run([*convert, str(disks["raw"]), str(disks["qcow2"])], check=True)
    boot: dict[str, Any] = {
        "kernel_id": _made(cloud, "kernel", image.kernel, "aki", container="aki"),
        "ramdisk_id": _made(cloud, "ramdisk", ramdisk, "ari", container="ari"),
        "os_command_line": _COMMAND_LINE,
    }
    for (form, agent), name in IMAGES.items():
        asks = {"hw_qemu_guest_agent": "yes"} if agent else {}
        _made(cloud, name, disks[form], form, **boot, **asks)


def _make_disk(path: pathlib.Path) -> None:
    """A root file system that fills its disk, with some files."""
    with tempfile.TemporaryDirectory() as content:
        (pathlib.Path(content) / "etc").mkdir()
        (pathlib.Path(content) / "etc/motd").write_text("A server of a test.\n" * 1000)
        make = ("mke2fs", "-q", "-t", "ext4", "-b", "4096", "-i", "16384", "-d", content)
        subprocess.run([*make, str(path), f"{_IMAGE_MIB}M"], check=True)


def _made(
    cloud: Cloud,
    name: str,
    file: pathlib.Path,
    form: str,
    *,
    container: str = "bare",
    **properties: str,
) -> str:
    image = cloud.admin.image.create_image(
        name,
        filename=str(file),
        disk_format=form,
        container_format=container,
        visibility="public",
        wait=True,
        **properties,
    )
    found: str = image.id
    return found


@dataclasses.dataclass(frozen=True)
class Plan:
    """A server to boot."""

    name: str
    host: str
    flavor: Flavor
    form: str
    agent: bool
    config_drive: bool = False


@dataclasses.dataclass(frozen=True)
class Server:
    """A server of a tenant's that was booted."""

    tenant: Tenant
    plan: Plan
    id: str

    def status(self) -> str:
        """Nova's word for its state."""
        found: str = self.tenant.connection.compute.get_server(self.id).status
        return found

    def await_status(self, status: str, seconds: int = 180) -> None:
        """Wait until Nova calls its state so.

        :raises openstack.exceptions.SDKException: when it does not.
        """
        compute = self.tenant.connection.compute
        server = compute.get_server(self.id)
        compute.wait_for_server(server, status=status, interval=1, wait=seconds)


def boot(owner: Tenant, plan: Plan) -> Server:
    """Ask Nova for a server; it is there when its status is ACTIVE."""
    image = owner.connection.image.find_image(IMAGES[plan.form, plan.agent])
    made = owner.connection.compute.create_server(
        name=plan.name,
        image_id=image.id,
        flavor_id=plan.flavor.name,
        # Each host is a zone of its own.
        availability_zone=plan.host,
        config_drive=plan.config_drive,
        networks="none",
    )
    return Server(owner, plan, made.id)


def is_gone(compute: Any, uuid: str) -> bool:
    """Whether whose ``compute`` this is has no such server (any more)."""
    try:
        compute.get_server(uuid)
    except openstack.exceptions.NotFoundException:
        return True
    return False
