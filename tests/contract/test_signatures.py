# SPDX-License-Identifier: Apache-2.0
"""Equal signatures must mean that nobody wrote: every way to write, on real storage.

Time is injected where a test would otherwise wait until a write has settled; the ticks that the
kernel stamps writes with are waited for.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import mmap
import os
import pathlib
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator

import pytest

from nova_diskaudit.facts import Layer, Process, Signature
from nova_diskaudit.host import processes, storage
from nova_diskaudit.host.storage import signature
from tests.contract.conftest import loop_device, run

MIB = 2**20
KIB = 2**10

BLKDISCARD, BLKZEROOUT = 0x1277, 0x127F
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 16
_libc = ctypes.CDLL(None, use_errno=True)

Write = Callable[[pathlib.Path], None]


def sign(path: object, kind: str = "file", process: Process | None = None) -> Signature | None:
    layer = Layer(storage=kind, source=str(path), format="raw")
    (found,) = signature.signatures([(layer, process)])
    return found


def settle() -> None:
    """The kernel's next tick: what it stamps from now on differs."""
    time.sleep(0.02)


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look as if all that was written so far was written a minute ago."""

    class Time:
        @staticmethod
        def time_ns() -> int:
            return time.time_ns() + 60 * 10**9

    monkeypatch.setattr(signature, "time", Time)


# --- files ------------------------------------------------------------------------------------


@pytest.fixture(params=["ext4", "xfs", "btrfs", "tmpfs"])
def image(request: pytest.FixtureRequest) -> Iterator[pathlib.Path]:
    """A file with blocks, holes and clean pages."""
    mount: pathlib.Path = request.getfixturevalue(request.param)
    path = pathlib.Path(tempfile.mkdtemp(dir=mount)) / "image"
    with path.open("wb") as file:
        file.write(os.urandom(2 * MIB))
        file.truncate(8 * MIB)
        os.fsync(file.fileno())
    settle()
    yield path
    path.unlink()


def opened(path: pathlib.Path, work: Callable[[int], object], flags: int = 0) -> None:
    fd = os.open(path, os.O_RDWR | flags)
    try:
        work(fd)
    finally:
        os.close(fd)


def writes(offset: int, flags: int = 0) -> Write:
    """A write of a page, aligned as O_DIRECT wants it."""
    page = mmap.mmap(-1, 4 * KIB)
    page.write(b"w" * (4 * KIB))
    return lambda path: opened(path, lambda fd: os.pwrite(fd, page, offset), flags)


def allocates(mode: int, offset: int, length: int) -> Write:
    def work(fd: int) -> None:
        given = [ctypes.c_long(number) for number in (offset, length)]
        if _libc.fallocate(fd, mode, *given) != 0:
            raise OSError(ctypes.get_errno(), "fallocate")

    return lambda path: opened(path, work)


def maps(path: pathlib.Path) -> None:
    def work(fd: int) -> None:
        with mmap.mmap(fd, 4 * KIB) as page:
            page[0:4] = os.urandom(4)

    opened(path, work)


def replaces(path: pathlib.Path) -> None:
    status = path.stat()
    copy = path.with_suffix(".copy")
    run("cp", "--preserve=all", "--sparse=always", path, copy)
    os.rename(copy, path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def writes_and_hides(path: pathlib.Path) -> None:
    """As a tool does that sets the old times again."""
    status = path.stat()
    writes(0)(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


FILE_WRITES: dict[str, Write] = {
    "in place": writes(0),
    "into a hole": writes(4 * MIB),
    "past the end": writes(8 * MIB),
    "synchronously": writes(0, os.O_DSYNC),
    "directly": writes(0, os.O_DIRECT),
    "directly into a hole": writes(4 * MIB, os.O_DIRECT),
    "from another process": lambda path: (
        run("dd", "if=/dev/urandom", f"of={path}", "bs=4k", "count=1", "conv=notrunc") and None
    ),
    "with the times set back": writes_and_hides,
    "shorter": lambda path: os.truncate(path, 4 * MIB),
    "longer": lambda path: os.truncate(path, 16 * MIB),
    "reserved": allocates(KEEP_SIZE, 4 * MIB, MIB),
    "punched": allocates(KEEP_SIZE | PUNCH_HOLE, 0, MIB),
    "zeroed": allocates(KEEP_SIZE | ZERO_RANGE, 0, MIB),
    "replaced by a copy": replaces,
}
_NOT_ON_TMPFS = {"zeroed"}


@pytest.mark.parametrize("how", FILE_WRITES)
def test_a_write_to_a_file_shows(image: pathlib.Path, later: None, how: str) -> None:
    if "tmpfs" in str(image) and how in _NOT_ON_TMPFS:
        with pytest.raises(OSError, match="Errno 95"):  # EOPNOTSUPP: it has no such call
            FILE_WRITES[how](image)
        return
    before = sign(image)
    assert before is not None and sign(image) == before
    FILE_WRITES[how](image)
    after = sign(image)
    assert after is not None and after != before


# Not tmpfs: its pages are never clean, and a second such write may leave no trace.
@pytest.mark.parametrize("image", ["ext4", "xfs", "btrfs"], indirect=True)
def test_a_write_through_a_mapping_shows_when_the_page_was_clean(
    image: pathlib.Path, later: None
) -> None:
    for _ in range(2):
        before = sign(image)
        maps(image)
        assert sign(image) != before
        run("sync", image)
        settle()


def test_the_disks_of_a_host_do_not_change_by_themselves(image: pathlib.Path, later: None) -> None:
    """Written back, read, and looked at."""
    writes(0)(image)
    os.sync()
    before = sign(image)
    image.read_bytes()
    run("cp", image, image.with_suffix(".other"))
    os.sync()
    storage.probe_layers([Layer(storage="file", source=str(image), format="raw")])
    assert sign(image) == before


def test_what_was_just_written_proves_nothing(image: pathlib.Path) -> None:
    """A second write in the same tick would leave no trace."""
    for _ in range(20):
        writes(0)(image)
        assert sign(image) is None
    # As when the clock was set back: when the file was written is not known.
    ahead = time.time_ns() + 10**12
    os.utime(image, ns=(ahead, ahead))
    assert sign(image) is None


@pytest.mark.parametrize("seconds", [-3600, -1, 0, 1.9])
def test_the_age_is_that_of_the_newer_stamp_on_any_clock(
    image: pathlib.Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    old = 10**18
    os.utime(image, ns=(old, old))
    stamped = image.stat().st_ctime_ns

    class Time:
        @staticmethod
        def time_ns() -> int:
            return stamped + int(seconds * 10**9)

    monkeypatch.setattr(signature, "time", Time)
    assert sign(image) is None
    monkeypatch.setattr(Time, "time_ns", lambda: stamped + 2 * 10**9)
    assert sign(image) is not None


@pytest.mark.parametrize("path", ["/", "/dev/null", "/etc/no-such-file", "relative"])
@pytest.mark.parametrize("kind", ["file", "block", "network:rbd", "vhostuser", "nvme", "dir"])
def test_nothing_else_has_a_signature(path: str, kind: str, later: None) -> None:
    assert sign(path, kind) is None


# --- block devices ----------------------------------------------------------------------------


class Device:
    """A loop device, and the file below it."""

    def __init__(self, node: str, file: pathlib.Path) -> None:
        self.node = pathlib.Path(node)
        self.file = file

    def sign(self, process: Process | None = None) -> Signature | None:
        return sign(self.node, "block", process)

    @property
    def sysfs(self) -> pathlib.Path:
        return pathlib.Path("/sys/block", self.node.name)


@pytest.fixture
def device(xfs: pathlib.Path) -> Iterator[Device]:
    directory = pathlib.Path(tempfile.mkdtemp(dir=xfs))
    file = directory / "disk"
    file.write_bytes(os.urandom(8 * MIB))
    with loop_device(file) as node:
        path = pathlib.Path(node)
        path.read_bytes()  # as QEMU does when it opens a disk
        os.sync()
        settle()
        yield Device(node, file)


def controls(command: int) -> Write:
    def work(fd: int) -> None:
        fcntl.ioctl(fd, command, struct.pack("QQ", 0, 64 * KIB))

    return lambda path: opened(path, work)


DEVICE_WRITES: dict[str, Write] = {
    "directly": writes(0, os.O_DIRECT),
    "into the page cache": writes(0),
    "synchronously": writes(0, os.O_DSYNC),
    "discarded": controls(BLKDISCARD),
    "zeroed": controls(BLKZEROOUT),
    "punched": allocates(KEEP_SIZE | PUNCH_HOLE, 0, MIB),
}


@pytest.mark.parametrize("how", DEVICE_WRITES)
def test_a_write_to_a_device_shows_at_once(device: Device, later: None, how: str) -> None:
    before = device.sign()
    assert before is not None and device.sign() == before
    DEVICE_WRITES[how](device.node)
    after = device.sign()
    assert after is not None and after != before


def test_a_flush_is_no_write(device: Device, later: None) -> None:
    before = device.sign()
    run("sync", device.node)
    assert device.sign() == before


def test_a_write_through_another_node_shows_when_it_reaches_the_device(
    device: Device, later: None, tmp_path: pathlib.Path
) -> None:
    other = tmp_path / "other"
    os.mknod(other, 0o60600, device.node.stat().st_rdev)
    before = device.sign()
    writes(0)(other)
    run("sync", other)
    assert device.sign() != before


def test_the_node_that_counts_is_that_of_qemu(
    device: Device, later: None, tmp_path: pathlib.Path
) -> None:
    """libvirt gives it a /dev of its own, whose nodes this host does not see."""
    number = device.node.stat().st_rdev
    kept_open = os.open(device.node, os.O_RDONLY)  # the last one to close it writes it back
    own = tmp_path / "dev"
    own.mkdir()
    name = own / "disk"
    os.mknod(name, 0o60600, number)
    script = (
        f"mount -t tmpfs none {own} && mknod -m 600 {name} b {os.major(number)} "
        f"{os.minor(number)} && echo made && exec cat"
    )
    qemu = subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert qemu.stdout is not None and qemu.stdout.readline() == b"made\n"
        process = Process(pid=qemu.pid, start_ticks=processes._stat(qemu.pid)[1])
        settle()
        before, before_here = sign(name, "block", process), sign(name, "block")
        assert before is not None and sign(name, "block", process) == before
        writes(0)(pathlib.Path(f"/proc/{qemu.pid}/root{name}"))
        assert sign(name, "block", process) != before
        # Still in the page cache, where the node of this host tells nothing.
        assert sign(name, "block") == before_here
        run("sync", device.node)
        assert sign(name, "block") != before_here
    finally:
        qemu.kill()
        qemu.wait()
        os.close(kept_open)


def test_a_device_that_does_not_count_proves_nothing(device: Device, later: None) -> None:
    switch = device.sysfs / "queue/iostats"
    assert device.sign() is not None
    switch.write_text("0")
    try:
        assert device.sign() is None
    finally:
        switch.write_text("1")
    assert device.sign() is not None


COUNTED = "7 0 56 1 4 0 32 1 0 2 2 0 0 0 0 0 0"


@pytest.mark.parametrize(
    ("attributes", "proves"),
    [
        ({}, True),
        # Before Linux 4.18 no discards, before 5.15 no number of the attachment.
        ({"stat": "7 0 56 1 4 0 32 1 0 2 2", "diskseq": None}, True),
        # Looks like this for ever: NVMe multipath before Linux 6.5.
        ({"stat": " ".join("0" * 17)}, False),
        ({"stat": "7 0 56"}, False),
        ({"stat": "what"}, False),
        ({"stat": ""}, False),
        ({"size": ""}, False),
        ({"size": None}, False),
        ({"stat": None}, False),
        ({"queue/iostats": None}, False),
        ({"queue/iostats": "0"}, False),
    ],
)
def test_what_the_kernel_must_tell_of_a_device(
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    later: None,
    attributes: dict[str, str | None],
    proves: bool,
) -> None:
    node = tmp_path / "disk"
    os.mknod(node, 0o60600, os.makedev(253, 7))
    whole = {"stat": COUNTED, "size": "16384", "queue/iostats": "1", "diskseq": "9"}
    for name, text in (whole | attributes).items():
        if text is not None:
            file = tmp_path / "dev/block/253:7" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text + "\n")
    monkeypatch.setattr(signature, "SYSFS", str(tmp_path))
    assert (sign(node, "block") is not None) == proves


def test_what_happens_to_the_file_below_a_loop_device_shows(device: Device, later: None) -> None:
    before = device.sign()
    allocates(KEEP_SIZE | PUNCH_HOLE, 4 * MIB, MIB)(device.file)
    after = device.sign()
    assert before is not None and after is not None
    assert after.blocks == device.file.stat().st_blocks
    assert after != before


def test_a_device_that_grows_shows(device: Device, later: None) -> None:
    before = device.sign()
    os.truncate(device.file, 16 * MIB)
    run("losetup", "--set-capacity", device.node)
    after = device.sign()
    assert before is not None and after is not None
    assert (before.size_bytes, after.size_bytes) == (8 * MIB, 16 * MIB)


def test_another_disk_with_the_same_number_shows(
    device: Device, later: None, xfs: pathlib.Path
) -> None:
    other = pathlib.Path(tempfile.mkdtemp(dir=xfs)) / "other"
    run("cp", "--reflink=always", device.file, other)
    os.sync()
    settle()
    before = device.sign()
    run("losetup", "--detach", device.node)
    run("losetup", device.node, other)
    after = device.sign()
    assert before is not None and after is not None
    assert after.blocks == before.blocks
    assert after != before


def test_a_partition_has_counters_of_its_own(device: Device, later: None) -> None:
    run("losetup", "--detach", device.node)
    run("losetup", "--partscan", device.node, device.file)
    first, second = (pathlib.Path(f"{device.node}p{number}") for number in (1, 2))
    with contextlib.ExitStack() as stack:
        stack.callback(run, "losetup", device.node, device.file)
        stack.callback(run, "losetup", "--detach", device.node)
        for number, start in (("1", "2048"), ("2", "10240")):
            run("addpart", device.node, number, start, "4096")
        for part in (first, second):
            if not part.exists():  # nobody here makes nodes
                numbers = pathlib.Path(f"/sys/class/block/{part.name}/dev").read_text().split(":")
                os.mknod(part, 0o60600, os.makedev(*map(int, numbers)))
                stack.callback(part.unlink)
            part.read_bytes()
        settle()
        before = [sign(part, "block") for part in (first, second)]
        assert None not in before
        writes(0, os.O_DIRECT)(first)
        after = [sign(part, "block") for part in (first, second)]
        assert after[0] != before[0] and after[1] == before[1]
        switch = device.sysfs / "queue/iostats"
        switch.write_text("0")
        try:
            assert sign(first, "block") is None
        finally:
            switch.write_text("1")


def test_the_probe_and_the_look_sign_alike(xfs: pathlib.Path, device: Device) -> None:
    image = device.file.with_name("image")
    image.write_bytes(b"x" * KIB)
    time.sleep(2.1)
    for path, kind in ((image, "file"), (device.node, "block")):
        layer = Layer(storage=kind, source=str(path), format="raw")
        (facts,) = storage.probe_layers([layer])
        assert facts.signature is not None
        assert facts.signature == sign(path, kind)
