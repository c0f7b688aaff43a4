# SPDX-License-Identifier: Apache-2.0
"""Why an instance is not measured, in one code for each of the two numbers.

The agent explains each unknown number by a finding. Which of an instance's findings that is, is
decided here once, when the report is taken, so that a sum over a project can count the causes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from nova_diskaudit import findings, protocol, record

#: Beside the codes of findings: Nova has it on a host, and no report tells of it;
NOT_REPORTED = "not-reported"
#: Nova has it nowhere: shelved, or not yet scheduled;
NOT_ON_A_HOST = "not-on-a-host"
#: it is reported, but from where Nova does not have it;
UNVERIFIED = "unverified"
#: the guest answered, and no filesystem of it lies wholly on one of the disks;
NO_FILESYSTEM = "no-filesystem"
#: the report leaves the number out, and does not say why in words that this release knows.
NOT_TOLD = "not-told"

# What explains that the host's number is missing, the first that is there; so what is wrong stands
# before what is normal.
_OF_THE_HOST = (
    "storage-unresponsive",
    "storage-error",
    "permission-denied",
    "file-missing",
    "not-a-regular-file",
    "qemu-unresponsive",
    "domain-unreadable",
    "audit-deadline",
    "no-connection",
    "libvirt-busy",
    "inventory-stale",
    "domain-gone",
    "external-data-unknown",
    "host-allocation-unknown",
    "no-medium",
)
# The same for what an answering guest uses.
_OF_THE_GUEST = (
    "guest-claim-implausible",
    "guest-claim-exceeds-disk",
    "filesystem-spans-disks",
    "agent-without-byte-counts",
    "filesystem-unattributed",
)
_ANSWERED = "answered"


class Lacks(NamedTuple):
    """A code for each number that is not known of all local disks; None for one that is."""

    host: str | None
    guest: str | None


def judge(instance: protocol.Instance, sums: record.Totals) -> Lacks:
    """What an instance lacks.

    :param sums: those of its local disks.
    """
    unseen = is_unseen(instance)
    host = guest = None
    if unseen or sums.host_allocated_unknown:
        disks = [one for one in instance.disks if one.host_allocated_bytes is None]
        host = _first(_OF_THE_HOST, instance, disks) or NOT_TOLD
    if unseen or sums.guest_used_unknown:
        guest = _of_the_guest(instance)
    return Lacks(host=host, guest=guest)


def is_unseen(instance: protocol.Instance) -> bool:
    """Whether nobody could describe its domain: then it has no disks that could lack anything."""
    return not instance.disks and instance.state == "unknown"


def _of_the_guest(instance: protocol.Instance) -> str:
    state = instance.guest.state
    if state != _ANSWERED:
        return state if state in findings.CATALOGUE else NOT_TOLD
    disks = [one for one in instance.disks if one.guest_used_bytes is None]
    return _first(_OF_THE_GUEST, instance, disks) or NO_FILESYSTEM


def _first(
    explaining: Iterable[str], instance: protocol.Instance, disks: Iterable[record.Disk]
) -> str | None:
    told = {found.code for disk in disks if disk.kind == "local" for found in disk.findings}
    told |= {found.code for found in instance.findings}
    return next((code for code in explaining if code in told), None)
