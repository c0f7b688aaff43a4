# SPDX-License-Identifier: Apache-2.0
"""The domains that are looked at: disks of known content, in classes that differ in what is asked.

Domains follow each other in three sorts, so that each class has a third of them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator

import libvirt
import libvirt_qemu

from tests.lab.domain import MIB, Disk, Domain
from tests.lab.hypervisor import Hypervisor

_SIZE = 64 * MIB
_HELD = MIB
_FULL = 16 * MIB


@dataclasses.dataclass(frozen=True)
class Host:
    """The domains of one hypervisor, and of each disk its class and its image."""

    hypervisor: Hypervisor
    domains: list[Domain]
    classes: dict[tuple[str, str], str]
    images: dict[tuple[str, str], pathlib.Path]

    def held(self) -> dict[tuple[str, str], int]:
        """Bytes that the host's filesystem holds for each image, as ``du`` counts."""
        return {disk: path.stat().st_blocks * 512 for disk, path in self.images.items()}


def _written(image_format: str) -> Disk:
    """Thin, with a MiB that was written before the domain's start."""

    def prepare(hypervisor: Hypervisor, path: pathlib.Path) -> None:
        form = ("-f", image_format)
        hypervisor.run("qemu-img", "create", "-q", *form, str(path), str(_SIZE))
        hypervisor.run("qemu-io", *form, "-c", f"write -P 7 0 {_HELD}", str(path))

    return Disk("vda", _SIZE, format=image_format, prepare=prepare)


#: class and disk; all of them of the first two sorts of domain run
_SORTS = (
    (("running, qcow2", _written("qcow2")), ("running, raw, not written since start", _written("raw"))),
    (
        ("running, raw, preallocated", Disk("vda", _FULL, options="preallocation=falloc")),
        ("running, raw, last sectors written", Disk("vdb", _SIZE)),
    ),
    (("shut off, qcow2", _written("qcow2")), ("shut off, raw", _written("raw"))),
)  # fmt: skip
_LAST_SECTORS = f"write -P 3 {_SIZE - 32768} 32768"


@contextlib.contextmanager
def host(hypervisor: Hypervisor, count: int) -> Iterator[Host]:
    """Make ``count`` domains of two disks; the hypervisor ends them with itself."""
    domains = []
    classes, images = {}, {}
    connection = libvirt.open(hypervisor.uri)
    try:
        for number in range(count):
            (first, one), (second, other) = _SORTS[number % len(_SORTS)]
            disks = (one, dataclasses.replace(other, target="vdb"))
            # Transient when it runs; what is shut off has to be defined.
            domain = Domain(name=f"peer-{number:04d}", disks=disks, paused=True)
            for disk, name in zip(disks, (first, second), strict=True):
                disk.make(domain.name, hypervisor)
                classes[domain.name, disk.target] = name
                images[domain.name, disk.target] = disk.path(domain.name, hypervisor.workdir)
            xml = domain.xml(hypervisor.workdir, None)
            if number % len(_SORTS) == 2:
                connection.defineXML(xml)
            else:
                started = connection.createXML(xml, libvirt.VIR_DOMAIN_START_PAUSED)
                if number % len(_SORTS) == 1:
                    _write(started, "virtio-disk1", _LAST_SECTORS)
            domains.append(domain)
        yield Host(hypervisor, domains, classes, images)
    finally:
        connection.close()


def _write(domain: libvirt.virDomain, alias: str, command: str) -> None:
    """What ``qemu-io`` does, done by QEMU on a disk of the domain, as its guest would."""
    said = libvirt_qemu.qemuMonitorCommand(
        domain,
        f'qemu-io -d /machine/peripheral/{alias}/virtio-backend "{command}"',
        libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP,
    )
    if "rror" in said or "failed" in said:
        raise RuntimeError(f"qemu-io {command}: {said}")
