# SPDX-License-Identifier: Apache-2.0
"""A set model of blocks: random hosts and guests, what is true in them, and what they say.

Nothing here knows a rule of the core. A *world* is a few virtual disks made of 512-byte sectors.
A set of sectors is an ``int`` used as a bit mask. The guest lays partitions, volume groups, thin
pools, md arrays, LUKS and filesystems over them; the host stores some of its own, coarser blocks.
Everything is then read off the sets.

*Used* on a disk means: the distinct sectors of this disk that some filesystem reported by the
guest counts as used (``f_blocks - f_bfree``). A sector that two thin volumes share counts once.
A mirror whose halves are on one disk counts both. What a filesystem hides from ``f_blocks``
(inode tables, journal), swap, and filesystems that the agent does not list are live but not used:
``live_sectors`` has them, and both sets must lie within the bounds.

What the model leaves out, on purpose:

* a filesystem on a thin volume counts no sector that the pool never provisioned (``fallocate``
  on a thin volume does that: the sector is used and lies nowhere);
* deduplicating device-mapper targets (VDO);
* a guest whose PCI bus numbers differ from those of the domain XML.
"""

from __future__ import annotations

import datetime
import random
from dataclasses import dataclass, field

from nova_diskaudit.facts import (
    DiskDefinition,
    GuestClaims,
    GuestDevice,
    GuestDisk,
    GuestFilesystem,
    Layer,
    LayerFacts,
)

SECTOR = 512
NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def ones(count: int) -> int:
    return (1 << count) - 1


def span(start: int, count: int) -> int:
    return ones(count) << start


def every(period: int, width: int, offset: int, length: int) -> int:
    """``width`` sectors at ``offset`` of every ``period``, within ``length``."""
    times = -(-length // period)
    comb = ((1 << (period * times)) - 1) // ((1 << period) - 1)
    return (comb * span(offset, width)) & ones(length)


def widen(blocks: int, count: int, width: int) -> int:
    """Turn a set of blocks into the set of their sectors."""
    if width == 1 or not blocks:
        return blocks
    text = f"{blocks:0{count}b}"
    return int(text.replace("0", "0" * width).replace("1", "1" * width), 2)


def whole_units(sectors: int, unit: int) -> int:
    """The units wholly inside a set, each as its first sector. ``unit`` is a power of two."""
    step = 1
    while step < unit:
        sectors &= sectors >> step
        step *= 2
    return sectors & every(unit, 1, 0, sectors.bit_length())


def touched_units(sectors: int, unit: int) -> int:
    """The units that a set touches, each as its first sector."""
    length = -(-sectors.bit_length() // unit) * unit
    return every(unit, 1, 0, length) & ~whole_units(ones(length) & ~sectors, unit)


def some(r: random.Random, count: int) -> int:
    """A random subset of ``count`` things, often a regular one."""
    if count <= 0:
        return 0
    shape = r.randint(0, 7)
    if shape == 0:
        return 0
    if shape == 1:
        return ones(count)
    if shape == 2:
        return ones(r.randint(1, count))
    if shape == 3:
        few = r.randint(1, count)
        return span(count - few, few)
    if shape in (4, 5):
        period = min(count, 2 ** r.randint(1, 6))
        return every(period, 1, r.randint(0, period - 1), count)
    if shape == 6:
        return 1 << r.randint(0, count - 1)
    noise = random.Random(r.randint(0, 2**16))
    dense = noise.getrandbits(count)
    for _ in range(noise.randint(0, 3)):
        dense &= noise.getrandbits(count)
    return dense


def coarse(grain: int, length: int) -> int:
    """A grain of which ``length`` has few, for the sake of speed."""
    while length > 64 * grain:
        grain *= 2
    return grain


# --- the host -----------------------------------------------------------------------------------


@dataclass
class HostDisk:
    """A virtual disk and the blocks that the host stores for it."""

    index: int
    target: str
    sectors: int
    bus: str
    serial: str | None
    address: str | None
    alias: str | None
    format: str
    unit: int  # sectors of a block (raw) or cluster (qcow2)
    stored: int  # units, each as its first sector
    unit_bytes: int  # what one stored unit takes; less than it covers where compressed
    metadata_bytes: int
    shares: bool | None
    thick: bool
    discard: bool
    snapshots: int | None
    before: int = 0
    after: int = 0
    size_known: bool = True
    allocation_known: bool = True

    @property
    def virtual_bytes(self) -> int:
        return self.sectors * SECTOR

    @property
    def alone_in_block(self) -> int:
        """The sectors of the last unit beyond the end of the disk: nobody's."""
        return ones(-(-self.sectors // self.unit) * self.unit) & ~ones(self.sectors)

    def bytes_held(self, stored: int) -> int:
        """Bytes as ``st_blocks`` counts them: the units, and the extent tree over them."""
        extents = (stored & ~(stored << self.unit)).bit_count()
        tree = 0
        if self.format == "raw" and not self.thick and extents > 4:
            block = self.unit * SECTOR
            tree = block * -(-extents * 12 // (block - 64))
        return stored.bit_count() * self.unit_bytes + tree + self.metadata_bytes

    def after_trim(self, stored: int, runs: list[int]) -> int:
        """What stays stored when every set of sectors in ``runs`` is discarded by itself."""
        if self.thick or not self.discard:
            return stored
        for run in runs:
            freed = run | (self.alone_in_block if run >> (self.sectors - 1) else 0)
            stored &= ~whole_units(freed, self.unit)
        return stored

    def freed_bytes(self, stored: int, runs: list[int]) -> int:
        return max(0, self.bytes_held(stored) - self.bytes_held(self.after_trim(stored, runs)))

    def definition(self) -> DiskDefinition:
        layer = Layer(storage="file", source=f"/d/{self.target}", format=self.format)
        return DiskDefinition(
            target=self.target,
            device="disk",
            bus=self.bus,
            serial=self.serial,
            alias=self.alias,
            address=self.address,
            discard="unmap" if self.discard else None,
            read_only=False,
            shareable=False,
            layers=(layer,),
            data_file=None,
            chain_complete=True,
        )

    def facts(self, stored: int) -> LayerFacts:
        held = self.bytes_held(stored) if self.allocation_known else None
        return LayerFacts(
            virtual_bytes=self.virtual_bytes if self.size_known else None,
            allocated_bytes=held,
            allocated_source="stat" if self.allocation_known else None,
            container_bytes=self.virtual_bytes,
            host_block_bytes=self.unit * SECTOR if self.format == "raw" else 4096,
            thick=self.thick,
            shares_extents=self.shares,
            internal_snapshots=self.snapshots,
        )


# --- the guest's block devices ----------------------------------------------------------------


@dataclass(eq=False)
class Device:
    """A block device of the guest, as where its sectors lie.

    ``legs``: complete images of the device, one unless it is a mirror; each a list of
    (disk, first sector, count) in the order of the device. ``chunks`` instead: a map from
    chunk of the device to (device below, chunk there).
    """

    name: str
    length: int
    dependencies: tuple[str, ...]
    regions: tuple[tuple[int, str], ...]  # (disk, node) as the agent's walk over slaves meets them
    legs: list[list[tuple[int, int, int]]] = field(default_factory=list)
    chunks: dict[int, tuple[Device, int]] | None = None
    chunk: int = 0
    partition: bool = False
    passes_discard: bool = True

    def runs(self, sectors: int) -> list[tuple[int, int]]:
        """Where a set of the device's sectors lies: (disk, set), one for each contiguous piece."""
        found: list[tuple[int, int]] = []
        if self.chunks is not None:
            for at, (below, there) in self.chunks.items():
                part = (sectors >> (at * self.chunk)) & ones(self.chunk)
                if part:
                    found += below.runs(part << (there * self.chunk))
            return found
        for leg in self.legs:
            at = 0
            for disk, first, count in leg:
                part = (sectors >> at) & ones(count)
                if part:
                    found.append((disk, part << first))
                at += count
        return found

    def on(self, disk: int, sectors: int) -> int:
        union = 0
        for where, part in self.runs(sectors):
            if where == disk:
                union |= part
        return union

    def disks(self) -> set[int]:
        return {disk for disk, _ in self.regions}


def whole(disk: int, node: str, first: int, count: int, dependencies: tuple[str, ...]) -> Device:
    return Device(
        name=node,
        length=count,
        dependencies=dependencies,
        regions=((disk, node),),
        legs=[[(disk, first, count)]],
        partition=bool(dependencies),
    )


def slice_of(below: Device, first: int, count: int) -> list[tuple[int, int, int]]:
    """The segments of a part of an unmirrored device."""
    (leg,) = below.legs
    found = []
    at = 0
    for disk, start, length in leg:
        low, high = max(first, at), min(first + count, at + length)
        if low < high:
            found.append((disk, start + low - at, high - low))
        at += length
    return found


# --- the guest's filesystems --------------------------------------------------------------------

BLOCKS = {  # sectors of a filesystem block
    "ext4": (2, 4, 8),
    "ext3": (2, 8),
    "xfs": (1, 2, 8),
    "vfat": (1, 8, 64),
    "ntfs": (1, 8),
    "btrfs": (8,),
    "f2fs": (8,),
}


@dataclass(eq=False)
class Filesystem:
    """A filesystem over one device, or more for btrfs."""

    type: str
    name: str
    devices: list[Device]
    used: int  # sectors, over the devices one after the other
    hidden: int
    f_blocks: int  # in sectors
    reserve: int
    reported: bool
    mirrored: bool = False
    named: int = 0  # which of the devices the agent names

    @property
    def used_bytes(self) -> int:
        return self.used.bit_count() * SECTOR

    def runs(self, sectors: int) -> list[tuple[int, int]]:
        found = []
        at = 0
        for device in self.devices:
            here = sectors if self.mirrored else (sectors >> at) & ones(device.length)
            found += device.runs(here)
            at += device.length
        return found

    @property
    def length(self) -> int:
        lengths = [device.length for device in self.devices]
        return min(lengths) if self.mirrored else sum(lengths)

    def on(self, disk: int, sectors: int) -> int:
        union = 0
        for where, part in self.runs(sectors):
            if where == disk:
                union |= part
        return union

    def disks(self) -> set[int]:
        return {disk for device in self.devices for disk in device.disks()}


def format_device(
    r: random.Random, devices: list[Device], kind: str, reported: bool, mirrored: bool = False
) -> Filesystem:
    block = r.choice(BLOCKS[kind])
    lengths = [device.length for device in devices]
    length = min(lengths) if mirrored else sum(lengths)
    count = length // block
    shy = some(r, count) & some(r, count) if r.random() < 0.4 else 0
    live = some(r, count) & ~shy
    if r.random() < 0.3:
        live &= some(r, count)
    free = count - shy.bit_count() - live.bit_count()
    tail = ones(length) & ~ones(count * block)
    named = r.randrange(len(devices))
    return Filesystem(
        type=kind,
        name=devices[named].name,
        devices=devices,
        used=widen(live, count, block),
        hidden=widen(shy, count, block) | tail,
        f_blocks=(count - shy.bit_count()) * block,
        reserve=r.randint(0, free) * block if r.random() < 0.3 else 0,
        reported=reported,
        mirrored=mirrored,
        named=named,
    )


# --- the world ----------------------------------------------------------------------------------


@dataclass
class World:
    """One host, one guest, and how well the guest's agent speaks."""

    disks: list[HostDisk]
    extra: list[DiskDefinition]
    devices: list[Device]
    filesystems: list[Filesystem]
    other_live: list[int]  # by disk: live sectors that belong to no filesystem
    agent: str = "9.1"
    udev: bool = True
    lists_disks: bool = True
    duplicates: bool = False
    removed: set[int] = field(default_factory=set)  # disks that the guest has dropped

    # the truth

    def used_sectors(self, disk: int) -> int:
        union = 0
        for fs in self.filesystems:
            if fs.reported:
                union |= fs.on(disk, fs.used)
        return union

    def live_sectors(self, disk: int) -> int:
        union = self.other_live[disk]
        for fs in self.filesystems:
            union |= fs.on(disk, fs.used | fs.hidden)
        return union

    def least_freed_bytes(self, disk: int) -> int:
        """What one fstrim of every reported filesystem gives back."""
        runs = []
        for fs in self.filesystems:
            if fs.reported and all(device.passes_discard for device in fs.devices):
                free = ones(fs.length) & ~fs.used & ~fs.hidden
                runs += [part for where, part in fs.runs(free) if where == disk]
        live = self.live_sectors(disk)
        # A sector that is free in one thin volume may be live in its snapshot.
        host = self.disks[disk]
        return host.freed_bytes(host.stored, [run & ~live for run in runs])

    def most_freed_bytes(self, disk: int, stored: int) -> int:
        """What no trim of what is ``stored`` can exceed: everything goes that is not live."""
        host = self.disks[disk]
        return host.freed_bytes(stored, [ones(host.sectors) & ~self.live_sectors(disk)])

    # what the agent says

    def _device(self, disk: int, node: str) -> GuestDevice:
        host = self.disks[disk]
        serial: str | None = None
        if self.agent >= "3.1" and self.udev:
            if host.bus == "virtio":
                serial = (host.serial or "")[:20] or None
            else:
                serial = "0QEMU_QEMU_HARDDISK_" + (host.serial or f"drive-{host.alias}")
        address = host.address
        if address is not None and host.bus == "scsi":
            # The agent fills in the LUN only: every target is reported as 0.
            controller, bus, _, unit = address.rsplit(":", 3)
            address = f"{controller}:{bus}:0:{unit}"
        return GuestDevice(
            dev=f"/dev/{node}" if self.agent >= "3.1" else None, serial=serial, address=address
        )

    def claims(self) -> GuestClaims:
        """What an honest ``qemu-ga`` of the given version answers."""
        said = []
        for fs in self.filesystems:
            if not fs.reported:
                continue
            device = fs.devices[fs.named]
            regions = device.regions
            if fs.type == "btrfs":
                regions = regions[:1]
            counts = self.agent >= "3.0"
            free = fs.f_blocks - fs.used.bit_count()
            available = max(0, free - fs.reserve)
            entry = GuestFilesystem(
                name=device.name,
                mountpoint=f"/{device.name}",
                type=fs.type,
                used_bytes=fs.used_bytes if counts else None,
                total_bytes=fs.used_bytes + available * SECTOR if counts else None,
                size_bytes=fs.f_blocks * SECTOR if self.agent >= "9.1" else None,
                devices=tuple(self._device(disk, node) for disk, node in regions),
            )
            said.append(entry)
            if self.duplicates:
                said.append(entry)
        return GuestClaims(
            agent_version=self.agent,
            filesystems=tuple(said),
            disks=self._listed() if self.lists_disks and self.agent >= "5.2" else None,
            as_of=NOW,
        )

    def _listed(self) -> tuple[GuestDisk, ...]:
        listed = [
            GuestDisk(
                name=f"/dev/{disk.target}",
                partition=False,
                dependencies=(),
                device=self._device(disk.index, disk.target),
            )
            for disk in self.disks
            if disk.index not in self.removed
        ]
        listed += [
            GuestDisk(
                name=f"/dev/{device.name}",
                partition=device.partition,
                dependencies=tuple(f"/dev/{below}" for below in device.dependencies),
                device=None,
            )
            for device in self.devices
        ]
        return tuple(listed)


class Builder:
    """Draws a world. Every choice comes from ``r``, so that hypothesis can shrink it."""

    def __init__(self, r: random.Random) -> None:
        self.r = r
        self.disks: list[HostDisk] = []
        self.extra: list[DiskDefinition] = []
        self.devices: list[Device] = []
        self.filesystems: list[Filesystem] = []
        self.other: list[int] = []
        self._dm = 0

    def build(self) -> World:
        r = self.r
        count = r.choice((1, 1, 1, 2, 2, 3))
        bus = r.choice(("virtio", "scsi"))
        by_target = r.random() < 0.3
        shared = "0123456789012345678" if r.random() < 0.1 else ""
        removed: set[int] = set()
        if bus == "scsi" and r.random() < 0.2:
            self.extra.append(cdrom("drive:0000:00:03.0:0:0:0"))
        for index in range(count):
            self.disks.append(self._disk(index, bus, by_target, shared))
            self.other.append(0)
        free: list[Device] = []
        for disk in self.disks:
            if count > 1 and r.random() < 0.1:
                removed.add(disk.index)
            else:
                free += self._partition(disk)
        self._settle(free)
        for index in range(count):
            self._store(self.disks[index])
        return World(
            disks=self.disks,
            extra=self.extra,
            devices=self.devices,
            filesystems=self.filesystems,
            other_live=self.other,
            agent=r.choice(("2.12", "3.0", "7.2", "7.2", "9.1", "9.1")),
            udev=r.random() < 0.7,
            lists_disks=r.random() < 0.8,
            duplicates=r.random() < 0.2,
            removed=removed,
        )

    def _disk(self, index: int, bus: str, by_target: bool, shared: str) -> HostDisk:
        r = self.r
        size = r.choice((r.randint(8, 64), r.randint(64, 512), 4096, 4096 + r.randint(0, 9)))
        letter = "abc"[index]
        first = 1 if self.extra else 0
        if bus == "virtio":
            target, alias = f"vd{letter}", f"virtio-disk{index}"
            address = f"pci:0000:00:0{4 + index}.0"
        else:
            where = f"{index + first}:0" if by_target else f"0:{index + first}"
            target = f"sd{letter}"
            alias = f"scsi0-0-{where.replace(':', '-')}"
            address = f"drive:0000:00:03.0:0:{where}"
        return HostDisk(
            index=index,
            target=target,
            sectors=size,
            bus=bus,
            serial=f"{shared}{index}-serial-of-a-volume" if r.random() < 0.5 else None,
            address=address if r.random() < 0.9 else None,
            alias=alias if r.random() < 0.9 else None,
            format="raw",
            unit=8,
            stored=0,
            unit_bytes=8 * SECTOR,
            metadata_bytes=0,
            shares=False,
            thick=False,
            discard=r.random() < 0.8,
            snapshots=None,
        )

    def _store(self, disk: HostDisk) -> None:
        """Decide what the host holds, without regard to what is live."""
        r = self.r
        kind = r.choice(("raw", "raw", "raw", "qcow2", "thick"))
        disk.format = "qcow2" if kind == "qcow2" else "raw"
        disk.thick = kind == "thick"
        disk.unit = r.choice((8, 128)) if kind == "qcow2" else r.choice((2, 4, 8, 8, 8, 32))
        disk.unit_bytes = disk.unit * SECTOR
        disk.shares = r.choice((False, False, False, True, None))
        if disk.format == "qcow2" or disk.shares:
            disk.unit_bytes = max(1, disk.unit_bytes // r.choice((1, 1, 3)))
        if disk.format == "qcow2":
            disk.metadata_bytes = r.randint(0, 4) * 65536
            disk.snapshots = r.choice((0, 0, 1))
        units = -(-disk.sectors // disk.unit)
        picture = ones(units) if disk.thick or r.random() < 0.6 else some(r, units)
        if r.random() < 0.2 and not disk.thick:
            disk.stored = touched_units(self.other[disk.index], disk.unit)
        every_unit = every(disk.unit, 1, 0, units * disk.unit)
        disk.stored |= widen(picture, units, disk.unit) & every_unit
        # The host is looked at before and after; what is stored only grew or only shrank.
        disk.before = disk.after = disk.stored
        if not disk.thick and r.random() < 0.2:
            less = disk.stored & widen(some(r, units), units, disk.unit)
            more = disk.stored | (every_unit & widen(some(r, units), units, disk.unit))
            disk.before, disk.after = (less, more) if r.random() < 0.5 else (more, less)
        disk.size_known = r.random() < 0.95
        disk.allocation_known = r.random() < 0.95

    def _partition(self, disk: HostDisk) -> list[Device]:
        r = self.r
        if r.random() < 0.2:
            return [whole(disk.index, disk.target, 0, disk.sectors, ())]
        found: list[Device] = []
        at = min(disk.sectors - 1, r.choice((0, 1, 2, 8, 63, 64)))
        self.other[disk.index] |= ones(at) & some(r, at)
        while at < disk.sectors and len(found) < 4:
            room = disk.sectors - at
            count = room if r.random() < 0.5 else r.randint(1, room)
            node = f"{disk.target}{len(found) + 1}"
            device = whole(disk.index, node, at, count, (disk.target,))
            found.append(device)
            self.devices.append(device)
            at += count + (r.randint(0, 3) if r.random() < 0.3 else 0)
        return found

    def _name(self) -> str:
        self._dm += 1
        return f"dm-{self._dm - 1}"

    def _add(self, device: Device) -> Device:
        self.devices.append(device)
        return device

    def _alive(self, device: Device, sectors: int) -> None:
        for disk, part in device.runs(sectors):
            self.other[disk] |= part

    def _settle(self, free: list[Device]) -> None:
        """Give every region a use."""
        r = self.r
        r.shuffle(free)
        while free:
            device = free.pop()
            use = r.choice(
                ("fs",) * 4
                + ("lvm",) * 3
                + ("luks", "md", "btrfs", "snapshot", "no filesystem", "empty")
            )
            others = r.randint(0, min(2, len(free)))
            if use == "fs":
                self._format(device)
            elif use == "no filesystem":  # swap, a raw database, ZFS
                self._alive(device, some(r, device.length))
            elif use == "luks":
                self._on_volume(self._luks(device))
            elif use == "lvm":
                members = [device] + [free.pop() for _ in range(others)]
                self._volume_group(members)
            elif use == "md" and free:
                self._md([device, free.pop()])
            elif use == "btrfs":
                members = [device] + [free.pop() for _ in range(others)]
                mirrored = len(members) > 1 and r.random() < 0.3
                self._format_all(members, "btrfs", mirrored)
            elif use == "snapshot" and free:
                self._snapshot(device, free.pop())

    def _format(self, device: Device) -> None:
        kind = self.r.choice(("ext4", "ext4", "ext4", "xfs", "ext3", "vfat", "ntfs", "btrfs"))
        self._format_all([device], kind, False)

    def _format_all(self, devices: list[Device], kind: str, mirrored: bool) -> None:
        reported = self.r.random() < 0.9
        fs = format_device(self.r, devices, kind, reported, mirrored)
        self.filesystems.append(fs)

    def _on_volume(self, device: Device) -> None:
        """A filesystem, or something more, on a stacked device."""
        use = self.r.random()
        if use < 0.75:
            self._format(device)
        elif use < 0.85:
            self._alive(device, some(self.r, device.length))
        elif use < 0.95 and device.length > 2 and device.chunks is None and len(device.legs) == 1:
            if self.r.random() < 0.5:
                self._on_volume(self._luks(device))
            else:
                self._volume_group([device])

    def _luks(self, below: Device) -> Device:
        header = min(below.length - 1, self.r.choice((0, 4, 64)))
        self._alive(below, ones(header))
        passes = self.r.random() < 0.5 and below.passes_discard
        if below.length - header <= 0:
            header = 0
        return self._add(
            Device(
                name=self._name(),
                length=below.length - header,
                dependencies=(below.name,),
                regions=below.regions,
                legs=[slice_of(below, header, below.length - header)],
                passes_discard=passes,
            )
        )

    def _volume_group(self, members: list[Device]) -> None:
        """Volumes made of extents of the physical volumes, in any order."""
        r = self.r
        extent = coarse(r.choice((1, 4, 16, 64)), sum(member.length for member in members))
        extents: list[tuple[Device, int]] = []
        for member in members:
            header = min(member.length, r.choice((0, 1, 8)))
            self._alive(member, ones(header))
            extents += [(member, at) for at in range(header, member.length - extent + 1, extent)]
        if r.random() < 0.3:
            r.shuffle(extents)
        while extents:
            take = len(extents) if r.random() < 0.3 else r.randint(1, len(extents))
            mine, extents = extents[:take], extents[take:]
            volume = self._linear(mine, extent)
            use = r.random()
            if use < 0.6:
                self._on_volume(volume)
            elif use < 0.75 and volume.length > 8:
                self._thin_pool(volume)
            elif use < 0.85 and extents:
                take = r.randint(1, len(extents))
                cow = self._linear(extents[:take], extent)
                extents = extents[take:]
                self._snapshot(volume, cow)
            elif use < 0.95 and len(extents) >= take:
                twin = self._linear(extents[:take], extent)
                extents = extents[take:]
                self._mirror(volume, twin)
            if len(self.devices) > 24:
                return

    def _linear(self, extents: list[tuple[Device, int]], extent: int) -> Device:
        leg: list[tuple[int, int, int]] = []
        below: list[Device] = []
        for member, at in extents:
            if member not in below:
                below.append(member)
            for disk, first, count in slice_of(member, at, extent):
                if leg and leg[-1][0] == disk and leg[-1][1] + leg[-1][2] == first:
                    leg[-1] = (disk, leg[-1][1], leg[-1][2] + count)
                else:
                    leg.append((disk, first, count))
        return self._add(
            Device(
                name=self._name(),
                length=len(extents) * extent,
                dependencies=tuple(member.name for member in below),
                regions=tuple(region for member in below for region in member.regions),
                legs=[leg],
                passes_discard=all(member.passes_discard for member in below),
            )
        )

    def _mirror(self, volume: Device, twin: Device) -> None:
        mirror = Device(
            name=self._name(),
            length=volume.length,
            dependencies=(volume.name, twin.name),
            regions=volume.regions + twin.regions,
            legs=volume.legs + twin.legs,
        )
        self._format(self._add(mirror))

    def _md(self, members: list[Device]) -> None:
        """raid1 or raid0 over two regions; the superblocks lie at the end."""
        length = min(member.length for member in members)
        if length < 2:
            return
        for member in members:
            self._alive(member, span(length - 1, 1))
        name = f"md{sum(d.name.startswith('md') for d in self.devices)}"
        parts = [slice_of(member, 0, length - 1) for member in members]
        mirrored = self.r.random() < 0.5
        device = Device(
            name=name,
            length=(length - 1) * (1 if mirrored else 2),
            dependencies=tuple(member.name for member in members),
            regions=tuple(region for member in members for region in member.regions),
            legs=parts if mirrored else [parts[0] + parts[1]],
            passes_discard=self.r.random() < 0.5,
        )
        self._on_volume(self._add(device))

    def _thin_pool(self, data: Device) -> None:
        """A pool on a volume, and thin volumes that may share its chunks."""
        r = self.r
        chunk = coarse(r.choice((1, 4, 8)), data.length)
        # The pool's own device, over data and metadata volumes; the latter's blocks are live.
        meta = Device(
            name=self._name(),
            length=0,
            dependencies=data.dependencies,
            regions=data.regions,
            legs=[[]],
        )
        self._add(meta)
        pool = self._add(
            Device(
                name=self._name(),
                length=data.length,
                dependencies=(meta.name, data.name),
                regions=data.regions + data.regions,
                legs=data.legs,
            )
        )
        available = list(range(data.length // chunk))
        r.shuffle(available)
        mapped: list[dict[int, tuple[Device, int]]] = []
        for _ in range(r.randint(1, 3)):
            size = r.randint(1, 2 * (data.length // chunk))
            chunks: dict[int, tuple[Device, int]] = {}
            if mapped and r.random() < 0.7:  # a snapshot
                chunks = {at: there for at, there in mapped[0].items() if at < size}
                for at in list(chunks):
                    if available and r.random() < 0.2:
                        chunks[at] = (pool, available.pop())
            for at in range(size):
                if at not in chunks and available and r.random() < 0.3:
                    chunks[at] = (pool, available.pop())
            mapped.append(chunks)
            volume = Device(
                name=self._name(),
                length=size * chunk,
                dependencies=(pool.name,),
                regions=pool.regions,
                chunks=chunks,
                chunk=chunk,
                passes_discard=False,
            )
            self._add(volume)
            self._format(volume)
            self._provisioned_only(volume)

    def _provisioned_only(self, volume: Device) -> None:
        """Keep of the newest filesystem only what lies somewhere (see the module's text)."""
        assert volume.chunks is not None
        provisioned = 0
        for at in volume.chunks:
            provisioned |= span(at * volume.chunk, volume.chunk)
        fs = self.filesystems[-1]
        fs.used &= provisioned

    def _snapshot(self, real: Device, cow: Device) -> None:
        """An origin and a copy-on-write snapshot of it, as dmsetup or LVM make them."""
        r = self.r
        origin = self._add(
            Device(
                name=self._name(),
                length=real.length,
                dependencies=(real.name,),
                regions=real.regions,
                legs=real.legs,
                passes_discard=False,
            )
        )
        self._format(origin)
        chunk = coarse(r.choice((1, 4)), real.length)
        chunks: dict[int, tuple[Device, int]] = {}
        copied = 0
        for at in range(real.length // chunk):
            if (copied + 1) * chunk <= cow.length and r.random() < 0.2:
                chunks[at] = (cow, copied)
                copied += 1
            else:
                chunks[at] = (real, at)
        if not chunks:
            return
        self._add(
            Device(
                name=self._name(),
                length=len(chunks) * chunk,
                dependencies=(real.name, cow.name),
                regions=real.regions + cow.regions,
                chunks=chunks,
                chunk=chunk,
                passes_discard=False,
            )
        )
        if r.random() < 0.7:
            self._format(self.devices[-1])


def cdrom(address: str) -> DiskDefinition:
    return DiskDefinition(
        target="sdz",
        device="cdrom",
        bus="scsi",
        serial=None,
        alias="scsi0-0-0-0",
        address=address,
        discard=None,
        read_only=True,
        shareable=False,
        layers=(),
        data_file=None,
        chain_complete=False,
    )


def draw(r: random.Random) -> World:
    return Builder(r).build()
