# SPDX-License-Identifier: Apache-2.0
"""Hundreds of real QEMU processes without a guest OS, for benchmarks and tests of harm.

Each is paused before its first instruction, or runs on a firmware that halts: it costs a fifth of a
second and little memory, and its monitor answers like any other.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import libvirt

from tests.lab.domain import GIB, Disk, Domain
from tests.lab.hypervisor import Hypervisor


def overlay(target: str) -> Disk:
    """A qcow2 overlay on the base that :func:`fleet` makes."""
    return Disk(
        target=target,
        format="qcow2",
        prepare=lambda hypervisor, path: hypervisor.run(
            "qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw",
            "-b", str(hypervisor.workdir / "base.raw"), str(path), "1G",
        ),
    )  # fmt: skip


def member(number: int, rom: str = "") -> Domain:
    """One domain of the fleet: a qcow2 overlay on a shared base, and a sparse raw file.

    :param rom: of :attr:`tests.lab.domain.Domain.rom`, on which it runs; paused if empty.
    """
    return Domain(
        name=f"fleet-{number:04d}",
        disks=(overlay("vda"), Disk(target="vdb", size=GIB)),
        paused=not rom,
        rom=rom,
    )


@contextlib.contextmanager
def fleet(hypervisor: Hypervisor, count: int, rom: str = "") -> Iterator[list[Domain]]:
    """Start ``count`` domains, see :func:`member`; the hypervisor ends them with itself."""
    hypervisor.run("truncate", "-s", "64M", str(hypervisor.workdir / "base.raw"))
    members = [member(number, rom) for number in range(count)]
    connection = libvirt.open(hypervisor.uri)
    try:
        for domain in members:
            for disk in domain.disks:
                disk.make(domain.name, hypervisor)
            flags = libvirt.VIR_DOMAIN_START_PAUSED if domain.paused else 0
            connection.createXML(domain.xml(hypervisor.workdir, None), flags)
        yield members
    finally:
        connection.close()
