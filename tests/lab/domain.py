# SPDX-License-Identifier: Apache-2.0
"""Domains as data: what a scenario says about its disks, and the XML that libvirt gets."""

import dataclasses
import pathlib
import uuid
from collections.abc import Callable
from typing import Literal
from xml.sax.saxutils import quoteattr

from tests.lab.hypervisor import Hypervisor

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

AGENT_PORT = "org.qemu.guest_agent.0"
LAB_PORT = "org.nova-diskaudit.lab.0"

#: the storage pool over the work directory
POOL = "lab"

PROJECT_ID = "5d6f3a2b1c9e4f708a1b2c3d4e5f6071"
USER_ID = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"

_NOVA = """\
<nova:instance xmlns:nova="http://openstack.org/xmlns/libvirt/nova/1.1">
      <nova:package version="34.0.0"/>
      <nova:name>{name}</nova:name>
      <nova:creationTime>2026-01-02 03:04:05</nova:creationTime>
      <nova:flavor name="lab.small" id="7c5ef8f3-6b1a-4c5b-a2c3-0d4e5f607182">
        <nova:memory>256</nova:memory>
        <nova:disk>1</nova:disk>
        <nova:swap>0</nova:swap>
        <nova:ephemeral>0</nova:ephemeral>
        <nova:vcpus>1</nova:vcpus>
      </nova:flavor>
      <nova:owner>
        <nova:user uuid="{user}">lab-user</nova:user>
        <nova:project uuid="{project}">lab-project</nova:project>
      </nova:owner>
    </nova:instance>"""

_XML = """\
<domain type="qemu">
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <metadata>
    {metadata}
  </metadata>
  <memory unit="MiB">{memory}</memory>{backing}
  <vcpu>1</vcpu>
  <os>
    <type arch="x86_64" machine="{machine}">hvm</type>{boot}
  </os>
  <features><acpi/>{features}</features>{cpu}
  <on_reboot>destroy</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
{devices}
    <memballoon model="none"/>
  </devices>
</domain>
"""

_BOOT = """
    <kernel>{kernel}</kernel>
    <initrd>{initrd}</initrd>
    <cmdline>console=ttyS0 rdinit=/init quiet panic=-1 random.trust_cpu=on</cmdline>"""

_SHARED = """
  <memoryBacking><source type="memfd"/><access mode="shared"/></memoryBacking>"""

# Translated code of a guest of 96 MiB would otherwise take as much again.
_SMALL_TCG = '<tcg><tb-cache unit="MiB">24</tb-cache></tcg>'

# A QEMU is found by its domain's UUID, and another run on this machine has domains of these names.
_RUN = uuid.uuid4()

Prepare = Callable[[Hypervisor, pathlib.Path], None]


@dataclasses.dataclass(frozen=True)
class Disk:
    """One disk of a domain, and how its storage is made before the domain starts.

    ``source`` is a file name in the work directory, an absolute path, or for ``nbd`` the name of
    a unix socket there; by default the domain's name and the target. ``prepare`` makes the
    storage where a plain ``qemu-img create`` with ``options`` does not.
    """

    target: str
    size: int = 0
    format: str = "raw"
    storage: Literal["file", "block", "nbd", "dir", "volume", "vhostuser", "empty"] = "file"
    device: Literal["disk", "cdrom"] = "disk"
    serial: str = ""
    discard: bool = False
    readonly: bool = False
    source: str = ""
    options: str = ""
    prepare: Prepare | None = None
    extra: str = ""

    @property
    def bus(self) -> str:
        return "virtio" if self.target.startswith("vd") else "scsi"

    def path(self, domain: str, workdir: pathlib.Path) -> pathlib.Path:
        return workdir / (self.source or f"{domain}-{self.target}.{self.format}")

    def make(self, domain: str, hypervisor: Hypervisor) -> None:
        path = self.path(domain, hypervisor.workdir)
        if self.prepare is not None:
            self.prepare(hypervisor, path)
        elif self.storage == "file" and not path.exists():
            options = ("-o", self.options) if self.options else ()
            size = (str(self.size),) if self.size else ()
            hypervisor.run(
                "qemu-img", "create", "-q", "-f", self.format, *options, str(path), *size
            )

    def xml(self, domain: str, workdir: pathlib.Path) -> str:
        path = quoteattr(str(self.path(domain, workdir)))
        source = {
            "file": f"<source file={path}/>",
            "block": f"<source dev={path}/>",
            "nbd": f'<source protocol="nbd"><host transport="unix" socket={path}/></source>',
            "dir": f"<source dir={path}/>",
            "volume": f'<source pool="{POOL}" volume="{self.source}"/>',
            "vhostuser": f'<source type="unix" path={path}/>',
            "empty": "",
        }[self.storage]
        kind = {"nbd": "network", "empty": "file"}.get(self.storage, self.storage)
        attributes = ' discard="unmap"' if self.discard else ""
        serial = f"<serial>{self.serial}</serial>" if self.serial else ""
        readonly = "<readonly/>" if self.readonly or self.device == "cdrom" else ""
        return (
            f'    <disk type="{kind}" device="{self.device}">'
            f'<driver name="qemu" type="{self.format}"{attributes}/>{source}'
            f'<target dev="{self.target}" bus="{self.bus}"/>{serial}{readonly}{self.extra}</disk>'
        )


@dataclasses.dataclass(frozen=True)
class Domain:
    """A domain with a guest (a scenario's ash script) or, with ``script=None``, without an OS.

    A domain without an OS takes 0.2 s to start and is driven by QEMU's own ``qemu-io``. A small
    guest knows virtio disks and ext4 only, and takes no disk that is plugged in.
    """

    name: str
    disks: tuple[Disk, ...]
    script: str | None = None
    #: further files of the guest: path and content
    files: tuple[tuple[str, str], ...] = ()
    agent_channel: bool = True
    #: the Debian release whose agent the guest runs; that of this machine when empty
    agent_release: str = ""
    paused: bool = False
    started: bool = True
    nova: bool = True
    small: bool = False
    #: whether another process may map the guest's memory
    shared_memory: bool = False
    #: file in the work directory in place of the BIOS, of a domain without an OS
    rom: str = ""

    @property
    def uuid(self) -> str:
        return str(uuid.uuid5(_RUN, self.name))

    def xml(self, workdir: pathlib.Path, kernel: pathlib.Path | None) -> str:
        devices = [disk.xml(self.name, workdir) for disk in self.disks]
        if any(disk.bus == "scsi" for disk in self.disks):
            devices.append('    <controller type="scsi" model="virtio-scsi"/>')
        if self.agent_channel:
            devices.append(
                f'    <channel type="unix"><target type="virtio" name="{AGENT_PORT}"/></channel>'
            )
        boot = cpu = ""
        if self.script is not None:
            initrd = workdir / f"{self.name}.initrd"
            boot = _BOOT.format(kernel=kernel, initrd=initrd)
            cpu = '\n  <cpu mode="maximum"/>'
            devices += [
                f'    <channel type="unix"><source mode="bind" path="{workdir}/{self.name}.lab"/>'
                f'<target type="virtio" name="{LAB_PORT}"/></channel>',
                f'    <serial type="file"><source path="{workdir}/{self.name}.console"/></serial>',
            ]
            if not self.small:
                # free slots for a disk that is plugged in later
                devices.append('    <controller type="pci" index="0" model="pcie-root"/>')
                devices += ['    <controller type="pci" model="pcie-root-port"/>'] * 12
        size, machine = (96, "pc") if self.small else (256, "q35")
        if self.script is None:
            size, machine = 16, "pc"
            if self.rom:
                boot = f'\n    <loader readonly="yes" type="rom">{workdir / self.rom}</loader>'
        return _XML.format(
            name=self.name,
            uuid=self.uuid,
            metadata=_NOVA.format(name=self.name, user=USER_ID, project=PROJECT_ID)
            if self.nova
            else "",
            memory=size,
            machine=machine,
            boot=boot,
            backing=_SHARED if self.shared_memory else "",
            features=_SMALL_TCG if self.small else "",
            cpu=cpu,
            devices="\n".join(devices),
        )
