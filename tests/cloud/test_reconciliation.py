# SPDX-License-Identifier: Apache-2.0
"""What ``nova-diskaudit-reconcile`` finds when Nova, Placement and the hosts disagree.

Servers are booted, then something is done to each of them behind Nova's back:

=============== ======================================== =====================================
server          what is done                             what is found
=============== ======================================== =====================================
as-promised     nothing; it has a swap disk, of which    nothing
                Placement has a whole GiB
resizing        its tenant resizes it, and does not      nothing, though two promises are open
                confirm
grown           its disk is made larger in libvirt       claim-mismatch
vanished        its domain is undefined                  instance-without-domain
twice           its domain is defined on the other       instance-on-two-hosts
                host too
deleted         it is deleted, and its disk is back      orphan-disk-file, with its bytes
(no server)     a domain that says it is Nova's          instance-not-in-nova
(no server)     a directory with a UUID for a name       orphan-disk-file, with its bytes
=============== ======================================== =====================================

All of it is put right again, and nothing is found any more.
"""

from __future__ import annotations

import contextlib
import pathlib
import uuid
from collections.abc import Iterator
from typing import Any

import libvirt
import pytest

from nova_diskaudit.reconcile import judge
from nova_diskaudit.sdk._proxy import DiskAuditProxy
from tests.cloud import tenants, truth
from tests.cloud.cloud import Cloud, Host
from tests.cloud.product import Product
from tests.cloud.tenants import FULL, LARGE, MIB, SMALL, Plan, Server, Tenant

#: Reports count against what was said a minute before, so several of these have to pass.
PATIENCE_SECONDS = 420.0
LEFT_BYTES = 3 * MIB
STALE_SECONDS = 30
HERE, THERE = "compute-1", "compute-2"
PLANS = (
    Plan("as-promised", THERE, FULL, "raw", agent=False),
    Plan("resizing", HERE, SMALL, "qcow2", agent=False),
    Plan("grown", THERE, SMALL, "raw", agent=False),
    Plan("vanished", THERE, SMALL, "raw", agent=False),
    Plan("twice", HERE, SMALL, "qcow2", agent=False),
    Plan("deleted", HERE, SMALL, "qcow2", agent=False),
)

#: host, UUID (None: of the host itself), code
Found = tuple[str, str | None, str]


@contextlib.contextmanager
def _libvirt(host: Host) -> Iterator[libvirt.virConnect]:
    connection = libvirt.open(host.hypervisor.uri)
    try:
        yield connection
    finally:
        connection.close()


class Disorder:
    """The servers of this test, and what is done to them."""

    def __init__(self, cloud: Cloud, product: Product, auditor: DiskAuditProxy) -> None:
        self.cloud, self.product, self.auditor = cloud, product, auditor
        self.here, self.there = cloud.hosts[HERE], cloud.hosts[THERE]
        self.servers: dict[str, Server] = {}
        #: a domain, and a directory, of which Nova knows nothing
        self.ghost, self.stranger = str(uuid.uuid4()), str(uuid.uuid4())
        self._copies: list[tuple[Host, str]] = []

    def id(self, name: str) -> str:
        return self.servers[name].id

    def found(self) -> dict[Found, str]:
        """What is found about these after one more comparison, with its words."""
        with self.product.at_rest():
            told = self.product.reconcile("reconciliation")
        assert told["reconciliation"]["problem"] is None
        mine = {None, self.ghost, self.stranger, *(one.id for one in self.servers.values())}
        return {
            (one.host, one.instance, one.code): one.message
            for one in self.auditor.findings(origin="reconcile")
            if one.code in judge.CODES and one.instance in mine
        }

    # --- behind Nova's back -----------------------------------------------------------------------

    def make(self) -> None:
        compute = self.servers["resizing"].tenant.connection.compute
        compute.resize_server(self.id("resizing"), LARGE.name)
        self.servers["resizing"].await_status("VERIFY_RESIZE")
        self.resize_disk("grown", 2 * SMALL.disk)
        vanished = self.servers["vanished"]
        compute = vanished.tenant.connection.compute
        compute.stop_server(vanished.id)
        vanished.await_status("SHUTOFF")
        with _libvirt(self.there) as connection:
            connection.lookupByUUIDString(vanished.id).undefineFlags(0)
        self.copy("twice", self.id("twice"))
        self.copy("twice", self.ghost)
        deleted = self.servers["deleted"]
        deleted.tenant.connection.compute.delete_server(deleted.id)
        where = self.here.instances / deleted.id
        truth.await_true("end of its directory", lambda: not where.exists())
        self.leave(deleted.id)
        self.leave(self.stranger)

    def resize_disk(self, name: str, gib: int) -> None:
        server = self.servers[name]
        with _libvirt(self.cloud.hosts[server.plan.host]) as connection:
            domain = connection.lookupByUUIDString(server.id)
            domain.blockResize("vda", gib * tenants.GIB, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)

    def copy(self, name: str, as_uuid: str) -> None:
        """Define a server's domain on the other host too, with this UUID."""
        server = self.servers[name]
        with _libvirt(self.here) as connection:
            xml = connection.lookupByUUIDString(server.id).XMLDesc(
                libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE
            )
        number = len(self._copies)
        named = xml.replace("<name>instance-", f"<name>instance-f{number}")
        with _libvirt(self.there) as connection:
            connection.defineXML(named.replace(server.id, as_uuid))
        self._copies.append((self.there, as_uuid))

    def leave(self, name: str) -> None:
        """A directory of an instance, with a disk in it."""
        directory = self.here.instances / name
        directory.mkdir()
        (directory / "disk").write_bytes(b"\xa5" * LEFT_BYTES)

    # --- and right again --------------------------------------------------------------------------

    def mend(self) -> None:
        resizing = self.servers["resizing"]
        resizing.tenant.connection.compute.revert_server_resize(resizing.id)
        resizing.await_status("ACTIVE")
        # A disk does not shrink: its tenant gives the server up.
        grown = self.servers["grown"]
        grown.tenant.connection.compute.delete_server(grown.id)
        vanished = self.servers["vanished"]
        vanished.tenant.connection.compute.start_server(vanished.id)
        vanished.await_status("ACTIVE")
        while self._copies:
            host, name = self._copies.pop()
            with _libvirt(host) as connection:
                connection.lookupByUUIDString(name).undefineFlags(0)
        for name in (self.id("deleted"), self.stranger):
            self._remove(self.here.instances / name)

    def _remove(self, directory: pathlib.Path) -> None:
        (directory / "disk").unlink(missing_ok=True)
        if directory.exists():
            directory.rmdir()

    def generations(self) -> dict[str, int]:
        """What Placement's providers count up when something is written."""
        answer = self.cloud.admin.session.get(
            "/resource_providers",
            endpoint_filter={"service_type": "placement", "interface": "public"},
            microversion="1.14",
        )
        return {one["name"]: one["generation"] for one in answer.json()["resource_providers"]}

    def updates(self) -> dict[str, Any]:
        """When Nova touched each server for the last time."""
        return {
            one.id: (one.updated_at, one.status)
            for one in self.cloud.admin.compute.servers(all_projects=True)
        }


@pytest.fixture(scope="module")
def disorder(
    cloud: Cloud, product: Product, auditor: DiskAuditProxy, acme: Tenant
) -> Iterator[Disorder]:
    made = Disorder(cloud, product, auditor)
    for plan in PLANS:
        made.servers[plan.name] = tenants.boot(acme, plan)
    for server in made.servers.values():
        server.await_status("ACTIVE")
    yield made
    compute = acme.connection.compute
    for server in made.servers.values():
        compute.delete_server(server.id, ignore_missing=True)
    truth.await_true(
        "end of the servers",
        lambda: all(tenants.is_gone(compute, one.id) for one in made.servers.values()),
    )


def test_disorder_is_found_and_ends(disorder: Disorder) -> None:
    disorder.make()
    deleted, stranger = disorder.id("deleted"), disorder.stranger
    expected: set[Found] = {
        (THERE, disorder.id("grown"), "claim-mismatch"),
        (THERE, disorder.id("vanished"), "instance-without-domain"),
        (HERE, disorder.id("twice"), "instance-on-two-hosts"),
        (THERE, disorder.id("twice"), "instance-on-two-hosts"),
        (THERE, disorder.ghost, "instance-not-in-nova"),
        (HERE, deleted, "orphan-disk-file"),
        (HERE, stranger, "orphan-disk-file"),
    }

    def check() -> dict[Found, str]:
        found = disorder.found()
        assert set(found) == expected
        return found

    found = truth.in_time(check, PATIENCE_SECONDS)
    assert "1 GiB claimed, 2 GiB made" in found[THERE, disorder.id("grown"), "claim-mismatch"]
    assert THERE in found[HERE, disorder.id("twice"), "instance-on-two-hosts"]
    for name in (deleted, stranger):
        directory = disorder.here.instances / name
        # As du counts: the directory has a block of its own.
        allocated = sum(path.stat().st_blocks * 512 for path in (directory, directory / "disk"))
        assert f"{name}: {allocated} bytes" in found[HERE, name, "orphan-disk-file"]

    # Nothing that this needs is written by it.
    before = disorder.generations(), disorder.updates()
    assert set(disorder.found()) == expected
    assert (disorder.generations(), disorder.updates()) == before

    disorder.mend()

    def gone() -> None:
        assert disorder.found() == {}

    truth.in_time(gone, PATIENCE_SECONDS)


def test_a_host_that_reports_no_more_is_stale(disorder: Disorder) -> None:
    """Until it reports again. The command is told to be less patient than the service."""

    def is_stale() -> bool:
        disorder.product.reconcile("reconciliation", stale_after=STALE_SECONDS)
        host = disorder.auditor.get_host(THERE)
        return "stale" in {one["code"] for one in host.findings}

    agent = disorder.product.agents[THERE]
    agent.terminate()
    try:
        truth.await_true("a host that is silent", is_stale)
    finally:
        agent.resume()
    truth.await_true("its next report", lambda: not is_stale())
