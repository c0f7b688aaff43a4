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
from collections.abc import Iterator, Sequence

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
    """A way for a guest's agent to hang: ash that ends what there was, begins it, and ends it.

    Without ``clear`` the real agent lives on. ``settles``: the channel stays open afterwards.
    """

    name: str
    clear: str
    begin: str
    end: str
    settles: bool = True


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


Files = tuple[tuple[str, str], ...]


def guest(name: str, files: Files = ()) -> Domain:
    """A domain with a small guest: disks like those of the fleet, one with a filesystem."""
    return Domain(
        name=name,
        disks=(fleet.overlay("vda"), Disk("vdb", 64 * MIB, serial=f"{name}-data")),
        script=_SCRIPT,
        files=(*_FILES, *files),
        small=True,
    )


class Crowd:
    """The domains of one hypervisor; all of them are well at first."""

    def __init__(
        self, hypervisor: Hypervisor, size: Size, paused: list[Domain], guests: list[Machine]
    ) -> None:
        self.hypervisor = hypervisor
        self.size = size
        #: domains without a guest OS
        self.paused = paused
        #: really booted, their agents answer
        self.healthy = guests[: size.healthy]
        #: really booted, to be stopped
        self.stopped_guest = guests[size.healthy]
        #: really booted, their agents are to hang
        self.hung = guests[size.healthy + 1 :]
        self._ways: list[tuple[Machine, Way]] = []

    @property
    def guests(self) -> list[Machine]:
        return [*self.healthy, self.stopped_guest, *self.hung]

    @property
    def domains(self) -> list[Domain]:
        return [*self.paused, *(machine.spec for machine in self.guests)]

    @property
    def stopped(self) -> list[Domain]:
        """Those whose QEMU is the one to be stopped."""
        return [self.stopped_guest.spec, *self.paused[: self.size.stopped - 1]]

    @property
    def names(self) -> dict[str, str]:
        """The domains' names by UUID."""
        return {domain.uuid: domain.name for domain in self.domains}

    def never_touched(self) -> tuple[set[str], set[str]]:
        """UUIDs of the domains whose host facts, and whose guest facts, nothing ever excuses."""
        stopped = {domain.uuid for domain in self.stopped}
        return set(self.names) - stopped, {machine.spec.uuid for machine in self.healthy}

    def stop_hypervisors(self) -> None:
        """Stop QEMUs, as a dead storage or a debugger does."""
        self._signal(signal.SIGSTOP)

    def continue_hypervisors(self) -> None:
        """Let them go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, sig: signal.Signals) -> None:
        for domain in self.stopped:
            os.kill(self.hypervisor.qemu_pid(domain.name), sig)

    def hang(self, ways: Sequence[Way] = WAYS) -> None:
        """Let the agents of :attr:`hung` hang, or misbehave, in each of the ways in turn."""
        chosen = list(zip(self.hung, itertools.cycle(ways)))
        self._to_each([(m, way.clear) for m, way in chosen], "disconnected")
        self._to_each([(m, way.begin) for m, way in chosen], None)
        _await_channels([m for m, way in chosen if way.clear and way.settles], "connected")
        self._ways = chosen

    def recover(self) -> None:
        """Put the real agent back into each guest."""
        self._to_each([(m, way.end) for m, way in self._ways if way.clear], "disconnected")
        self._to_each([(m, way.end) for m, way in self._ways if not way.clear], None)
        again = [m for m, way in self._ways if way.clear]
        self._to_each([(m, _AGENT_AGAIN) for m in again], "connected")
        self._ways = []

    def _to_each(self, commands: list[tuple[Machine, str]], state: str | None) -> None:
        told = [machine for machine, command in commands if command]
        for machine, command in commands:
            if command:
                machine.run(command)
        if state is not None:
            _await_channels(told, state)

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
def crowd(hypervisor: Hypervisor, size: Size, files: Files = (), rom: str = "") -> Iterator[Crowd]:
    """Start them; the hypervisor ends them with itself.

    :param files: more files of each guest, path and content.
    :param rom: see :func:`tests.bench.fleet.member`.
    """
    with fleet.fleet(hypervisor, size.domains - size.guests, rom) as paused:
        specs = [guest(f"guest-{number:02d}", files) for number in range(size.guests)]
        with concurrent.futures.ThreadPoolExecutor(_BOOTED_AT_A_TIME) as pool:
            guests = list(pool.map(lambda spec: boot(hypervisor, spec), specs))
        _await_channels(guests, "connected")
        try:
            yield Crowd(hypervisor, size, paused, guests)
        finally:
            for machine in guests:
                with contextlib.suppress(libvirt.libvirtError):
                    machine.connection.close()
