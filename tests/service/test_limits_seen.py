# SPDX-License-Identifier: Apache-2.0
"""From a real Keystone and a real Placement, by the service's database, to a tenant's answer."""

from __future__ import annotations

import json
import pathlib
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from nova_diskaudit.cloud import connection
from nova_diskaudit.cloud import placement as cloud_placement
from nova_diskaudit.limits import GUEST_USED, HOST_ALLOCATED, NOVA_DISK
from nova_diskaudit.reconcile import limits as reconcile_limits
from nova_diskaudit.reconcile import rollup
from nova_diskaudit.store import quota, scope
from tests import reports
from tests.service.limits import Limits, configured, credentials, keystone
from tests.service.stage import Stage
from tests.services.placement import Placement, Promises

GIB = 2**30


@pytest.fixture
def limits(stage: Stage) -> Iterator[Limits]:
    found = Limits(stage.people.cloud)
    yield found
    found.clear(services=False)


def seen(stage: Stage, who: str) -> dict[str, dict[str, Any]]:
    """Limits by name, as somebody's token gets them."""
    token = stage.people.token(who)
    assert token is not None
    request = urllib.request.Request(f"{stage.api.url}/v1/usages", headers={"X-Auth-Token": token})
    with urllib.request.urlopen(request, timeout=30) as answer:
        (usage,) = json.load(answer)["usages"]
    return {one["name"]: one for one in usage["limits"]}


def test_what_a_tenant_sees(
    stage: Stage,
    limits: Limits,
    placement: Placement,
    promises: Promises,
    tmp_path: pathlib.Path,
) -> None:
    people = stage.people
    ours, nova = limits.service("disk-audit"), limits.service("compute")
    limits.register(ours, HOST_ALLOCATED, 100)
    limits.register(ours, GUEST_USED, -1)
    limits.register(nova, NOVA_DISK, 500)
    limits.set(ours, HOST_ALLOCATED, 12, project_id=people.project)
    limits.set(nova, NOVA_DISK, 7, project_id=people.other_project)
    nodes = {promises.node(f"seen-{number}", disk_gb=1000): 20 for number in range(2)}
    for node, disk in nodes.items():
        promises.claim(people.project, {node: disk})
    operator = people.cloud.user("diskaudit", people.services, "admin")
    conf = configured(tmp_path, f"[nova]\n{credentials(operator)}")
    rollup.run(
        stage.engine,
        now=reports.NOW,
        nova=True,
        stale_after_seconds=3600,
        project_history_days=100_000,
        instance_history_days=100_000,
    )
    done = reconcile_limits.refresh(
        stage.engine,
        keystone(conf),
        cloud_placement.Placement(connection.connect(conf, group="placement")),
        now=reports.NOW,
        nova_enforces=True,
    )
    assert done.problems == () and done.claims == 2
    mine = seen(stage, "reader")
    assert (mine[HOST_ALLOCATED]["limit_gib"], mine[HOST_ALLOCATED]["enforced"]) == (12, False)
    assert mine[HOST_ALLOCATED]["used_bytes"] > 0
    assert mine[GUEST_USED]["limit_gib"] is None
    assert "unlimited" in mine[GUEST_USED]["meaning"]
    assert mine[NOVA_DISK]["limit_gib"] == 500 and mine[NOVA_DISK]["enforced"]
    assert mine[NOVA_DISK]["used_bytes"] == sum(nodes.values()) * GIB
    assert "Nova refuses" in mine[NOVA_DISK]["meaning"]
    everything = scope.Everything()
    theirs = quota.of_projects(stage.engine, everything, [people.other_project])
    assert theirs.limits[people.other_project, NOVA_DISK].limit_gib == 7
    assert theirs.claims[people.other_project].disk_gb == 0
