# SPDX-License-Identifier: Apache-2.0
"""Every storage probe against real storage, and all of them against one contract.

The truth is what ``du``, ``qemu-img`` and the kernel say.
"""

from __future__ import annotations

import json
import os
import pathlib
import socket
import struct
import subprocess
import tempfile

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from nova_diskaudit import findings
from nova_diskaudit.facts import Layer, LayerFacts, Process
from nova_diskaudit.host import filesystem, storage
from nova_diskaudit.host.storage import block, extents, qcow2
from nova_diskaudit.host.storage.view import View
from tests.contract.conftest import loop_device, run

MIB = 2**20


def layer(path: object, image_format: str | None = "raw", **more: object) -> Layer:
    kind = str(more.pop("storage", "file"))
    return Layer(storage=kind, source=str(path), format=image_format, **more)  # type: ignore[arg-type]


def look(path: object, image_format: str | None = "raw", **more: object) -> LayerFacts:
    (facts,) = storage.probe_layers([layer(path, image_format, **more)])
    held_to_the_contract(facts)
    return facts


def held_to_the_contract(facts: LayerFacts) -> None:
    """What is true of the answer of any probe to anything."""
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(facts), type=LayerFacts) == facts
    numbers = (facts.virtual_bytes, facts.allocated_bytes, facts.container_bytes)
    assert all(n is None or 0 <= n < 2**63 for n in numbers)
    if None in numbers:
        assert facts.code, "an unknown number without a reason"
    if facts.code:
        assert facts.code in findings.CATALOGUE, f"{facts.code} is in no catalogue"
        assert facts.detail and facts.detail.isprintable()
    assert (facts.allocated_bytes is None) == (facts.allocated_source is None)
    assert not facts.fully_reserved or facts.allocated_bytes
    assert not facts.thick or facts.allocated_bytes == facts.container_bytes


def du(path: object) -> int:
    return int(run("du", "-B1", path).split()[0])


def image_info(path: object, image_format: str) -> dict[str, int]:
    return json.loads(run("qemu-img", "info", "-f", image_format, "--output=json", path))


@pytest.fixture(params=["ext4", "xfs", "btrfs"])
def directory(request: pytest.FixtureRequest) -> pathlib.Path:
    mount: pathlib.Path = request.getfixturevalue(request.param)
    return pathlib.Path(tempfile.mkdtemp(dir=mount))


# --- one contract for all ---------------------------------------------------------------------

SOURCES = [
    None,
    "",
    "relative/path",
    "/",
    "/nonexistent/file",
    "/dev/null",
    "/etc/passwd",
    "/etc/passwd/below",
    "/proc/self/mem",
    "/proc/self/maps",
    "/" + "x" * 300,
    "/" + "x/" * 3000,
    "/etc/\x1b[31m\npasswd",
    "/etc/\0passwd",
]


@pytest.mark.parametrize("kind", [*sorted(storage.PROBES), "network:rbd", "floppy", ""])
@pytest.mark.parametrize("image_format", ["raw", "qcow2", "vmdk", None])
def test_anything_has_an_answer(kind: str, image_format: str | None) -> None:
    layers = [Layer(storage=kind, source=source, format=image_format) for source in SOURCES]
    answers = storage.probe_layers(layers, Process(pid=1, start_ticks=0), [("/etc", "/proc")])
    assert len(answers) == len(layers)
    for facts in answers:
        held_to_the_contract(facts)


def test_every_backend_is_found_by_its_file() -> None:
    assert {"file", "block", "network", "volume", "dir", "nvme"} <= set(storage.PROBES)


# --- files: the numbers of stat ---------------------------------------------------------------


@pytest.mark.parametrize("preallocation", ["off", "falloc", "full"])
def test_raw(directory: pathlib.Path, preallocation: str) -> None:
    path = directory / "a.raw"
    run("qemu-img", "create", "-f", "raw", "-o", f"preallocation={preallocation}", path, "8M")
    facts = look(path)
    assert facts.virtual_bytes == facts.container_bytes == 8 * MIB
    assert facts.allocated_bytes == du(path)
    assert facts.allocated_source == "stat"
    assert facts.fully_reserved == (preallocation != "off")
    assert facts.code is None


def test_raw_partly_written(directory: pathlib.Path) -> None:
    path = directory / "a.raw"
    run("qemu-img", "create", "-f", "raw", path, "32M")
    run("qemu-io", "-f", "raw", "-c", "write 0 4M", "-c", "write 31M 1M", path)
    run("sync", path)
    facts = look(path)
    assert facts.allocated_bytes == du(path)
    assert 5 * MIB <= (facts.allocated_bytes or 0) < 32 * MIB
    assert not facts.fully_reserved


def test_raw_of_odd_length_is_counted_in_sectors(directory: pathlib.Path) -> None:
    path = directory / "odd.raw"
    path.write_bytes(b"x" * 1000)
    facts = look(path)
    assert (facts.virtual_bytes, facts.container_bytes) == (1024, 1000)
    # So does QEMU.
    assert image_info(path, "raw")["virtual-size"] == 1024


def test_raw_without_a_format_is_raw_and_a_window_is_its_size(directory: pathlib.Path) -> None:
    path = directory / "a.raw"
    path.write_bytes(b"x" * MIB)
    assert look(path, None).virtual_bytes == MIB
    assert look(path, "raw", window_bytes=65536).virtual_bytes == 65536


def test_an_empty_file_is_not_reserved(directory: pathlib.Path) -> None:
    path = directory / "empty"
    path.touch()
    facts = look(path)
    assert (facts.virtual_bytes, facts.fully_reserved) == (0, False)


@pytest.mark.parametrize("version", ["0.10", "1.1"])
@pytest.mark.parametrize("preallocation", ["off", "metadata", "falloc", "full"])
def test_qcow2(directory: pathlib.Path, version: str, preallocation: str) -> None:
    path = directory / "a.qcow2"
    options = f"preallocation={preallocation},compat={version}"
    run("qemu-img", "create", "-f", "qcow2", "-o", options, path, "16M")
    facts = look(path, "qcow2")
    info = image_info(path, "qcow2")
    assert facts.virtual_bytes == info["virtual-size"] == 16 * MIB
    assert facts.allocated_bytes == du(path) == info["actual-size"]
    assert facts.container_bytes == path.stat().st_size
    assert facts.fully_reserved == (preallocation in ("falloc", "full"))
    assert (facts.internal_snapshots, facts.has_backing, facts.has_external_data) == (
        0,
        False,
        False,
    )


def test_qcow2_reserved_past_its_end(directory: pathlib.Path) -> None:
    """As Nova does with ``preallocate_images = space``."""
    path = directory / "a.qcow2"
    run("qemu-img", "create", "-f", "qcow2", path, "16M")
    run("fallocate", "--keep-size", "--length", "16M", path)
    facts = look(path, "qcow2")
    assert facts.fully_reserved
    assert (facts.container_bytes or 0) < MIB
    assert (facts.allocated_bytes or 0) >= 16 * MIB


def test_qcow2_with_snapshots_is_not_called_reserved(directory: pathlib.Path) -> None:
    path = directory / "a.qcow2"
    run("qemu-img", "create", "-f", "qcow2", path, "2M")
    for n in range(3):
        run("qemu-io", "-f", "qcow2", "-c", "write 0 2M", path)
        run("qemu-img", "snapshot", "-c", f"s{n}", path)
    facts = look(path, "qcow2")
    assert facts.internal_snapshots == 3
    assert (facts.allocated_bytes or 0) > 2 * MIB
    assert not facts.fully_reserved


def test_qcow2_overlay_and_data_file(directory: pathlib.Path) -> None:
    base, top, data = directory / "base", directory / "top", directory / "with-data"
    run("qemu-img", "create", "-f", "qcow2", base, "4M")
    run("qemu-img", "create", "-f", "qcow2", "-b", base, "-F", "qcow2", top, "8M")
    facts = look(top, "qcow2")
    assert (facts.has_backing, facts.virtual_bytes) == (True, 8 * MIB)
    run("qemu-img", "create", "-f", "qcow2", "-o", f"data_file={directory}/raw", data, "4M")
    facts = look(data, "qcow2")
    assert facts.has_external_data
    assert facts.allocated_bytes == du(data)


def test_an_encrypted_or_foreign_image_keeps_its_size_to_itself(directory: pathlib.Path) -> None:
    path = directory / "a.vmdk"
    run("qemu-img", "create", "-f", "vmdk", path, "4M")
    for facts in (look(path, "vmdk"), look(path, "raw", encrypted=True)):
        assert facts.virtual_bytes is None
        assert facts.code == "virtual-size-unknown"
        assert facts.allocated_bytes == du(path)


def test_a_qcow2_header_in_a_raw_disk_is_not_read(directory: pathlib.Path) -> None:
    """A guest can write one there (CVE-2026-24708)."""
    path = directory / "a.raw"
    run("qemu-img", "create", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw", "-u", path, "1T")
    facts = look(path, "raw")
    assert facts.virtual_bytes == facts.container_bytes
    assert facts.has_backing is None


# --- files: who else holds the bytes ----------------------------------------------------------


def test_plain_filesystems_share_nothing(ext4: pathlib.Path, tmpfs: pathlib.Path) -> None:
    for mount in (ext4, tmpfs):
        path = mount / "plain"
        path.write_bytes(b"x" * MIB)
        facts = look(path)
        assert (facts.shares_extents, facts.shared_bytes) == (False, 0)


def test_reflinks_on_xfs(xfs: pathlib.Path) -> None:
    path, copy = xfs / "one", xfs / "two"
    path.write_bytes(os.urandom(4 * MIB))
    run("sync", path)
    before = look(path)
    assert (before.shares_extents, before.shared_bytes) == (False, 0)
    run("cp", "--reflink=always", path, copy)
    with copy.open("r+b") as file:
        file.write(os.urandom(MIB))
    run("sync", copy)
    one, two = look(path), look(copy)
    assert one.shares_extents and two.shares_extents
    assert one.shared_bytes == two.shared_bytes == 3 * MIB
    assert not one.shared_is_minimum
    assert one.allocated_bytes == du(path)


def test_reflinks_on_btrfs_may_be_compressed_too(btrfs: pathlib.Path) -> None:
    path, copy = btrfs / "one", btrfs / "two"
    path.write_bytes(os.urandom(MIB))
    run("sync", "-f", path)
    assert look(path).shares_extents
    assert look(path).shared_bytes == 0
    run("cp", "--reflink=always", path, copy)
    run("sync", "-f", copy)
    assert look(path).shared_bytes == MIB


def test_a_fragmented_file_gives_a_minimum(xfs: pathlib.Path) -> None:
    path = xfs / "fragments"
    with path.open("wb") as file:
        # Or XFS would allocate ahead of each write at the end, into the holes.
        file.truncate(64 * MIB)
        for n in range(extents.MAX_EXTENTS + 10):
            file.seek(n * 8192)
            file.write(b"x" * 4096)
    run("sync", path)
    facts = look(path)
    assert facts.shared_is_minimum
    assert facts.shares_extents
    assert facts.shared_bytes == 0
    run("cp", "--reflink=always", path, xfs / "fragments-copy")
    assert look(path).shared_bytes == extents.MAX_EXTENTS * 4096


def test_a_filesystem_nobody_knows_is_not_called_plain() -> None:
    facts = look("/proc/version")
    assert (facts.shares_extents, facts.shared_bytes) == (None, None)


# --- files: where they lie --------------------------------------------------------------------


def test_identity_is_the_inode_and_the_storage(directory: pathlib.Path) -> None:
    path = directory / "a"
    path.write_bytes(b"x" * 4096)
    os.link(path, directory / "hard")
    (directory / "soft").symlink_to(path)
    facts = look(path)
    assert facts == look(directory / "hard") == look(directory / "soft")
    assert facts.identity == f"file:{path.stat().st_dev}:{path.stat().st_ino}"
    assert facts.storage_identity == filesystem.filesystem(str(directory)).identity
    assert (facts.host_block_bytes or 0) >= os.statvfs(path).f_frsize


def test_storages_differ(ext4: pathlib.Path, xfs: pathlib.Path, btrfs: pathlib.Path) -> None:
    found = [filesystem.filesystem(str(mount)) for mount in (ext4, xfs, btrfs)]
    assert [facts.fs_type for facts in found] == ["ext4", "xfs", "btrfs"]
    assert [facts.path for facts in found] == [str(ext4), str(xfs), str(btrfs)]
    assert len({facts.identity for facts in found}) == 3


def test_a_subvolume_is_of_its_filesystem(btrfs: pathlib.Path) -> None:
    """Its files have a device number that no mount has."""
    run("btrfs", "subvolume", "create", btrfs / "sub")
    path = btrfs / "sub" / "a"
    path.write_bytes(b"x" * 4096)
    assert path.stat().st_dev != btrfs.stat().st_dev
    assert filesystem.filesystem(str(path)).fs_type == "btrfs"
    assert look(path).shares_extents


def test_a_device_number_may_be_mounted_anew(disk_directory: pathlib.Path) -> None:
    """What is remembered of a mount is forgotten with it."""
    image, point = disk_directory / "again.img", disk_directory / "again"
    point.mkdir()
    run("truncate", "-s", "512M", image)
    with loop_device(image) as device:
        for fs_type, shares in (("ext4", False), ("btrfs", True), ("ext4", False)):
            run(f"mkfs.{fs_type}", "-q", "-F" if fs_type == "ext4" else "-f", device)
            run("mount", "-t", fs_type, device, point)
            try:
                (point / "a").write_bytes(b"x" * 4096)
                assert look(point / "a").shares_extents == shares
            finally:
                run("umount", point)


def test_the_path_map_comes_first_and_ends_at_a_slash(directory: pathlib.Path) -> None:
    (directory / "here").mkdir()
    (directory / "here" / "a").write_bytes(b"x" * 4096)
    (directory / "there").mkdir()
    (directory / "there" / "a").write_bytes(b"x" * 8192)
    (directory / "herein").write_bytes(b"x" * 512)
    (directory / "therein").write_bytes(b"x" * 1024)
    path_map = [(f"{directory}/here", f"{directory}/there/")]
    layers = [layer(directory / "here/a"), layer(directory / "herein")]
    mapped, other = storage.probe_layers(layers, None, path_map)
    assert (mapped.container_bytes, other.container_bytes) == (8192, 512)
    (directory / "there" / "a").unlink()
    assert storage.probe_layers(layers, None, path_map)[0].container_bytes == 4096


def test_a_path_of_another_namespace_is_found_through_its_process(tmp_path: pathlib.Path) -> None:
    script = f"mount -t tmpfs none {tmp_path} && echo hello > {tmp_path}/a && echo && read x"
    other = subprocess.Popen(
        ["unshare", "-m", "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout is not None
    other.stdout.readline()
    stat = pathlib.Path(f"/proc/{other.pid}/stat").read_text()
    process = Process(pid=other.pid, start_ticks=int(stat.rpartition(")")[2].split()[19]))
    stranger = msgspec.structs.replace(process, start_ticks=process.start_ticks + 1)
    (found,) = storage.probe_layers([layer(tmp_path / "a")], process)
    (missed,) = storage.probe_layers([layer(tmp_path / "a")], stranger)
    other.communicate(b"\n")
    assert found.container_bytes == 6
    assert missed.code == "file-missing"


# --- files that are none ----------------------------------------------------------------------


def test_what_is_no_regular_file(directory: pathlib.Path) -> None:
    os.mkfifo(directory / "fifo")
    (directory / "directory").mkdir()
    (directory / "link").symlink_to(directory / "fifo")
    (directory / "dangling").symlink_to(directory / "nothing")
    (directory / "loop").symlink_to(directory / "loop")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(directory / "socket"))
    for name in ("fifo", "directory", "link", "socket", "/dev/null", "/dev/zero"):
        for image_format in ("raw", "qcow2"):
            facts = look(directory / name, image_format)
            assert facts.code == "not-a-regular-file"
            assert facts.allocated_bytes is None
    assert look(directory / "dangling").code == "file-missing"
    assert look(directory / "missing", "qcow2").code == "file-missing"
    assert look(directory / "loop").code == "storage-error"


def test_what_may_not_be_looked_at(disk_directory: pathlib.Path) -> None:
    closed = disk_directory / "closed"
    closed.mkdir(mode=0o700)
    (closed / "a").write_bytes(b"x")
    unreadable = disk_directory / "unreadable.qcow2"
    run("qemu-img", "create", "-f", "qcow2", unreadable, "4M")
    unreadable.chmod(0o600)
    disk_directory.chmod(0o755)
    source, sink = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            answers = storage.probe_layers([layer(closed / "a"), layer(unreadable, "qcow2")])
            os.write(sink, msgspec.msgpack.encode(answers))
        finally:
            os._exit(0)
    os.close(sink)
    data = os.read(source, 65536)
    os.close(source)
    os.waitpid(child, 0)
    hidden, shut = msgspec.msgpack.decode(data, type=list[LayerFacts])
    assert hidden.code == "permission-denied"
    assert (shut.code, shut.virtual_bytes) == ("permission-denied", None)
    # stat needs no permission on the file itself.
    assert shut.allocated_bytes == du(unreadable)


# --- hostile headers --------------------------------------------------------------------------


def header(**changes: int) -> bytes:
    fields = {
        "magic": 0x514649FB,
        "version": 3,
        "backing_offset": 0,
        "backing_size": 0,
        "cluster_bits": 16,
        "size": 4 * MIB,
        "snapshots": 0,
        "incompatible": 0,
    } | changes
    data = bytearray(112)
    struct.pack_into(
        ">IIQIIQ",
        data,
        0,
        *(
            fields[name]
            for name in (
                "magic",
                "version",
                "backing_offset",
                "backing_size",
                "cluster_bits",
                "size",
            )
        ),
    )
    struct.pack_into(">I", data, 60, fields["snapshots"])
    struct.pack_into(">Q", data, 72, fields["incompatible"])
    return bytes(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"QFI\xfb",
        header()[:71],
        header()[:103],
        header(magic=0),
        header(version=0),
        header(version=4),
        header(version=2**32 - 1),
        header(cluster_bits=8),
        header(cluster_bits=22),
        header(size=2**63),
        header(size=2**64 - 1),
        header(snapshots=65537),
    ],
)
def test_a_header_that_is_none(ext4: pathlib.Path, data: bytes) -> None:
    path = ext4 / "hostile"
    path.write_bytes(data)
    facts = look(path, "qcow2")
    assert facts.code == "image-header-invalid"
    assert facts.virtual_bytes is None
    assert facts.allocated_bytes == du(path)


def test_a_header_that_names_files_leads_nowhere(ext4: pathlib.Path) -> None:
    path = ext4 / "names"
    path.write_bytes(header(backing_offset=2**63, backing_size=2**32 - 1, incompatible=4))
    facts = look(path, "qcow2")
    assert facts.has_backing and facts.has_external_data
    assert facts.code is None


@given(st.binary(max_size=120))
@example(header())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_a_header_or_are_not(data: bytes) -> None:
    try:
        found = qcow2.parse(data)
    except qcow2.HeaderInvalid as error:
        assert str(error).isprintable()
    else:
        assert 0 <= found.virtual_bytes < 2**63


def test_a_file_exchanged_behind_our_back_is_not_read(ext4: pathlib.Path) -> None:
    path = ext4 / "exchanged"
    path.write_bytes(header())
    with View().locate(str(path)) as located:
        path.unlink()
        path.write_bytes(b"another file")
        fd = located.open()
        try:
            assert os.read(fd, 4) == b"QFI\xfb"
        finally:
            os.close(fd)


# --- block devices ----------------------------------------------------------------------------


def test_a_loop_device_holds_what_its_file_holds(directory: pathlib.Path) -> None:
    image = directory / "loop.img"
    run("truncate", "-s", "16M", image)
    with loop_device(image) as device:
        run("dd", "if=/dev/urandom", f"of={device}", "bs=1M", "count=3", "conv=fsync")
        facts = look(device, storage="block")
        number = os.stat(device).st_rdev
        assert facts.identity == f"block:{os.major(number)}:{os.minor(number)}"
        assert facts.container_bytes == facts.virtual_bytes == 16 * MIB
        assert facts.allocated_bytes == du(image)
        assert facts.allocated_source == "loop-file"
        assert facts.storage_identity == look(image).storage_identity
        assert facts.code is None
        assert look(device).code == "not-a-regular-file"
        assert look(image, storage="block").code == "not-a-regular-file"


def test_a_loop_device_that_shows_a_part_or_lost_its_file_is_unknown(
    ext4: pathlib.Path,
) -> None:
    image = ext4 / "part.img"
    run("truncate", "-s", "16M", image)
    for options in (["--offset", "1048576"], ["--sizelimit", "8388608"]):
        with loop_device(image, *options) as device:
            facts = look(device, storage="block")
            assert (facts.allocated_bytes, facts.code) == (None, "host-allocation-unknown")
            assert (
                facts.container_bytes
                == facts.virtual_bytes
                == (15 * MIB if "--offset" in options else 8 * MIB)
            )
    with loop_device(image) as device:
        image.unlink()
        facts = look(device, storage="block")
        assert (facts.allocated_bytes, facts.code) == (None, "host-allocation-unknown")
        assert facts.virtual_bytes == 16 * MIB


def test_qcow2_on_a_block_device(ext4: pathlib.Path) -> None:
    image = ext4 / "device.img"
    run("truncate", "-s", "16M", image)
    with loop_device(image) as device:
        run("qemu-img", "create", "-f", "qcow2", device, "64M")
        facts = look(device, "qcow2", storage="block")
        assert (facts.virtual_bytes, facts.container_bytes) == (64 * MIB, 16 * MIB)
        run("dd", "if=/dev/zero", f"of={device}", "bs=4k", "count=1", "conv=fsync")
        assert look(device, "qcow2", storage="block").code == "image-header-invalid"
        assert look(device, "vmdk", storage="block").code == "virtual-size-unknown"


def sysfs(root: pathlib.Path, name: str, attributes: dict[str, str]) -> None:
    """What the kernel shows of one device; a kernel without device-mapper has to be played."""
    for path, text in attributes.items():
        file = root / "dev/block" / name / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")


@pytest.mark.parametrize(
    ("attributes", "thick", "told"),
    [
        ({"dm/uuid": "LVM-abc", "slaves/sda2/partition": "2"}, True, None),
        ({"dm/uuid": "LVM-abc", "slaves/dm-1/dm/uuid": "mpath-360"}, True, None),
        ({"dm/uuid": "LVM-abc", "slaves/dm-1/dm/uuid": "CRYPT-LUKS2-x"}, True, None),
        ({"dm/uuid": "LVM-abc", "slaves/dm-1/dm/uuid": "LVM-abcd-tpool"}, False, "thin"),
        ({"dm/uuid": "LVM-abc", "slaves/dm-1/dm/uuid": "LVM-abcd-cow"}, False, "snapshot"),
        ({"dm/uuid": "mpath-360"}, False, "mpath"),
        ({"dm/uuid": "CRYPT-LUKS2-x"}, False, "CRYPT"),
        ({}, False, "provider"),
    ],
)
def test_logical_volumes(
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    attributes: dict[str, str],
    thick: bool,
    told: str | None,
) -> None:
    node = tmp_path / "volume"
    os.mknod(node, 0o600 | 0o060000, os.makedev(253, 7))
    sysfs(tmp_path, "253:7", {"size": "16384"} | attributes)
    monkeypatch.setattr(block, "SYSFS", str(tmp_path))
    facts = look(node, storage="block")
    assert facts.container_bytes == facts.virtual_bytes == 8 * MIB
    assert facts.thick == facts.fully_reserved == thick
    if told is None:
        assert (facts.allocated_bytes, facts.allocated_source) == (8 * MIB, "lvm-thick")
    else:
        assert facts.allocated_bytes is None
        assert facts.code == "host-allocation-unknown"
        assert told in (facts.detail or "")


def test_a_device_the_kernel_does_not_know(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = tmp_path / "volume"
    os.mknod(node, 0o600 | 0o060000, os.makedev(253, 7))
    monkeypatch.setattr(block, "SYSFS", str(tmp_path))
    facts = look(node, storage="block")
    assert (facts.virtual_bytes, facts.code) == (None, "host-allocation-unknown")


# --- the network ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "identity"),
    [
        ("network:rbd", "rbd:x/y"),
        ("network:iscsi", "iscsi:x/y"),
        ("network:nbd", None),
        ("network:gluster", None),
        ("network:https", None),
        ("network:something-new", None),
        ("volume", None),
        ("dir", None),
        ("nvme", None),
        ("vhostuser", None),
        ("vhostvdpa", None),
    ],
)
def test_network_disks_are_recognised_and_unknown(kind: str, identity: str | None) -> None:
    facts = look("x/y", storage=kind)
    assert (facts.identity, facts.code) == (identity, "host-allocation-unknown")
    assert kind.removeprefix("network:") in (facts.detail or "")
    assert (facts.virtual_bytes, facts.allocated_bytes, facts.container_bytes) == (None,) * 3
