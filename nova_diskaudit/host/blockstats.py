# SPDX-License-Identifier: Apache-2.0
"""libvirt's block numbers of one running domain, as evidence.

The only calls of this project that make libvirt talk to a QEMU. A call on a QEMU that does not
answer never returns, nothing can cancel it, and it pins one of libvirtd's workers until that
QEMU is back, even after the caller died (measured on libvirt 9.0). Hence the look before each.
"""

from __future__ import annotations

import datetime
from typing import Any

import libvirt

from nova_diskaudit.facts import BlockInfo, BlockStats, Process, StatsAnswer
from nova_diskaudit.host.errors import HostError
from nova_diskaudit.host.inventory import lookup, translate, why_busy
from nova_diskaudit.host.processes import exists, why_silent

# Ask for these groups only: asking for all of them once leaked memory (CVE-2020-12430).
_GROUPS = libvirt.VIR_DOMAIN_STATS_STATE | libvirt.VIR_DOMAIN_STATS_BLOCK
_FLAGS = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
_MAX_RECORDS = 4096


def block_stats(
    connection: libvirt.virConnect, members: list[tuple[str, Process]]
) -> dict[str, StatsAnswer]:
    """``block.N.*`` by UUID and target of domains and the processes that run them.

    One question to libvirt, which asks one QEMU after another. Each domain is looked at first,
    right before that; one that is not asked says why (``qemu-unresponsive``,
    ``guest-not-running``, ``domain-gone``), and one that ends meanwhile has no disks.

    With NOWAIT libvirt leaves the numbers out when another call holds the domain's job, and it
    leaves them out when QEMU gives an error; so a missing number never means zero.

    :raises HostError: ``libvirt-busy`` or ``domain-unreadable``, for all of them.
    """
    answers: dict[str, StatsAnswer] = {}
    asked: list[libvirt.virDomain] = []
    for uuid, process in members:
        try:
            domain = lookup(connection, uuid)
            look_first(domain, process)
        except HostError as error:
            if not connection.isAlive():
                raise  # not about this domain: libvirt hung up, and all are asked once more
            answers[uuid] = StatsAnswer(disks={}, code=error.code, detail=error.detail)
        else:
            answers[uuid] = StatsAnswer(disks={})
            asked.append(domain)
    if not asked:
        return answers
    as_of = datetime.datetime.now(datetime.UTC)
    try:
        records = connection.domainListGetStats(asked, _GROUPS, _FLAGS)
    except libvirt.libvirtError as error:
        raise translate(error) from None
    for domain, numbers in records:
        answers[domain.UUIDString()] = StatsAnswer(disks=_by_target(numbers, as_of))
    return answers


def _by_target(numbers: dict[str, Any], as_of: datetime.datetime) -> dict[str, BlockStats]:
    found: dict[str, BlockStats] = {}
    for n in range(min(numbers.get("block.count", 0), _MAX_RECORDS)):
        name = numbers.get(f"block.{n}.name")
        # A copy job's target is listed again under the same name, after the disk itself.
        if isinstance(name, str) and name not in found:
            found[name] = BlockStats(
                capacity=numbers.get(f"block.{n}.capacity"),
                allocation=numbers.get(f"block.{n}.allocation"),
                physical=numbers.get(f"block.{n}.physical"),
                written_bytes=numbers.get(f"block.{n}.wr.bytes"),
                path=numbers.get(f"block.{n}.path"),
                as_of=as_of,
            )
    return found


def block_info(
    connection: libvirt.virConnect, uuid: str, target: str, process: Process
) -> BlockInfo:
    """What ``virsh domblkinfo`` prints for one disk of a running domain.

    :raises HostError: as :func:`block_stats`; ``evidence-missing`` when libvirt has no such
        numbers for this disk (an empty drive, vhost-user).
    """
    domain = lookup(connection, uuid)
    look_first(domain, process)
    as_of = datetime.datetime.now(datetime.UTC)
    try:
        capacity, allocation, physical = domain.blockInfo(target, 0)
    except libvirt.libvirtError as error:
        told = translate(error)
        if told.code == "domain-unreadable":
            raise HostError("evidence-missing", told.detail) from None
        raise told from None
    return BlockInfo(capacity=capacity, allocation=allocation, physical=physical, as_of=as_of)


def look_first(domain: libvirt.virDomain, process: Process) -> None:
    """Return only when this QEMU can be expected to answer.

    :raises HostError: ``qemu-unresponsive`` when it is stopped, waits for storage, or another
        call has waited for it for 2 s; ``guest-not-running`` when the process is gone.
    """
    if not exists(process):
        raise HostError("guest-not-running", f"QEMU (pid {process.pid}) has ended")
    why = why_silent(process)
    if why is not None:
        raise HostError("qemu-unresponsive", why)
    why = why_busy(domain)
    if why is not None:
        raise HostError("qemu-unresponsive", why)
