# SPDX-License-Identifier: Apache-2.0
"""The pollsters of Ceilometer in Ceilometer: in its classes, and in the program itself."""

from __future__ import annotations

import pathlib
import time
from collections.abc import Iterator

import pytest

from tests.functional import agent_process
from tests.functional.agent_process import Agent
from tests.lab.domain import MIB, Disk, Domain
from tests.lab.hypervisor import Hypervisor
from tests.lab.machine import Machine, boot
from tests.plugins import inside
from tests.services import ceilometer
from tests.services.ceilometer import Ceilometer

HERE = pathlib.Path(__file__).parent / "in_ceilometer"
HELD, USED = "diskaudit.host.allocated", "diskaudit.guest.used"
_SCRIPT = """
mkfs.ext4 -q /dev/vda
mnt ext4 /dev/vda /mnt/data
fill /mnt/data/first 2
"""
#: Against a hang of the tests themselves.
_LONG = 90.0


@pytest.mark.parametrize("name", sorted(file.name for file in HERE.glob("test_*.py")))
def test_in_ceilometer(installed: pathlib.Path, name: str) -> None:
    said = inside.passes(ceilometer.environment(), installed, HERE / name)
    assert " passed" in said and " skipped" not in said


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """A guest of Nova's, as its metadata tell, with an agent that answers, and a bare disk."""
    disks = (Disk("vda", 64 * MIB, serial="data", discard=True), Disk("vdb", MIB, "qcow2"))
    with Hypervisor() as hypervisor:
        machine = boot(hypervisor, Domain("polled", disks, script=_SCRIPT, small=True))
        yield machine
        machine.stop()


@pytest.fixture
def agent(machine: Machine, tmp_path: pathlib.Path) -> Iterator[Agent]:
    with agent_process.running(tmp_path, machine.hypervisor.uri) as running:
        running.wait_for(lambda: _guest_used(running, machine))
        yield running


def _guest_used(agent: Agent, machine: Machine) -> int | None:
    found = agent.instance(machine.spec.uuid)
    return found.disks[0].guest_used_bytes if found else None


def test_the_program_exports_what_host_and_guest_say(
    machine: Machine, agent: Agent, installed: pathlib.Path
) -> None:
    uuid, workdir = machine.spec.uuid, machine.hypervisor.workdir
    with Ceilometer(
        libvirt=machine.hypervisor.uri, agent=agent.socket, installed=installed
    ) as polling:

        def look() -> None:
            files = {disk.target: disk.path("polled", workdir) for disk in machine.spec.disks}
            held = {
                f"{uuid}-{target}": float(file.stat().st_blocks * 512)
                for target, file in files.items()
            }
            used = _guest_used(agent, machine)
            found = polling.metrics()
            assert found.get(HELD) == held
            # The bare disk has no number, which is not 0.
            assert found.get(USED) == {f"{uuid}-vda": used}
            # Ceilometer's own is of the same resources.
            assert set(found.get("disk.device.capacity", ())) == set(held)

        _in_time(look)
        machine.run("cp /mnt/data/first /mnt/data/second; sync")
        _in_time(look)
        agent.end()
        _in_time(lambda: _nothing(polling))
        assert polling.said().count("No samples of nova-diskaudit") == 1
        agent.start()
        agent.wait_for(lambda: _guest_used(agent, machine))
        _in_time(look)


def _nothing(polling: Ceilometer) -> None:
    found = polling.metrics()
    assert not {HELD, USED} & set(found) and "disk.device.capacity" in found


def _in_time(check: object) -> None:
    until = time.monotonic() + _LONG
    while True:
        try:
            return check()  # type: ignore[operator]
        except AssertionError:
            if time.monotonic() > until:
                raise
        time.sleep(0.3)
