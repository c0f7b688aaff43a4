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
from nova_diskaudit.store import engine as store_engine
from nova_diskaudit.store import report as store_report
from tests import reports
from tests.contract.services import central_service
from tests.unit.store.test_usage import many_hours, run

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


def test_usages(service: DiskAuditProxy) -> None:
    project = reports.instance("one").project_id
    (one,) = service.usages(project_id=project)
    assert (one.id, one.project_id, one.is_verified) == (project, project, False)
    assert one.totals["host_allocated_bytes"] == 24 * reports.GIB
    assert one.totals["used_high_bytes"] == 48 * reports.GIB
    assert one.coverage["instances"] == one.coverage["host_measured"] == 12
    assert one.as_of is not None and one.computed_at is not None
    assert one.limits == []
    assert list(service.usages(limit=1)) == [], "nobody has added up all projects yet"


def test_all_usages_and_the_past_page_by_page(
    service: DiskAuditProxy, tmp_path: pathlib.Path
) -> None:
    engine = store_engine.create(f"sqlite:///{tmp_path}/central.sqlite")
    for number in range(3):
        state = reports.state(
            f"more-{number}", (reports.instance(f"x{number}", project_id=f"p{number}"),)
        )
        store_report.put(engine, reports.full(state), now=reports.NOW, takeover_after_seconds=900)
    run(engine, reports.NOW, nova=False)
    many_hours(engine, 5)
    engine.dispose()
    own = reports.instance("one").project_id
    assert [one.project_id for one in service.usages(limit=2)] == [own, "p0", "p1", "p2"]
    hours = list(service.usage_history(project_id="red", limit=2))
    assert [one.at for one in hours] == [f"1970-01-01T0{hour}:00:00Z" for hour in range(5)]
    assert hours[0].coverage["instances"] == 1 and hours[0].totals["disks"] == 0
    few = service.usage_history(
        project_id="red", start="1970-01-01T02:00:00Z", end="1970-01-01T04:00:00Z"
    )
    assert [one.at for one in few] == ["1970-01-01T02:00:00Z", "1970-01-01T03:00:00Z"]
    (day,) = service.usage_history(instance=reports.uuid_of("x1"))
    assert day.totals["host_allocated_bytes"] == 2 * reports.GIB
    with pytest.raises(exceptions.BadRequestException):
        list(service.usage_history())
