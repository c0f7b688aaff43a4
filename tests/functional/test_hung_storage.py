# SPDX-License-Identifier: Apache-2.0
"""Storage that hangs, played by a FUSE filesystem that is stopped."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from nova_diskaudit.facts import Layer
from nova_diskaudit.lane import operations
from nova_diskaudit.lane.lanes import DeadlineMissed, LaneRefused, Lanes
from tests.functional.conftest import LONG, Make, file_disk, run, wait_for


class Mount:
    def __init__(self, path: pathlib.Path, server: subprocess.Popen[bytes]) -> None:
        self.path = path
        self._server = server

    def hang(self) -> None:
        self._server.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._server.pid, os.WSTOPPED)

    def go_on(self) -> None:
        self._server.send_signal(signal.SIGCONT)


@pytest.fixture
def mount(images: pathlib.Path) -> Iterator[Mount]:
    behind, point = images / "behind", images / "mount"
    behind.mkdir()
    point.mkdir()
    run("qemu-img", "create", "-f", "qcow2", behind / "disk", "4M")
    # Without caches, or the kernel would answer in its place.
    options = "attr_timeout=0,entry_timeout=0,negative_timeout=0"
    server = subprocess.Popen(["bindfs", "-f", "-o", options, behind, point])
    wait_for(lambda: os.path.ismount(point))
    some = Mount(point, server)
    yield some
    some.go_on()
    run("umount", "--lazy", point)
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(5)
    server.kill()
    server.wait()


def layer(path: pathlib.Path) -> Layer:
    return Layer(storage="file", source=str(path), format="qcow2")


def test_a_hung_stat_misses_its_deadline_and_others_go_on(
    lanes: Lanes, mount: Mount, images: pathlib.Path
) -> None:
    run("qemu-img", "create", "-f", "qcow2", images / "healthy", "4M")
    hung, healthy = [layer(mount.path / "disk")], [layer(images / "healthy")]
    assert lanes.call(operations.PROBE_LAYERS, hung, None, [], deadline=LONG)[0].code is None
    mount.hang()
    with pytest.raises(DeadlineMissed) as caught:
        lanes.call(operations.PROBE_LAYERS, hung, None, [], deadline=0.3, subject="it")
    assert caught.value.subject == "it"
    (facts,) = lanes.call(operations.PROBE_LAYERS, healthy, None, [], deadline=LONG)
    assert facts.allocated_bytes == (images / "healthy").stat().st_blocks * 512
    assert any(m.path == str(mount.path) for m in lanes.call(operations.MOUNTS, deadline=LONG))
    with pytest.raises(DeadlineMissed):
        lanes.call(operations.FILESYSTEM, str(mount.path), deadline=0.3)
    mount.go_on()
    wait_for(lambda: len(lanes._returned) == 2)
    assert sorted(lanes.returned()) == sorted(["it", str(mount.path)])


def test_misses_have_a_bound(lanes: Lanes, mount: Mount) -> None:
    mount.hang()
    missed = 0
    with pytest.raises(LaneRefused) as caught:
        for _ in range(20):
            try:
                lanes.call(operations.FILESYSTEM, str(mount.path), deadline=0.05)
            except DeadlineMissed:
                missed += 1
    assert caught.value.code == "storage-unresponsive"
    assert missed == 8


def test_close_does_not_wait_for_the_storage(mount: Mount, hypervisor: object) -> None:
    with Lanes("qemu:///system", state_path=None) as lanes:
        mount.hang()
        for _ in range(3):
            with pytest.raises(DeadlineMissed):
                lanes.call(operations.FILESYSTEM, str(mount.path), deadline=0.1)
        pids = [child.pid for child in lanes._supervisor._children if child.pid]
        started = time.monotonic()
    # A hang guard: it would wait for ever.
    assert time.monotonic() - started < LONG / 2
    mount.go_on()
    for pid in pids:
        wait_for(lambda pid=pid: not _lives(pid))


def _lives(pid: int) -> bool:
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_inventory_goes_on_with_a_domain_on_hung_storage(
    lanes: Lanes, mount: Mount, make: Make
) -> None:
    running = make(file_disk(mount.path / "disk"))
    off = make(file_disk(mount.path / "disk"), start=False)
    mount.hang()
    try:
        names = {one.name for one in lanes.call(operations.LIST_STATES, deadline=LONG)}
        assert {running.name, off.name} <= names
        for machine, state in ((running, "running"), (off, "shutoff")):
            domain = lanes.call(operations.DESCRIBE, machine.uuid, deadline=LONG)
            assert domain.state == state
        assert running.uuid in lanes.call(operations.PROCESSES, deadline=LONG)
    finally:
        mount.go_on()
