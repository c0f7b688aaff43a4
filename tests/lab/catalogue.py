# SPDX-License-Identifier: Apache-2.0
"""Which scenario stands for which row of the tables of block numbers, and which rows have none.

``python -m tests.lab.catalogue`` prints it as a table for the docs.
"""

import dataclasses
from collections.abc import Iterator


@dataclasses.dataclass(frozen=True)
class Entry:
    """A row, and the scenarios that show it; or why there is none here."""

    row: str
    scenarios: tuple[str, ...] = ()
    why_not: str = ""


def _of(row: str, *scenarios: str) -> Entry:
    return Entry(row, scenarios)


def _not(row: str, why: str) -> Entry:
    return Entry(row, why_not=why)


_AS_NBD = (
    "needs a server of its own kind and Debian's qemu-block-extra; libvirt treats it as it treats "
    "nbd, which is shown"
)
_LINUX_ONLY = "the lab's guest is Linux: there is no free image of that system with an agent"

SECTIONS: dict[str, tuple[Entry, ...]] = {
    "1.2 and 1.3: running, with and without a raw format node": (
        _of("file raw sparse, nothing written since start", "raw-untouched", "raw-restarted"),
        _of("file raw sparse, high-water mark != bytes held", "raw-last-sector-written"),
        _of("file raw sparse, high-water mark == bytes held", "raw-high-water-mark-equals-du"),
        _of("file raw, discarded to nothing", "raw-fully-discarded"),
        _of("file raw preallocated, nothing written", "raw-preallocated"),
        _of("file raw preallocated, written", "raw-preallocated-written"),
        _of("file qcow2", "qcow2-untouched", "qcow2-written", "qcow2-external-data-file"),
        _of("file qcow2 with fallocate -n", "qcow2-fallocated"),
        _of("file of another format", "vmdk-written", "vdi-written", "luks-written"),
        _of("block raw, nothing written", "block-raw-untouched", "block-raw-restarted"),
        _of("block raw, written", "block-raw-written"),
        _of("block qcow2, nothing written", "block-qcow2-untouched"),
        _of("block qcow2, written", "block-qcow2-written"),
        _of("network raw, nothing written", "nbd-raw-untouched"),
        _of("network raw, written", "nbd-raw-written"),
        _of("network qcow2", "nbd-qcow2-written"),
        _not("network rbd, iscsi, ssh, http", _AS_NBD),
        _not("type nvme", "needs an NVMe controller that the host gives away by VFIO"),
        _not("network gluster", "needs a Gluster cluster"),
        _not("network nfs:// (libnfs)", "needs an NFS server and Debian's qemu-block-extra"),
        _of("volume", "volume-qcow2", "volume-raw"),
        _of("dir (vvfat)", "directory"),
        _of("vhost-user", "vhost-user"),
        _of("empty cdrom", "cdrom-empty"),
    ),
    "1.4: shut off": (
        _of("file", "off-raw", "off-qcow2", "off-raw-preallocated", "life-off-vda"),
        _of("block raw", "off-block-raw"),
        _of("block, another format", "off-block-qcow2"),
        _of("network, and a volume: an error", "off-nbd", "off-volume"),
        _not("gluster", "needs a Gluster cluster"),
    ),
    "1.5: all three numbers equal": (
        _of("A network raw, nothing written", "nbd-raw-untouched"),
        _of("B last sector written", "nbd-raw-last-sector-written", "seed-sparse"),
        _of("C preallocated", "raw-preallocated-last-sector-written", "seed-reserved"),
        _of("D discarded to nothing", "raw-fully-discarded"),
        _of("E block device", "block-raw-last-sector-written", "off-block-raw"),
        _of("F qcow2 fallocated in full", "qcow2-fallocated-in-full"),
        _of("G network raw on the new stack", "nbd-raw-written"),
        _not("H a binding that mixes up the fields", "no property of a disk"),
    ),
    "1.6: how allocation misleads": (
        _of("the mark begins anew with QEMU", "raw-restarted", "block-raw-restarted"),
        _of("an active commit that is ready to pivot", "life-committing-vda"),
        _of("the backing chain is left out", "qcow2-overlay", "life-snapshotted-vda"),
        _of("internal snapshots are counted", "qcow2-internal-snapshot"),
        _of("reflinked files count what they share", "raw-reflinked"),
    ),
    "4.2: what the agent lists": (
        _of("ext4, xfs, vfat on partition or disk", "partitions", "whole-disk", "vfat"),
        _of("LVM", "lvm-linear", "lvm-two-volumes", "lvm-across-disks"),
        _of("thin volumes with a snapshot", "thin-volumes-with-snapshot"),
        _of("dm-crypt", "luks", "luks-locked"),
        _of("md RAID", "md-raid1", "md-raid0"),
        _not("multipath", "a lab disk has one path"),
        _of("btrfs", "btrfs-with-subvolumes", "btrfs-over-two-disks", "newer-agent-btrfs"),
        _of("bind mounts", "bind-mount", "newer-agent-whole-disk"),
        _of("overlay, tmpfs, squashfs and loop images", "squashfs-loop"),
        _not("ZFS, NFS, CIFS, virtiofs, 9p, FUSE", "never listed, as overlay, which is shown"),
        _of("swap, unmounted partitions, raw data", "swap", "partitions", "raw-data"),
        _not("inside containers", "the agent sees its own mount namespace only: nothing to show"),
        _of("CD-ROM and config drive", "cdrom", "config-drive"),
        _not("Windows, FreeBSD, macOS", _LINUX_ONLY),
        _of("frozen", "agent-frozen"),
        _of("blocked commands", "agent-refused"),
        _of("no channel, no agent, a stopped agent", "agent-absent", "agent-disconnected"),
        _of("a stopped agent, and after it", "agent-hung", "agent-after-hanging"),
        _of("an agent without byte counts", "old-agent-without-byte-counts"),
        _of(
            "an agent that tells the size with what is reserved for root (QEMU 9.1 and newer)",
            "newer-agent-whole-disk",
            "newer-agent-partitions",
            "newer-agent-lvm",
            "newer-agent-btrfs",
        ),
        _not("a 32-bit guest, whose numbers wrap", "Debian's cloud kernel is 64-bit; see wrapped"),
    ),
    "4.3: which disk": (
        _of("serials as udev gives them", "scsi-with-serials", "whole-disk"),
        _of("no serials", "scsi-without-serials", "scsi-units-without-udev"),
        _of("one address for all", "scsi-without-udev", "one-address-for-all"),
        _of("serials cut to the same characters", "virtio-serials-alike", "virtio-without-udev"),
        _of("hot-plug", "life-plugged-vdc"),
    ),
}


def entries() -> Iterator[Entry]:
    for section in SECTIONS.values():
        yield from section


def main() -> None:
    for title, section in SECTIONS.items():
        print(f"### {title}\n\n| row | scenarios, or why there is none |\n|---|---|")
        for entry in section:
            shown = ", ".join(f"`{name}`" for name in entry.scenarios) or f"none: {entry.why_not}"
            print(f"| {entry.row} | {shown} |")
        print()


if __name__ == "__main__":
    main()
