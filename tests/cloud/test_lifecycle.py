# SPDX-License-Identifier: Apache-2.0
"""What must be seen of a server after each thing that its tenant or an operator does to it.

=============== ================= ======== ======= ===== ==========================================
what is done    Nova says         domain   flavor  guest what lies beside it on the host
=============== ================= ======== ======= ===== ==========================================
(boot)          ACTIVE            running  full    yes   nothing
write 40 MiB    ACTIVE            running  full    yes   nothing; held and used have grown
stop            SHUTOFF           shutoff  full    no    nothing
start           ACTIVE            running  full    yes   nothing
suspend         SUSPENDED         shutoff  full    no    its memory, as saved domain
resume          ACTIVE            running  full    yes   nothing
snapshot        ACTIVE            running  full    yes   nothing; its disks are those it had
rebuild         ACTIVE            running  full    yes   nothing; what it had written is gone
resize          VERIFY_RESIZE     running  large   yes   ``<uuid>_resize``, the disks as they were
revert          ACTIVE            running  full    yes   nothing
resize          VERIFY_RESIZE     running  large   yes   ``<uuid>_resize``
confirm         ACTIVE            running  large   yes   nothing
shelve          SHELVED           shutoff  large   no    nothing: it still has its disks
offload         SHELVED_OFFLOADED (none)                 nothing: nobody sees it, it holds nothing
unshelve        ACTIVE            running  large   yes   nothing
delete          (none)            (none)                 nothing: nobody sees it, it holds nothing
=============== ================= ======== ======= ===== ==========================================

Whenever there is a domain, every number is that of host and guest, its owner sees it as verified,
and the other tenant does not see it.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import time
from collections.abc import Callable
from typing import Any

import libvirt
import libvirt_qemu
import pytest

from nova_diskaudit.sdk._proxy import DiskAuditProxy
from tests.cloud import seen, tenants, truth
from tests.cloud.cloud import Cloud
from tests.cloud.product import Product
from tests.cloud.tenants import FULL, LARGE, MIB, Flavor, Plan, Server, Tenant


class Story:
    """The server to which all this happens, and what was seen of it last."""

    def __init__(self, cloud: Cloud, product: Product, server: Server, other: Tenant) -> None:
        self.cloud = cloud
        self.server = server
        self.host = cloud.hosts[server.plan.host]
        self.owner = product.disk_audit(server.tenant.reader)
        self.other = product.disk_audit(other.reader)
        self.compute = server.tenant.connection.compute
        self.admin = cloud.admin.compute
        self.last: seen.Instance | None = None

    def run(self, command: str) -> None:
        """Run a command in the guest, by its agent."""
        shell = {"path": "/bin/sh", "arg": ["-c", command], "capture-output": True}
        connection = libvirt.open(self.host.hypervisor.uri)
        domain = connection.lookupByUUIDString(self.server.id)

        def ask(name: str, **arguments: Any) -> Any:
            request = json.dumps({"execute": name, "arguments": arguments})
            return json.loads(libvirt_qemu.qemuAgentCommand(domain, request, 10, 0))["return"]

        try:
            pid = ask("guest-exec", **shell)["pid"]
            until = time.monotonic() + truth.LONG
            while not (status := ask("guest-exec-status", pid=pid))["exited"]:
                assert time.monotonic() < until, f"no end of {command}"
                time.sleep(0.2)
            said = base64.b64decode(status.get("err-data", ""))
            assert status["exitcode"] == 0, said.decode(errors="replace")
        finally:
            connection.close()

    def write(self) -> None:
        self.run(". /lab/lib.sh; fill /mnt/root/more 40")

    def snapshot(self) -> None:
        image = self.compute.create_server_image(self.server.id, "of-web")
        self.server.tenant.connection.image.wait_for_status(image, "active", wait=120)

    def rebuild(self) -> None:
        image = self.server.tenant.connection.image.find_image("qcow2-with-agent")
        self.compute.rebuild_server(self.server.id, image=image.id)
        # It is ACTIVE before it begins, too.
        truth.await_true("begin of the rebuild", lambda: self.server.status() == "REBUILD")

    def offload(self) -> None:
        body = {"shelveOffload": None}
        answer = self.admin.post(f"/servers/{self.server.id}/action", json=body)
        assert answer.status_code == 202, answer.text


@dataclasses.dataclass(frozen=True)
class Step:
    """A row of the table."""

    name: str
    act: Callable[[Story], object]
    #: Nova's word when it is over; None when Nova forgets it
    status: str | None
    #: the domain's state; None without a domain
    state: str | None
    flavor: Flavor = FULL
    leftover: str | None = None
    saved: bool = False


STEPS = (
    Step("boot", lambda it: None, "ACTIVE", "running"),
    Step("write", Story.write, "ACTIVE", "running"),
    Step("stop", lambda it: it.compute.stop_server(it.server.id), "SHUTOFF", "shutoff"),
    Step("start", lambda it: it.compute.start_server(it.server.id), "ACTIVE", "running"),
    Step(
        "suspend",
        lambda it: it.compute.suspend_server(it.server.id),
        "SUSPENDED",
        "shutoff",
        saved=True,
    ),
    Step("resume", lambda it: it.compute.resume_server(it.server.id), "ACTIVE", "running"),
    Step("snapshot", Story.snapshot, "ACTIVE", "running"),
    Step("rebuild", Story.rebuild, "ACTIVE", "running"),
    Step(
        "resize-to-revert",
        lambda it: it.compute.resize_server(it.server.id, LARGE.name),
        "VERIFY_RESIZE",
        "running",
        LARGE,
        leftover="_resize",
    ),
    Step("revert", lambda it: it.compute.revert_server_resize(it.server.id), "ACTIVE", "running"),
    Step(
        "resize-to-confirm",
        lambda it: it.compute.resize_server(it.server.id, LARGE.name),
        "VERIFY_RESIZE",
        "running",
        LARGE,
        leftover="_resize",
    ),
    Step(
        "confirm",
        lambda it: it.compute.confirm_server_resize(it.server.id),
        "ACTIVE",
        "running",
        LARGE,
    ),
    Step(
        "shelve",
        lambda it: it.compute.shelve_server(it.server.id),
        "SHELVED",
        "shutoff",
        LARGE,
    ),
    Step("offload", Story.offload, "SHELVED_OFFLOADED", None, LARGE),
    Step(
        "unshelve",
        lambda it: it.compute.unshelve_server(it.server.id),
        "ACTIVE",
        "running",
        LARGE,
    ),
    Step("delete", lambda it: it.compute.delete_server(it.server.id), None, None, LARGE),
)


@pytest.fixture(scope="module")
def story(cloud: Cloud, product: Product, acme: Tenant, globex: Tenant) -> Story:
    plan = Plan("traveller", "compute-1", FULL, "qcow2", agent=True)
    server = tenants.boot(acme, plan)
    server.await_status("ACTIVE")
    return Story(cloud, product, server, globex)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_a_server_is_followed(story: Story, auditor: DiskAuditProxy, step: Step) -> None:
    server = story.server
    step.act(story)
    if step.status is None:
        truth.await_true("end of the server", lambda: tenants.is_gone(story.compute, server.id))
    else:
        server.await_status(step.status)
    before = story.last
    if step.state is None:
        truth.in_time(lambda: _nobody_sees(story, auditor))
        story.last = None
    else:
        if step.state == "running":
            truth.await_boot(story.host, server.id)
        story.last = truth.in_time(lambda: _owner_sees(story, step))
        truth.in_time(lambda: _operator_sees(story, auditor, step))
    truth.in_time(lambda: _storage_has(story, auditor, step))
    if step.name == "write":
        assert _grown(before, story.last, "host_allocated_bytes") >= 40 * MIB
        assert _grown(before, story.last, "guest_used_bytes") >= 40 * MIB
    elif step.name == "rebuild":
        assert _grown(before, story.last, "host_allocated_bytes") <= -39 * MIB
        assert _grown(before, story.last, "guest_used_bytes") <= -39 * MIB


def _owner_sees(story: Story, step: Step) -> seen.Instance:
    running = step.state == "running"
    found = seen.equal_to_truth(
        story.owner, story.host, story.server.id, step.flavor, guest=running
    )
    assert found.is_verified
    assert (found.state, found.flavor) == (step.state, step.flavor.name)
    assert found.guest["state"] == ("answered" if running else "guest-not-running")
    assert seen.find(story.other, story.server.id) is None
    return found


def _operator_sees(story: Story, auditor: DiskAuditProxy, step: Step) -> None:
    found = auditor.get_instance(story.server.id)
    assert (found.trust, found.host) == ("verified", story.host.name)
    assert found.other_sightings == []
    # The flavor promises what the disks are: nothing of them is more than Nova gave.
    codes = {one.code for one in auditor.findings(instance=story.server.id, origin="reconcile")}
    assert codes == set()


def _nobody_sees(story: Story, auditor: DiskAuditProxy) -> None:
    for who in (story.owner, story.other, auditor):
        assert seen.find(who, story.server.id) is None


def _storage_has(story: Story, auditor: DiskAuditProxy, step: Step) -> None:
    (storage,) = auditor.get_host(story.host.name).storages
    names = {one["name"] for one in storage["leftovers"]}
    assert names == ({story.server.id + step.leftover} if step.leftover else set())
    assert (storage["managed_save_bytes"] > 0) == step.saved


def _grown(before: seen.Instance | None, after: seen.Instance | None, number: str) -> int:
    assert before is not None and after is not None
    grown: int = after.totals[number] - before.totals[number]
    return grown
