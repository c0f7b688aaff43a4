# SPDX-License-Identifier: Apache-2.0
"""The limits that mean something here, and how two of them compare. Keystone counts in GiB.

Two are our own, registered for a service of the type ``disk-audit``; the third is Nova's.
"""

UNLIMITED = -1

HOST_ALLOCATED = "disk_host_allocated_gib"
GUEST_USED = "disk_guest_used_gib"
NOVA_DISK = "class:DISK_GB"

#: The type of the service that each belongs to, in the order in which they are shown.
SERVICE_TYPES = {
    HOST_ALLOCATED: "disk-audit",
    GUEST_USED: "disk-audit",
    NOVA_DISK: "compute",
}

#: Keystone's enforcement models (its administrator guide, "Unified Limits").
FLAT = "flat"
HIERARCHICAL = "strict_two_level"


def lesser(one: int, other: int) -> int:
    """The smaller of two limits, where -1 is unlimited."""
    if UNLIMITED in (one, other):
        return max(one, other)
    return min(one, other)
