# SPDX-License-Identifier: Apache-2.0
"""The domains that are looked at: disks of known content, in classes that differ in what is asked.

Domains without a guest OS follow each other in sorts, so that each class has its share of them;
few are shut off, as on a hypervisor that is used. The others run, for some tools leave out what is
paused: their firmware is two instructions that halt the processor, which costs nothing. A few
guests are really booted, for what only a guest can say. What is true is read from the storage
(``du``) and from the guests' own ``statfs``, and from nothing that is compared here.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import os
import pathlib
import subprocess
import tempfile
from collections.abc import Iterator

import libvirt
import libvirt_qemu

from tests.bench.fleet import overlay
from tests.bench.peers.peer import DiskId, Scene
from tests.lab.domain import KIB, MIB, Disk, Domain
from tests.lab.hypervisor import Hypervisor
from tests.lab.machine import Machine, await_true, boot

_SIZE = 64 * MIB
_HELD = MIB
_FULL = 16 * MIB
_BOOTED_AT_A_TIME = 2
_PATIENCE_SECONDS = 60
_BACKING = ".backing"
_WRITTEN = f"write -P 3 {_SIZE - 65536} 65536"


@dataclasses.dataclass(frozen=True)
class Truth:
    """Bytes of one disk, as the storage and the guest themselves say.

    ``held`` is what ``du`` counts, for a loop device that of the file below; ``length`` what ``ls``
    shows, or the size of the device;
    ``virtual`` the size that the guest sees; ``used`` what the guest's filesystems on it use, None
    where there is none; ``highest`` the offset behind the highest byte that QEMU wrote, None where
    none runs.
    """

    held: int
    length: int
    virtual: int
    used: int | None
    highest: int | None


@dataclasses.dataclass(frozen=True)
class Host:
    """A scene, and what its makers know of it: the class of each disk, the guests."""

    scene: Scene
    classes: dict[DiskId, str]
    shut_off: frozenset[str]
    machines: list[Machine]
    _filesystems: dict[DiskId, pathlib.Path]

    def truth(self) -> dict[DiskId, Truth]:
        """Of every disk, now."""
        used = self._used()
        highest, virtual = self._of_qemu()
        found = {}
        for disk, path in self.scene.images.items():
            backing = path.with_suffix(_BACKING)
            file = backing if backing.exists() else path
            status = file.stat()
            found[disk] = Truth(
                held=status.st_blocks * 512,
                length=status.st_size,
                virtual=virtual.get(disk, _SIZE),
                used=used.get(disk),
                highest=highest.get(disk),
            )
        return found

    def _used(self) -> dict[DiskId, int]:
        found = {}
        for machine in self.machines:
            for point in machine.truth().values():
                target = point.source.removeprefix("/dev/")
                if (machine.spec.name, target) in self.classes:
                    found[machine.spec.name, target] = point.used_bytes
        for disk, path in self._filesystems.items():
            found[disk] = _used_of_image(path)
        return found

    def _of_qemu(self) -> tuple[dict[DiskId, int], dict[DiskId, int]]:
        connection = libvirt.openReadOnly(self.scene.hypervisor.uri_readonly)
        try:
            told = connection.getAllDomainStats(
                libvirt.VIR_DOMAIN_STATS_BLOCK, libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE
            )
            highest, virtual = {}, {}
            for domain, stats in told:
                for number in range(stats["block.count"]):
                    disk = domain.name(), stats[f"block.{number}.name"]
                    highest[disk] = stats[f"block.{number}.allocation"]
                    virtual[disk] = stats[f"block.{number}.capacity"]
            return highest, virtual
        finally:
            connection.close()


def _used_of_image(path: pathlib.Path) -> int:
    """By ``statfs`` of the kernel, as a guest would say it."""
    with tempfile.TemporaryDirectory() as directory:
        subprocess.run(["mount", "-o", "loop,ro", str(path), directory], check=True)
        try:
            said = os.statvfs(directory)
        finally:
            subprocess.run(["umount", directory], check=True)
    return (said.f_blocks - said.f_bfree) * said.f_frsize


def _written(target: str, image_format: str) -> Disk:
    """Thin, with a MiB that was written before the domain's start."""

    def prepare(hypervisor: Hypervisor, path: pathlib.Path) -> None:
        form = ("-f", image_format)
        hypervisor.run("qemu-img", "create", "-q", *form, str(path), str(_SIZE))
        hypervisor.run("qemu-io", *form, "-c", f"write -P 7 0 {_HELD}", str(path))

    return Disk(target, _SIZE, format=image_format, prepare=prepare)


def _formatted(target: str) -> Disk:
    """A raw file with an ext4 on which a MiB is used by a file."""

    def prepare(hypervisor: Hypervisor, path: pathlib.Path) -> None:
        with tempfile.TemporaryDirectory() as directory:
            (pathlib.Path(directory) / "data").write_bytes(os.urandom(_HELD))
            hypervisor.run("truncate", "-s", str(_SIZE), str(path))
            subprocess.run(["mkfs.ext4", "-q", "-d", directory, str(path)], check=True)

    return Disk(target, _SIZE, prepare=prepare)


def _device(target: str) -> Disk:
    """A loop device, which is to libvirt what a logical volume is; it goes with the hypervisor."""

    def prepare(hypervisor: Hypervisor, path: pathlib.Path) -> None:
        backing = path.with_suffix(_BACKING)
        backing.write_bytes(os.urandom(_HELD))
        os.truncate(backing, _FULL)
        device = subprocess.run(
            ["losetup", "--find", "--show", str(backing)],
            check=True, capture_output=True, text=True,
        ).stdout.strip()  # fmt: skip
        path.symlink_to(device)

    return Disk(target, _FULL, storage="block", prepare=prepare)


_ROM_BYTES = 64 * KIB
# At the reset vector, 16 bytes before the end: cli, hlt, and a jump back.
_HALT = b"\xfa\xf4\xeb\xfd"


def halting_rom(hypervisor: Hypervisor) -> str:
    """The name of a firmware (:attr:`tests.lab.domain.Domain.rom`) that does nothing."""
    rom = hypervisor.workdir / "halt.rom"
    if not rom.exists():
        rom.write_bytes(_HALT.rjust(_ROM_BYTES - 12, b"\xf4").ljust(_ROM_BYTES, b"\xf4"))
    return rom.name


_Sort = tuple[tuple[str, Disk], tuple[str, Disk]]

#: class and disk
_RUNNING: tuple[_Sort, ...] = (
    (
        ("qcow2", _written("vda", "qcow2")),
        ("raw unwritten since start", _written("vdb", "raw")),
    ),
    (
        ("raw preallocated", Disk("vda", _FULL, options="preallocation=falloc")),
        ("raw with its end written", Disk("vdb", _SIZE)),
    ),
    (
        ("qcow2 preallocated", Disk("vda", _FULL, format="qcow2", options="preallocation=falloc")),
        ("raw written and discarded", Disk("vdb", _SIZE, discard=True)),
    ),
)  # fmt: skip
_SHUT_OFF: _Sort = (
    ("qcow2 shut off", _written("vda", "qcow2")),
    ("raw with ext4 shut off", _formatted("vdb")),
)
_ON_A_DEVICE: _Sort = (
    ("qcow2", _written("vda", "qcow2")),
    ("loop device", _device("vdb")),
)
_DONE = {
    "raw with its end written": (_WRITTEN,),
    "raw written and discarded": (_WRITTEN, f"discard {_SIZE - 65536} 65536"),
}

_OF_A_GUEST = ("guest's qcow2 overlay", "guest's raw with ext4")
_SCRIPT = """
mkfs.ext4 -q /dev/vdb
mnt ext4 /dev/vdb /mnt/data
fill /mnt/data/kept 3
fill /mnt/data/deleted 5
rm /mnt/data/deleted
sync
"""


def _sort(number: int, count: int) -> _Sort:
    """One on a block device, every tenth shut off, and the others in turn."""
    if number == count - 1:
        return _ON_A_DEVICE
    if number % 10 == 5:
        return _SHUT_OFF
    return _RUNNING[number % len(_RUNNING)]


@contextlib.contextmanager
def host(hypervisor: Hypervisor, count: int, guests: int) -> Iterator[Host]:
    """Make ``count`` domains, ``guests`` of them really booted; they end with the hypervisor."""
    classes: dict[DiskId, str] = {}
    images, filesystems = {}, {}
    uuids: dict[str, str] = {}
    shut_off = set()
    connection = libvirt.open(hypervisor.uri)
    machines: list[Machine] = []

    def enlist(domain: Domain, names: tuple[str, ...]) -> None:
        uuids[domain.name] = domain.uuid
        for disk, name in zip(domain.disks, names, strict=True):
            classes[domain.name, disk.target] = name
            images[domain.name, disk.target] = disk.path(domain.name, hypervisor.workdir)

    try:
        hypervisor.run("truncate", "-s", "64M", str(hypervisor.workdir / "base.raw"))
        rom = halting_rom(hypervisor)
        for number in range(count - guests):
            sort = _sort(number, count - guests)
            names = tuple(name for name, _ in sort)
            disks = tuple(disk for _, disk in sort)
            domain = Domain(name=f"peer-{number:04d}", disks=disks, rom=rom)
            for disk in disks:
                disk.make(domain.name, hypervisor)
            enlist(domain, names)
            defined = connection.defineXML(domain.xml(hypervisor.workdir, None))
            if sort is _SHUT_OFF:
                shut_off.add(domain.name)
                filesystems[domain.name, "vdb"] = images[domain.name, "vdb"]
                continue
            defined.create()
            for position, name in enumerate(names):
                for command in _DONE.get(name, ()):
                    _do(defined, f"virtio-disk{position}", command)
        specs = [_guest(f"guest-{number:02d}") for number in range(guests)]
        with concurrent.futures.ThreadPoolExecutor(_BOOTED_AT_A_TIME) as pool:
            machines += pool.map(lambda spec: boot(hypervisor, spec), specs)
        for machine in machines:
            enlist(machine.spec, _OF_A_GUEST)
            await_true(
                f"{machine.spec.name}'s agent is connected",
                lambda machine=machine: machine.channel_state() == "connected",
                _PATIENCE_SECONDS,
            )
        scene = Scene(hypervisor, images, uuids)
        yield Host(scene, classes, frozenset(shut_off), machines, filesystems)
    finally:
        connection.close()
        for machine in machines:
            with contextlib.suppress(libvirt.libvirtError):
                machine.connection.close()


def _guest(name: str) -> Domain:
    disks = (overlay("vda"), Disk("vdb", _SIZE, serial=f"{name}-data"))
    return Domain(name=name, disks=disks, script=_SCRIPT, small=True)


def _do(domain: libvirt.virDomain, alias: str, command: str) -> None:
    """What ``qemu-io`` does, done by QEMU on a disk of the domain, as its guest would."""
    said = libvirt_qemu.qemuMonitorCommand(
        domain,
        f'qemu-io -d /machine/peripheral/{alias}/virtio-backend "{command}"',
        libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP,
    )
    if "rror" in said or "failed" in said:
        raise RuntimeError(f"qemu-io {command}: {said}")
