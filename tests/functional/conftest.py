# SPDX-License-Identifier: Apache-2.0
"""A private libvirtd with real QEMU processes that run no guest."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator

import libvirt
import pytest

from nova_diskaudit.facts import Process
from nova_diskaudit.host import processes
from nova_diskaudit.lane.lanes import Lanes
from tests.lab.hypervisor import STACKS, Hypervisor

# Against a hang of the tests themselves; nothing is asserted about how long things take.
LONG = 120.0

AGENT = "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"
EMPTY_DRIVE = "<disk type='file' device='cdrom'><target dev='hda' bus='ide'/><readonly/></disk>"


def run(*command: object) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout.strip()


def wait_for(condition: Callable[[], object]) -> None:
    until = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.01)


def file_disk(path: object, target: str = "vda", image_format: str = "qcow2") -> str:
    return (
        f"<disk type='file' device='disk'><driver name='qemu' type='{image_format}'/>"
        f"<source file='{path}'/><target dev='{target}' bus='virtio'/></disk>"
    )


class Machine:
    """One domain, and the QEMU that runs it."""

    def __init__(self, connection: libvirt.virConnect, devices: str) -> None:
        self.uuid = str(uuid.uuid4())
        self.name = f"d{self.uuid[:8]}"
        self.domain = connection.defineXML(
            f"<domain type='qemu'><name>{self.name}</name><uuid>{self.uuid}</uuid>"
            "<memory unit='MiB'>16</memory><vcpu>1</vcpu>"
            "<os><type machine='pc'>hvm</type></os>"
            f"<devices>{devices}<memballoon model='none'/></devices></domain>"
        )

    @property
    def process(self) -> Process:
        return processes.processes()[self.uuid]

    def stop(self) -> Process:
        process = self.process
        os.kill(process.pid, signal.SIGSTOP)
        wait_for(lambda: processes._stat(process.pid)[0] == "T")
        return process

    def go_on(self) -> None:
        with contextlib.suppress(KeyError):
            os.kill(self.process.pid, signal.SIGCONT)

    def remove(self) -> None:
        # A busy QEMU takes two seconds to end when libvirt asks it to.
        with contextlib.suppress(KeyError):
            os.kill(self.process.pid, signal.SIGKILL)
        with contextlib.suppress(libvirt.libvirtError):
            self.domain.destroy()
        self.domain.undefine()


Make = Callable[..., Machine]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "host_only: not on the second stack")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out of the second stack what is marked so."""

    def is_wanted(item: pytest.Item) -> bool:
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        stack = parameters.get("hypervisor", "host")
        return stack == "host" or item.get_closest_marker("host_only") is None

    config.hook.pytest_deselected(items=[item for item in items if not is_wanted(item)])
    items[:] = [item for item in items if is_wanted(item)]


@pytest.fixture(scope="session", autouse=True)
def quiet_libvirt() -> None:
    libvirt.registerErrorHandler(lambda context, error: None, None)


@pytest.fixture(scope="session", params=STACKS)
def hypervisor(request: pytest.FixtureRequest) -> Iterator[Hypervisor]:
    with Hypervisor(request.param) as some:
        yield some


@pytest.fixture(scope="session")
def connection(hypervisor: Hypervisor) -> Iterator[libvirt.virConnect]:
    connection = libvirt.open(hypervisor.uri)
    yield connection
    connection.close()


@pytest.fixture
def make(connection: libvirt.virConnect) -> Iterator[Make]:
    """Define a domain with these devices and start it, unless told otherwise."""
    made: list[Machine] = []

    def machine(devices: str, *, start: bool = True) -> Machine:
        some = Machine(connection, devices)
        made.append(some)
        if start:
            some.domain.create()
        return some

    yield machine
    for some in made:
        some.remove()


@pytest.fixture
def images(hypervisor: Hypervisor) -> pathlib.Path:
    directory = hypervisor.workdir / uuid.uuid4().hex
    directory.mkdir()
    return directory


@pytest.fixture
def lanes(hypervisor: Hypervisor) -> Iterator[Lanes]:
    with Lanes(hypervisor.uri, state_path=None) as some:
        yield some


@pytest.fixture
def busy_workers(hypervisor: Hypervisor) -> Callable[[], int]:
    """How many of libvirtd's workers wait for something."""

    def count() -> int:
        told = run("virt-admin", "-c", hypervisor.admin_uri, "srv-threadpool-info", "libvirtd")
        pool = dict(line.split(":") for line in told.splitlines() if ":" in line)
        numbers = {name.strip(): int(number) for name, number in pool.items()}
        return numbers["nWorkers"] - numbers["freeWorkers"]

    return count
