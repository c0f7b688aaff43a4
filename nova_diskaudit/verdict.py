# SPDX-License-Identifier: Apache-2.0
"""Facts in, verdict out: the bounds on what one disk uses and what could be given back.

Let V be the promised size, A the bytes the storage holds, Gd and Sd the used bytes and the
sizes of the filesystems that own a region of the disk, Gi those that share blocks inside it.

* The regions are disjoint, so whatever else is live fits in V - Sd:
  ``low = min(V, Gd + max(Gi))``, ``high = min(V, Gd + max(0, V - Sd))``.
* What is *stored* bounds nothing that is *used*: blocks reserved and never written, zeroes and
  compressed clusters use more than they store. A never enters used.
* Blocks that can be freed are stored and not live: ``reclaimable.high = min(A, V - Gd + m)``,
  where m allows for what the host's filesystem counts beside them (:func:`metadata_bytes`).
* ``reclaimable.low`` is a promise, so it is made only where one holds: see :func:`_floor_bytes`.

Pure: no I/O, no clock, no libvirt. ``tests/unit`` holds these rules against an independent set
model of blocks, ``tests/lab`` against real guests and a real fstrim.
"""

from __future__ import annotations

from nova_diskaudit.attribute import DiskClaims
from nova_diskaudit.facts import LayerFacts
from nova_diskaudit.record import Basis, How, Reclaimable, Used

# Filesystems whose smallest block is known; everything else may allocate single sectors.
_SMALLEST_BLOCK_BYTES = {"btrfs": 4096, "ext2": 1024, "ext3": 1024, "ext4": 1024}
_SECTOR_BYTES = 512
# Assumed where the host's block is not known (XFS allows 64 KiB).
_LARGEST_HOST_BLOCK_BYTES = 65536
# The share of the disk that the reported filesystems must cover before their sum is its use.
_COVERED_PERCENT = 90
# Below this, what trimming would gain is not worth a finding.
_WORTHWHILE_BYTES = 64 * 2**20


def judge_used(
    virtual_bytes: int | None, allocated_bytes: int | None, claims: DiskClaims | None
) -> Used:
    """Bound what the guest's filesystems use on one disk, in bytes.

    :param claims: None when the guest did not answer.
    """
    if claims is None:
        claims = DiskClaims()
    direct_used = sum(used for used, _ in claims.direct)
    direct_size = sum(size for _, size in claims.direct)
    low = direct_used + max(claims.inside, default=0)
    high = None
    exact = None
    if virtual_bytes is not None:
        low = min(virtual_bytes, low)
        high = min(virtual_bytes, direct_used + max(0, virtual_bytes - direct_size))
        covered = 100 * direct_size >= _COVERED_PERCENT * virtual_bytes
        if claims.direct and covered and not claims.inside and not claims.incomplete:
            exact = min(direct_used, high)
    basis: Basis
    if exact is not None:
        basis = "guest"
    elif claims.direct or claims.inside:
        basis = "guest-partial"
    elif virtual_bytes is not None or allocated_bytes is not None:
        basis = "host"
    else:
        basis = "none"
    # low may pass high only when a lying guest's regions overlap; the bounds stay ordered.
    return Used(bytes=exact, low=low if high is None else min(low, high), high=high, basis=basis)


def judge_reclaimable(
    virtual_bytes: int | None,
    before: LayerFacts,
    after: LayerFacts | None,
    claims: DiskClaims | None,
    used: Used,
    raw: bool,
    discard: bool,
) -> Reclaimable:
    """Bound what trimming would give back to the host, in bytes.

    :param before: the top layer before the guest was asked.
    :param after: the same after the guest answered; None when it did not, and then no floor
        can be promised, because the guest's figures would be older than the allocation.
    :param raw: whether the image is raw, so that a block of the guest is where the guest put it.
    :param discard: whether the disk is defined with ``discard='unmap'``.
    """
    sightings = (before, after or before)
    allocated = [f.allocated_bytes for f in sightings if f.allocated_bytes is not None]
    if not allocated:
        return Reclaimable(low=0, high=None, estimate=None, how="none")
    live = sum(claimed for claimed, _ in claims.direct) if claims else 0
    high = max(allocated)
    if before.thick:
        high = 0
    elif virtual_bytes is not None:
        beside = metadata_bytes(high, before.host_block_bytes)
        high = min(high, max(0, virtual_bytes - live) + beside)
    estimate = None if used.bytes is None else min(high, max(0, max(allocated) - used.bytes))
    how: How
    if high == 0 or estimate == 0:
        how = "none"
    elif before.internal_snapshots:
        how = "delete-snapshot"
    else:
        how = "trim" if discard else "enable-discard"
    low = 0
    if how == "trim" and raw and after is not None and after.allocated_bytes is not None:
        low = min(high, _floor_bytes(before, min(allocated), claims, used))
    return Reclaimable(low=low, high=high, estimate=estimate, how=how)


def _floor_bytes(
    facts: LayerFacts, allocated_bytes: int, claims: DiskClaims | None, used: Used
) -> int:
    """What an fstrim frees at least: stored, and certainly not live.

    Called for raw images only; and only a filesystem that neither shares nor compresses
    extents stores as much as the guest wrote. Even there the host frees whole blocks: a guest
    with smaller blocks can spread its live bytes so that each keeps a whole block of the host,
    or two where a partition does not begin on a block. Without knowing the guest's block size
    the smallest that its filesystem type allows is assumed. dm-crypt passes no discard on
    unless it is told to, and cannot be told from a plain volume.
    """
    if (
        facts.allocated_source != "stat"
        or facts.shares_extents is not False
        or facts.host_block_bytes is None
        or claims is None
        or not claims.direct
        or claims.stacked
        or used.high is None
    ):
        return 0
    host_block = facts.host_block_bytes
    block = min(_SMALLEST_BLOCK_BYTES.get(t, _SECTOR_BYTES) for t in claims.types)
    # The most blocks of the host that one block of the guest touches, beginning on any sector.
    touched = -(-(block - _SECTOR_BYTES) // host_block) + 1
    held = -(-used.high * touched * host_block // block)
    return max(0, allocated_bytes - held - metadata_bytes(held, host_block))


def metadata_bytes(stored_bytes: int, host_block_bytes: int | None) -> int:
    """Bytes that ``st_blocks`` counts beside the data: extent tree, and the last block's rest."""
    return stored_bytes // 64 + 16 * (host_block_bytes or _LARGEST_HOST_BLOCK_BYTES)


def is_worthwhile(reclaimable: Reclaimable, virtual_bytes: int | None) -> bool:
    """Whether so much is held for nothing that somebody should be told."""
    held = reclaimable.estimate if reclaimable.estimate is not None else reclaimable.low
    return held >= max(_WORTHWHILE_BYTES, (virtual_bytes or 0) // 10)
