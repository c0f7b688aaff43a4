# SPDX-License-Identifier: Apache-2.0
"""The private libvirtd leaves the machine alone, and leaves nothing behind."""

import pathlib
import subprocess
import sys

from tests.lab import hypervisor, storage
from tests.lab.domain import MIB, Disk, Domain
from tests.lab.hypervisor import Hypervisor
from tests.lab.machine import boot, qemu_is_alive

_DOMAIN = Domain(
    "private",
    (
        Disk("vda", MIB),
        Disk("vdb", MIB, storage="block", prepare=storage.loop("raw", MIB)),
        Disk("vdc", MIB, source="reflink/clone.raw", prepare=storage.reflinked(MIB, 4096)),
    ),
    agent_channel=False,
)

# Starts a domain, says which, and dies as by the kernel's hand.
_KILLED = """
import os, signal
from tests.lab.test_hypervisor import _DOMAIN, Hypervisor, boot
hypervisor = Hypervisor("{stack}")
hypervisor.start()
boot(hypervisor, _DOMAIN)
print(hypervisor.directory, hypervisor.qemu_pid("private"), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def mounts() -> str:
    return pathlib.Path("/proc/self/mounts").read_text()


def loops() -> set[str]:
    """The loop devices in use, with the file under each."""
    found = pathlib.Path("/sys/block").glob("loop*/loop/backing_file")
    return {f"{path.parts[3]} {path.read_text()}" for path in found}


def machines_own() -> list[pathlib.Path]:
    """The files of the machine's own libvirt."""
    roots = ("/etc/libvirt", "/var/lib/libvirt", "/var/cache/libvirt", "/var/log/libvirt")
    return sorted(p for root in roots for p in pathlib.Path(root).rglob("*"))


def test_it_touches_nothing_and_leaves_nothing(stack: str) -> None:
    before, loops_before = machines_own(), loops()
    with Hypervisor(stack) as private:
        machine = boot(private, _DOMAIN)
        assert len(loops() - loops_before) >= 2
        pid = private.qemu_pid("private")
        assert set(private.members()) >= {private.pid, pid}
        assert (private.directory / "etc/qemu/private.xml").exists()
        assert machines_own() == before
        machine.connection.close()
    assert not qemu_is_alive(pid)
    assert not private.directory.exists()
    assert private.directory.name not in mounts()
    assert private.members() == []
    assert not {
        entry for entry in loops() - loops_before if "private" in entry or "reflink" in entry
    }


def test_a_killed_run_is_cleared_away(stack: str) -> None:
    before = loops()
    command = [sys.executable, "-c", _KILLED.format(stack=stack)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    directory, pid = done.stdout.split()
    assert qemu_is_alive(int(pid))
    hypervisor.sweep()
    assert not qemu_is_alive(int(pid))
    assert not pathlib.Path(directory).exists()
    assert pathlib.Path(directory).name not in mounts()
    assert not {entry for entry in loops() - before if "private" in entry or "reflink" in entry}


def test_a_living_run_is_not(stack: str) -> None:
    with Hypervisor(stack) as private:
        hypervisor.sweep()
        assert private.run("cat", f"/proc/{private.pid}/comm").strip() == "libvirtd"
        assert private.workdir.exists()


def test_a_later_mount_is_seen_inside(stack: str) -> None:
    with Hypervisor(stack) as private:
        point = private.workdir / "mounted"
        point.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", point], check=True)
        (point / "file").write_text("seen")
        assert private.run("cat", str(point / "file")) == "seen"
    assert str(point) not in mounts()


def test_domains_outlive_the_daemon(stack: str) -> None:
    with Hypervisor(stack) as private:
        machine = boot(private, _DOMAIN)
        pid = private.qemu_pid("private")
        private.kill_daemon()
        assert private.members() == [pid]
        private.start_daemon()
        machine.reconnect()
        assert machine.domain.isActive()
        assert private.qemu_pid("private") == pid
        machine.stop()
        assert not qemu_is_alive(pid)
        # Nothing but the daemon is left in the namespace; it outlives that as well.
        private.kill_daemon()
        private.start_daemon()
        private.run("test", "-e", str(private.workdir))
    assert private.members() == []
    assert private.directory.name not in mounts()
