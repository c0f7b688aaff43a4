# SPDX-License-Identifier: Apache-2.0
"""Running guests: idle ones are quiet, whatever they do is seen, and hostile ones harm nobody.

No events are listened to here, so that nothing is seen by chance.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import datetime
import pathlib
import threading
import time
from collections.abc import Callable, Iterator

import libvirt
import pytest

from nova_diskaudit.agent.observatory import Observatory
from nova_diskaudit.agent.quarantine import Quarantine
from nova_diskaudit.audit.options import Deadlines, Options
from nova_diskaudit.lane.lanes import Lanes
from nova_diskaudit.record import Disk, Guest, Instance
from tests.bench import hostile
from tests.functional.conftest import LONG, Make, file_disk, run, wait_for
from tests.lab.domain import MIB, Domain
from tests.lab.domain import Disk as LabDisk
from tests.lab.hypervisor import Hypervisor
from tests.lab.machine import Machine, boot

# A journal is committed every 5 s; then nothing is left to write.
_IDLE_SECONDS = 6
_SCRIPT = """
mkfs.ext4 -q /dev/vda
mnt ext4 /dev/vda /mnt/data
fill /mnt/data/first 2
"""


def guest(name: str, files: tuple[tuple[str, str], ...] = ()) -> Domain:
    disks = (LabDisk("vda", 64 * MIB, serial=name, discard=True), LabDisk("vdb", MIB, "qcow2"))
    return Domain(name, disks, script=_SCRIPT, files=files, small=True)


class Host:
    """What the agent knows of the host of these guests, and how it sees the honest one."""

    def __init__(
        self, machine: Machine, lanes: Lanes, full_cycles: int, agent_seconds: float = 1.0
    ) -> None:
        self.machine = machine
        self.lanes = lanes
        options = Options(
            uri=machine.hypervisor.uri,
            ask_guests=True,
            timeout=LONG,
            deadlines=Deadlines(agent=agent_seconds),
        )
        #: on the clock of the quarantine
        self.seconds = 0.0
        self.quarantine = Quarantine(lambda: self.seconds, first_seconds=60, most_seconds=3600)
        self.observatory = Observatory(lanes, options, "host", self.quarantine, full_cycles)

    def cycle(self) -> bool:
        """Whether this cycle looked at the guest in full."""
        before = self._seen_at()
        assert self.observatory.cycle() is not None
        return self._seen_at() != before

    def settle(self) -> None:
        """Until it is quiet: the guest has nothing left to write, and all of it is proven."""
        wait_for(lambda: time.sleep(0.2) or not self.cycle())

    def _seen_at(self) -> datetime.datetime | None:
        known = self.observatory._known.get(self.machine.spec.uuid)
        return known.sighting.domain.seen_at if known and known.sighting.domain else None

    def instance_of(self, uuid: str) -> Instance:
        report = self.observatory.report()
        assert report is not None
        return next(one for one in report.instances if one.uuid == uuid)

    @property
    def instance(self) -> Instance:
        return self.instance_of(self.machine.spec.uuid)

    @property
    def guest(self) -> Guest:
        return self.instance.guest

    @property
    def disk(self) -> Disk:
        return next(disk for disk in self.instance.disks if disk.target == "vda")


@pytest.fixture(scope="module")
def machines(hypervisor: Hypervisor) -> Iterator[list[Machine]]:
    """An honest guest, and one that will be hostile."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        specs = (guest("honest"), guest("hostile", hostile.FILES))
        some = list(pool.map(lambda spec: boot(hypervisor, spec), specs))
    for machine in some:
        wait_for(lambda machine=machine: machine.channel_state() == "connected")
    yield some
    for machine in some:
        machine.stop()


@pytest.fixture
def machine(machines: list[Machine]) -> Machine:
    return machines[0]


@pytest.fixture
def host(machine: Machine, lanes: Lanes) -> Host:
    return Host(machine, lanes, 10**9)


# --- quiet ------------------------------------------------------------------------------------


def test_an_idle_guest_is_quiet(host: Host) -> None:
    """With a mounted filesystem; what nobody asks it again was still checked."""
    host.settle()
    began = host.guest
    assert began.state == "answered"
    until = time.monotonic() + _IDLE_SECONDS
    while time.monotonic() < until:
        at = datetime.datetime.now(datetime.UTC)
        assert not host.cycle()
        assert host.guest.as_of == began.as_of
        assert host.guest.checked_at is not None and host.guest.checked_at >= at
        assert host.instance.as_of >= at
        time.sleep(0.5)


@pytest.mark.host_only
def test_whatever_a_guest_does_to_its_files_is_seen(host: Host, machine: Machine) -> None:
    host.settle()
    used = host.disk.guest_used_bytes
    assert used is not None
    machine.run("cp /mnt/data/first /mnt/data/second; sync")
    assert host.cycle()
    more = host.disk.guest_used_bytes
    assert more is not None and more - used >= 2 * MIB
    host.settle()
    machine.run("rm /mnt/data/second; sync")
    assert host.cycle()
    assert host.disk.guest_used_bytes == used
    host.settle()
    held = host.disk.host_allocated_bytes
    machine.run("fstrim /mnt/data")
    assert host.cycle()
    assert held is not None and (host.disk.host_allocated_bytes or 0) <= held - 2 * MIB


def test_an_agent_that_comes_and_goes_is_seen_without_events(host: Host, machine: Machine) -> None:
    host.settle()
    machine.run("agent_end")
    wait_for(lambda: machine.channel_state() == "disconnected")
    assert host.cycle()
    assert host.guest.state == "agent-disconnected"
    host.settle()
    assert host.guest.state == "agent-disconnected"
    machine.run("agent")
    wait_for(lambda: machine.channel_state() == "connected")
    assert host.cycle()
    assert host.guest.state == "answered"


_NAMESPACE = "http://openstack.org/xmlns/libvirt/nova/1.1"


def say_guest_stats(machine: Machine, word: str | None) -> None:
    """Nova's metadata with this word in the flavor's extra specs, as a resize writes it."""
    spec = f'<extraSpec name="diskaudit:guest_stats">{word}</extraSpec>' if word else ""
    flavor = f'<flavor name="lab.small"><extraSpecs>{spec}</extraSpecs></flavor>'
    machine.domain.setMetadata(
        libvirt.VIR_DOMAIN_METADATA_ELEMENT,
        f'<instance xmlns="{_NAMESPACE}">{flavor}</instance>',
        "nova",
        _NAMESPACE,
        libvirt.VIR_DOMAIN_AFFECT_LIVE,
    )


@pytest.fixture
def saying(machine: Machine) -> Iterator[Callable[[str], None]]:
    yield lambda word: say_guest_stats(machine, word)
    say_guest_stats(machine, None)


def test_the_word_of_the_flavor_holds_from_the_next_cycle_on(
    host: Host, machine: Machine, saying: Callable[[str], None]
) -> None:
    host.settle()
    answered = host.guest
    assert answered.state == "answered"
    saying("off")
    assert host.cycle()
    assert (host.guest.state, host.guest.as_of) == ("guest-stats-off", answered.as_of)
    assert host.disk.guest_used_bytes is None
    assert host.disk.host_allocated_bytes is not None
    host.settle()
    assert host.guest.state == "guest-stats-off"
    saying("required")
    assert host.cycle()
    assert host.guest.state == "answered"
    assert "guest-stats-missing" not in {one.code for one in host.instance.findings}
    machine.run("agent_end")
    wait_for(lambda: machine.channel_state() == "disconnected")
    assert host.cycle()
    assert {one.code for one in host.instance.findings} >= {
        "agent-disconnected",
        "guest-stats-missing",
    }
    machine.run("agent")
    wait_for(lambda: machine.channel_state() == "connected")
    assert host.cycle()
    assert host.guest.state == "answered"


@pytest.mark.host_only
def test_a_freeze_is_asked_about_until_it_is_over(host: Host, machine: Machine) -> None:
    host.settle()
    machine.domain.fsFreeze()
    try:
        assert host.cycle()
        for _ in range(3):
            time.sleep(0.1)
            assert host.cycle()
            assert host.guest.state == "agent-frozen"
    finally:
        machine.domain.fsThaw()
    assert host.cycle()
    assert host.guest.state == "answered"


@pytest.mark.host_only
def test_what_leaves_no_trace_is_seen_when_the_turn_of_a_full_look_comes(
    machine: Machine, lanes: Lanes
) -> None:
    """An agent that was started anew with other options, while no events arrived."""

    def restart(options: str) -> None:
        machine.run("agent_end")
        wait_for(lambda: machine.channel_state() == "disconnected")
        machine.run(f"agent {options}")
        wait_for(lambda: machine.channel_state() == "connected")

    host = Host(machine, lanes, full_cycles=4)
    restart("-b guest-get-fsinfo")
    host.cycle()
    assert host.guest.state == "agent-refused"
    host.settle()
    restart("")
    cycles = 0
    while host.guest.state == "agent-refused":
        cycles += 1
        assert cycles <= host.observatory.full_cycles
        host.cycle()
    assert host.guest.state == "answered"


# --- hostile ----------------------------------------------------------------------------------

# libvirt passes on 4 MiB, which a lane holds as bytes, as text and once more on the way.
_MOST_GROWTH_BYTES = 24 * MIB
#: that a few representatives are enough of on a second stack
_REPRESENTATIVES = ("endless", "half")
_LONG = ("endless", "huge")
_UNUSABLE = ("agent-timeout", "agent-reply-invalid")


@pytest.fixture
def liar(machines: list[Machine]) -> Iterator[Machine]:
    """Its real agent answers before and afterwards."""
    machine = machines[1]
    yield machine
    machine.run("agent_end")
    wait_for(lambda: machine.channel_state() == "disconnected")
    machine.run("agent")
    wait_for(lambda: machine.channel_state() == "connected")


def misbehave(machine: Machine, way: hostile.Way) -> None:
    machine.run(way.clear)
    wait_for(lambda: machine.channel_state() == "disconnected")
    machine.run(way.begin)
    if way.settles:
        wait_for(lambda: machine.channel_state() == "connected")


class Peaks:
    """The most memory that each lane's process ever held, by its kind, while this is entered."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.bytes: dict[str, int] = {}

    def __enter__(self) -> Peaks:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.wait(0.01):
            for child in list(self._lanes._supervisor._children):
                with contextlib.suppress(OSError, ValueError):
                    status = pathlib.Path(f"/proc/{child.pid}/status").read_text()
                    (line,) = (one for one in status.splitlines() if one.startswith("VmHWM"))
                    peak = int(line.split()[1]) * 1024
                    self.bytes[child.kind] = max(peak, self.bytes.get(child.kind, 0))


def everybody_else_is_fresh(host: Host, liar: Machine, since: datetime.datetime) -> None:
    report = host.observatory.report()
    assert report is not None
    for instance in report.instances:
        assert instance.as_of >= since, instance.domain
        assert None not in [disk.host_allocated_bytes for disk in instance.disks]
        assert all(disk.libvirt and disk.libvirt.as_of >= since for disk in instance.disks)
    assert host.guest.state == "answered"
    assert host.guest.as_of is not None and host.guest.as_of >= since


def tokens_are_back(lanes: Lanes) -> bool:
    return not any(token.active or token.parked or token.orphaned for token in lanes.tokens())


@pytest.mark.parametrize(
    "way",
    [
        pytest.param(
            way,
            id=way.name,
            marks=() if way.name in _REPRESENTATIVES else pytest.mark.host_only,
        )
        for way in hostile.WAYS
    ],
)
def test_a_hostile_guest_harms_nobody(
    machine: Machine,
    liar: Machine,
    lanes: Lanes,
    make: Make,
    images: pathlib.Path,
    way: hostile.Way,
) -> None:
    # What is long is waited for until it has all arrived.
    host = Host(machine, lanes, 10**9, LONG if way.name in _LONG else 1.0)
    run("qemu-img", "create", "-q", "-f", "qcow2", images / "disk", "4M")
    make(file_disk(images / "disk"))
    with Peaks(host.lanes) as before:
        host.observatory.cycle()
    misbehave(liar, way)
    with Peaks(host.lanes) as after:
        for _ in range(2):
            host.observatory.touch(None)
            since = datetime.datetime.now(datetime.UTC)
            host.observatory.cycle()
            everybody_else_is_fresh(host, liar, since)
            spoken = host.instance_of(liar.spec.uuid).guest
            # Garbage around an answer is skipped by libvirt; in a storm the agent may be gone.
            if way.name not in ("garbage", "storm"):
                assert spoken.state in (_UNUSABLE[1:] if way.name in _LONG else _UNUSABLE)
        wait_for(lambda: tokens_are_back(host.lanes))
    for kind, peak in after.bytes.items():
        assert peak - before.bytes[kind] <= _MOST_GROWTH_BYTES, kind


@pytest.mark.host_only
def test_the_breaker_opens_for_twice_as_long_at_each_miss(host: Host, liar: Machine) -> None:
    (half,) = (way for way in hostile.WAYS if way.name == "half")
    uuid = liar.spec.uuid
    misbehave(liar, half)
    host.observatory.cycle()
    for count, seconds in enumerate((60, 120, 240), start=1):
        (entry,) = host.quarantine.status()
        assert (entry.uuid, entry.part, entry.failures) == (uuid, "guest", count)
        assert host.quarantine.next_due_seconds() == seconds
        # It is not asked by cycles, however often its disks or its channel change.
        asked = _asked(liar)
        host.observatory.touch(uuid)
        host.observatory.cycle()
        assert host.instance_of(uuid).guest.state == entry.code
        assert _asked(liar) == asked
        host.seconds += seconds
        assert host.quarantine.due() == [(uuid, "guest")]
        host.observatory.refresh({uuid}, retry="guest")
        assert _asked(liar) > asked
        wait_for(lambda: tokens_are_back(host.lanes))
    # The first answer closes it.
    liar.run("agent_end")
    wait_for(lambda: liar.channel_state() == "disconnected")
    liar.run("agent")
    wait_for(lambda: liar.channel_state() == "connected")
    host.observatory.refresh({uuid}, retry="guest")
    assert host.instance_of(uuid).guest.state == "answered"
    assert host.quarantine.status() == ()


def _asked(machine: Machine) -> int:
    """How many commands the guest's own log of its agent counts."""
    return int(machine.run("grep -c guest-get-fsinfo /run/agent.log || true").split()[0])
