# SPDX-License-Identifier: Apache-2.0
"""Hundreds of real QEMU processes without a guest OS, for benchmarks and tests of harm.

Each is paused before its first instruction: it costs a fifth of a second and little memory, and
its monitor answers like any other.
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


def member(number: int) -> Domain:
    """One domain of the fleet: a qcow2 overlay on a shared base, and a sparse raw file."""
    return Domain(
        name=f"fleet-{number:04d}",
        disks=(overlay("vda"), Disk(target="vdb", size=GIB)),
        paused=True,
    )


@contextlib.contextmanager
def fleet(hypervisor: Hypervisor, count: int) -> Iterator[list[Domain]]:
    """Start ``count`` domains; the hypervisor ends them with itself."""
    hypervisor.run("truncate", "-s", "64M", str(hypervisor.workdir / "base.raw"))
    members = [member(number) for number in range(count)]
    connection = libvirt.open(hypervisor.uri)
    try:
        for domain in members:
            for disk in domain.disks:
                disk.make(domain.name, hypervisor)
            connection.createXML(
                domain.xml(hypervisor.workdir, None), libvirt.VIR_DOMAIN_START_PAUSED
            )
        yield members
    finally:
        connection.close()
