# SPDX-License-Identifier: Apache-2.0
"""Four servers of two projects: right numbers for their owners, and nothing for the others."""

from __future__ import annotations

import openstack.exceptions
import pytest

from nova_diskaudit.limits import GUEST_USED, HOST_ALLOCATED, NOVA_DISK
from nova_diskaudit.sdk._proxy import DiskAuditProxy
from tests.cloud import seen, truth
from tests.cloud.cloud import LIMITS, Cloud
from tests.cloud.conftest import SERVERS
from tests.cloud.product import HOST_ALLOCATED_GIB, Product
from tests.cloud.tenants import GIB, Server, Tenant

NAMES = [plan.name for _, plan in SERVERS]


@pytest.mark.parametrize("name", NAMES)
def test_the_numbers_are_those_of_host_and_guest(
    cloud: Cloud, product: Product, servers: dict[str, Server], name: str
) -> None:
    server = servers[name]
    plan, host = server.plan, cloud.hosts[server.plan.host]
    reader = product.disk_audit(server.tenant.reader)

    def look() -> seen.Instance:
        found = seen.equal_to_truth(reader, host, server.id, plan.flavor, guest=plan.agent)
        assert found.is_verified
        return found

    found = truth.in_time(look)
    assert (found.project_id, found.name) == (server.tenant.project, plan.name)
    assert found.user_id == server.tenant.member.id
    assert (found.state, found.flavor) == ("running", plan.flavor.name)
    assert found.guest["state"] == ("answered" if plan.agent else "agent-absent")
    form = {"compute-1": "qcow2", "compute-2": "raw"}[plan.host]
    assert set(seen.disks(found, "format").values()) == {form}
    # What is read from Nova's image cache is nobody's.
    shares = {target: size > 0 for target, size in seen.disks(found, "backing_bytes").items()}
    assert shares == dict.fromkeys(seen.sizes(plan.flavor), form == "qcow2")
    kinds = {disk["kind"] for disk in found.disks}
    assert kinds == ({"local", "config"} if plan.config_drive else {"local"})


@pytest.mark.parametrize("whose", ["acme", "globex"])
def test_a_tenant_sees_its_own_servers_and_no_others(
    product: Product, servers: dict[str, Server], acme: Tenant, globex: Tenant, whose: str
) -> None:
    me, other = (acme, globex) if whose == "acme" else (globex, acme)
    mine = {one.id for one in servers.values() if one.tenant is me}
    theirs = {one.id for one in servers.values() if one.tenant is other}
    reader = product.disk_audit(me.reader)

    def look() -> None:
        assert {one.id for one in reader.instances()} == mine

    truth.in_time(look)
    for uuid in theirs:
        with pytest.raises(openstack.exceptions.NotFoundException):
            reader.get_instance(uuid)
    assert {one.instance for one in reader.findings()} <= mine
    for instance in reader.instances():
        assert instance.host is None and instance.domain is None
        assert all(disk["source"] is None for disk in instance.disks)
    assert list(reader.instances(project_id=other.project)) == []
    with pytest.raises(openstack.exceptions.ForbiddenException):
        list(reader.hosts())


@pytest.mark.parametrize("whose", ["acme", "globex"])
def test_a_tenants_usage_is_the_sum_of_its_servers(
    cloud: Cloud,
    product: Product,
    servers: dict[str, Server],
    acme: Tenant,
    globex: Tenant,
    whose: str,
) -> None:
    me, other = (acme, globex) if whose == "acme" else (globex, acme)
    mine = [one for one in servers.values() if one.tenant is me]
    reader = product.disk_audit(me.reader)

    def truths() -> list[truth.Truth]:
        return [truth.look(cloud.hosts[one.plan.host], one.id) for one in mine]

    def look() -> None:
        before = truths()
        (usage,) = reader.usages()
        assert truths() == before, "they are busy"
        assert usage.project_id == me.project and usage.is_verified
        held = sum(sum(one.held.values()) for one in before)
        assert usage.totals["host_allocated_bytes"] == held
        used = sum(
            sum(one.used.values())
            for server, one in zip(mine, before, strict=True)
            if server.plan.agent
        )
        assert usage.totals["guest_used_bytes"] == used
        promised = sum(sum(seen.sizes(one.plan.flavor).values()) for one in mine)
        assert usage.totals["virtual_bytes"] == promised
        assert usage.coverage["instances"] == usage.coverage["host_measured"] == len(mine)

    truth.in_time(look)
    for usage in reader.usages(project_id=other.project):
        # As of a project that does not exist.
        assert (usage.coverage["instances"], usage.totals["disks"]) == (0, 0)


def test_operators_see_all_of_it_on_its_hosts(
    cloud: Cloud, auditor: DiskAuditProxy, servers: dict[str, Server]
) -> None:
    def look() -> None:
        found = {one.id: one for one in auditor.instances()}
        for server in servers.values():
            one = found[server.id]
            assert (one.host, one.trust) == (server.plan.host, "verified")
            assert one.project_id == one.claimed_project_id == server.tenant.project
        assert {host.name for host in auditor.hosts()} == set(cloud.hosts)
        for host in auditor.hosts():
            (storage,) = host.storages
            assert storage["image_cache_bytes"] > 0
            assert storage["leftovers"] == []

    truth.in_time(look)


@pytest.mark.parametrize("whose", ["acme", "globex"])
def test_a_tenants_limits_stand_beside_its_usage(
    cloud: Cloud,
    product: Product,
    servers: dict[str, Server],
    acme: Tenant,
    globex: Tenant,
    whose: str,
) -> None:
    """Nova's limit with Placement's claim, and ours with what storage holds; all by Keystone."""
    me = acme if whose == "acme" else globex
    mine = [one for one in servers.values() if one.tenant is me]

    def look() -> None:
        (usage,) = product.disk_audit(me.reader).usages()
        limits = {one["name"]: one for one in usage.limits}
        claim = limits[NOVA_DISK]
        assert (claim["limit_gib"], claim["enforced"]) == (LIMITS[NOVA_DISK], True)
        assert claim["used_bytes"] == sum(one.plan.flavor.claim_gib for one in mine) * GIB
        held = limits[HOST_ALLOCATED]
        assert (held["limit_gib"], held["enforced"]) == (HOST_ALLOCATED_GIB, False)
        assert held["used_bytes"] == usage.totals["host_allocated_bytes"]
        assert limits[GUEST_USED]["limit_gib"] is None

    truth.in_time(look)


def test_placement_claims_what_the_flavors_promise(
    cloud: Cloud, servers: dict[str, Server], acme: Tenant, globex: Tenant
) -> None:
    for tenant in (acme, globex):
        answer = cloud.admin.placement.get(
            "/usages", params={"project_id": tenant.project}, microversion="1.9"
        )
        mine = [one for one in servers.values() if one.tenant is tenant]
        claimed = answer.json()["usages"]["DISK_GB"]
        assert claimed == sum(one.plan.flavor.claim_gib for one in mine)
