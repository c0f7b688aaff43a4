# SPDX-License-Identifier: Apache-2.0
"""Which disk a filesystem lies on: by serial, by address, or by nobody's word."""

from __future__ import annotations

import datetime
import time
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nova_diskaudit.attribute import (
    IMAGE_TYPES,
    DiskClaims,
    Placed,
    attribute,
    claims_of_disk,
    needs_guest_disks,
)
from nova_diskaudit.facts import (
    DiskDefinition,
    GuestClaims,
    GuestDevice,
    GuestDisk,
    GuestFilesystem,
)

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
GIB = 2**30
UUID = "f1e2d3c4-0000-4000-8000-123456789abc"


def disk(
    target: str = "vda",
    bus: str = "virtio",
    serial: str | None = None,
    address: str | None = None,
    alias: str | None = None,
) -> DiskDefinition:
    return DiskDefinition(
        target=target,
        device="disk",
        bus=bus,
        serial=serial,
        alias=alias,
        address=address,
        discard="unmap",
        read_only=False,
        shareable=False,
        layers=(),
        data_file=None,
        chain_complete=True,
    )


def device(
    dev: str | None = "/dev/vda1", serial: str | None = None, address: str | None = None
) -> GuestDevice:
    return GuestDevice(dev=dev, serial=serial, address=address)


def filesystem(
    *devices: GuestDevice,
    name: str = "vda1",
    type: str = "ext4",
    used: int | None = 10,
    total: int | None = 100,
    size: int | None = None,
) -> GuestFilesystem:
    return GuestFilesystem(
        name=name,
        mountpoint="/",
        type=type,
        used_bytes=used,
        total_bytes=total,
        size_bytes=size,
        devices=devices,
    )


def claims(*filesystems: GuestFilesystem, disks: Sequence[GuestDisk] | None = None) -> GuestClaims:
    return GuestClaims(
        agent_version="9.1",
        filesystems=filesystems,
        disks=None if disks is None else tuple(disks),
        as_of=NOW,
    )


def listed(name: str, *dependencies: str, address: str | None = None) -> GuestDisk:
    partition = name[-1].isdigit() and not name.startswith("/dev/dm-")
    at = device(name, None, address) if address else None
    return GuestDisk(name=name, partition=partition, dependencies=dependencies, device=at)


def place(
    disks: Sequence[DiskDefinition],
    said: GuestClaims,
    size: int | None = GIB,
    data_disks: int | None = None,
) -> tuple[Placed, ...]:
    sizes = {d.target: size for d in disks}
    return attribute(disks, sizes, data_disks or len(disks), said)


def where(disks: Sequence[DiskDefinition], *devices: GuestDevice) -> tuple[str, ...]:
    (placed,) = place(disks, claims(filesystem(*devices)))
    return placed.targets


# --- serials ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bus", "spelled"),
    [
        ("virtio", UUID[:20]),
        ("scsi", UUID),
        ("scsi", f"0QEMU_QEMU_HARDDISK_{UUID}"),
        ("scsi", f"QEMU_QEMU_HARDDISK_{UUID}"),
        ("sata", f"QEMU_HARDDISK_{UUID[:20]}"),
        ("ide", f"QEMU_HARDDISK_{UUID[:20]}"),
    ],
)
def test_a_serial_matches_as_udev_spells_it(bus: str, spelled: str) -> None:
    disks = [disk("vda", bus, UUID), disk("vdb", bus, "another")]
    assert where(disks, device(serial=spelled)) == ("vda",)


@pytest.mark.parametrize(
    ("bus", "spelled"),
    [
        ("virtio", UUID),
        ("virtio", UUID[:19]),
        ("virtio", f"0QEMU_QEMU_HARDDISK_{UUID[:20]}"),
        ("scsi", UUID[:20]),
        ("scsi", f"OTHER_{UUID}"),
        ("scsi", ""),
        ("virtio", " "),
    ],
)
def test_a_serial_that_is_nearly_right_matches_nothing(bus: str, spelled: str) -> None:
    assert where([disk("vda", bus, UUID)], device(serial=spelled)) == ()


def test_two_disks_with_the_same_first_20_characters_match_nothing() -> None:
    disks = [disk("vda", serial=UUID[:20] + "a"), disk("vdb", serial=UUID[:20] + "b")]
    assert where(disks, device(serial=UUID[:20])) == ()


def test_a_serial_with_spaces_matches_with_underscores() -> None:
    assert where([disk(serial=" my disk ")], device(serial="my_disk")) == ("vda",)


@pytest.mark.parametrize("prefix", ["", "0QEMU_QEMU_HARDDISK_"])
def test_a_scsi_disk_without_serial_matches_by_its_alias(prefix: str) -> None:
    disks = [
        disk("sda", "scsi", alias="scsi0-0-0-0", address="drive:0000:00:05.0:0:0:0"),
        disk("sdb", "scsi", alias="scsi0-0-0-1", address="drive:0000:00:05.0:0:0:1"),
    ]
    there = device("/dev/sdb1", f"{prefix}drive-scsi0-0-0-1", "drive:0000:00:05.0:0:0:0")
    assert where(disks, there) == ("sdb",)


def test_an_alias_is_no_serial_on_virtio() -> None:
    assert where([disk(alias="virtio-disk0")], device(serial="drive-virtio-disk0")) == ()


# --- addresses -----------------------------------------------------------------------------------

PCI = "pci:0000:00:04.0"
SCSI = "drive:0000:00:05.0:0"


def test_an_address_matches_one_disk() -> None:
    disks = [disk(address=PCI), disk("vdb", address="pci:0000:00:06.0")]
    assert where(disks, device(address=PCI)) == ("vda",)
    assert where(disks, device(address="pci:0000:00:07.0")) == ()
    assert where(disks, device(address=None)) == ()


def test_partitions_of_one_disk_are_one_claimant() -> None:
    said = claims(
        filesystem(device("/dev/vda1", None, PCI), name="vda1"),
        filesystem(device("/dev/vda15", None, PCI), name="vda15"),
    )
    assert [p.targets for p in place([disk(address=PCI)], said)] == [("vda",), ("vda",)]


@pytest.mark.parametrize(
    ("one", "other"),
    [("/dev/nvme0n1p1", "/dev/nvme0n1p2"), ("/dev/mmcblk0p1", "/dev/mmcblk0p2")],
)
def test_partitions_with_a_p_are_of_one_disk(one: str, other: str) -> None:
    said = claims(
        filesystem(device(one, None, PCI), name="a"), filesystem(device(other, None, PCI), name="b")
    )
    assert [p.targets for p in place([disk(address=PCI)], said)] == [("vda",), ("vda",)]


def test_two_namespaces_at_one_address_are_two_claimants() -> None:
    said = claims(
        filesystem(device("/dev/nvme0n1p1", None, PCI), name="nvme0n1p1"),
        filesystem(device("/dev/nvme0n2p1", None, PCI), name="nvme0n2p1"),
    )
    assert [p.targets for p in place([disk(address=PCI)], said)] == [(), ()]


def scsi_disks(*places: str) -> list[DiskDefinition]:
    return [
        disk(f"sd{letter}", "scsi", address=f"{SCSI}:{at}")
        for letter, at in zip("abc", places, strict=False)
    ]


def test_three_disks_at_one_address_of_which_one_is_mounted_match_nothing() -> None:
    disks = scsi_disks("0:0", "1:0", "2:0")
    mounted = filesystem(device("/dev/sdc1", None, f"{SCSI}:0:0"))
    every = [listed(f"/dev/sd{letter}", address=f"{SCSI}:0:0") for letter in "abc"]
    for guest_disks in (None, every, every[2:]):
        (placed,) = place(disks, claims(mounted, disks=guest_disks))
        assert placed.targets == ()
        assert placed.place == "elsewhere"


def test_disks_told_apart_by_lun_match_once_the_guest_has_listed_them() -> None:
    disks = scsi_disks("0:0", "0:1", "0:2")
    mounted = filesystem(device("/dev/sdc1", None, f"{SCSI}:0:2"))
    every = [listed(f"/dev/sd{x}", address=f"{SCSI}:0:{n}") for n, x in enumerate("abc")]
    assert place(disks, claims(mounted, disks=every))[0].targets == ("sdc",)


def test_an_empty_cdrom_at_target_0_does_not_attract_the_disk_behind_it() -> None:
    disks = scsi_disks("0:0", "1:0")
    mounted = filesystem(device("/dev/sda1", None, f"{SCSI}:0:0"))
    only = [listed("/dev/sda", address=f"{SCSI}:0:0")]
    assert place(disks, claims(mounted, disks=only))[0].targets == ()


def test_a_disk_alone_on_its_controller_matches_by_address() -> None:
    assert where(scsi_disks("0:0"), device("/dev/sda1", None, f"{SCSI}:0:0")) == ("sda",)


def test_another_serial_at_the_address_is_another_disk() -> None:
    disks = [disk(serial="mine", address=PCI)]
    assert where(disks, device(serial="theirs", address=PCI)) == ()
    assert where(disks, device(serial=None, address=PCI)) == ("vda",)
    assert where([disk(address=PCI)], device(serial="theirs", address=PCI)) == ("vda",)


def test_a_filesystem_larger_than_the_disk_is_not_at_its_address() -> None:
    disks = [disk(address=PCI)]
    large = filesystem(device(address=PCI), size=GIB + 1)
    assert place(disks, claims(large))[0].targets == ()
    assert place(disks, claims(large), size=None)[0].targets == ("vda",)


def test_a_serial_is_believed_before_an_address() -> None:
    disks = [disk(serial="a", address=PCI), disk("vdb", serial="b", address="pci:0000:00:06.0")]
    assert where(disks, device(serial="b", address=PCI)) == ("vdb",)


def test_windows_volumes_match_by_serial_or_address() -> None:
    there = device("\\\\.\\PhysicalDrive0", UUID[:20], PCI)
    volume = filesystem(there, name="\\\\?\\Volume{1}\\", type="NTFS")
    (placed,) = place([disk(serial=UUID, address=PCI)], claims(volume))
    assert (placed.targets, placed.place) == (("vda",), "direct")


def test_two_windows_volumes_on_one_disk_are_never_summed_as_one_region() -> None:
    """Windows names the disk, not the partition: of two volumes only one is surely a region."""
    there = device("\\\\.\\PhysicalDrive0", "a")
    said = claims(
        filesystem(there, name="\\\\?\\Volume{1}\\", type="NTFS"),
        filesystem(there, name="\\\\?\\Volume{2}\\", type="NTFS"),
    )
    assert [p.place for p in place([disk(serial="a")], said)] == ["direct", "inside"]


@pytest.mark.parametrize(
    ("disks", "said", "needed"),
    [
        ([disk(serial="a")], [filesystem(device(serial="a"))], False),
        ([disk(serial="a")], [filesystem(device(serial="a"), name="dm-0")], True),
        ([disk(serial="a")], [filesystem(device(serial="a"), name="md0")], False),
        (scsi_disks("0:0", "0:1"), [filesystem(device("/dev/sda1", None, f"{SCSI}:0:0"))], True),
        ([disk(address=PCI)], [filesystem(device(address=PCI))], False),
        ([], [], False),
    ],
)
def test_the_list_of_disks_is_asked_for_only_when_it_tells_something(
    disks: list[DiskDefinition], said: list[GuestFilesystem], needed: bool
) -> None:
    assert needs_guest_disks(disks, said) is needed


# --- how a filesystem lies on its disk -----------------------------------------------------------

ONE = [disk(serial="a")]
TWO = [disk(serial="a"), disk("vdb", serial="b")]
ON_A, ON_B = device("/dev/vda1", "a"), device("/dev/vdb1", "b")


@pytest.mark.parametrize(
    ("fs", "disks", "expected"),
    [
        (filesystem(ON_A), ONE, "direct"),
        (filesystem(ON_A, ON_A), ONE, "direct"),
        (filesystem(ON_A, device("/dev/vda2", "a")), ONE, "inside"),
        (filesystem(ON_A, name="dm-0"), ONE, "inside"),
        (filesystem(ON_A, name="md0"), ONE, "inside"),
        (filesystem(ON_A, name="bcache0"), ONE, "inside"),
        (filesystem(ON_A, ON_B, name="dm-0"), TWO, "spans"),
        (filesystem(ON_A, device("/dev/vdz1", "?"), name="dm-0"), TWO, "spans"),
        (filesystem(ON_A, type="btrfs"), ONE, "direct"),
        (filesystem(ON_A, type="btrfs"), TWO, "spans"),
        (filesystem(ON_A, type="f2fs"), TWO, "spans"),
        (filesystem(name="loop0"), ONE, "elsewhere"),
        (filesystem(device("/dev/x", "?")), ONE, "elsewhere"),
        *((filesystem(ON_A, type=image), ONE, "ignored") for image in sorted(IMAGE_TYPES)),
    ],
    ids=lambda value: value.type if isinstance(value, GuestFilesystem) else None,
)
def test_place_of_a_filesystem(
    fs: GuestFilesystem, disks: list[DiskDefinition], expected: str
) -> None:
    (placed,) = place(disks, claims(fs))
    assert placed.place == expected


PARTITION = listed("/dev/vda1", "/dev/vda")


@pytest.mark.parametrize(
    ("stack", "expected"),
    [
        ([PARTITION, listed("/dev/dm-0", "/dev/vda1")], "direct"),
        ([listed("/dev/dm-0", "/dev/vda")], "direct"),
        # volumes of one group
        ([PARTITION, *(listed(f"/dev/dm-{n}", "/dev/vda1") for n in range(3))], "direct"),
        # LUKS on a volume, and a volume on LUKS
        ([PARTITION, listed("/dev/dm-1", "/dev/vda1"), listed("/dev/dm-0", "/dev/dm-1")], "direct"),
        # two volumes on LUKS: nothing tells them from snapshots of it
        (
            [
                listed("/dev/dm-2", "/dev/vda1"),
                listed("/dev/dm-0", "/dev/dm-2"),
                listed("/dev/dm-1", "/dev/dm-2"),
            ],
            "inside",
        ),
        # a thin volume
        (
            [
                listed("/dev/dm-1", "/dev/vda1"),
                listed("/dev/dm-2", "/dev/vda1"),
                listed("/dev/dm-3", "/dev/dm-1", "/dev/dm-2"),
                listed("/dev/dm-0", "/dev/dm-3"),
            ],
            "inside",
        ),
        # a snapshot of the partition, with its copies on another
        (
            [listed("/dev/dm-0", "/dev/vda1"), listed("/dev/dm-1", "/dev/vda1", "/dev/vda2")],
            "inside",
        ),
        # md shares the partition: nobody's volume group
        (
            [
                listed("/dev/dm-0", "/dev/vda1"),
                GuestDisk(
                    name="/dev/md0", partition=False, dependencies=("/dev/vda1",), device=None
                ),
            ],
            "inside",
        ),
        ([listed("/dev/dm-0", "/dev/md0")], "inside"),
        ([listed("/dev/dm-0")], "inside"),
        ([], "inside"),
        (None, "inside"),
        # cycles and endless stacks
        ([listed("/dev/dm-0", "/dev/dm-0")], "inside"),
        ([listed("/dev/dm-0", "/dev/dm-1"), listed("/dev/dm-1", "/dev/dm-0")], "inside"),
        ([listed(f"/dev/dm-{n}", f"/dev/dm-{n + 1}") for n in range(100)], "inside"),
    ],
)
def test_a_volume_is_direct_when_nothing_else_can_share_its_blocks(
    stack: list[GuestDisk] | None, expected: str
) -> None:
    (placed,) = place(ONE, claims(filesystem(ON_A, name="dm-0"), disks=stack))
    assert placed.place == expected


def test_volumes_of_one_group_are_all_direct() -> None:
    stack = [PARTITION, listed("/dev/dm-0", "/dev/vda1"), listed("/dev/dm-1", "/dev/vda1")]
    said = claims(filesystem(ON_A, name="dm-0"), filesystem(ON_A, name="dm-1"), disks=stack)
    placed = place(ONE, said)
    assert [p.place for p in placed] == ["direct", "direct"]
    found = claims_of_disk("vda", placed)
    assert (found.direct, found.stacked) == (((10, 100), (10, 100)), True)


def test_volumes_larger_together_than_the_disk_are_no_regions_of_it() -> None:
    stack = [PARTITION, listed("/dev/dm-0", "/dev/vda1"), listed("/dev/dm-1", "/dev/vda1")]
    said = claims(
        filesystem(ON_A, name="dm-0", size=600),
        filesystem(ON_A, name="dm-1", size=600),
        disks=stack,
    )
    assert [p.place for p in place(ONE, said, size=1000)] == ["direct", "inside"]


# --- lies ----------------------------------------------------------------------------------------


def test_one_device_mounted_twice_counts_once() -> None:
    placed = place(ONE, claims(filesystem(ON_A), filesystem(ON_A)))
    assert claims_of_disk("vda", placed).used_bytes == 10


def test_one_region_claimed_twice_is_direct_once() -> None:
    placed = place(ONE, claims(filesystem(ON_A, name="a"), filesystem(ON_A, name="b")))
    assert [p.place for p in placed] == ["direct", "inside"]


@pytest.mark.parametrize(
    "numbers",
    [
        {"used": -1},
        {"used": 2**64 - 5},
        {"used": 10, "total": -1},
        {"used": 10, "size": -1},
        {"used": None, "total": 2**63},
        {"used": 101, "total": 100},
        {"used": 101, "total": 200, "size": 100},
    ],
)
def test_an_implausible_claim_enters_no_sum(numbers: dict[str, int | None]) -> None:
    placed = place(ONE, claims(filesystem(ON_A, **numbers)))  # type: ignore[arg-type]
    assert placed[0].implausible
    assert claims_of_disk("vda", placed) == DiskClaims(incomplete=True)


def test_more_used_than_the_disk_is_shown_and_not_summed() -> None:
    placed = place(ONE, claims(filesystem(ON_A, used=1001, total=2000)), size=1000)
    assert placed[0].exceeds
    assert not placed[0].implausible
    assert claims_of_disk("vda", placed) == DiskClaims(incomplete=True)


def test_a_claim_without_bytes_makes_the_disk_incomplete_and_not_empty() -> None:
    found = claims_of_disk("vda", place(ONE, claims(filesystem(ON_A, used=None, total=None))))
    assert found == DiskClaims(incomplete=True)
    assert found.used_bytes is None


def test_what_spans_disks_makes_each_of_them_incomplete() -> None:
    placed = place(TWO, claims(filesystem(ON_A, ON_B, name="dm-0")))
    for target in ("vda", "vdb"):
        assert claims_of_disk(target, placed) == DiskClaims(incomplete=True)


def test_a_mounted_image_is_no_use_of_the_disk() -> None:
    placed = place(ONE, claims(filesystem(ON_A, type="squashfs"), filesystem(ON_A, name="b")))
    found = claims_of_disk("vda", placed)
    assert (found.direct, found.incomplete) == (((10, 100),), False)


def test_the_size_is_the_privileged_total_where_the_agent_gives_one() -> None:
    for size, known in ((120, 120), (None, 100)):
        placed = place(ONE, claims(filesystem(ON_A, size=size)))
        assert claims_of_disk("vda", placed).direct == ((10, known),)


def test_ten_thousand_entries_are_traced_at_once() -> None:
    count = 10_000
    many = tuple(
        filesystem(
            device(f"/dev/vda{n}", "a", PCI), device(f"/dev/vdb{n}", None, PCI), name=f"dm-{n}"
        )
        for n in range(count)
    )
    stack = [listed(f"/dev/dm-{n}", "/dev/vda1") for n in range(count)]
    began = time.process_time()
    placed = place(TWO, claims(*many, disks=stack))
    for target in ("vda", "vdb"):
        claims_of_disk(target, placed)
    needs_guest_disks(TWO, many)
    assert time.process_time() - began < 3


def test_thousands_of_volumes_of_one_group_are_judged_at_once() -> None:
    """Each is a sibling of all the others."""
    count = 4096
    many = tuple(filesystem(ON_A, name=f"dm-{n}", used=1, total=1) for n in range(count))
    stack = [listed(f"/dev/dm-{n}", "/dev/vda1") for n in range(count)]
    began = time.process_time()
    placed = place(ONE, claims(*many, disks=stack))
    assert {p.place for p in placed} == {"direct"}
    assert time.process_time() - began < 5


# --- whatever is claimed -------------------------------------------------------------------------

_numbers = st.none() | st.integers(min_value=-(2**64), max_value=2**65) | st.integers(0, 2000)
_names = st.sampled_from(["vda1", "dm-0", "dm-1", "md0", "/dev/dm-0", "loop0", "", "x"]) | st.text(
    max_size=3
)
_devices = st.builds(
    GuestDevice,
    dev=st.none() | st.sampled_from(["/dev/vda", "/dev/vda1", "/dev/vdb1", "", "\\\\.\\x"]),
    serial=st.none() | st.sampled_from(["a", "b", "c", "", "drive-x"]),
    address=st.none() | st.sampled_from([PCI, f"{SCSI}:0:0", f"{SCSI}:1:0", "drive:", "", "pci:"]),
)
_filesystems = st.builds(
    GuestFilesystem,
    name=_names,
    mountpoint=st.none(),
    type=st.sampled_from(["ext4", "btrfs", "squashfs", ""]),
    used_bytes=_numbers,
    total_bytes=_numbers,
    size_bytes=_numbers,
    devices=st.lists(_devices, max_size=3).map(tuple),
)
_nodes = st.sampled_from(["/dev/vda", "/dev/vda1", "/dev/dm-0", "/dev/dm-1", "/dev/md0", "dm-0"])
_guest_disks = st.builds(
    GuestDisk,
    name=_nodes,
    partition=st.booleans(),
    dependencies=st.lists(_nodes, max_size=3).map(tuple),
    device=st.none() | _devices,
)
_claims = st.builds(
    GuestClaims,
    agent_version=st.none(),
    filesystems=st.lists(_filesystems, max_size=6).map(tuple),
    disks=st.none() | st.lists(_guest_disks, max_size=6).map(tuple),
    as_of=st.just(NOW),
)
_definitions = st.lists(
    st.builds(
        disk,
        target=st.sampled_from(["vda", "vdb", "vdc", "sda"]),
        bus=st.sampled_from(["virtio", "scsi", "sata", "usb"]),
        serial=st.none() | st.sampled_from(["a", "b", "", " "]),
        address=st.none() | st.sampled_from([PCI, f"{SCSI}:0:0", f"{SCSI}:1:0"]),
        alias=st.none() | st.just("x"),
    ),
    max_size=4,
    unique_by=lambda d: d.target,
)


@given(_definitions, _claims, st.none() | st.integers(0, 2000), st.integers(0, 4))
def test_no_claim_raises_or_touches_a_disk_that_it_does_not_name(
    disks: list[DiskDefinition], said: GuestClaims, size: int | None, data_disks: int
) -> None:
    sizes = {d.target: size for d in disks}
    placed = attribute(disks, sizes, data_disks, said)
    needs_guest_disks(disks, said.filesystems)
    assert len(placed) == len({fs.name for fs in said.filesystems})
    for item in placed:
        assert set(item.targets) <= set(sizes)
        assert item.targets == tuple(sorted(set(item.targets)))
        assert not item.targets or item.filesystem.devices
        if item.place in ("direct", "inside"):
            assert len(item.targets) == 1
        serials = {d.serial for d in item.filesystem.devices}
        addresses = {d.address for d in item.filesystem.devices}
        for d in disks:
            if d.target in item.targets and d.address not in addresses:
                assert serials & {"a", "b", "drive-x"}
    for target in (*sizes, "nowhere"):
        found = claims_of_disk(target, placed)
        limit = sizes.get(target)
        assert all(used >= 0 and total >= 0 for used, total in found.direct)
        assert all(used >= 0 for used in found.inside)
        assert limit is None or all(used <= limit for used in found.inside)
        assert found.total_bytes is None or found.total_bytes > 0
        if not any(target in item.targets for item in placed):
            assert found == DiskClaims()


@given(_claims)
def test_a_disk_that_nobody_names_is_as_if_the_guest_had_said_nothing(said: GuestClaims) -> None:
    quiet = disk("vdq", serial="nobody-names-this", address="pci:0000:00:1f.7")
    noisy = disk("vda", serial="a", address=PCI)
    sizes = {"vda": 1000, "vdq": 1000}
    assert claims_of_disk("vdq", attribute([noisy, quiet], sizes, 2, said)) == DiskClaims()
