# SPDX-License-Identifier: Apache-2.0
"""``openstack disk usage ...`` as a tenant runs it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cloud import seen, truth
from tests.cloud.cloud import Cloud
from tests.cloud.product import Product
from tests.cloud.tenants import Server, Tenant
from tests.service.commands import shell
from tests.services.cloud import REGION


def _run(tenant: Tenant, *words: str) -> shell.Done:
    """The command, as the tenant's reader."""
    person = tenant.reader
    env = {
        "OS_IDENTITY_API_VERSION": "3",
        "OS_AUTH_URL": person.cloud.url,
        "OS_USER_ID": person.id,
        "OS_PASSWORD": person.password,
        "OS_PROJECT_ID": tenant.project,
        "OS_REGION_NAME": REGION,
    }
    return shell.openstack("disk", "usage", *words, "-f", "json", env=env)


def _json(tenant: Tenant, *words: str) -> Any:
    done = _run(tenant, *words)
    assert done.status == 0, done.err
    return json.loads(done.out)


@pytest.mark.parametrize("whose", ["acme", "globex"])
def test_a_tenant_is_shown_its_own_usage(
    cloud: Cloud,
    product: Product,
    servers: dict[str, Server],
    acme: Tenant,
    globex: Tenant,
    whose: str,
) -> None:
    me = acme if whose == "acme" else globex
    mine = [one for one in servers.values() if one.tenant is me]

    def held() -> dict[str, int]:
        looked = {one.id: truth.look(cloud.hosts[one.plan.host], one.id) for one in mine}
        return {uuid: sum(one.held.values()) for uuid, one in looked.items()}

    def look() -> None:
        before = held()
        whole, listed = _json(me, "show"), _json(me, "list")
        assert held() == before, "they are busy"
        assert (whole["project_id"], whole["verified"]) == (me.project, True)
        assert whole["host_allocated_bytes"] == sum(before.values())
        promised = sum(sum(seen.sizes(one.plan.flavor).values()) for one in mine)
        assert whole["virtual_bytes"] == promised
        assert (whole["instances"], whole["host_measured"]) == (len(mine), len(mine))
        assert {one["uuid"]: one["host_allocated_bytes"] for one in listed} == before

    truth.in_time(look)


def test_a_server_is_found_by_its_name(
    product: Product, servers: dict[str, Server], acme: Tenant, globex: Tenant
) -> None:
    web = servers["web"]

    def look() -> None:
        shown = _json(acme, "show", "--server", "web")
        assert (shown["uuid"], shown["name"], shown["trust"]) == (web.id, "web", "verified")
        assert {one["target"] for one in shown["disk_details"]} == set(seen.sizes(web.plan.flavor))

    truth.in_time(look)
    for word in ("web", web.id):
        done = _run(globex, "show", "--server", word)
        assert done.status != 0 and web.id not in done.out
