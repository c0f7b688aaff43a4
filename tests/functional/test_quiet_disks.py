# SPDX-License-Identifier: Apache-2.0
"""No change is ever taken for quiet, and what nobody touches is: on real QEMUs.

The disks of the matrix are written to through QEMU's own block layer, as a guest would; all of
one kind of write at once, since each has to settle for two seconds before it can be proven.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import pathlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import libvirt
import libvirt_qemu
import pytest

from nova_diskaudit.agent import memory
from nova_diskaudit.agent.observatory import Observatory
from nova_diskaudit.agent.quarantine import Quarantine
from nova_diskaudit.audit.observer import Observer
from nova_diskaudit.audit.options import Options
from nova_diskaudit.lane import nursery, operations
from nova_diskaudit.lane.lanes import Lanes
from tests.contract.conftest import mounted
from tests.functional.conftest import (
    AGENT,
    EMPTY_DRIVE,
    LONG,
    Machine,
    Make,
    file_disk,
    run,
    wait_for,
)
from tests.lab.hypervisor import Hypervisor

MIB = 2**20
# Never in these tests: a turn of the full look would hide what was missed.
NO_TURN = 10**9


class Watched:
    """What the agent knows of one hypervisor; it hears no events.

    :param settled_seconds: how old a write must be to be proven, to these lanes.
    """

    def __init__(self, lanes: Lanes, uri: str, settled_seconds: float) -> None:
        self.lanes = lanes
        self.settled_seconds = settled_seconds
        self._options = Options(uri=uri, ask_guests=False, timeout=LONG)
        quarantine = Quarantine(time.monotonic, first_seconds=60, most_seconds=3600)
        self.observatory = Observatory(lanes, self._options, "host", quarantine, NO_TURN)

    def cycle(self) -> set[str]:
        """The UUIDs of those that this cycle looked at in full."""
        before = self._seen()
        report = self.observatory.cycle()
        assert report is not None and self.observatory.status.failed is None
        after = self._seen()
        full = {uuid for uuid, seen_at in after.items() if before.get(uuid) != seen_at}
        assert len(full) == self.observatory.status.full
        assert len(after) - len(full) == self.observatory.status.quiet
        return full

    def settle(self) -> None:
        """Until every domain is quiet: what was written so far is proven from now on."""
        time.sleep(self.settled_seconds)
        self.cycle()
        wait_for(lambda: not self.cycle())

    def changed(self) -> set[str]:
        """Where the images are whose change shows now."""
        known = [one for one in self.observatory._known.values() if one.proof is not None]
        images = [image for one in known for image in memory.images(one)]
        observer = Observer(self.lanes, self._options)
        observer.look_at_mounts()
        signatures = observer.images.signatures(images)
        return {
            str(layer.source)
            for one in known
            for layer in memory.changed(one.proof or {}, signatures)
        }

    def _seen(self) -> dict[str, object]:
        known = self.observatory._known
        return {u: k.sighting.domain and k.sighting.domain.seen_at for u, k in known.items()}


def io(domain: libvirt.virDomain, alias: str, command: str) -> None:
    told = libvirt_qemu.qemuMonitorCommand(
        domain, f'qemu-io -d /machine/peripheral/{alias} "{command}"', 1
    )
    assert "rror" not in told and "failed" not in told, (alias, command, told)


# --- the matrix -------------------------------------------------------------------------------

MODES = (
    ("none", "threads"),
    ("none", "native"),
    ("none", "io_uring"),
    ("directsync", "threads"),
    ("directsync", "native"),
    ("directsync", "io_uring"),
    ("writethrough", "threads"),
    ("writethrough", "io_uring"),
    ("writeback", "threads"),
    ("writeback", "io_uring"),
    ("unsafe", "threads"),
    ("unsafe", "io_uring"),
)
FILESYSTEMS = ("ext4", "xfs", "btrfs")
#: of a second stack, since most of this is the kernel's doing, and that is the same one
REPRESENTATIVES = (("none", "native"), ("none", "io_uring"), ("writeback", "threads"))
_MOST_DISKS = 50


@dataclasses.dataclass(frozen=True)
class Disk:
    alias: str
    path: str
    xml: str


@dataclasses.dataclass(frozen=True)
class Matrix:
    watched: Watched
    disks: list[tuple[libvirt.virDomain, Disk]]
    mounts: list[pathlib.Path]

    def write(self, *commands: str) -> None:
        for domain, disk in self.disks:
            for command in commands:
                io(domain, disk.alias, command)

    def write_back(self) -> None:
        """Have the kernel do now what it does within half a minute."""
        run("sync", *self.everywhere())
        run("sync", "--file-system", *self.mounts)

    def everywhere(self) -> set[str]:
        return {disk.path for _, disk in self.disks}


def target(number: int) -> str:
    high, low = divmod(number, 26)
    return "sd" + (chr(ord("a") + high - 1) if high else "") + chr(ord("a") + low)


#: format, and how an image of each kind is made
IMAGES = {
    "sparse": ("raw", "truncate -s 8M {path}"),
    "preallocated": ("raw", "fallocate -l 8M {path}"),
    "qcow2": ("qcow2", "qemu-img create -q -f qcow2 {path} 8M"),
    "overlay": (
        "qcow2",
        "truncate -s 8M {path}.base; qemu-img create -q -f qcow2 -F raw -b {path}.base {path} 8M",
    ),
}
ON_DEVICES = {"sparse": ("raw", "true"), "qcow2": IMAGES["qcow2"]}


@pytest.fixture(scope="module")
def matrix(hypervisor: Hypervisor, connection: libvirt.virConnect) -> Iterator[Matrix]:
    whole = hypervisor.stack == "host"
    modes = MODES if whole else REPRESENTATIVES
    disks: list[Disk] = []
    making: list[str] = []

    def add(kind: str, path: str, image_format: str, cache: str, engine: str) -> None:
        attribute, number = {"file": "file", "block": "dev"}[kind], len(disks)
        alias = f"ua-{number}"
        disks.append(
            Disk(
                alias,
                path,
                f"<disk type='{kind}' device='disk'>"
                f"<driver name='qemu' type='{image_format}' cache='{cache}' io='{engine}' "
                f"discard='unmap'/><source {attribute}='{path}'/><alias name='{alias}'/>"
                f"<target dev='{target(number % _MOST_DISKS)}' bus='scsi'/></disk>",
            )
        )

    with contextlib.ExitStack() as stack:
        mounts = [
            stack.enter_context(mounted(hypervisor.workdir, fs_type, 2000))
            for fs_type in FILESYSTEMS
        ]
        for point in mounts:
            for kind, (cache, engine) in itertools.product(IMAGES, modes):
                path = f"{point}/{kind}-{cache}-{engine}"
                image_format, command = IMAGES[kind]
                making.append(command.format(path=path))
                add("file", path, image_format, cache, engine)
        below = hypervisor.workdir / "xfs"
        for kind, (cache, engine) in itertools.product(ON_DEVICES, modes):
            file = f"{below}/device-{kind}-{cache}-{engine}"
            hypervisor.run("truncate", "-s", "12M", file)
            node = run("losetup", "--find", "--show", file)
            stack.callback(run, "losetup", "--detach", node)
            image_format, command = ON_DEVICES[kind]
            making.append(command.format(path=node))
            add("block", node, image_format, cache, engine)
        hypervisor.run("sh", "-ec", "\n".join(making))
        found: list[tuple[libvirt.virDomain, Disk]] = []
        controllers = "".join(
            f"<controller type='scsi' index='{index}' model='virtio-scsi'/>"
            for index in range(-(-_MOST_DISKS // 7))
        )
        for first in range(0, len(disks), _MOST_DISKS):
            several = disks[first : first + _MOST_DISKS]
            machine = Machine(connection, "".join(disk.xml for disk in several) + controllers)
            stack.callback(machine.remove)
            machine.domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
            found += [(machine.domain, disk) for disk in several]
        lanes = stack.enter_context(Lanes(hypervisor.uri, state_path=None))
        watched = Watched(lanes, hypervisor.uri, 2.1)
        some = Matrix(watched, found, mounts)
        # So that everything below is an overwrite, unless it says otherwise.
        some.write("write -P 1 0 1M", "flush")
        some.write_back()
        watched.cycle()
        yield some


WRITES: dict[str, tuple[str, ...]] = {
    "in place": ("write -P 2 0 4k",),
    "in place, a sector": ("write -P 3 8k 512",),
    "allocating": ("write -P 4 4M 64k",),
    "discarding": ("discard 64k 64k",),
    # QEMU keeps what it only changes in the tables of a qcow2 image until the guest flushes.
    "zeroes": ("write -z 256k 64k", "flush"),
    "zeroes that unmap": ("write -z -u 512k 64k", "flush"),
}


REPRESENTATIVE_WRITES = ("in place", "zeroes that unmap")


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=() if kind in REPRESENTATIVE_WRITES else pytest.mark.host_only)
        for kind in WRITES
    ],
)
def test_no_write_is_taken_for_quiet(matrix: Matrix, kind: str) -> None:
    """Right behind the look that proved everything unchanged."""
    matrix.watched.settle()
    assert matrix.watched.changed() == set()
    matrix.write(*WRITES[kind])
    assert matrix.everywhere() - matrix.watched.changed() == set()
    assert matrix.watched.cycle() == set(matrix.watched.observatory._known)


@pytest.mark.host_only
def test_nothing_is_proven_by_a_look_just_after_a_write(matrix: Matrix) -> None:
    for pattern in range(10, 14):
        matrix.write(f"write -P {pattern} 0 4k")
        assert len(matrix.watched.cycle()) == len(matrix.watched.observatory._known)


@pytest.mark.host_only
@pytest.mark.parametrize(
    ("operation", "full"),
    [
        (operations.PROBE_LAYERS, True),
        (operations.STATUS_FILES, False),
        (operations.SIGNATURES, False),
    ],
    ids=["a full look", "the check for quiet", "the end of that check"],
)
def test_a_write_during_a_cycle_shows_at_the_latest_in_the_next(
    matrix: Matrix,
    operation: operations.Operation[Any],
    full: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Behind the first answer to this question, so that what is asked later sees it already."""
    matrix.watched.settle()
    if full:
        matrix.watched.observatory.touch(None)
    ask = matrix.watched.lanes.call_each
    written = []

    def call_each(asked: Any, *arguments: Any, **options: Any) -> Any:
        answers = ask(asked, *arguments, **options)
        if asked is operation and not written:
            matrix.write("write -P 30 0 4k")
            written.append(answers)
        return answers

    monkeypatch.setattr(matrix.watched.lanes, "call_each", call_each)
    first = matrix.watched.cycle()
    monkeypatch.undo()
    assert written
    second = matrix.watched.cycle()
    assert (second if full else first | second) == set(matrix.watched.observatory._known)


def test_what_nobody_touches_is_quiet(matrix: Matrix) -> None:
    """Also when the kernel writes back, and reads, and other files on the same storage change."""
    matrix.write("write -P 40 0 64k", "flush")
    matrix.write_back()
    matrix.watched.settle()
    for _ in range(2):
        for mount in matrix.mounts:
            (mount / "other").write_bytes(os.urandom(MIB))
        matrix.write_back()
        matrix.write("read 0 64k")
        assert matrix.watched.changed() == set()
        assert matrix.watched.cycle() == set()


# --- what else can happen to a domain ---------------------------------------------------------


@pytest.fixture
def sees(request: pytest.FixtureRequest) -> str:
    return str(getattr(request, "param", "record"))


#: for what changes the description: once with libvirt's own record in sight, and once without
BOTH_WAYS = pytest.mark.parametrize("sees", ["record", "description"], indirect=True)


@pytest.fixture
def watched(
    hypervisor: Hypervisor, lanes: Lanes, sees: str, monkeypatch: pytest.MonkeyPatch
) -> Watched:
    worker = pathlib.Path(__file__).parent / "quick_worker.py"
    options = ("blind",) if sees == "description" else ()
    monkeypatch.setattr(nursery, "COMMAND", (sys.executable, "-I", str(worker), *options))
    return Watched(lanes, hypervisor.uri, 0.1)


SCSI = "<controller type='scsi' model='virtio-scsi'/>"


def scsi_disk(path: object, name: str, image_format: str, alias: str, extra: str = "") -> str:
    return (
        f"<disk type='file' device='disk'><driver name='qemu' type='{image_format}'/>"
        f"<source file='{path}'/><target dev='{name}' bus='scsi'/><alias name='{alias}'/>"
        f"{extra}</disk>"
    )


@pytest.fixture
def machine(make: Make, images: pathlib.Path) -> Machine:
    """A domain with a qcow2 disk, a raw one, and a drive."""
    run("qemu-img", "create", "-q", "-f", "qcow2", images / "a.qcow2", "16M")
    run("qemu-img", "create", "-q", "-f", "raw", images / "b.raw", "16M")
    some = make(
        scsi_disk(images / "a.qcow2", "sda", "qcow2", "ua-a")
        + scsi_disk(images / "b.raw", "sdb", "raw", "ua-b")
        + EMPTY_DRIVE
        + SCSI
        + AGENT,
        start=False,
    )
    some.domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    return some


@pytest.fixture
def is_seen(watched: Watched, machine: Machine) -> Callable[[], bool]:
    """Whether a cycle looks at the machine in full, which begins quiet."""
    watched.cycle()
    watched.settle()
    return lambda: machine.uuid in watched.cycle()


Seen = Callable[[], bool]


def finished(machine: Machine, disk: str) -> None:
    wait_for(lambda: not machine.domain.blockJobInfo(disk))


def spy(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> list[operations.Operation[Any]]:
    """What its lanes are asked from now on."""
    asked = []
    ask = watched.lanes.call_each

    def call_each(operation: operations.Operation[Any], *arguments: Any, **options: Any) -> Any:
        asked.append(operation)
        return ask(operation, *arguments, **options)

    monkeypatch.setattr(watched.lanes, "call_each", call_each)
    return asked


@pytest.mark.host_only
def test_all_processes_are_looked_at_only_for_a_qemu_that_is_new(
    machine: Machine, is_seen: Seen, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = spy(watched, monkeypatch)
    watched.observatory.touch(machine.uuid)
    assert is_seen()
    assert operations.BLOCK_STATS in asked and operations.PROCESSES not in asked
    machine.domain.destroy()
    assert is_seen()
    assert operations.PROCESSES not in asked
    machine.domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    asked.clear()
    assert is_seen()
    assert operations.PROCESSES in asked and operations.BLOCK_STATS in asked


@BOTH_WAYS
def test_a_quiet_cycle_does_not_trouble_libvirt(
    machine: Machine,
    is_seen: Seen,
    watched: Watched,
    sees: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It asks for the list, and for descriptions only where their record is not to be had."""
    asked = spy(watched, monkeypatch)
    assert not is_seen()
    of_libvirt = [operation for operation in asked if operation.kind != "storage"]
    by_description = [operations.DIGESTS] if sees == "description" else []
    assert of_libvirt == [operations.LIST_STATES, *by_description]


@BOTH_WAYS
def test_snapshots_and_block_jobs(
    machine: Machine, is_seen: Seen, watched: Watched, images: pathlib.Path
) -> None:
    """A snapshot sends no event, and the image that was the top is never written again."""
    domain = machine.domain
    live = libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY | (
        libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA
    )
    for number in (1, 2):
        domain.snapshotCreateXML(
            "<domainsnapshot><disks>"
            f"<disk name='sda' snapshot='external'><source file='{images}/top{number}'/></disk>"
            "<disk name='sdb' snapshot='no'/></disks></domainsnapshot>",
            live,
        )
        assert is_seen()
        watched.settle()
        io(domain, "ua-a", f"write -P {number} 0 64k")
        assert is_seen()
        watched.settle()
    # The upper image is written down into the one below, and the guest is moved back to it.
    domain.blockCommit(
        "sda", None, None, 0,
        libvirt.VIR_DOMAIN_BLOCK_COMMIT_ACTIVE | libvirt.VIR_DOMAIN_BLOCK_COMMIT_SHALLOW,
    )  # fmt: skip
    wait_for(lambda: _is_ready(domain, "sda"))
    assert is_seen()
    domain.blockJobAbort("sda", libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT)
    assert is_seen()
    watched.settle()
    io(domain, "ua-a", "write -P 9 0 64k")
    assert is_seen()
    watched.settle()
    # All that is below is copied into the top.
    domain.blockPull("sda", 0, 0)
    finished(machine, "sda")
    assert is_seen()


def _is_ready(domain: libvirt.virDomain, disk: str) -> bool:
    info = domain.blockJobInfo(disk)
    return bool(info) and info["cur"] == info["end"] > 0 and "ready='yes'" in domain.XMLDesc(0)


def test_an_internal_snapshot(make: Make, watched: Watched, images: pathlib.Path) -> None:
    run("qemu-img", "create", "-q", "-f", "qcow2", images / "a.qcow2", "16M")
    machine = make(scsi_disk(images / "a.qcow2", "sda", "qcow2", "ua-a") + SCSI)
    watched.cycle()
    watched.settle()
    machine.domain.snapshotCreateXML("<domainsnapshot><name>one</name></domainsnapshot>")
    try:
        assert machine.uuid in watched.cycle()
        watched.settle()
    finally:
        machine.domain.snapshotLookupByName("one").delete()
    assert machine.uuid in watched.cycle()


def test_a_resize(machine: Machine, is_seen: Seen, watched: Watched) -> None:
    for disk in ("sda", "sdb"):
        machine.domain.blockResize(disk, 32 * MIB, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)
        assert is_seen()
        watched.settle()


@BOTH_WAYS
def test_disks_that_come_and_go(
    machine: Machine, is_seen: Seen, watched: Watched, images: pathlib.Path
) -> None:
    run("qemu-img", "create", "-q", "-f", "raw", images / "c.raw", "16M")
    xml = scsi_disk(images / "c.raw", "sdc", "raw", "ua-c")
    machine.domain.attachDevice(xml)
    assert is_seen()
    watched.settle()
    machine.domain.detachDevice(xml)
    wait_for(lambda: "c.raw" not in machine.domain.XMLDesc(0))
    assert is_seen()
    watched.settle()
    drive = EMPTY_DRIVE.replace("<target", f"<source file='{images}/c.raw'/><target")
    machine.domain.updateDeviceFlags(drive, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    assert is_seen()


@pytest.mark.host_only
def test_a_life(machine: Machine, is_seen: Seen, watched: Watched) -> None:
    domain = machine.domain

    def begin() -> None:
        # A QEMU whose guest runs takes two seconds to end.
        domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)

    changes: list[Callable[[], object]] = [
        domain.resume,
        domain.suspend,
        lambda: (domain.destroy(), begin()),
        domain.destroy,
        lambda: domain.rename(f"{machine.name}-renamed"),
        begin,
    ]
    for change in changes:
        change()
        assert is_seen()
        watched.settle()


@pytest.mark.host_only
def test_a_changed_definition(machine: Machine, is_seen: Seen, watched: Watched) -> None:
    """Of a domain that is off, as Nova writes it at a resize."""
    machine.domain.destroy()
    watched.cycle()
    watched.settle()
    xml = machine.domain.XMLDesc(0)
    libvirt_connection = machine.domain.connect()
    libvirt_connection.defineXML(xml.replace("b.raw", "a.qcow2.moved"))
    assert is_seen()


def replaced_under_its_path(path: pathlib.Path) -> None:
    copy = path.with_suffix(".copy")
    run("cp", "--preserve=all", "--sparse=always", path, copy)
    os.rename(copy, path)


def written_and_hidden(path: pathlib.Path) -> None:
    status = path.stat()
    run("qemu-io", "-f", "raw", "-c", "write -P 1 0 4k", path)
    run("touch", "-d", f"@{status.st_mtime}", path)


HOST_CHANGES: dict[str, Callable[[pathlib.Path], object]] = {
    "written": lambda path: run("qemu-io", "-f", "raw", "-c", "write -P 1 0 4k", path),
    "written, and the time set back": written_and_hidden,
    "trimmed": lambda path: run("fallocate", "--dig-holes", path),
    "grown": lambda path: run("truncate", "-s", "32M", path),
    "replaced": replaced_under_its_path,
    "gone": lambda path: path.unlink(),
}


@pytest.mark.host_only
@pytest.mark.parametrize("how", HOST_CHANGES)
def test_what_others_do_to_the_file_of_a_domain_that_is_off(
    make: Make, watched: Watched, images: pathlib.Path, how: str
) -> None:
    path = images / "disk.raw"
    run("qemu-img", "create", "-q", "-f", "raw", "-o", "preallocation=full", path, "16M")
    machine = make(file_disk(path, image_format="raw"), start=False)
    watched.cycle()
    watched.settle()
    HOST_CHANGES[how](path)
    assert machine.uuid in watched.cycle()


# --- what is never quiet ----------------------------------------------------------------------


def never_quiet(watched: Watched, machine: Machine) -> None:
    time.sleep(watched.settled_seconds)
    for _ in range(3):
        assert machine.uuid in watched.cycle()
    assert watched.observatory._known[machine.uuid].proof is None


def test_data_in_files_that_libvirt_does_not_name(
    make: Make, watched: Watched, images: pathlib.Path, hypervisor: Hypervisor
) -> None:
    flat = images / "flat.vmdk"
    run("qemu-img", "create", "-q", "-f", "vmdk", "-o", "subformat=monolithicFlat", flat, "8M")
    options = f"data_file={images}/data,data_file_raw=on"
    run("qemu-img", "create", "-q", "-f", "qcow2", "-o", options, images / "top", "8M")
    vmdk = make(scsi_disk(flat, "sda", "vmdk", "ua-vmdk") + SCSI)
    split = make(scsi_disk(images / "top", "sda", "qcow2", "ua-split") + SCSI)
    never_quiet(watched, vmdk)
    if "<dataStore" not in split.domain.XMLDesc(0):
        never_quiet(watched, split)
        return
    # Where it is named, it is watched.
    watched.cycle()
    wait_for(lambda: split.uuid not in watched.cycle())
    io(split.domain, "ua-split", "write -P 1 0 4k")
    assert split.uuid in watched.cycle()


@pytest.mark.host_only
def test_a_network_disk(make: Make, watched: Watched, images: pathlib.Path) -> None:
    socket = images / "nbd.sock"
    run("truncate", "-s", "4M", images / "exported")
    run("qemu-nbd", "--fork", "--persistent", "-f", "raw", "-k", socket, images / "exported")
    machine = make(
        "<disk type='network' device='disk'><driver name='qemu' type='raw'/>"
        f"<source protocol='nbd'><host transport='unix' socket='{socket}'/></source>"
        "<target dev='vda' bus='virtio'/></disk>"
    )
    try:
        never_quiet(watched, machine)
    finally:
        machine.domain.destroy()
        run("fuser", "--kill", images / "exported")
