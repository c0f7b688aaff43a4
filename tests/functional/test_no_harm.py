# SPDX-License-Identifier: Apache-2.0
"""The commands beside hung storage and stopped QEMUs: others are neither slowed nor left out.

Real libvirtd, real QEMU, and storage that really hangs: a FUSE filesystem whose process is
stopped. What is held against each other is measured in the same minute on the same host.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import libvirt
import pytest

from tests.bench.fleet import fleet
from tests.lab.domain import GIB, Disk, Domain
from tests.lab.hypervisor import Hypervisor

TOOL = os.path.join(os.path.dirname(sys.executable), "nova-diskaudit")
# Nobody should wait so long; a command that does hangs.
HANG_SECONDS = 120
# The commands wait this long for the storage, several times; a freeze lasts longer.
STORAGE_DEADLINE_SECONDS = 2.0


@pytest.fixture(scope="module")
def hypervisor() -> Iterator[Hypervisor]:
    with Hypervisor("host") as started:
        yield started


@contextlib.contextmanager
def hung_storage(hypervisor: Hypervisor) -> Iterator[tuple[pathlib.Path, Any]]:
    """A FUSE mount, and a context in which nothing on it answers."""
    below, mount = hypervisor.workdir / "below", hypervisor.workdir / "mount"
    below.mkdir()
    mount.mkdir()
    fuse = subprocess.Popen(["bindfs", "-f", "--no-allow-other", str(below), str(mount)])
    try:
        until = time.monotonic() + 20
        while not os.path.ismount(mount):
            assert time.monotonic() < until and fuse.poll() is None, "bindfs did not mount"
            time.sleep(0.05)

        @contextlib.contextmanager
        def hung() -> Iterator[None]:
            fuse.send_signal(signal.SIGSTOP)
            try:
                yield
            finally:
                fuse.send_signal(signal.SIGCONT)

        yield mount, hung
    finally:
        fuse.send_signal(signal.SIGCONT)
        subprocess.run(["umount", "--lazy", str(mount)], check=False)
        fuse.terminate()
        fuse.wait(10)


def run(*arguments: str) -> tuple[int, Any]:
    done = subprocess.run([TOOL, *arguments], capture_output=True, timeout=HANG_SECONDS)
    assert done.returncode in (0, 1), done.stderr.decode()
    return done.returncode, json.loads(done.stdout)


def audit(hypervisor: Hypervisor, *more: str) -> tuple[int, dict[str, Any]]:
    status, report = run("audit", "--connect", hypervisor.uri, "--format", "json", *more)
    return status, {instance["domain"]: instance for instance in report["instances"]}


def codes(of: dict[str, Any]) -> set[str]:
    found = [*of["findings"], *(f for disk in of["disks"] for f in disk["findings"])]
    return {finding["code"] for finding in found}


def busy_workers(hypervisor: Hypervisor) -> int:
    """Ordinary workers of libvirtd that are held by a call."""
    told = subprocess.run(
        ["virt-admin", "-c", hypervisor.admin_uri, "srv-threadpool-info", "libvirtd"],
        stdout=subprocess.PIPE,
        check=True,
        timeout=HANG_SECONDS,
    ).stdout.decode()
    pool = {
        line.split(":")[0].strip(): line.split(":")[1].strip()
        for line in told.splitlines()
        if ":" in line
    }
    return int(pool["nWorkers"]) - int(pool["freeWorkers"])


class Lister(threading.Thread):
    """Another client that lists domains all the time; a call that hangs makes its time grow."""

    def __init__(self, uri: str) -> None:
        super().__init__(daemon=True)
        self._uri = uri
        self._end = threading.Event()
        self.seconds: list[float] = []

    def run(self) -> None:
        connection = libvirt.openReadOnly(self._uri)
        while not self._end.is_set():
            begun = time.perf_counter()
            connection.listAllDomains()
            self.seconds.append(time.perf_counter() - begun)
            time.sleep(0.005)
        connection.close()

    def __enter__(self) -> Lister:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self.join(HANG_SECONDS)


def start(hypervisor: Hypervisor, domain: Domain) -> None:
    for disk in domain.disks:
        disk.make(domain.name, hypervisor)
    connection = libvirt.open(hypervisor.uri)
    try:
        connection.defineXML(domain.xml(hypervisor.workdir, None))
        if domain.started:
            found = connection.lookupByName(domain.name)
            found.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    finally:
        connection.close()


def test_hung_storage_freezes_nobody_and_hides_nobody(hypervisor: Hypervisor) -> None:
    with hung_storage(hypervisor) as (mount, hung):
        away = [
            Domain(name=name, disks=(Disk("vda", GIB, source=f"mount/{name}.raw"),), started=up)
            for name, up in (("hung-running", True), ("hung-shutoff", False))
        ]
        well = Domain(name="well", disks=(Disk("vda", GIB),))
        for domain in (*away, well):
            start(hypervisor, domain)
        status, seen = audit(hypervisor)
        assert status == 0, seen
        assert mount.joinpath("hung-running.raw").exists()

        with hung():
            with Lister(hypervisor.uri) as during:
                status, seen = audit(hypervisor)
                stories = [
                    run("explain", name, "vda", "--json", "--connect", hypervisor.uri)[1]
                    for name in ("hung-running", "hung-shutoff")
                ]
            assert status == 1
            for domain in away:
                assert "storage-unresponsive" in codes(seen[domain.name])
                assert seen[domain.name]["disks"][0]["host_allocated_bytes"] is None
            for story in stories:
                assert story["domblkinfo"]["measured"] is None
                assert story["domblkinfo"]["reason"]
            assert seen["well"]["disks"][0]["libvirt"] is not None
            assert "storage-unresponsive" not in codes(seen["well"])
            # A frozen daemon answers nobody before the storage does: one list call would have
            # lasted as long as all of it.
            assert max(during.seconds) < sum(during.seconds) / 4
            assert max(during.seconds) < STORAGE_DEADLINE_SECONDS
            assert busy_workers(hypervisor) == 0


def test_stopped_hypervisors_keep_their_host_numbers_and_pin_no_worker(
    hypervisor: Hypervisor,
) -> None:
    with fleet(hypervisor, 15) as members:
        stopped = members[:10]
        pids = [hypervisor.qemu_pid(domain.name) for domain in stopped]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            for _ in range(2):
                status, seen = audit(hypervisor)
                assert status == 1
                assert busy_workers(hypervisor) == 0
            for domain in members:
                disks = {disk["target"]: disk for disk in seen[domain.name]["disks"]}
                path = domain.disks[1].path(domain.name, hypervisor.workdir)
                assert disks["vdb"]["host_allocated_bytes"] == path.stat().st_blocks * 512
                assert disks["vdb"]["virtual_bytes"] == GIB
                is_stopped = domain in stopped
                assert ("qemu-unresponsive" in codes(seen[domain.name])) is is_stopped
                assert (disks["vdb"]["libvirt"] is None) is is_stopped
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
        _, seen = audit(hypervisor)
        assert not any("qemu-unresponsive" in codes(seen[domain.name]) for domain in members)


def test_a_read_only_socket_gives_everything_but_the_guests(hypervisor: Hypervisor) -> None:
    start(hypervisor, Domain(name="awake", disks=(Disk("vda", GIB),)))
    connection = libvirt.open(hypervisor.uri)
    connection.lookupByName("awake").resume()
    connection.close()
    done = subprocess.run(
        [TOOL, "audit", "--connect", hypervisor.uri_readonly, "--format", "json"],
        stdout=subprocess.PIPE,
        timeout=HANG_SECONDS,
    )
    (awake,) = [i for i in json.loads(done.stdout)["instances"] if i["domain"] == "awake"]
    # Nobody opened the channel in a domain without an OS; libvirt says so in the XML.
    assert awake["guest"]["state"] in ("agent-disconnected", "guest-not-permitted")
    assert awake["disks"][0]["libvirt"] is not None


def test_an_audit_leaves_no_process_behind(hypervisor: Hypervisor) -> None:
    audit(hypervisor)
    left = [
        entry.name
        for entry in pathlib.Path("/proc").iterdir()
        if entry.name.isdigit()
        and b"nova_diskaudit.lane" in _command(entry)
        and hypervisor.uri.encode() in _command(entry)
    ]
    assert left == []


def _command(entry: pathlib.Path) -> bytes:
    with contextlib.suppress(OSError):
        return (entry / "cmdline").read_bytes()
    return b""
