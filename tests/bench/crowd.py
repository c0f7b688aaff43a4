# SPDX-License-Identifier: Apache-2.0
"""A host full of domains, of which some can be made to hang, and to be well again.

Most are QEMU processes without a guest OS, because their monitors are real and they cost little.
Guests are really booted, with a small kernel and the real ``qemu-ga``: libvirt opens an agent's
channel only when the guest opens its port, so an agent that hangs needs a guest too.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import itertools
import os
import signal
from collections.abc import Iterator

import libvirt

from tests.bench import fleet
from tests.lab.domain import MIB, Disk, Domain
from tests.lab.hypervisor import Hypervisor
from tests.lab.machine import Machine, await_true, boot

_BOOTED_AT_A_TIME = 2
_PATIENCE_SECONDS = 60


@dataclasses.dataclass(frozen=True)
class Size:
    """How many domains there are in all, and how many of them are of which sort.

    Of the QEMUs that are to be stopped one has a guest. ``healthy`` guests are never touched.
    """

    domains: int = 200
    stopped: int = 10
    hung: int = 20
    healthy: int = 2

    @property
    def guests(self) -> int:
        return self.hung + self.healthy + 1


@dataclasses.dataclass(frozen=True)
class Way:
    """A way for a guest's agent to hang: ash that ends what there was, begins it, and ends it."""

    name: str
    clear: str
    begin: str
    end: str


_STALLS = "/lab/stalls"
_AGENT_AGAIN = "agent"

WAYS = (
    # The channel stays open, and nobody reads.
    Way("stopped", "", "kill -STOP $(cat /run/agent.pid)", "kill -CONT $(cat /run/agent.pid)"),
    # It reads all there is, and says nothing.
    Way("mute", "agent_end", "agent_script /lab/mute", "agent_end"),
    # It answers the sync, so libvirt takes it for well, and stalls in the command.
    Way("stalls", "agent_end", f"agent_script /lab/fake-agent {_STALLS}", "agent_end"),
)

_FILES = (
    # While libvirt is not there, a read ends at once.
    ("/lab/mute", "while :; do cat > /dev/null; sleep 0.1; done\n"),
    *(
        (f"{_STALLS}/{command}.run", ":\n")
        for command in (
            "guest-get-disks", "guest-get-fsinfo", "guest-get-host-name", "guest-get-osinfo",
            "guest-get-users", "guest-info", "guest-ping",
        )
    ),
)  # fmt: skip

_SCRIPT = """
mkfs.ext4 -q /dev/vdb
mnt ext4 /dev/vdb /mnt/data
dd if=/dev/urandom of=/mnt/data/first bs=64k count=16 2> /dev/null
sync
"""


def guest(name: str) -> Domain:
    """A domain with a small guest: disks like those of the fleet, one with a filesystem."""
    return Domain(
        name=name,
        disks=(fleet.overlay("vda"), Disk("vdb", 64 * MIB, serial=f"{name}-data")),
        script=_SCRIPT,
        files=_FILES,
        small=True,
    )


class Crowd:
    """The domains of one hypervisor; all of them are well until :meth:`hang`."""

    def __init__(
        self, hypervisor: Hypervisor, size: Size, paused: list[Domain], guests: list[Machine]
    ) -> None:
        self.hypervisor = hypervisor
        self.size = size
        #: domains without a guest OS
        self.paused = paused
        #: really booted, their agents answer
        self.healthy = guests[: size.healthy]
        #: really booted, their QEMU is stopped by :meth:`hang`
        self.stopped_guest = guests[size.healthy]
        #: really booted, their agents hang after :meth:`hang`
        self.hung = guests[size.healthy + 1 :]

    @property
    def guests(self) -> list[Machine]:
        return [*self.healthy, self.stopped_guest, *self.hung]

    @property
    def domains(self) -> list[Domain]:
        return [*self.paused, *(machine.spec for machine in self.guests)]

    @property
    def stopped(self) -> list[Domain]:
        """Those whose QEMU is stopped by :meth:`hang`."""
        return [self.stopped_guest.spec, *self.paused[: self.size.stopped - 1]]

    def expected(self, *, hanging: bool) -> tuple[set[str], set[str]]:
        """UUIDs of the domains whose host facts, and whose guest facts, nothing excuses."""
        stopped = {domain.uuid for domain in self.stopped} if hanging else set()
        answering = self.healthy if hanging else self.guests
        host = {domain.uuid for domain in self.domains} - stopped
        return host, {machine.spec.uuid for machine in answering}

    def hang(self) -> None:
        """Stop QEMUs, and let agents hang in each of the ways in turn."""
        for domain in self.stopped:
            os.kill(self.hypervisor.qemu_pid(domain.name), signal.SIGSTOP)
        self._to_each(lambda way: way.clear, lambda way: way.begin)

    def recover(self) -> None:
        """Let all go on, with the real agent in each guest."""
        for domain in self.stopped:
            os.kill(self.hypervisor.qemu_pid(domain.name), signal.SIGCONT)
        self._to_each(lambda way: way.end, lambda way: _AGENT_AGAIN if way.clear else "")

    def _to_each(self, first: object, second: object) -> None:
        """Tell each hung guest two things of its way, with its channel closed between them."""
        chosen = list(zip(self.hung, itertools.cycle(WAYS)))
        for machine, way in chosen:
            if command := first(way):  # type: ignore[operator]
                machine.run(command)
        reopened = [machine for machine, way in chosen if way.clear]
        _await_channels(reopened, "disconnected")
        for machine, way in chosen:
            if command := second(way):  # type: ignore[operator]
                machine.run(command)
        _await_channels(reopened, "connected")

    def restart_daemon(self) -> None:
        """Kill libvirtd and start it again; the domains live on."""
        self.hypervisor.kill_daemon()
        self.start_daemon()

    def start_daemon(self) -> None:
        """Start libvirtd after it was killed, and find the guests again."""
        self.hypervisor.start_daemon()
        for machine in self.guests:
            machine.reconnect()

    def write(self, domain: Domain, target: str = "vdb", *, block: int) -> None:
        """Let a block of 64 KiB of a raw disk be held; a paused QEMU would not do it itself."""
        disk = next(disk for disk in domain.disks if disk.target == target)
        with disk.path(domain.name, self.hypervisor.workdir).open("r+b") as file:
            os.pwrite(file.fileno(), os.urandom(4096) * 16, block * 65536)

    def held_bytes(self, domain: Domain, target: str = "vdb") -> int:
        """What the storage holds for the disk's file, as ``du`` counts."""
        disk = next(disk for disk in domain.disks if disk.target == target)
        return disk.path(domain.name, self.hypervisor.workdir).stat().st_blocks * 512


def _await_channels(machines: list[Machine], state: str) -> None:
    for machine in machines:
        await_true(
            f"{machine.spec.name}'s agent is {state}",
            lambda machine=machine: machine.channel_state() == state,
            _PATIENCE_SECONDS,
        )


@contextlib.contextmanager
def crowd(hypervisor: Hypervisor, size: Size) -> Iterator[Crowd]:
    """Start them; the hypervisor ends them with itself."""
    with fleet.fleet(hypervisor, size.domains - size.guests) as paused:
        specs = [guest(f"guest-{number:02d}") for number in range(size.guests)]
        with concurrent.futures.ThreadPoolExecutor(_BOOTED_AT_A_TIME) as pool:
            guests = list(pool.map(lambda spec: boot(hypervisor, spec), specs))
        _await_channels(guests, "connected")
        try:
            yield Crowd(hypervisor, size, paused, guests)
        finally:
            for machine in guests:
                with contextlib.suppress(libvirt.libvirtError):
                    machine.connection.close()
