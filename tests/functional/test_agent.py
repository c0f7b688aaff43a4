# SPDX-License-Identifier: Apache-2.0
"""The agent as a service: a real process beside a real libvirtd and real QEMU processes."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator

import libvirt
import pytest

from tests.bench.processes import tree
from tests.functional import agent_process
from tests.functional.agent_process import Agent
from tests.functional.conftest import AGENT, LONG, Machine, Make, file_disk, run, wait_for
from tests.lab.hypervisor import Hypervisor

TOOL = pathlib.Path(sys.executable).with_name("nova-diskaudit")
# Nothing is seen by a cycle in these tests but the first one: only what an event brought.
RARE = {"agent": {"interval": 3600}}
# It soon finds out that libvirt hangs.
IMPATIENT = {"audit": {"inventory_timeout": 1}}


@pytest.fixture
def machine(make: Make, images: pathlib.Path) -> Machine:
    run("qemu-img", "create", "-f", "raw", images / "base", "16M")
    run("qemu-img", "create", "-f", "qcow2", "-b", images / "base", "-F", "raw", images / "top")
    return make(file_disk(images / "top") + AGENT)


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


class Manager:
    """The service manager's socket, and what it was told."""

    def __init__(self, directory: pathlib.Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.path = str(directory / "notify")
        self._socket.bind(self.path)
        self._socket.settimeout(LONG)

    def await_word(self, word: str) -> str:
        while True:
            said = self._socket.recv(4096).decode()
            if word in said:
                return said

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: pathlib.Path) -> Iterator[Manager]:
    some = Manager(tmp_path)
    yield some
    some.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as some:
        return int(some.getsockname()[1])


def test_an_empty_host_tells_in_every_cycle_how_much_is_free(
    hypervisor: Hypervisor, images: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """Also in those in which the image cache is not searched."""
    options = {"audit": {"instances_path": images}, "agent": {"interval": 1, "full_cycles": 1000}}
    with agent_process.running(tmp_path, hypervisor.uri, options) as agent:
        for number in (1, 2, 3):
            report = agent.await_cycle(number).report
            assert report is not None
            (storage,) = (one for one in report.storages if one.instances_path == str(images))
            numbers = os.statvfs(images)
            assert storage.total_bytes == numbers.f_blocks * numbers.f_frsize
            assert storage.free_bytes is not None


# --- as a service -------------------------------------------------------------------------------


def test_what_the_service_manager_is_told(
    hypervisor: Hypervisor, tmp_path: pathlib.Path, manager: Manager
) -> None:
    agent = Agent(tmp_path, hypervisor.uri)
    agent.environment = {"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "200000"}
    agent.start()
    try:
        manager.await_word("READY=1")
        manager.await_word("WATCHDOG=1")
        manager.await_word("WATCHDOG=1")
        os.kill(agent.pid, signal.SIGHUP)
        assert "MONOTONIC_USEC=" in manager.await_word("RELOADING=1")
        manager.await_word("READY=1")
        os.kill(agent.pid, signal.SIGTERM)
        manager.await_word("STOPPING=1")
        wait_for(lambda: not agent.is_running())
        assert agent.end() == 0
    finally:
        if agent.is_running():
            agent.end(signal.SIGKILL)


def test_a_reload_changes_what_can_be_changed(
    hypervisor: Hypervisor, tmp_path: pathlib.Path
) -> None:
    with agent_process.running(tmp_path, hypervisor.uri, RARE) as agent:
        agent.await_cycle()
        agent.configure({"agent": {"interval": 7}, "guest": {"enabled": False}})
        os.kill(agent.pid, signal.SIGHUP)
        agent.wait_for(lambda: agent.shown().agent.interval_seconds == 7)
        said = agent.wait_for(lambda: "reloaded" in agent.said() and agent.said())
        assert "[guest] enabled changed; it takes effect when the agent is started again" in said
        assert "interval changed" not in said


def test_a_reload_that_cannot_be_used_changes_nothing(
    hypervisor: Hypervisor, tmp_path: pathlib.Path
) -> None:
    with agent_process.running(tmp_path, hypervisor.uri, RARE) as agent:
        agent.await_cycle()
        agent.configure({"agent": {"interval": "often"}})
        os.kill(agent.pid, signal.SIGHUP)
        agent.wait_for(lambda: "Not reloaded, going on as before" in agent.said())
        assert agent.shown().agent.interval_seconds == 3600
        assert "Traceback" not in agent.said()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_it_ends_with_its_lanes_while_libvirt_hangs(
    hypervisor: Hypervisor, tmp_path: pathlib.Path, machine: Machine, how: signal.Signals
) -> None:
    with agent_process.running(tmp_path, hypervisor.uri, IMPATIENT) as agent:
        agent.await_cycle()
        children = tree(agent.pid)
        assert len(children) > 4
        with stopped(hypervisor.pid):
            number = agent.shown().agent.cycle.number
            # A question is on its way that nobody answers.
            wait_for(lambda: any(lane.parked for lane in agent.shown().agent.lanes))
            assert agent.end(how) == (0 if how == signal.SIGTERM else -how)
            wait_for(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in children))
        assert agent.socket.exists() == (how == signal.SIGKILL)
        assert number >= 1
        # What a killed one has left behind is no hindrance.
        agent.start()
        agent.await_cycle()


def test_two_agents_are_one_too_many(hypervisor: Hypervisor, tmp_path: pathlib.Path) -> None:
    with agent_process.running(tmp_path, hypervisor.uri) as agent:
        agent.await_cycle()
        second = Agent(tmp_path, hypervisor.uri)
        second.log = tmp_path / "second.log"
        second.start()
        wait_for(lambda: not second.is_running())
        assert second.end() == 2
        assert second.said().count("\n") == 1
        assert "another agent" in second.said()
        assert agent.next_cycles()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"agent": {"interval": 0}}, "interval"),
        ({"agent": {"state_path": "/proc/nowhere"}}, "state_path"),
        ({"exporter": {"listen": "everywhere"}}, "listen"),
        ({"exporter": {"textfile": "metrics"}}, "textfile"),
        ({"exporter": {"socket_group": "no-such-group"}}, "socket_group"),
        ({"hypervisor": {"connection_uri": "qemu+ssh://elsewhere/system"}}, "remote"),
        ({"publisher": {"enabled": True}}, "auth_type"),
    ],
)
def test_what_cannot_be_used_is_one_line(
    options: dict[str, dict[str, object]], says: str, tmp_path: pathlib.Path
) -> None:
    with agent_process.running(tmp_path, "qemu:///system", options) as agent:
        wait_for(lambda: not agent.is_running())
        assert agent.end() == 2
    said = agent.said().splitlines()
    assert says in said[-1] and "Traceback" not in agent.said(), agent.said()


# --- events -------------------------------------------------------------------------------------


def listening(agent: Agent) -> None:
    """The first cycle is over, and what happens from now on is told."""
    agent.await_cycle()
    agent.wait_for(lambda: agent.shown().agent.events.connected)


def state_of(agent: Agent, machine: Machine) -> str | None:
    found = agent.instance(machine.uuid)
    return found.state if found else None


def targets_of(agent: Agent, machine: Machine) -> set[str]:
    found = agent.instance(machine.uuid)
    return {disk.target for disk in found.disks} if found else set()


def test_a_life_is_followed_event_by_event(
    hypervisor: Hypervisor, make: Make, images: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    run("qemu-img", "create", "-f", "qcow2", images / "a", "1M")
    with agent_process.running(tmp_path, hypervisor.uri, RARE) as agent:
        listening(agent)
        machine = make(file_disk(images / "a"), start=False)
        agent.wait_for(lambda: state_of(agent, machine) == "shutoff")
        machine.domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
        agent.wait_for(lambda: state_of(agent, machine) == "paused")
        machine.domain.resume()
        agent.wait_for(lambda: state_of(agent, machine) == "running")
        os.kill(machine.process.pid, signal.SIGKILL)
        agent.wait_for(lambda: state_of(agent, machine) == "shutoff")
        machine.domain.undefine()
        agent.wait_for(lambda: agent.instance(machine.uuid) is None)
        assert agent.shown().agent.cycle.number == 1
        machine.domain = machine.domain.connect().defineXML(machine_xml(machine))


def machine_xml(machine: Machine) -> str:
    """So that its removal at the end of the test finds something to remove."""
    return (
        f"<domain type='qemu'><name>{machine.name}</name><uuid>{machine.uuid}</uuid>"
        "<memory>16384</memory><os><type>hvm</type></os></domain>"
    )


def test_disks_that_come_and_go(
    hypervisor: Hypervisor, make: Make, images: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    for name in ("a", "b"):
        run("qemu-img", "create", "-f", "raw", images / name, "4M")
    first = file_disk(images / "a", "vda", "raw")
    more = file_disk(images / "b", "sda", "raw").replace("bus='virtio'", "bus='scsi'")
    # A disk on this bus goes without a guest that lets it go.
    machine = make(first + "<controller type='scsi' model='virtio-scsi'/>")
    with agent_process.running(tmp_path, hypervisor.uri, RARE) as agent:
        listening(agent)
        machine.domain.attachDevice(more)
        agent.wait_for(lambda: targets_of(agent, machine) == {"vda", "sda"})
        machine.domain.detachDevice(more)
        agent.wait_for(lambda: targets_of(agent, machine) == {"vda"})
        assert agent.shown().agent.cycle.number == 1


def test_a_block_job_that_ends(
    hypervisor: Hypervisor, machine: Machine, images: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    def backing_bytes() -> int | None:
        found = agent.instance(machine.uuid)
        return found.disks[0].backing_bytes if found else None

    with agent_process.running(tmp_path, hypervisor.uri, RARE) as agent:
        listening(agent)
        assert backing_bytes()
        machine.domain.blockPull("vda", 0, 0)
        agent.wait_for(lambda: backing_bytes() == 0)  # nothing is below it any more
        assert agent.shown().agent.cycle.number == 1


# --- what heals by itself -----------------------------------------------------------------------


def test_libvirt_that_hangs_and_comes_back(
    hypervisor: Hypervisor, make: Make, images: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    run("qemu-img", "create", "-f", "qcow2", images / "a", "1M")
    with agent_process.running(tmp_path, hypervisor.uri, IMPATIENT) as agent:
        listening(agent)
        with stopped(hypervisor.pid):
            shown = agent.wait_for(
                lambda: (shown := agent.shown()).agent.cycle.failed is not None and shown
            )
            assert "inventory-stale" in {one.code for one in shown.report.findings}
            agent.wait_for(lambda: not agent.shown().agent.events.connected)
        # While nobody listened.
        machine = make(file_disk(images / "a"))
        agent.wait_for(lambda: state_of(agent, machine) == "running")
        agent.wait_for(lambda: agent.shown().agent.events.connected)
        shown = agent.next_cycles()
        assert shown.agent.cycle.failed is None and not shown.report.findings


# --- a QEMU that hangs --------------------------------------------------------------------------


def test_a_stopped_qemu_lacks_evidence_and_nothing_else(
    hypervisor: Hypervisor, machine: Machine, make: Make, images: pathlib.Path,
    tmp_path: pathlib.Path, busy_workers: Callable[[], int],
) -> None:  # fmt: skip
    run("qemu-img", "create", "-f", "qcow2", images / "well", "1M")
    well = make(file_disk(images / "well"))
    with agent_process.running(tmp_path, hypervisor.uri, {"agent": {"full_cycles": 1}}) as agent:
        agent.await_cycle()
        machine.stop()
        for shown in (agent.next_cycles(), agent.next_cycles()):
            found = {one.uuid: one for one in shown.report.instances}
            for uuid in (machine.uuid, well.uuid):
                assert found[uuid].as_of >= shown.report.as_of
                assert all(d.host_allocated_bytes is not None for d in found[uuid].disks)
            assert found[machine.uuid].disks[0].libvirt is None
            assert "qemu-unresponsive" in {one.code for one in found[machine.uuid].findings}
            assert found[well.uuid].disks[0].libvirt is not None
            # It was seen to be stopped before it was asked anything.
            assert not shown.agent.quarantine
            assert not any(token.parked for token in shown.agent.tokens)
        wait_for(lambda: busy_workers() == 0)
        machine.go_on()
        shown = agent.next_cycles()
        assert {one.uuid: one for one in shown.report.instances}[machine.uuid].disks[0].libvirt


# --- what stands alone --------------------------------------------------------------------------


def test_what_the_agent_knows_is_there_while_libvirt_hangs(
    hypervisor: Hypervisor, machine: Machine, tmp_path: pathlib.Path
) -> None:
    textfile = tmp_path / "diskaudit.prom"
    options: dict[str, dict[str, object]] = {
        "DEFAULT": {"host": os.uname().nodename},
        "exporter": {"textfile": textfile, "listen": f"127.0.0.1:{free_port()}"},
    }
    with agent_process.running(tmp_path, hypervisor.uri, options) as agent:
        agent.await_cycle()
        with stopped(hypervisor.pid):
            command = [TOOL, "audit", "--from-agent", "--config-file", agent.config]
            done = subprocess.run(
                [*command, "--format", "json"], capture_output=True, timeout=LONG, check=False
            )
            assert done.returncode == 0, done.stderr
            (instance,) = json.loads(done.stdout)["instances"]
            assert instance["uuid"] == machine.uuid
            assert f'instance_uuid="{machine.uuid}"' in agent.metrics()
        assert f'instance_uuid="{machine.uuid}"' in textfile.read_text()
        assert "nova_diskaudit_agent_drops_total 0.0" in textfile.read_text()
        done = subprocess.run(
            [TOOL, "doctor", "--config-file", agent.config],
            capture_output=True,
            timeout=LONG,
            check=False,
        )
        assert done.returncode == 0, done.stdout
