# SPDX-License-Identifier: Apache-2.0
"""That Nova answers as our ``cloud.nova`` expects it, and as ``tests/fake_nova.py`` plays it."""

from __future__ import annotations

import contextlib
import datetime
import pathlib
import uuid
from collections.abc import Iterator

import openstack.exceptions
import pytest

from nova_diskaudit.cloud import CloudError, connection, nova
from nova_diskaudit.conf import service
from tests.cloud import tenants, truth
from tests.cloud.cloud import LIMITS, Cloud
from tests.cloud.service import credentials, ini
from tests.cloud.tenants import FULL, LARGE, SMALL, Flavor, Plan, Server, Tenant
from tests.services.cloud import Person

#: a host that stands in a cell that is down
LOST_HOST = "compute-9"


def _nova(directory: pathlib.Path, cloud: Cloud, person: Person) -> nova.Nova:
    """Nova as the service asks it, by a configuration file."""
    assert person.project is not None
    auth = credentials(cloud.keystone.url, person.id, person.password, person.project)
    file = directory / "nova-diskaudit-api.conf"
    file.write_text(ini({"nova": auth}))
    return nova.Nova(connection.connect(service.read([str(file)])))


@pytest.fixture
def asked(cloud: Cloud, tmp_path: pathlib.Path) -> nova.Nova:
    """By credentials that may see everything."""
    person = cloud.directory.user("diskaudit", cloud.services_project, "admin")
    return _nova(tmp_path, cloud, person)


def _all(asked: nova.Nova, since: datetime.datetime | None = None) -> dict[str, nova.Server]:
    return {one.id: one for page in asked.servers(since) for one in page}


def _promised(flavor: Flavor) -> nova.Flavor:
    return nova.Flavor(disk=flavor.disk, ephemeral=flavor.ephemeral, swap=flavor.swap)


def test_it_tells_its_time(asked: nova.Nova) -> None:
    """By its computes: uWSGI writes no Date."""
    health = asked.health()
    assert health.unreachable_hosts == ()
    assert health.now is not None
    behind = datetime.datetime.now(datetime.UTC) - health.now
    # The services' signs of life come every 10 s, and this machine may be slow.
    assert datetime.timedelta(seconds=-5) < behind < datetime.timedelta(seconds=120)


def test_it_lists_all_servers_of_all_projects_by_pages(
    asked: nova.Nova, servers: dict[str, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nova, "_PAGE", 2)
    pages = list(asked.servers())
    assert [len(page) for page in pages[:2]] == [2, 2]
    found = {one.id: one for page in pages for one in page}
    assert sum(map(len, pages)) == len(found)
    for server in servers.values():
        one = found[server.id]
        assert (one.project_id, one.user_id) == (server.tenant.project, server.tenant.member.id)
        assert (one.name, one.host) == (server.plan.name, server.plan.host)
        assert (one.status, one.task_state) == ("ACTIVE", None)
        assert one.flavor == _promised(server.plan.flavor)
        assert not one.is_deleted and not one.is_partial


def test_changes_tell_of_a_server_from_its_birth_to_its_end(
    asked: nova.Nova, servers: dict[str, Server], acme: Tenant
) -> None:
    begun = asked.health().now
    assert begun is not None
    server = tenants.boot(acme, Plan("mayfly", "compute-1", SMALL, "qcow2", agent=False))
    server.await_status("ACTIVE")
    born = _all(asked, begun)[server.id]
    assert (born.host, born.status, born.flavor) == ("compute-1", "ACTIVE", _promised(SMALL))
    compute = acme.connection.compute
    compute.delete_server(server.id)
    truth.await_true("its end", lambda: server.id not in _all(asked))
    gone = _all(asked, begun)[server.id]
    assert gone.is_deleted and gone.project_id == acme.project
    later = asked.health().now
    assert later is not None and server.id not in _all(asked, later + datetime.timedelta(hours=1))


def test_a_resize_is_an_open_migration_until_it_is_decided(
    asked: nova.Nova, servers: dict[str, Server]
) -> None:
    server = servers["db"]
    compute = server.tenant.connection.compute

    def open_ones() -> list[nova.Migration]:
        return [one for one in asked.open_migrations() if one.instance_uuid == server.id]

    assert open_ones() == []
    compute.resize_server(server.id, LARGE.name)
    server.await_status("VERIFY_RESIZE")
    host = server.plan.host
    (one,) = open_ones()
    assert (one.source_compute, one.dest_compute) == (host, host)
    assert _all(asked)[server.id].flavor == _promised(LARGE)
    compute.revert_server_resize(server.id)
    server.await_status("ACTIVE")
    truth.await_true("end of the migration", lambda: not open_ones())
    assert _all(asked)[server.id].flavor == _promised(FULL)


def test_whoever_may_not_see_everything_is_told_so(
    cloud: Cloud, servers: dict[str, Server], acme: Tenant, tmp_path: pathlib.Path
) -> None:
    tenant = _nova(tmp_path, cloud, acme.reader)
    for ask in (tenant.health, lambda: _all(tenant), lambda: list(tenant.open_migrations())):
        with pytest.raises(CloudError) as refusal:
            ask()
        assert "\n" not in str(refusal.value) and "403" in str(refusal.value)


def test_what_is_over_a_limit_is_refused(acme: Tenant, cloud: Cloud) -> None:
    """The claim of a flavor counts, by Keystone's registered limit ``class:DISK_GB``."""
    cloud.admin.compute.create_flavor(
        name="huge", id="huge", ram=64, vcpus=1, disk=LIMITS["class:DISK_GB"] + 1
    )
    huge = Flavor("huge", disk=LIMITS["class:DISK_GB"] + 1, ephemeral=0, swap=0)
    plan = Plan("huge", "compute-1", huge, "qcow2", agent=False)
    with pytest.raises(openstack.exceptions.ForbiddenException, match="class:DISK_GB"):
        tenants.boot(acme, plan)


@contextlib.contextmanager
def _cell_that_is_down(cloud: Cloud, lost_server: str, project: str) -> Iterator[None]:
    """A cell whose database nobody answers for, with one host and one server."""
    sql = cloud.database.sql
    cell = str(uuid.uuid4())
    away = "mysql+pymysql://nobody@127.0.0.1:1/nowhere"
    sql(
        "INSERT INTO cell_mappings (uuid, name, transport_url, database_connection, disabled) "
        f"VALUES ('{cell}', 'lost', '{cloud.bus.url}', '{away}', 0)",
        "nova_api",
    )
    ((number,),) = sql(f"SELECT id FROM cell_mappings WHERE uuid = '{cell}'", "nova_api")
    sql(f"INSERT INTO host_mappings (cell_id, host) VALUES ({number}, '{LOST_HOST}')", "nova_api")
    sql(
        "INSERT INTO instance_mappings (instance_uuid, cell_id, project_id, queued_for_delete) "
        f"VALUES ('{lost_server}', {number}, '{project}', 0)",
        "nova_api",
    )
    # It knows its cells from its start.
    cloud.nova.terminate()
    cloud.nova.resume()
    try:
        yield
    finally:
        for table in ("instance_mappings", "host_mappings"):
            sql(f"DELETE FROM {table} WHERE cell_id = {number}", "nova_api")
        sql(f"DELETE FROM cell_mappings WHERE id = {number}", "nova_api")
        cloud.nova.terminate()
        cloud.nova.resume()


def test_a_cell_that_is_down_hides_its_servers_but_not_its_hosts(
    cloud: Cloud, asked: nova.Nova, servers: dict[str, Server], acme: Tenant
) -> None:
    """Why a list alone proves nothing, and what the map of Nova looks at beside it."""
    lost = str(uuid.uuid4())
    with _cell_that_is_down(cloud, lost, acme.project):
        health = asked.health()
        assert health.unreachable_hosts == (LOST_HOST,)
        assert health.now is not None
        whole = _all(asked)
        assert {one.id for one in servers.values()} <= set(whole)
        # Asked by pages, as here, it is left out without a word.
        assert lost not in whole
        since = health.now - datetime.timedelta(hours=1)
        assert lost not in _all(asked, since)
    assert asked.health().unreachable_hosts == ()
