# SPDX-License-Identifier: Apache-2.0
"""``conn.disk_audit`` against the central service itself, without Keystone on loopback."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest
from keystoneauth1 import noauth
from keystoneauth1 import session as ks_session
from openstack import connection, exceptions

from nova_diskaudit import findings, sdk
from nova_diskaudit.sdk._proxy import DiskAuditProxy
from tests import reports
from tests.contract.services import central_service

NAMES = [f"compute-{number}" for number in range(3)]


@pytest.fixture
def service(tmp_path: pathlib.Path) -> Iterator[DiskAuditProxy]:
    with central_service(tmp_path) as running:
        for name in NAMES:
            instances = tuple(reports.instance(f"{name}-{number}") for number in range(4))
            stale = findings.finding("inventory-stale")
            state = reports.state(name, instances, findings=(stale,))
            assert running.send(reports.full(state)).status == 200
        session = ks_session.Session(auth=noauth.NoAuth())
        conn = connection.Connection(session=session, disk_audit_endpoint_override=running.url)
        sdk.register(conn)
        yield sdk.of(conn)


def test_hosts(service: DiskAuditProxy) -> None:
    assert [host.name for host in service.hosts()] == NAMES
    assert [host.name for host in service.hosts(limit=2)] == NAMES
    host = service.get_host("compute-1")
    assert (host.id, host.instances, host.disks) == ("compute-1", 4, 8)
    assert host.host_allocated_bytes == 8 * reports.GIB
    assert host.storages[0]["fs_type"] == "xfs"
    codes = {one["code"] for one in host.findings}
    assert "inventory-stale" in codes
    with pytest.raises(exceptions.NotFoundException):
        service.get_host("nowhere")


@pytest.mark.parametrize("sort", ["uuid", "host_allocated_bytes:desc"])
def test_instances_page_by_page(service: DiskAuditProxy, sort: str) -> None:
    found = [one.uuid for one in service.instances(limit=5, sort=sort)]
    assert len(found) == 12
    wanted = sorted(reports.uuid_of(f"{name}-{number}") for name in NAMES for number in range(4))
    assert sorted(found) == wanted


def test_instances_that_are_wanted(service: DiskAuditProxy) -> None:
    assert len(list(service.instances(host="compute-2"))) == 4
    assert len(list(service.instances(finding="untrimmed", min_reclaimable=1))) == 12
    assert list(service.instances(finding="no-medium")) == []
    assert list(service.instances(trust="verified")) == []
    only = next(iter(service.instances(fields="uuid,totals")))
    assert only.totals["disks"] == 2 and only.disks is None
    with pytest.raises(exceptions.BadRequestException):
        list(service.instances(sort="nonsense"))


def test_one_instance(service: DiskAuditProxy) -> None:
    uuid = reports.uuid_of("compute-1-0")
    one = service.get_instance(uuid)
    assert (one.id, one.uuid, one.host, one.trust) == (uuid, uuid, "compute-1", "unverified")
    assert one.is_verified is False and one.other_sightings == []
    assert one.totals["host_allocated_bytes"] == 2 * reports.GIB
    assert one.guest["state"] == "answered"
    assert [disk["target"] for disk in one.disks] == ["vda", "vdb"]
    with pytest.raises(exceptions.NotFoundException):
        service.get_instance(reports.uuid_of("nobody"))


def test_findings(service: DiskAuditProxy) -> None:
    found = list(service.findings(limit=7))
    assert len(found) == len({one.id for one in found})
    about_hosts = [one for one in found if one.instance is None and one.origin == "agent"]
    assert [one.host for one in about_hosts] == NAMES
    untrimmed = list(service.findings(code="untrimmed", host="compute-0"))
    assert len(untrimmed) == 4
    assert untrimmed[0].disks == ["vda", "vdb"] and untrimmed[0].severity == "warning"
