# SPDX-License-Identifier: Apache-2.0
"""libvirt's block numbers: a small model of its two functions, and the tables made from it.

``Image`` is what QEMU and the host know. ``block_info`` and ``bulk_stats`` are libvirt's
``virDomainGetBlockInfo`` and ``qemuDomainGetStatsOneBlock`` written down from their algorithm
alone. The product sees only the bulk stats and the host's ``stat``, and must find the triple.

Where it cannot: libvirt itself reads the length (and the host does not) of gluster disks and of
directories, and a driver that reports an actual-size of 0 for something that is neither file nor
device has its length in its place. See :func:`test_only_a_length_that_we_cannot_see_is_lost`.
"""

from __future__ import annotations

import datetime

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nova_diskaudit.blockinfo import (
    CAUSES,
    Qmp,
    Triple,
    allocation_is_high_water_mark,
    cause_of_equality,
    predict,
    predict_shut_off,
    qmp_behind,
)
from nova_diskaudit.facts import BlockStats, LayerFacts

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
MIB = 2**20
FULL = 256 * MIB
LENGTH = 257 * MIB


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """What is true of one image. ``actual`` and ``written`` are None where QMP lacks them.

    ``guest_wrote`` counts the bytes that the guest wrote since QEMU started (``wr.bytes``).
    """

    storage: str
    format: str
    virtual: int
    actual: int | None
    written: int | None
    length: int | None
    guest_wrote: int = 0


def block_info(image: Image) -> tuple[int, int, int]:
    """What ``virsh domblkinfo`` prints for a running domain."""
    du = image.virtual if image.actual is None else image.actual
    if image.written is None or (image.storage == "file" and image.format == "qcow2"):
        allocation = du
    else:
        allocation = image.written
    if du == 0 or allocation == 0 or allocation == du:
        if allocation == 0:
            allocation = du
        physical = du if image.length is None else image.length
    else:
        physical = du
    return image.virtual, allocation, physical


def bulk_stats(image: Image) -> BlockStats:
    """What ``virsh domstats --block`` prints for a running domain."""
    du = image.virtual if image.actual is None else image.actual
    return BlockStats(
        capacity=image.virtual or None,
        allocation=image.written or 0,
        physical=du or image.length or 0,
        written_bytes=image.guest_wrote,
        as_of=NOW,
    )


def host_facts(image: Image) -> LayerFacts:
    """What ``stat`` says: nothing of what is not on this host."""
    if image.storage == "file":
        return LayerFacts(allocated_bytes=image.actual, container_bytes=image.length)
    if image.storage == "block":
        return LayerFacts(container_bytes=image.length)
    return LayerFacts()


def predicted(image: Image) -> tuple[int, int, int]:
    qmp = qmp_behind(image.storage, bulk_stats(image), host_facts(image))
    assert qmp is not None
    triple = predict(image.storage, image.format, qmp).triple
    return triple.capacity, triple.allocation, triple.physical


def image(
    storage: str, image_format: str, written: int | None, actual: int | None, length: int | None
) -> Image:
    return Image(
        storage=storage,
        format=image_format,
        virtual=FULL,
        actual=actual,
        written=written,
        length=length,
    )


RBD, NBD = "network:rbd", "network:nbd"

# id, image (storage, format, highest written offset, actual-size, length), allocation, physical
RUNNING = [
    ("raw sparse, not written", ("file", "raw", 0, 3 * MIB, FULL), 3 * MIB, FULL),
    ("raw sparse, written", ("file", "raw", 200 * MIB, 3 * MIB, FULL), 200 * MIB, 3 * MIB),
    ("raw sparse, last sector written", ("file", "raw", FULL, 2 * MIB, FULL), FULL, 2 * MIB),
    ("raw sparse, offset equals bytes", ("file", "raw", 3 * MIB, 3 * MIB, FULL), 3 * MIB, FULL),
    ("raw, discarded to nothing", ("file", "raw", FULL, 0, FULL), FULL, FULL),
    ("raw, never held anything", ("file", "raw", 0, 0, FULL), 0, FULL),
    ("raw reserved, not written", ("file", "raw", 0, FULL, FULL), FULL, FULL),
    ("raw reserved, written", ("file", "raw", 9 * MIB, FULL, FULL), 9 * MIB, FULL),
    ("qcow2 file, not written", ("file", "qcow2", 0, MIB, LENGTH), MIB, LENGTH),
    ("qcow2 file, written", ("file", "qcow2", 99 * MIB, MIB, LENGTH), MIB, LENGTH),
    ("qcow2 reserved beyond its end", ("file", "qcow2", 0, LENGTH, 4 * MIB), LENGTH, 4 * MIB),
    ("vmdk file, written", ("file", "vmdk", 99 * MIB, MIB, LENGTH), 99 * MIB, MIB),
    ("raw device, not written", ("block", "raw", 0, 0, FULL), 0, FULL),
    ("raw device, written", ("block", "raw", 64 * MIB, 0, FULL), 64 * MIB, FULL),
    ("raw device, last sector written", ("block", "raw", FULL, 0, FULL), FULL, FULL),
    ("qcow2 on a device, not written", ("block", "qcow2", 0, 0, LENGTH), 0, LENGTH),
    ("qcow2 on a device, written", ("block", "qcow2", 7 * MIB, 0, LENGTH), 7 * MIB, LENGTH),
    ("rbd, not written", (RBD, "raw", 0, None, None), FULL, FULL),
    ("rbd, written", (RBD, "raw", 32 * MIB, None, None), 32 * MIB, FULL),
    ("directory, not written", ("dir", "raw", 0, None, 0), FULL, 0),
    ("directory, written", ("dir", "raw", MIB, None, 0), MIB, FULL),
    ("nbd, last sector written", (NBD, "raw", FULL, None, None), FULL, FULL),
    ("qcow2 on nbd, written", (NBD, "qcow2", 5 * MIB, None, None), 5 * MIB, FULL),
    ("nfs:// by QEMU, written", ("network:nfs", "raw", 9 * MIB, 3 * MIB, None), 9 * MIB, 3 * MIB),
    ("new stack: raw file", ("file", "raw", None, 3 * MIB, FULL), 3 * MIB, FULL),
    ("new stack: raw file, empty", ("file", "raw", None, 0, FULL), 0, FULL),
    ("new stack: raw device", ("block", "raw", None, 0, FULL), 0, FULL),
    ("new stack: rbd", (RBD, "raw", None, None, None), FULL, FULL),
    ("new stack: qcow2 file", ("file", "qcow2", 99 * MIB, MIB, LENGTH), MIB, LENGTH),
]


@pytest.mark.parametrize(
    ("parts", "allocation", "physical"),
    [row[1:] for row in RUNNING],
    ids=[row[0] for row in RUNNING],
)
def test_triple_of_a_running_domain(
    parts: tuple[str, str, int | None, int | None, int | None], allocation: int, physical: int
) -> None:
    disk = image(*parts)
    assert block_info(disk) == (FULL, allocation, physical)
    assert predicted(disk) == (FULL, allocation, physical)


# libvirt's own words, measured: domblkinfo (allocation, physical), domstats (the same).
MEASURED = [
    (image("file", "raw", 268435456, 1081344, FULL), (268435456, 1081344), (268435456, 1081344)),
    (image("file", "qcow2", 1441792, 1380352, 1441792), (1380352, 1441792), (1441792, 1380352)),
    (image("file", "raw", 268435456, 0, FULL), (268435456, 268435456), (268435456, 268435456)),
    (image("network:nbd", "raw", 0, None, None), (FULL, FULL), (0, FULL)),
]


@pytest.mark.parametrize(("disk", "info", "stats"), MEASURED)
def test_the_model_says_what_was_measured(
    disk: Image, info: tuple[int, int], stats: tuple[int, int]
) -> None:
    assert block_info(disk)[1:] == info
    bulk = bulk_stats(disk)
    assert (bulk.allocation, bulk.physical) == stats
    assert predicted(disk)[1:] == info


_bytes = st.integers(min_value=0, max_value=8) | st.integers(min_value=0, max_value=2**50)
_size = st.integers(min_value=1, max_value=8) | st.integers(min_value=1, max_value=2**50)
_format = st.sampled_from(["raw", "qcow2", "vmdk"])
_written = st.none() | _bytes

_files = st.builds(
    Image,
    storage=st.just("file"),
    format=_format,
    virtual=_size,
    actual=_bytes,
    written=_written,
    length=_size,
)
_devices = st.builds(
    Image,
    storage=st.just("block"),
    format=_format,
    virtual=_size,
    actual=st.just(0),
    written=_written,
    length=_size,
)
_network = st.builds(
    Image,
    storage=st.sampled_from([RBD, NBD, "network:iscsi", "nvme"]),
    format=_format,
    virtual=_size,
    actual=st.none(),
    written=_written,
    length=st.none(),
)
_seen_by_libvirt_only = st.builds(
    Image,
    storage=st.sampled_from(["network:gluster", "network:nfs"]),
    format=_format,
    virtual=_size,
    actual=st.none() | _bytes,
    written=_written,
    length=st.none() | _size,
)


@given(_files | _devices | _network)
@example(image("file", "raw", 0, 0, FULL))
@example(image("file", "raw", FULL, 0, FULL))
def test_the_triple_of_files_devices_and_network_disks_is_always_found(disk: Image) -> None:
    assert predicted(disk) == block_info(disk)


def takes_length(disk: Image) -> bool:
    du = disk.virtual if disk.actual is None else disk.actual
    file_qcow2 = disk.storage == "file" and disk.format == "qcow2"
    return du == 0 or file_qcow2 or disk.written in (None, 0, du)


@given(_seen_by_libvirt_only)
@example(image("network:gluster", "raw", 0, 3 * MIB, FULL))
@example(image("network:gluster", "raw", 9 * MIB, 0, FULL))
def test_only_a_length_that_we_cannot_see_is_lost(disk: Image) -> None:
    """Gluster and the like: wrong only where libvirt read a length, and then only by it."""
    capacity, allocation, physical = block_info(disk)
    guess = predicted(disk)
    if not takes_length(disk):
        assert guess == (capacity, allocation, physical)
    elif disk.actual != 0:
        assert guess[:2] == (capacity, allocation)
        if disk.length is None:
            assert guess[2] == physical


def test_a_gluster_disk_that_was_not_written_is_the_one_known_miss() -> None:
    disk = image("network:gluster", "raw", 0, 3 * MIB, FULL)
    assert block_info(disk) == (FULL, 3 * MIB, FULL)
    assert predicted(disk) == (FULL, 3 * MIB, 3 * MIB)


def test_stat_alone_tells_an_empty_file_from_a_full_one() -> None:
    """Both say physical = length in bulk; without stat the full one is assumed."""
    empty, full = (image("file", "raw", MIB, held, FULL) for held in (0, FULL))
    assert bulk_stats(empty) == bulk_stats(full)
    assert block_info(empty) == (FULL, MIB, FULL) == block_info(full)
    no_stat = LayerFacts()
    for disk, actual in ((empty, 0), (full, FULL)):
        seen = qmp_behind("file", bulk_stats(disk), host_facts(disk))
        blind = qmp_behind("file", bulk_stats(disk), no_stat)
        assert seen is not None
        assert blind is not None
        assert (seen.actual_size, blind.actual_size) == (actual, FULL)


@pytest.mark.parametrize("missing", ["capacity", "physical"])
def test_missing_keys_are_unknown_and_not_zero(missing: str) -> None:
    whole = BlockStats(capacity=FULL, allocation=0, physical=MIB, as_of=NOW)
    part = msgspec.structs.replace(whole, **{missing: None})
    assert qmp_behind("file", part, LayerFacts()) is None


def test_no_highest_offset_and_one_of_0_give_the_same_triple() -> None:
    for storage, actual, length in (("file", MIB, FULL), ("block", 0, FULL), (RBD, None, None)):
        absent = image(storage, "raw", None, actual, length)
        zero = image(storage, "raw", 0, actual, length)
        assert block_info(absent) == block_info(zero) == predicted(absent)


@given(_files | _devices | _network)
def test_an_offset_is_called_one_exactly_where_libvirt_prints_one(disk: Image) -> None:
    qmp = qmp_behind(disk.storage, bulk_stats(disk), host_facts(disk))
    assert qmp is not None
    said = allocation_is_high_water_mark(disk.storage, disk.format, qmp)
    if said:
        assert block_info(disk)[1] == disk.written
        assert not (disk.storage == "file" and disk.format == "qcow2")
    elif disk.written and not (disk.storage == "file" and disk.format == "qcow2"):
        assert disk.written == disk.actual


@given(_files | _devices | _network)
def test_a_prediction_tells_its_branch(disk: Image) -> None:
    qmp = qmp_behind(disk.storage, bulk_stats(disk), host_facts(disk))
    assert qmp is not None
    branch = predict(disk.storage, disk.format, qmp).branch
    by_length = "physical is the length" in branch
    assert by_length == (takes_length(disk) and disk.length is not None)
    assert ("virtual-size" in branch) == (disk.actual is None)


# storage, format, bytes held, length, promised; then the triple, None where libvirt fails
SHUT_OFF = [
    ("file", "raw", MIB, FULL, FULL, (FULL, MIB, FULL)),
    ("file", "raw", FULL, FULL, FULL, (FULL, FULL, FULL)),
    ("file", "qcow2", MIB, 4 * MIB, FULL, (FULL, MIB, 4 * MIB)),
    ("file", "qcow2", MIB, 4 * MIB, None, None),
    ("file", "raw", None, None, FULL, None),
    ("block", "raw", None, FULL, FULL, (FULL, FULL, FULL)),
    ("block", "qcow2", None, LENGTH, FULL, (FULL, 0, LENGTH)),
    (RBD, "raw", None, None, FULL, None),
    (NBD, "raw", None, None, None, None),
]


@pytest.mark.parametrize(("storage", "fmt", "held", "length", "size", "triple"), SHUT_OFF)
def test_triple_of_a_domain_that_is_not_running(
    storage: str,
    fmt: str,
    held: int | None,
    length: int | None,
    size: int | None,
    triple: tuple[int, int, int] | None,
) -> None:
    facts = LayerFacts(allocated_bytes=held, container_bytes=length, virtual_bytes=size)
    found = predict_shut_off(storage, fmt, facts)
    if triple is None:
        assert found is None
    else:
        assert found is not None
        assert (found[0].capacity, found[0].allocation, found[0].physical) == triple


EQUAL = Triple(capacity=FULL, allocation=FULL, physical=FULL)

# cause, what makes it, running disk
CAUSE_ROWS = [
    ("A", "rbd before the first write", image(RBD, "raw", 0, None, None)),
    ("A", "before the first write G looks like A", image(RBD, "raw", None, None, None)),
    (
        "G",
        "rbd on a new stack, after a write",
        msgspec.structs.replace(image(RBD, "raw", None, None, None), guest_wrote=512),
    ),
    ("B", "rbd, last sector written", image(RBD, "raw", FULL, None, None)),
    ("C", "raw file reserved in full", image("file", "raw", 0, FULL, FULL)),
    ("C", "the same, last sector written", image("file", "raw", FULL, FULL, FULL)),
    ("D", "discarded to nothing", image("file", "raw", FULL, 0, FULL)),
    ("E", "device, last sector written", image("block", "raw", FULL, 0, FULL)),
    ("F", "qcow2 reserved in full", image("file", "qcow2", 32 * MIB, FULL, FULL)),
]


@pytest.mark.parametrize(
    ("cause", "disk"),
    [(cause, disk) for cause, _, disk in CAUSE_ROWS],
    ids=[f"{cause}: {words}" for cause, words, _ in CAUSE_ROWS],
)
def test_cause_of_three_equal_numbers(cause: str, disk: Image) -> None:
    qmp = qmp_behind(disk.storage, bulk_stats(disk), host_facts(disk))
    assert block_info(disk) == (FULL, FULL, FULL)
    assert cause_of_equality(disk.storage, disk.format, EQUAL, qmp) == cause


@pytest.mark.parametrize(("storage", "cause"), [("block", "E"), ("file", "C")])
def test_cause_in_a_domain_that_is_not_running(storage: str, cause: str) -> None:
    facts = LayerFacts(allocated_bytes=FULL, container_bytes=FULL, virtual_bytes=FULL)
    found = predict_shut_off(storage, "raw", facts)
    assert found is not None
    assert cause_of_equality(storage, "raw", found[0], None) == cause


def printed(number: int) -> str:
    """Three decimals of the largest unit that fits, as ``virsh --human`` prints."""
    power = max(k for k in range(7) if k == 0 or number >= 1024**k)
    return f"{number / 1024**power:.3f} * 1024^{power}"


def nearly(disk: Image, more: int) -> Image:
    """The same with a few bytes more held, as a file's list of extents needs."""
    return msgspec.structs.replace(disk, actual=disk.virtual + more, length=disk.virtual)


@given(_files | _devices | _network | st.builds(nearly, _files, st.integers(0, 8192)))
@example(nearly(image("file", "raw", 0, 0, FULL), 4096))
@example(nearly(image("file", "raw", 0, 0, FULL), MIB))
def test_numbers_that_look_equal_have_a_cause_and_others_have_none(disk: Image) -> None:
    qmp = qmp_behind(disk.storage, bulk_stats(disk), host_facts(disk))
    assert qmp is not None
    triple = predict(disk.storage, disk.format, qmp).triple
    cause = cause_of_equality(disk.storage, disk.format, triple, qmp)
    assert (cause is not None) == (len({printed(number) for number in block_info(disk)}) == 1)
    if cause is not None:
        assert cause in CAUSES


def test_every_cause_is_explained_in_one_clause() -> None:
    assert list(CAUSES) == list("ABCDEFG")
    assert all(text and not text.endswith(".") for text in CAUSES.values())


def test_qmp_reading_of_a_reply() -> None:
    stats = BlockStats(capacity=FULL, allocation=MIB, physical=2 * MIB, as_of=NOW)
    facts = LayerFacts(allocated_bytes=2 * MIB, container_bytes=FULL)
    assert qmp_behind("file", stats, facts) == Qmp(
        virtual_size=FULL, actual_size=2 * MIB, wr_highest_offset=MIB, length=FULL
    )
