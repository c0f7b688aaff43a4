# SPDX-License-Identifier: Apache-2.0
"""What ``virsh domblkinfo`` prints for a disk, which branch of libvirt made it, and why.

``virDomainGetBlockInfo`` (libvirt 5.6.0 ``qemu_driver.c:12427``, 11.3.0 ``:10558``; the
arithmetic is the same) builds its three columns from three QMP numbers and the length of the
image. The bulk call (``block.N.*``) hands out the same QMP numbers under other names, so the
triple can be predicted from bulk stats and ``stat`` without asking libvirt again:

=================  =============================================  =========================
QMP field          meaning                                        bulk stats key
=================  =============================================  =========================
virtual-size       what the guest sees                            block.N.capacity
actual-size        bytes held; 0 for block devices; absent for    block.N.physical (the length
                   most network drivers, then taken as full       instead when it is 0)
wr_highest_offset  highest offset written since QEMU opened the   block.N.allocation (0 when
                   image; absent when the disk has no format      absent)
                   node (libvirt >= 10.1 with QEMU >= 9.0, raw)
=================  =============================================  =========================

Pure: no I/O, no clock.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from nova_diskaudit.facts import BlockStats, LayerFacts

Cause = Literal["A", "B", "C", "D", "E", "F", "G"]

CAUSES: dict[str, str] = {
    "A": "a network disk that nobody has written to since QEMU started: its driver reports no "
    "allocation, and libvirt takes that as full",
    "B": "the last sector was written once (mkfs.xfs, a GPT backup header, md or LVM metadata), "
    "so the highest written offset is the size",
    "C": "a file that was reserved in full",
    "D": "a file that was discarded to nothing after its last sector had been written",
    "E": "a block device: shut off, or written to its last sector",
    "F": "a qcow2 file whose space was reserved in full",
    "G": "a network disk of a recent libvirt and QEMU, which no longer report what was written",
}


class Triple(msgspec.Struct, frozen=True, kw_only=True):
    """The three columns of ``virsh domblkinfo``, in bytes."""

    capacity: int
    allocation: int
    physical: int

    @property
    def look_equal(self) -> bool:
        """Whether ``virsh domblkinfo --human`` prints three times the same.

        A file that is reserved in full holds a few blocks more than its size, for the list of
        its extents; whoever reads three equal sizes there does not see them.
        """
        return human(self.capacity) == human(self.allocation) == human(self.physical)


def human(count_bytes: int) -> str:
    """A size as ``virsh --human`` prints it (libvirt ``tools/vsh.c``, ``vshPrettyCapacity``)."""
    size, units = float(count_bytes), ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
    while size >= 1024 and len(units) > 1:
        size /= 1024
        del units[0]
    return f"{size:.3f} {units[0]}"


class Qmp(msgspec.Struct, frozen=True, kw_only=True):
    """The QMP numbers behind the bulk stats, as far as they can be told apart, in bytes.

    ``actual_size`` is None when the driver reports none (libvirt then takes ``virtual_size``).
    ``wr_highest_offset`` is None when it is 0 *or* absent: both give the same triple.
    ``offset_is_absent``: the guest has written, so it is absent. ``length`` is what libvirt finds
    by seeking to the end, None where it cannot.
    """

    virtual_size: int
    actual_size: int | None
    wr_highest_offset: int | None
    length: int | None
    offset_is_absent: bool = False


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """A predicted triple; ``branch`` names the path through libvirt's code in words."""

    triple: Triple
    branch: str
    qmp: Qmp


def qmp_behind(storage: str, stats: BlockStats, facts: LayerFacts) -> Qmp | None:
    """Read the QMP numbers out of bulk stats; None when libvirt gave none.

    ``block.N.physical`` is actual-size when that is not 0, else the length: only ``stat``
    tells a file that holds nothing from a file that holds as much as it is long.
    """
    if stats.capacity is None or stats.physical is None:
        return None
    # Of a directory (vvfat) libvirt finds no length, and says 0 (virstoragefile, 9.0 and 11.3).
    length = 0 if storage == "dir" else facts.container_bytes
    actual: int | None = stats.physical
    if storage == "block" or (storage == "file" and facts.allocated_bytes == 0):
        actual = 0
    elif storage == "dir" or (
        storage != "file" and stats.physical == stats.capacity and length is None
    ):
        actual = None
    return Qmp(
        virtual_size=stats.capacity,
        actual_size=actual,
        wr_highest_offset=stats.allocation or None,
        length=length,
        offset_is_absent=not stats.allocation and bool(stats.written_bytes),
    )


def predict(storage: str, image_format: str | None, qmp: Qmp) -> Prediction:
    """The triple of a running domain.

    :param storage: libvirt's source type of the top layer (``file``, ``block``, ``network:*``).
    :param image_format: the driver type of the domain XML.
    """
    # A driver without actual-size "is not thin provisioned" (qemu_monitor_json.c).
    actual = qmp.virtual_size if qmp.actual_size is None else qmp.actual_size
    if storage == "file" and image_format == "qcow2":
        allocation = actual
        branch = "a qcow2 file: allocation is actual-size, the bytes held"
    elif qmp.wr_highest_offset is None:
        allocation = actual
        branch = "no wr_highest_offset (absent, or nothing written yet): allocation is actual-size"
    else:
        allocation = qmp.wr_highest_offset
        branch = "allocation is wr_highest_offset, the highest offset written since QEMU started"
    if actual == 0 or allocation in (0, actual):
        allocation = allocation or actual
        if qmp.length is not None:
            physical = qmp.length
            branch += "; physical is the length of the image"
        else:
            physical = actual
            branch += "; physical is actual-size, since libvirt cannot tell the length"
        if qmp.actual_size is None:
            branch += "; the driver reports no actual-size, so libvirt takes virtual-size for it"
    else:
        physical = actual
        branch += "; physical is actual-size, the bytes held (not the length)"
        if qmp.actual_size is None:
            branch += ", which the driver does not report, so libvirt takes virtual-size for it"
    return Prediction(
        triple=Triple(capacity=qmp.virtual_size, allocation=allocation, physical=physical),
        branch=branch,
        qmp=qmp,
    )


def predict_shut_off(
    storage: str, image_format: str | None, facts: LayerFacts
) -> tuple[Triple, str] | None:
    """The triple that libvirt would compute for a domain that is not running.

    Nobody asks libvirt for it here: on hung storage that call freezes the whole daemon. None
    where libvirt fails (network disks) or where the host cannot know the parts.
    (``qemuStorageLimitsRefresh``, libvirt 5.6.0 ``qemu_driver.c:12377``, 11.3.0 ``:10507``.)
    """
    length = facts.container_bytes
    raw = image_format == "raw"
    capacity = length if raw else facts.virtual_bytes
    if length is None or capacity is None:
        return None
    if storage == "file" and facts.allocated_bytes is not None:
        return (
            Triple(capacity=capacity, allocation=facts.allocated_bytes, physical=length),
            "not running: allocation is the bytes held, physical the length of the file",
        )
    if storage == "block":
        return (
            Triple(capacity=capacity, allocation=length if raw else 0, physical=length),
            "not running, a block device: "
            + ("all three are its length" if raw else "libvirt leaves allocation at 0"),
        )
    return None


def allocation_is_high_water_mark(storage: str, image_format: str | None, qmp: Qmp) -> bool:
    """Whether domblkinfo's allocation is an offset rather than an amount."""
    if storage == "file" and image_format == "qcow2":
        return False
    return qmp.wr_highest_offset is not None and qmp.wr_highest_offset != qmp.actual_size


def cause_of_equality(
    storage: str, image_format: str | None, triple: Triple, qmp: Qmp | None
) -> Cause | None:
    """Why capacity, allocation and physical look equal; None when they do not.

    :param qmp: None for a domain that is not running. A network disk that nobody has written
        to reads A, though on a recent libvirt and QEMU it will still be so after the first
        write (G): only that write tells the two apart.
    """
    if not triple.look_equal:
        return None
    if storage == "block":
        return "E"
    if storage not in ("file", "dir"):
        if qmp is not None and qmp.wr_highest_offset is not None:
            return "B"
        return "G" if qmp is not None and qmp.offset_is_absent else "A"
    if image_format == "qcow2":
        return "F"
    if qmp is not None and qmp.wr_highest_offset is not None:
        if qmp.actual_size == 0:
            return "D"
        if qmp.actual_size is not None and qmp.actual_size < qmp.virtual_size:
            return "B"
    return "C"
