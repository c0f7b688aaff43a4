# SPDX-License-Identifier: Apache-2.0
"""What was observed, before anybody concludes anything: the inputs of the pure core.

``host/`` and ``guest/`` fill these structs, lanes carry them between processes as msgpack,
``attribute`` and ``verdict`` read them. No I/O and no arithmetic lives here.
"""

from __future__ import annotations

import datetime
from typing import Literal

import msgspec

from nova_diskaudit.flavor import GuestStats
from nova_diskaudit.record import Leftover, State

# --- what the domain XML says -----------------------------------------------------------------


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """One image of a disk's chain, as the domain XML names it.

    ``storage`` is libvirt's source type, ``network:<protocol>`` for network disks. ``source``
    is the path of a file or device, else ``pool/image`` or the export name: text, never opened
    unless ``storage`` is ``file`` or ``block``. ``window_bytes`` is the size of a ``<slice>``.
    """

    storage: str
    source: str | None
    format: str | None
    window_bytes: int | None = None
    encrypted: bool = False


class DiskDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """One ``<disk>`` of the domain XML.

    ``layers`` is the chain, top first; ``chain_complete`` is true when libvirt closed it with
    an empty ``<backingStore/>`` (it does so for running domains), or when the last layer is raw.
    ``address`` is normalised to ``pci:DDDD:BB:SS.F`` or ``drive:<pci of the
    controller>:bus:target:unit``, the form ``guest/`` also produces; None when libvirt has not
    assigned one.
    """

    target: str
    device: str
    bus: str | None
    serial: str | None
    alias: str | None
    address: str | None
    discard: str | None
    read_only: bool
    shareable: bool
    layers: tuple[Layer, ...]
    data_file: Layer | None
    chain_complete: bool


Channel = Literal["absent", "connected", "disconnected", "unknown"]


class Domain(msgspec.Struct, frozen=True, kw_only=True):
    """One libvirt domain: identity, state, disks, and the agent's channel.

    ``guest_stats`` is ``optional`` where Nova does not tell the flavor's extra specs.
    ``digest`` is that of the description it was read from: an equal one means the same disks,
    the same images below them, and the same state of the channel.
    """

    uuid: str
    name: str
    state: State
    channel: Channel
    project_id: str | None
    user_id: str | None
    flavor: str | None
    disks: tuple[DiskDefinition, ...]
    seen_at: datetime.datetime
    digest: bytes = b""
    guest_stats: GuestStats = "optional"


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """A QEMU process: ``start_ticks`` (field 22 of ``/proc/PID/stat``) tells reuse of a pid."""

    pid: int
    start_ticks: int


# --- what the storage says ----------------------------------------------------------------------


class Signature(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What changes with every write to an image; equal ones mean that nobody wrote between.

    Of a file: device, inode, times in nanoseconds, 512-byte blocks, size. Of a block device: its
    number, inode and times of QEMU's node, blocks of the file below a loop device, size, and the
    kernel's ``counters`` of writes and discards.
    """

    device: int
    inode: int
    changed_ns: int
    modified_ns: int
    blocks: int
    size_bytes: int
    counters: tuple[int, ...]


class LayerFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a storage probe found out about one layer.

    ``code`` is the finding that explains missing numbers (None: nothing is missing).
    ``thick``: the storage holds all of it whatever the guest does. ``shares_extents``: whether
    the filesystem may share or compress extents (None: unknown). ``shared_bytes`` are bytes of
    this file that other files hold too, ``at least`` when ``shared_is_minimum``. ``signature``
    was taken with these numbers; None when no later one could prove that they still hold.
    """

    identity: str | None = None
    storage_identity: str | None = None
    virtual_bytes: int | None = None
    allocated_bytes: int | None = None
    allocated_source: str | None = None
    container_bytes: int | None = None
    host_block_bytes: int | None = None
    thick: bool = False
    shares_extents: bool | None = None
    shared_bytes: int | None = None
    shared_is_minimum: bool = False
    internal_snapshots: int | None = None
    has_backing: bool | None = None
    has_external_data: bool = False
    fully_reserved: bool = False
    signature: Signature | None = None
    code: str | None = None
    detail: str | None = None


class BlockStats(msgspec.Struct, frozen=True, kw_only=True):
    """``block.N.{capacity,allocation,physical}`` of one disk; a missing key is None.

    ``written_bytes`` is ``block.N.wr.bytes``: what the guest wrote since QEMU started. ``path``
    is the file or device that libvirt found for it, also for the volume of a pool.
    """

    capacity: int | None
    allocation: int | None
    physical: int | None
    as_of: datetime.datetime
    written_bytes: int | None = None
    path: str | None = None


class StatsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Block stats of one domain of several, by target; with a ``code`` it was not asked."""

    disks: dict[str, BlockStats]
    code: str | None = None
    detail: str | None = None


# --- what the host says -----------------------------------------------------------------------


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """One domain in libvirt's list; ``number`` is its id, new at each start, None when it is off.

    Two equal ones mean: not renamed, not started, stopped, paused or resumed between.
    """

    uuid: str
    name: str
    number: int | None
    state: tuple[int, int]


EventKind = Literal["lifecycle", "agent", "block-job", "device"]


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something happened to a domain, of which libvirt told by itself.

    ``lifecycle``: it started, stopped, was paused, resumed, defined or removed. ``agent``: its
    guest agent came or went, as the guest pleases. ``block-job``: a copy or commit of a disk
    made progress. ``device``: one was added or removed.
    """

    uuid: str
    kind: EventKind


class Events(msgspec.Struct, frozen=True, kw_only=True):
    """What happened since the last question; ``lost``: and perhaps more than that."""

    events: tuple[Event, ...]
    lost: bool


class HostInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The host as libvirt describes it. Versions are text such as ``9.0.0``."""

    hostname: str
    libvirt_version: str


class Mount(msgspec.Struct, frozen=True, kw_only=True):
    """One line of ``/proc/self/mountinfo``; ``device`` is ``major:minor`` of the superblock."""

    path: str
    fs_type: str
    source: str
    device: str


class StorageFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One filesystem that carries disks.

    ``identity`` is equal on every host that shares the filesystem and differs otherwise, so a
    local one carries the host's name. ``kind``: ``local``, ``nfs``, ``cephfs`` or ``shared``.
    ``path`` is where it is mounted. ``free_bytes`` is what an unprivileged QEMU can still get
    (``f_bavail``).
    """

    identity: str
    kind: str
    path: str
    fs_type: str | None
    total_bytes: int | None
    free_bytes: int | None
    inodes_free: int | None


class InstancesDirectory(msgspec.Struct, frozen=True, kw_only=True):
    """What lies in Nova's ``instances_path`` beside the instances that libvirt knows.

    ``image_cache_bytes`` is None when there is no ``_base`` or it was too large to walk.
    ``complete`` is false when the scan met its bound, so that more leftovers may exist.
    """

    image_cache_bytes: int | None
    leftovers: tuple[Leftover, ...]
    complete: bool


class BlockInfo(msgspec.Struct, frozen=True, kw_only=True):
    """``virDomainGetBlockInfo``, the call behind ``virsh domblkinfo``.

    Fields of the same names as in :class:`BlockStats` mean other things here (libvirt 9.0
    ``qemuDomainGetBlockInfo``).
    """

    capacity: int
    allocation: int
    physical: int
    as_of: datetime.datetime


class Control(msgspec.Struct, frozen=True, kw_only=True):
    """``virDomainGetControlInfo``: is a monitor job running, and for how long?

    ``state`` is ``ok``, ``busy`` or ``error``; ``milliseconds`` is the age of the job.
    """

    state: Literal["ok", "busy", "error"]
    milliseconds: int


# --- what the guest says ----------------------------------------------------------------------


class GuestDevice(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of ``disk[]`` in ``guest-get-fsinfo``: where a filesystem claims to lie."""

    dev: str | None
    serial: str | None
    address: str | None


class GuestFilesystem(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of ``guest-get-fsinfo`` after strict parsing. Numbers are still unjudged.

    ``total_bytes`` excludes the blocks reserved for root; ``size_bytes`` is
    ``total-bytes-privileged`` (QEMU 9.1 and newer agents), None from older ones.
    """

    name: str
    mountpoint: str | None
    type: str
    used_bytes: int | None
    total_bytes: int | None
    size_bytes: int | None
    devices: tuple[GuestDevice, ...]


class GuestDisk(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of ``guest-get-disks``: a block device of the guest and what it lies on."""

    name: str
    partition: bool
    dependencies: tuple[str, ...]
    device: GuestDevice | None


class GuestClaims(msgspec.Struct, frozen=True, kw_only=True):
    """Everything one guest agent said; ``disks`` is None when it was not asked or cannot."""

    agent_version: str | None
    filesystems: tuple[GuestFilesystem, ...]
    disks: tuple[GuestDisk, ...] | None
    as_of: datetime.datetime


# --- one sweep -------------------------------------------------------------------------------


class Doubt(msgspec.Struct, frozen=True, kw_only=True):
    """Something that could not be observed: the code of a finding, and what was seen instead."""

    code: str
    detail: str | None = None


class DiskSighting(msgspec.Struct, frozen=True, kw_only=True):
    """What one sweep saw of one disk.

    ``layers`` and ``data_file`` were looked at before the guest was asked, ``after`` is the top
    layer looked at again once it had answered. An empty drive has no ``layers``.
    ``resolved`` is what the top layer really is, where the XML only names a volume of a pool.
    """

    layers: tuple[LayerFacts, ...] = ()
    data_file: LayerFacts | None = None
    after: LayerFacts | None = None
    stats: BlockStats | None = None
    resolved: Layer | None = None


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """What one sweep saw of one domain. ``domain`` is None when libvirt did not describe it.

    ``claims`` is None when the guest did not answer; ``guest_doubt`` then says why.
    """

    uuid: str
    name: str
    as_of: datetime.datetime
    domain: Domain | None
    disks: dict[str, DiskSighting]
    claims: GuestClaims | None
    guest_doubt: Doubt | None
    doubts: tuple[Doubt, ...]


class StorageSighting(msgspec.Struct, frozen=True, kw_only=True):
    """One storage with what was found on it; ``instances_path``: Nova's, if it lies there."""

    facts: StorageFacts
    instances_path: str | None = None
    instances: InstancesDirectory | None = None
    managed_save_bytes: int | None = None
    doubt: Doubt | None = None


class HostSighting(msgspec.Struct, frozen=True, kw_only=True):
    """Everything one sweep saw; ``doubts`` are those about the host as a whole."""

    host: str
    as_of: datetime.datetime
    sightings: tuple[Sighting, ...]
    storages: tuple[StorageSighting, ...]
    doubts: tuple[Doubt, ...] = ()
