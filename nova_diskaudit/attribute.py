# SPDX-License-Identifier: Apache-2.0
"""Which virtual disk does a filesystem of the guest lie on? Host's disks and guest's claims in.

The guest names devices in its own words: a serial as udev spells it, and a bus address. A serial
is believed when exactly one disk has it. An address is believed only when exactly one disk and
exactly one device of the guest claim it, because qemu-ga (7.2 and 10.0, ``commands-linux.c``)
reports every virtio-scsi disk at target 0, and because a guest numbers PCI buses itself.

Pure: no I/O, no clock. A guest can at worst move its own claims among its own disks.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from nova_diskaudit.facts import (
    DiskDefinition,
    GuestClaims,
    GuestDevice,
    GuestDisk,
    GuestFilesystem,
)
from nova_diskaudit.record import Place

# virtio-blk carries 20 bytes of serial (VIRTIO_BLK_ID_BYTES in linux/virtio_blk.h), and so does
# an ATA disk (words 10 to 19 of IDENTIFY DEVICE; drive_serial_str in QEMU's hw/ide/core.c).
VIRTIO_SERIAL_CHARACTERS = 20
_SHORT_SERIAL_BUSES = frozenset({"virtio", "ide", "sata"})
# What udev (scsi_id, ata_id) puts before the serial of QEMU's emulated disks.
_SERIAL_PREFIXES = ("0QEMU_QEMU_HARDDISK_", "QEMU_HARDDISK_", "QEMU_QEMU_HARDDISK_")
# libvirt names the device of a disk without serial after its alias (qemu_command.c), and QEMU
# shows that name to the guest where a serial would stand (hw/scsi/scsi-disk.c, device_id).
_DEVICE_ID_PREFIX = "drive-"

# Images mounted read-only: always full, and never a use of the disk that could be given back.
IMAGE_TYPES = frozenset({"squashfs", "iso9660", "erofs", "udf", "cramfs", "romfs", "CDFS", "UDF"})
# qemu-ga names one device of these, however many they have.
MULTI_DEVICE_TYPES = frozenset({"btrfs", "bcachefs", "f2fs", "zfs"})
_STACKED_NAME = re.compile(r"(?:/dev/)?(dm-|md|bcache|drbd|loop)")
_DM_NAME = re.compile(r"(?:/dev/)?dm-\d+$")
_PARTITION = re.compile(
    r"^((?:/dev/)?(?:(?:nvme\d+n|mmcblk|nbd|loop|md)\d+(?=p\d+$)|(?:xvd|[shv]d|dasd)[a-z]+))p?\d+$"
)
_MAX_STACK_DEPTH = 16
_LARGEST_CLAIM = 2**63 - 1


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """A filesystem with the disks it was traced to, and how sure that is.

    ``implausible`` claims enter no sum. ``exceeds`` marks used bytes above the disk's size:
    honest on thin volumes and btrfs, but not to be summed either.
    """

    filesystem: GuestFilesystem
    targets: tuple[str, ...]
    place: Place
    implausible: bool = False
    exceeds: bool = False


class DiskClaims(msgspec.Struct, frozen=True, kw_only=True):
    """What the guest claims about one disk, ready for arithmetic.

    ``direct``: (used, size) of each filesystem that owns a region of this disk. ``inside``:
    used bytes of those wholly on it that may share blocks with each other. ``incomplete``: a
    filesystem on it has no usable number or lies on other disks too. ``types`` are the types
    of the direct filesystems, ``stacked`` whether one of them lies on a stacked device.
    """

    direct: tuple[tuple[int, int], ...] = ()
    inside: tuple[int, ...] = ()
    total_bytes: int | None = None
    incomplete: bool = False
    types: frozenset[str] = frozenset()
    stacked: bool = False

    @property
    def used_bytes(self) -> int | None:
        """Sum of used bytes over the filesystems wholly on this disk; None without any."""
        if not self.direct and not self.inside:
            return None
        return sum(used for used, _ in self.direct) + sum(self.inside)


def needs_guest_disks(
    disks: Sequence[DiskDefinition], filesystems: Iterable[GuestFilesystem]
) -> bool:
    """Whether ``guest-get-disks`` would tell something that the filesystems alone do not.

    True for stacked devices, and for devices that only an address can trace where several
    disks share a controller.
    """
    by_serial = _Serials(disks)
    return any(
        _DM_NAME.match(fs.name) is not None
        or any(
            (d.address or "").startswith("drive:") and by_serial.target(d) is None
            for d in fs.devices
        )
        for fs in filesystems
    )


def attribute(
    disks: Sequence[DiskDefinition],
    sizes: Mapping[str, int | None],
    data_disks: int,
    claims: GuestClaims,
) -> tuple[Placed, ...]:
    """Trace every claimed filesystem to the disks of the domain.

    :param disks: the disks of the domain XML.
    :param sizes: ``virtual_bytes`` by target, None where unknown.
    :param data_disks: how many disks of the instance can carry a guest's filesystem (neither
        CD-ROM nor config drive); btrfs is trusted to one disk only when there is just one.
    """
    trace = _Trace(disks, sizes, claims)
    stack = _Stack(claims.disks or ())
    placed: list[Placed] = []
    names: set[str] = set()
    regions: set[str] = set()
    shared_regions: set[str] = set()
    direct_bytes: Counter[str] = Counter()
    for fs in claims.filesystems:
        if fs.name in names:
            continue  # the same device mounted twice: one filesystem
        names.add(fs.name)
        targets, all_known = trace.targets(fs)
        limit = sizes.get(targets[0]) if len(targets) == 1 else None
        implausible = _is_implausible(fs)
        exceeds = limit is not None and fs.used_bytes is not None and fs.used_bytes > limit
        place = _place(fs, targets, all_known, data_disks, stack)
        if implausible:
            place = "ignored"
        elif place == "direct":
            target, size = targets[0], _size(fs)
            device = {d.dev for d in fs.devices if d.dev}
            stacked = _STACKED_NAME.match(fs.name) is not None
            # Volumes of one group share their partition, and nothing else does.
            overlaps = bool(device & (regions if stacked else regions | shared_regions))
            too_large = limit is not None and direct_bytes[target] + size > limit
            if overlaps or exceeds or (stacked and too_large):
                place = "inside"
            else:
                (shared_regions if stacked else regions).update(device)
                direct_bytes[target] += size
        placed.append(
            Placed(
                filesystem=fs,
                targets=targets,
                place=place,
                implausible=implausible,
                exceeds=exceeds and not implausible,
            )
        )
    return tuple(placed)


def claims_of_disk(target: str, placed: Iterable[Placed]) -> DiskClaims:
    """Collect what was placed on one disk, with everything unusable left out of the sums."""
    direct: list[tuple[int, int]] = []
    inside: list[int] = []
    types: set[str] = set()
    totals: list[int] = []
    incomplete = False
    stacked = False
    for item in placed:
        fs = item.filesystem
        if target not in item.targets or (item.place == "ignored" and not item.implausible):
            continue
        unusable = item.implausible or item.exceeds or fs.used_bytes is None
        if unusable or item.place == "spans":
            incomplete = True
            continue
        assert fs.used_bytes is not None
        totals.append(_size(fs))
        if item.place == "direct":
            direct.append((fs.used_bytes, _size(fs)))
            types.add(fs.type)
            stacked |= _STACKED_NAME.match(fs.name) is not None
        else:
            inside.append(fs.used_bytes)
    return DiskClaims(
        direct=tuple(direct),
        inside=tuple(inside),
        # One that does not tell its size makes the sum unknown, not smaller.
        total_bytes=sum(totals) if totals and all(totals) else None,
        incomplete=incomplete,
        types=frozenset(types),
        stacked=stacked,
    )


def _size(fs: GuestFilesystem) -> int:
    """Size of a filesystem in bytes; what old agents say leaves out the part for root."""
    return fs.size_bytes or fs.total_bytes or 0


def _is_implausible(fs: GuestFilesystem) -> bool:
    numbers = [n for n in (fs.used_bytes, fs.total_bytes, fs.size_bytes) if n is not None]
    if any(n < 0 or n > _LARGEST_CLAIM for n in numbers):
        return True
    if fs.used_bytes is None:
        return False
    return any(n is not None and fs.used_bytes > n for n in (fs.total_bytes, fs.size_bytes))


def _place(
    fs: GuestFilesystem,
    targets: tuple[str, ...],
    all_known: bool,
    data_disks: int,
    stack: _Stack,
) -> Place:
    if fs.type in IMAGE_TYPES:
        return "ignored"
    if not targets:
        return "elsewhere"
    if len(targets) > 1 or not all_known:
        return "spans"
    if fs.type in MULTI_DEVICE_TYPES and data_disks != 1:
        return "spans"
    if len({d.dev or d.address or d.serial for d in fs.devices}) != 1:
        return "inside"
    if _STACKED_NAME.match(fs.name) is None:
        return "direct"
    return "direct" if stack.owns_its_region(fs.name) else "inside"


class _Serials:
    """Disks by serial, as the guest would spell it; ambiguous spellings match nothing."""

    def __init__(self, disks: Sequence[DiskDefinition]) -> None:
        owners: dict[str, set[str]] = defaultdict(set)
        for disk in disks:
            for spelling in _spellings(disk):
                owners[spelling].add(disk.target)
        self._target = {s: next(iter(t)) for s, t in owners.items() if len(t) == 1}

    def target(self, device: GuestDevice) -> str | None:
        return self._target.get(device.serial or "")


def _spellings(disk: DiskDefinition) -> set[str]:
    if disk.serial:
        serial = disk.serial.strip().replace(" ", "_")
        if disk.bus in _SHORT_SERIAL_BUSES:
            serial = serial[:VIRTIO_SERIAL_CHARACTERS]
        if disk.bus == "virtio":
            return {serial} if serial else set()
        return {serial} | {prefix + serial for prefix in _SERIAL_PREFIXES} if serial else set()
    if disk.alias and disk.bus in ("scsi", "usb"):
        device_id = _DEVICE_ID_PREFIX + disk.alias
        return {device_id} | {prefix + device_id for prefix in _SERIAL_PREFIXES}
    return set()


class _Trace:
    """From a device of the guest to the target of one disk."""

    def __init__(
        self,
        disks: Sequence[DiskDefinition],
        sizes: Mapping[str, int | None],
        claims: GuestClaims,
    ) -> None:
        self._serials = _Serials(disks)
        self._sizes = sizes
        self._at: dict[str, list[DiskDefinition]] = defaultdict(list)
        self._on_controller: Counter[str] = Counter()
        self._at_target_0: Counter[str] = Counter()
        for disk in disks:
            if disk.address:
                self._at[disk.address].append(disk)
                self._on_controller[_controller(disk.address)] += 1
                self._at_target_0[_with_target_0(disk.address)] += 1
        self._listed = claims.disks is not None
        self._claimants: dict[str, set[str]] = defaultdict(set)
        devices = [d for fs in claims.filesystems for d in fs.devices]
        devices += [g.device for g in claims.disks or () if g.device and not g.partition]
        for device in devices:
            if device.address and device.dev:
                self._claimants[device.address].add(_whole_disk(device.dev))

    def targets(self, fs: GuestFilesystem) -> tuple[tuple[str, ...], bool]:
        """The disks of a filesystem, sorted, and whether every device of it was traced."""
        found = [self._target(device, fs) for device in fs.devices]
        known = tuple(sorted({t for t in found if t is not None}))
        return known, None not in found

    def _target(self, device: GuestDevice, fs: GuestFilesystem) -> str | None:
        by_serial = self._serials.target(device)
        if by_serial is not None:
            return by_serial
        if not device.address or len(self._at[device.address]) != 1:
            return None
        if len(self._claimants[device.address]) > 1:
            return None
        (disk,) = self._at[device.address]
        if device.serial and disk.serial:
            return None  # the guest sees another serial there: another disk
        if device.address.startswith("drive:"):
            # Every disk of a virtio-scsi controller may be reported at target 0: without a
            # list of all the guest's disks a lone claimant proves nothing.
            alone = self._on_controller[_controller(device.address)] == 1
            if not alone and not self._listed:
                return None
            # Nor does a list that lacks some: an empty CD-ROM, a disk that the guest dropped.
            if self._at_target_0[device.address] > 1:
                return None
        limit = self._sizes.get(disk.target)
        if limit is not None and len(fs.devices) == 1 and _size(fs) > limit:
            return None
        return disk.target


def _controller(address: str) -> str:
    return address.rsplit(":", 3)[0] if address.startswith("drive:") else address


def _with_target_0(address: str) -> str:
    """The address as a Linux guest would report it for a virtio-scsi disk."""
    if not address.startswith("drive:") or address.count(":") < 4:
        return address
    controller, bus, _, unit = address.rsplit(":", 3)
    return f"{controller}:{bus}:0:{unit}"


def _whole_disk(dev: str) -> str:
    match = _PARTITION.match(dev)
    return match.group(1) if match else dev


class _Stack:
    """The guest's stacked block devices, from ``guest-get-disks``."""

    def __init__(self, disks: Iterable[GuestDisk]) -> None:
        self._disks = {disk.name: disk for disk in disks}
        self._users: dict[str, set[str]] = defaultdict(set)
        self._volume_group: dict[str, bool] = {}
        for disk in self._disks.values():
            if not disk.partition:
                for dependency in disk.dependencies:
                    self._users[dependency].add(disk.name)

    def owns_its_region(self, name: str) -> bool:
        """Whether a device-mapper device maps to blocks that no other device maps to.

        One dependency at every level down to a partition or a disk. Below, device-mapper
        devices that lie on nothing but the partition itself are volumes of one group, each
        with extents of its own; sharing anything above it (a thin pool, the origin of a
        snapshot) means sharing blocks. A sibling that lies on more than the partition may be
        a volume of two disks, but also a snapshot of the partition with its copies elsewhere.
        """
        node = name if name.startswith("/dev/") else f"/dev/{name}"
        for _ in range(_MAX_STACK_DEPTH):
            if _DM_NAME.match(node) is None:
                return _STACKED_NAME.match(node) is None
            disk = self._disks.get(node)
            if disk is None or len(set(disk.dependencies)) != 1:
                return False
            below = disk.dependencies[0]
            if len(self._users[below]) > 1 and not self._is_volume_group(below):
                return False
            node = below
        return False

    def _is_volume_group(self, below: str) -> bool:
        """Whether all that lies on a partition or disk lies on nothing else; asked once each."""
        known = self._volume_group.get(below)
        if known is None:
            known = _STACKED_NAME.match(below) is None and all(
                _DM_NAME.match(user) and set(self._disks[user].dependencies) == {below}
                for user in self._users[below]
            )
            self._volume_group[below] = known
        return known
