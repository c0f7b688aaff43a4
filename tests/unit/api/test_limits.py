# SPDX-License-Identifier: Apache-2.0
"""Limits beside usages: the three of them, and what a project is told about each."""

from __future__ import annotations

import datetime
import pathlib
from typing import Any

import pytest

from nova_diskaudit.limits import (
    FLAT,
    GUEST_USED,
    HIERARCHICAL,
    HOST_ALLOCATED,
    NOVA_DISK,
    SERVICE_TYPES,
    UNLIMITED,
)
from nova_diskaudit.reconcile import rollup
from nova_diskaudit.store import moment, quota
from tests import reports
from tests.unit.api import service
from tests.unit.api.conftest import BLUE, RED, Client, made

GIB = 2**30
NOW = service.NOW
LATER = NOW + datetime.timedelta(minutes=3)


def limits(client: Client, headers: dict[str, str] = RED) -> dict[str, dict[str, Any]]:
    """Those of a project, by name, as its reader gets them."""
    (usage,) = client.see("/v1/usages", headers)["usages"]
    found = usage["limits"]
    assert [one["name"] for one in found] == list(SERVICE_TYPES)
    return {one["name"]: one for one in found}


def keystone_said(
    client: Client, *said: quota.Limit, model: str = FLAT, nova_enforces: bool | None = None
) -> None:
    quota.put_limits(client.database, said, model=model, at=moment.of(LATER))
    enforces = None if nova_enforces is None else int(nova_enforces)
    quota.put_state(client.database, nova_enforces=enforces)


def everybody(name: str, gib: int, shared: int | None = None) -> quota.Limit:
    return quota.Limit(quota.EVERYBODY, name, gib, shared)


@pytest.fixture
def red(client: Client) -> Client:
    """Project red has one server that was measured, on two disks of 1 GiB each."""
    one = reports.instance("web")
    service.nova_says(client.database, one.uuid)
    assert client.report(reports.full(reports.state(instances=(one,)))).status_code == 200
    return client


def test_three_limits(red: Client) -> None:
    keystone_said(
        red,
        everybody(HOST_ALLOCATED, 100),
        everybody(GUEST_USED, UNLIMITED),
        everybody(NOVA_DISK, 500),
        quota.Limit("red", NOVA_DISK, 50, None),
    )
    quota.put_claims(red.database, {"red": 40, "blue": 7}, at=moment.of(LATER))
    found = limits(red)
    assert {
        name: (one["limit_gib"], one["used_bytes"], one["enforced"]) for name, one in found.items()
    } == {
        HOST_ALLOCATED: (100, 2 * GIB, False),
        GUEST_USED: (None, GIB, False),
        NOVA_DISK: (50, 40 * GIB, None),
    }
    # the report is older than what Keystone said
    assert found[HOST_ALLOCATED]["as_of"] == "2026-01-02T03:04:05Z"
    assert found[NOVA_DISK]["as_of"] == "2026-01-02T03:07:05Z"
    blue = limits(red, BLUE)
    assert blue[HOST_ALLOCATED]["used_bytes"] == 0, "it has no servers"
    assert (blue[NOVA_DISK]["limit_gib"], blue[NOVA_DISK]["used_bytes"]) == (500, 7 * GIB)


def test_all_projects_have_theirs(red: Client) -> None:
    keystone_said(red, everybody(HOST_ALLOCATED, 100), quota.Limit("blue", HOST_ALLOCATED, 1, None))
    two = reports.instance("db", project_id="blue")
    service.nova_says(red.database, two.uuid, project_id="blue", host="compute-2")
    red.report(reports.full(reports.state("compute-2", instances=(two,))))
    rollup.run(
        red.database,
        now=NOW,
        nova=True,
        stale_after_seconds=3600,
        project_history_days=1,
        instance_history_days=1,
    )
    found = {
        one["project_id"]: one["limits"][0]["limit_gib"] for one in red.see("/v1/usages")["usages"]
    }
    assert found == {"red": 100, "blue": 1}


def test_on_one_machine_there_are_none(alone: Client) -> None:
    (usage,) = alone.see("/v1/usages", project_id="red")["usages"]
    assert usage["limits"] == []


# --- what is told -----------------------------------------------------------------------------


def test_before_anything_was_read(red: Client) -> None:
    found = limits(red)
    assert [one["enforced"] for one in found.values()] == [False, False, None]
    for one in found.values():
        assert one["limit_gib"] is None
        assert "not read from Keystone yet" in one["meaning"]
    assert found[HOST_ALLOCATED]["used_bytes"] == 2 * GIB
    assert found[NOVA_DISK]["used_bytes"] is None
    assert found[NOVA_DISK]["as_of"] is None
    assert "Placement was not asked yet" in found[NOVA_DISK]["meaning"]


def test_limits_that_nobody_registered(red: Client) -> None:
    keystone_said(red)
    for one in limits(red).values():
        assert one["limit_gib"] is None
        assert "There is no such limit in this cloud." in one["meaning"]


@pytest.mark.parametrize(
    "nova_enforces, gib, model, enforced, says",
    [
        (True, 50, FLAT, True, "Nova refuses a server that would go beyond"),
        (False, 50, FLAT, False, "nothing refuses"),
        (None, 50, FLAT, None, "is not known here"),
        (True, UNLIMITED, FLAT, False, "it is unlimited"),
        (None, UNLIMITED, FLAT, False, "it is unlimited"),
        # oslo.limit does not know it
        (True, 50, HIERARCHICAL, False, "nothing refuses"),
        (None, 50, HIERARCHICAL, False, "nothing refuses"),
    ],
)
def test_whether_nova_refuses(
    red: Client, nova_enforces: bool | None, gib: int, model: str, enforced: bool | None, says: str
) -> None:
    keystone_said(red, everybody(NOVA_DISK, gib), model=model, nova_enforces=nova_enforces)
    one = limits(red)[NOVA_DISK]
    assert one["enforced"] is enforced
    assert says in one["meaning"]
    assert "a promise, not a measurement" in one["meaning"]


def test_ours_are_never_enforced(red: Client) -> None:
    keystone_said(red, everybody(HOST_ALLOCATED, 1), everybody(GUEST_USED, 1), nova_enforces=True)
    found = limits(red)
    for name in (HOST_ALLOCATED, GUEST_USED):
        assert not found[name]["enforced"]
        assert "nothing refuses what goes beyond it" in found[name]["meaning"]
    assert "nobody checks it" in found[GUEST_USED]["meaning"]


@pytest.mark.parametrize("gib", [1, UNLIMITED])
def test_that_the_scheduler_refuses_new_servers(tmp_path: pathlib.Path, gib: int) -> None:
    client = made(tmp_path, scheduler_enforces=True)
    keystone_said(client, everybody(HOST_ALLOCATED, gib), everybody(GUEST_USED, 1))
    found = limits(client)
    client.database.dispose()
    is_set = gib != UNLIMITED
    assert found[HOST_ALLOCATED]["enforced"] is is_set
    assert ("Nova starts no new server for it" in found[HOST_ALLOCATED]["meaning"]) == is_set
    assert not found[GUEST_USED]["enforced"]


def test_what_a_domain_shares(red: Client) -> None:
    keystone_said(
        red, everybody(HOST_ALLOCATED, 100, 100), everybody(GUEST_USED, 5), model=HIERARCHICAL
    )
    found = limits(red)
    shared = "All projects of its domain together may have 100 GiB."
    assert shared in found[HOST_ALLOCATED]["meaning"]
    assert "domain" not in found[GUEST_USED]["meaning"]


def test_what_is_measured_in_part(red: Client) -> None:
    """Of two more servers nothing is known, of one of them not even a report."""
    unknown = reports.disk(host_allocated_bytes=None, guest_used_bytes=None, used=None)
    two = reports.instance("db", disks=(unknown,), filesystems=())
    service.nova_says(red.database, two.uuid, host="compute-2")
    red.report(reports.full(reports.state("compute-2", instances=(two,))))
    service.nova_says(red.database, reports.uuid_of("silent"))
    old = limits(red)[HOST_ALLOCATED]
    assert old["used_bytes"] == 2 * GIB
    assert "It is at least that: 2 of 3 servers could not be measured" in old["meaning"]


def test_what_is_not_measured_at_all(client: Client) -> None:
    service.nova_says(client.database, reports.uuid_of("silent"))
    found = limits(client)
    for name in (HOST_ALLOCATED, GUEST_USED):
        assert found[name]["used_bytes"] is None, "which is not 0"
        assert "no server could be measured" in found[name]["meaning"]
