# SPDX-License-Identifier: Apache-2.0
"""A domain that lives: what the lab tells it, and what it then measures without the product."""

import base64
import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import socket
import time
import xml.etree.ElementTree as ElementTree
from typing import Any

import libvirt
import libvirt_qemu

from tests.lab import guest_image
from tests.lab.domain import Disk, Domain
from tests.lab.hypervisor import Hypervisor


class GuestError(RuntimeError):
    """The guest did not do what it was told."""


@dataclasses.dataclass(frozen=True)
class Filesystem:
    """What the guest's kernel says of one mounted file system."""

    mountpoint: str
    type: str
    source: str
    total_bytes: int
    used_bytes: int
    block_bytes: int


@dataclasses.dataclass(frozen=True)
class Numbers:
    """The numbers that block-usage tools report of one disk, as libvirt gives them."""

    capacity: int
    allocation: int
    physical: int


class Machine:
    """One domain of a private hypervisor."""

    def __init__(self, hypervisor: Hypervisor, domain: Domain) -> None:
        self.hypervisor = hypervisor
        self.spec = domain
        self.connection = libvirt.open(hypervisor.uri)
        self._domain: libvirt.virDomain | None = None
        self._channel: socket.socket | None = None
        #: its disks by target, those that were plugged in later among them
        self.disks = {disk.target: disk for disk in domain.disks}

    @property
    def console(self) -> pathlib.Path:
        return self.hypervisor.workdir / f"{self.spec.name}.console"

    @property
    def domain(self) -> libvirt.virDomain:
        if self._domain is None:
            raise GuestError(f"{self.spec.name} was never defined")
        return self._domain

    def start(self) -> None:
        """Make the disks, define the domain, boot it, and wait for the guest's script."""
        workdir = self.hypervisor.workdir
        kernel = None
        for disk in self.spec.disks:
            disk.make(self.spec.name, self.hypervisor)
        if self.spec.script is not None:
            image = guest_image.ensure(small=self.spec.small)
            kernel = workdir / f"{image.kernel.parent.name}.vmlinuz"
            if not kernel.exists():
                # Renamed, since another machine may be started at the same time.
                partial = workdir / f"{self.spec.name}.vmlinuz"
                shutil.copyfile(image.kernel, partial)
                partial.rename(kernel)
            files = {"/lab/scenario": self.spec.script, **dict(self.spec.files)}
            release = self.spec.agent_release
            image.with_files(workdir / f"{self.spec.name}.initrd", files, agent_release=release)
        self._domain = self.connection.defineXML(self.spec.xml(workdir, kernel))
        if not self.spec.started:
            return
        self.boot()

    def boot(self) -> None:
        paused = libvirt.VIR_DOMAIN_START_PAUSED
        bare = self.spec.script is None
        self.domain.createWithFlags(paused if bare or self.spec.paused else 0)
        if not bare and not self.spec.paused:
            self.await_guest()

    def await_guest(self) -> None:
        said = self.run(
            "while [ ! -e /run/lab-ready ]; do sleep 0.1; done; cat /run/lab-failed",
            seconds=120,
            check=False,
        )
        if "FAILED" in said:
            raise GuestError(f"{self.spec.name}: {said.strip()}, see {self.console}")

    def reconnect(self) -> None:
        """Find the domain again after libvirtd was started anew."""
        with contextlib.suppress(libvirt.libvirtError):
            self.connection.close()
        self.connection = libvirt.open(self.hypervisor.uri)
        self._domain = self.connection.lookupByName(self.spec.name)

    def stop(self) -> None:
        """End the domain and forget it; its images stay until the hypervisor ends."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        with contextlib.suppress(libvirt.libvirtError, GuestError):
            if self.domain.isActive():
                self.domain.destroy()
            self.domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA)
        self.connection.close()

    def plug(self, disk: Disk) -> None:
        """Attach a disk to the running domain."""
        disk.make(self.spec.name, self.hypervisor)
        self.domain.attachDevice(disk.xml(self.spec.name, self.hypervisor.workdir))
        self.disks[disk.target] = disk

    # -- the guest ------------------------------------------------------------------------

    def run(self, command: str, seconds: float = 60, *, check: bool = True) -> str:
        """Run an ash script in the guest, and return what it prints."""
        if self._channel is None:
            self._channel = socket.socket(socket.AF_UNIX)
            self._channel.connect(str(self.hypervisor.workdir / f"{self.spec.name}.lab"))
        self._channel.settimeout(seconds)
        self._channel.sendall(base64.b64encode(command.encode()) + b"\n")
        answer = b""
        while not answer.endswith(b"\n"):
            try:
                part = self._channel.recv(1 << 16)
            except TimeoutError as error:
                said = f"{self.spec.name}: no end of {command!r}, see {self.console}"
                raise GuestError(said) from error
            if not part:
                raise GuestError(f"{self.spec.name} is gone, see {self.console}")
            answer += part
        said = base64.b64decode(answer).decode(errors="replace")
        output, _, status = said.rpartition("status ")
        if check and int(status):
            raise GuestError(f"{self.spec.name}: {command!r} failed: {output}, see {self.console}")
        return output

    def truth(self) -> dict[str, Filesystem]:
        """The guest's mounted file systems by mount point, after a sync."""
        found = {}
        for line in self.run("truth").splitlines():
            if line.startswith("TRUTH "):
                _, point, kind, source, total, used, block = line.split()
                found[point] = Filesystem(point, kind, source, int(total), int(used), int(block))
        return found

    def agent(self, command: str, timeout: int = 10, **arguments: Any) -> Any:
        """The raw reply of the guest agent."""
        request: dict[str, Any] = {"execute": command}
        if arguments:
            request["arguments"] = arguments
        reply = libvirt_qemu.qemuAgentCommand(self.domain, json.dumps(request), timeout, 0)
        return json.loads(reply)["return"]

    def channel_state(self) -> str:
        """What libvirt says of the agent's channel: connected, disconnected, or ''."""
        xml = self.domain.XMLDesc(0)
        _, _, rest = xml.partition("org.qemu.guest_agent.0'")
        return rest.partition("state='")[2].partition("'")[0] if rest else ""

    # -- the host -------------------------------------------------------------------------

    def path(self, target: str) -> pathlib.Path:
        """Where the disk lies now: a snapshot moves it."""
        tree = ElementTree.fromstring(self.domain.XMLDesc(0))
        for disk in tree.iterfind("./devices/disk"):
            source = disk.find("source")
            if disk.find(f"target[@dev='{target}']") is None or source is None:
                continue
            name = source.get("file") or source.get("dev")
            if name:
                return pathlib.Path(name)
        return self.disks[target].path(self.spec.name, self.hypervisor.workdir)

    def stat(self, target: str) -> os.stat_result:
        return self.path(target).stat()

    def allocated(self, target: str) -> int:
        """The bytes that the host's file system holds for the disk's file, as du counts."""
        return self.stat(target).st_blocks * 512

    def block_info(self, target: str) -> Numbers:
        """``virsh domblkinfo``."""
        return Numbers(*self.domain.blockInfo(target))

    def block_stats(self) -> dict[str, dict[str, Any]]:
        """``virsh domstats --block`` by target, and the dotted rest of each key."""
        wanted = libvirt.VIR_DOMAIN_STATS_BLOCK
        ((_, stats),) = self.connection.domainListGetStats([self.domain], wanted)
        found: dict[str, dict[str, Any]] = {}
        for key, value in stats.items():
            _, _, rest = key.partition("block.")
            number, _, field = rest.partition(".")
            if field:
                found.setdefault(stats[f"block.{number}.name"], {})[field] = value
        return found

    def monitor(self, command: str) -> str:
        """A command of QEMU's human monitor."""
        flags = libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP
        return libvirt_qemu.qemuMonitorCommand(self.domain, command, flags)

    def qmp(self, command: str, **arguments: Any) -> Any:
        request = {"execute": command, "arguments": arguments}
        return json.loads(libvirt_qemu.qemuMonitorCommand(self.domain, json.dumps(request), 0))

    def io(self, target: str, command: str) -> None:
        """What ``qemu-io`` does, done by QEMU on a disk of the domain, as its guest would."""
        xml = self.domain.XMLDesc(0)
        before = xml.index(f"<target dev='{target}'")
        alias = xml[before:].partition("<alias name='")[2].partition("'")[0]
        tail = "/virtio-backend" if self.disks[target].bus == "virtio" else ""
        said = self.monitor(f'qemu-io -d /machine/peripheral/{alias}{tail} "{command}"')
        if "rror" in said or "failed" in said:
            raise GuestError(f"qemu-io {command}: {said}")


def boot(hypervisor: Hypervisor, domain: Domain) -> Machine:
    """Start a machine; what it left of itself is removed when that fails."""
    machine = Machine(hypervisor, domain)
    try:
        machine.start()
    except BaseException:
        machine.stop()
        raise
    return machine


def qemu_is_alive(pid: int) -> bool:
    """Whether the process exists and is more than an entry that nobody has waited for."""
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False
    return "State:\tZ" not in status


def await_true(what: str, check: Any, seconds: float = 30) -> None:
    """Wait until *check* returns something true."""
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            raise GuestError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.05)
