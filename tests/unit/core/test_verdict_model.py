# SPDX-License-Identifier: Apache-2.0
"""The verdict against the set model of :mod:`worlds`: nothing a world can be breaks a bound.

``NOVA_DISKAUDIT_EXAMPLES=200000`` runs the thorough profile.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nova_diskaudit.attribute import DiskClaims, Placed, attribute, claims_of_disk
from nova_diskaudit.facts import LayerFacts
from nova_diskaudit.record import Reclaimable, Used
from nova_diskaudit.verdict import is_worthwhile, judge_reclaimable, judge_used
from tests.unit.core import worlds
from tests.unit.core.worlds import SECTOR, Device, Filesystem, HostDisk, World

EXAMPLES = int(os.environ.get("NOVA_DISKAUDIT_EXAMPLES", "2000"))


class Outcome:
    """What the core concludes about one disk of a world, beside the world's truth."""

    def __init__(
        self,
        world: World,
        host: HostDisk,
        placed: tuple[Placed, ...] | None,
    ) -> None:
        self.world = world
        self.host = host
        self.placed = placed
        # A guest that did not answer leaves only the first look at the host.
        stored = host.before if placed is None else host.stored
        self.used_bytes = world.used_sectors(host.index).bit_count() * SECTOR
        self.live_bytes = world.live_sectors(host.index).bit_count() * SECTOR
        self.least_freed = world.least_freed_bytes(host.index)
        self.most_freed = world.most_freed_bytes(host.index, stored)
        self.claims = None if placed is None else claims_of_disk(host.target, placed)
        self.before: LayerFacts = host.facts(host.before)
        self.after: LayerFacts = host.facts(host.after)
        self.used: Used = judge_used(
            self.before.virtual_bytes, self.before.allocated_bytes, self.claims
        )
        self.reclaimable: Reclaimable = judge_reclaimable(
            self.before.virtual_bytes,
            self.before,
            self.after if placed is not None else None,
            self.claims,
            self.used,
            raw=host.format == "raw",
            discard=host.discard,
        )

    @property
    def direct_bytes(self) -> int:
        """Used bytes of the filesystems that the core calls direct, as the world made them."""
        target = self.host.target
        named = {fs.name: fs for fs in self.world.filesystems}
        return sum(
            named[item.filesystem.name].used_bytes
            for item in self.placed or ()
            if item.place == "direct" and item.targets == (target,)
        )


def placed_in(world: World) -> tuple[Placed, ...]:
    return attribute(
        [*world.extra, *(disk.definition() for disk in world.disks)],
        {d.target: d.virtual_bytes if d.size_known else None for d in world.disks},
        len(world.disks),
        world.claims(),
    )


def outcomes(world: World, answered: bool = True) -> Iterator[Outcome]:
    placed = placed_in(world) if answered else None
    for host in world.disks:
        yield Outcome(world, host, placed)


def broken_placements(world: World, placed: tuple[Placed, ...]) -> Iterator[str]:
    by_name = {fs.name: fs for fs in world.filesystems}
    for item in placed:
        fs = by_name[item.filesystem.name]
        lies_on = {world.disks[disk].target for disk in fs.disks()}
        if not set(item.targets) <= lies_on:
            yield f"{fs.name} lies on {lies_on} and was put on {item.targets}"
        if item.implausible:
            yield f"{fs.name} told the truth and was not believed"
        if item.place != "direct":
            continue
        if lies_on != set(item.targets):
            yield f"{fs.name} is direct on {item.targets} and lies on {lies_on} too"
        for other in world.filesystems:
            for disk in fs.disks():
                mine, theirs = (f.on(disk, worlds.ones(f.length)) for f in (fs, other))
                if other is not fs and other.reported and mine & theirs:
                    yield f"{fs.name} is direct and shares sectors with {other.name}"


def broken_bounds(outcome: Outcome) -> Iterator[str]:
    used, gain, host = outcome.used, outcome.reclaimable, outcome.host
    size = outcome.before.virtual_bytes
    if used.low > outcome.used_bytes:
        yield f"used.low {used.low} > truth {outcome.used_bytes}"
    if used.high is not None and used.high < outcome.live_bytes:
        yield f"used.high {used.high} < live {outcome.live_bytes}"
    if (used.high is None) != (size is None):
        yield "used.high is known exactly when the size is"
    if used.bytes is not None:
        if not used.low <= used.bytes <= (used.high if used.high is not None else used.bytes):
            yield f"used.bytes {used.bytes} is not within {used.low} and {used.high}"
        if used.bytes != outcome.direct_bytes:
            yield f"used.bytes {used.bytes} != sum of direct {outcome.direct_bytes}"
    if outcome.claims is None and (used.bytes is not None or used.low != 0):
        yield "a silent guest was given a use"
    if gain.low > outcome.least_freed:
        yield f"reclaimable.low {gain.low} > freed {outcome.least_freed}"
    if gain.high is not None and gain.high < outcome.most_freed:
        yield f"reclaimable.high {gain.high} < freed {outcome.most_freed}"
    if (gain.high is None) != (not host.allocation_known):
        yield "reclaimable.high is known exactly when the allocation is"
    numbers = (used.low, used.high, used.bytes, gain.low, gain.high, gain.estimate)
    if any(n is not None and n < 0 for n in numbers):
        yield "a negative number"
    for low, high in ((used.low, used.high), (gain.low, gain.high), (gain.estimate, gain.high)):
        if low is not None and high is not None and low > high:
            yield f"low {low} > high {high}"
    if gain.estimate is not None and used.bytes is None:
        yield "an estimate without a use"


def broken_rules(world: World) -> list[str]:
    broken = list(broken_placements(world, placed_in(world)))
    for answered in (True, False):
        for outcome in outcomes(world, answered):
            broken += [f"{outcome.host.target}: {rule}" for rule in broken_bounds(outcome)]
    return broken


def seeded_worlds(count: int) -> Iterator[World]:
    for seed in range(count):
        yield worlds.draw(random.Random(seed))


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.randoms(use_true_random=False))
def test_truth_lies_within_every_bound(r: random.Random) -> None:
    world = worlds.draw(r)
    assert broken_rules(world) == []


# --- the model has teeth: rules that look right and are not -----------------------------------

Wrong = Callable[[Outcome], bool]


def used_is_bounded_by_what_is_stored(outcome: Outcome) -> bool:
    held = outcome.before.allocated_bytes
    return held is not None and outcome.used_bytes > held


def the_floor_is_stored_minus_used(outcome: Outcome) -> bool:
    held, used = outcome.before.allocated_bytes, outcome.used.bytes
    return held is not None and used is not None and held - used > outcome.least_freed


def the_floor_may_ignore_the_hosts_block(outcome: Outcome) -> bool:
    facts, high = outcome.before, outcome.used.high
    plain = (
        facts.shares_extents is False
        and outcome.host.format == "raw"
        and not facts.thick
        and outcome.host.discard
        and outcome.claims is not None
        and outcome.claims.direct
        and not outcome.claims.stacked
    )
    held = min(outcome.host.bytes_held(s) for s in (outcome.host.before, outcome.host.after))
    return bool(plain and high is not None and held - high - 65536 > outcome.least_freed)


def the_ceiling_may_ignore_the_hosts_metadata(outcome: Outcome) -> bool:
    size, claims = outcome.before.virtual_bytes, outcome.claims
    live = sum(used for used, _ in claims.direct) if claims else 0
    return size is not None and outcome.most_freed > size - live


def volumes_that_share_blocks_may_be_summed(outcome: Outcome) -> bool:
    claims = outcome.claims
    return (
        claims is not None
        and claims.used_bytes is not None
        and claims.used_bytes > outcome.used_bytes
    )


def what_spans_disks_is_on_each_of_them(outcome: Outcome) -> bool:
    spanning = [
        item.filesystem.used_bytes or 0
        for item in outcome.placed or ()
        if item.place == "spans" and outcome.host.target in item.targets
    ]
    return max(spanning, default=0) > outcome.used_bytes


def a_direct_filesystem_fills_its_region(outcome: Outcome) -> bool:
    claims, size = outcome.claims, outcome.before.virtual_bytes
    if claims is None or size is None or not claims.direct:
        return False
    # "All that is used on the disk is what the reported filesystems use."
    return claims.used_bytes is not None and outcome.live_bytes > claims.used_bytes


WRONG_RULES: list[Wrong] = [
    used_is_bounded_by_what_is_stored,
    the_floor_is_stored_minus_used,
    the_floor_may_ignore_the_hosts_block,
    the_ceiling_may_ignore_the_hosts_metadata,
    volumes_that_share_blocks_may_be_summed,
    what_spans_disks_is_on_each_of_them,
    a_direct_filesystem_fills_its_region,
]


@pytest.mark.parametrize("fails", WRONG_RULES, ids=lambda rule: rule.__name__)
def test_model_refutes_the_obvious_rule(fails: Wrong) -> None:
    assert any(fails(outcome) for world in seeded_worlds(4000) for outcome in outcomes(world))


def test_worlds_reach_every_conclusion() -> None:
    """A model in which nothing interesting happens would prove nothing."""
    seen: Counter[str] = Counter()
    for world in seeded_worlds(3000):
        for outcome in outcomes(world):
            seen[f"basis {outcome.used.basis}"] += 1
            seen[f"how {outcome.reclaimable.how}"] += 1
            seen["exact"] += outcome.used.bytes is not None
            seen["used.low"] += outcome.used.low > 0
            seen["reclaimable.low"] += outcome.reclaimable.low > 0
            for item in outcome.placed or ():
                seen[item.place] += 1
                seen["exceeds"] += item.exceeds
                stacked = item.filesystem.name.startswith("dm-")
                seen["direct on a volume"] += stacked and item.place == "direct"
    at_least_20 = {
        *(f"basis {b}" for b in ("guest", "guest-partial", "host")),
        *(f"how {h}" for h in ("trim", "enable-discard", "delete-snapshot", "none")),
        *("direct", "inside", "spans", "elsewhere", "direct on a volume"),
        *("exact", "used.low", "reclaimable.low"),
    }
    assert {name for name in at_least_20 if seen[name] < 20} == set()
    assert seen["exceeds"]


# --- the smallest worlds that broke a rule -----------------------------------------------------


def lone_disk(sectors: int, unit: int, stored: int) -> HostDisk:
    return HostDisk(
        index=0,
        target="vda",
        sectors=sectors,
        bus="virtio",
        serial="a",
        address=None,
        alias=None,
        format="raw",
        unit=unit,
        stored=stored,
        unit_bytes=unit * SECTOR,
        metadata_bytes=0,
        shares=False,
        thick=False,
        discard=True,
        snapshots=None,
        before=stored,
        after=stored,
    )


def full_disk_with(filesystem: Callable[[Device], Filesystem], first: int, unit: int) -> Outcome:
    """One partition from sector ``first`` to the end of a disk stored in full."""
    sectors = 65536
    host = lone_disk(sectors, unit, worlds.every(unit, 1, 0, sectors))
    region = worlds.whole(0, "vda1", first, sectors - first, ("vda",))
    world = World([host], [], [region], [filesystem(region)], [0])
    (outcome,) = outcomes(world)
    return outcome


def with_live_blocks(device: Device, kind: str, block: int, live: int) -> Filesystem:
    count = device.length // block
    return Filesystem(
        type=kind,
        name=device.name,
        devices=[device],
        used=worlds.widen(live, count, block),
        hidden=0,
        f_blocks=count * block,
        reserve=0,
        reported=True,
    )


def test_an_eighth_of_the_disk_can_keep_all_of_it() -> None:
    """1 KiB blocks from sector 63: every eighth straddles two blocks of the host."""

    def filesystem(device: Device) -> Filesystem:
        return with_live_blocks(device, "ext4", 2, worlds.every(8, 1, 4, device.length // 2) | 1)

    outcome = full_disk_with(filesystem, first=63, unit=8)
    assert outcome.used_bytes * 7 < outcome.host.virtual_bytes
    assert outcome.least_freed < outcome.host.virtual_bytes // 100
    assert outcome.reclaimable.low <= outcome.least_freed


def test_an_empty_filesystem_is_promised_nearly_all_of_the_disk() -> None:
    def filesystem(device: Device) -> Filesystem:
        return with_live_blocks(device, "ext4", 8, 1)

    outcome = full_disk_with(filesystem, first=2048, unit=8)
    promised = outcome.reclaimable.low
    assert outcome.host.virtual_bytes // 2 < promised <= outcome.least_freed


def test_nothing_is_promised_behind_dm_crypt() -> None:
    """It passes no discard on unless it is told to, and looks like a plain volume."""
    host = lone_disk(65536, 8, worlds.every(8, 1, 0, 65536))
    region = worlds.whole(0, "vda1", 0, 65536, ("vda",))
    crypt = Device(
        name="dm-0",
        length=65536,
        dependencies=("vda1",),
        regions=region.regions,
        legs=region.legs,
        passes_discard=False,
    )
    fs = with_live_blocks(crypt, "ext4", 8, 1)
    (outcome,) = outcomes(World([host], [], [region, crypt], [fs], [0]))
    assert outcome.used.basis == "guest"
    assert outcome.least_freed == outcome.reclaimable.low == 0


def test_a_trim_frees_the_hosts_metadata_too() -> None:
    """Every second block stored, nothing live: what goes is the blocks and their tree."""
    host = lone_disk(4096, 2, worlds.every(4, 1, 0, 4096))
    (outcome,) = outcomes(World([host], [], [], [], [0]), answered=False)
    assert outcome.most_freed > 2048 * SECTOR
    assert outcome.reclaimable.high is not None
    assert outcome.reclaimable.high >= outcome.most_freed


def test_volumes_of_one_group_are_summed_and_a_snapshot_of_the_partition_is_not() -> None:
    sectors = 4096
    host = lone_disk(sectors, 8, 0)
    region = worlds.whole(0, "vda1", 0, sectors, ("vda",))
    other = worlds.whole(0, "vda2", sectors, 0, ("vda",))

    def volume(name: str, first: int, *below: str) -> Device:
        return Device(
            name=name,
            length=2048,
            dependencies=below,
            regions=region.regions,
            legs=[[(0, first, 2048)]],
        )

    live = worlds.ones(100)
    volumes = [volume("dm-0", 0, "vda1"), volume("dm-1", 2048, "vda1")]
    plain = World(
        [host],
        [],
        [region, *volumes],
        [with_live_blocks(device, "ext4", 8, live) for device in volumes],
        [0],
    )
    (outcome,) = outcomes(plain)
    assert outcome.used.bytes == outcome.used_bytes == 2 * 800 * SECTOR

    volumes = [volume("dm-0", 0, "vda1"), volume("dm-1", 0, "vda1", "vda2")]
    copied = World(
        [host],
        [],
        [region, other, *volumes],
        [with_live_blocks(device, "ext4", 8, live) for device in volumes],
        [0],
    )
    (outcome,) = outcomes(copied)
    assert outcome.used.bytes is None
    assert outcome.used.low == outcome.used_bytes == 800 * SECTOR


def test_space_reserved_on_a_thin_volume_counts_though_no_block_holds_it() -> None:
    """Outside the model: ``fallocate`` on a thin volume. The count is the guest's, not the disk's.

    The filesystem says that it uses 800 sectors of which the pool provisioned 8. The bound
    follows the filesystem: it is above the distinct live blocks of the disk.
    """
    host = lone_disk(4096, 8, 0)
    region = worlds.whole(0, "vda1", 0, 4096, ("vda",))
    meta = Device("dm-0", 0, ("vda1",), region.regions, legs=[[]])
    data = Device("dm-1", 4096, ("vda1",), region.regions, legs=region.legs)
    pool = Device("dm-2", 4096, ("dm-0", "dm-1"), region.regions * 2, legs=region.legs)
    thin = Device("dm-3", 4096, ("dm-2",), region.regions * 2, chunks={0: (pool, 0)}, chunk=8)
    fs = with_live_blocks(thin, "ext4", 8, worlds.ones(100))
    (outcome,) = outcomes(World([host], [], [region, meta, data, pool, thin], [fs], [0]))
    assert outcome.used_bytes == 8 * SECTOR
    assert outcome.used.low == 800 * SECTOR


# --- cases that no honest world reaches ---------------------------------------------------------


def test_a_silent_guest_leaves_everything_possible() -> None:
    used = judge_used(1000, 500, None)
    assert used == Used(bytes=None, low=0, high=1000, basis="host")
    assert judge_used(None, None, None) == Used(bytes=None, low=0, high=None, basis="none")


def test_overlapping_lies_leave_the_bounds_in_order() -> None:
    lies = DiskClaims(direct=((0, 900), (0, 900)), inside=(700,))
    used = judge_used(1000, 1000, lies)
    assert used.high is not None
    assert 0 <= used.low <= used.high <= 1000


_amounts = st.integers(min_value=0, max_value=2**64)
_maybe = st.none() | _amounts


@given(
    size=_maybe,
    first=_maybe,
    second=_maybe,
    block=st.none() | st.sampled_from([512, 1024, 4096, 65536, 2**21]),
    direct=st.lists(st.tuples(_amounts, _amounts), max_size=4),
    inside=st.lists(_amounts, max_size=3),
    flags=st.tuples(*[st.booleans()] * 6),
    types=st.frozensets(st.sampled_from(["ext4", "btrfs", "xfs", "?"]), min_size=1),
)
def test_no_claim_whatever_makes_a_bound_negative_or_disordered(
    size: int | None,
    first: int | None,
    second: int | None,
    block: int | None,
    direct: list[tuple[int, int]],
    inside: list[int],
    flags: tuple[bool, ...],
    types: frozenset[str],
) -> None:
    incomplete, stacked, thick, raw, discard, answered = flags
    claims = DiskClaims(
        direct=tuple(direct),
        inside=tuple(inside),
        incomplete=incomplete,
        types=types,
        stacked=stacked,
    )
    before, after = (
        LayerFacts(
            allocated_bytes=held,
            allocated_source="stat",
            host_block_bytes=block,
            thick=thick,
            shares_extents=False,
        )
        for held in (first, second)
    )
    used = judge_used(size, first, claims)
    gain = judge_reclaimable(
        size, before, after if answered else None, claims, used, raw=raw, discard=discard
    )
    assert 0 <= used.low <= (used.high if used.high is not None else used.low)
    if used.bytes is not None:
        assert used.high is not None
        assert used.low <= used.bytes <= used.high
    assert (gain.high is None) == (first is None and (second is None or not answered))
    if gain.high is not None:
        assert 0 <= gain.low <= gain.high
        assert gain.estimate is None or 0 <= gain.estimate <= gain.high
    if thick and gain.high is not None:
        assert gain.high == 0


@pytest.mark.parametrize(
    ("size", "estimate", "low", "worthwhile"),
    [
        (10 * 2**30, 2**30, 0, True),
        (10 * 2**30, 2**30 - 1, 0, False),
        (100 * 2**20, 64 * 2**20, 0, True),
        (100 * 2**20, 64 * 2**20 - 1, 2**40, False),
        (None, None, 64 * 2**20, True),
        (None, None, 0, False),
    ],
)
def test_worth_telling_from_64_mib_and_a_tenth_of_the_disk(
    size: int | None, estimate: int | None, low: int, worthwhile: bool
) -> None:
    gain = Reclaimable(low=low, high=None, estimate=estimate, how="trim")
    assert is_worthwhile(gain, size) is worthwhile


@pytest.mark.parametrize(
    ("claims", "exact"),
    [
        (DiskClaims(direct=((10, 900),)), 10),
        (DiskClaims(direct=((10, 500), (20, 400))), 30),
        (DiskClaims(direct=((10, 899),)), None),
        (DiskClaims(direct=((10, 900),), inside=(5,)), None),
        (DiskClaims(direct=((10, 900),), incomplete=True), None),
        (DiskClaims(inside=(950,)), None),
        (DiskClaims(), None),
    ],
)
def test_a_use_is_exact_only_where_regions_cover_nine_tenths_and_nothing_else_is_there(
    claims: DiskClaims, exact: int | None
) -> None:
    used = judge_used(1000, 1000, claims)
    assert used.bytes == exact
    assert (used.basis == "guest") == (exact is not None)


def test_no_floor_without_a_second_look_a_raw_image_or_a_filesystem_that_keeps_its_extents() -> (
    None
):
    size = 2**30
    claims = DiskClaims(direct=((4096, size),), types=frozenset({"ext4"}))
    used = judge_used(size, size, claims)

    def low(
        raw: bool = True, discard: bool = True, looked_again: bool = True, **changed: object
    ) -> int:
        fields: dict[str, object] = {
            "allocated_bytes": size,
            "allocated_source": "stat",
            "host_block_bytes": 4096,
            "shares_extents": False,
        }
        facts = LayerFacts(**(fields | changed))  # type: ignore[arg-type]
        after = facts if looked_again else None
        return judge_reclaimable(size, facts, after, claims, used, raw=raw, discard=discard).low

    assert low() > size * 9 // 10
    assert low(host_block_bytes=65536) < low()
    assert low(raw=False) == 0
    assert low(discard=False) == 0
    assert low(looked_again=False) == 0
    assert low(thick=True) == 0
    assert low(shares_extents=None) == 0
    assert low(shares_extents=True) == 0
    assert low(host_block_bytes=None) == 0
    assert low(allocated_source="qemu") == 0
    assert low(internal_snapshots=1) == 0
